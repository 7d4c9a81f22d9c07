//! Puts parts back into values.
//!
//! Belongs here: values of which not all has come, and their limits. Does not belong here: frames, what the values mean.
//! Invariants: a length is checked before a byte is allocated for it; what is still to come of one frame's tail is read first.

use std::{collections::HashMap, ops::Range};

use bytes::Bytes;

use crate::wire::{
    FrameReader, Payload, Spares,
    copy::{append, copy},
    spare::SPARE_FROM,
};

/// So much of a buffer that was never used is prepared for a read at once: of what may never come.
const STEP_BYTES: usize = 256 * 1024;

/// While a value comes in parts, so much is read in front of one: its header, and no more than that of what is to be read to where
/// it belongs.
const HEAD_BYTES: usize = 4096;

/// What lies behind the header of a frame.
#[derive(Debug)]
pub(crate) struct Tail<'a> {
    source: Source<'a>,
    /// So many bytes are still to come.
    pub(crate) more: usize,
}

/// Where what is here lies.
#[derive(Debug)]
enum Source<'a> {
    Slice(&'a [u8]),
    Reader(&'a mut FrameReader, Range<usize>),
}

impl<'a> From<&'a [u8]> for Tail<'a> {
    fn from(here: &'a [u8]) -> Self {
        Self {
            source: Source::Slice(here),
            more: 0,
        }
    }
}

impl<'a> Tail<'a> {
    /// What was read to that place in `reader`.
    pub(super) fn read(reader: &'a mut FrameReader, at: Range<usize>, more: usize) -> Self {
        Self {
            source: Source::Reader(reader, at),
            more,
        }
    }

    /// What has come of it.
    pub(crate) fn here(&self) -> &[u8] {
        match &self.source {
            Source::Slice(here) => here,
            Source::Reader(reader, at) => reader.bytes(at.clone()),
        }
    }

    /// What is here where it was read, if that is better than a copy.
    fn shared(&mut self, spares: &Spares) -> Option<Bytes> {
        match &mut self.source {
            Source::Slice(_) => None,
            Source::Reader(reader, at) => reader.share(at.clone(), spares),
        }
    }

    fn len(&self) -> usize {
        self.here().len() + self.more
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

/// What the first frame of a value said, and the value.
pub(crate) type Whole<H> = (H, Payload);

#[derive(Debug)]
struct Partial<H> {
    header: H,
    attachments: Vec<u32>,
    /// As long as it was ever used, the first so many bytes for this value.
    buffer: Vec<u8>,
    filled: usize,
    total: usize,
}

impl<H> Partial<H> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        if let Some(place) = self.buffer.get_mut(self.filled..end) {
            copy(bytes, place);
        } else {
            self.buffer.truncate(self.filled);
            append(bytes, &mut self.buffer);
        }
        self.filled = end;
    }

    /// Where to read up to so many bytes to.
    fn space(&mut self, bytes: usize) -> &mut [u8] {
        let most = self.filled + bytes;
        let end = most.min(self.buffer.len().max(self.filled + STEP_BYTES));
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        self.buffer.get_mut(self.filled..end).unwrap_or_default()
    }
}

/// Values of which not all parts have come yet; `H` is what the first frame said of them.
#[derive(Debug)]
pub(crate) struct Assembly<H> {
    partial: HashMap<u64, Partial<H>>,
    limit: usize,
    spares: Spares,
    /// The rest of a frame's tail that comes next: for which value, and how many bytes.
    open: Option<(u64, usize)>,
}

impl<H> Assembly<H> {
    /// Of values no larger than this, which are read into what `spares` has.
    pub(crate) fn new(limit: usize, spares: &Spares) -> Self {
        Self {
            partial: HashMap::new(),
            limit,
            spares: spares.clone(),
            open: None,
        }
    }

