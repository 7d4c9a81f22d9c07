//! A connected local socket that wakes its owner for what it waits for, and for nothing else.
//!
//! Belongs here: reading, writing, waiting, buffer sizes. Does not belong here: how it came to be connected.
//! Invariant: readiness is given up only for the event that was there before the system said that there is no more.

#[cfg(not(unix))]
pub(super) use other::Socket;
#[cfg(unix)]
pub(super) use unix::Socket;

#[cfg(unix)]
mod unix {
    use std::{
        cell::RefCell,
        io::{self, IoSlice},
        os::fd::{AsRawFd, OwnedFd},
        rc::Rc,
        task::{Context, Poll, ready},
    };

    use interprocess::local_socket::{
        PeerCreds, Stream as BlockingStream, prelude::*, tokio::Stream as LocalStream,
    };
    use rustix::{io::Errno, net::sockopt};
    use tokio::io::{Interest, unix::AsyncFd};

    /// Bytes of a socket buffer that are asked for; the system may grant less.
    const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

    /// A Unix stream socket.
    ///
    /// One of tokio's own also listens for room to write from its beginning on, so that each message that the peer takes
    /// out of the buffer wakes this process for nothing: at one task at a time that is every other wake-up.
    #[derive(Debug)]
    pub(crate) struct Socket {
        readable: AsyncFd<OwnedFd>,
        /// The same socket by another number, for one number can be waited for in one way only. Made in the beginning, so
        /// that writing needs no free descriptor.
        again: Rc<OwnedFd>,
        /// While there is no room to write.
        writable: RefCell<Option<AsyncFd<Rc<OwnedFd>>>>,
        peer: Option<PeerCreds>,
    }

    #[expect(
        deprecated,
        reason = "the unsoundness is that of descriptors that change; an OwnedFd does not, and the replacement is unsafe"
    )]
    fn watch<T: AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
        AsyncFd::with_interest(socket, interest)
    }

    impl Socket {
        pub(crate) fn new(LocalStream::UdSocket(stream): LocalStream) -> io::Result<Self> {
            let peer = stream.peer_creds().ok();
            Self::of(OwnedFd::try_from(stream)?, peer)
        }

        /// Of a stream that was connected by waiting for it.
        pub(crate) fn blocking(
            BlockingStream::UdSocket(stream): BlockingStream,
        ) -> io::Result<Self> {
            let peer = stream.peer_creds().ok();
            let socket = OwnedFd::from(stream);
            rustix::io::ioctl_fionbio(&socket, true)?;
            Self::of(socket, peer)
        }

        fn of(socket: OwnedFd, peer: Option<PeerCreds>) -> io::Result<Self> {
            // Larger buffers nearly double what a socket carries; a refusal costs only speed.
            let _ = sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER);
            let _ = sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
            Ok(Self {
                again: Rc::new(socket.try_clone()?),
                readable: watch(socket, Interest::READABLE)?,
                writable: RefCell::new(None),
                peer,
            })
        }

        /// Returns who is at the other end, where the platform tells.
        pub(crate) fn peer(&self) -> Option<&PeerCreds> {
            self.peer.as_ref()
        }

        pub(crate) fn poll_read(
            &self,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            loop {
                let mut ready = ready!(self.readable.poll_read_ready(cx))?;
                match rustix::io::read(self.readable.get_ref(), &mut *buffer) {
                    Ok(bytes) => {
                        // A stream that does not fill the buffer is empty: to ask it again would be a system call more.
                        if 0 < bytes && bytes < buffer.len() {
                            ready.clear_ready();
                        }
                        return Poll::Ready(Ok(bytes));
                    }
                    Err(Errno::AGAIN) => ready.clear_ready(),
                    Err(Errno::INTR) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
        }

        /// Reads what is there, announced or not. Pending means that nothing is; nobody is woken for what comes.
        pub(crate) fn poll_left(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            loop {
                match rustix::io::read(self.readable.get_ref(), &mut *buffer) {
                    Ok(bytes) => return Poll::Ready(Ok(bytes)),
                    Err(Errno::AGAIN) => return Poll::Pending,
                    Err(Errno::INTR) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
        }

        pub(crate) fn poll_write(
            &self,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut writable = self.writable.borrow_mut();
            loop {
                let ready = match &*writable {
                    Some(writable) => Some(ready!(writable.poll_write_ready(cx))?),
                    None => None,
                };
                match (rustix::io::writev(&self.again, slices), ready) {
                    (Ok(bytes), _) => {
                        *writable = None;
                        return Poll::Ready(Ok(bytes));
                    }
                    (Err(Errno::AGAIN), Some(mut ready)) => ready.clear_ready(),
                    (Err(Errno::AGAIN), None) => {
                        // Room that there is again by now is told at once.
                        let again = Rc::clone(&self.again);
                        *writable = Some(watch(again, Interest::WRITABLE)?);
                    }
                    (Err(Errno::INTR), _) => {}
                    (Err(error), _) => return Poll::Ready(Err(error.into())),
                }
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::{
        io::{self, IoSlice},
        pin::Pin,
        task::{Context, Poll},
    };

    use interprocess::local_socket::{PeerCreds, prelude::*, tokio::Stream as LocalStream};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    /// Whatever local sockets are here.
    #[derive(Debug)]
    pub(crate) struct Socket {
        stream: LocalStream,
        peer: Option<PeerCreds>,
    }

    impl Socket {
        pub(crate) fn new(stream: LocalStream) -> io::Result<Self> {
            let peer = stream.peer_creds().ok();
            Ok(Self { stream, peer })
        }

        pub(crate) fn peer(&self) -> Option<&PeerCreds> {
            self.peer.as_ref()
        }

        pub(crate) fn poll_read(
            &self,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let mut buffer = ReadBuf::new(buffer);
            let read = Pin::new(&mut &self.stream).poll_read(cx, &mut buffer);
            read.map_ok(|()| buffer.filled().len())
        }

        pub(crate) fn poll_write(
            &self,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let first = slices.first().map_or(&[][..], |slice| slice);
            Pin::new(&mut &self.stream).poll_write(cx, first)
        }
    }
}
