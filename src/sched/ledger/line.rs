//! Tasks that wait for something of their own: for one worker, or for others of their name to end.
//!
//! Belongs here: order and removal. Does not belong here: what they wait for.

use std::collections::BTreeSet;

use crate::task::{Priority, TaskId};

/// A short queue, by class and then as they were accepted.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(BTreeSet<(Priority, TaskId)>);

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn insert(&mut self, priority: Priority, id: TaskId) {
        self.0.insert((priority, id));
    }

    pub(super) fn remove(&mut self, priority: Priority, id: TaskId) {
        self.0.remove(&(priority, id));
    }

    /// The first of each class.
    pub(super) fn fronts(&self) -> impl Iterator<Item = (Priority, TaskId)> + '_ {
        let first = |priority: &Priority| {
            let from = (*priority, TaskId::new(0));
            let first = self.0.range(from..).next().copied();
            first.filter(|(found, _)| found == priority)
        };
        Priority::ALL
            .into_iter()
            .filter_map(move |priority| first(&priority))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.0.iter().map(|(_, id)| *id)
    }
}

impl IntoIterator for Line {
    type Item = (Priority, TaskId);
    type IntoIter = std::collections::btree_set::IntoIter<(Priority, TaskId)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
