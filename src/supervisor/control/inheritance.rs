//! Descriptors that workers are given without being meant to.
//!
//! Belongs here: who looks for them, and which have been told of. Does not belong here: looking; telling.
//! Invariant: of workers that start at the same time one looks. They have the same, and looking takes a tenth of a start.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;

use crate::supervisor::control::Control;

/// How many are warned of.
const MOST: usize = 1024;

/// What a pool knows of them.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    /// A worker that is starting looks.
    looks: AtomicBool,
    told: Mutex<HashSet<String>>,
}

/// A worker is to look. Dropped when it has told, or will not.
#[derive(Debug)]
pub(crate) struct Looks<'a>(&'a AtomicBool);

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Control {
    /// Whether a worker that starts now is to look.
    pub(crate) fn looks_for_inherited(&self) -> Option<Looks<'_>> {
        let looks = &self.inheritance.looks;
        (!looks.swap(true, Ordering::AcqRel)).then_some(Looks(looks))
    }

    /// Whether this descriptor of the host's has not been reported yet.
    pub(crate) fn first_sight(&self, inherited: &str) -> bool {
        let mut told = self.inheritance.told.lock();
        // More are made up by workers that are started again and again.
        told.len() < MOST && told.insert(inherited.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sched::RestartRules;

    #[test]
    fn one_of_those_that_start_together_looks() {
        let second = Duration::from_secs(1);
        let rules = RestartRules {
            budget: None,
            period: second,
            backoff_min: second,
            backoff_max: second,
        };
        let control = Control::new(2, rules);
        for _ in 0..3 {
            let first = control.looks_for_inherited();
            assert!(first.is_some() && control.looks_for_inherited().is_none());
        }
    }
}
