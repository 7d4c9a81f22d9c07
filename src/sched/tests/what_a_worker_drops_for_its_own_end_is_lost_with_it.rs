//! A worker that has to end reports what it drops for that as cancelled. Nobody has cancelled it: it is lost with the
//! worker, or runs again.

use super::{A, accept, lose, pool, send};
use crate::{
    error::Started,
    sched::{Cancelled, Verdict, Violation},
    task::Slot,
};

#[test]
fn what_had_started_is_lost_and_what_had_not_runs_again() {
    let mut ledger = pool(&[2]);
    let ids = ["1", "2"].map(|name| accept(&mut ledger, name, false));
    assert_eq!(send(&mut ledger, A), [(1, ids[0]), (2, ids[1])]);
    assert_eq!(ledger.dropped(A, 1, true), Ok(None));
    assert_eq!(ledger.dropped(A, 2, false), Ok(None));
    assert_eq!(ledger.in_flight(A), 2);
    let lost = lose(&mut ledger, A, true);
    assert_eq!(lost.requeued, 1);
    let [task] = &lost.settled[..] else {
        panic!("{lost:?}");
    };
    assert_eq!((task.id, task.started), (ids[0], Started::Yes));
    assert_eq!(task.verdict, Verdict::Lost);
    assert_eq!(ledger.up(Slot::new(0), 1, None), A);
    assert_eq!(send(&mut ledger, A), [(1, ids[1])]);
}

#[test]
fn what_its_caller_had_cancelled_too_settles_so() {
    let mut ledger = pool(&[2]);
    let ids = ["1", "2"].map(|name| accept(&mut ledger, name, false));
    assert_eq!(send(&mut ledger, A), [(1, ids[0]), (2, ids[1])]);
    let found = ledger.cancel(ids[0], false);
    assert!(matches!(found, Cancelled::Flight { reply: None, .. }));
    assert!(matches!(
        ledger.cancel(ids[1], true),
        Cancelled::Flight {
            reply: Some("2"),
            ..
        }
    ));
    assert_eq!(ledger.dropped(A, 1, true), Ok(Some("1")));
    assert_eq!(ledger.dropped(A, 2, true), Ok(None));
    assert!(ledger.is_empty());
    assert_eq!(ledger.dropped(A, 2, true), Err(Violation::SettledTicket(2)));
}
