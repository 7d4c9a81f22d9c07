//! One pool: the ledger and its reference side by side, and the account of every reply.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    events::Event,
    routing::{Last, Picks},
};
use crate::{
    sched::{
        Divide, Finished, Ledger, Limits, ReadAhead, RetryRules, Routing, Seat, Violation, Work,
        model::{
            RULES, Run,
            reference::{Reference, Task, Worker},
        },
    },
    task::{Priority, TaskId},
};

/// A reply; there is one for each submission and it cannot be copied. Of several in a row it is the first, and how many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token(pub(super) usize, pub(super) u32);

impl Divide for Token {
    fn split_off(&mut self, at: u32) -> Self {
        let rest = Self(self.0 + at as usize, self.1 - at);
        self.1 = at;
        rest
    }
}

/// What a submission is to do: its number, how many bytes that is, and how many in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input(pub(super) usize, pub(super) usize, pub(super) u32);

impl Divide for Input {
    fn split_off(&mut self, at: u32) -> Self {
        let rest = Self(self.0 + at as usize, self.1, self.2 - at);
        self.2 = at;
        rest
    }
}

impl Work for Input {
    fn bytes(&self) -> usize {
        self.1 * self.2 as usize
    }
}

/// One pool's life.
pub(super) struct Pool {
    pub(super) ledger: Ledger<Input, Token>,
    pub(super) reference: Reference,
    /// Tasks waiting and bytes unsettled that are allowed.
    pub(super) limits: Limits,
    /// Which classes of priority there are.
    pub(super) classes: Vec<Priority>,
    /// How many of ten tasks have a key.
    pub(super) keyed: usize,
    pub(super) picks: Picks,
    born: Instant,
    pub(super) epochs: u64,
    pub(super) awaited_only: bool,
    pub(super) submitted: usize,
    /// For each submission how often its reply came out.
    pub(super) outcomes: Vec<u8>,
    /// For each id its submission.
    pub(super) tokens: Vec<usize>,
    /// For each id whether it may have run.
    pub(super) may_have_run: Vec<bool>,
}

fn named(violation: Violation) -> &'static str {
    match violation {
        Violation::UnsentTicket(_) => "not sent",
        Violation::SettledTicket(_) => "ended before",
        Violation::StartedTwice(_) => "started twice",
        Violation::GivenBackStarted(_) => "given back when started",
        Violation::UnknownName(_) => "a name there is not",
        Violation::NotCancelled(_) => "nobody cancelled it",
    }
}

pub(super) fn reply(finished: Finished<Token>) -> Option<Token> {
    match finished {
        Finished::Settle(token) => Some(token),
        Finished::Abandoned | Finished::Again => None,
    }
}

pub(super) fn seat(index: usize) -> Seat {
    Seat::new(u32::try_from(index).unwrap())
}

impl Pool {
    pub(super) fn new(run: &mut Run<Event>) -> Self {
        let random = &mut run.random;
        // Seldom so many that not all of them are called for bundles.
        let most = if random.odds(1, 4) { 7 } else { 4 };
        let workers = random.between(1, most);
        let attempts = [(); 3].map(|()| random.between(1, 4) as u32);
        let limits: Vec<Option<usize>> = (0..random.between(1, 3))
            .map(|_| random.odds(1, 3).then(|| random.between(1, 4)))
            .collect();
        let (born, picks) = (Instant::now(), Picks::default());
        let custom = random.odds(1, 4);
        let routing = custom.then(|| Box::new(Last(Arc::clone(&picks))) as Box<dyn Routing>);
        let names = limits.iter().map(|limit| {
            let limit = limit.map(|limit| u32::try_from(limit).unwrap());
            ("name", limit)
        });
        let rules = RetryRules {
            lost: attempts[0],
            failed: attempts[1],
            memory: attempts[2],
            ..RULES
        };
        let mut classes = Priority::ALL.to_vec();
        // Mostly one class alone, as most pools have.
        if random.odds(1, 2) {
            classes = vec![random.pick(&classes).unwrap()];
        }
        let ahead = random.odds(1, 2).then(|| ReadAhead {
            time: Duration::from_nanos(random.between(100, 6000) as u64),
            bytes: random.between(1, 400),
            started: random.between(1, 12),
            cpus: [1, 1, 2, 3][random.below(4)],
            room: random.between(1, 4),
        });
        let mut ledger = Ledger::new(names, rules, routing, born);
        if let Some(most) = ahead {
            ledger.read_ahead(most);
        }
        Self {
            ledger,
            reference: Reference {
                tasks: Vec::new(),
                workers: vec![Worker::default(); workers],
                awaited: Vec::new(),
                attempts,
                limits,
                custom,
                ahead,
                favourite: None,
                crew: Vec::new(),
                look: None,
                seats: 0,
                waited: false,
                sent_as_one: false,
                now: 0,
                ages_from: None,
                homes: Vec::new(),
                quarantine: None,
                inquests: Vec::new(),
                numbers: 0,
            },
            limits: Limits {
                waiting: random.between(1, 40),
                bytes: random.between(1, 400),
            },
            classes,
            keyed: if random.odds(1, 2) {
                random.below(6)
            } else {
                0
            },
            picks,
            born,
            epochs: 0,
            awaited_only: false,
            submitted: 0,
            outcomes: Vec::new(),
            tokens: vec![usize::MAX],
            may_have_run: vec![false],
        }
    }

    /// The reply of a task has come out, or of several from that one on.
    pub(super) fn settled(&mut self, id: u64, token: &Token) {
        for nth in 0..token.1 as usize {
            let (id, token) = (usize::try_from(id).unwrap() + nth, token.0 + nth);
            assert_eq!(self.tokens[id], token, "whose reply?");
            self.outcomes[token] += 1;
            assert_eq!(self.outcomes[token], 1, "{id} was settled twice");
        }
    }

