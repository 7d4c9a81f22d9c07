//! Tasks that wait for something of their own: for one worker, or for others of their name to end.
//!
//! Belongs here: order and removal. Does not belong here: what they wait for.

use std::collections::BTreeSet;

use crate::task::{Priority, TaskId};

/// Task ids by class and then as they were accepted.
#[derive(Debug, Clone, Default)]
pub(super) struct Order(BTreeSet<(Priority, TaskId)>);

impl Order {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn insert(&mut self, priority: Priority, id: TaskId) {
        self.0.insert((priority, id));
    }

    /// Returns whether it was there.
    pub(super) fn remove(&mut self, priority: Priority, id: TaskId) -> bool {
        self.0.remove(&(priority, id))
    }

    fn contains(&self, priority: Priority, id: TaskId) -> bool {
        self.0.contains(&(priority, id))
    }

    /// The first of each class.
    pub(super) fn fronts(&self) -> impl Iterator<Item = (Priority, TaskId)> + '_ {
        let first = |priority: Priority| {
            let from = (priority, TaskId::new(0));
            let first = self.0.range(from..).next().copied();
            first.filter(|(found, _)| *found == priority)
        };
        Priority::ALL.into_iter().filter_map(first)
    }
}

/// A short queue, and which of those in it are awaited right now.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    all: Order,
    awaited: Order,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.0.len()
    }

    pub(super) fn insert(&mut self, priority: Priority, id: TaskId, awaited: bool) {
        self.all.insert(priority, id);
        if awaited {
            self.awaited.insert(priority, id);
        }
    }

    /// Returns whether it is awaited.
    pub(super) fn remove(&mut self, priority: Priority, id: TaskId) -> bool {
        self.all.remove(priority, id);
        self.awaited.remove(priority, id)
    }

    /// One of those in it is awaited from now on.
    pub(super) fn expedite(&mut self, priority: Priority, id: TaskId) {
        self.awaited.insert(priority, id);
    }

    pub(super) fn is_awaited(&self, priority: Priority, id: TaskId) -> bool {
        self.awaited.contains(priority, id)
    }

    /// Nobody is known to await any of them.
    pub(super) fn forget_awaited(&mut self) {
        self.awaited.clear();
    }

    /// The first of each class, of all or of those that are awaited.
    pub(super) fn fronts(
        &self,
        awaited_only: bool,
    ) -> impl Iterator<Item = (Priority, TaskId)> + '_ {
        let order = if awaited_only {
            &self.awaited
        } else {
            &self.all
        };
        order.fronts()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.all.0.iter().map(|(_, id)| *id)
    }

    /// Everybody in it, and whether they are awaited.
    pub(super) fn drain(&mut self) -> Vec<(Priority, TaskId, bool)> {
        let Self { all, awaited } = std::mem::take(self);
        let all = all.0.into_iter();
        all.map(|(priority, id)| (priority, id, awaited.contains(priority, id)))
            .collect()
    }
}
