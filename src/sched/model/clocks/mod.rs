//! Time limits against a reference that looks at every task at every moment.
//!
//! Belongs here: what is due, when, and what becomes of it. Does not belong here: order and limits of other kinds.

mod due;
mod events;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use due::Known;

use crate::{
    error::TimeoutStage,
    sched::{
        Cancelled, Death, Divide, Doing, Finished, Ledger, NewTask, Over, ReadAhead, Seat, Verdict,
        Work,
        model::{RULES, Run},
    },
    task::{Slot, TaskId, Terms, TimeLimits},
};

const WORKERS: u32 = 2;

#[derive(Debug, Clone, Copy)]
enum Event {
    Submit(TimeLimits, bool),
    /// So many, as one.
    SubmitMany(Option<Duration>, u32),
    Passes(u64),
    Send(u32),
    Start(u64),
    /// It has run without anybody being told, for so long by now, and its worker says so.
    Says(u64, u64),
    Finish(u64),
    EndAsAsked(u64),
    Refuse(u64),
    GiveBack(u64),
    Cancel(u64, bool),
    Lose(u32),
}

/// What stands for several tasks in the model: the first, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Several(u64, u32);

impl Divide for Several {
    fn split_off(&mut self, at: u32) -> Self {
        let rest = Self(self.0 + u64::from(at), self.1 - at);
        self.1 = at;
        rest
    }
}

impl Work for Several {
    fn bytes(&self) -> usize {
        self.1 as usize
    }
}

struct World {
    ledger: Ledger<Several, Several>,
    now: Instant,
    tasks: BTreeMap<u64, Known>,
    settled: BTreeMap<u64, u32>,
    /// When each worker was asked last what it runs.
    asked: [Instant; WORKERS as usize],
}

fn up(ledger: &mut Ledger<Several, Several>, worker: u32) {
    assert_eq!(ledger.up(Slot::new(worker), 2, None), seat(worker));
    ledger.paced(seat(worker), 0, 1000).unwrap();
}

fn seat(worker: u32) -> Seat {
    Seat::new(worker)
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut ledger = Ledger::new([("name", None)], RULES, None, now);
        ledger.read_ahead(ReadAhead {
            time: Duration::from_micros(200),
            bytes: 1 << 20,
            started: 1000,
            cpus: usize::MAX,
            room: 1,
        });
        for worker in 0..WORKERS {
            up(&mut ledger, worker);
        }
        Self {
            ledger,
            now,
            tasks: BTreeMap::new(),
            settled: BTreeMap::new(),
            asked: [now; WORKERS as usize],
        }
    }

    /// Its reply has come out.
    fn settles(&mut self, id: u64, reply: Several) -> Option<Known> {
        assert_eq!(Several(id, 1), reply);
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
                    payload: Several(next, 1),
                    bytes: 1,
                    terms: Terms {
                        idempotent,
                        ..Terms::default()
                    },
                    limits,
                    reply: Several(next, 1),
                };
                let id = self.ledger.accept(task, None, || now).unwrap();
                assert_eq!(id.get(), next);
                self.tasks.insert(next, Known::new(limits, now, idempotent));
            }
            Event::SubmitMany(run, count) => {
                let next = self.settled.len() as u64 + self.tasks.len() as u64 + 1;
                let limits = TimeLimits {
                    run,
                    ..TimeLimits::default()
                };
                let all = NewTask {
                    name: 0,
                    payload: Several(next, count),
                    bytes: count as usize,
                    terms: Terms {
                        idempotent: true,
                        ..Terms::default()
                    },
                    limits,
                    reply: Several(next, count),
                };
                let id = self.ledger.accept_bundle(all, count, None, || now);
                assert_eq!(id.unwrap().get(), next);
                for id in next..next + u64::from(count) {
                    let known = Known {
                        joined: true,
                        ..Known::new(limits, now, true)
                    };
                    self.tasks.insert(id, known);
                }
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
                        for nth in 0..task.count {
                            let (id, ticket) = (task.id.after(nth), task.ticket + u64::from(nth));
                            sent.push((id.get(), ticket, task.left, task.count > 1));
                        }
                    },
                );
                for (id, ticket, left, together) in sent {
                    let known = self.tasks.get_mut(&id).unwrap();
                    known.sent = Some((worker, ticket));
                    known.untold = together.then_some(now);
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
                known.started.get_or_insert(now);
                known.said = false;
                known.ever_started = true;
                if known.over == Some(TimeoutStage::Queued) {
                    known.over = None;
                }
                let started = self.ledger.started(seat(worker), ticket).unwrap();
                assert_eq!(started.get(), id);
                self.ledger.runs(started, || now);
            }
            Event::Says(id, millis) => {
                let (worker, ticket) = self.tasks[&id].sent.unwrap();
                let since = now.checked_sub(Duration::from_millis(millis)).unwrap();
                self.ledger.polls(seat(worker), ticket, since, now);
                let known = self.tasks.get_mut(&id).unwrap();
                let run = known.limits.run;
                if run.is_some_and(|run| since + run <= now) {
                    known.started = Some(since);
                    (known.ever_started, known.said) = (true, true);
                    self.expire();
                }
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
                        let known = self.tasks.get_mut(&id).unwrap();
                        (known.sent, known.untold) = (None, None);
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
                        (known.untold, known.said) = (None, false);
                    }
                }
                up(&mut self.ledger, worker);
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
