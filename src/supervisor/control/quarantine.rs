//! The slot beside all others, whose worker is there for tasks that may have killed another.
//!
//! Belongs here: when it starts a worker. Does not belong here: which tasks those are.
//! Invariant: nothing that happens to it counts for the slots that serve: neither their budget nor their circuit.

use std::time::Duration;

use crate::{
    sched::RestartRules,
    supervisor::{control::Control, slots::SlotRecord},
};

#[derive(Debug, Default)]
pub(super) struct Quarantine {
    pub(super) record: SlotRecord,
    /// How many of its workers in a row did not become ready.
    pub(super) failed: u32,
}

impl Control {
    /// Whether there is a worker in quarantine, or one is on the way.
    pub(crate) fn has_quarantine(&self) -> bool {
        !self.inner.lock().quarantine.record.lives.is_empty()
    }

    /// A life in quarantine has ended.
    pub(crate) fn quarantine_ended(&self, life: u32) {
        self.inner.lock().quarantine.record.end(life);
    }

    /// A worker did not become ready there.
    pub(super) fn quarantine_failed(&self) {
        let mut inner = self.inner.lock();
        inner.quarantine.failed = inner.quarantine.failed.saturating_add(1);
    }

    /// How long the next worker there waits: like any slot's, at once and then for a time that doubles.
    pub(crate) fn quarantine_delay(&self, rules: &RestartRules) -> Duration {
        let failed = self.inner.lock().quarantine.failed;
        let Some(doubled) = failed.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doubled).unwrap_or(u32::MAX);
        let delay = rules.backoff_min.checked_mul(factor);
        delay.unwrap_or(rules.backoff_max).min(rules.backoff_max)
    }
}
