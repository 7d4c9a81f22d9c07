//! Descriptors that workers are given without being meant to.
//!
//! Belongs here: who looks for them, and which have been told of. Does not belong here: looking; telling.
//! Invariant: of workers that are to start at the same time one looks, if it comes to tell, and another 100 ms later. They have the
//! same, nearly, and looking takes a tenth of a start.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::supervisor::control::Control;

/// How many are warned of.
const MOST: usize = 1024;

/// For how long those that wait for their turn have what the last one had that looked.
const SAME: Duration = Duration::from_millis(100);

/// What a pool knows of them.
#[derive(Debug, Default)]
pub(super) struct Inheritance(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// A worker that is starting looks.
    looks: bool,
    /// When the last began to that has told.
    looked: Option<Instant>,
    told: HashSet<String>,
}

/// A worker is to look. Dropped when it has told, or will not.
#[derive(Debug)]
pub(crate) struct Looks<'a> {
    known: &'a Mutex<Known>,
    began: Instant,
}

impl Looks<'_> {
    /// It has told.
    pub(crate) fn told(self) {
        self.known.lock().looked = Some(self.began);
    }
}

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        self.known.lock().looks = false;
    }
}

impl Control {
    /// Whether a worker that starts now is to look, and was to start at `asked`.
    pub(crate) fn looks_for_inherited(&self, asked: Instant) -> Option<Looks<'_>> {
        let now = Instant::now();
        let mut known = self.inheritance.0.lock();
        let same =
            |looked: Instant| looked >= asked && now.saturating_duration_since(looked) < SAME;
        if known.looks || known.looked.is_some_and(same) {
            return None;
        }
        known.looks = true;
        Some(Looks {
            known: &self.inheritance.0,
            began: now,
        })
    }

    /// Whether this descriptor of the host's has not been reported yet.
    pub(crate) fn first_sight(&self, inherited: &str) -> bool {
        let told = &mut self.inheritance.0.lock().told;
        // More are made up by workers that are started again and again.
        told.len() < MOST && told.insert(inherited.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_those_that_are_to_start_together_looks() {
        let control = Control::any(2, 2);
        for _ in 0..3 {
            let asked = Instant::now();
            // The first has died of something else.
            for tells in [false, true] {
                let first = control.looks_for_inherited(asked).unwrap();
                assert!(control.looks_for_inherited(asked).is_none());
                if tells {
                    first.told();
                }
            }
            assert!(control.looks_for_inherited(asked).is_none());
            // So long ago that a host may have opened something since.
            let long_ago = Instant::now() - 2 * SAME;
            control.inheritance.0.lock().looked = Some(long_ago);
            assert!(control.looks_for_inherited(long_ago).is_some());
        }
    }
}
