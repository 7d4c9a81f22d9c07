//! Queues frames for a byte stream and hands them out in as few writes as possible.
//!
//! Belongs here: coalescing, and cutting large values into parts between which small frames pass.
//! Does not belong here: sockets.
//! Invariant: the parts of one value leave in order, a small frame waits for at most one part, and a large value for at most one
//! turn of each other.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;

use crate::wire::{PART_BYTES, Payload, frame::frame_bytes};

/// Bytes that are copied behind their header instead of being written from where they are.
const COPY_BYTES: usize = 4 * 1024;

/// A write ends with the chunk that makes it so many bytes. So whoever has several large values at hand writes them as one who
/// has one at a time does, and both sides of a connection make the same pages of the kernel's: of the same sizes. It
/// keeps free ones by size for each CPU; what only one side makes wanders from its CPU to the other's, and is taken new from all the
/// memory there is. Measured with echoes of 64 KiB in half a second: 600 MiB of pages instead of 5.
const WRITE_BYTES: usize = 64 * 1024;

/// So many bytes of one value leave before another has its turn. Values that take turns by the part are all in pieces at once; of
/// those that follow each other one is whole early, is done with, and leaves its buffer to the next while that is in a cache.
/// Measured with echoes of 1 MiB, four at a time with each worker: two buffers in a worker instead of eight, and a fifth more bytes
/// a second.
pub(super) const TURN_BYTES: usize = 1024 * 1024;

/// What it has for a start: it grows with what is queued, and many hardly ever have anything.
const FIRST_BYTES: usize = 1024;

#[derive(Debug)]
struct Rest<P> {
    part: P,
    chunks: VecDeque<Bytes>,
    left: usize,
    /// So many bytes are left when it is another's turn.
    turn_ends: usize,
}

impl<P> Rest<P> {
    fn begin_turn(&mut self) {
        self.turn_ends = self.left.saturating_sub(TURN_BYTES);
        // What is a little longer than its turn is not kept in pieces for that.
        if self.turn_ends <= PART_BYTES {
            self.turn_ends = 0;
        }
    }
}

/// Frames on their way out. `P` is the header of a further part.
#[derive(Debug)]
pub(crate) struct FrameWriter<P> {
    /// Finished chunks, before `tail`.
    queue: VecDeque<Bytes>,
    tail: BytesMut,
    rests: VecDeque<Rest<P>>,
    pending: usize,
    /// Bytes queued and bytes written since the beginning: positions in the stream.
    queued: u64,
    written: u64,
}

