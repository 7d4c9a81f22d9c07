//! One pool: the ledger and its reference side by side, and the account of every reply.

use super::events::Event;
use crate::{
    sched::{
        Dispatch, Finished, Full, Ledger, NewTask, Seat, Violation,
        model::{
            Run,
            reference::{Reference, Task, Worker},
        },
    },
    task::{Slot, TaskId},
};

/// A reply; there is one for each submission and it cannot be copied.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token(pub(super) usize);

/// One pool's life.
pub(super) struct Pool {
    pub(super) ledger: Ledger<u64, Token>,
    pub(super) reference: Reference,
    /// Tasks waiting and bytes unsettled that are allowed.
    pub(super) limits: (usize, usize),
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
    }
}

pub(super) fn seat(index: usize) -> Seat {
    Seat::new(u32::try_from(index).unwrap())
}

impl Pool {
    pub(super) fn new(run: &mut Run<Event>) -> Self {
        let random = &mut run.random;
        let (workers, max_attempts) = (random.between(1, 4), random.between(1, 4));
        let names = u16::try_from(random.between(1, 3)).unwrap();
        let max_attempts = u32::try_from(max_attempts).unwrap();
        Self {
            ledger: Ledger::new(names, max_attempts),
            reference: Reference {
                tasks: Vec::new(),
                workers: vec![Worker::default(); workers],
                awaited: Vec::new(),
                max_attempts,
                names,
            },
            limits: (random.between(1, 40), random.between(1, 400)),
            awaited_only: false,
            submitted: 0,
            outcomes: Vec::new(),
            tokens: vec![usize::MAX],
            may_have_run: vec![false],
        }
    }

    pub(super) fn settled(&mut self, id: u64, token: &Token) {
        assert_eq!(
            self.tokens[usize::try_from(id).unwrap()],
            token.0,
            "whose reply?"
        );
        self.outcomes[token.0] += 1;
        assert_eq!(self.outcomes[token.0], 1, "{id} was settled twice");
    }

