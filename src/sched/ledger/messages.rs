//! What goes into the ledger and what comes out of it.
//!
//! Belongs here: the plain values of its methods. Does not belong here: what it keeps.

use std::time::Duration;

use crate::{
    error::Started,
    sched::ledger::{Over, Seat},
    task::{Slot, TaskId, Terms, TimeLimits},
};

/// Names one sending of one task over one connection, counted from 1.
pub(crate) type Ticket = u64;

/// What a caller hands in.
#[derive(Debug)]
pub(crate) struct NewTask<P, R> {
    pub(crate) name: u16,
    pub(crate) payload: P,
    pub(crate) bytes: usize,
    pub(crate) terms: Terms,
    pub(crate) limits: TimeLimits,
    pub(crate) reply: R,
}

impl<P, R> NewTask<P, R> {
    /// The same task with another reply, and the one it had.
    pub(crate) fn replace_reply<N>(self, reply: N) -> (NewTask<P, N>, R) {
        let task = NewTask {
            name: self.name,
            payload: self.payload,
            bytes: self.bytes,
            terms: self.terms,
            limits: self.limits,
            reply,
        };
        (task, self.reply)
    }
}

/// How much is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Tasks that wait.
    pub(crate) waiting: usize,
    /// Bytes of unsettled tasks.
    pub(crate) bytes: usize,
}

/// What goes over the wire to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dispatch<P> {
    pub(crate) ticket: Ticket,
    /// How many tasks it is, whose tickets and ids are counted up.
    pub(crate) count: u32,
    pub(crate) id: TaskId,
    pub(crate) name: u16,
    pub(crate) attempt: u32,
    /// How long it may still take in all, and how long run, if it has limits.
    pub(crate) left: Option<(Option<Duration>, Option<Duration>)>,
    pub(crate) payload: P,
}

/// Why a task cannot be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Full {
    pub(crate) waiting: usize,
    pub(crate) bytes: usize,
}

/// What a worker did that no honest worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    UnsentTicket(Ticket),
    SettledTicket(Ticket),
    StartedTwice(Ticket),
    GivenBackStarted(Ticket),
    NotCancelled(Ticket),
    UnknownName(u16),
}

/// The end of a task as its worker reported it.
#[derive(Debug)]
pub(crate) enum Finished<R> {
    /// Somebody gets the outcome.
    Settle(R),
    /// It was settled before: only the credit comes back.
    Abandoned,
    /// It is to run again.
    Again,
}

/// What a cancellation found.
#[derive(Debug)]
pub(crate) enum Cancelled<R> {
    /// It had not been sent: settled here and now. `ran` says that it had been before.
    Queued { reply: R, ran: bool },
    /// It is with a worker; `reply` has left if the caller had gone.
    Flight {
        seat: Seat,
        ticket: Ticket,
        reply: Option<R>,
        /// The first request for this ticket: the worker has to be told.
        first: bool,
    },
    /// Settled before, or never known.
    Unknown,
}

/// A task that is over one of its limits.
#[derive(Debug)]
pub(crate) enum Expired<R> {
    /// It was not with a worker: settled here and now. `ran` says that it had been before.
    Waiting { reply: R, over: Over, ran: bool },
    /// It is with one. A deadline settles it here and now, if nothing had; `first` says that the worker has to be told.
    Flight {
        seat: Seat,
        ticket: Ticket,
        first: bool,
        reply: Option<(R, Over)>,
    },
    /// It has waited for too long and may have started: its worker is asked.
    Asked { seat: Seat, ticket: Ticket },
    /// A worker may run one for longer than that may run, and has not said so: it is asked what it runs.
    Untold { seat: Seat },
}

/// One task that was with a worker that has gone.
#[derive(Debug)]
pub(crate) struct LostTask<R> {
    pub(crate) id: TaskId,
    pub(crate) started: Started,
    pub(crate) verdict: Verdict,
    /// Why it was being ended.
    pub(crate) over: Option<Over>,
    /// The end of its worker may have been its doing.
    pub(crate) suspect: bool,
    pub(crate) reply: R,
}

/// Why a lost task is settled instead of running again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It had been cancelled and was only waiting for its end.
    Cancelled,
    /// It may have run, and must not or cannot run again.
    Lost,
    /// It had been a suspect, and was alone in a worker that has died as well.
    Poisoned,
}

/// What the loss of a worker means for the tasks it had.
#[derive(Debug)]
pub(crate) struct Lost<R> {
    pub(crate) settled: Vec<LostTask<R>>,
    /// To run again, or at last.
    pub(crate) requeued: usize,
    /// How many of them may have run.
    pub(crate) again: u64,
    /// How many tasks had started or may have.
    pub(crate) suspects: u32,
    /// Its number, if some of them run again in quarantine.
    pub(crate) inquest: Option<u64>,
}

/// A task settled because the pool ends.
#[derive(Debug)]
pub(crate) struct Unsettled<R> {
    pub(crate) id: TaskId,
    pub(crate) slot: Option<Slot>,
    pub(crate) started: Started,
    pub(crate) reply: R,
}

/// What there is, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Quantities {
    pub(crate) waiting: usize,
    pub(crate) in_flight: usize,
    pub(crate) bytes: usize,
}
