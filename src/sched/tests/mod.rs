//! What the data plane promises of its order and its ends, one behaviour per file.
//!
//! Belongs here: short sequences with a name. Does not belong here: random ones, which are the model's.
//! Invariant: each test can fail, and none needs another.

mod a_suspect_runs_with_nobody_else;
mod a_task_given_back_runs_elsewhere_or_settles;
mod quick_tasks_wake_no_more_workers_than_there_are_cpus;
mod the_start_of_what_has_limits_is_always_known;
mod what_a_worker_drops_for_its_own_end_is_lost_with_it;
mod what_an_exclusive_task_waited_for_is_free_for_others;
mod what_waits_for_two_things_gets_both;
mod what_was_sent_ahead_costs_nothing_when_its_worker_dies;

use std::time::Instant;

use crate::{
    sched::{Death, Doing, Ledger, NewTask, Seat, Ticket, ledger::Lost, model::RULES},
    task::{Slot, TaskId, Terms, TimeLimits},
};

const A: Seat = Seat::new(0);
const B: Seat = Seat::new(1);

/// A ledger with workers of so many credits each; replies are names.
fn pool(credits: &[u32]) -> Ledger<(), &'static str> {
    let mut ledger = Ledger::new([("name", None)], RULES, None, Instant::now());
    for (index, credits) in (0..).zip(credits) {
        ledger.up(Slot::new(index), *credits, None);
    }
    ledger
}

/// A worker has gone.
fn lose(ledger: &mut Ledger<(), &'static str>, seat: Seat, innocent: bool) -> Lost<&'static str> {
    let doing = if innocent {
        Doing::Others
    } else {
        Doing::Tasks
    };
    let death = Death {
        doing,
        read: true,
        shortage: None,
    };
    ledger.lost(seat, death, || 0, |_, _, _, _| {})
}

fn accept(ledger: &mut Ledger<(), &'static str>, reply: &'static str, exclusive: bool) -> TaskId {
    let task = NewTask {
        name: 0,
        payload: (),
        bytes: 1,
        terms: Terms {
            exclusive,
            ..Terms::default()
        },
        limits: TimeLimits::default(),
        reply,
    };
    ledger.accept(task, None, Instant::now).unwrap()
}

/// Assigns what can be, and returns the tickets and tasks that this worker is sent.
fn send(ledger: &mut Ledger<(), &'static str>, seat: Seat) -> Vec<(Ticket, TaskId)> {
    ledger.assign(false, Instant::now, |_| {});
    let mut sent = Vec::new();
    ledger.take_outbox(seat, Instant::now, |task| sent.push((task.ticket, task.id)));
    sent
}
