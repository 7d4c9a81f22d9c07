//! What happens to a pool, as values and as log lines.
//!
//! Belongs here: events of workers, circuit and queue. Does not belong here: events of single tasks.

use std::{path::PathBuf, time::Duration};

use crate::{
    error::CrashReport,
    task::{Slot, TaskId, WorkerInfo},
};

/// Why a pool stopped taking tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`Drain`](crate::Drain), or the last `Pool`, `Addr` and `Recipient` were dropped.
    Drain,
    /// [`Stop`](crate::Stop).
    Stop,
    /// The restart budget was spent, and the pool was to escalate.
    Escalated,
    /// The pool's `System` or arbiter ended.
    Gone,
}

/// Why a worker is replaced, or leaves for good, without having failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetireReason {
    /// It has started as many tasks as it may: the pool's `max_tasks`.
    MaxTasks,
    /// It is as old as it may be: the pool's `max_age`.
    MaxAge,
    /// Somebody wants new workers: [`Recycle`](crate::Recycle).
    Recycle,
    /// There are to be fewer workers: [`Resize`](crate::Resize).
    Resize,
    /// A task in it that is over its time limit does not end.
    Stuck,
    /// It has more in memory than it should: the pool's `memory_soft`, or another of the limits on memory while it was idle.
    Memory,
    /// No suspects are left: it was for them alone.
    Quarantine,
}

/// One of the streams that a worker writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A task that may have caused the death of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suspect {
    /// Its name.
    pub task: &'static str,
    /// Which one.
    pub id: TaskId,
}

impl Suspect {
    pub(crate) fn new(task: &'static str, id: TaskId) -> Self {
        Self { task, id }
    }
}

