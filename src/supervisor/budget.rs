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
        self.used.load(Ordering::SeqCst)
    }

    /// Whether only tasks that somebody awaits may be sent.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn judge(&self) -> bool {
        if self.is_over() {
            self.used() > self.low()
        } else {
            self.used() > self.limit
        }
    }

    /// Where the gate opens again: a sixteenth below the limit, because every closing looks through the whole queue,
    /// which the bytes in between have to pay for.
    fn low(&self) -> usize {
        self.limit - self.limit / 16
    }

    /// Under the core's lock: decides anew, and returns whether it is over.
    pub(crate) fn decide(&self) -> bool {
        self.decide_while(|| {})
    }

    fn decide_while(&self, mut meanwhile: impl FnMut()) -> bool {
        loop {
            let over = self.judge();
            meanwhile();
            self.over.store(over, Ordering::SeqCst);
            // Who crossed a limit just before the store has seen the old state, and called nobody for it.
            if self.judge() == over {
                return over;
            }
        }
    }

    /// Counts a result until the lease is dropped.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Lease {
        let bytes = bytes + OVERHEAD;
        let used = self.used.fetch_add(bytes, Ordering::SeqCst) + bytes;
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
        let used = budget.used.fetch_sub(self.bytes, Ordering::SeqCst) - self.bytes;
        if budget.is_over()
            && used <= budget.low()
            && let Some(core) = budget.core.upgrade()
        {
            core.regate();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_taken_while_the_gate_closes_open_it_again() {
        let budget = Arc::new(ResultBudget::new(10_000, Weak::new()));
        let mut lease = Some(budget.charge(20_000));
        assert!(!budget.decide_while(|| drop(lease.take())));
        assert!(!budget.is_over());
    }

    #[test]
    fn results_settled_while_the_gate_opens_close_it_again() {
        let budget = Arc::new(ResultBudget::new(10_000, Weak::new()));
        let lease = budget.charge(20_000);
        assert!(budget.decide());
        drop(lease);
        let mut lease = None;
        assert!(budget.decide_while(|| {
            lease.get_or_insert_with(|| budget.charge(20_000));
        }));
        assert!(budget.is_over());
        drop(lease);
        assert!(!budget.decide());
    }
}
