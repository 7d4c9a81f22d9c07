//! How many tasks a worker is sent whose event loop says how late it is.
//!
//! Belongs here: the rule. Does not belong here: measuring, sending.
//! Invariant: at least 1 and at most what may be; once it has found the right number it leaves that by 1 at most.
//!
//! ```text
//!   lag < 5 ms, all it may have in use ──▶ more: by 1, 2, 4, ..; half-way to what was too many; by 1 next to that, after a second
//!   lag ≥ 50 ms ──▶ fewer: half-way to what was not too many; by 1, 2, 4, .. where that is too many now
//!   between the two, or not all in use ──▶ as it is
//! ```
//! So it is a search by halves between what was and what was not too many, and by doubling where one of them is not known, which
//! is over in 2 s; and then a try now and then whether one more is still too many.
//!
//! A lag is the least of a while, of which a long computation among tasks that wait is no matter, as fewer tasks would not make it
//! shorter: what stays is a queue. This and the 5 ms are those of CoDel (Nichols and Jacobson, "Controlling Queue Delay", ACM
//! Queue 10(5), 2012).

use std::time::Duration;

/// From here on a loop is too late.
const TOO_LATE: Duration = Duration::from_millis(50);

/// Below this it has time.
const EARLY: Duration = Duration::from_millis(5);

/// How many good reports in a row there are before what was too much is tried again. A worker reports ten times a second at most.
const PATIENCE: u32 = 10;

/// The rule for one worker.
#[derive(Debug, Clone)]
pub(crate) struct Adaptive {
    most: u32,
    limit: u32,
    /// The most that was not too many; 0 for none known.
    enough: u32,
    /// The least that was too many.
    too_many: Option<u32>,
    /// How far the last change went that had nothing to go by.
    step: u32,
    /// Good reports in a row.
    good: u32,
}

impl Adaptive {
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most: most.max(1),
            limit: 1,
            enough: 0,
            too_many: None,
            step: 0,
            good: 0,
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// A worker that has so many tasks says how late its loop was at least. Returns how many it may have from now on, if that
    /// changes.
    pub(crate) fn reported(&mut self, lag: Duration, has: u32) -> Option<u32> {
        if has > self.limit {
            // What it had before.
            return None;
        }
        let before = self.limit;
        if lag >= TOO_LATE {
            self.fewer();
        } else if lag < EARLY && has >= self.limit {
            self.more();
        } else {
            self.step = 0;
            self.good = 0;
        }
        (self.limit != before).then_some(self.limit)
    }

    fn fewer(&mut self) {
        let had = self.limit;
        self.too_many = Some(had);
        self.good = 0;
        if self.enough > 0 && self.enough < had {
            self.step = 0;
            self.limit = half_way(self.enough, had);
        } else {
            self.enough = 0;
            self.step = self.next_step();
            self.limit = had.saturating_sub(self.step).max(1);
        }
    }

    fn more(&mut self) {
        let has = self.limit;
        self.enough = has;
        self.good += 1;
        match self.too_many {
            Some(level) if has + 1 < level => {
                self.step = 0;
                self.limit = half_way(has, level);
            }
            Some(level) if has < level => {
                if self.good >= PATIENCE {
                    self.step = 0;
                    self.limit = level;
                }
            }
            known => {
                if known.is_some() {
                    // It no longer is.
                    (self.too_many, self.step) = (None, 0);
                }
                self.step = self.next_step();
                self.limit = has.saturating_add(self.step).min(self.most);
            }
        }
    }

    /// Twice as far as the last time.
    fn next_step(&self) -> u32 {
        self.step.saturating_mul(2).max(1)
    }
}

/// Between two numbers, and never the second.
fn half_way(enough: u32, too_many: u32) -> u32 {
    enough + too_many.saturating_sub(enough) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::model::Random;

    const MS: Duration = Duration::from_millis(1);

    /// Lets a worker whose lag depends on how much it has report so many times. Returns its limits.
    fn reports(rule: &mut Adaptive, times: u32, lag: impl Fn(u32) -> Duration) -> Vec<u32> {
        (0..times)
            .map(|_| {
                let has = rule.limit();
                rule.reported(lag(has), has);
                rule.limit()
            })
            .collect()
    }

    #[test]
    fn it_has_settled_after_2_s_wherever_the_right_number_is_and_swings_by_1_at_most() {
        for most in [1, 2, 16, 64] {
            for right in 0..=most + 1 {
                // Up to the right number there is time, and beyond it none.
                let lag = |has| if has > right { 80 * MS } else { MS };
                let mut rule = Adaptive::new(most);
                reports(&mut rule, 20, lag);
                let limits = reports(&mut rule, 200, lag);
                let (least, greatest) =
                    (limits.iter().min().unwrap(), limits.iter().max().unwrap());
                assert!(greatest - least <= 1, "{most} {right}: {limits:?}");
                let expected = right.clamp(1, most);
                assert!(limits.contains(&expected), "{most} {right}: {limits:?}");
                // And tries one more now and then only.
                let tries = limits.iter().filter(|limit| **limit > expected).count();
                assert!(tries <= limits.len() / 10, "{most} {right}: {limits:?}");
            }
        }
    }

    #[test]
    fn it_follows_tasks_of_another_kind_within_2_s() {
        let waiting = |_| MS;
        let computing = |has: u32| 60 * MS * (has - 1);
        let mut rule = Adaptive::new(16);
        for _ in 0..5 {
            assert_eq!(reports(&mut rule, 20, waiting).last(), Some(&16));
            let limits = reports(&mut rule, 20, computing);
            assert!(*limits.last().unwrap() <= 2, "{limits:?}");
            let limits = reports(&mut rule, 50, computing);
            assert!(limits.iter().all(|limit| *limit <= 2), "{limits:?}");
        }
    }

    #[test]
    fn what_is_between_early_and_late_or_not_in_use_changes_nothing() {
        let mut rule = Adaptive::new(16);
        reports(&mut rule, 3, |_| MS);
        let limit = rule.limit();
        reports(&mut rule, 50, |_| 20 * MS);
        assert_eq!(rule.limit(), limit);
        for _ in 0..50 {
            assert_eq!(rule.reported(MS, limit - 1), None);
        }
        // What it had before says nothing of what it has.
        let fewer = rule.reported(80 * MS, limit).unwrap();
        assert!(fewer < limit);
        for _ in 0..50 {
            assert_eq!(rule.reported(80 * MS, limit), None);
        }
    }

    #[test]
    fn whatever_is_reported_the_limit_is_one_that_may_be() {
        let mut random = Random::new(5);
        for _ in 0..100 {
            let most = u32::try_from(random.between(1, 40)).unwrap();
            let mut rule = Adaptive::new(most);
            for _ in 0..500 {
                let lag = u32::try_from(random.between(0, 120)).unwrap() * MS;
                let has = u32::try_from(random.between(0, most as usize)).unwrap();
                let before = rule.limit();
                let told = rule.reported(lag, has);
                assert!((1..=most).contains(&rule.limit()));
                assert_eq!(told, Some(rule.limit()).filter(|limit| *limit != before));
            }
        }
        let mut all = Adaptive::new(u32::MAX);
        for _ in 0..100 {
            all.reported(Duration::ZERO, all.limit());
        }
        assert_eq!(all.limit(), u32::MAX);
    }
}
