//! The slot beside all others, whose worker is there for tasks that may have killed another.
//!
//! Belongs here: when it starts a worker. Does not belong here: which tasks those are.
//! Invariant: nothing that happens to it counts for the slots that serve: neither their budget nor their circuit.

use std::time::Duration;

use crate::{
    sched::RestartRules,
    supervisor::{control::Control, slots::SlotRecord},
};

/// A start costs more than this.
const LEAST: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Quarantine {
    pub(super) record: SlotRecord,
    /// How many of its workers in a row came to nothing: not even to an end of the suspect that they were there for.
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

    /// Whether a suspect has ended in a worker there.
    pub(crate) fn quarantine_came_to(&self, anything: bool) {
        let mut inner = self.inner.lock();
        let failed = &mut inner.quarantine.failed;
        *failed = if anything {
            0
        } else {
            failed.saturating_add(1)
        };
    }

    /// How long the next worker there waits: like any slot's, at once and then for a time that doubles.
    pub(crate) fn quarantine_delay(&self, rules: &RestartRules) -> Duration {
        let failed = self.inner.lock().quarantine.failed;
        let Some(doubled) = failed.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doubled).unwrap_or(u32::MAX);
        // However small it begins.
        let delay = rules.backoff_min.max(LEAST).checked_mul(factor);
        delay.unwrap_or(rules.backoff_max).min(rules.backoff_max)
    }
}
