//! An output stream of a worker that comes through the host.
//!
//! Belongs here: passing bytes on, and keeping the last of them. Does not belong here: lines, reports, and
//! how the host's stream is written to.
//! Invariant: the host's arbiter never waits for its own output stream, and keeps a bounded part of a worker's.

use std::{
    collections::VecDeque,
    fmt,
    io::Write,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, ReadBuf};

use crate::supervisor::spout::Spout;

/// How much of a stream's end is kept.
const TAIL: usize = 8 * 1024;

/// How much waits for the host's own stream before the worker has to,
const PENDING: usize = 64 * 1024;
/// and when the worker has ended, with what was still in the pipe.
const LAST: usize = 4 * PENDING;

/// Copies what a worker writes, and remembers the end of it.
pub(crate) struct Relay {
    from: Option<Pin<Box<dyn AsyncRead>>>,
    to: Spout,
    tail: VecDeque<u8>,
}

impl Relay {
    pub(crate) fn new(from: impl AsyncRead + 'static, to: impl Write + Send + 'static) -> Self {
        Self {
            from: Some(Box::pin(from)),
            to: Spout::new(to),
            tail: VecDeque::new(),
        }
    }

    /// Moves on as far as both sides allow.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        // A host whose own stream is stuck holds its workers back, as an inherited stream would.
        self.copy(PENDING, cx);
    }

    fn copy(&mut self, limit: usize, cx: &mut Context<'_>) {
        while self.from.is_some() && self.to.poll_below(limit, cx).is_ready() && self.read(cx) {}
    }

    /// Waits until the worker's side, which has ended, is read to its end.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.copy(LAST, cx);
        if self.from.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Waits until all that came is written.
    pub(crate) fn poll_written(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.to.poll_below(1, cx)
    }

    /// Reads once. Returns whether anything came.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(from) = &mut self.from else {
            return false;
        };
        let mut buffer = [0; 4096];
        let mut buffer = ReadBuf::new(&mut buffer);
        match from.as_mut().poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.to.push(buffer.filled());
                self.tail.extend(buffer.filled());
                let excess = self.tail.len().saturating_sub(TAIL);
                self.tail.drain(..excess);
                true
            }
            Poll::Ready(_) => {
                self.from = None;
                false
            }
            Poll::Pending => false,
        }
    }

    /// The last bytes that came, as text.
    pub(crate) fn tail(&self) -> String {
        let (a, b) = self.tail.as_slices();
        String::from_utf8_lossy(&[a, b].concat()).into_owned()
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}
