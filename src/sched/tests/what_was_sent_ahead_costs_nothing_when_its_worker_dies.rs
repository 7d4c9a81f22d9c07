//! What waits in a worker is as good as never sent, but for a few.

use std::time::{Duration, Instant};

use super::{A, B, pool};
use crate::{
    sched::{Death, Doing, Ledger, NewTask, ReadAhead},
    task::{Terms, TimeLimits},
};

/// As many as a worker has started at most.
const STARTED: usize = 80;

fn quick(ledger: &mut Ledger<(), &'static str>, terms: Terms) {
    let task = NewTask {
        name: 0,
        payload: (),
        bytes: 1,
        terms,
        limits: TimeLimits::default(),
        reply: "",
    };
    ledger.accept(task, None, Instant::now).unwrap();
}

/// A pool whose first worker has been sent 2,000 tasks, which it does not announce.
fn ahead() -> Ledger<(), &'static str> {
    let mut ledger = pool(&[16, 16]);
    ledger.read_ahead(ReadAhead {
        time: Duration::from_micros(200),
        bytes: 1 << 20,
        started: STARTED,
        cpus: usize::MAX,
        room: 1,
    });
    ledger.close(B);
    ledger.quiet(A, 0, true).unwrap();
    ledger.paced(A, 0, 1).unwrap();
    let again = Terms {
        idempotent: true,
        ..Terms::default()
    };
    for _ in 0..3000 {
        quick(&mut ledger, again);
    }
    ledger.assign(false, Instant::now, |_| {});
    assert_eq!(ledger.in_flight(A), 2000);
    ledger.take_outbox(A, Instant::now, |_| {});
    ledger
}

#[test]
fn all_but_a_few_have_surely_not_started() {
    let mut ledger = ahead();
    for ticket in 1..=500 {
        ledger.finished(A, ticket).unwrap();
    }
    let death = Death {
        doing: Doing::Tasks,
        read: true,
        shortage: None,
    };
    let mut suspects = Vec::new();
    let lost = ledger.lost(A, death, || 0, |id, _, _, _| suspects.push(id.get()));
    // The next that it would have come to.
    assert_eq!(suspects, Vec::from_iter(501..=580));
    assert!(lost.settled.is_empty());
    assert_eq!((lost.requeued, lost.again), (1500, 80));
    // The others go on where they can, in their order and as if nothing had been.
    ledger.reopen(B);
    ledger.assign(false, Instant::now, |_| {});
    let mut sent = Vec::new();
    ledger.take_outbox(B, Instant::now, |task| {
        sent.push((task.id.get(), task.attempt));
    });
    assert_eq!(sent, Vec::from_iter((581..=596).map(|id| (id, 1))));
}

#[test]
fn all_may_have_started_if_not_everything_was_read() {
    let mut ledger = ahead();
    let death = Death {
        doing: Doing::Tasks,
        read: false,
        shortage: None,
    };
    let lost = ledger.lost(A, death, || 0, |_, _, _, _| {});
    assert_eq!(lost.suspects, 2000);
}

#[test]
fn nothing_waits_in_a_worker_that_may_not() {
    let again = Terms {
        idempotent: true,
        ..Terms::default()
    };
    let not = Terms::default();
    let allowed = Terms {
        read_ahead: Some(true),
        ..not
    };
    let refused = Terms {
        read_ahead: Some(false),
        ..again
    };
    for (terms, nanos, expected) in [
        (again, Some(1), 200),
        (allowed, Some(1), 200),
        (not, Some(1), 16),
        (refused, Some(1), 16),
        // Five of 40 µs are the most that takes 200 µs.
        (again, Some(40_000), 16),
        (again, Some(10_000), 20),
        (again, None, 16),
    ] {
        let mut ledger = pool(&[16]);
        ledger.read_ahead(ReadAhead {
            time: Duration::from_micros(200),
            bytes: 200,
            started: STARTED,
            cpus: usize::MAX,
            room: 1,
        });
        if let Some(nanos) = nanos {
            ledger.paced(A, 0, nanos).unwrap();
        }
        for _ in 0..3000 {
            quick(&mut ledger, terms);
        }
        ledger.assign(false, Instant::now, |_| {});
        assert_eq!(ledger.in_flight(A), expected, "{terms:?} {nanos:?}");
    }
}
