//! A task's encoded input in a file.
//!
//! Belongs here: the bytes of such a file. Does not belong here: where it is, who may read it.
//! Invariant: what is read back is what was written, or an error; a file claims no memory beyond its own length.
//!
//! `MAGIC`, header, body, attachments in their order; the header has the lengths of the latter.

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::wire::{Payload, codec};

const MAGIC: &[u8] = b"actix-multiprocess capture 1\n";

/// What is known of a captured task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Captured {
    pub(crate) task: String,
    pub(crate) version: u32,
    pub(crate) id: u64,
    pub(crate) attempt: u32,
    /// What was said of the worker.
    pub(crate) report: String,
    /// Since 1970, in milliseconds.
    pub(crate) taken_at: u64,
    pub(crate) attachments: Vec<u32>,
}

/// The bytes of a file.
pub(crate) fn to_bytes(captured: &Captured, payload: &Payload) -> Result<Vec<u8>, String> {
    let mut bytes = BytesMut::from(MAGIC);
    codec::encode_header(captured, &mut bytes)?;
    let mut bytes = bytes.to_vec();
    for chunk in payload.chunks() {
        bytes.extend_from_slice(chunk);
    }
    Ok(bytes)
}

/// What a file says.
pub(crate) fn from_bytes(mut bytes: Bytes) -> Result<(Captured, Payload), String> {
    if !bytes.starts_with(MAGIC) {
        return Err("it is no capture of a task, or one of another version".to_owned());
    }
    bytes.advance(MAGIC.len());
    let (captured, taken): (Captured, usize) = codec::decode_header(&bytes)?;
    bytes.advance(taken.min(bytes.len()));
    let payload = Payload::split(bytes, &captured.attachments)
        .ok_or_else(|| "it is cut off, or its lengths are not those of its parts".to_owned())?;
    Ok((captured, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(attachments: Vec<u32>) -> Captured {
        Captured {
            task: "resize".to_owned(),
            version: 3,
            id: 17,
            attempt: 2,
            report: "worker 0.3 was lost".to_owned(),
            taken_at: 1_800_000_000_000,
            attachments,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let attached = vec![Bytes::from(vec![7; 2000]), Bytes::from(vec![8; 1500])];
        let payload = Payload::new(Bytes::from_static(b"body"), attached);
        let captured = captured(vec![2000, 1500]);
        let bytes = to_bytes(&captured, &payload).unwrap();
        let (back, read) = from_bytes(bytes.into()).unwrap();
        assert_eq!(back, captured);
        assert!(read.chunks().eq(payload.chunks()));
    }

    #[test]
    fn no_part_of_a_file_is_a_file() {
        let payload = Payload::new(Bytes::new(), vec![Bytes::from(vec![7; 2000])]);
        let bytes = Bytes::from(to_bytes(&captured(vec![2000]), &payload).unwrap());
        for length in 0..bytes.len() {
            assert!(from_bytes(bytes.slice(..length)).is_err(), "{length}");
        }
        let mut other = bytes.to_vec();
        other[MAGIC.len() - 2] += 1;
        assert!(from_bytes(other.into()).is_err());
    }
}
