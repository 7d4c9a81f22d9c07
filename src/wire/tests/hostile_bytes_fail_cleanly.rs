//! No bytes overflow the stack, loop on or allocate far beyond their number.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use super::super::codec::{decode, encode};
use super::super::limits::{FREE_ELEMENTS, TOO_DEEP, TOO_MANY};
use super::super::{Json, Payload};

const MAX: usize = super::super::limits::MAX_DEPTH as usize;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum List {
    Nil,
    Cons(Box<List>),
}

#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
struct Node {
    next: Option<Box<Node>>,
}

#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
struct Nest(Vec<Nest>);

#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Maybe(Option<Box<Maybe>>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Wide {
    End,
    Tuple(u8, Box<Wide>),
    Struct { next: Box<Wide> },
    Map(BTreeMap<u8, Wide>),
}

fn payload(bytes: impl Into<Bytes>) -> Payload {
    Payload::new(bytes.into(), Vec::new())
}

fn list(links: usize) -> Payload {
    let mut bytes = vec![1; links];
    bytes.push(0);
    payload(bytes)
}

fn on_stack<R: Send + 'static>(size: usize, run: impl FnOnce() -> R + Send + 'static) -> R {
    thread::Builder::new()
        .stack_size(size)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap()
}

#[test]
fn chains_of_100_boxes_decode_and_of_200_do_not() {
    let (short, long) = (list(100), list(200));
    let mut link = &decode::<List>(&short).unwrap();
    let mut links = 0;
    while let List::Cons(next) = link {
        (link, links) = (next, links + 1);
    }
    assert_eq!(links, 100);
    assert_eq!(decode::<List>(&long).unwrap_err(), TOO_DEEP);

    // The same bytes again, as a struct with an option and as options alone.
    decode::<Node>(&short).unwrap();
    assert_eq!(decode::<Node>(&long).unwrap_err(), TOO_DEEP);
    decode::<Maybe>(&short).unwrap();
    assert_eq!(decode::<Maybe>(&long).unwrap_err(), TOO_DEEP);
}

#[test]
fn the_limit_is_exact_and_the_next_decode_starts_afresh() {
    for _ in 0..3 {
        decode::<List>(&list(MAX - 1)).unwrap();
        assert_eq!(decode::<List>(&list(MAX)).unwrap_err(), TOO_DEEP);
    }
    // A newtype and a sequence each count.
    decode::<Nest>(&list(MAX / 2 - 1)).unwrap();
    assert_eq!(decode::<Nest>(&list(MAX / 2)).unwrap_err(), TOO_DEEP);
}

#[test]
fn every_kind_of_nesting_is_limited() {
    for link in [&[1, 0][..], &[2], &[3, 1, 0]] {
        let mut bytes = link.repeat(10);
        bytes.push(0);
        decode::<Wide>(&payload(bytes)).unwrap();
        let mut bytes = link.repeat(10_000);
        bytes.push(0);
        assert_eq!(decode::<Wide>(&payload(bytes)).unwrap_err(), TOO_DEEP);
    }
}

#[test]
fn hostile_nesting_fits_small_stacks() {
    let size = if cfg!(debug_assertions) { 512 } else { 256 } * 1024;
    for _ in 0..2 {
        let bytes = vec![1; 1_000_000];
        on_stack(size, move || {
            let hostile = payload(bytes);
            assert_eq!(decode::<List>(&hostile).unwrap_err(), TOO_DEEP);
            assert_eq!(decode::<Node>(&hostile).unwrap_err(), TOO_DEEP);
            assert_eq!(decode::<Nest>(&hostile).unwrap_err(), TOO_DEEP);
            assert_eq!(decode::<Maybe>(&hostile).unwrap_err(), TOO_DEEP);
        });
    }
}

#[test]
fn json_in_json_counts_on_where_the_outer_text_is() {
    #[derive(Serialize, Deserialize)]
    enum Layer {
        End,
        Text(Box<Json<Layer>>),
        Array(Vec<Layer>),
    }
    let arrays = |inner: String| (0..30).fold(inner, |text, _| format!(r#"{{"Array":[{text}]}}"#));
    let mut text = arrays("\"End\"".into());
    let layers = |text: &str| decode::<Json<Layer>>(&encode(text).unwrap()).err();
    assert_eq!(layers(&text), None);
    for _ in 0..3 {
        text = serde_json::to_string(&text).unwrap();
        text = arrays(format!(r#"{{"Text":{text}}}"#));
    }
    // Each text is within serde_json's limit, all of them together are not within ours.
    let error = layers(&text).unwrap();
    assert!(error.starts_with(TOO_DEEP), "{error}");
}

#[test]
fn zero_sized_elements_cannot_loop() {
    let begin = Instant::now();
    // 2^60 as a varint.
    let claim = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
    assert_eq!(
        decode::<Vec<()>>(&payload(claim.to_vec())).unwrap_err(),
        TOO_MANY
    );
    assert_eq!(
        decode::<BTreeMap<(), ()>>(&payload(claim.to_vec())).unwrap_err(),
        TOO_MANY
    );
    assert_eq!(
        decode::<Vec<Vec<()>>>(&payload([&[1], &claim[..]].concat())).unwrap_err(),
        TOO_MANY
    );
    assert!(decode::<Vec<u64>>(&payload(claim.to_vec())).is_err());
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[test]
fn elements_are_counted_over_the_whole_value() {
    let half = vec![(); FREE_ELEMENTS / 2 + 10];
    let one = encode(std::slice::from_ref(&half)).unwrap();
    decode::<Vec<Vec<()>>>(&one).unwrap();
    let two = encode(&vec![half; 2]).unwrap();
    assert_eq!(decode::<Vec<Vec<()>>>(&two).unwrap_err(), TOO_MANY);
}

#[test]
fn honest_values_never_reach_the_element_limit() {
    let empties = vec![Vec::<u8>::new(); 4 * FREE_ELEMENTS];
    let back: Vec<Vec<u8>> = decode(&encode(&empties).unwrap()).unwrap();
    assert_eq!(back.len(), empties.len());
    let map: BTreeMap<u32, bool> = (0..300_000).map(|key| (key, true)).collect();
    let back: BTreeMap<u32, bool> = decode(&encode(&map).unwrap()).unwrap();
    assert_eq!(back, map);
}

#[test]
fn a_panic_in_a_type_does_not_use_up_the_limits() {
    #[derive(Debug)]
    struct Bomb;
    impl<'de> Deserialize<'de> for Bomb {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("as the test wants it")
        }
    }
    let nested = payload(vec![1; 60]);
    for _ in 0..3 {
        let nested = AssertUnwindSafe(&nested);
        catch_unwind(|| decode::<Vec<Option<Vec<Vec<Bomb>>>>>(&nested)).unwrap_err();
    }
    decode::<List>(&list(MAX - 1)).unwrap();
}

#[test]
fn a_decode_leaves_no_element_limit_behind() {
    decode::<u8>(&payload(vec![1])).unwrap();
    let text = serde_json::to_string(&Json(vec![0_u8; 2 * FREE_ELEMENTS])).unwrap();
    let back: Json<Vec<u8>> = serde_json::from_str(&text).unwrap();
    assert_eq!(back.len(), 2 * FREE_ELEMENTS);
}
