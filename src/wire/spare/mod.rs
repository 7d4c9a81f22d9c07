//! Buffers that large values are read into, for the next large values.
//!
//! Belongs here: lending them, how many are kept, and which are not wanted any more. Does not belong here: what is read into
//! them, and the time.
//! Invariant: no more is kept than was in use at the same time before, nor than [`KEPT_BYTES`], nor when none was taken between
//! two sweeps.
//!
//! The system clears each page of fresh memory and takes a fault for it, which costs more than to copy a page, and the allocator
//! gives large pieces back to the system at once. Values that follow each other share the same few buffers instead.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use parking_lot::Mutex;

/// Below this a piece of memory is at hand in the allocator.
pub(super) const SPARE_FROM: usize = 32 * 1024;

/// So many are kept, of values that come and go in turn; a search looks at each.
const KEPT: usize = 32;

/// No more bytes are kept than this.
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// Where buffers come back to. Clones share them. Nothing is kept unless somebody sweeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spares {
    shelf: Arc<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// Buffers are kept, and whoever sweeps is awake.
    open: AtomicBool,
    /// Whoever sweeps and waits for something to do.
    sweeper: Mutex<Option<Waker>>,
    kept: Mutex<Kept>,
}

/// Those that wait, the last that came last.
#[derive(Debug, Default)]
struct Kept {
    buffers: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
    /// How often they have been looked at.
    sweeps: u64,
    /// One was taken since.
    taken: bool,
}

/// A buffer that others read, and that then comes back.
struct Lent {
    buffer: Vec<u8>,
    bytes: usize,
    home: Weak<Shelf>,
}

impl Spares {
    /// Whether buffers come back, from now on.
    pub(super) fn opens(&self) -> bool {
        self.shelf.opens()
    }

    /// A buffer with room for so many bytes, and for not many more: it may stay with its value for long. It is as long as it was
    /// ever used.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        // The pages of a new one cost nothing until bytes come.
        let fresh = || Vec::with_capacity(bytes);
        if bytes < SPARE_FROM || !self.opens() {
            return fresh();
        }
        let spare = self.shelf.kept.lock().take(bytes);
        spare.unwrap_or_else(fresh)
    }

    /// What was read into a buffer, so many bytes. When nobody has it any more the buffer comes back.
    pub(crate) fn lend(&self, mut buffer: Vec<u8>, bytes: usize) -> Bytes {
        if buffer.capacity() < SPARE_FROM || !self.shelf.is_open() {
            buffer.truncate(bytes);
            return buffer.into();
        }
        Bytes::from_owner(Lent {
            buffer,
            bytes,
            home: Arc::downgrade(&self.shelf),
        })
    }

    /// Somebody sweeps, and waits until there may be something to sweep.
    pub(crate) fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shelf.is_open() {
            return Poll::Ready(());
        }
        // Whoever takes one from now on finds this; before, it was not to be kept.
        let old = self.shelf.sweeper.lock().replace(cx.waker().clone());
        drop(old);
        Poll::Pending
    }

    /// Gives back what has not been wanted since the last time.
    pub(crate) fn sweep(&self) {
        let unwanted = {
            let mut kept = self.shelf.kept.lock();
            let unwanted = kept.unwanted();
            if !mem::take(&mut kept.taken) && kept.buffers.is_empty() {
                self.shelf.open.store(false, Ordering::SeqCst);
            }
            unwanted
        };
        drop(unwanted);
    }

    /// Nobody sweeps any more.
    pub(crate) fn close(&self) {
        let waker = self.shelf.sweeper.lock().take();
        drop(waker);
        let all = {
            let mut kept = self.shelf.kept.lock();
            self.shelf.open.store(false, Ordering::SeqCst);
            mem::take(&mut *kept)
        };
        drop(all);
    }

    /// Those that somebody says to sweep, and does not.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn swept() -> Self {
        let spares = Self::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(spares.poll_open(&mut cx).is_pending(), "they are new");
        spares
    }

    /// How many bytes are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.shelf.kept.lock().bytes
    }
}

impl Shelf {
    fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// Opens it if there is somebody who sweeps.
    fn opens(&self) -> bool {
        if self.is_open() {
            return true;
        }
        let Some(sweeper) = self.sweeper.lock().take() else {
            return false;
        };
        self.open.store(true, Ordering::SeqCst);
        sweeper.wake();
        true
    }
}

impl Kept {
    /// One with room for so many bytes.
    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        self.taken = true;
        let fits = bytes..=bytes + bytes / 4;
        let fits = |(_, spare): &(u64, Vec<u8>)| fits.contains(&spare.capacity());
        // The last that came is the likeliest to be in a cache.
        let index = self.buffers.iter().rposition(fits)?;
        let (_, spare) = self.buffers.remove(index)?;
        self.bytes -= spare.capacity();
        Some(spare)
    }

    /// Keeps one. Returns those that have to go for it.
    fn put(&mut self, buffer: Vec<u8>) -> Vec<Vec<u8>> {
        if buffer.capacity() > KEPT_BYTES {
            return vec![buffer];
        }
        self.bytes += buffer.capacity();
        self.buffers.push_back((self.sweeps, buffer));
        self.give_back_while(|kept| kept.buffers.len() > KEPT || kept.bytes > KEPT_BYTES)
    }

    /// Those that were there at the last look.
    fn unwanted(&mut self) -> Vec<Vec<u8>> {
        self.sweeps += 1;
        self.give_back_while(|kept| {
            let oldest = kept.buffers.front();
            oldest.is_some_and(|(came, _)| came + 1 < kept.sweeps)
        })
    }

    /// The oldest ones.
    fn give_back_while(&mut self, too_many: impl Fn(&Self) -> bool) -> Vec<Vec<u8>> {
        let mut gone = Vec::new();
        while too_many(self)
            && let Some((_, oldest)) = self.buffers.pop_front()
        {
            self.bytes -= oldest.capacity();
            gone.push(oldest);
        }
        gone
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.bytes).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else {
            return;
        };
        let buffer = mem::take(&mut self.buffer);
        let gone = {
            let mut kept = home.kept.lock();
            // Looked at under the lock, or it could come behind the last sweep and stay.
            if home.is_open() {
                kept.put(buffer)
            } else {
                vec![buffer]
            }
        };
        drop(gone);
    }
}

#[cfg(test)]
mod tests;
