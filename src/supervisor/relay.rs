//! An output stream of a worker that comes through the host.
//!
//! Belongs here: passing bytes on, and keeping the last of them. Does not belong here: lines, reports.
//! Invariant: the host's arbiter never waits for its own output stream, and keeps a bounded part of a worker's.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much of a stream's end is kept.
const TAIL: usize = 8 * 1024;

/// How much waits for the host's own stream before the worker has to.
const PENDING: usize = 64 * 1024;

/// Copies what a worker writes, and remembers the end of it.
pub(crate) struct Relay {
    from: Option<Pin<Box<dyn AsyncRead>>>,
    to: Pin<Box<dyn AsyncWrite>>,
    pending: Vec<u8>,
    written: usize,
    tail: VecDeque<u8>,
}

impl Relay {
    pub(crate) fn new(from: impl AsyncRead + 'static, to: impl AsyncWrite + 'static) -> Self {
        Self {
            from: Some(Box::pin(from)),
            to: Box::pin(to),
            pending: Vec::new(),
            written: 0,
            tail: VecDeque::new(),
        }
    }

    /// Moves on as far as both sides allow.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            self.write(cx);
            // A host whose own stream is stuck holds its workers back, as an inherited stream would.
            if self.pending.len() >= PENDING || !self.read(cx) {
                let _ = self.to.as_mut().poll_flush(cx);
                return;
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        while let Some(rest) = self
            .pending
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            match self.to.as_mut().poll_write(cx, rest) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => self.written += bytes,
                Poll::Pending => return,
                // The host has no such stream any more: reading on keeps the worker from blocking.
                Poll::Ready(_) => break,
            }
        }
        self.pending.clear();
        self.written = 0;
    }

    /// Waits until the worker's side is closed.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx);
        if self.from.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
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
                self.pending.extend_from_slice(buffer.filled());
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
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}
