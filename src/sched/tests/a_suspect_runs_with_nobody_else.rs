//! A task that may have killed its worker runs alone until it has ended, whatever comes in between.

use std::time::Instant;

use super::{A, B, lose, pool, send};
use crate::{
    sched::{Ledger, NewTask, Seat},
    task::{Slot, TaskId, Terms, TimeLimits},
};

const Q: Seat = Seat::new(2);

fn accept(ledger: &mut Ledger<(), &'static str>, reply: &'static str) -> TaskId {
    let task = NewTask {
        name: 0,
        payload: (),
        bytes: 1,
        terms: Terms {
            idempotent: true,
            ..Terms::default()
        },
        limits: TimeLimits::default(),
        reply,
    };
    ledger.accept(task, None, Instant::now).unwrap()
}

/// Two suspects, the first of them in quarantine.
fn quarantined() -> (Ledger<(), &'static str>, [TaskId; 2]) {
    let mut ledger = pool(&[2, 2]);
    let ids = ["1", "2"].map(|name| accept(&mut ledger, name));
    // One to each worker, and both die.
    for (seat, id) in [(A, ids[0]), (B, ids[1])] {
        assert_eq!(send(&mut ledger, seat), [(1, id)]);
        ledger.started(seat, 1).unwrap();
        lose(&mut ledger, seat, false);
    }
    for (slot, seat) in [(0, A), (1, B)] {
        assert_eq!(ledger.up(Slot::new(slot), 2, None), seat);
    }
    assert_eq!(ledger.up_quarantine(Slot::QUARANTINE), Q);
    assert_eq!(send(&mut ledger, Q), [(1, ids[0])]);
    (ledger, ids)
}

#[test]
fn also_when_it_was_given_back() {
    let (mut ledger, ids) = quarantined();
    assert_eq!(ledger.revoked(Q, 1), Ok(None));
    assert_eq!(send(&mut ledger, A), []);
    assert_eq!(send(&mut ledger, Q), [(2, ids[0])]);
}

#[test]
fn also_when_its_worker_ends_before_it_has_started() {
    let (mut ledger, ids) = quarantined();
    let lost = lose(&mut ledger, Q, false);
    assert_eq!((lost.requeued, lost.settled.len()), (1, 0));
    assert_eq!(ledger.up_quarantine(Slot::QUARANTINE), Q);
    assert_eq!(send(&mut ledger, A), []);
    assert_eq!(send(&mut ledger, Q), [(1, ids[0])]);
    ledger.finished(Q, 1).unwrap();
    // What the first may have left behind is not for the second.
    assert_eq!(send(&mut ledger, Q), []);
    assert_eq!(ledger.idle_quarantine(), Some(Q));
    lose(&mut ledger, Q, true);
    assert_eq!(ledger.up_quarantine(Slot::QUARANTINE), Q);
    assert_eq!(send(&mut ledger, Q), [(1, ids[1])]);
    ledger.finished(Q, 1).unwrap();
    // Two deaths, each with one suspect that was not to blame.
    let inquests = [ledger.take_inquest(), ledger.take_inquest()].map(Option::unwrap);
    assert!(inquests.iter().all(|inquest| inquest.poisoned.is_empty()));
    assert_eq!(ledger.take_inquest(), None);
    assert_eq!(ledger.idle_quarantine(), Some(Q));
}
