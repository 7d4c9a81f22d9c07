//! A connection's byte stream.
//!
//! Belongs here: one way to read and write whatever carries the bytes. Does not belong here: frames.
//! Invariant: reads and writes take `&self`, so that whoever has something to write can do so at once.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use interprocess::local_socket::tokio::Stream as LocalStream;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

#[cfg(feature = "test-util")]
use crate::ipc::FaultyStream;
use crate::ipc::socket::Socket;

/// A local socket, or an in-memory pipe for tests.
#[derive(Debug)]
pub(crate) enum Stream {
    Local(Socket),
    #[cfg_attr(
        not(feature = "test-util"),
        expect(dead_code, reason = "made by the in-process launcher")
    )]
    Memory(RefCell<DuplexStream>),
    #[cfg(feature = "test-util")]
    Faulty(FaultyStream),
}

impl Stream {
    pub(super) fn local(stream: LocalStream) -> io::Result<Self> {
        Socket::new(stream).map(Self::Local)
    }

    #[cfg(unix)]
    pub(super) fn blocking(stream: interprocess::local_socket::Stream) -> io::Result<Self> {
        Socket::blocking(stream).map(Self::Local)
    }

    /// Two ends of an in-memory pipe.
    #[cfg(feature = "test-util")]
    pub(crate) fn memory() -> (Self, Self) {
        let (a, b) = tokio::io::duplex(1024 * 1024);
        (Self::Memory(RefCell::new(a)), Self::Memory(RefCell::new(b)))
    }

    /// Reads into `buffer`; 0 bytes mean that the peer has closed.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Local(socket) => socket.poll_read(cx, buffer),
            Self::Memory(pipe) => {
                let mut buffer = ReadBuf::new(buffer);
                let read = Pin::new(&mut *pipe.borrow_mut()).poll_read(cx, &mut buffer);
                read.map_ok(|()| buffer.filled().len())
            }
            #[cfg(feature = "test-util")]
            Self::Faulty(stream) => stream.poll_read(cx, buffer),
        }
    }

    /// Whether [`poll_left`](Self::poll_left) finds all that a peer that has ended has written.
    pub(crate) fn left_is_all(&self) -> bool {
        match self {
            #[cfg(feature = "test-util")]
            Self::Faulty(_) => false,
            _ => cfg!(unix),
        }
    }

    /// Reads what a peer that has ended has left, whether or not it has been announced yet. Pending means that nothing is
    /// left; it may be all that is ever said.
    pub(crate) fn poll_left(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            #[cfg(unix)]
            Self::Local(socket) => socket.poll_left(buffer),
            _ => self.poll_read(cx, buffer),
        }
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx, &[IoSlice::new(bytes)])).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads until `buffer` is full.
    pub(crate) async fn read_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = poll_fn(|cx| self.poll_read(cx, buffer)).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = buffer.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes some of `slices`.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Local(socket) => socket.poll_write(cx, slices),
            Self::Memory(pipe) => {
                let first = slices.first().map_or(&[][..], |slice| slice);
                Pin::new(&mut *pipe.borrow_mut()).poll_write(cx, first)
            }
            #[cfg(feature = "test-util")]
            Self::Faulty(stream) => stream.near.poll_write(cx, slices),
        }
    }
}
