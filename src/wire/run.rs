//! Many small values in one frame.
//!
//! Belongs here: collecting them, and taking them apart again. Does not belong here: which values may share a frame.
//! Invariant: what is taken out is what was put in, or an error.
//!
//! Each value has its length in front of it, in two bytes. A frame of its own for a value of a few bytes costs more than the value:
//! its header has to be made, read and checked.

use bytes::Bytes;

use crate::wire::Payload;

/// So many values share a frame at most.
pub(crate) const RUN_VALUES: u32 = 256;

/// So many bytes do, lengths included.
const RUN_BYTES: usize = 32 * 1024;

/// A longer value has a frame of its own.
const VALUE_BYTES: usize = 4 * 1024;

/// Values that go into one frame. `H` says what they have in common.
#[derive(Debug)]
pub(crate) struct Run<H> {
    head: Option<H>,
    values: u32,
    bytes: Vec<u8>,
}

impl<H> Default for Run<H> {
    fn default() -> Self {
        Self {
            head: None,
            values: 0,
            bytes: Vec::new(),
        }
    }
}

impl<H> Run<H> {
    /// Whether a value of so many bytes may share a frame at all.
    #[inline]
    pub(crate) fn takes(bytes: usize) -> bool {
        bytes <= VALUE_BYTES
    }

    /// What its values have in common, and how many there are.
    #[inline]
    pub(crate) fn head(&self) -> Option<(&H, u32)> {
        self.head.as_ref().map(|head| (head, self.values))
    }

    /// Bytes that wait here.
    pub(crate) fn pending(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is room for one more of so many bytes.
    #[inline]
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.values < RUN_VALUES && self.bytes.len() + 2 + bytes <= RUN_BYTES
    }

    /// Adds one that [`takes`](Self::takes) and [`has_room`](Self::has_room) allow; the first with what they will have in common.
    pub(crate) fn push(&mut self, head: impl FnOnce() -> H, value: &[u8]) {
        self.head.get_or_insert_with(head);
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(value);
        self.values += 1;
    }

    /// Whether there is room for one more, however long it is.
    #[inline]
    pub(crate) fn has_room_for_any(&self) -> bool {
        self.has_room(VALUE_BYTES)
    }

    /// Adds one that is encoded here, if it turns out to be fit; else it is returned. There has to be
    /// [room](Self::has_room_for_any), and `encode` appends to what it is given, and attachments to the other.
    #[inline]
    pub(crate) fn encode<E>(
        &mut self,
        head: impl FnOnce() -> H,
        encode: impl FnOnce(&mut Vec<u8>, &mut Vec<Bytes>) -> Result<(), E>,
    ) -> Result<Option<Box<Payload>>, E> {
        /// Takes out what was written in vain, also by code that panics.
        struct Undo<'a> {
            bytes: &'a mut Vec<u8>,
            to: usize,
        }
        impl Drop for Undo<'_> {
            fn drop(&mut self) {
                self.bytes.truncate(self.to);
            }
        }

        let start = self.bytes.len();
        let mut undo = Undo {
            bytes: &mut self.bytes,
            to: start,
        };
        undo.bytes.extend_from_slice(&[0; 2]);
        let mut attachments = Vec::new();
        encode(undo.bytes, &mut attachments)?;
        let (length, value) = undo
            .bytes
            .get_mut(start..)
            .unwrap_or_default()
            .split_at_mut(2);
        if !attachments.is_empty() || !Self::takes(value.len()) {
            return Ok(Some(Box::new(alone(value, attachments))));
        }
        // At most `VALUE_BYTES`.
        length.copy_from_slice(&(value.len() as u16).to_le_bytes());
        undo.to = usize::MAX;
        drop(undo);
        self.head.get_or_insert_with(head);
        self.values += 1;
        Ok(None)
    }

    /// Hands over what is here: what the values have in common, how many there are, and their bytes.
    pub(crate) fn seal<R>(&mut self, write: impl FnOnce(H, u32, &[u8]) -> R) -> Option<R> {
        let head = self.head.take()?;
        let written = write(head, self.values, &self.bytes);
        self.values = 0;
        self.bytes.clear();
        Some(written)
    }
}

#[cold]
fn alone(value: &[u8], attachments: Vec<Bytes>) -> Payload {
    if attachments.is_empty() {
        return Payload::copied(value);
    }
    Payload::new(Bytes::copy_from_slice(value), attachments)
}

/// The values of a run, as far as they are whole.
#[inline]
pub(crate) fn each(run: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = run;
    std::iter::from_fn(move || {
        let (value, after) = first(rest)?;
        rest = after;
        Some(value)
    })
}

