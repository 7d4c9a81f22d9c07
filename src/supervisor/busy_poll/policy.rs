//! When an arbiter looks for news instead of sleeping.
//!
//! Belongs here: what it goes by. Does not belong here: the time; looking.
//! Invariants: nobody stays awake for longer than [`WINDOW`] behind the last news, nor while nothing quick is expected, nor in
//! vain for long.
//!
//! What it takes is a CPU. It looks only while the workers have so little to do that none of them would need that CPU
//! before the news come; and after looking in vain it lets some occasions pass: twice as many after each time.
//!
//! States: *asleep* ─ a worker has, or gives back, quick tasks, and no occasion is to be let pass ▶ *awake* ─ news ▶ *awake*
//! for a window more; ─ nothing quick is with any worker ▶ *asleep*; ─ the window is over ▶ *asleep*, once more in vain.

use std::time::{Duration, Instant};

/// How long it looks: as long as the way to a sleeping worker and back takes in a virtual machine.
pub(super) const WINDOW: Duration = Duration::from_micros(100);

/// Work that a worker has done by the time it would take to wake up for it, in nanoseconds. Measured with two CPUs and two
/// workers: looking for results of 40 µs of work for each gained 10 %, of 50 µs nothing, and of 100 µs it lost 25 %.
const QUICK: u64 = 50_000;

/// After so many times in vain the number of occasions to let pass grows no further: it is 1,024 then.
const MOST_IN_VAIN: u32 = 10;

/// When it looks. A plain value.
#[derive(Debug)]
pub(super) struct Policy {
    cpus: usize,
    /// What all workers with quick tasks have to do together, in nanoseconds.
    quick: u64,
    /// How many workers have more to do than that.
    busy: usize,
    /// Until when it is awake.
    until: Option<Instant>,
    /// How often it was in vain, less the times that it was not.
    in_vain: u32,
    /// How many occasions are to be let pass.
    pass: u32,
}

impl Policy {
    pub(super) fn new(cpus: usize) -> Self {
        Self {
            cpus,
            quick: 0,
            busy: 0,
            until: None,
            in_vain: 0,
            pass: 0,
        }
    }

    /// A worker has other work than before.
    pub(super) fn changes(&mut self, before: u64, after: u64) {
        if before > QUICK {
            self.busy -= 1;
        } else {
            self.quick -= before;
        }
        if after > QUICK {
            self.busy += 1;
        } else {
            self.quick += after;
        }
    }

    /// Whether results are near, and nobody needs the CPU: there is one besides those of busy workers and that of a quick one,
    /// and the quick ones do what they have in a moment.
    fn pays(&self) -> bool {
        let free = self.cpus.saturating_sub(self.busy);
        let in_a_moment = QUICK.saturating_mul(u64::try_from(free).unwrap_or(u64::MAX));
        free > 1 && (1..=in_a_moment).contains(&self.quick)
    }

    /// A worker was sent something, or there are news of it. Returns whether it has woken up for that.
    pub(super) fn moves(&mut self, news: bool, now: Instant) -> bool {
        let pays = self.pays();
        if self.until.is_some() {
            if news {
                self.in_vain = self.in_vain.saturating_sub(1);
                self.until = Some(now + WINDOW);
            }
            return false;
        }
        if pays && self.pass > 0 {
            self.pass -= 1;
            return false;
        }
        if pays {
            self.until = Some(now + WINDOW);
        }
        pays
    }

    #[cfg(all(test, feature = "test-util"))]
    pub(super) fn in_vain(&self) -> u32 {
        self.in_vain
    }

