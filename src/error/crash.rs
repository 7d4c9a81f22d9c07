//! The end of a worker, as its tasks are told of it.
//!
//! Belongs here: what is known about a process that ended. Does not belong here: its words, watching processes, deciding who
//! is a suspect, restarting.
//! Invariant: one process's end is described once and shared; only `started`, `suspects` and `poisoned` differ by task.

use std::sync::Arc;
use std::time::Duration;

use crate::task::{Slot, TaskId};

use super::{RemoteError, signal};

/// Whether a task was polled before its worker was lost.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It was: some of its effects may have happened.
    Yes,
    /// It surely was not: it is safe to submit again whatever it does.
    No,
    /// It was sent, and the word of its start may have been lost with the worker.
    Unknown,
}

/// What ended a worker.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LossCause {
    /// It ended by itself, with a code.
    Exited,
    /// It was ended by a signal that the pool did not send.
    Signal,
    /// A panic ended it that could not be caught: under `panic = "abort"`, in a function that cannot unwind, or while another
    /// unwound. What it said is in [`CrashReport::panic`].
    Panicked,
    /// The pool killed it, for a task that held its loop and had to end.
    Killed,
    /// Somebody had it killed, with [`Kill`](crate::Kill).
    Operator,
    /// It was to be replaced, and had tasks left after the pool's `retire_timeout`.
    Retired,
    /// It failed before it was ready: spawn, connection, handshake or state initializer.
    Init,
    /// The pool killed it, because it did not go on: see [`PoolBuilder::kill_stalled`](crate::PoolBuilder::kill_stalled).
    Stalled,
    /// The pool killed it for the memory it took: see [`PoolBuilder::memory_hard`](crate::PoolBuilder::memory_hard) and
    /// [`PoolBuilder::memory_total`](crate::PoolBuilder::memory_total).
    Memory,
    /// The kernel killed it, because the machine or its control group had no memory left.
    KernelOom,
    /// It broke the protocol and was killed.
    Protocol,
    /// The `System` or arbiter of its pool ended.
    PoolGone,
}

/// A task that a worker had when it was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningTask {
    /// Its name.
    pub task: &'static str,
    /// Which one.
    pub id: TaskId,
    /// Since it was sent to the worker.
    pub age: Duration,
    /// Whether it had started.
    pub started: Started,
}

/// What a process has taken and done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// Bytes.
    pub(crate) resident: Option<usize>,
    pub(crate) cpu_time: Option<Duration>,
    /// How many tasks it has ended.
    pub(crate) done: u64,
    /// What it had, the first of it.
    pub(crate) running: Vec<RunningTask>,
    /// What ended it, if it could say so.
    pub(crate) panic: Option<RemoteError>,
}

/// What is known about one process that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    pub(crate) slot: Slot,
    pub(crate) generation: u32,
    pub(crate) pid: Option<u32>,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) cause: LossCause,
    pub(crate) detail: Option<String>,
    pub(crate) uptime: Duration,
    pub(crate) vitals: Vitals,
    pub(crate) stderr_tail: String,
}

/// Says which worker was lost, how, and what that means for the task that gets it.
///
/// Cheap to clone: every task of the worker shares the description. `Display` is one line; `{:#}` adds what the worker had taken
/// and done, which tasks it had, and all that was kept of its stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashReport {
    shared: Arc<Crash>,
    started: Started,
    suspects: u32,
    poisoned: bool,
}

impl CrashReport {
    pub(crate) fn new(crash: Arc<Crash>, started: Started, suspects: u32) -> Self {
        Self {
            shared: crash,
            started,
            suspects,
            poisoned: false,
        }
    }

    /// The same for a task that has killed a worker before, and this one alone.
    pub(crate) fn poisoning(self) -> Self {
        Self {
            poisoned: true,
            ..self
        }
    }

    /// Returns the worker's place in the pool.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.shared.slot
    }

    /// Returns how many processes were in that slot before it.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.shared.generation
    }

    /// Returns its process id, if it got as far as to have one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.shared.pid
    }

    /// Returns the code it exited with.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.shared.code
    }

    /// Returns the number of the signal that ended it; never on Windows.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.shared.signal
    }

    /// Returns the name of that signal, such as `SIGSEGV`, if it has one on this platform.
    #[must_use]
    pub fn signal_name(&self) -> Option<&'static str> {
        self.shared.signal.and_then(signal::name)
    }

    /// Returns what ended it.
    #[must_use]
    pub fn cause(&self) -> &LossCause {
        &self.shared.cause
    }

    /// Returns what more is known about the cause, such as the task it was killed for.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.shared.detail.as_deref()
    }

    /// Returns the time from its spawn to its end.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.shared.uptime
    }

    /// Returns how many bytes it had in memory when it was last looked at. That was up to a
    /// [`heartbeat`](crate::PoolBuilder::heartbeat) before its end, or 250 ms in a pool with limits on memory. `None` where the
    /// system does not tell, and without such limits of one that had not had tasks for a heartbeat.
    #[must_use]
    pub fn rss(&self) -> Option<usize> {
        self.shared.vitals.resident
    }

    /// Returns for how long it was on CPUs, with those of its children that it had waited for; `None` where the system does not
    /// tell.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        self.shared.vitals.cpu_time
    }

    /// Returns the panic that ended it, with its message, place and, if it was to be had, backtrace.
    #[must_use]
    pub fn panic(&self) -> Option<&RemoteError> {
        self.shared.vitals.panic.as_ref()
    }

    /// Returns the tasks that it had, at most 32, those first that had been sent to it first.
    #[must_use]
    pub fn running(&self) -> &[RunningTask] {
        &self.shared.vitals.running
    }

    /// Returns how many tasks it had ended.
    #[must_use]
    pub fn tasks_done(&self) -> u64 {
        self.shared.vitals.done
    }

    /// Returns whether this task had started.
    #[must_use]
    pub fn started(&self) -> Started {
        self.started
    }

    /// Returns how many tasks may have caused it, this one among them; 0 if this one did not.
    ///
    /// With 1 this task is the cause as far as the pool can know.
    #[must_use]
    pub fn suspects(&self) -> u32 {
        self.suspects
    }

    /// Returns whether this task was a suspect before, ran again with nobody else in its worker, and killed that, too. It is
    /// not tried again.
    #[must_use]
    pub fn poisoned(&self) -> bool {
        self.poisoned
    }

    /// Returns the last of what it wrote to stderr, at most 8 KiB; empty if it was not captured.
    #[must_use]
    pub fn stderr_tail(&self) -> &str {
        &self.shared.stderr_tail
    }
}

impl std::error::Error for CrashReport {}
