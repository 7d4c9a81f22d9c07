//! Quick tasks wait for those workers that are awake already, as long as those say something.

use std::time::{Duration, Instant};

use super::{accept, send};
use crate::{
    sched::{Ledger, NewTask, ReadAhead, Seat, model::RULES},
    task::{Key, Slot, Terms, TimeLimits},
};

const WORKERS: u32 = 6;

/// As many at once as there is room for in each.
const EACH: usize = 4;

/// Workers that know both names to be quick, and one CPU for all of them.
fn pool(routed: bool) -> Ledger<(), &'static str> {
    let routing = routed.then(|| Box::new(crate::RoundRobin::default()) as Box<_>);
    let names = [("quick", None), ("other", None)];
    let mut ledger = Ledger::new(names, RULES, routing, Instant::now());
    ledger.read_ahead(ReadAhead {
        time: Duration::from_micros(200),
        bytes: 1 << 20,
        started: 80,
        cpus: 1,
        room: EACH,
    });
    for slot in 0..WORKERS {
        let seat = ledger.up(Slot::new(slot), EACH as u32, None);
        ledger.paced(seat, 0, 1000).unwrap();
        ledger.paced(seat, 1, 1000).unwrap();
    }
    ledger
}

/// How many tasks each worker has, when as many wait as can be kept waiting.
fn spread(ledger: &mut Ledger<(), &'static str>) -> Vec<usize> {
    ledger.assign(false, Instant::now, |_| {});
    let seats = (0..WORKERS).map(Seat::new);
    seats.map(|seat| ledger.in_flight(seat)).collect()
}

fn submit(ledger: &mut Ledger<(), &'static str>, tasks: usize) {
    for _ in 0..tasks {
        accept(ledger, "", false);
    }
}

#[test]
fn the_others_sleep() {
    let mut ledger = pool(false);
    submit(&mut ledger, 20);
    assert_eq!(spread(&mut ledger), [4, 0, 0, 0, 0, 0]);
    assert!(ledger.next_due().is_some());
    for (ticket, _) in send(&mut ledger, Seat::new(0)) {
        ledger.finished(Seat::new(0), ticket).unwrap();
    }
    // It goes on with what waited.
    assert_eq!(spread(&mut ledger), [4, 0, 0, 0, 0, 0]);
}

#[test]
fn unless_one_of_those_says_nothing_from_one_look_to_the_next() {
    let mut ledger = pool(false);
    submit(&mut ledger, 20);
    spread(&mut ledger);
    let due = ledger.next_due().unwrap();
    assert!(!ledger.look(due - Duration::from_micros(1)));
    // It had nothing to do a moment ago.
    assert!(ledger.look(due));
    assert_eq!(spread(&mut ledger), [4, 0, 0, 0, 0, 0]);
    let due = ledger.next_due().unwrap();
    assert!(ledger.look(due));
    assert_eq!(spread(&mut ledger), [4, 4, 0, 0, 0, 0]);
}

#[test]
fn unless_one_of_those_takes_no_more() {
    let mut ledger = pool(false);
    submit(&mut ledger, 20);
    spread(&mut ledger);
    ledger.retire(Seat::new(0));
    assert_eq!(spread(&mut ledger), [4, 4, 0, 0, 0, 0]);
}

#[test]
fn unless_one_of_those_has_work_that_takes_long() {
    let mut ledger = pool(false);
    submit(&mut ledger, 3);
    assert_eq!(spread(&mut ledger), [3, 0, 0, 0, 0, 0]);
    // Of another name one takes as long as all that may wait in a worker.
    for slot in 0..WORKERS {
        ledger.paced(Seat::new(slot), 1, 199_000).unwrap();
    }
    // Its key is at home where the quick ones are.
    for slot in 1..WORKERS {
        ledger.close(Seat::new(slot));
    }
    let long = NewTask {
        name: 1,
        payload: (),
        bytes: 1,
        terms: Terms {
            key: Some(Key::of("k")),
            ..Terms::default()
        },
        limits: TimeLimits::default(),
        reply: "",
    };
    ledger.accept(long, None, Instant::now).unwrap();
    assert_eq!(spread(&mut ledger), [4, 0, 0, 0, 0, 0]);
    for slot in 1..WORKERS {
        ledger.reopen(Seat::new(slot));
    }
    submit(&mut ledger, 1);
    assert_eq!(spread(&mut ledger)[0], 4);
    assert_eq!(spread(&mut ledger).iter().sum::<usize>(), 5);
}

#[test]
fn unless_a_routing_is_asked() {
    let mut ledger = pool(true);
    submit(&mut ledger, 12);
    assert_eq!(spread(&mut ledger), [2, 2, 2, 2, 2, 2]);
    assert_eq!(ledger.next_due(), None);
}

#[test]
fn unless_there_are_no_others() {
    let mut ledger = pool(false);
    for slot in 1..WORKERS {
        ledger.close(Seat::new(slot));
    }
    submit(&mut ledger, 20);
    assert_eq!(spread(&mut ledger)[0], 4);
    assert_eq!(ledger.next_due(), None);
}
