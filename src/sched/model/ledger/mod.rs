//! The table of tasks against its reference, under everything that callers, workers, honest or not, and the pool do.

mod ends;
mod events;
mod look;
mod pool;
mod routing;
mod sent;
mod submit;
mod workers;

use std::{collections::BTreeMap, time::Instant};

use pool::{Input, Pool, Token, seat};

use crate::{
    sched::{
        Ledger, NewTask,
        model::{RULES, Run},
    },
    task::{Slot, Terms, TimeLimits},
};

/// What must have happened in a run of any length.
const EVERYTHING: [&str; 54] = [
    "a name there is not",
    "a run",
    "a run of which some had not",
    "abandoned",
    "accepted",
    "accepted as one",
    "another attempt written",
    "assigned",
    "awaited ones assigned",
    "cancelled again",
    "cancelled between runs",
    "cancelled in flight",
    "cancelled in the outbox",
    "cancelled in the queue",
    "cancelled, unknown",
    "closed",
    "dropped",
    "dropped, cancelled",
    "ended before",
    "failed",
    "failed, again or abandoned",
    "fewer than it has",
    "finished",
    "finished, abandoned",
    "flights taken",
    "given back when started",
    "isolated",
    "kept for something of their own",
    "limited",
    "lost and requeued",
    "lost",
    "not sent",
    "nothing assigned",
    "nothing lost",
    "one of the crew was late",
    "paced",
    "poisoned",
    "quiet",
    "refused",
    "released",
    "reopened",
    "requeued",
    "requeued, innocent",
    "retired",
    "revoked",
    "revoked, cancelled",
    "sent ahead",
    "several sent as one",
    "started twice",
    "started",
    "up in quarantine",
    "up",
    "waited for the crew",
    "waiting taken",
];

#[test]
fn every_accepted_task_settles_exactly_once_and_as_the_reference_has_it() {
    let mut run = Run::new();
    let mut seen = BTreeMap::<&str, u64>::new();
    while run.goes_on() {
        let mut pool = Pool::new(&mut run);
        for _ in 0..run.random.between(10, 2000) {
            let event = pool.event(&mut run);
            run.note(event);
            *seen.entry(pool.apply(event)).or_default() += 1;
            pool.check(&mut run);
        }
        pool.end();
    }
    if run.is_long() {
        for what in EVERYTHING {
            // Events that never come by somewhere test nothing there.
            assert!(seen.contains_key(what), "{what} never happened: {seen:?}");
        }
    }
}

#[test]
fn idle_equal_workers_are_filled_breadth_first() {
    let mut run: Run<(usize, u32, usize)> = Run::new();
    while run.goes_on() {
        let (workers, credits) = (run.random.between(1, 9), run.random.between(1, 20));
        let credits = u32::try_from(credits).unwrap();
        let tasks = run.random.between(1, 200);
        run.note_many((workers, credits, tasks), tasks);
        let loads = loads(workers, credits, tasks);
        let (least, most) = (loads.iter().min(), loads.iter().max());
        assert!(most.unwrap() - least.unwrap() <= 1, "{loads:?}");
        let sent: usize = loads.iter().sum();
        assert_eq!(sent, tasks.min(workers * credits as usize));
    }
}

#[test]
fn sixteen_tasks_on_two_idle_workers_are_eight_and_eight() {
    assert_eq!(loads(2, 16, 16), [8, 8]);
}

/// What idle workers get of so many tasks.
fn loads(workers: usize, credits: u32, tasks: usize) -> Vec<usize> {
    let now = Instant::now();
    let mut ledger = Ledger::new([("name", None)], RULES, None, now);
    for _ in 0..workers {
        ledger.up(Slot::new(0), credits, None);
    }
    for reply in 0..tasks {
        let task = NewTask {
            name: 0,
            payload: Input(0, 0, 1),
            bytes: 0,
            terms: Terms::default(),
            limits: TimeLimits::default(),
            reply: Token(reply, 1),
        };
        ledger.accept(task, None, || now).unwrap();
    }
    ledger.assign(false, || now, |_| {});
    (0..workers)
        .map(|index| ledger.in_flight(seat(index)))
        .collect()
}
