//! Time limits against a reference that looks at every task at every moment.
//!
//! Belongs here: what is due, when, and what becomes of it. Does not belong here: order and limits of other kinds.

mod due;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use due::Known;

use crate::{
    error::TimeoutStage,
    sched::{
        Cancelled, Death, Doing, Finished, Ledger, NewTask, Over, Seat, Verdict,
        model::{RULES, Run},
    },
    task::{Slot, TaskId, Terms, TimeLimits},
};

const WORKERS: u32 = 2;

#[derive(Debug, Clone, Copy)]
enum Event {
    Submit(TimeLimits, bool),
    Passes(u64),
    Send(u32),
    Start(u64),
    Finish(u64),
    EndAsAsked(u64),
    Refuse(u64),
    GiveBack(u64),
    Cancel(u64, bool),
    Lose(u32),
}

struct World {
    ledger: Ledger<(), u64>,
    now: Instant,
    tasks: BTreeMap<u64, Known>,
    settled: BTreeMap<u64, u32>,
}

fn seat(worker: u32) -> Seat {
    Seat::new(worker)
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut ledger = Ledger::new([("name", None)], RULES, None, now);
        for worker in 0..WORKERS {
            assert_eq!(ledger.up(Slot::new(worker), 2, None), seat(worker));
        }
        Self {
            ledger,
            now,
            tasks: BTreeMap::new(),
            settled: BTreeMap::new(),
        }
    }

    fn event(&self, run: &mut Run<Event>) -> Event {
        let random = &mut run.random;
        let all: Vec<u64> = self.tasks.keys().copied().collect();
        let sent = |known: &&Known| known.sent.is_some();
        let of = |wanted: &dyn Fn(&Known) -> bool| -> Vec<u64> {
            let known = self
                .tasks
                .iter()
                .filter(|(_, known)| sent(known) && wanted(known));
            known.map(|(id, _)| *id).collect()
        };
        let fresh = of(&|known| known.started.is_none());
        let started = of(&|known| known.started.is_some());
        let ending = of(&|known| known.cancelled || known.over.is_some());
        let worker = random.below(WORKERS as usize) as u32;
        let found = match random.below(100) {
            0..=24 => {
                let mut limit = |most: usize| {
                    let millis = random.between(1, most) as u64;
                    random.odds(1, 2).then(|| Duration::from_millis(millis))
                };
                let limits = TimeLimits {
                    total: limit(3000),
                    queue: limit(300),
                    run: limit(300),
                };
                Some(Event::Submit(limits, random.odds(1, 2)))
            }
            25..=44 => Some(Event::Send(worker)),
            45..=59 => random.pick(&fresh).map(Event::Start),
            60..=69 => random.pick(&started).map(Event::Finish),
            70..=74 => random.pick(&ending).map(Event::EndAsAsked),
            75..=77 => random.pick(&fresh).map(Event::Refuse),
            78..=80 => random.pick(&fresh).map(Event::GiveBack),
            81..=83 => random.pick(&all).map(|id| Event::Cancel(id, id % 2 == 0)),
            84 => Some(Event::Lose(worker)),
            _ => None,
        };
        found.unwrap_or_else(|| Event::Passes(random.between(1, 120) as u64))
    }

    /// Its reply has come out.
    fn settles(&mut self, id: u64, reply: u64) -> Option<Known> {
        assert_eq!(id, reply);
        *self.settled.entry(id).or_default() += 1;
        self.tasks.remove(&id)
    }

    fn over(&self, id: u64) -> Option<Over> {
        let (worker, ticket) = self.tasks[&id].sent?;
        self.ledger.over(seat(worker), ticket)
    }

    fn act(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Submit(limits, idempotent) => {
                let next = self.settled.len() as u64 + self.tasks.len() as u64 + 1;
                let task = NewTask {
                    name: 0,
                    payload: (),
                    bytes: 1,
                    terms: Terms {
                        idempotent,
                        ..Terms::default()
                    },
                    limits,
                    reply: next,
                };
                let id = self.ledger.accept(task, None, || now).unwrap();
                assert_eq!(id.get(), next);
                let known = Known {
                    limits,
                    accepted: now,
                    idempotent,
                    sent: None,
                    started: None,
                    ever_started: false,
                    cancelled: false,
                    over: None,
                    asked: None,
                };
                self.tasks.insert(next, known);
            }
            Event::Passes(millis) => {
                self.now += Duration::from_millis(millis);
                self.expire();
            }
            Event::Send(worker) => {
                self.ledger.assign(false, || now, |_| {});
                let mut sent = Vec::new();
                self.ledger.take_outbox(
                    seat(worker),
                    || now,
                    |task| {
                        sent.push((task.id.get(), task.ticket, task.left));
                    },
                );
                for (id, ticket, left) in sent {
                    let known = self.tasks.get_mut(&id).unwrap();
                    known.sent = Some((worker, ticket));
                    assert_eq!(left.is_some(), !known.limits.is_none());
                    let total = known
                        .limits
                        .total
                        .map(|total| total - (now - known.accepted));
                    assert_eq!(left.unwrap_or_default(), (total, known.limits.run));
                }
            }
            Event::Start(id) => {
                let known = self.tasks.get_mut(&id).unwrap();
                let (worker, ticket) = known.sent.unwrap();
                known.started = Some(now);
                known.ever_started = true;
                if known.over == Some(TimeoutStage::Queued) {
                    known.over = None;
                }
                let started = self.ledger.started(seat(worker), ticket).unwrap();
                assert_eq!(started.get(), id);
                self.ledger.runs(started, || now);
            }
            Event::Finish(id) => {
                let (worker, ticket) = self.tasks[&id].sent.unwrap();
                let Ok(Finished::Settle(reply)) = self.ledger.finished(seat(worker), ticket) else {
                    panic!("it had not settled");
                };
                self.settles(id, reply);
            }
            Event::EndAsAsked(id) => {
                let Known {
                    sent,
                    over,
                    started,
                    cancelled,
                    ..
                } = self.tasks[&id].clone();
                let (worker, ticket) = sent.unwrap();
                assert_eq!(self.over(id).map(|over| over.stage), over);
                let found = self
                    .ledger
                    .cancelled(seat(worker), ticket, started.is_some());
                if over == Some(TimeoutStage::Queued) && !cancelled {
                    // It was asked back, and no more.
                    assert!(found.is_err());
                    return;
                }
                let Ok(Finished::Settle(reply)) = found else {
                    panic!("it was to end: {found:?}");
                };
                self.settles(id, reply);
            }
            Event::Refuse(id) => {
                let known = self.tasks[&id].clone();
                let (worker, ticket) = known.sent.unwrap();
                match self.ledger.expired(seat(worker), ticket, || now) {
                    Ok(Some((reply, over))) => {
                        let deadline = over.stage == TimeoutStage::Deadline;
                        assert!(known.over.is_some() || deadline && known.limits.total.is_some());
                        self.settles(id, reply);
                    }
                    Ok(None) => panic!("it had not settled"),
                    Err(_) => assert!(known.limits.total.is_none() && known.over.is_none()),
                }
            }
            Event::GiveBack(id) => {
                let known = self.tasks[&id].clone();
                let (worker, ticket) = known.sent.unwrap();
                match self.ledger.revoked(seat(worker), ticket).unwrap() {
                    Some(reply) => {
                        assert!(known.cancelled || known.over.is_some());
                        self.settles(id, reply);
                    }
                    None => {
                        assert!(!known.cancelled && known.over.is_none());
                        self.tasks.get_mut(&id).unwrap().sent = None;
                    }
                }
            }
            Event::Cancel(id, abandon) => {
                let sent = self.tasks[&id].sent;
                match self.ledger.cancel(TaskId::new(id), abandon) {
                    Cancelled::Queued { reply, ran } => {
                        assert_eq!((sent, ran), (None, self.tasks[&id].ever_started));
                        self.settles(id, reply);
                    }
                    Cancelled::Flight { reply, first, .. } => {
                        let known = self.tasks.get_mut(&id).unwrap();
                        known.cancelled |= first;
                        if let Some(reply) = reply {
                            self.settles(id, reply);
                        }
                    }
                    Cancelled::Unknown => panic!("it had not settled"),
                }
            }
            Event::Lose(worker) => {
                let ledger = &mut self.ledger;
                let death = Death {
                    doing: Doing::Others,
                    read: true,
                    shortage: None,
                };
                let lost = ledger.lost(seat(worker), death, || 0, |_, _, _, _| {});
                for task in lost.settled {
                    let known = self.settles(task.id.get(), task.reply).unwrap();
                    let ending = known.cancelled || known.over.is_some();
                    assert_eq!(task.verdict == Verdict::Cancelled, ending, "{known:?}");
                    assert_eq!(task.over.map(|over| over.stage), known.over);
                }
                for known in self.tasks.values_mut() {
                    if known.sent.is_some_and(|(with, _)| with == worker) {
                        assert!(known.idempotent || known.started.is_none());
                        (known.sent, known.started) = (None, None);
                    }
                }
                let slot = Slot::new(worker);
                assert_eq!(self.ledger.up(slot, 2, None), seat(worker));
            }
        }
    }
}

#[test]
fn whatever_is_over_a_limit_is_found_then_and_once() {
    let mut run = Run::new();
    let mut world = World::new();
    while run.goes_on() {
        let event = world.event(&mut run);
        run.note(event);
        world.act(event);
        if world.tasks.len() > 40 {
            world.act(Event::Lose(0));
            for id in world.tasks.keys().copied().collect::<Vec<_>>() {
                if world.tasks.contains_key(&id) {
                    world.act(Event::Cancel(id, true));
                }
            }
        }
    }
    let all = world.settled.values().all(|times| *times == 1);
    assert!(all, "a task has settled twice");
}
