//! An output stream of a worker that comes through the host.
//!
//! Belongs here: passing bytes on, and keeping the last of them. Does not belong here: lines, reports, and
//! how the host's stream is written to.
//! Invariant: the host's arbiter never waits for its own output stream, and keeps a bounded part of a worker's.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Write},
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

/// The host's end of such a stream.
pub(crate) trait Source: AsyncRead {
    /// Reads what is there, announced or not: `None` when nothing is, or where that cannot be known.
    fn read_left(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>>;
}

#[cfg(target_os = "linux")]
impl Source for tokio::net::unix::pipe::Receiver {
    fn read_left(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        loop {
            match rustix::io::read(&*self, &mut *buffer) {
                Err(rustix::io::Errno::AGAIN) => return None,
                Err(rustix::io::Errno::INTR) => {}
                read => return Some(read.map_err(io::Error::from)),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Source for tokio::process::ChildStdout {
    fn read_left(&mut self, _: &mut [u8]) -> Option<io::Result<usize>> {
        None
    }
}

#[cfg(not(target_os = "linux"))]
impl Source for tokio::process::ChildStderr {
    fn read_left(&mut self, _: &mut [u8]) -> Option<io::Result<usize>> {
        None
    }
}

/// Copies what a worker writes, and remembers the end of it.
pub(crate) struct Relay {
    from: Option<Box<dyn Source + Unpin>>,
    to: Spout,
    tail: VecDeque<u8>,
}

impl Relay {
    pub(crate) fn new(
        from: impl Source + Unpin + 'static,
        to: impl Write + Send + 'static,
    ) -> Self {
        Self {
            from: Some(Box::new(from)),
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

    /// Takes what a worker that has ended has left, at once and however much the host's own stream is stuck: it is no
    /// more than fits into a pipe.
    pub(crate) fn take_left(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(from) = &mut self.from {
            match from.read_left(&mut buffer) {
                // What it has started may hold the other end open.
                None => return,
                Some(Ok(bytes)) if bytes > 0 => self.pass(buffer.get(..bytes).unwrap_or_default()),
                Some(_) => self.from = None,
            }
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.to.push(bytes);
        self.tail.extend(bytes);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
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
        let mut bytes = [0; 4096];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(from).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                let filled = buffer.filled().len();
                self.pass(bytes.get(..filled).unwrap_or_default());
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
