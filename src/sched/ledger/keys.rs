//! Where keys are at home.
//!
//! Belongs here: which worker a key was given, and which two it may be given. Does not belong here: loads.
//! Invariants: a key that is used keeps its home; those that are not are forgotten, the oldest first, when there are many.

use std::{collections::HashMap, hash::BuildHasherDefault};

use crate::{
    sched::Seat,
    task::{IdHasher, Key},
};

/// So many keys are remembered at least, and twice as many at most.
pub(crate) const REMEMBERED: usize = 256 * 1024;

/// One worker's stay in its seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) seat: Seat,
    pub(super) epoch: u64,
}

type Map = HashMap<u64, Home, BuildHasherDefault<IdHasher>>;

/// The homes of keys, in two generations: what is not used for as long as one fills up goes.
#[derive(Debug, Default)]
pub(super) struct Keys {
    young: Map,
    old: Map,
}

impl Keys {
    pub(super) fn get(&mut self, key: Key) -> Option<Home> {
        if let Some(home) = self.young.get(&key.get()) {
            return Some(*home);
        }
        let home = self.old.remove(&key.get())?;
        self.insert(key, home);
        Some(home)
    }

    pub(super) fn insert(&mut self, key: Key, home: Home) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.get(), home);
    }
}

/// The two of so many workers that a new key may be given.
///
/// The choice of two is Mitzenmacher's (The Power of Two Choices in Randomized Load Balancing, 1996); the second number is
/// the first one mixed as by the finalizer of `SplitMix64` (Steele, Lea, Flood, 2014).
pub(crate) fn candidates(key: Key, workers: usize) -> [usize; 2] {
    let mut mixed = key.get();
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let below = |number: u64, workers: usize| match workers as u64 {
        0 => 0,
        workers => (number % workers) as usize,
    };
    // The lowest bit of a key is always set.
    let first = below(key.get() >> 1, workers);
    // Any of the others, if there are any.
    let second = below(mixed, workers.saturating_sub(1));
    let second = second + usize::from(second >= first && workers > 1);
    [first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(seat: u32) -> Home {
        Home {
            seat: Seat::new(seat),
            epoch: 0,
        }
    }

    #[test]
    fn keys_that_are_used_stay_and_others_go() {
        let mut keys = Keys::default();
        let used = Key::of("used");
        keys.insert(used, home(7));
        for number in 0..3 * REMEMBERED {
            keys.insert(Key::of(number), home(1));
            if number % 1000 == 0 {
                assert_eq!(keys.get(used), Some(home(7)));
            }
        }
        assert_eq!(keys.get(Key::of(0)), None);
        assert_eq!(keys.get(Key::of(3 * REMEMBERED - 1)), Some(home(1)));
        assert!(keys.young.len() <= REMEMBERED && keys.old.len() <= REMEMBERED);
    }

    #[test]
    fn keys_spread() {
        let mut counts = [[0_u32; 4]; 2];
        for number in 0..4000 {
            let candidates = candidates(Key::of(number), 4);
            assert_ne!(candidates[0], candidates[1]);
            for (counts, candidate) in counts.iter_mut().zip(candidates) {
                counts[candidate] += 1;
            }
        }
        assert!(
            counts
                .iter()
                .flatten()
                .all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
        assert_eq!(candidates(Key::of("k"), 1), [0, 0]);
    }
}
