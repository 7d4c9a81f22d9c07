//! The bytes of a value while it is encoded.
//!
//! Belongs here: where they are until it is known how many there are. Does not belong here: what they mean.

use std::cell::Cell;

use bytes::Bytes;

use super::{
    copy::copied,
    payload::{INLINE, Payload},
};

/// The largest scratch buffer a thread keeps; a larger body takes its buffer along instead of being copied from it.
const KEPT_SCRATCH: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Bytes that are being encoded. Most are few, and are never anywhere else than where they are kept.
#[derive(Default)]
pub(super) struct Draft {
    /// How many there are, as long as they are few.
    len: u8,
    few: [u8; INLINE],
    /// All of them, as soon as they are more.
    many: Option<Vec<u8>>,
}

impl Draft {
    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        match self.few.get_mut(usize::from(self.len)) {
            Some(place) => {
                *place = byte;
                self.len += 1;
            }
            None => self.extend(&[byte]),
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let len = usize::from(self.len);
        if let Some(place) = self.few.get_mut(len..len + bytes.len()) {
            place.copy_from_slice(bytes);
            // At most `INLINE`.
            self.len += bytes.len() as u8;
            return;
        }
        let few = self.few.get(..len).unwrap_or_default();
        let many = self.many.get_or_insert_with(|| {
            // Empty where this is an encode within an encode.
            let mut many = SCRATCH.try_with(Cell::take).unwrap_or_default();
            many.clear();
            many.extend_from_slice(few);
            many
        });
        many.extend_from_slice(bytes);
        // No more of them go there.
        self.len = u8::MAX;
    }

    #[inline]
    pub(super) fn into_payload(self, attachments: Vec<Bytes>) -> Payload {
        match self.many {
            None if attachments.is_empty() => Payload::Inline {
                len: self.len,
                bytes: self.few,
            },
            None => {
                let few = self.few.get(..usize::from(self.len)).unwrap_or_default();
                Payload::new(Bytes::copy_from_slice(few), attachments)
            }
            Some(many) => Self::many_into_payload(many, attachments),
        }
    }

    fn many_into_payload(mut many: Vec<u8>, attachments: Vec<Bytes>) -> Payload {
        if many.capacity() > KEPT_SCRATCH {
            many.shrink_to_fit();
            return Payload::new(Bytes::from(many), attachments);
        }
        let payload = if attachments.is_empty() {
            Payload::copied(&many)
        } else {
            Payload::new(copied(&many), attachments)
        };
        // A thread that ends has none any more.
        let _ = SCRATCH.try_with(|scratch| scratch.set(many));
        payload
    }
}

#[cfg(test)]
pub(super) fn scratch_capacity() -> usize {
    let scratch = SCRATCH.take();
    let capacity = scratch.capacity();
    SCRATCH.set(scratch);
    capacity
}
