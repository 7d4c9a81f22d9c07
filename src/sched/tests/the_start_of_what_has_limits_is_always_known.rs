//! A task that has limits is announced before it runs, whatever its name: of one that was not the host knows that it has not
//! started, when it has read all that its worker said.

use std::time::{Duration, Instant};

use super::{A, lose, pool, send};
use crate::{
    error::Started,
    sched::{Ledger, NewTask, Violation},
    task::{TaskId, Terms, TimeLimits},
};

fn accept(
    ledger: &mut Ledger<(), &'static str>,
    reply: &'static str,
    run: Option<Duration>,
) -> TaskId {
    let task = NewTask {
        name: 0,
        payload: (),
        bytes: 1,
        terms: Terms::default(),
        limits: TimeLimits {
            run,
            ..TimeLimits::default()
        },
        reply,
    };
    ledger.accept(task, None, Instant::now).unwrap()
}

/// Its caller would be told that it is safe to submit again.
#[test]
fn and_nobody_takes_it_back() {
    let mut ledger = pool(&[1]);
    let id = accept(&mut ledger, "limited", Some(Duration::from_secs(1)));
    assert_eq!(send(&mut ledger, A), [(1, id)]);
    ledger.started(A, 1).unwrap();
    let found = ledger.expired(A, 1, Instant::now);
    assert_eq!(found, Err(Violation::GivenBackStarted(1)));
}

#[test]
fn also_when_its_name_is_quiet() {
    let mut ledger = pool(&[2]);
    ledger.quiet(A, 0, true).unwrap();
    let limited = accept(&mut ledger, "limited", Some(Duration::from_secs(1)));
    let plain = accept(&mut ledger, "plain", None);
    assert_eq!(send(&mut ledger, A), [(1, limited), (2, plain)]);
    let lost = lose(&mut ledger, A, true);
    assert_eq!(lost.requeued, 1);
    let [task] = &lost.settled[..] else {
        panic!("{lost:?}");
    };
    assert_eq!((task.id, task.started), (plain, Started::Unknown));
}
