//! Cuts a byte stream into frames.
//!
//! Belongs here: buffering what comes in, and the limit of a frame. Does not belong here: sockets, what frames mean.
//! Invariants: a length is checked before a byte is allocated for it; nothing is read to a buffer that a value leads to.

use std::{fmt, mem, ops::Range};

use bytes::Bytes;

use crate::wire::{FRAME_BYTES, Header, Spares, Tail, blob::ATTACH_FROM, copy::copy, parse};

/// What is wrong with a byte stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameError {
    pub(crate) claimed: usize,
}

/// What a reader has for a start: of an idle worker, and of a connection for a word now and then, hardly anything ever comes. A
/// page.
const FIRST_BYTES: usize = 4096;

/// What it has from then on when so much came at once as it had room for.
const START_BYTES: usize = 64 * 1024;

/// A frame of no more bytes is waited for as a whole: to read the rest of it by itself would save less than that costs.
const WHOLE_BYTES: usize = 128 * 1024;

/// A value that is kept may keep so many times its own size with it, and no more.
const MOST_KEPT: usize = 16;

/// Why there is no next frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FrameFault {
    Length(FrameError),
    Unreadable(String),
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(error) => write!(f, "a frame of {} bytes", error.claimed),
            Self::Unreadable(why) => write!(f, "an unreadable frame: {why}"),
        }
    }
}

/// A reusable buffer with whole and half frames in it.
#[derive(Debug)]
pub(crate) struct FrameReader {
    /// Empty while values lead to it.
    buffer: Vec<u8>,
    /// The buffer once values lead to it, and where the next one is had.
    shared: Option<(Bytes, Spares)>,
    /// How much room there is to be for what comes next.
    room: usize,
    start: usize,
    end: usize,
}

impl FrameReader {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; FIRST_BYTES],
            shared: None,
            room: FIRST_BYTES,
            start: 0,
            end: 0,
        }
    }

    /// Where to read the next bytes to; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.shared.is_some() {
            self.replace();
        }
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        // Of a large frame this is to have the header, which is hardly ever large.
        let needed = match self.frame_length() {
            Some(length) if length <= WHOLE_BYTES => length + 4,
            _ => self.room,
        };
        if self.start > 0 && self.start + needed > self.buffer.len()
            || self.end == self.buffer.len()
        {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        // Unless it is wanted as a whole, or there are some that have not been taken out.
        let full = self.end == self.buffer.len() && needed <= self.end;
        let needed = if full { self.end + self.room } else { needed }.max(self.room);
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
        if self.end == self.buffer.len() {
            self.room = START_BYTES;
        }
    }

    /// Whether a frame has begun and is not complete.
    pub(crate) fn is_partial(&self) -> bool {
        self.start != self.end
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// All that was read, and room for more.
    fn buffer(&self) -> &[u8] {
        match &self.shared {
            None => &self.buffer,
            Some((shared, _)) => shared,
        }
    }

    /// What was read to there.
    pub(super) fn bytes(&self, at: Range<usize>) -> &[u8] {
        self.buffer().get(at).unwrap_or_default()
    }

    /// Leads a value to where it was read, if no copy of it would be better: where little came at once that costs hardly
    /// anything, and a small value in a large buffer would keep too much.
    pub(super) fn share(&mut self, at: Range<usize>, spares: &Spares) -> Option<Bytes> {
        let buffer = self.buffer().len();
        if at.len() < ATTACH_FROM || at.len() < buffer / MOST_KEPT || self.end < buffer / 2 {
            return None;
        }
        if self.shared.is_none() {
            // Fresh memory costs as much as a copy.
            if !spares.opens() {
                return None;
            }
            let buffer = mem::take(&mut self.buffer);
            let all = buffer.len();
            self.shared = Some((spares.lend(buffer, all), spares.clone()));
        }
        let (shared, _) = self.shared.as_ref()?;
        (at.end <= shared.len()).then(|| shared.slice(at))
    }

    /// Goes on with another buffer as large as the one that values lead to, with what was not taken out of that.
    #[cold]
    fn replace(&mut self) {
        let Some((shared, spares)) = self.shared.take() else {
            return;
        };
        let mut fresh = spares.take(shared.len());
        fresh.resize(shared.len(), 0);
        let rest = shared.get(self.start..self.end).unwrap_or_default();
        copy(rest, &mut fresh);
        (self.start, self.end) = (0, rest.len());
        self.buffer = fresh;
    }

    fn frame_length(&self) -> Option<usize> {
        let prefix = self.buffer().get(self.start..self.start + 4)?;
        if self.end - self.start < 4 {
            return None;
        }
        let prefix: [u8; 4] = prefix.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(prefix)).ok()
    }

    /// Where the next frame begins behind its length, how much of it is there, and how much is still to come.
    fn begun(&self) -> Result<Option<(usize, usize, usize)>, FrameError> {
        let Some(length) = self.frame_length() else {
            return Ok(None);
        };
        if length > FRAME_BYTES {
            return Err(FrameError { claimed: length });
        }
        let from = self.start + 4;
        let here = length.min(self.end - from);
        Ok(Some((from, here, length - here)))
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let Some((from, here, more)) = self.begun()? else {
            return Ok(None);
        };
        if more > 0 {
            return Ok(None);
        }
        self.start = from + here;
        Ok(self.buffer().get(from..from + here))
    }

    /// The next frame: its header and its tail. Of a large one that has no more than begun the tail is what is there, and the
    /// rest of it comes next, in front of the next frame: that is to be read to where it belongs, not to
    /// [`space`](Self::space).
    pub(crate) fn frame<H: Header>(&mut self) -> Result<Option<(H, Tail<'_>)>, FrameFault> {
        let begun = self.begun().map_err(FrameFault::Length)?;
        let Some((from, here, more)) = begun else {
            return Ok(None);
        };
        if more > 0 && here + more <= WHOLE_BYTES {
            return Ok(None);
        }
        let frame = self.buffer().get(from..from + here).unwrap_or_default();
        match parse::<H>(frame) {
            // Half a header, or one whose tail is of use only as a whole.
            Ok((header, _)) if more > 0 && !header.has_value() => Ok(None),
            Err(_) if more > 0 => Ok(None),
            Ok((header, here)) => {
                let to = from + frame.len();
                let tail = to - here.len()..to;
                self.start = to;
                Ok(Some((header, Tail::read(self, tail, more))))
            }
            Err(why) => Err(FrameFault::Unreadable(why)),
        }
    }
}