    /// Whether it is awake by now, and stays so.
    pub(super) fn goes_on(&mut self, now: Instant) -> bool {
        let Some(until) = self.until else {
            return false;
        };
        let pays = self.pays();
        if pays && now < until {
            return true;
        }
        if pays {
            self.pass = 1 << self.in_vain;
            self.in_vain = (self.in_vain + 1).min(MOST_IN_VAIN);
        }
        self.until = None;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::model::Random;

    const US: Duration = Duration::from_micros(1);

    fn of(cpus: usize, work: &[u64]) -> Policy {
        let mut policy = Policy::new(cpus);
        for work in work {
            policy.changes(0, *work);
        }
        policy
    }

    #[test]
    fn it_looks_for_a_window_behind_the_last_news_and_no_longer() {
        let mut policy = of(2, &[1000]);
        let now = Instant::now();
        assert!(policy.moves(false, now) && policy.goes_on(now));
        // What is sent in the meantime brings nothing nearer.
        assert!(!policy.moves(false, now + 60 * US) && policy.goes_on(now + 99 * US));
        assert!(!policy.moves(true, now + 99 * US) && policy.goes_on(now + 198 * US));
        assert!(!policy.goes_on(now + 199 * US) && !policy.goes_on(now + 199 * US));
        // The next but one.
        assert!(!policy.moves(true, now + 300 * US) && policy.moves(true, now + 400 * US));
    }

    #[test]
    fn it_sleeps_while_nothing_is_near_or_somebody_needs_the_cpu() {
        for (cpus, work, looks) in [
            (2, &[][..], false),
            (2, &[1000], true),
            (1, &[1000], false),
            // Half of each for those that have the most that is quick; the third one would need what looks.
            (2, &[QUICK, QUICK], true),
            (2, &[QUICK, QUICK, 1000], false),
            (3, &[QUICK, QUICK, 1000], true),
            (2, &[QUICK + 1], false),
            (8, &[QUICK + 1], false),
            (2, &[1000, u64::MAX], false),
            (3, &[1000, u64::MAX], true),
            (3, &[1000, u64::MAX, u64::from(u32::MAX)], false),
            (3, &[u64::MAX; 9], false),
        ] {
            let mut policy = of(cpus, work);
            assert_eq!(policy.moves(true, Instant::now()), looks, "{cpus} {work:?}");
        }
        let mut policy = of(2, &[1000]);
        let now = Instant::now();
        assert!(policy.moves(true, now));
        policy.changes(1000, 0);
        assert!(!policy.goes_on(now));
        // That was not in vain.
        policy.changes(0, 1000);
        assert!(policy.moves(true, now));
    }

    #[test]
    fn the_more_often_in_vain_the_more_occasions_pass_until_there_are_news_again() {
        let mut policy = of(2, &[1000]);
        let now = Instant::now();
        let passed = |policy: &mut Policy| (0..).find(|_| policy.moves(false, now)).unwrap();
        assert_eq!(passed(&mut policy), 0);
        for times in 0..2 * MOST_IN_VAIN {
            assert!(!policy.goes_on(now + WINDOW));
            assert_eq!(passed(&mut policy), 1 << times.min(MOST_IN_VAIN));
        }
        for _ in 0..7 {
            policy.moves(true, now);
        }
        assert!(!policy.goes_on(now + WINDOW));
        assert_eq!(passed(&mut policy), 1 << (MOST_IN_VAIN - 7));
    }

    #[test]
    fn whatever_happens_it_sleeps_in_time() {
        let mut random = Random::new(9);
        let mut now = Instant::now();
        for cpus in [1, 2, 8] {
            let mut policy = of(cpus, &[]);
            let mut work = [0; 5];
            let mut last = now;
            let mut looked = 0;
            for _ in 0..100_000 {
                now += u32::try_from(random.below(40)).unwrap() * US;
                let news = random.below(2) == 0;
                let awake = policy.until.is_some();
                if random.below(2) == 0 {
                    let worker = random.below(work.len());
                    let after = [0, 0, 500, 20_000, QUICK, QUICK + 1, u64::MAX][random.below(7)];
                    policy.changes(work[worker], after);
                    work[worker] = after;
                    let wakes = policy.moves(news, now);
                    assert!(!wakes || !awake);
                    if wakes || awake && news {
                        last = now;
                    }
                }
                let quick = work.iter().filter(|work| **work <= QUICK).sum::<u64>();
                let busy = work.iter().filter(|work| **work > QUICK).count();
                assert_eq!((policy.quick, policy.busy), (quick, busy));
                if policy.goes_on(now) {
                    looked += 1;
                    assert!(quick > 0 && busy + 1 < cpus && now - last < WINDOW);
                }
            }
            assert_eq!(looked > 1000, cpus > 1, "{cpus} CPUs: {looked}");
        }
    }
}
