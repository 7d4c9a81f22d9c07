//! Limits drawn at random, so that workers that were started together do not leave together.
//!
//! Belongs here: drawing. Does not belong here: what is limited.

use std::time::Duration;

/// A number from the range that `percent` of `most` leaves below it, each as likely as the others; at least 1.
pub(super) fn tasks(most: u32, percent: u8) -> u32 {
    let drawn = below(u64::from(most), percent, random());
    u32::try_from(drawn).unwrap_or(most).max(1)
}

/// The same for a time.
pub(super) fn time(most: Duration, percent: u8) -> Duration {
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(below(nanos, percent, random()))
}

fn below(most: u64, percent: u8, random: u64) -> u64 {
    let spread = u128::from(most) * u128::from(percent.min(100)) / 100;
    let spread = u64::try_from(spread).unwrap_or(u64::MAX);
    most - random % spread.saturating_add(1)
}

pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness all leave at their limit, which is what was promised at most.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_reaches_both_ends_of_its_range_and_no_further() {
        let drawn: std::collections::BTreeSet<u64> =
            (0..1000).map(|random| below(100, 10, random)).collect();
        assert_eq!(drawn, (90..=100).collect());
        assert_eq!(below(100, 0, 7), 100);
        assert_eq!(below(5, 10, u64::MAX), 5);
        assert_eq!(below(u64::MAX, 100, u64::MAX - 1), 1);
        assert!((1..1000).all(|_| (1..=2).contains(&tasks(2, 100))));
        let hour = Duration::from_secs(3600);
        assert!((1..1000).all(|_| time(hour, 50) <= hour && time(hour, 50) >= hour / 2));
        assert_ne!(time(hour, 10), time(hour, 10));
    }
}
