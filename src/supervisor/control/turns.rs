//! How many workers start at the same time.
//!
//! Belongs here: whose turn it is. Does not belong here: what a start is; when one is decided on.
//! Invariants: no more have a turn than there are turns, not counting a worker in quarantine; one ends when its worker has
//! introduced itself, when its start has failed or is wanted no more, and [`LONGEST`] after its process was started in any
//! case, so that nobody waits for good.
//!
//! Until a worker introduces itself, to start it is computing. As many at once as there are CPUs are all ready as soon as if all
//! began at once, and the first of them before it has shared its CPU with the last. What comes then, its initializer, may as
//! well be waiting for a disk or a network, and takes no turn.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{supervisor::control::Control, task::Slot};

/// How long a turn is at most once the process is there: some starts of a program with little to load. One that takes longer
/// has much to load or hangs, and of what it takes only a part is computing.
const LONGEST: Duration = Duration::from_millis(10);

/// So many have a turn at least: while one computes another is being started by the host.
const LEAST: usize = 2;

/// The turns of a pool's workers.
#[derive(Debug)]
pub(super) struct Turns(Semaphore);

impl Turns {
    pub(super) fn new(cpus: usize) -> Self {
        Self(Semaphore::new(cpus.clamp(LEAST, Semaphore::MAX_PERMITS)))
    }
}

/// A worker's turn. The next one's begins when it has ended or is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    permit: RefCell<Option<SemaphorePermit<'a>>>,
    /// Since when it was waited for.
    pub(crate) asked: Instant,
}

impl Turn<'_> {
    pub(crate) fn end(&self) {
        self.permit.take();
    }

    /// Waits for its end by time.
    pub(crate) async fn run_out(&self) {
        tokio::time::sleep(LONGEST).await;
        self.end();
    }
}

impl Control {
    /// Waits for the turn of a worker that was to start at `asked`. In the order of asking; dropped, it waits no more.
    pub(crate) async fn turn(&self, slot: Slot, asked: Instant) -> Turn<'_> {
        let permit = if slot.is_quarantine() {
            // There is one such, for tasks that have waited before: for the death of a worker, which others may have died with.
            None
        } else {
            // Nobody closes it; if anybody did, that would be no reason to have no workers.
            self.turns.0.acquire().await.ok()
        };
        Turn {
            permit: RefCell::new(permit),
            asked,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        future::Future,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::sched::model::Random;

    const SLOT: Slot = Slot::new(0);

    fn polled<T>(waits: &mut Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        waits.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// However they end, in whatever order, and whoever waits no more.
    #[test]
    fn as_many_have_a_turn_as_there_are_turns_in_the_order_of_asking() {
        let mut random = Random::new(7);
        for cpus in [0, 1, 2, 3, 8] {
            let control = Control::any(8, cpus);
            let most = cpus.max(LEAST);
            let (mut have, mut wait) = (Vec::new(), VecDeque::new());
            let mut next = 0;
            for _ in 0..2000 {
                match random.below(5) {
                    0 | 1 => {
                        wait.push_back((next, Box::pin(control.turn(SLOT, Instant::now()))));
                        next += 1;
                    }
                    2 if !wait.is_empty() => {
                        wait.remove(random.below(wait.len()));
                    }
                    3 if !have.is_empty() => {
                        let (_, turn): (u32, Turn<'_>) = have.swap_remove(random.below(have.len()));
                        drop(turn);
                    }
                    4 if !have.is_empty() => {
                        let (_, turn) = have.swap_remove(random.below(have.len()));
                        turn.end();
                        // A second end is none.
                        turn.end();
                    }
                    _ => {}
                }
                let mut behind = VecDeque::new();
                while let Some((number, mut waits)) = wait.pop_front() {
                    match polled(&mut waits.as_mut()) {
                        Poll::Ready(turn) => {
                            assert!(behind.is_empty(), "{number} came before its turn");
                            have.push((number, turn));
                        }
                        Poll::Pending => behind.push_back((number, waits)),
                    }
                }
                wait = behind;
                assert!(have.len() <= most);
                assert!(have.len() == most || wait.is_empty(), "a turn is left over");
            }
        }
    }

    #[actix::test]
    async fn a_turn_that_is_not_ended_runs_out_and_quarantine_needs_none() {
        let control = Control::any(8, 1);
        let first = control.turn(SLOT, Instant::now()).await;
        let _second = control.turn(SLOT, Instant::now()).await;
        let mut third = pin!(control.turn(SLOT, Instant::now()));
        assert!(polled(&mut third).is_pending());
        let mut quarantine = pin!(control.turn(Slot::QUARANTINE, Instant::now()));
        assert!(polled(&mut quarantine).is_ready());
        first.run_out().await;
        assert!(polled(&mut third).is_ready());
    }
}
