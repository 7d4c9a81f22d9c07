//! Revoke against start: a ticket is given back or started, never both and never neither.
//!
//! By hand, by two threads that meet on each of many tickets, and by all orders in which the steps of the two sides can
//! come; of those steps each is shown to be needed where it is.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::Board;

#[test]
fn a_ticket_given_back_is_not_started_however_much_later() {
    let board = Board::new(Instant::now());
    assert!(board.revoke(5));
    // The loop takes note of what else has been asked, and starts others first.
    board.ask(|requests| requests.cancelled.insert(3));
    let _ = board.epoch();
    assert!(board.start(4));
    assert!(!board.start(5));
    // Nothing of it is left.
    board.requests(|requests| assert!(requests.revoked.is_empty()));
}

#[test]
fn a_ticket_that_has_started_or_may_have_is_not_given_back() {
    let board = Board::new(Instant::now());
    assert!(board.start(2));
    assert!(!board.revoke(2));
    // Lower ones may be older than their parts: that they have not started is not known, and no is safe.
    assert!(!board.revoke(1));
    assert!(board.start(1));
    assert!(board.revoke(3));
}

#[test]
fn asked_twice_it_is_given_back_once() {
    let board = Board::new(Instant::now());
    assert!(board.revoke(1));
    assert!(!board.revoke(1));
    assert!(!board.start(1));
    assert!(!board.revoke(1));
    assert!(board.start(2));
}

#[test]
fn a_cancellation_is_forgotten_with_the_ticket_that_was_given_back() {
    let board = Board::new(Instant::now());
    assert!(board.revoke(1));
    board.ask(|requests| requests.cancelled.insert(1));
    assert!(!board.start(1));
    assert!(!board.is_cancelled(1));
}

/// Or a task would be ended for what those before it have taken.
#[test]
fn a_poll_has_not_lasted_longer_than_it_has() {
    let (start, ms) = (Instant::now(), Duration::from_millis(1));
    let board = Board::new(start);
    assert_eq!(board.running(start), None);
    board.poll_begins(1, start + ms);
    assert_eq!(board.running(start + 5 * ms), Some((1, 4 * ms)));
    // When this one began is not known: after the last look.
    board.poll_goes_on(2);
    assert_eq!(board.running(start + 9 * ms), Some((2, Duration::ZERO)));
    assert_eq!(board.running(start + 12 * ms), Some((2, 3 * ms)));
    board.poll_goes_on(3);
    assert_eq!(board.running(start + 20 * ms), Some((3, Duration::ZERO)));
    board.poll_ends();
    assert_eq!(board.running(start + 30 * ms), None);
    board.poll_begins(4, start + 25 * ms);
    assert_eq!(board.running(start + 31 * ms), Some((4, 6 * ms)));
}

#[test]
fn two_threads_agree_on_every_ticket() {
    const ROUNDS: u64 = 100_000;
    let board = Board::new(Instant::now());
    let arrived = AtomicU64::new(0);
    // Lets both go at once, one of them by some steps later than the other: each round another distance.
    let meet = |round: u64, step: u64| {
        arrived.fetch_add(1, Ordering::SeqCst);
        let mut waited = 0_u32;
        while arrived.load(Ordering::SeqCst) < 2 * round {
            waited += 1;
            if waited.is_multiple_of(128) {
                thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
        for _ in 0..round.wrapping_mul(step) % 23 {
            std::hint::spin_loop();
        }
    };
    let (given_back, started) = thread::scope(|scope| {
        let control = scope.spawn(|| {
            let each = (1..=ROUNDS).map(|round| {
                meet(round, 7);
                board.revoke(round)
            });
            each.collect::<Vec<bool>>()
        });
        let each = (1..=ROUNDS).map(|round| {
            meet(round, 11);
            board.start(round)
        });
        let started: Vec<bool> = each.collect();
        (control.join().unwrap(), started)
    });
    for (round, (given_back, started)) in (1..).zip(given_back.iter().zip(&started)) {
        assert_ne!(given_back, started, "ticket {round}");
    }
}

/// One step of a side. A side that waits for the lock takes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Lock,
    Unlock,
    // Control.
    Request,
    ReadNext,
    Withdraw,
    // Loop.
    Publish,
    ReadCount,
    TakeRequest,
}

const CONTROL: [Step; 5] = [
    Step::Lock,
    Step::Request,
    Step::ReadNext,
    Step::Withdraw,
    Step::Unlock,
];
const LOOP: [Step; 5] = [
    Step::Publish,
    Step::ReadCount,
    Step::Lock,
    Step::TakeRequest,
    Step::Unlock,
];

/// What both sides share, and what each has found out, about one ticket.
#[derive(Debug, Clone, Copy, Default)]
struct World {
    requested: bool,
    published: bool,
    locked: bool,
    none: bool,
    given_back: bool,
    started: bool,
}

/// Takes one step. Returns the next position on this side, or `None` where it has to wait.
fn step(world: &mut World, steps: &[Step], at: usize) -> Option<usize> {
    match *steps.get(at)? {
        Step::Lock if world.locked => return None,
        Step::Lock => world.locked = true,
        Step::Unlock => world.locked = false,
        Step::Request => world.requested = true,
        Step::ReadNext => world.given_back = !world.published,
        Step::Withdraw => world.requested &= world.given_back,
        Step::Publish => world.published = true,
        // Without requests the lock below is not taken; here it is, for nothing.
        Step::ReadCount => world.none = !world.requested,
        Step::TakeRequest if world.none => world.started = true,
        Step::TakeRequest => world.started = !std::mem::take(&mut world.requested),
    }
    Some(at + 1)
}

/// Walks through every order of the two sides' steps. Returns how many there are and how many end wrongly.
fn explore(control: &[Step], looping: &[Step]) -> (u32, u32) {
    let mut open = vec![(World::default(), 0, 0)];
    let (mut ends, mut wrong) = (0, 0);
    while let Some((world, a, b)) = open.pop() {
        let mut waits = true;
        for (steps, at, is_control) in [(control, a, true), (looping, b, false)] {
            let mut next = world;
            if let Some(to) = step(&mut next, steps, at) {
                waits = false;
                open.push(if is_control {
                    (next, to, b)
                } else {
                    (next, a, to)
                });
            }
        }
        if waits {
            assert!(
                a >= control.len() && b >= looping.len(),
                "a deadlock: {world:?}"
            );
            ends += 1;
            wrong += u32::from(world.given_back == world.started);
        }
    }
    (ends, wrong)
}

#[test]
fn no_order_of_the_steps_gives_back_and_starts() {
    let (ends, wrong) = explore(&CONTROL, &LOOP);
    assert!(ends > 10, "{ends}");
    assert_eq!(wrong, 0, "of {ends}");
}

#[test]
fn every_step_is_needed_where_it_is() {
    use Step::{Lock, Publish, ReadCount, ReadNext, Request, TakeRequest, Unlock, Withdraw};
    for control in [
        // Asks after it has looked, withdraws nothing, withdraws too late.
        &[Lock, ReadNext, Request, Withdraw, Unlock][..],
        &[Lock, Request, ReadNext, Unlock],
        &[Lock, Request, ReadNext, Unlock, Withdraw],
    ] {
        let (ends, wrong) = explore(control, &LOOP);
        assert!(wrong > 0, "{control:?}: all {ends} end well");
    }
    // Publishes after it has looked.
    let looping = [ReadCount, Publish, Lock, TakeRequest, Unlock];
    let (ends, wrong) = explore(&CONTROL, &looping);
    assert!(wrong > 0, "all {ends} end well");
}
