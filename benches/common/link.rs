//! The bare baseline: another process of this image at the end of a local stream socket, and nothing else.
//!
//! The socket is the child's standard input: so no address, no listener and no handshake are needed.

use std::{
    future::Future,
    io,
    process::{Child, Command},
};

use super::{Outcome, runtime};

/// The argument that makes a process the bare baseline's child.
const CHILD: &str = "--bare-child";

#[cfg(unix)]
pub(crate) use tokio::net::UnixStream as Socket;

/// Elsewhere there is no such socket and so no baseline; [`Link::open`] says so.
#[cfg(not(unix))]
pub(crate) use tokio::io::DuplexStream as Socket;

/// Starts this executable again.
pub(crate) fn command() -> io::Result<Command> {
    std::env::current_exe().map(Command::new)
}

/// A child and the socket to it. The child ends when the socket closes.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: Socket,
    child: Child,
}

impl Link {
    /// Starts a child. Must be called within the runtime that uses the socket.
    #[cfg(unix)]
    pub(crate) fn open() -> Outcome<Self> {
        use std::os::{fd::OwnedFd, unix::net::UnixStream};
        let (ours, theirs) = UnixStream::pair()?;
        for end in [&ours, &theirs] {
            raise_buffers(end);
            end.set_nonblocking(true)?;
        }
        let child = command()?.arg(CHILD).stdin(OwnedFd::from(theirs)).spawn()?;
        Ok(Self {
            socket: Socket::from_std(ours)?,
            child,
        })
    }

    #[cfg(not(unix))]
    pub(crate) fn open() -> Outcome<Self> {
        Err("the baseline is a Unix socket, which is not to be had here".into())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Closes the socket and waits for the child.
    pub(crate) fn close(self) -> io::Result<()> {
        let Self { socket, mut child } = self;
        drop(socket);
        child.wait().map(drop)
    }
}

/// As large as the product makes them, or the comparison would be one of buffers.
#[cfg(unix)]
fn raise_buffers(socket: &std::os::unix::net::UnixStream) {
    use std::os::fd::AsFd;
    const BYTES: usize = 4 * 1024 * 1024;
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(socket.as_fd(), BYTES);
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(socket.as_fd(), BYTES);
}

/// Serves the other end and never returns, if this process was started by [`Link::open`].
pub(crate) fn bare_child<R>(serve: impl FnOnce(Socket) -> R) -> Outcome
where
    R: Future<Output = io::Result<()>>,
{
    if !std::env::args_os().any(|word| word == CHILD) {
        return Ok(());
    }
    let runtime = runtime()?;
    let served = runtime.block_on(async { serve(inherited()?).await });
    // The end of the socket, wherever it is noticed, is how this process is told to go.
    std::process::exit(i32::from(served.is_err_and(|error| {
        !matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
        )
    })))
}

#[cfg(unix)]
fn inherited() -> io::Result<Socket> {
    use std::os::{fd::AsFd, unix::net::UnixStream};
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    Socket::from_std(socket)
}

#[cfg(not(unix))]
fn inherited() -> io::Result<Socket> {
    Err(io::ErrorKind::Unsupported.into())
}