    /// Does it, compares what it did with the reference, and says in a word what that was.
    pub(super) fn apply(&mut self, event: Event) -> &'static str {
        match event {
            Event::Submit {
                name,
                bytes,
                terms,
                limited,
            } => self.submit(name, bytes, terms, limited),
            Event::SubmitMany {
                name,
                bytes,
                terms,
                tasks,
                limited,
            } => self.submit_many((name, tasks), bytes, terms, limited),
            Event::FinishedRun(index, ticket, tasks) => self.finished_run(index, ticket, tasks),
            Event::Passes(tenths) => {
                self.reference.now += tenths;
                "time passes"
            }
            Event::Gate(awaited_only) => {
                self.awaited_only = awaited_only;
                "gate"
            }
            Event::Assign => self.assign(),
            Event::Expedite(id) => {
                let reference = &mut self.reference;
                reference.isolate(id);
                let waits = reference.task(id).is_some_and(Task::may_be_awaited);
                if waits && !reference.awaited.contains(&id) {
                    reference.awaited.push(id);
                }
                self.ledger.expedite(TaskId::new(id));
                "expedited"
            }
            Event::ExpediteEvery(nth) => {
                let awaited = |token: usize, tasks: u32| {
                    (token as u64..token as u64 + u64::from(tasks))
                        .any(|token| token.is_multiple_of(nth))
                };
                let tasks = self.reference.tasks.iter();
                let tasks = tasks.filter(|task| task.may_be_awaited() && !task.joined);
                let mut ids: Vec<u64> = tasks.map(|task| task.id).collect();
                ids.sort_unstable();
                ids.retain(|id| {
                    let token = self.tokens[usize::try_from(*id).unwrap()];
                    awaited(token, self.reference.chain(*id))
                });
                self.reference.awaited = ids;
                self.ledger
                    .expedite_where(|token| awaited(token.0, token.1));
                "expedited"
            }
            Event::Write(index) => self.write(index),
            Event::Started(index, ticket) => {
                let found = self.ledger.started(seat(index), ticket).map(|_| ());
                assert_eq!(found, self.reference.started(index, ticket));
                found.map_or_else(named, |()| "started")
            }
            Event::Quiet(index, name, quiet) => {
                let found = self.ledger.quiet(seat(index), name, quiet);
                assert_eq!(found, self.reference.quiet(index, name, quiet));
                found.map_or_else(named, |()| "quiet")
            }
            Event::Pace(index, name, nanos) => {
                let found = self.ledger.paced(seat(index), name, nanos);
                assert_eq!(found, self.reference.paced(index, name, nanos));
                found.map_or_else(named, |()| "paced")
            }
            Event::Finished(index, ticket) => {
                let due = self.ledger.expects(seat(index), ticket);
                let found = self.ledger.finished(seat(index), ticket).map(reply);
                assert_eq!(due.err(), found.as_ref().err().copied());
                let expected = self.reference.ended(index, ticket, true);
                self.left(found, expected, ["finished", "finished, abandoned"])
            }
            Event::Failed(index, ticket) => self.failed(index, ticket),
            Event::Release => self.release(),
            Event::Look => {
                self.reference.now += 1;
                self.look()
            }
            Event::Cancelled(index, ticket, started) => {
                let found = self.ledger.cancelled(seat(index), ticket, started);
                let expected = self.reference.cancelled(index, ticket, started);
                self.left(
                    found.map(reply),
                    expected,
                    ["ended as asked", "ended, abandoned"],
                )
            }
            Event::Revoked(index, ticket) => {
                let found = self.ledger.revoked(seat(index), ticket);
                let expected = self.reference.revoked(index, ticket);
                self.left(found, expected, ["revoked, cancelled", "revoked"])
            }
            Event::Dropped(index, ticket, started) => {
                let found = self.ledger.dropped(seat(index), ticket, started);
                let expected = self.reference.dropped(index, ticket, started);
                self.left(found, expected, ["dropped, cancelled", "dropped"])
            }
            Event::Cancel(id, abandon) => self.cancel(id, abandon),
            Event::Abandon(index, ticket) => self.abandon(index, ticket),
            Event::Lost(index, doing, read, short) => self.lost(index, doing, read, short),
            Event::Up(credits, quota) => self.up(credits, quota, false),
            Event::UpQuarantine => self.up(1, None, true),
            Event::Limit(index, credits) => {
                self.ledger.limit(seat(index), credits);
                let worker = &mut self.reference.workers[index];
                let fewer = worker.flights.len() > credits as usize;
                worker.credits = credits;
                if fewer {
                    "fewer than it has"
                } else {
                    "limited"
                }
            }
            Event::Close(index) => {
                self.ledger.close(seat(index));
                self.reference.workers[index].open = false;
                "closed"
            }
            Event::Reopen(index) => {
                self.ledger.reopen(seat(index));
                self.reference.workers[index].open = true;
                "reopened"
            }
            Event::Retire(index) => self.retire(index),
            Event::TakeWaiting => self.take_waiting(),
            Event::TakeFlights => self.take_flights(),
        }
    }

    /// Compares what came out with what should have.
    pub(super) fn left(
        &mut self,
        found: Result<Option<Token>, Violation>,
        expected: Result<Option<u64>, Violation>,
        [settled, not]: [&'static str; 2],
    ) -> &'static str {
        match (found, expected) {
            (Ok(Some(token)), Ok(Some(id))) => {
                self.settled(id, &token);
                settled
            }
            (Ok(None), Ok(None)) => not,
            (Err(found), Err(expected)) => {
                assert_eq!(found, expected);
                named(found)
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.born + Duration::from_millis(self.reference.now * 100)
    }
}
