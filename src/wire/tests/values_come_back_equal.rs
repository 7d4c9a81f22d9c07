//! Every kind of value serde knows goes through, and nothing is left over.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bytes::{Bytes, BytesMut};
use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize, de};

use super::super::Payload;
use super::super::codec::{decode, decode_header, encode, encode_header};
use super::super::draft::scratch_capacity;
use super::comes_back;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct New(u16);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i8, String);

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
enum Kind {
    Unit,
    New(u8),
    Tuple(u8, String),
    Struct { a: u64, b: Option<bool> },
}

/// Uses `serialize_bytes` and `deserialize_bytes`, which no type of std does.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl Visitor<'_> for Seen {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }
        }
        assert!(!deserializer.is_human_readable());
        deserializer.deserialize_bytes(Seen)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flags: (bool, bool),
    signed: (i8, i16, i32, i64, i128),
    unsigned: (u8, u16, u32, u64, u128),
    floats: (f32, f64),
    letters: [char; 3],
    text: String,
    raw: Raw,
    none: Option<u8>,
    some: Option<Option<u8>>,
    unit: (),
    unit_struct: Unit,
    new: New,
    pair: Pair,
    kinds: Vec<Kind>,
    map: BTreeMap<Kind, Vec<u8>>,
    hash: HashMap<String, Vec<(u8, New)>>,
    result: Result<u8, String>,
    boxed: Box<[Box<str>]>,
}

#[test]
fn every_kind_of_serde_value_comes_back() {
    let kinds = || {
        vec![
            Kind::Unit,
            Kind::New(9),
            Kind::Tuple(1, "x".into()),
            Kind::Struct {
                a: u64::MAX,
                b: Some(true),
            },
        ]
    };
    comes_back(Everything {
        flags: (true, false),
        signed: (i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN),
        unsigned: (u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX),
        floats: (-0.5, f64::MAX),
        letters: ['a', 'ß', '🦀'],
        text: "täxt".into(),
        raw: Raw(vec![0, 255]),
        none: None,
        some: Some(Some(3)),
        unit: (),
        unit_struct: Unit,
        new: New(700),
        pair: Pair(-1, String::new()),
        kinds: kinds(),
        map: kinds().into_iter().map(|kind| (kind, vec![1])).collect(),
        hash: HashMap::from([("k".into(), vec![(1, New(2))])]),
        result: Err("no".into()),
        boxed: Box::new(["a".into(), "b".into()]),
    });
}

#[test]
fn small_values_take_few_bytes() {
    assert_eq!(comes_back(()).len(), 0);
    assert_eq!(comes_back(5_u64).len(), 1);
    assert_eq!(comes_back(u64::MAX).len(), 10);
}

#[test]
fn the_scratch_buffer_is_reused_and_stays_small() {
    comes_back("x".repeat(1000));
    let kept = scratch_capacity();
    assert!((1000..10_000).contains(&kept), "{kept}");
    comes_back(7_u8);
    assert_eq!(scratch_capacity(), kept);
    comes_back("x".repeat(1 << 20));
    assert!(scratch_capacity() <= kept);
}

#[test]
fn bytes_left_over_are_an_error() {
    let mut bytes = encode(&7_u32).unwrap().body().to_vec();
    bytes.push(0);
    let error = decode::<u32>(&Payload::new(bytes.into(), Vec::new())).unwrap_err();
    assert_eq!(error, "1 bytes are left over");
}

#[test]
fn missing_bytes_are_an_error() {
    let payload = encode("hello").unwrap();
    let error = decode::<String>(&Payload::copied(&payload.body()[..3])).unwrap_err();
    assert_eq!(error, "the bytes end too early");
}

#[test]
fn the_words_of_a_types_own_errors_survive() {
    #[derive(Debug)]
    struct Picky;
    impl Serialize for Picky {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not on a Monday"))
        }
    }
    impl<'de> Deserialize<'de> for Picky {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(de::Error::custom("not on a Tuesday"))
        }
    }
    assert_eq!(encode(&(1, Picky)).unwrap_err(), "not on a Monday");
    let empty = Payload::default();
    assert_eq!(decode::<Picky>(&empty).unwrap_err(), "not on a Tuesday");
    let nested = Payload::new(Bytes::from_static(&[1, 1]), Vec::new());
    let error = decode::<Vec<Option<Picky>>>(&nested).unwrap_err();
    assert_eq!(error, "not on a Tuesday");
    let error = decode::<Kind>(&Payload::new(Bytes::from_static(&[9]), Vec::new())).unwrap_err();
    assert!(
        error.contains("expected variant index 0 <= i < 4"),
        "{error}"
    );
}

#[test]
fn headers_are_appended_and_say_their_length() {
    let mut frame = BytesMut::from(&b"before"[..]);
    encode_header(&(300_u16, "h"), &mut frame).unwrap();
    frame.extend_from_slice(b"tail");
    let (header, len) = decode_header::<(u16, String)>(&frame[6..]).unwrap();
    assert_eq!((header, len), ((300, "h".into()), 4));
    assert!(decode_header::<u32>(&[0x80]).is_err());

    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let before = frame.clone();
    encode_header(&(1_u8, Fails), &mut frame).unwrap_err();
    assert_eq!(frame, before);
}
