//! Writing to one of the host's own output streams without waiting for it.
//!
//! Belongs here: a thread that may block where the host must not. Does not belong here: what is written.
//! Invariants: neither an arbiter nor the end of a runtime waits for the thread, as it would for one of tokio's own; how
//! much is kept for it is bounded by its user; it goes when there has been nothing to write for a while, and at once
//! when there is nothing more and its user has gone.

use std::{
    fmt,
    io::Write,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::task::keep;

/// How long the thread waits for more.
const LINGER: Duration = Duration::from_secs(1);

/// How much is written at once. A pipe takes a write whole or lets it wait whole, so that of a stuck one no more than
/// this counts as waiting although it is written.
const PIECE: usize = 4 * 1024;

struct State {
    queue: Vec<u8>,
    /// Bytes that the thread has taken and not yet written.
    in_flight: usize,
    /// There is a thread, or one is about to start.
    running: bool,
    /// The thread has it while it runs.
    to: Option<Box<dyn Write + Send>>,
    /// Nothing more is to come.
    closed: bool,
    waker: Option<Waker>,
}

struct Shared {
    state: Mutex<State>,
    more: Condvar,
}

/// Takes bytes to an output stream.
pub(super) struct Spout {
    shared: Arc<Shared>,
}

impl Spout {
    pub(super) fn new(to: impl Write + Send + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    queue: Vec::new(),
                    in_flight: 0,
                    running: false,
                    to: Some(Box::new(to)),
                    closed: false,
                    waker: None,
                }),
                more: Condvar::new(),
            }),
        }
    }

    /// How many bytes wait to be written.
    pub(super) fn waiting(&self) -> usize {
        let state = self.shared.state.lock();
        state.queue.len() + state.in_flight
    }

    /// Waits until fewer bytes than this wait to be written.
    pub(super) fn poll_below(&self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.state.lock();
        if state.queue.len() + state.in_flight < bytes {
            return Poll::Ready(());
        }
        let old = keep(&mut state.waker, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Has these bytes written after those before.
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut state = self.shared.state.lock();
        state.queue.extend_from_slice(bytes);
        if state.running {
            self.shared.more.notify_one();
            return;
        }
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new()
            .name("worker-output".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || shared.run());
        match started {
            Ok(_) => state.running = true,
            // Lost, and the next try may have more luck: the worker must not wait for it.
            Err(_) => state.queue.clear(),
        }
    }
}

impl Drop for Spout {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        // It would keep its runtime as long as the thread is stuck.
        let waker = state.waker.take();
        self.shared.more.notify_one();
        drop(state);
        drop(waker);
    }
}

impl Shared {
    /// The thread.
    fn run(&self) {
        let mut bytes = Vec::new();
        let mut state = self.state.lock();
        let Some(mut to) = state.to.take() else {
            return;
        };
        loop {
            if state.queue.is_empty() && !state.closed {
                self.more.wait_for(&mut state, LINGER);
            }
            if state.queue.is_empty() {
                // Under the lock: who pushes now starts another thread.
                state.to = Some(to);
                state.running = false;
                return;
            }
            std::mem::swap(&mut state.queue, &mut bytes);
            state.in_flight = bytes.len();
            for piece in bytes.chunks(PIECE) {
                MutexGuard::unlocked(&mut state, || {
                    // An error is a host that has no such stream any more: reading on keeps the worker from blocking.
                    let _ = to.write_all(piece).and_then(|()| to.flush());
                });
                state.in_flight -= piece.len();
                if let Some(waker) = state.waker.take() {
                    MutexGuard::unlocked(&mut state, || waker.wake());
                }
            }
            bytes.clear();
        }
    }
}

impl fmt::Debug for Spout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spout")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::mpsc, time::Instant};

    use super::*;

    /// A stream that takes so many bytes and is stuck from then on.
    struct Stuck {
        takes: usize,
        until: mpsc::Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.takes == 0 {
                // Ends when the test does.
                let _ = self.until.recv();
            }
            let taken = bytes.len().min(self.takes.max(1));
            self.takes = self.takes.saturating_sub(taken);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a stuck stream has taken makes room, or how much a worker may write before it has to wait would depend on
    /// how late the thread is.
    #[test]
    fn what_a_stuck_stream_has_taken_waits_no_longer() {
        let (stuck, until) = mpsc::channel();
        let spout = Spout::new(Stuck {
            takes: 15 * PIECE,
            until,
        });
        spout.push(&vec![b'x'; 20 * PIECE]);
        let began = Instant::now();
        while spout.waiting() > 5 * PIECE {
            assert!(began.elapsed() < Duration::from_secs(30), "{spout:?}");
            thread::yield_now();
        }
        assert_eq!(spout.waiting(), 5 * PIECE);
        drop(stuck);
    }
}
