//! Which slots have two workers for a while: one that leaves when it is empty, and one that replaces it.
//!
//! Belongs here: how many slots change at once, and which workers of a slot are the ones that leave.
//! Does not belong here: why a worker is to be replaced, and starting or ending anything.
//!
//! ```text
//!            want                  a permit is free             the new one is ready
//!   Steady ────────▶ Wanting(g) ─────────────────────▶ Replacing(g) ──────────────▶ Steady, g leaves with the permit
//!     ▲                  │                                  │
//!     └── g has ended ───┴──────────────────────────────────┘
//! ```
//! Invariants: at most `max(1, slots / 10)` permits are out; one goes back when the worker it was given for has ended. The
//! end of a worker that leaves, or is being replaced, asks for no other. A slot never has three workers. Slots that want
//! get their turn in the order of wanting.

use std::collections::VecDeque;

use crate::task::Slot;

/// What a slot is about to do. The numbers are those of lives in the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Steady,
    /// This one is to be replaced.
    Wanting(u32),
    /// This one is, by one that is not ready yet.
    Replacing(u32),
}

#[derive(Debug, Clone, Default)]
struct Change {
    stage: Stage,
    /// Workers whose end asks for no other.
    leaving: Vec<u32>,
    /// Which of them holds a permit.
    permit: Option<u32>,
    /// The slot is to have a worker, as soon as fewer are leaving.
    owed: bool,
}

/// How many of so many slots change at once, at most.
pub(crate) fn changing_at_once(slots: usize) -> usize {
    (slots / 10).max(1)
}

/// The changes of all slots of a pool.
#[derive(Debug)]
pub(crate) struct Rotation {
    slots: Vec<Change>,
    /// How many of them are to have workers.
    size: usize,
    /// Slots that want, in their order.
    wanting: VecDeque<Slot>,
    permits_out: usize,
}

impl Rotation {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots: vec![Change::default(); slots],
            size: slots,
            wanting: VecDeque::new(),
            permits_out: 0,
        }
    }

    /// There are to be so many workers from now on.
    pub(crate) fn resize(&mut self, slots: usize) {
        self.size = slots;
        if self.slots.len() < slots {
            self.slots.resize(slots, Change::default());
        }
    }

    fn change_mut(&mut self, slot: Slot) -> Option<&mut Change> {
        self.slots.get_mut(slot.index() as usize)
    }

    /// The worker of this life is to be replaced. Does nothing for one that leaves or wants already.
    pub(crate) fn want(&mut self, slot: Slot, life: u32) {
        if let Some(change) = self.change_mut(slot)
            && change.stage == Stage::Steady
            && !change.leaving.contains(&life)
        {
            change.stage = Stage::Wanting(life);
            self.wanting.push_back(slot);
        }
    }

    /// Whether the worker of this life waits for its turn to be replaced.
    pub(crate) fn is_waiting(&self, slot: Slot, life: u32) -> bool {
        let change = self.slots.get(slot.index() as usize);
        change.is_some_and(|change| change.stage == Stage::Wanting(life))
    }

    /// The next slot that is to start a replacement now, if there is one. A slot that somebody is leaving waits.
    pub(crate) fn grant(&mut self) -> Option<Slot> {
        if self.permits_out >= changing_at_once(self.size) {
            return None;
        }
        let slots = &mut self.slots;
        let at = self.wanting.iter().position(|slot| {
            let change = slots.get(slot.index() as usize);
            change.is_some_and(|change| change.leaving.is_empty())
        })?;
        let slot = self.wanting.remove(at)?;
        let change = self.change_mut(slot)?;
        if let Stage::Wanting(old) = change.stage {
            change.stage = Stage::Replacing(old);
            self.permits_out += 1;
        }
        Some(slot)
    }

    /// A worker of this slot is ready. Returns the life that has to leave for it, if one has.
    pub(crate) fn ready(&mut self, slot: Slot, life: u32) -> Option<u32> {
        let change = self.change_mut(slot)?;
        let Stage::Replacing(old) = change.stage else {
            return None;
        };
        if old == life {
            return None; // It was to be replaced before it was ready.
        }
        change.stage = Stage::Steady;
        change.leaving.push(old);
        change.permit = Some(old);
        Some(old)
    }

    /// These are all workers of a slot that is to have none.
    pub(crate) fn dismiss(&mut self, slot: Slot, lives: &[u32]) {
        self.wanting.retain(|other| *other != slot);
        let Some(change) = self.change_mut(slot) else {
            return;
        };
        if let Stage::Replacing(old) = change.stage {
            change.permit = Some(old);
        }
        change.stage = Stage::Steady;
        change.leaving = lives.to_vec();
        change.owed = false;
    }

    /// The slot is to have a worker again. Returns whether it may start one now; if not, it may at an end.
    pub(crate) fn recall(&mut self, slot: Slot) -> bool {
        self.change_mut(slot).is_some_and(|change| {
            change.owed = change.leaving.len() > 1;
            !change.owed
        })
    }

    /// Whether this is the worker that the slot is to have, or goes on with until it has another: one that neither leaves
    /// nor is being replaced.
    pub(crate) fn stays(&self, slot: Slot, life: u32) -> bool {
        let change = self.slots.get(slot.index() as usize);
        change.is_some_and(|change| {
            change.stage != Stage::Replacing(life) && !change.leaving.contains(&life)
        })
    }

    /// Whether a slot that is to have a worker, and has these, is to start one now.
    pub(crate) fn lacks(&self, slot: Slot, mut lives: impl Iterator<Item = u32>) -> bool {
        let change = self.slots.get(slot.index() as usize);
        (slot.index() as usize) < self.size
            && change.is_some_and(|change| !change.owed)
            && !lives.any(|life| self.stays(slot, life))
    }

    /// The worker of this life has ended. Returns whether the slot starts another now.
    pub(crate) fn ended(&mut self, slot: Slot, life: u32) -> bool {
        let Some(change) = self.change_mut(slot) else {
            return false;
        };
        let mut returned = false;
        let mut starts = true;
        let mut unwanted = false;
        if let Some(at) = change.leaving.iter().position(|one| *one == life) {
            change.leaving.swap_remove(at);
            returned = change.permit.take_if(|one| *one == life).is_some();
            starts = change.leaving.len() <= 1 && std::mem::take(&mut change.owed);
        } else {
            match change.stage {
                Stage::Wanting(old) if old == life => {
                    change.stage = Stage::Steady;
                    unwanted = true;
                }
                Stage::Replacing(old) if old == life => {
                    change.stage = Stage::Steady;
                    returned = true;
                    starts = false;
                }
                _ => {}
            }
        }
        if unwanted {
            self.wanting.retain(|other| *other != slot);
        }
        self.permits_out -= usize::from(returned);
        starts
    }
}
