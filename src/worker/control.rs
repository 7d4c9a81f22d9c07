//! The control thread of a worker, which answers while the event loop computes, and is its life line.
//!
//! Belongs here: control frames, signals, the end of the host. Does not belong here: tasks.
//! Invariants: this thread never waits for the event loop; when the host has gone, the worker's process group is gone
//! after the grace, whatever the loop does.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;

use crate::{
    ipc::{Lifeline, Wait},
    task::Board,
    wire::{ControlFromWorker, ControlToWorker, FrameReader, frame_bytes, parse},
};

/// Does what one control frame asks, and says what to answer.
pub(crate) fn answer(
    board: &Board,
    frame: &ControlToWorker,
    now: std::time::Instant,
) -> Option<ControlFromWorker> {
    match *frame {
        ControlToWorker::Cancel { ticket } => {
            board.ask(|requests| requests.cancelled.insert(ticket));
            None
        }
        ControlToWorker::Revoke { ticket } => Some(ControlFromWorker::Revoked {
            ticket,
            given_back: board.revoke(ticket),
        }),
        ControlToWorker::Ping { nonce } => Some(ControlFromWorker::Pong {
            nonce,
            running: board.running(now).map(|(ticket, age)| {
                let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
                (ticket, age)
            }),
        }),
        ControlToWorker::Exit => {
            board.ask(|requests| requests.exit = true);
            None
        }
    }
}

/// Runs until the host has gone, then sees to it that the worker goes too.
pub(crate) fn run(
    mut lifeline: Lifeline,
    board: &Arc<Board>,
    signals: &Signals,
    grace: Duration,
    group: Group,
) {
    // Whatever ends the conversation, the host cannot reach this worker any more.
    let _ = converse(&mut lifeline, board, signals);
    board.ask(|requests| requests.orphaned = true);
    drop(lifeline);
    std::thread::sleep(grace);
    group.kill();
}

fn converse(lifeline: &mut Lifeline, board: &Arc<Board>, signals: &Signals) -> io::Result<()> {
    let mut reader = FrameReader::new();
    let mut out = BytesMut::new();
    loop {
        match signals.wait(lifeline)? {
            Wait::Readable => {
                let bytes = lifeline.read(reader.space())?;
                if bytes == 0 {
                    return Ok(());
                }
                reader.filled(bytes);
            }
            Wait::Woken | Wait::TimedOut => {}
        }
        for signal in signals.caught() {
            // After Exit the host knows better than the signal's sender; before, the signal is the host's to act on.
            if !board.requests(|requests| requests.exit) {
                queue(&ControlFromWorker::Signalled { signal }, &mut out)?;
            }
        }
        while let Some(frame) = reader
            .next()
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?
        {
            let (frame, _) = parse(frame).map_err(io::Error::other)?;
            if let Some(answer) = answer(board, &frame, std::time::Instant::now()) {
                queue(&answer, &mut out)?;
            }
        }
        if !out.is_empty() {
            lifeline.send(&out)?;
            out.clear();
        }
    }
}

fn queue(frame: &ControlFromWorker, out: &mut BytesMut) -> io::Result<()> {
    frame_bytes(frame, &[], out).map_err(io::Error::other)
}

/// The processes that end with this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    /// The host has made a group for this worker.
    pub(crate) own: bool,
    /// Its leader may be another program.
    pub(crate) wrapped: bool,
}

impl Group {
    /// Ends this process, and with it everything that its tasks started and left in its group.
    #[cfg(unix)]
    pub(crate) fn kill(self) {
        use rustix::process::{
            Signal, getpid, kill_current_process_group, kill_process, kill_process_group,
        };
        if self.own {
            // That of its number: a task may have moved this process to a group of others. Succeeds by not returning.
            let _ = kill_process_group(getpid(), Signal::KILL);
            if self.wrapped {
                let _ = kill_current_process_group(Signal::KILL);
            }
        }
        let _ = kill_process(getpid(), Signal::KILL);
    }

    #[cfg(not(unix))]
    pub(crate) fn kill(self) {
        // There are no groups.
        let Self { own, wrapped } = self;
        let _ = (own, wrapped);
        std::process::abort();
    }
}

/// The signals that are the host's to handle.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Signals {
    wakeup: std::os::unix::net::UnixStream,
    flags: Vec<(i32, Arc<std::sync::atomic::AtomicBool>)>,
}

#[cfg(unix)]
impl Signals {
    /// Catches them from here on.
    pub(crate) fn catch() -> io::Result<Self> {
        use signal_hook::{
            consts::{SIGHUP, SIGINT, SIGTERM},
            flag, low_level,
        };
        let (wakeup, write) = std::os::unix::net::UnixStream::pair()?;
        wakeup.set_nonblocking(true)?;
        let mut flags = Vec::new();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let caught = Arc::default();
            // The flag first: the thread looks at the flags after it was woken.
            flag::register(signal, Arc::clone(&caught))?;
            low_level::pipe::register(signal, write.try_clone()?)?;
            flags.push((signal, caught));
        }
        #[cfg(target_os = "linux")]
        if crate::worker::inherited::ignores_sigchld() {
            // Inherited from the host. The system would reap what tasks start before they can; any handler ends that.
            flag::register(signal_hook::consts::SIGCHLD, Arc::default())?;
        }
        Ok(Self { wakeup, flags })
    }

    fn wait(&self, lifeline: &Lifeline) -> io::Result<Wait> {
        lifeline.wait(&self.wakeup, None)
    }

    fn caught(&self) -> Vec<i32> {
        use std::{io::Read, sync::atomic::Ordering};
        let mut bytes = [0; 64];
        while matches!((&self.wakeup).read(&mut bytes), Ok(read) if read == bytes.len()) {}
        self.flags
            .iter()
            .filter(|(_, caught)| caught.swap(false, Ordering::SeqCst))
            .map(|(signal, _)| *signal)
            .collect()
    }
}

#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self)
    }

    fn wait(&self, lifeline: &Lifeline) -> io::Result<Wait> {
        lifeline.wait(&(), None)
    }

    fn caught(&self) -> Vec<i32> {
        Vec::new()
    }
}
