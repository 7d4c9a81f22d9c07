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

/// Bytes of a socket buffer that are asked for; the system may grant less.
#[cfg(unix)]
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// A local socket, or an in-memory pipe for tests.
#[derive(Debug)]
pub(crate) enum Stream {
    Local(LocalStream),
    #[cfg_attr(
        not(feature = "test-util"),
        expect(dead_code, reason = "made by the in-process launcher")
    )]
    Memory(RefCell<DuplexStream>),
}

impl Stream {
    pub(super) fn local(stream: LocalStream) -> Self {
        raise_buffers(&stream);
        Self::Local(stream)
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
        let mut buffer = ReadBuf::new(buffer);
        let read = match self {
            Self::Local(stream) => Pin::new(&mut &*stream).poll_read(cx, &mut buffer),
            Self::Memory(pipe) => Pin::new(&mut *pipe.borrow_mut()).poll_read(cx, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
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
            #[cfg(unix)]
            Self::Local(LocalStream::UdSocket(socket)) => {
                Pin::new(&mut &*socket).poll_write_vectored(cx, slices)
            }
            #[cfg(not(unix))]
            Self::Local(stream) => {
                let first = slices.first().map_or(&[][..], |slice| slice);
                Pin::new(&mut &*stream).poll_write(cx, first)
            }
            Self::Memory(pipe) => {
                let first = slices.first().map_or(&[][..], |slice| slice);
                Pin::new(&mut *pipe.borrow_mut()).poll_write(cx, first)
            }
        }
    }
}

/// Larger buffers nearly double what a socket carries; a refusal costs only speed.
#[cfg(unix)]
fn raise_buffers(stream: &LocalStream) {
    use std::os::fd::AsFd;
    let LocalStream::UdSocket(socket) = stream;
    let fd = socket.as_fd();
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(fd, SOCKET_BUFFER);
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(fd, SOCKET_BUFFER);
}

#[cfg(not(unix))]
fn raise_buffers(_: &LocalStream) {}
