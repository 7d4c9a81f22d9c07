//! How often a task may run again, and when.
//!
//! Belongs here: what each reason to run again may cost. Does not belong here: which tasks may run again at all.
//! Invariant: each reason has an account of its own, so a task ends after a bounded number of runs, whatever comes together.

use std::time::Duration;

/// The knobs of running again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryRules {
    /// How often a task may start whose workers are lost.
    pub(crate) lost: u32,
    /// How often one may start whose workers die for want of memory.
    pub(crate) memory: u32,
    /// How often one may start whose own errors may go away.
    pub(crate) failed: u32,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
}

impl RetryRules {
    /// How long the `nth` wait is, counted from 1: between half and all of a time that doubles.
    ///
    /// What is certain of it keeps the pace down, what is random keeps tasks that failed together apart: the "equal jitter" of
    /// Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    pub(crate) fn backoff(&self, nth: u32, random: u64) -> Duration {
        let factor = 1_u32.checked_shl(nth.saturating_sub(1));
        let factor = factor.unwrap_or(u32::MAX);
        let doubled = self.backoff_min.checked_mul(factor);
        let all = doubled.unwrap_or(Duration::MAX).min(self.backoff_max);
        let half = all / 2;
        let spread = u64::try_from((all - half).as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(random % spread.saturating_add(1))
    }
}

/// What the runs of a task that came to nothing have cost it. As small as can be: each task that waits has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Errors of its own.
    pub(crate) failed: u32,
    /// Workers that were lost with it, those excepted that died for want of memory. No task sees the end of so many.
    pub(crate) lost: u16,
    /// Those.
    pub(crate) memory: u16,
}

impl Spent {
    /// Which run the next one is, counted from 1.
    pub(crate) fn attempt(self) -> u32 {
        1_u32
            .saturating_add(self.failed)
            .saturating_add(self.deaths())
    }

    /// How many workers have died with it.
    pub(crate) fn deaths(self) -> u32 {
        u32::from(self.lost) + u32::from(self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rules(min: Duration, max: Duration) -> RetryRules {
        RetryRules {
            lost: 3,
            memory: 3,
            failed: 3,
            backoff_min: min,
            backoff_max: max,
        }
    }

    #[test]
    fn waits_double_up_to_the_most_and_half_of_each_is_random() {
        let rules = rules(100 * MS, 1000 * MS);
        for (nth, all) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (6, 1000)] {
            let waits: Vec<Duration> = (0..1000)
                .map(|random| rules.backoff(nth, u64::wrapping_mul(random, 0x9E37_79B9_7F4A_7C15)))
                .collect();
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            let all = all * MS;
            assert!(
                *least >= all / 2 && *most <= all,
                "{nth}: {least:?} {most:?}"
            );
            assert!(*most - *least > all * 2 / 5, "{nth}: {least:?} {most:?}");
        }
    }

    #[test]
    fn no_number_is_too_large() {
        let forever = rules(Duration::MAX, Duration::MAX);
        assert!(forever.backoff(u32::MAX, u64::MAX) >= Duration::MAX / 2);
        let never = rules(Duration::ZERO, Duration::ZERO);
        assert_eq!(never.backoff(u32::MAX, u64::MAX), Duration::ZERO);
        let at_once = rules(Duration::ZERO, 1000 * MS);
        assert_eq!(at_once.backoff(u32::MAX, u64::MAX), Duration::ZERO);
        let most = Spent {
            lost: u16::MAX,
            memory: u16::MAX,
            failed: u32::MAX,
        };
        assert_eq!(most.attempt(), u32::MAX);
    }
}
