//! The table of all accepted tasks: where each is, and whose reply it carries.
//!
//! Belongs here: the state machine drawn in the module above; by role: who `waits`, `assign` to workers, `flight` with them,
//! `settle`. Does not belong here: delivering replies, waking workers.
//! Invariants: one settle per id; a worker never holds more than its credits; counted bytes are those of unsettled tasks.

mod again;
mod ahead;
mod ask;
mod assign;
mod awaited;
mod blame;
mod bundle;
mod by_class;
mod clocks;
mod crew;
mod expire;
mod favourite;
mod flight;
mod keys;
mod line;
mod lost;
mod messages;
mod next;
mod place;
mod settle;
mod table;
mod waiting;

use std::{collections::BTreeMap, time::Instant};

pub(crate) use ahead::{IN_ONE_PIECE, ReadAhead};
pub(crate) use bundle::{Divide, Work};
pub(crate) use clocks::Over;
pub(crate) use flight::Burden;
#[cfg(test)]
pub(crate) use keys::candidates;
pub(crate) use lost::{Death, Doing};
pub(crate) use messages::{
    Cancelled, Dispatch, Expired, Finished, Full, Limits, Lost, LostTask, NewTask, Quantities,
    Ticket, Unsettled, Verdict, Violation,
};

use crate::{
    sched::{
        ledger::{
            again::Later,
            blame::Blame,
            by_class::ByClass,
            clocks::Clocks,
            crew::Crew,
            favourite::Favourite,
            keys::Keys,
            line::{Line, Order},
            place::Place,
            table::Table,
            waiting::Ageing,
        },
        queue::Queue,
        retry::{RetryRules, Spent},
        router::{Replaced, Router},
        routing::{Routing, WorkerLoad},
    },
    task::{Slot, Terms},
};

pub(crate) use place::Seat;

/// What one worker has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) seat: Seat,
    pub(crate) slot: Slot,
    pub(crate) has: usize,
    /// How much it may have.
    pub(crate) limit: u32,
}

/// Where an unsettled task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the queue of its class.
    Queue,
    /// In the line for the worker where its key is at home.
    Line(Seat),
    /// Held back, because as many of its name run as may.
    Held,
    /// Between two runs.
    Later,
    /// For its turn in quarantine.
    Suspect,
    Flight(Seat, Ticket),
}

/// Each task that waits takes as much memory as this: no larger than it must be.
#[derive(Debug)]
struct Entry<P, R> {
    name: u16,
    /// How many tasks in a row it is.
    count: u32,
    spent: Spent,
    /// It has run, or may have, and is to run again.
    ran: bool,
    /// From when on its wait counts, in the units of [`Ageing`].
    since: u32,
    payload: P,
    /// No value takes as many as do not fit.
    bytes: u32,
    terms: Terms,
    reply: R,
    at: At,
}

/// What is known of a task name.
#[derive(Debug)]
struct Name {
    name: &'static str,
    /// How many tasks of this name may be with workers at once.
    limit: Option<u32>,
    /// How many are, or wait for one worker, which they have their place for already: with a place to get in each of two
    /// lines, one would be lost while the other is waited for.
    running: u32,
    /// Those that wait for one of them to end.
    held: Line,
    /// The last that was sent is to run alone.
    exclusive: bool,
    /// Somebody has been told that it holds its event loop.
    slow: bool,
}

impl Name {
    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.running >= limit)
    }
}