    /// The first frame of a value. Returns it when it is whole.
    pub(crate) fn first<'a>(
        &mut self,
        ticket: u64,
        header: H,
        attachments: Vec<u32>,
        rest: u64,
        tail: impl Into<Tail<'a>>,
    ) -> Result<Option<Whole<H>>, AssemblyError> {
        let mut tail = tail.into();
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
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        let is_whole = tail.here().len() == total;
        if is_whole && attachments.is_empty() && total < SPARE_FROM {
            return Ok(Some((header, Payload::copied(tail.here()))));
        }
        if is_whole && let Some(bytes) = tail.shared(&self.spares) {
            let payload = Payload::split(bytes, &attachments).ok_or(AssemblyError::Lengths)?;
            return Ok(Some((header, payload)));
        }
        let mut partial = Partial {
            header,
            attachments,
            // At once, to spare large values the copies of growth; of one that is only announced none yet, others come first.
            buffer: match tail.len() {
                0 => Vec::new(),
                _ => self.spares.take(total),
            },
            filled: 0,
            total,
        };
        partial.put(tail.here());
        if is_whole {
            return self.whole(partial).map(Some);
        }
        self.open = (tail.more > 0).then_some((ticket, tail.more));
        self.partial.insert(ticket, partial);
        Ok(None)
    }

    /// A further part. Returns the value when it is whole.
    pub(crate) fn part<'a>(
        &mut self,
        ticket: u64,
        tail: impl Into<Tail<'a>>,
    ) -> Result<Option<Whole<H>>, AssemblyError> {
        let tail = tail.into();
        let partial = self
            .partial
            .get_mut(&ticket)
            .ok_or(AssemblyError::Unannounced { ticket })?;
        if partial.filled + tail.len() > partial.total || tail.len() == 0 {
            return Err(AssemblyError::Overrun { ticket });
        }
        if partial.buffer.capacity() == 0 {
            partial.buffer = self.spares.take(partial.total);
        }
        partial.put(tail.here());
        self.open = (tail.more > 0).then_some((ticket, tail.more));
        self.end(ticket)
    }

    /// Whether the rest of a frame's tail comes next.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Where to read the next bytes to: the rest of a frame's tail, or what `reader` makes of them; never empty.
    pub(crate) fn space<'a>(&'a mut self, reader: &'a mut FrameReader) -> &'a mut [u8] {
        let is_head = !self.partial.is_empty() && !reader.is_partial();
        let open = self.open.and_then(|(ticket, more)| {
            let partial = self.partial.get_mut(&ticket)?;
            Some(partial.space(more))
        });
        open.unwrap_or_else(|| {
            let most = if is_head { HEAD_BYTES } else { usize::MAX };
            let space = reader.space();
            let most = space.len().min(most);
            space.get_mut(..most).unwrap_or_default()
        })
    }

    /// The first `bytes` of what [`space`](Self::space) returned are filled now. Returns a value when it is whole so.
    pub(crate) fn filled(
        &mut self,
        bytes: usize,
        reader: &mut FrameReader,
    ) -> Result<Option<(u64, Whole<H>)>, AssemblyError> {
        let Some((ticket, more)) = self.open else {
            reader.filled(bytes);
            return Ok(None);
        };
        let bytes = bytes.min(more);
        if let Some(partial) = self.partial.get_mut(&ticket) {
            partial.filled += bytes;
        }
        self.open = (bytes < more).then_some((ticket, more - bytes));
        let whole = self.end(ticket)?;
        Ok(whole.map(|whole| (ticket, whole)))
    }

    /// Takes a value out when all of it has come.
    fn end(&mut self, ticket: u64) -> Result<Option<Whole<H>>, AssemblyError> {
        let partial = self.partial.get(&ticket);
        if partial.is_none_or(|partial| partial.filled < partial.total) {
            return Ok(None);
        }
        let whole = self.partial.remove(&ticket);
        whole.map(|whole| self.whole(whole)).transpose()
    }

    fn whole(&self, partial: Partial<H>) -> Result<Whole<H>, AssemblyError> {
        let bytes = self.spares.lend(partial.buffer, partial.total);
        let payload = Payload::split(bytes, &partial.attachments).ok_or(AssemblyError::Lengths)?;
        Ok((partial.header, payload))
    }

    /// Whether parts of this value are still to come.
    pub(crate) fn contains(&self, ticket: u64) -> bool {
        self.partial.contains_key(&ticket)
    }

    /// Bytes taken for values that are not whole yet.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        let partial = self.partial.values();
        partial.map(|partial| partial.buffer.capacity()).sum()
    }
}
