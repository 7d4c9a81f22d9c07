//! Random events against naive references: the data plane's values, tested alone.
//!
//! Belongs here: references that are too simple to be wrong, and the random events that hold the real thing against them.
//! Does not belong here: processes, sockets, threads.
//! Invariant: a failure prints the seed that brings it back.
//!
//! `ACTIX_MP_MODEL_EVENTS` sets the number of events of each test, 100 000 by default; a release build does ten million
//! in ten seconds or so. `ACTIX_MP_MODEL_SEED` repeats a run, which otherwise has a seed of its own each time.

mod clocks;
mod ledger;
mod queue;
mod random;
mod reference;
mod restart;
mod rotation;

use std::time::Duration;

use crate::sched::{Divide, RetryRules, Work};

/// Where nothing is several tasks.
macro_rules! alone {
    ($($kind:ty),*) => {$(
        impl Divide for $kind {
            fn split_off(&mut self, _: u32) -> Self {
                *self
            }
        }
    )*};
}
alone!((), u64, &'static str);

impl Work for () {
    fn bytes(&self) -> usize {
        0
    }
}

impl Work for u64 {
    fn bytes(&self) -> usize {
        0
    }
}

/// Some rules.
pub(in crate::sched) const RULES: RetryRules = RetryRules {
    lost: 3,
    memory: 3,
    failed: 3,
    backoff_min: Duration::from_millis(200),
    backoff_max: Duration::from_millis(2000),
};

pub(crate) use random::{Random, Run};
