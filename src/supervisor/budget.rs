//! How many bytes of results wait to be taken.
//!
//! Belongs here: counting them, and the gate that closes above the limit. Does not belong here: what the gate holds back.
//! Invariant: every charge is released exactly once, by dropping its [`Lease`].

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::supervisor::PoolCore;

/// What a settled result costs beyond its bytes: its slot in a map's tables with the room they keep, and allocations.
/// 370 bytes were measured for each of many small results behind a slow first one.
const OVERHEAD: usize = 384;

/// Bytes of results that are settled and not taken.
#[derive(Debug)]
pub(crate) struct ResultBudget {
    used: AtomicUsize,
    limit: usize,
    over: AtomicBool,
    core: Weak<PoolCore>,
}

impl ResultBudget {
    pub(crate) fn new(limit: usize, core: Weak<PoolCore>) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
            over: AtomicBool::new(false),
            core,
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether only tasks that somebody awaits may be sent.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Under the core's lock: decides anew, and returns whether it is over.
    ///
    /// It opens again a sixteenth below the limit: every closing looks through the whole queue, which the bytes in
    /// between have to pay for.
    pub(crate) fn decide(&self) -> bool {
        let used = self.used();
        let over = if self.is_over() {
            used > self.limit - self.limit / 16
        } else {
            used > self.limit
        };
        self.over.store(over, Ordering::Release);
        over
    }

    /// Counts a result until the lease is dropped.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Lease {
        let bytes = bytes + OVERHEAD;
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.limit
            && !self.is_over()
            && let Some(core) = self.core.upgrade()
        {
            core.regate();
        }
        Lease {
            bytes,
            budget: Arc::clone(self),
        }
    }
}

/// One counted result.
#[derive(Debug)]
pub(crate) struct Lease {
    bytes: usize,
    budget: Arc<ResultBudget>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let budget = &self.budget;
        let used = budget.used.fetch_sub(self.bytes, Ordering::Relaxed) - self.bytes;
        if budget.is_over()
            && used <= budget.limit - budget.limit / 16
            && let Some(core) = budget.core.upgrade()
        {
            core.regate();
        }
    }
}
