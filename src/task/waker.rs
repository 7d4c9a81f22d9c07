//! The waker of whoever waits.
//!
//! Belongs here: keeping one. Does not belong here: when it is woken.
//! Invariant: a waker of the same task is not cloned anew, and the drop of an old one, which may run anybody's code, is
//! left to the caller, who does it where no lock is held.

use std::task::Waker;

/// Puts a waker where one is kept. Returns the one it replaces.
#[must_use = "to be dropped outside of locks"]
pub(crate) fn keep(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    if place.as_ref().is_some_and(|old| old.will_wake(waker)) {
        return None;
    }
    place.replace(waker.clone())
}

/// Puts a waker among others.
pub(crate) fn keep_among(all: &mut Vec<Waker>, waker: &Waker) {
    if !all.iter().any(|old| old.will_wake(waker)) {
        all.push(waker.clone());
    }
}
