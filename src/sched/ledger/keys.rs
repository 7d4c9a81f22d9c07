//! Where keys are at home.
//!
//! Belongs here: which worker a key was given, and which two it may be given. Does not belong here: loads.
//! Invariants: a key keeps its home as long as the worker there serves; room for keys of others is used again before more is
//! taken.

use std::{collections::HashMap, hash::BuildHasherDefault};

use crate::{
    sched::Seat,
    task::{IdHasher, Key},
};

/// How many tables there are. One alone would be moved each time that it grows, for tens of milliseconds with a million keys
/// and under the lock of the core.
const PARTS: usize = 64;

/// Room for so many keys in a part is never given back.
const KEPT: usize = 64;

/// One worker's stay in its seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) seat: Seat,
    pub(super) epoch: u64,
}

type Part = HashMap<u64, Home, BuildHasherDefault<IdHasher>>;

/// The homes of keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    parts: Vec<Part>,
}

impl Keys {
    fn part(&self, key: Key) -> usize {
        // Apart from the bits by which a table finds its places.
        (key.get() >> 1) as usize % PARTS
    }

    pub(super) fn get(&self, key: Key) -> Option<Home> {
        self.parts.get(self.part(key))?.get(&key.get()).copied()
    }

    /// A key is at home here from now on. `serves` says of which homes that is still of use.
    pub(super) fn insert(&mut self, key: Key, home: Home, serves: impl Fn(Home) -> bool) {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, Part::default);
        }
        let part = self.part(key);
        let Some(part) = self.parts.get_mut(part) else {
            return;
        };
        if part.len() == part.capacity() {
            let room = part.capacity();
            part.retain(|_, home| serves(*home));
            if part.len() > room / 2 {
                // Or this would be looked through again soon.
                part.reserve(part.len());
            } else if room > KEPT && part.len() < room / 4 {
                // Halving leaves room to grow again.
                part.shrink_to(room / 2);
            }
        }
        part.insert(key.get(), home);
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

    fn home(epoch: u64) -> Home {
        Home {
            seat: Seat::new(0),
            epoch,
        }
    }

    fn room(keys: &Keys) -> usize {
        keys.parts.iter().map(Part::capacity).sum()
    }

    #[test]
    fn a_key_is_at_home_as_long_as_its_worker_serves_however_many_there_are() {
        let mut keys = Keys::default();
        for number in 0..100_000 {
            let epoch = 1 + number % 2;
            keys.insert(Key::of(number), home(epoch), |_| true);
        }
        for number in 0..100_000 {
            assert_eq!(keys.get(Key::of(number)), Some(home(1 + number % 2)));
        }
        assert_eq!(keys.get(Key::of("another")), None);
    }

    #[test]
    fn room_of_keys_whose_workers_have_gone_is_used_again_and_given_back() {
        let mut keys = Keys::default();
        // Each worker has 1000 keys, and goes; the first one stays.
        for epoch in 1..500 {
            let serves = |home: Home| home.epoch == epoch || home.epoch == 1;
            for number in 0..1000 {
                keys.insert(Key::of((epoch, number)), home(epoch), serves);
            }
        }
        assert!(room(&keys) < 20_000, "{}", room(&keys));
        for number in 0..1000 {
            assert_eq!(keys.get(Key::of((1_u64, number))), Some(home(1)));
        }
        for number in 0..100_000 {
            keys.insert(Key::of(number), home(2), |_| true);
        }
        let flooded = room(&keys);
        for number in 0..2 * flooded {
            keys.insert(Key::of((3, number)), home(3), |_| false);
        }
        assert!(room(&keys) < flooded / 2, "{} {flooded}", room(&keys));
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
