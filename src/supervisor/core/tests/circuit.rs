//! Whether tasks are taken, whichever thread says last what has become of the circuit.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use super::{SLOT, core_that_restarts, offer, outcome};
use crate::{
    error::Rejected,
    sched::Decision,
    supervisor::{PoolCore, reply::Settled, slots::SlotRecord},
};

/// A core whose first worker is ready, and whose circuit opens when it ends.
fn core() -> Arc<PoolCore> {
    let core = core_that_restarts(1000, Some(0));
    begin(&core);
    core
}

/// A worker is ready.
fn begin(core: &PoolCore) {
    let life = core.control.slot(SLOT, SlotRecord::launch).unwrap();
    core.control.ready(SLOT, life, Duration::from_millis(3));
    core.control.slot(SLOT, |record| record.end(life));
}

fn opens(core: &PoolCore) {
    let (decision, opened) = core.control.exited(SLOT, Instant::now());
    assert!(matches!(decision, Decision::Open(_)) && opened.is_some());
}

fn is_open(core: &PoolCore) -> bool {
    let (_, cell) = offer(core);
    match outcome(&cell) {
        None => true,
        Some(Settled::Rejected(rejected)) if matches!(*rejected, Rejected::Unavailable { .. }) => {
            false
        }
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn nobody_is_let_in_between_the_end_of_the_last_worker_and_the_next() {
    let core = core();
    assert!(is_open(&core));
    opens(&core);
    core.say_available();
    assert!(!is_open(&core));
    assert!(core.control.tries(SLOT, Instant::now()));
    core.say_available();
    assert!(!is_open(&core));
    begin(&core);
    core.say_available();
    assert!(is_open(&core));
}

/// The thread of the pool has seen that the circuit is open, and says so when that of a worker has closed it.
#[test]
fn late_news_of_an_open_circuit_keep_nobody_out() {
    let core = core();
    let go = Barrier::new(2);
    thread::scope(|scope| {
        let mut held = core.lock();
        opens(&core);
        let late = scope.spawn(|| {
            go.wait();
            core.say_available();
        });
        go.wait();
        // It waits for the lock by now, or comes even later.
        thread::sleep(Duration::from_millis(20));
        begin(&core);
        core.admit_if_available(&mut held);
        drop(held);
        late.join().unwrap();
    });
    assert!(is_open(&core));
}

/// The pool gives up while a worker on another thread is ready after all.
#[test]
fn a_pool_that_has_given_up_is_open_when_it_has_a_worker_again_and_not_before() {
    let core = core();
    opens(&core);
    begin(&core);
    core.give_up(Instant::now());
    core.say_available();
    assert!(!is_open(&core));
    core.control.restart();
    core.say_available();
    assert!(!is_open(&core));
    begin(&core);
    core.say_available();
    assert!(is_open(&core));
}
