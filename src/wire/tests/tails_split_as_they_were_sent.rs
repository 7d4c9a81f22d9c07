//! A tail and the lengths of its attachments become the payload again, or nothing when they do not fit.

use bytes::Bytes;

use super::super::Payload;

fn split(tail: &'static [u8], lens: &[u32]) -> Option<(Bytes, Vec<Bytes>)> {
    let payload = Payload::split(Bytes::from_static(tail), lens)?;
    assert_eq!(payload.len(), tail.len());
    let chunks: Vec<&[u8]> = payload.chunks().collect();
    assert_eq!(chunks.concat(), tail);
    let shared: Vec<Bytes> = payload.shared_chunks().collect();
    assert_eq!(shared.concat(), tail);
    let body = Bytes::copy_from_slice(payload.body());
    Some((body, payload.attachments().to_vec()))
}

#[test]
fn the_body_is_what_is_left_in_front() {
    let (body, attachments) = split(b"bodyonethree", &[3, 5]).unwrap();
    assert_eq!(body, "body");
    assert_eq!(attachments, ["one", "three"]);
}

#[test]
fn no_attachments_no_body_and_nothing_at_all_are_fine() {
    assert_eq!(split(b"body", &[]).unwrap(), (Bytes::from("body"), vec![]));
    let (body, attachments) = split(b"one", &[0, 3, 0]).unwrap();
    assert_eq!(body, "");
    assert_eq!(attachments, ["", "one", ""]);
    assert_eq!(split(b"", &[]).unwrap(), (Bytes::new(), vec![]));
}

#[test]
fn lengths_beyond_the_tail_do_not_fit() {
    assert_eq!(split(b"four", &[5]), None);
    assert_eq!(split(b"four", &[2, 3]), None);
    assert_eq!(split(b"", &[1]), None);
    assert_eq!(split(b"four", &[u32::MAX; 1000]), None);
}

#[test]
fn more_attachments_than_an_encoder_makes_are_refused() {
    assert!(split(b"", &[0; 1024]).is_some());
    assert_eq!(split(b"", &[0; 1025]), None);
}
