//! A worker's control connection: blocking, on a thread of its own.
//!
//! Belongs here: waiting for bytes, for a signal's wake-up, or for time. Does not belong here: what to do then.
//! Invariant: works while the worker's event loop computes or hangs.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use interprocess::{
    TryClone as _,
    local_socket::{Stream as LocalStream, prelude::*},
};
use parking_lot::Mutex;

use crate::wire::Place;

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(unix),
    expect(dead_code, reason = "there a read that blocks is the only wait")
)]
pub(crate) enum Wait {
    Readable,
    /// The wake-up was written to.
    Woken,
    TimedOut,
}

/// The control connection on the worker's side.
#[derive(Debug)]
pub(crate) struct Lifeline {
    stream: LocalStream,
    /// Who sends.
    turn: Arc<Mutex<()>>,
}

/// The same connection for one frame from any thread, just before the process ends.
#[derive(Debug)]
pub(crate) struct LastSend {
    stream: LocalStream,
    turn: Arc<Mutex<()>>,
}

impl LastSend {
    /// Sends what there is room for, if nobody is in the middle of a frame for longer than a frame takes.
    pub(crate) fn send(&self, bytes: &[u8]) {
        // It may be this very thread that has it, which ends now.
        let Some(_turn) = self.turn.try_lock_for(Duration::from_millis(50)) else {
            return;
        };
        #[cfg(unix)]
        {
            use rustix::net::{SendFlags, send};
            let LocalStream::UdSocket(socket) = &self.stream;
            // A host that does not read must not keep the process from its end.
            let flags = SendFlags::DONTWAIT;
            // Elsewhere there is no such flag, and programs in Rust ignore that signal.
            #[cfg(target_os = "linux")]
            let flags = flags | SendFlags::NOSIGNAL;
            let _ = send(socket, bytes, flags);
        }
        #[cfg(not(unix))]
        {
            let _ = (&self.stream, bytes);
        }
    }
}

impl Lifeline {
    pub(crate) fn connect(place: &Place) -> io::Result<Self> {
        Ok(Self {
            stream: LocalStream::connect(super::endpoint::name(place)?)?,
            turn: Arc::default(),
        })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock();
        self.stream.write_all(bytes)
    }

    /// For what may have to be said at any moment.
    pub(crate) fn last_send(&self) -> io::Result<LastSend> {
        Ok(LastSend {
            stream: self.stream.try_clone()?,
            turn: Arc::clone(&self.turn),
        })
    }

    /// Reads some bytes; 0 mean that the host has gone.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Waits for bytes to read, for a byte on `wakeup`, or until `limit` has passed.
    #[cfg(unix)]
    pub(crate) fn wait(
        &self,
        wakeup: &impl std::os::fd::AsFd,
        limit: Option<Duration>,
    ) -> io::Result<Wait> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let LocalStream::UdSocket(socket) = &self.stream;
        let mut fds = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::new(wakeup, PollFlags::IN),
        ];
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        match poll(&mut fds, limit.as_ref()) {
            Ok(0) => return Ok(Wait::TimedOut),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Wait::Woken),
            Err(error) => return Err(error.into()),
        }
        let [_, wakeup] = fds;
        if wakeup.revents().is_empty() {
            Ok(Wait::Readable)
        } else {
            Ok(Wait::Woken)
        }
    }

    /// Named pipes cannot be waited for together with anything else: a read that blocks is the wait.
    #[cfg(not(unix))]
    pub(crate) fn wait<W>(&self, _: &W, _: Option<Duration>) -> io::Result<Wait> {
        Ok(Wait::Readable)
    }
}