    /// Does it, compares what it did with the reference, and says in a word what that was.
    pub(super) fn apply(&mut self, event: Event) -> &'static str {
        match event {
            Event::Submit {
                name,
                bytes,
                idempotent,
                exclusive,
                limited,
            } => self.submit(name, bytes, idempotent, exclusive, limited),
            Event::Gate(awaited_only) => {
                self.awaited_only = awaited_only;
                "gate"
            }
            Event::Assign => self.assign(),
            Event::Expedite(id) => {
                let reference = &mut self.reference;
                let waits = reference.task(id).is_some_and(|task| task.flight.is_none());
                if waits && !reference.awaited.contains(&id) {
                    reference.awaited.push(id);
                }
                self.ledger.expedite(TaskId::new(id));
                "expedited"
            }
            Event::ExpediteEvery(nth) => {
                let awaited = |token: usize| (token as u64).is_multiple_of(nth);
                let mut ids = self.reference.waiting();
                ids.retain(|id| awaited(self.tokens[usize::try_from(*id).unwrap()]));
                self.reference.awaited = ids;
                self.ledger.expedite_where(|token| awaited(token.0));
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
            Event::Finished(index, ticket, ran) => {
                let due = self.ledger.expects(seat(index), ticket);
                let found = self.ledger.finished(seat(index), ticket, ran);
                assert_eq!(due.err(), found.as_ref().err().copied());
                let found = found.map(|finished| match finished {
                    Finished::Settle(token) => Some(token),
                    Finished::Abandoned => None,
                });
                let expected = self.reference.finished(index, ticket, ran);
                self.left(found, expected, ["finished", "finished, abandoned"])
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
            Event::Lost(index, innocent, read) => self.lost(index, innocent, read),
            Event::Up(credits, quota) => {
                let workers = &self.reference.workers;
                let index = workers.iter().position(|worker| !worker.alive).unwrap();
                let slot = Slot::new(u32::try_from(index).unwrap() + 7);
                assert_eq!(self.ledger.up(slot, credits, quota), seat(index));
                self.reference.workers[index] = Worker {
                    alive: true,
                    open: true,
                    credits,
                    left: quota,
                    ..Worker::default()
                };
                "up"
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
            Event::Retire(index) => {
                self.ledger.retire(seat(index));
                self.reference.workers[index].retired = true;
                "retired"
            }
            Event::TakeWaiting => self.take_waiting(),
            Event::TakeFlights => self.take_flights(),
        }
    }

    /// Compares what came out with what should have.
    fn left(
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

    fn submit(
        &mut self,
        name: u16,
        bytes: usize,
        idempotent: bool,
        exclusive: bool,
        limited: bool,
    ) -> &'static str {
        let token = self.submitted;
        self.submitted += 1;
        self.outcomes.push(0);
        let task = NewTask {
            name,
            payload: token as u64,
            bytes,
            idempotent,
            exclusive,
            reply: Token(token),
        };
        let (waiting, unsettled) = (self.reference.waiting().len(), self.reference.bytes());
        let (max_waiting, max_bytes) = self.limits;
        // A task alone may be larger than all that is allowed, or it could never run.
        let fits = waiting < max_waiting && (unsettled == 0 || unsettled + bytes <= max_bytes);
        match self.ledger.accept(task, limited.then_some(self.limits)) {
            Ok(id) => {
                assert!(fits || !limited);
                assert_eq!(id.get(), self.tokens.len() as u64, "ids are counted up");
                self.tokens.push(token);
                self.may_have_run.push(false);
                self.reference.tasks.push(Task {
                    id: id.get(),
                    name,
                    bytes,
                    idempotent,
                    exclusive,
                    attempt: 1,
                    requeued: false,
                    flight: None,
                });
                "accepted"
            }
            Err((full, task)) => {
                assert!(limited && !fits);
                let expected = Full {
                    waiting,
                    bytes: unsettled,
                };
                assert_eq!(full, expected);
                // Handed back as it was: it may come again.
                let same = (name, token as u64, bytes, idempotent, exclusive);
                let found = (
                    task.name,
                    task.payload,
                    task.bytes,
                    task.idempotent,
                    task.exclusive,
                );
                assert_eq!(found, same);
                assert_eq!(task.reply, Token(token));
                self.outcomes[token] = 1;
                "refused"
            }
        }
    }

    fn assign(&mut self) -> &'static str {
        let mut to = Vec::new();
        self.ledger
            .assign(self.awaited_only, |slot| to.push(slot.index()));
        self.reference.assigned(self.awaited_only, &to);
        match to[..] {
            [] => "nothing assigned",
            _ if self.awaited_only => "awaited ones assigned",
            _ => "assigned",
        }
    }

    fn write(&mut self, index: usize) -> &'static str {
        let mut found = Vec::new();
        self.ledger.take_outbox(seat(index), |task| {
            found.push(Dispatch {
                ticket: task.ticket,
                id: task.id,
                name: task.name,
                attempt: task.attempt,
                payload: *task.payload,
            });
        });
        let expected: Vec<Dispatch<u64>> = self
            .reference
            .write(index)
            .into_iter()
            .map(|(ticket, task)| {
                assert!(task.attempt <= self.reference.max_attempts);
                let ran = self.may_have_run[usize::try_from(task.id).unwrap()];
                assert!(task.idempotent || !ran, "{task:?} would run twice");
                Dispatch {
                    ticket,
                    id: TaskId::new(task.id),
                    name: task.name,
                    attempt: task.attempt,
                    payload: self.tokens[usize::try_from(task.id).unwrap()] as u64,
                }
            })
            .collect();
        assert_eq!(found, expected);
        match found.iter().map(|task| task.attempt).max() {
            None => "nothing written",
            Some(1) => "written",
            Some(_) => "another attempt written",
        }
    }
}