/// The values in the tail of a frame that says how many there are.
pub(crate) fn values(
    tail: &[u8],
    values: u32,
) -> Result<impl Iterator<Item = &[u8]> + Clone, String> {
    let each = each(tail);
    let (mut found, mut bytes) = (0, 0);
    for value in each.clone().take(RUN_VALUES as usize + 1) {
        found += 1;
        bytes += 2 + value.len();
    }
    if found != values || !(1..=RUN_VALUES).contains(&values) || bytes != tail.len() {
        return Err(format!("{values} values in {} bytes", tail.len()));
    }
    Ok(each)
}

/// How many bytes the first so many values take.
pub(crate) fn length(run: &[u8], values: u32) -> usize {
    let mut rest = run;
    for _ in 0..values {
        rest = first(rest).map_or(&[][..], |(_, rest)| rest);
    }
    run.len() - rest.len()
}

/// The value in front, and what is behind it.
#[inline]
pub(crate) fn first(run: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = run.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(of: &[&[u8]]) -> (u64, u32, Vec<u8>) {
        let mut run = Run::default();
        for (head, value) in (7..).zip(of) {
            assert!(Run::<u64>::takes(value.len()) && run.has_room(value.len()));
            run.push(|| head, value);
        }
        let sealed = run.seal(|head, values, bytes| (head, values, bytes.to_vec()));
        assert!(run.head().is_none() && run.pending() == 0);
        assert!(run.seal(|_, _, _| ()).is_none());
        sealed.unwrap()
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        let long = vec![1; VALUE_BYTES];
        let all: [&[u8]; 4] = [b"", b"a", &long, b"bcd"];
        let (head, count, bytes) = run(&all);
        assert_eq!((head, count), (7, 4));
        assert_eq!(values(&bytes, count).unwrap().collect::<Vec<_>>(), all);
        assert_eq!(first(&bytes).unwrap().0, b"");
    }

    #[test]
    fn what_is_encoded_here_is_fit_or_leaves_nothing() {
        let mut run = Run::default();
        let good = |bytes: &mut Vec<u8>, _: &mut Vec<Bytes>| {
            bytes.extend_from_slice(b"good");
            Ok::<_, ()>(())
        };
        assert!(matches!(run.encode(|| 1, good), Ok(None)));
        let long = run.encode(
            || 2,
            |bytes, _| {
                bytes.resize(bytes.len() + VALUE_BYTES + 1, 7);
                Ok::<_, ()>(())
            },
        );
        assert_eq!(long.unwrap().unwrap().body(), vec![7; VALUE_BYTES + 1]);
        let attached = run.encode(
            || 3,
            |bytes, attach| {
                bytes.push(9);
                attach.push(Bytes::from_static(b"blob"));
                Ok::<_, ()>(())
            },
        );
        let attached = attached.unwrap().unwrap();
        assert_eq!((attached.body(), attached.len()), (&[9][..], 5));
        let failed = run.encode(
            || 4,
            |bytes, _| {
                bytes.push(9);
                Err("no")
            },
        );
        assert_eq!(failed.unwrap_err(), "no");
        let panicked = crate::error::capture::contained(|| {
            let _ = run.encode(
                || 5,
                |bytes, _| -> Result<_, ()> {
                    bytes.push(9);
                    panic!("in the middle");
                },
            );
        });
        assert_eq!(panicked, None);
        assert!(matches!(run.encode(|| 6, good), Ok(None)));
        let sealed = run.seal(|head, values, bytes| (head, values, bytes.to_vec()));
        assert_eq!(sealed, Some((1, 2, b"\x04\0good\x04\0good".to_vec())));
    }

    #[test]
    fn another_number_of_values_and_half_a_value_are_errors() {
        let (_, count, bytes) = run(&[b"a", b"bc"]);
        for wrong in [0, 1, 3, u32::MAX] {
            assert!(values(&bytes, wrong).is_err());
        }
        for end in 0..bytes.len() {
            assert!(values(&bytes[..end], count).is_err());
        }
        // Behind the last one there is nothing.
        for rest in [&[0][..], &[9, 0, 1]] {
            assert!(values(&[&bytes[..], rest].concat(), count).is_err());
        }
        // Nobody sends a frame for nothing, but who floods.
        assert!(values(&[], 0).is_err());
        // Headers of zeros would become a value for each two bytes.
        let zeros = vec![0; 2 * 257];
        assert!(values(&zeros, 257).is_err());
        assert!(values(&zeros[..512], 256).is_ok());
    }

    #[test]
    fn there_is_a_most_of_values_and_of_bytes() {
        let mut run = Run::default();
        for _ in 0..RUN_VALUES {
            assert!(run.has_room(8));
            run.push(|| (), &[0; 8]);
        }
        assert!(!run.has_room(0));
        let mut run = Run::default();
        while run.has_room(VALUE_BYTES) {
            run.push(|| (), &[0; VALUE_BYTES]);
        }
        assert!(run.pending() <= RUN_BYTES && run.pending() > RUN_BYTES - VALUE_BYTES - 2);
        assert!(!Run::<()>::takes(VALUE_BYTES + 1));
    }
}
