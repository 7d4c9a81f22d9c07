//! Who is sent what.
//!
//! Belongs here: the choice of worker, and what is handed out for writing. Does not belong here: the choice of task; what
//! workers say of it.

use std::time::Instant;

use crate::{
    sched::{
        ledger::{
            At, Dispatch, Divide, Ledger, Name, Seat, Work,
            ahead::IN_ONE_PIECE,
            ask::Asked,
            crew::Called,
            keys::{Home, candidates},
            place::{Flight, Place},
        },
        routing::TaskMeta,
    },
    task::{Key, Priority, TaskId},
};

/// What became of a task whose turn it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Sent(Seat),
    /// It waits for something of its own, and others may go.
    Kept,
    /// Nobody can be sent it now.
    Blocked,
}

/// A worker that was chosen, and for whom if by a routing.
pub(super) type Choice = (usize, Option<Box<TaskMeta>>);

fn seat(index: usize) -> Seat {
    Seat::new(u32::try_from(index).unwrap_or(u32::MAX))
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// Moves waiting tasks to workers with credit, and calls `touched` for each that got one.
    ///
    /// With `awaited_only` just the tasks marked by [`Ledger::expedite`] move.
    pub(crate) fn assign(
        &mut self,
        awaited_only: bool,
        now: impl Fn() -> Instant,
        mut touched: impl FnMut(Seat),
    ) {
        if self.wants_quarantine() {
            self.fill_quarantine(&mut touched);
        }
        if self.lined > 0 {
            self.fill_reserved(awaited_only, &now, &mut touched);
        }
        // Nobody overtakes the next one, so an exclusive task gets its empty worker in the end.
        while let Some(id) = self.next(awaited_only, &now) {
            match self.advance(id, awaited_only, &now) {
                Step::Sent(seat) => touched(seat),
                Step::Kept => {}
                Step::Blocked => break,
            }
        }
        if !awaited_only {
            self.awaited.clear();
        }
    }

    /// Workers that are empty and were kept free for one task get it.
    fn fill_reserved(
        &mut self,
        awaited_only: bool,
        now: &impl Fn() -> Instant,
        touched: &mut impl FnMut(Seat),
    ) {
        for index in 0..self.places.len() {
            let place = self.places.get(index);
            let ready = place.filter(|place| place.admits(true) && place.is_reserved(awaited_only));
            if let Some((_, id)) = ready.and_then(|place| place.reserved)
                && let Step::Sent(seat) = self.advance(id, awaited_only, now)
            {
                touched(seat);
            }
        }
    }

    /// The turn of a waiting task has come. With `awaited_only` nobody is kept free for tasks that nobody awaits.
    fn advance(&mut self, id: TaskId, awaited_only: bool, now: &impl Fn() -> Instant) -> Step {
        let Some(task) = self.tasks.get(id.get()) else {
            // Not reachable: who settles leaves first.
            return Step::Blocked;
        };
        let (name, terms, at, count) = (task.name, task.terms, task.at, task.count);
        if count > 1 {
            let choice = match self.pick_of_crew(id, awaited_only, now) {
                Called::To(choice) => Some(choice),
                Called::Wait => return Step::Blocked,
                Called::Any => self.pick_for_bundle(id, awaited_only),
            };
            if let Some(choice) = &choice {
                self.recruit(id, choice);
            } else {
                if !self.admits_one(awaited_only) {
                    return Step::Blocked;
                }
                // Each goes where there is room for one, as if it had come alone.
                self.scatter(id);
                return Step::Kept;
            }
            return self.go(choice, at, (id, count), name, terms.priority);
        }
        let known = self.names.get(usize::from(name));
        // Who waits for a worker has its place already.
        if !matches!(at, At::Line(_)) && known.is_some_and(Name::is_full) {
            if at != At::Held {
                self.hold(id, name);
            }
            return Step::Kept;
        }
        let choice = match terms.key {
            None => match self.pick_favourite(id, awaited_only) {
                Some(choice) => Some(choice),
                None => {
                    let choice = match self.pick_of_crew(id, awaited_only, now) {
                        Called::To(choice) => Some(choice),
                        Called::Wait => return Step::Blocked,
                        Called::Any => (self.pick(id, terms.exclusive, awaited_only))
                            .or_else(|| self.pick_ahead(id, awaited_only)),
                    };
                    if let Some(choice) = &choice {
                        self.favour(id, choice);
                        self.recruit(id, choice);
                    }
                    choice
                }
            },
            Some(key) => {
                let Some(index) = self.home(key) else {
                    return Step::Blocked;
                };
                if !self.is_free(index, id, terms.exclusive, awaited_only) {
                    if at != At::Line(seat(index)) {
                        self.line_up(id, name, seat(index));
                    }
                    if let Some(place) = self.places.get_mut(index)
                        && terms.exclusive
                        && place.admits(false)
                        && !place.is_reserved(awaited_only)
                    {
                        place.reserved = Some((terms.priority, id));
                    }
                    return Step::Kept;
                }
                Some((index, None))
            }
        };
        self.go(choice, at, (id, 1), name, terms.priority)
    }

    /// What waits goes to the worker that was chosen, if one was.
    fn go(
        &mut self,
        choice: Option<Choice>,
        at: At,
        (id, count): (TaskId, u32),
        name: u16,
        priority: Priority,
    ) -> Step {
        choice.map_or(Step::Blocked, |choice| {
            self.leave_from(at, (id, count as usize), name, priority);
            Step::Sent(self.send(id, choice))
        })
    }

    /// Whether the worker of a key may be sent this task now.
    fn is_free(&self, index: usize, id: TaskId, exclusive: bool, awaited_only: bool) -> bool {
        self.places.get(index).is_some_and(|place| {
            let own = place.reserved.is_some_and(|(_, reserved)| reserved == id);
            place.admits(exclusive) && (own || !place.is_reserved(awaited_only))
        })
    }

    /// The worker where a key is at home; a new one's is the less loaded of two that its hash names.
    fn home(&mut self, key: Key) -> Option<usize> {
        if let Some(home) = self.keys.get(key)
            && let Some(place) = self.place(home.seat)
            && place.epoch == home.epoch
            && place.serves()
        {
            return Some(home.seat.index());
        }
        let serves = |place: &Place| place.open && place.serves();
        let count = self.places.iter().filter(|place| serves(place)).count();
        let nth = |nth: usize| {
            let mut places = self.places.iter().enumerate();
            let mut serving = places.by_ref().filter(|(_, place)| serves(place));
            serving.nth(nth)
        };
        let choices = candidates(key, count).into_iter().filter_map(nth);
        let load = |(_, place): &(usize, &Place)| place.credits.used() as usize + place.line.len();
        let (index, place) = choices.min_by_key(load)?;
        let home = Home {
            seat: seat(index),
            epoch: place.epoch,
        };
        let places = &self.places;
        self.keys.insert(key, home, |home| {
            let place = places.get(home.seat.index());
            place.is_some_and(|place| place.epoch == home.epoch && place.serves())
        });
        Some(index)
    }

    /// A worker that may be sent such a task.
    fn pick(&mut self, id: TaskId, exclusive: bool, awaited_only: bool) -> Option<Choice> {
        let admits = |place: &Place| place.admits(exclusive) && !place.is_reserved(awaited_only);
        if self.router.is_custom() {
            match self.ask(id, admits) {
                Asked::Chosen(choice) => return Some(choice),
                Asked::Wait => return None,
                Asked::Replaced => {}
            }
        }
        // The least loaded; among equals they take turns.
        let count = self.places.len();
        let mut best: Option<(u32, usize)> = None;
        for step in 0..count {
            let index = (self.cursor + step) % count;
            let Some(place) = self.places.get(index) else {
                continue;
            };
            if !admits(place) {
                continue;
            }
            let load = place.credits.used();
            if best.is_none_or(|(least, _)| load < least) {
                best = Some((load, index));
            }
        }
        let (_, index) = best?;
        self.cursor = (index + 1) % count;
        Some((index, None))
    }

    /// A task that waits nowhere any more is on its way.
    pub(super) fn send(&mut self, id: TaskId, (index, picked): Choice) -> Seat {
        let seat = seat(index);
        let (Some(place), Some(task)) = (self.places.get_mut(index), self.tasks.get_mut(id.get()))
        else {
            return seat;
        };
        let pace = place.paces.get(usize::from(task.name)).copied().flatten();
        let flight = Flight {
            id,
            count: task.count,
            name: task.name,
            started: false,
            said: false,
            sent: None,
            cancelling: false,
            abandoned: false,
            announced: task.count == 1 && self.clocks.contains(id),
            // Of which nothing is known, behind that nothing is sent ahead.
            pace: pace.unwrap_or(u32::MAX),
            bytes: task.bytes as usize,
            in_one_piece: task.bytes as usize <= IN_ONE_PIECE,
            picked,
        };
        let ticket = place.take(task.terms.exclusive, flight);
        task.at = At::Flight(seat, ticket);
        if let Some(name) = self.names.get_mut(usize::from(task.name)) {
            name.running += task.count;
            name.exclusive = task.terms.exclusive;
        }
        if !place.line.is_empty() && !place.serves() {
            self.dissolve(seat);
        }
        seat
    }

    /// Hands over what is to be written to a worker now.
    pub(crate) fn take_outbox(
        &mut self,
        seat: Seat,
        now: impl Fn() -> Instant,
        mut write: impl FnMut(Dispatch<&P>),
    ) {
        let Some(place) = self.places.get_mut(seat.index()) else {
            return;
        };
        // One look at the clock for all of them.
        let mut sent = None;
        while let Some(ticket) = place.outbox.pop_front() {
            place.written = ticket;
            let Some(flight) = place.flights.get_mut(&ticket) else {
                continue; // Cancelled in the outbox: the worker never hears of it.
            };
            place.written += u64::from(flight.count - 1);
            flight.sent = Some(*sent.get_or_insert_with(&now));
            let limited = self.clocks.contains(flight.id);
            if limited && !flight.announced {
                self.clocks.may_run(flight.id, now());
            }
            if let Some(task) = self.tasks.get(flight.id.get()) {
                write(Dispatch {
                    ticket,
                    count: task.count,
                    id: flight.id,
                    name: task.name,
                    attempt: task.spent.attempt(),
                    left: limited
                        .then(|| self.clocks.left(flight.id, now()))
                        .flatten(),
                    payload: &task.payload,
                });
            }
        }
    }
}
