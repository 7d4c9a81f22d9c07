//! Numbers that look random and can be had again.

use std::{collections::VecDeque, fmt};

/// SplitMix64 by Sebastiano Vigna: one addition and a few shifts, every seed as good as any other.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(crate) fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    /// True `hits` times out of `of`.
    pub(crate) fn odds(&mut self, hits: usize, of: usize) -> bool {
        self.below(of) < hits
    }

    /// One of them, if there is any.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.below(of.len())])
    }
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let digits = text.replace('_', "");
    Some(digits.parse().expect("a number in the environment"))
}

/// One test's seed and budget of events, and what it did last; says so when the test panics.
pub(crate) struct Run<E: fmt::Debug> {
    pub(crate) random: Random,
    seed: u64,
    events: u64,
    done: u64,
    last: VecDeque<E>,
}

impl<E: fmt::Debug> Run<E> {
    pub(crate) fn new() -> Self {
        let seed = from_environment("ACTIX_MP_MODEL_SEED").unwrap_or_else(|| {
            let mut seed = [0; 8];
            getrandom::fill(&mut seed).unwrap();
            u64::from_le_bytes(seed)
        });
        Self {
            random: Random::new(seed),
            seed,
            events: from_environment("ACTIX_MP_MODEL_EVENTS").unwrap_or(100_000),
            done: 0,
            last: VecDeque::new(),
        }
    }

    /// Whether there are events left to do.
    pub(crate) fn goes_on(&self) -> bool {
        self.done < self.events
    }

    /// Whether everything should have happened that can.
    pub(crate) fn is_long(&self) -> bool {
        self.done >= 100_000
    }

    /// Takes note of an event that is about to be done.
    pub(crate) fn note(&mut self, event: E) {
        self.note_many(event, 1);
    }

    /// Takes note of one that counts for several.
    pub(crate) fn note_many(&mut self, event: E, count: usize) {
        self.done += count as u64;
        if self.last.len() == 40 {
            self.last.pop_front();
        }
        self.last.push_back(event);
    }
}

impl<E: fmt::Debug> Drop for Run<E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last events:");
            for event in &self.last {
                eprintln!("  {event:?}");
            }
            eprintln!(
                "event {} of the run with ACTIX_MP_MODEL_SEED={}",
                self.done, self.seed
            );
        }
    }
}