/// Something that happened to a pool. Subscribers get it by [`Subscribe`](crate::Subscribe).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PoolEvent {
    /// A worker process was started and has yet to connect and to initialize its state.
    WorkerStarting {
        /// The process.
        worker: WorkerInfo,
    },
    /// A worker is ready for tasks.
    WorkerReady {
        /// The process.
        worker: WorkerInfo,
        /// From the beginning of its start until now.
        took: Duration,
    },
    /// A worker ended without having been asked to, or could not be started.
    WorkerLost {
        /// What is known of its end. It says [`Started::Unknown`](crate::Started::Unknown), being about no single task.
        report: CrashReport,
        /// Tasks that settle as lost.
        lost: usize,
        /// Tasks that went back to the queue.
        requeued: usize,
    },
    /// A worker has left that was to, after its last task or the pool's `retire_timeout`.
    WorkerRetired {
        /// The process.
        worker: WorkerInfo,
        /// Why it was to leave.
        reason: RetireReason,
        /// From the decision to start it until now.
        uptime: Duration,
    },
    /// The worker that replaces a lost one is ready; follows its [`PoolEvent::WorkerReady`].
    WorkerRestarted {
        /// The new process.
        worker: WorkerInfo,
        /// From the loss until now.
        after: Duration,
    },
    /// The restart budget is spent and no worker is ready: submits are refused until one is. Or the one that was tried has
    /// failed.
    CircuitOpened {
        /// Until the next attempt to start a worker.
        retry_after: Duration,
    },
    /// The circuit is open, and a worker is tried: [`CircuitClosed`](Self::CircuitClosed) follows, or
    /// [`CircuitOpened`](Self::CircuitOpened) once more.
    CircuitHalfOpen {
        /// Where it is tried.
        slot: Slot,
    },
    /// The restart budget is spent, no worker is ready, and the pool was to escalate: it settles all it has, and ends or
    /// begins anew. It is not paused any more then, which no `Resumed` says.
    Escalated,
    /// A task has held its worker's event loop for 100 ms or longer in one poll: it computes or blocks there, and the other
    /// tasks of that worker, if it had any, waited for it. Said once for each name, in pools whose `concurrency` is more than 1.
    ///
    /// What helps: [`TaskContext::block`](crate::TaskContext::block) for the part that computes or blocks,
    /// [`Task::EXCLUSIVE`](crate::Task::EXCLUSIVE), or a pool with a `concurrency` of 1 for such tasks.
    SlowPoll {
        /// The name of the task.
        task: &'static str,
        /// Where it ran.
        slot: Slot,
        /// How long that poll took.
        took: Duration,
        /// How many other tasks its worker had meanwhile.
        waiting: usize,
    },
    /// A worker that has tasks does not go on: for the pool's `stalled_after` one poll has held its event loop, or it has not
    /// answered at all. Said once for each such poll and each silence, at most a `heartbeat` late.
    ///
    /// It is followed by the worker's end in pools with `kill_stalled`. A value that is long on its way is no stall, nor is a
    /// task that awaits something.
    WorkerStalled {
        /// The process.
        worker: WorkerInfo,
        /// The name of the task whose poll it is; `None` if the worker does not answer: it was stopped, or the machine is short
        /// of everything.
        task: Option<&'static str>,
        /// Which task that is.
        id: Option<TaskId>,
        /// How old the poll is, or the question that was not answered.
        lasted: Duration,
    },
    /// The last of the tasks that a dead worker had started, and that may run again, has done so: see
    /// [`CrashReport::poisoned`].
    Inquest {
        /// The worker that had died.
        report: CrashReport,
        /// All tasks that may have caused it, those that could not run again among them.
        suspects: Vec<Suspect>,
        /// Those that have killed another worker, alone. If there is none, the death is not reproducible by one of them:
        /// several of them together may have caused it, one that could not run again, or something else.
        poisoned: Vec<Suspect>,
        /// How many times one of them was sent to a worker in quarantine: seldom more than there are suspects.
        runs: u32,
    },
    /// A worker has written a line, and [`Output::Lines`](crate::Output::Lines) says that such are to be told.
    ///
    /// Unlike other events it takes no more room than a subscriber's mailbox has
    /// ([`set_mailbox_capacity`](actix::Context::set_mailbox_capacity)). It waits for that, 100 ms at most, and holds its worker
    /// back meanwhile, as a stream that nobody reads does; then such lines are left out until there is room again.
    Output {
        /// The process.
        worker: WorkerInfo,
        /// Which of its streams.
        stream: OutputStream,
        /// Without its end, what is no UTF-8 replaced, and at most 8 KiB of it: a longer one comes in parts.
        line: String,
    },
    /// The input of a task that may have killed its worker was kept: see [`Capture`](crate::Capture).
    Captured {
        /// The name of the task.
        task: &'static str,
        /// Which one.
        id: TaskId,
        /// The file.
        path: PathBuf,
    },
    /// The input of such a task was not kept.
    CaptureFailed {
        /// The name of the task.
        task: &'static str,
        /// Which one.
        id: TaskId,
        /// Why.
        message: String,
    },
    /// The pool's [`Routing`](crate::Routing) has panicked, used a pool, or named a slot that it was not offered; the pool
    /// goes on with [`LeastLoaded`](crate::LeastLoaded).
    RoutingReplaced {
        /// What it did.
        reason: String,
    },
    /// A worker is ready again.
    CircuitClosed {
        /// How long the circuit was open.
        after: Duration,
    },
    /// A submit was refused or made to wait because the queue was full; said again only after the queue had room.
    QueueFull {
        /// Tasks waiting.
        waiting: usize,
        /// Bytes of all unsettled tasks.
        bytes: usize,
    },
    /// There are to be more workers, or fewer: see [`Resize`](crate::Resize).
    Resized {
        /// How many there were to be.
        from: usize,
        /// How many there are to be from now on.
        to: usize,
    },
    /// Nothing is sent to workers from now on: see [`Pause`](crate::Pause).
    Paused,
    /// Tasks are sent to workers again.
    Resumed,
    /// A connection to a worker's socket was refused: wrong or used token, or a stranger.
    IntruderRefused {
        /// What was wrong with it.
        reason: String,
    },
    /// The pool takes no more tasks. One that was being drained or stopped is closed once more when its `System` or arbiter
    /// ends meanwhile, with [`CloseReason::Gone`].
    Closed {
        /// Why.
        reason: CloseReason,
    },
}
