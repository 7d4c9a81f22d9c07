//! Threads for the sockets of workers.
//!
//! Belongs here: which arbiter the proxy of a slot lives on. Does not belong here: the proxies.
//! Invariant: what lives on them does not outlive the pool, and they end with it, if a moment later. Whoever ends without warning
//! waits for them.

use std::fmt;

use actix_rt::{Arbiter, ArbiterHandle};

use crate::{error::capture, task::Slot};

/// Arbiters that a pool has made for the proxies of its slots, each when the first slot wants it.
pub(super) struct IoArbiters {
    /// 0 says that all live with the pool.
    most: usize,
    arbiters: Vec<Arbiter>,
}

impl IoArbiters {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            arbiters: Vec::new(),
        }
    }

    /// Where the proxy of a slot is to live; `None` is with the pool, as it is for one that no thread can be had for.
    pub(super) fn of(&mut self, slot: Slot) -> Option<ArbiterHandle> {
        if slot.is_quarantine() {
            return None;
        }
        let index = (slot.index() as usize).checked_rem(self.most)?;
        // One more, if none could be had before: slots have their proxies in their order.
        while self.arbiters.len() <= index {
            // It panics where there is no thread to be had.
            let Some(arbiter) = capture::contained(Arbiter::new) else {
                crate::observe::log(|| {
                    tracing::error!(
                        slot = slot.index(),
                        "no arbiter for its proxy; it lives with the pool"
                    );
                });
                return None;
            };
            self.arbiters.push(arbiter);
        }
        self.arbiters.get(index).map(Arbiter::handle)
    }

    /// Ends them: no worker is left.
    pub(super) fn stop(&mut self) {
        for arbiter in self.arbiters.drain(..) {
            arbiter.stop();
        }
    }
}

impl fmt::Debug for IoArbiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.arbiters.len();
        write!(f, "IoArbiters({running} of {})", self.most)
    }
}

impl Drop for IoArbiters {
    /// Waits for what lives on them: the end of a pool without warning is that of its workers, and the process may be over next.
    fn drop(&mut self) {
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        for arbiter in self.arbiters.drain(..) {
            // One that panicked has ended as well.
            let _ = arbiter.join();
        }
    }
}
