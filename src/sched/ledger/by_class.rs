//! One value for each class of priority.
//!
//! Belongs here: finding it. Does not belong here: what it is.

use crate::task::Priority;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ByClass<T> {
    high: T,
    normal: T,
    low: T,
}

impl<T> ByClass<T> {
    pub(super) fn of(&self, priority: Priority) -> &T {
        match priority {
            Priority::High => &self.high,
            Priority::Normal => &self.normal,
            Priority::Low => &self.low,
        }
    }

    pub(super) fn of_mut(&mut self, priority: Priority) -> &mut T {
        match priority {
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }
}

impl ByClass<usize> {
    pub(super) fn sum(&self) -> usize {
        self.high + self.normal + self.low
    }
}
