//! While an exclusive task waits for an empty worker, nothing is kept from anybody that it does not get in the end.

use super::{A, B, accept, lose, pool, send};

#[test]
fn after_it_was_cancelled() {
    let mut ledger = pool(&[2]);
    accept(&mut ledger, "first", false);
    let first = send(&mut ledger, A);
    let alone = accept(&mut ledger, "alone", true);
    assert_eq!(send(&mut ledger, A), []);
    ledger.cancel(alone, true);
    let second = accept(&mut ledger, "second", false);
    assert_eq!(send(&mut ledger, A), [(2, second)]);
    ledger.finished(A, first[0].0).unwrap();
}

#[test]
fn after_it_went_elsewhere() {
    let mut ledger = pool(&[2, 2]);
    for name in ["1", "2", "3"] {
        accept(&mut ledger, name, false);
    }
    let (on_a, on_b) = (send(&mut ledger, A), send(&mut ledger, B));
    assert_eq!((on_a.len(), on_b.len()), (2, 1));
    // Slot 1 has less to finish than slot 0, which is empty first even so.
    let alone = accept(&mut ledger, "alone", true);
    assert_eq!(send(&mut ledger, A), []);
    for (ticket, _) in on_a {
        ledger.finished(A, ticket).unwrap();
    }
    assert_eq!(send(&mut ledger, A), [(3, alone)]);
    let last = accept(&mut ledger, "last", false);
    assert_eq!(send(&mut ledger, B), [(2, last)]);
}

#[test]
fn when_requeued_tasks_come_before_it() {
    let mut ledger = pool(&[2, 1]);
    let ids = ["1", "2", "3"].map(|name| accept(&mut ledger, name, false));
    assert_eq!(send(&mut ledger, A), [(1, ids[0]), (2, ids[2])]);
    assert_eq!(send(&mut ledger, B), [(1, ids[1])]);
    let alone = accept(&mut ledger, "alone", true);
    ledger.assign(false, std::time::Instant::now, |_| {});
    lose(&mut ledger, A, false);
    ledger.assign(false, std::time::Instant::now, |_| {});
    // Slot 0 stays down: slot 1 serves them all, in their order.
    for (ticket, id) in [(1, ids[0]), (2, ids[2]), (3, alone)] {
        ledger.finished(B, ticket).unwrap();
        assert_eq!(send(&mut ledger, B), [(ticket + 1, id)]);
    }
}
