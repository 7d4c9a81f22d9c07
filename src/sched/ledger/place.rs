//! One worker's part of the table.
//!
//! Belongs here: what is known of a worker's connection and of the tasks sent over it.
//! Does not belong here: what one of them means for a task.
//! Invariant: a flight is in here from its ticket's issue until its end was reported, or its worker was lost.

use std::collections::{HashSet, VecDeque};

use crate::{
    error::Started,
    sched::{credits::Credits, ledger::Ticket},
    task::{IdMap, TaskId},
};

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) id: TaskId,
    pub(super) name: u16,
    pub(super) started: bool,
    pub(super) cancelling: bool,
    pub(super) abandoned: bool,
}

impl Flight {
    /// Whether it has started. `read` says that all that its worker has said was read.
    pub(super) fn started(
        &self,
        ticket: Ticket,
        written: Ticket,
        quiet: &HashSet<u16>,
        read: bool,
    ) -> Started {
        if self.started {
            Started::Yes
        } else if ticket <= written && (!read || quiet.contains(&self.name)) {
            Started::Unknown
        } else {
            Started::No
        }
    }
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) up: bool,
    pub(super) credits: Credits,
    pub(super) next_ticket: Ticket,
    pub(super) flights: IdMap<Ticket, Flight>,
    /// Names whose starts the worker no longer announces before the first poll.
    pub(super) quiet: HashSet<u16>,
    pub(super) outbox: VecDeque<Ticket>,
    /// The highest ticket that was handed out for writing: tickets leave the outbox in order.
    pub(super) written: Ticket,
}

impl Place {
    /// Before its first worker.
    pub(super) fn down() -> Self {
        Self {
            up: false,
            credits: Credits::new(0),
            next_ticket: 1,
            flights: IdMap::default(),
            quiet: HashSet::new(),
            outbox: VecDeque::new(),
            written: 0,
        }
    }

    /// A new worker's: nothing of the one before is in it.
    pub(super) fn up(credits: u32) -> Self {
        Self {
            up: true,
            credits: Credits::new(credits),
            ..Self::down()
        }
    }
}
