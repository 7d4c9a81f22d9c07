//! Maps keyed by numbers that this process, or for a worker its host, counts up itself.
//!
//! Belongs here: the hasher. Does not belong here: what is in the maps.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// Ids are small numbers that this process or its host counts up, so nobody else can choose colliding ones.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing: hashbrown takes its tag from the high bits.
        self.0 = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;
