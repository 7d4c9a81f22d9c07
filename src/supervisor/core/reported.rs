//! What workers report, and what ends of tasks it means.
//!
//! Belongs here: the reports of a session as values, and how an end reads to its caller. Does not belong here: acting on them.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    error::{TimedOut, TimeoutEnd},
    sched::{Over, Seat, Ticket},
    supervisor::{core::State, reply::Settled},
    wire::Payload,
};

/// What a worker has reported.
#[derive(Debug)]
pub(crate) enum Event {
    Started(Ticket),
    Quiet(u16, bool),
    /// How long tasks of a name take, in nanoseconds.
    Pace(u16, u32),
    SlowPoll {
        name: u16,
        took: Duration,
        /// It was the task's last.
        ended: bool,
    },
    Finished(Ticket, Settled),
    /// So many in a row from this one on, all well: their outputs.
    FinishedRun(Ticket, u32, Bytes),
    /// With an error of its own that may go away.
    Failed(Ticket, Payload),
    /// A worker that was asked to end has dropped a task for that.
    Dropped {
        ticket: Ticket,
        started: bool,
    },
    Revoked(Ticket),
    /// Not started, because its time was over.
    Expired(Ticket),
}

impl Event {
    /// The tickets that it ends, from which one on and how many: its worker does not have those tasks any more.
    pub(crate) fn ended(&self) -> Option<(Ticket, u32)> {
        match self {
            Self::Finished(ticket, _)
            | Self::Failed(ticket, _)
            | Self::Revoked(ticket)
            | Self::Expired(ticket) => Some((*ticket, 1)),
            Self::FinishedRun(ticket, tasks, _) => Some((*ticket, *tasks)),
            Self::Started(_)
            | Self::Quiet(..)
            | Self::Pace(..)
            | Self::SlowPoll { .. }
            | Self::Dropped { .. } => None,
        }
    }
}

pub(super) fn timed_out(over: Over, ended: TimeoutEnd) -> Settled {
    Settled::timed_out(TimedOut {
        stage: over.stage,
        limit: over.limit,
        elapsed: over.elapsed,
        ended,
    })
}

/// The end of a task that its worker was asked to end. `ran` says that it had run before.
pub(super) fn ended_for(over: Option<Over>, started: bool, ran: bool) -> Settled {
    match over {
        None => Settled::Cancelled {
            started: started || ran,
        },
        Some(over) if started => timed_out(over, TimeoutEnd::Dropped),
        Some(over) => ended_waiting(over, ran),
    }
}

/// The end of a task over a limit that no worker has started, this time.
pub(super) fn ended_waiting(over: Over, ran: bool) -> Settled {
    let ended = if ran {
        TimeoutEnd::BetweenRuns
    } else {
        TimeoutEnd::NeverStarted
    };
    timed_out(over, ended)
}

impl State {
    /// What a task in flight settles as that its worker has ended as it was asked to.
    pub(super) fn ended_for(&self, seat: Seat, ticket: Ticket, started: bool) -> Settled {
        let ran = self.ledger.had_run(seat, ticket);
        ended_for(self.ledger.over(seat, ticket), started, ran)
    }
}
