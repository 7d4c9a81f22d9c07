//! A large blob is shared from the value to the payload and from the payload to the value.

use std::panic::catch_unwind;

use bytes::{Bytes, BytesMut};
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize, Serialize};

use super::super::blob::{ATTACH_FROM, MAX_ATTACHMENTS};
use super::super::codec::{decode, decode_header, encode, encode_header};
use super::super::{Blob, FRAME_BYTES, HostFrame, Json, PART_BYTES, Payload};
use super::comes_back;

fn blob(len: usize) -> Blob {
    Blob::from((0..=255).cycle().take(len).collect::<Vec<u8>>())
}

#[test]
fn a_mebibyte_is_neither_copied_out_nor_in() {
    let value = (1_u8, blob(1 << 20), "after".to_owned());
    let payload = encode(&value).unwrap();
    assert_eq!(payload.attachments()[0].as_ptr(), value.1.as_ptr());
    // One byte each: the number, the variant, the index; then the text with its length.
    assert_eq!(payload.body().len(), 3 + 6);
    assert_eq!(payload.len(), 3 + 6 + (1 << 20));
    let back: (u8, Blob, String) = decode(&payload).unwrap();
    assert_eq!(back, value);
    assert_eq!(back.1.as_ptr(), value.1.as_ptr());
}

#[test]
fn only_large_blobs_are_attached() {
    let payload = comes_back(vec![blob(0), blob(ATTACH_FROM - 1), blob(ATTACH_FROM)]);
    assert_eq!(payload.attachments().len(), 1);
}

#[test]
fn more_blobs_than_a_header_has_room_for_are_sent_with_the_value() {
    let most = MAX_ATTACHMENTS as usize;
    let small = blob(ATTACH_FROM);
    let payload = comes_back(vec![small; most + 10]);
    assert_eq!(payload.attachments().len(), most);
    // With the longest lengths that there are, as the first frame of a value.
    let mut header = BytesMut::new();
    let attachments = vec![u32::MAX; most];
    let frame = HostFrame::Task {
        ticket: u64::MAX,
        id: u64::MAX,
        attempt: u32::MAX,
        name: u16::MAX,
        attachments,
        rest: u64::MAX,
        left: Some(crate::wire::TimeLeft {
            total: Some(u64::MAX),
            run: Some(u64::MAX),
        }),
    };
    encode_header(&frame, &mut header).unwrap();
    assert!(header.len() + PART_BYTES <= FRAME_BYTES, "{}", header.len());
}

#[test]
fn several_blobs_keep_their_order() {
    let blobs: Vec<Blob> = (0..20).map(|n| blob(5000 + n)).collect();
    let payload = comes_back(blobs);
    let lens: Vec<usize> = payload.attachments().iter().map(Bytes::len).collect();
    assert_eq!(lens, (5000..5020).collect::<Vec<_>>());
    let sent: Vec<u8> = payload.chunks().flat_map(|chunk| chunk.to_vec()).collect();
    let lens: Vec<u32> = lens.iter().map(|&len| len as u32).collect();
    let received = Payload::split(sent.into(), &lens).unwrap();
    assert_eq!(decode::<Vec<Blob>>(&received).unwrap().len(), 20);
}

#[test]
fn an_index_beyond_the_attachments_is_an_error() {
    let none = Payload::copied(encode(&blob(4096)).unwrap().body());
    assert_eq!(
        decode::<Blob>(&none).unwrap_err(),
        "there is no attachment 0"
    );
    let far = Payload::new(
        Bytes::from_static(&[1, 7]),
        vec![Bytes::from_static(b"one")],
    );
    assert_eq!(
        decode::<Blob>(&far).unwrap_err(),
        "there is no attachment 7"
    );
    let no_variant = Payload::new(Bytes::from_static(&[2, 0]), Vec::new());
    decode::<Blob>(&no_variant).unwrap_err();
}

/// Encodes a value of its own while it is being encoded.
#[derive(Debug, PartialEq)]
struct Sealed(Blob);

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = encode(&(&self.0, "sealed")).map_err(S::Error::custom)?;
        let attachments: Vec<_> = inner.attachments().iter().cloned().map(Blob).collect();
        (Blob(Bytes::copy_from_slice(inner.body())), attachments).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (body, attachments) = <(Blob, Vec<Blob>)>::deserialize(deserializer)?;
        let attachments = attachments.into_iter().map(Blob::into_bytes).collect();
        let (blob, _) = decode::<(Blob, String)>(&Payload::new(body.0, attachments))
            .map_err(serde::de::Error::custom)?;
        Ok(Self(blob))
    }
}

#[test]
fn encoding_within_encoding_keeps_the_blobs_apart() {
    let value = (blob(5000), Sealed(blob(6000)), blob(7000));
    let lens = comes_back(value);
    let lens: Vec<usize> = lens.attachments().iter().map(Bytes::len).collect();
    assert_eq!(lens, [5000, 6000, 7000]);
}

#[test]
fn a_panic_while_encoding_leaves_no_collector_behind() {
    struct Bomb(Blob);
    impl Serialize for Bomb {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let _ = self.0.serialize(serializer);
            panic!("as the test wants it")
        }
    }
    let bomb = Bomb(blob(5000));
    catch_unwind(|| encode(&bomb)).unwrap_err();
    assert_eq!(encode(&blob(6000)).unwrap().attachments().len(), 1);
    // Outside, it is an ordinary value again.
    assert_eq!(
        serde_json::to_string(&Blob::from(vec![1, 2])).unwrap(),
        "[1,2]"
    );
}

#[test]
fn elsewhere_a_blob_is_ordinary_bytes() {
    let value = blob(3000);
    let text = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<Blob>(&text).unwrap(), value);
    // Headers are plain postcard.
    let mut bytes = BytesMut::new();
    encode_header(&value, &mut bytes).unwrap();
    assert_eq!(bytes.len(), 2 + 3000);
    assert_eq!(decode_header::<Blob>(&bytes).unwrap(), (value, 3002));
}

#[test]
fn blobs_in_json_are_attached_too() {
    let payload = comes_back(Json(vec![blob(100), blob(100_000)]));
    assert_eq!(payload.attachments().len(), 1);
    assert!(payload.body().len() < 1000);
}

#[test]
fn debug_shows_the_length_and_no_bytes() {
    assert_eq!(format!("{:?}", blob(9)), "Blob(9 bytes)");
}