impl<P: Serialize> FrameWriter<P> {
    pub(crate) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            tail: BytesMut::with_capacity(FIRST_BYTES),
            rests: VecDeque::new(),
            pending: 0,
            queued: 0,
            written: 0,
        }
    }

    /// Bytes that could be written right now.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// The position behind all that has been queued, parts to come excepted.
    pub(crate) fn mark(&self) -> u64 {
        self.queued
    }

    /// Whether parts with this header have yet to be queued.
    pub(crate) fn has_parts(&self, part: &P) -> bool
    where
        P: PartialEq,
    {
        self.rests.iter().any(|rest| rest.part == *part)
    }

    /// The position up to which everything was written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    fn grew(&mut self, bytes: usize) {
        self.pending += bytes;
        self.queued += bytes as u64;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending == 0 && self.rests.is_empty()
    }

    /// Queues a frame without a value.
    pub(crate) fn frame<H: Serialize>(&mut self, header: &H) -> Result<(), String> {
        self.frame_with(header, &[])
    }

    /// Queues a frame with a short tail.
    pub(crate) fn frame_with<H: Serialize>(
        &mut self,
        header: &H,
        tail: &[u8],
    ) -> Result<(), String> {
        let before = self.tail.len();
        frame_bytes(header, tail, &mut self.tail)?;
        self.grew(self.tail.len() - before);
        Ok(())
    }

    /// Queues a value: `header(rest)` makes its first frame, `part` heads each further one.
    pub(crate) fn value<H: Serialize>(
        &mut self,
        header: impl FnOnce(u64) -> H,
        part: P,
        payload: &Payload,
    ) -> Result<(), String> {
        let total = payload.len();
        if total <= COPY_BYTES {
            let before = self.tail.len();
            let mut chunks = payload.chunks();
            let body = chunks.next().unwrap_or_default();
            frame_bytes(&header(0), body, &mut self.tail)?;
            let mut more = 0;
            for chunk in chunks {
                self.tail.extend_from_slice(chunk);
                more += chunk.len();
            }
            if more > 0 {
                self.patch(before)?;
            }
            self.grew(self.tail.len() - before);
            return Ok(());
        }
        let mut chunks: VecDeque<Bytes> = payload
            .shared_chunks()
            .filter(|chunk| !chunk.is_empty())
            .collect();
        // One that will come in pieces is no more than announced while there are others: that keeps its place among small frames.
        let announced = total > PART_BYTES && !self.rests.is_empty();
        let first = take(&mut chunks, if announced { 0 } else { PART_BYTES });
        let sent: usize = first.iter().map(Bytes::len).sum();
        let left = total - sent;
        self.large(&header(left as u64), sent, first)?;
        if left > 0 {
            let mut rest = Rest {
                part,
                chunks,
                left,
                turn_ends: 0,
            };
            rest.begin_turn();
            self.rests.push_back(rest);
        }
        Ok(())
    }

    /// Writes the true length of the frame that begins at `start` of the tail.
    fn patch(&mut self, start: usize) -> Result<(), String> {
        let length = u32::try_from(self.tail.len() - start - 4)
            .map_err(|_| "frame longer than 4 GiB".to_owned())?;
        if let Some(prefix) = self.tail.get_mut(start..start + 4) {
            prefix.copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    }

    /// Queues a frame whose tail is written from where it is.
    fn large<H: Serialize>(
        &mut self,
        header: &H,
        bytes: usize,
        chunks: Vec<Bytes>,
    ) -> Result<(), String> {
        let before = self.tail.len();
        frame_bytes(header, &[], &mut self.tail)?;
        let own = self.tail.len() - before - 4;
        let length =
            u32::try_from(own + bytes).map_err(|_| "frame longer than 4 GiB".to_owned())?;
        if let Some(prefix) = self.tail.get_mut(before..before + 4) {
            prefix.copy_from_slice(&length.to_le_bytes());
        }
        self.grew(own + 4 + bytes);
        self.queue.push_back(self.tail.split().freeze());
        self.queue.extend(chunks);
        Ok(())
    }

    /// Puts the next part of a large value behind what is queued, when little is.
    fn refill(&mut self) -> Result<(), String> {
        // One part at a time, so that frames queued from now on wait for no more than that.
        if self.pending == 0
            && let Some(mut rest) = self.rests.pop_front()
        {
            let chunks = take(&mut rest.chunks, PART_BYTES);
            let bytes: usize = chunks.iter().map(Bytes::len).sum();
            self.large(&rest.part, bytes, chunks)?;
            rest.left -= bytes;
            if rest.left > rest.turn_ends {
                self.rests.push_front(rest);
            } else if rest.left > 0 {
                rest.begin_turn();
                self.rests.push_back(rest);
            }
        }
        Ok(())
    }

    /// Fills `slices` with what to write next and returns how many it filled: all there is, or up to and with the one that makes it
    /// [`WRITE_BYTES`].
    pub(crate) fn slices<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> Result<usize, String> {
        self.refill()?;
        let mut filled = 0;
        let chunks = self
            .queue
            .iter()
            .map(AsRef::<[u8]>::as_ref)
            .chain(std::iter::once(self.tail.as_ref()))
            .filter(|chunk| !chunk.is_empty());
        let mut bytes = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            if bytes >= WRITE_BYTES {
                break;
            }
            bytes += chunk.len();
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        Ok(filled)
    }

    /// Takes note that this many bytes were written.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        self.pending = self.pending.saturating_sub(bytes);
        self.written += bytes as u64;
        while bytes > 0 {
            let Some(front) = self.queue.front_mut() else {
                let bytes = bytes.min(self.tail.len());
                self.tail.advance(bytes);
                if self.tail.is_empty() {
                    // Takes the whole buffer back for the next frames.
                    self.tail.clear();
                }
                return;
            };
            let from_front = bytes.min(front.len());
            front.advance(from_front);
            bytes -= from_front;
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
    }
}

/// Takes up to `limit` bytes from the front.
fn take(chunks: &mut VecDeque<Bytes>, limit: usize) -> Vec<Bytes> {
    let mut taken = Vec::new();
    let mut room = limit;
    while room > 0 {
        let Some(mut front) = chunks.pop_front() else {
            break;
        };
        if front.len() > room {
            let piece = front.split_to(room);
            chunks.push_front(front);
            taken.push(piece);
            break;
        }
        room -= front.len();
        taken.push(front);
    }
    taken
}