#[derive(Debug)]
pub(crate) struct Ledger<P, R> {
    next_id: u64,
    tasks: Table<Entry<P, R>>,
    /// How many tasks those are.
    total: usize,
    /// Entries of several tasks: the first id and how many.
    bundles: BTreeMap<u64, u32>,
    queues: ByClass<Queue>,
    /// How many tasks wait, wherever.
    waiting: ByClass<usize>,
    /// How many of them are in lines of workers.
    lined: usize,
    /// How many of them are held back.
    held: usize,
    ageing: Ageing,
    /// Tasks in queues that somebody awaits right now, for the time when results are over their limit. Lines know their own.
    awaited: Order,
    places: Vec<Place>,
    /// How many workers there were.
    epochs: u64,
    keys: Keys,
    router: Router,
    /// What the router is offered, kept for the next time.
    offers: Vec<(WorkerLoad, u64, usize)>,
    loads: Vec<WorkerLoad>,
    /// Of unsettled tasks.
    bytes: ByClass<usize>,
    rules: RetryRules,
    /// How far tasks are sent ahead, if they are.
    ahead: Option<ReadAhead>,
    names: Vec<Name>,
    later: Later,
    blame: Blame,
    /// Of tasks that have time limits.
    clocks: Clocks,
    cursor: usize,
    favourite: Option<Favourite>,
    crew: Crew,
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// `names` are those of the tasks, each with how many of it may be with workers at once.
    pub(crate) fn new(
        names: impl IntoIterator<Item = (&'static str, Option<u32>)>,
        rules: RetryRules,
        routing: Option<Box<dyn Routing>>,
        now: Instant,
    ) -> Self {
        let names = names.into_iter().map(|(name, limit)| Name {
            name,
            limit,
            running: 0,
            held: Line::default(),
            exclusive: false,
            slow: false,
        });
        Self {
            next_id: 1,
            tasks: Table::new(),
            total: 0,
            bundles: BTreeMap::new(),
            queues: ByClass::default(),
            waiting: ByClass::default(),
            lined: 0,
            held: 0,
            ageing: Ageing::new(now),
            awaited: Order::default(),
            places: Vec::new(),
            epochs: 0,
            keys: Keys::default(),
            router: Router::new(routing),
            offers: Vec::new(),
            loads: Vec::new(),
            bytes: ByClass::default(),
            rules,
            ahead: None,
            later: Later::default(),
            blame: Blame::default(),
            names: names.collect(),
            clocks: Clocks::default(),
            cursor: 0,
            favourite: None,
            crew: Crew::default(),
        }
    }

    pub(crate) fn quantities(&self) -> Quantities {
        let waiting = self.waiting.sum();
        Quantities {
            waiting,
            in_flight: self.total - waiting,
            bytes: self.bytes.sum(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Tasks a worker has and has not reported the end of, the abandoned ones included.
    pub(crate) fn in_flight(&self, seat: Seat) -> usize {
        self.place(seat)
            .map_or(0, |place| place.credits.used() as usize)
    }

    /// The same of all workers, with their slots.
    pub(crate) fn loads(&self) -> impl Iterator<Item = Load> + '_ {
        let taken = (0..).zip(&self.places).filter(|(_, place)| place.taken);
        taken.map(|(index, place)| Load {
            seat: Seat::new(index),
            slot: place.slot,
            has: place.credits.used() as usize,
            limit: place.credits.limit(),
        })
    }

    /// Whether a worker has been sent all the tasks that it may start.
    pub(crate) fn is_spent(&self, seat: Seat) -> bool {
        self.place(seat).is_some_and(|place| place.quota == Some(0))
    }

    /// A routing that has been given up and not been taken yet.
    pub(crate) fn take_replaced(&mut self) -> Option<Replaced> {
        self.router.take_replaced()
    }

    fn place(&self, seat: Seat) -> Option<&Place> {
        self.places.get(seat.index())
    }

    fn place_mut(&mut self, seat: Seat) -> Option<&mut Place> {
        self.places.get_mut(seat.index())
    }

    /// A worker is ready to be sent tasks, so many at once and so many in all. Its seat is its own until it is lost.
    pub(crate) fn up(&mut self, slot: Slot, credits: u32, quota: Option<u32>) -> Seat {
        let index = match self.places.iter().position(|place| !place.taken) {
            Some(index) => index,
            None => {
                self.places.push(Place::free());
                self.places.len() - 1
            }
        };
        let seat = Seat::new(u32::try_from(index).unwrap_or(u32::MAX));
        self.epochs += 1;
        let epoch = self.epochs;
        if let Some(place) = self.place_mut(seat) {
            debug_assert!(place.flights.is_empty() && place.line.is_empty());
            *place = Place::of(slot, epoch, credits, quota);
        }
        seat
    }

    /// No new tasks for this worker; what it has it keeps.
    pub(crate) fn close(&mut self, seat: Seat) {
        if let Some(place) = self.place_mut(seat) {
            place.open = false;
        }
    }

    /// No new tasks for this worker until its end.
    pub(crate) fn retire(&mut self, seat: Seat) {
        if let Some(place) = self.place_mut(seat) {
            place.open = false;
            place.retired = true;
        }
        self.blame.left(seat);
        self.dissolve(seat);
    }

    /// A worker may have so many tasks from now on. Whoever has more keeps them.
    pub(crate) fn limit(&mut self, seat: Seat, limit: u32) {
        if let Some(place) = self.place_mut(seat).filter(|place| place.taken) {
            place.credits.set_limit(limit);
        }
    }

    /// The same worker takes tasks again, unless it retires.
    pub(crate) fn reopen(&mut self, seat: Seat) {
        if let Some(place) = self.place_mut(seat) {
            place.open = place.taken && !place.retired;
        }
    }
}
