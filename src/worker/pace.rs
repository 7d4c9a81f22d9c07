//! What is known of the tasks of one name: above all how long they take, for a host that sends ahead what takes no time.
//!
//! Belongs here: the mean, and when it is told. Does not belong here: measuring one task; what follows.

use std::time::Duration;

/// Of how many tasks it is the mean, the older ones fading. One task that was held up counts for less than it took, and a name
/// of which one task in a hundred takes long is not taken for quick in between.
const TASKS: u32 = 64;

/// From here on it makes no difference any more.
const LONG: u32 = 1_000_000;

/// What is known of the tasks of one name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measure {
    /// The longest poll, older ones fading; `None` before the first.
    pub(super) poll: Option<Duration>,
    /// The host has been told that starts are not announced, in the bytes before this position.
    pub(super) quiet: Option<u64>,
    /// How many slow polls the host has been told of.
    pub(super) slow: u8,
    pub(super) pace: Pace,
}

/// The mean of one name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// In nanoseconds.
    mean: u32,
    /// How many tasks there were, up to [`TASKS`].
    tasks: u32,
    told: u32,
}

impl Pace {
    /// A task took so long from start to end. Returns the mean if it is to be told: when it has doubled or halved.
    pub(super) fn ended(&mut self, took: Duration) -> Option<u32> {
        let took = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX);
        self.tasks = (self.tasks + 1).min(TASKS);
        if took >= self.mean {
            self.mean += (took - self.mean) / self.tasks;
        } else {
            // At least by one, or it would never come down to what it is.
            self.mean -= (self.mean - took).div_ceil(self.tasks);
        }
        let (mean, told) = (self.mean.clamp(1, LONG), self.told);
        (mean > told.saturating_mul(2) || mean < told / 2).then(|| {
            self.told = mean;
            mean
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn it_is_the_mean_and_told_when_it_has_doubled_or_halved() {
        let mut pace = Pace::default();
        assert_eq!(pace.ended(100 * US), Some(100_000));
        let told: Vec<u32> = (0..1000).filter_map(|_| pace.ended(US)).collect();
        assert!(told.len() <= 8, "{told:?}");
        assert!((500..2_000).contains(told.last().unwrap()), "{told:?}");
        assert_eq!(pace.mean, 1000);
        // One that was held up for a while is forgotten after some hundred others.
        let told = pace.ended(4000 * US).unwrap();
        assert!((60_000..70_000).contains(&told), "{told}");
        let last = (0..500).filter_map(|_| pace.ended(US)).last();
        assert!(last.unwrap() < 3_000, "{last:?}");
        assert_eq!((0..1000).filter_map(|_| pace.ended(US)).count(), 0);
    }

    #[test]
    fn a_name_of_which_some_take_long_is_not_quick() {
        let mut pace = Pace::default();
        let mut told = 0;
        for nth in 0..10_000 {
            let took = if nth % 50 == 49 { 10_000 } else { 1 };
            told = pace.ended(took * US).unwrap_or(told);
            assert!(nth < 100 || told > 50_000, "{nth}: {told}");
        }
    }

    #[test]
    fn what_takes_long_is_told_once() {
        let mut pace = Pace::default();
        let told: Vec<u32> = (1..100)
            .filter_map(|nth| pace.ended(nth * 10_000 * US))
            .collect();
        assert_eq!(told, [LONG]);
    }
}
