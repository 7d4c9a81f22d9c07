//! Tasks that wait, in the order in which they will be sent.
//!
//! Belongs here: order, removal by id, going back to the front. Does not belong here: limits and what a task is.
//! Invariant: an id is in the queue at most once, and `len` counts live ids only.

use std::collections::{BTreeSet, HashSet, VecDeque};

use crate::task::TaskId;

/// Room for so many tasks is never given back.
const KEPT: usize = 16 * 1024;

/// A first-in first-out queue of task ids with removal from the middle, and a group in front for those that come back.
///
/// Removal leaves a tombstone that is skipped later, so that cancelling is O(1); the queue is
/// swept once tombstones outnumber the living.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Tasks that were sent and came back: before all others, and among themselves as they were accepted. They are apart
    /// from `order` because the tombstone of one that was taken out of the middle may still be in there.
    requeued: BTreeSet<TaskId>,
    order: VecDeque<TaskId>,
    /// Ids in `order` that no longer count.
    removed: HashSet<TaskId>,
}

impl Queue {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.requeued.len() + self.order.len() - self.removed.len()
    }

    pub(crate) fn push_back(&mut self, id: TaskId) {
        self.order.push_back(id);
    }

    /// Puts a task back in front of those that were never sent: it has waited once already.
    pub(crate) fn requeue(&mut self, id: TaskId) {
        self.requeued.insert(id);
    }

    /// A task comes in next to one that waits, because both were one until now.
    pub(crate) fn insert_after(&mut self, before: TaskId, id: TaskId) {
        if self.requeued.contains(&before) {
            self.requeued.insert(id);
            return;
        }
        // Ids are counted up, so that what was never sent is in their order.
        let place = self.order.partition_point(|other| *other <= before);
        self.order.insert(place, id);
    }

    /// Takes a task that is known to be waiting out of the middle.
    pub(crate) fn remove(&mut self, id: TaskId) {
        if self.requeued.remove(&id) {
            return;
        }
        self.removed.insert(id);
        if self.removed.len() > 64 && self.removed.len() * 2 > self.order.len() {
            let removed = std::mem::take(&mut self.removed);
            self.order.retain(|id| !removed.contains(id));
        }
    }

    pub(crate) fn front(&mut self) -> Option<TaskId> {
        if let Some(&id) = self.requeued.first() {
            return Some(id);
        }
        while let Some(&id) = self.order.front() {
            if self.removed.is_empty() || !self.removed.remove(&id) {
                return Some(id);
            }
            self.order.pop_front();
        }
        None
    }

    pub(crate) fn pop_front(&mut self) -> Option<TaskId> {
        if let Some(id) = self.requeued.pop_first() {
            return Some(id);
        }
        let id = self.front()?;
        self.order.pop_front();
        let room = self.order.capacity();
        if room > KEPT && self.order.len() < room / 8 {
            self.order.shrink_to(room / 4);
        }
        Some(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = TaskId> + '_ {
        let rest = self.order.iter().copied();
        let rest = rest.filter(|id| !self.removed.contains(id));
        self.requeued.iter().copied().chain(rest)
    }

    /// For how many tasks there is room.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.order.capacity()
    }
}
