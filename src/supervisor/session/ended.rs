//! How a session ended.
//!
//! Belongs here: who ended its worker, and what is known of that. Does not belong here: what follows for tasks.

use crate::{
    error::{RemoteError, Vitals},
    observe::{ExitStatus, RetireReason},
    sched::Ticket,
    supervisor::core::Guilt,
};

/// How a session ended.
#[derive(Debug)]
pub(in crate::supervisor) struct Ended {
    pub(in crate::supervisor) exit: Option<ExitStatus>,
    /// Not all that it had said could be read.
    pub(in crate::supervisor) unread: bool,
    pub(in crate::supervisor) why: Why,
    pub(in crate::supervisor) vitals: Vitals,
    /// It was to take no more tasks.
    pub(in crate::supervisor) retired: Option<RetireReason>,
}

/// Who ended a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supervisor) enum Why {
    /// The worker itself, or something from outside.
    Itself,
    /// It was asked to.
    Asked,
    /// It was asked to and did not.
    Killed,
    /// It was to leave when it was empty, and it was.
    Retired,
    /// It was to, and was not in time.
    Overdue(String),
    /// A cancelled task would not end.
    Stuck(String),
    /// An operator wanted its end.
    Operator,
    /// The host's side of it panicked.
    Failed,
    /// It did not go on.
    Stalled {
        /// Whose poll it was.
        guilty: Option<Ticket>,
        detail: String,
    },
    /// A panic that could not be caught.
    Panicked {
        /// Whose poll it was.
        guilty: Option<Ticket>,
        panic: RemoteError,
    },
    /// It took too much memory.
    Memory { guilt: Guilt, detail: String },
    /// The kernel took it for that, which is not known before its end.
    KernelOom(String),
    /// It did what no honest worker does.
    Violation(String),
}
