//! What both planes know of a pool, put together.
//!
//! Belongs here: making a [`Status`]. Does not belong here: what it says, which is `observe`'s.

use crate::{
    observe::{SlotState, SlotStatus, Status},
    supervisor::{Numbers, PoolCore, SlotRecord},
    task::Slot,
};

impl PoolCore {
    /// What the pool is doing right now.
    pub(crate) fn status(&self) -> Status {
        let numbers = self.numbers();
        let slots = self.control.slots();
        Status {
            state: self.control.phase(),
            paused: numbers.paused,
            queued: numbers.queued,
            in_flight: numbers.in_flight,
            quarantined: numbers.quarantined,
            bytes: numbers.bytes,
            result_bytes: self.results.used(),
            counts: numbers.counts,
            slots: slots
                .iter()
                .map(|(slot, record)| self.slot_status(*slot, record, &numbers))
                .collect(),
            config: self.effective(),
        }
    }

    fn slot_status(&self, slot: Slot, record: &SlotRecord, numbers: &Numbers) -> SlotStatus {
        let present = record.present();
        let numbers = (numbers.slots)
            .get(slot.index() as usize)
            .copied()
            .unwrap_or_default();
        SlotStatus {
            slot,
            state: match present {
                Some(life) => life.state,
                None if self.control.is_ending() => SlotState::Down,
                None => SlotState::Waiting,
            },
            generation: record.generation(),
            pid: present.and_then(|life| life.pid),
            retiring: record.retiring(),
            in_flight: numbers.in_flight,
            concurrency: numbers.concurrency,
            rss: Some(numbers.resident).filter(|bytes| *bytes > 0),
            done: numbers.done,
            restarts: record.restarts,
        }
    }
}
