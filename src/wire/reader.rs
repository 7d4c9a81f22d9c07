//! Cuts a byte stream into frames, and parts back into values.
//!
//! Belongs here: buffering and limits of what comes in. Does not belong here: sockets, what frames mean.
//! Invariant: a length is checked before a byte is allocated for it.

use std::collections::HashMap;

use crate::wire::{FRAME_BYTES, Payload, Spares, spare::SPARE_FROM};

/// What is wrong with a byte stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameError {
    pub(crate) claimed: usize,
}

const START_BYTES: usize = 64 * 1024;

/// A reusable buffer with whole and half frames in it.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl FrameReader {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; START_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// Where to read the next bytes to; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        let needed = self.frame_length().unwrap_or(0).min(FRAME_BYTES) + 4;
        if self.start > 0 && self.start + needed > self.buffer.len()
            || self.end == self.buffer.len()
        {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        // Whoever takes frames out before it reads on never has a full one.
        let full = self.end == self.buffer.len();
        let needed = needed.max(self.end + if full { START_BYTES } else { 0 });
        if let Some(more) = needed.checked_sub(self.buffer.len()) {
            // No more than that, where it would take twice as much as it has.
            self.buffer.reserve_exact(more);
            self.buffer.resize(needed, 0);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// The first `bytes` of what [`FrameReader::space`] returned are filled now.
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer.len());
    }

    /// Whether a frame has begun and is not complete.
    pub(crate) fn is_partial(&self) -> bool {
        self.start != self.end
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn frame_length(&self) -> Option<usize> {
        let prefix = self.buffer.get(self.start..self.start + 4)?;
        if self.end - self.start < 4 {
            return None;
        }
        let prefix: [u8; 4] = prefix.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(prefix)).ok()
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let Some(length) = self.frame_length() else {
            return Ok(None);
        };
        if length > FRAME_BYTES {
            return Err(FrameError { claimed: length });
        }
        let from = self.start + 4;
        if self.end - from < length {
            return Ok(None);
        }
        self.start = from + length;
        Ok(self.buffer.get(from..from + length))
    }
}

/// Why a value in parts cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AssemblyError {
    TooLarge { bytes: u64, limit: usize },
    Unannounced { ticket: u64 },
    Overrun { ticket: u64 },
    Lengths,
}

#[derive(Debug)]
struct Partial<H> {
    header: H,
    attachments: Vec<u32>,
    bytes: Vec<u8>,
    total: usize,
}

/// Values of which not all parts have come yet; `H` is what the first frame said of them.
#[derive(Debug)]
pub(crate) struct Assembly<H> {
    partial: HashMap<u64, Partial<H>>,
    limit: usize,
    spares: Spares,
}

impl<H> Assembly<H> {
    /// Of values no larger than this, which are read into what `spares` has.
    pub(crate) fn new(limit: usize, spares: &Spares) -> Self {
        Self {
            partial: HashMap::new(),
            limit,
            spares: spares.clone(),
        }
    }

    /// The first frame of a value. Returns it when it is whole.
    pub(crate) fn first(
        &mut self,
        ticket: u64,
        header: H,
        attachments: Vec<u32>,
        rest: u64,
        tail: &[u8],
    ) -> Result<Option<(H, Payload)>, AssemblyError> {
        // Also when this one is whole: what has come of the other would stay as long as the connection.
        if self.partial.contains_key(&ticket) {
            return Err(AssemblyError::Overrun { ticket });
        }
        let total = rest.saturating_add(tail.len() as u64);
        if total > self.limit as u64 {
            return Err(AssemblyError::TooLarge {
                bytes: total,
                limit: self.limit,
            });
        }
        if rest == 0 {
            let payload = if attachments.is_empty() && tail.len() < SPARE_FROM {
                Payload::copied(tail)
            } else {
                let mut bytes = self.spares.take(tail.len());
                bytes.extend_from_slice(tail);
                Payload::split(self.spares.lend(bytes), &attachments)
                    .ok_or(AssemblyError::Lengths)?
            };
            return Ok(Some((header, payload)));
        }
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        // At once, to spare large values the copies of growth.
        let mut bytes = self.spares.take(total);
        bytes.extend_from_slice(tail);
        let partial = Partial {
            header,
            attachments,
            bytes,
            total,
        };
        self.partial.insert(ticket, partial);
        Ok(None)
    }

    /// A further part. Returns the value when it is whole.
    pub(crate) fn part(
        &mut self,
        ticket: u64,
        tail: &[u8],
    ) -> Result<Option<(H, Payload)>, AssemblyError> {
        let partial = self
            .partial
            .get_mut(&ticket)
            .ok_or(AssemblyError::Unannounced { ticket })?;
        if partial.bytes.len() + tail.len() > partial.total || tail.is_empty() {
            return Err(AssemblyError::Overrun { ticket });
        }
        partial.bytes.extend_from_slice(tail);
        if partial.bytes.len() < partial.total {
            return Ok(None);
        }
        let Some(whole) = self.partial.remove(&ticket) else {
            return Ok(None);
        };
        let payload = Payload::split(self.spares.lend(whole.bytes), &whole.attachments)
            .ok_or(AssemblyError::Lengths)?;
        Ok(Some((whole.header, payload)))
    }

    /// Whether parts of this value are still to come.
    pub(crate) fn contains(&self, ticket: u64) -> bool {
        self.partial.contains_key(&ticket)
    }

    /// Bytes taken for values that are not whole yet.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        let partial = self.partial.values();
        partial.map(|partial| partial.bytes.capacity()).sum()
    }
}
