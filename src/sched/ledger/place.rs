//! One worker's part of the table.
//!
//! Belongs here: what is known of a worker's connection and of the tasks sent over it.
//! Does not belong here: what one of them means for a task.
//! Invariant: a flight is in here from its ticket's issue until its end was reported, or its worker was lost.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    time::Instant,
};

use crate::{
    error::Started,
    sched::{
        credits::Credits,
        ledger::{Ticket, line::Line},
        routing::TaskMeta,
    },
    task::{IdMap, Priority, Slot, TaskId},
};

/// Names one worker's part of the table, from its being ready to its end. A slot can have two workers for a while, one that
/// leaves and one that has come; each has a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seat(u32);

impl Seat {
    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
pub(super) struct Flight {
    /// That of the first, if there are several.
    pub(super) id: TaskId,
    /// How many tasks in a row it is.
    pub(super) count: u32,
    pub(super) name: u16,
    pub(super) started: bool,
    /// That was said when its worker was asked what it runs, and may be announced yet.
    pub(super) said: bool,
    /// When it was handed over for writing.
    pub(super) sent: Option<Instant>,
    pub(super) cancelling: bool,
    pub(super) abandoned: bool,
    /// Its start is announced whatever its name, because it has limits.
    pub(super) announced: bool,
    /// How long each is taken to take, in nanoseconds.
    pub(super) pace: u32,
    pub(super) bytes: usize,
    /// It starts when those before it have.
    pub(super) in_one_piece: bool,
    /// What a routing that has picked this worker is to hear of in the end.
    pub(super) picked: Option<Box<TaskMeta>>,
}

impl Flight {
    /// How long all of it is taken to take, in nanoseconds.
    fn work(&self) -> u64 {
        u64::from(self.pace) * u64::from(self.count)
    }

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
        } else if ticket <= written && (!read || !self.announced && quiet.contains(&self.name)) {
            Started::Unknown
        } else {
            Started::No
        }
    }
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) slot: Slot,
    /// Which worker has this seat, counted from 1.
    pub(super) epoch: u64,
    /// Tasks that wait for this worker, because their key is at home here.
    pub(super) line: Line,
    /// One of them that is exclusive, for which the worker is kept free from now on.
    pub(super) reserved: Option<(Priority, TaskId)>,
    /// Some worker has this seat.
    pub(super) taken: bool,
    /// It is for suspects, and nobody else is sent there.
    pub(super) quarantine: bool,
    /// It may be sent tasks.
    pub(super) open: bool,
    /// It will not be sent any more tasks, whatever opens.
    pub(super) retired: bool,
    pub(super) credits: Credits,
    /// How many more tasks it may start; `None` is no limit.
    pub(super) quota: Option<u32>,
    pub(super) next_ticket: Ticket,
    pub(super) flights: IdMap<Ticket, Flight>,
    /// The first tickets of those that are several tasks.
    pub(super) bundles: BTreeSet<Ticket>,
    /// Names whose starts the worker no longer announces before the first poll.
    pub(super) quiet: HashSet<u16>,
    /// How long tasks of each name take here, in nanoseconds, where that is known. Empty for none.
    pub(super) paces: Vec<Option<u32>>,
    /// It has said the end of something, or had nothing to do, since it was looked at.
    pub(super) heard: bool,
    /// The sum of what its flights take.
    pub(super) work: u64,
    /// The bytes of their values.
    pub(super) bytes: usize,
    pub(super) outbox: VecDeque<Ticket>,
    /// The highest ticket that was handed out for writing: tickets leave the outbox in order.
    pub(super) written: Ticket,
}

impl Place {
    /// Nobody's.
    pub(super) fn free() -> Self {
        Self {
            slot: Slot::new(0),
            epoch: 0,
            line: Line::default(),
            reserved: None,
            taken: false,
            quarantine: false,
            open: false,
            retired: false,
            credits: Credits::new(0),
            quota: None,
            next_ticket: 1,
            flights: IdMap::default(),
            bundles: BTreeSet::new(),
            quiet: HashSet::new(),
            paces: Vec::new(),
            heard: false,
            work: 0,
            bytes: 0,
            outbox: VecDeque::new(),
            written: 0,
        }
    }

    /// A new worker's: nothing of the one before is in it.
    pub(super) fn of(slot: Slot, epoch: u64, credits: u32, quota: Option<u32>) -> Self {
        Self {
            slot,
            epoch,
            taken: true,
            open: true,
            credits: Credits::new(credits),
            quota,
            ..Self::free()
        }
    }

    /// Whether a task of this kind may be sent now.
    pub(super) fn admits(&self, exclusive: bool) -> bool {
        self.open && !self.quarantine && self.quota != Some(0) && self.credits.admits(exclusive)
    }

    /// Whether it is to be sent any tasks any more, if perhaps not now.
    pub(super) fn serves(&self) -> bool {
        self.taken && !self.retired && !self.quarantine && self.quota != Some(0)
    }

    /// Whether the worker is kept free for a task; with `awaited_only` for one that is awaited.
    pub(super) fn is_reserved(&self, awaited_only: bool) -> bool {
        self.reserved
            .is_some_and(|(priority, id)| !awaited_only || self.line.is_awaited(priority, id))
    }

    /// A task is on its way, or several. Returns the ticket, of the first.
    pub(super) fn take(&mut self, exclusive: bool, flight: Flight) -> Ticket {
        let (ticket, count) = (self.next_ticket, flight.count);
        self.next_ticket += u64::from(count);
        self.heard |= self.credits.used() == 0;
        self.work = self.work.saturating_add(flight.work());
        if count > 1 {
            self.bundles.insert(ticket);
        }
        self.bytes += flight.bytes;
        self.flights.insert(ticket, flight);
        self.outbox.push_back(ticket);
        self.credits.take(exclusive, count);
        if let Some(quota) = &mut self.quota {
            *quota = quota.saturating_sub(count);
        }
        ticket
    }

    /// A task is not with this worker any more. One that never ran leaves its place to another.
    pub(super) fn give_back(&mut self, ticket: Ticket, ran: bool) -> Option<Flight> {
        let flight = self.flights.remove(&ticket)?;
        self.work = self.work.saturating_sub(flight.work());
        if flight.count > 1 {
            self.bundles.remove(&ticket);
        }
        self.bytes = self.bytes.saturating_sub(flight.bytes);
        self.credits.give_back(flight.count);
        if let Some(quota) = &mut self.quota
            && !ran
        {
            *quota += flight.count;
        }
        Some(flight)
    }
}
