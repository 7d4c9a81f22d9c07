//! What a worker gives back was surely not started: it waits again, or it settles if it had been cancelled meanwhile.

use super::{A, accept, pool, send};
use crate::sched::{Cancelled, Violation};

#[test]
fn it_waits_again_before_the_others_as_if_it_had_not_been_sent() {
    let mut ledger = pool(&[2]);
    let ids = ["1", "2", "3"].map(|name| accept(&mut ledger, name, false));
    assert_eq!(send(&mut ledger, A), [(1, ids[0]), (2, ids[1])]);
    // Whatever the order in which the answers come.
    for ticket in [2, 1] {
        assert_eq!(ledger.revoked(A, ticket), Ok(None));
    }
    assert_eq!(send(&mut ledger, A), [(3, ids[0]), (4, ids[1])]);
}

#[test]
fn cancelled_while_the_worker_was_asked_it_settles() {
    let mut ledger = pool(&[1]);
    let id = accept(&mut ledger, "1", false);
    assert_eq!(send(&mut ledger, A), [(1, id)]);
    let found = ledger.cancel(id, false);
    assert!(matches!(found, Cancelled::Flight { reply: None, .. }));
    assert_eq!(ledger.revoked(A, 1), Ok(Some("1")));
    assert!(ledger.is_empty());
}

#[test]
fn abandoned_while_the_worker_was_asked_it_has_settled() {
    let mut ledger = pool(&[1]);
    let id = accept(&mut ledger, "1", false);
    assert_eq!(send(&mut ledger, A), [(1, id)]);
    let found = ledger.cancel(id, true);
    assert!(matches!(
        found,
        Cancelled::Flight {
            reply: Some("1"),
            ..
        }
    ));
    assert_eq!(ledger.revoked(A, 1), Ok(None));
    assert!(ledger.is_empty());
}

#[test]
fn what_has_started_cannot_be_given_back() {
    let mut ledger = pool(&[1]);
    let id = accept(&mut ledger, "1", false);
    assert_eq!(send(&mut ledger, A), [(1, id)]);
    ledger.started(A, 1).unwrap();
    assert_eq!(ledger.revoked(A, 1), Err(Violation::GivenBackStarted(1)));
    assert_eq!(ledger.in_flight(A), 1);
}
