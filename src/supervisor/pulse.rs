//! Whether a worker that has tasks is alive, and whether its event loop goes on.
//!
//! Belongs here: when it is asked, and what an answer, or none, says. Does not belong here: asking, and what follows.
//!
//! ```text
//!             tasks                     heartbeat                        answers
//!   at rest ─────────▶ beating ──────────────────────▶ asked ─────────────────────────────▶ beating
//!      ▲                  │                              │  no answer for `stalled_after`      │ one poll has lasted that long
//!      └── no tasks ──────┴──────────────────────────────┤                                     ▼
//!                                                        └──▶ silent, told once        holding, told once for each poll
//!                                                               └── answers ──▶ beating ◀── answers otherwise ──┘
//! ```
//! Silence is that of both connections. Invariants: at rest nothing is due; asked once, it is asked again only after it has
//! answered; a stall is told once until an answer, or any sign of life, says that it is over; a poll that a stopped process was
//! in the middle of has not held it, so what the first answer after a silence says of one waits for the second.

use std::time::{Duration, Instant};

use crate::sched::Ticket;

/// A worker that does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stall {
    /// The task whose poll holds its event loop; `None` if not even its control thread answers.
    pub(super) ticket: Option<Ticket>,
    pub(super) lasted: Duration,
    /// Nobody has heard of it yet.
    pub(super) new: bool,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Ask the worker what its loop does.
    Ask,
    Stalled(Stall),
}

#[derive(Debug)]
pub(super) struct Pulse {
    heartbeat: Duration,
    stalled_after: Duration,
    next: Option<Instant>,
    /// An answer is owed; since when nothing has come.
    asked: Option<Instant>,
    /// It has been told that no answer came.
    silent: bool,
    /// That was told since the last answer.
    was_silent: bool,
    /// Of this task's poll it has been told.
    told: Option<Ticket>,
}

impl Pulse {
    pub(super) fn new(heartbeat: Duration, stalled_after: Duration) -> Self {
        Self {
            heartbeat,
            stalled_after,
            next: None,
            asked: None,
            silent: false,
            was_silent: false,
            told: None,
        }
    }

    /// The worker has tasks.
    pub(super) fn beats(&mut self, now: Instant) {
        if self.next.is_none() && !self.silent {
            self.next = Some(now + self.heartbeat);
        }
    }

    /// The worker has none.
    pub(super) fn rests(&mut self) {
        *self = Self::new(self.heartbeat, self.stalled_after);
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// What is due by now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Beat> {
        self.next.take_if(|at| now >= *at)?;
        let Some(asked) = self.asked else {
            self.asked = Some(now);
            self.next = Some(now + self.stalled_after);
            return Some(Beat::Ask);
        };
        // Nothing more is due until it answers.
        (self.silent, self.was_silent) = (true, true);
        Some(Beat::Stalled(Stall {
            ticket: None,
            lasted: now.saturating_duration_since(asked),
            new: true,
        }))
    }

    /// Something has come from the worker, an answer or not.
    pub(super) fn lives(&mut self, now: impl FnOnce() -> Instant) {
        if self.asked.is_some() {
            let now = now();
            self.silent = false;
            self.asked = Some(now);
            self.next = Some(now + self.stalled_after);
        }
    }

    /// The worker has said what its loop does, and for how long by now.
    pub(super) fn answered(
        &mut self,
        running: Option<(Ticket, Duration)>,
        now: Instant,
    ) -> Option<Stall> {
        if self.next.is_none() && !self.silent {
            // It was asked for something else.
            return None;
        }
        (self.asked, self.silent) = (None, false);
        let was_silent = std::mem::take(&mut self.was_silent);
        let (wait, holding) = match running {
            Some((ticket, lasted)) if lasted >= self.stalled_after => {
                (self.heartbeat, (!was_silent).then_some((ticket, lasted)))
            }
            Some((_, lasted)) => (self.heartbeat.min(self.stalled_after - lasted), None),
            None => (self.heartbeat, None),
        };
        self.next = Some(now + wait);
        let told = holding.map(|(ticket, _)| ticket);
        let before = std::mem::replace(&mut self.told, told);
        let (ticket, lasted) = holding?;
        Some(Stall {
            ticket: Some(ticket),
            lasted,
            new: before != told,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::model::Random;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn at_rest_nothing_is_due_and_answers_say_nothing() {
        let (mut pulse, now) = (Pulse::new(10 * MS, 100 * MS), Instant::now());
        assert_eq!((pulse.next(), pulse.due(now)), (None, None));
        assert_eq!(pulse.answered(Some((1, 200 * MS)), now), None);
        pulse.beats(now);
        assert_eq!(pulse.due(now + 10 * MS), Some(Beat::Ask));
        pulse.rests();
        assert_eq!((pulse.next(), pulse.due(now + 500 * MS)), (None, None));
    }

    #[test]
    fn who_is_silent_is_asked_once_and_told_once() {
        let (mut pulse, now) = (Pulse::new(10 * MS, 100 * MS), Instant::now());
        pulse.beats(now);
        assert_eq!(pulse.due(now + 10 * MS), Some(Beat::Ask));
        assert_eq!(pulse.due(now + 109 * MS), None);
        let silent = |lasted| {
            Some(Beat::Stalled(Stall {
                ticket: None,
                lasted,
                new: true,
            }))
        };
        assert_eq!(pulse.due(now + 110 * MS), silent(100 * MS));
        // Also when it is sent more.
        pulse.beats(now + 120 * MS);
        assert_eq!((pulse.next(), pulse.due(now + 500 * MS)), (None, None));
        assert_eq!(pulse.answered(None, now + 600 * MS), None);
        assert_eq!(pulse.due(now + 610 * MS), Some(Beat::Ask));
        assert_eq!(pulse.due(now + 710 * MS), silent(100 * MS));
    }

    #[test]
    fn whoever_says_anything_is_not_silent() {
        let (mut pulse, now) = (Pulse::new(10 * MS, 100 * MS), Instant::now());
        pulse.beats(now);
        // It was not asked yet.
        pulse.lives(|| now + 5 * MS);
        assert_eq!(pulse.due(now + 10 * MS), Some(Beat::Ask));
        pulse.lives(|| now + 80 * MS);
        assert_eq!(pulse.due(now + 179 * MS), None);
        assert!(pulse.due(now + 180 * MS).is_some());
        pulse.lives(|| now + 300 * MS);
        assert_eq!(pulse.due(now + 399 * MS), None);
        assert!(pulse.due(now + 400 * MS).is_some());
    }

    #[test]
    fn what_a_poll_lasted_through_a_silence_is_told_if_it_goes_on() {
        let (mut pulse, now) = (Pulse::new(10 * MS, 100 * MS), Instant::now());
        let after_silence = |pulse: &mut Pulse, now: Instant| {
            pulse.beats(now);
            assert_eq!(pulse.due(now + 10 * MS), Some(Beat::Ask));
            assert!(matches!(pulse.due(now + 110 * MS), Some(Beat::Stalled(_))));
        };
        after_silence(&mut pulse, now);
        assert_eq!(pulse.answered(Some((1, 500 * MS)), now + 505 * MS), None);
        assert_eq!(pulse.due(now + 515 * MS), Some(Beat::Ask));
        let stall = pulse.answered(Some((1, 511 * MS)), now + 516 * MS);
        assert!(stall.is_some_and(|stall| stall.ticket == Some(1) && stall.new));
        pulse.rests();
        // A result may come before the answer does.
        after_silence(&mut pulse, now);
        pulse.lives(|| now + 504 * MS);
        assert_eq!(pulse.answered(Some((1, 500 * MS)), now + 505 * MS), None);
    }

    /// A worker that goes on in polls of random lengths and whose answers come late or not for a while, in steps of a
    /// millisecond. Whoever stalls is told in time, once, and nobody else.
    #[test]
    fn whatever_a_worker_does_its_stalls_are_told_in_time_and_once() {
        let (heartbeat, stalled_after, late) = (20 * MS, 50 * MS, 3 * MS);
        let mut random = Random::new(7);
        let mut seen = [0_u32; 3];
        for _ in 0..200 {
            let mut pulse = Pulse::new(heartbeat, stalled_after);
            let start = Instant::now();
            let (mut poll, mut began, mut ends) = (1, start, start);
            let (mut stopped_since, mut goes_on) = (None, start);
            let mut answer = None;
            let (mut told, mut told_silent, mut excused) = (0, false, false);
            for step in 0..2000 {
                let now = start + step * MS;
                pulse.beats(now);
                let stopped = now < goes_on;
                if !stopped {
                    stopped_since = None;
                    told_silent = false;
                    if random.odds(1, 150) {
                        goes_on = now + random.between(1, 120) as u32 * MS;
                        stopped_since = Some(now);
                    } else if now >= ends {
                        poll += 1;
                        (began, ends) = (now, now + random.between(1, 130) as u32 * MS);
                    }
                }
                if let Some(due) = answer
                    && now >= due
                    && now >= goes_on
                {
                    answer = None;
                    let stall = pulse.answered(Some((poll, now - began)), now);
                    if std::mem::take(&mut excused) {
                        assert_eq!(stall, None, "it was stopped");
                    } else if let Some(stall) = stall {
                        assert!(now - began >= stalled_after);
                        assert_eq!(stall.ticket, Some(poll));
                        assert_eq!(stall.new, told != poll, "told once");
                        told = poll;
                        seen[0] += 1;
                    }
                }
                match pulse.due(now) {
                    Some(Beat::Ask) => {
                        assert_eq!(answer, None, "asked again before it has answered");
                        answer = Some(now + random.between(0, 3) as u32 * MS);
                    }
                    Some(Beat::Stalled(stall)) => {
                        assert_eq!(stall.ticket, None);
                        assert!(stall.lasted >= stalled_after && !told_silent);
                        assert!(stopped_since.is_some());
                        (told_silent, excused) = (true, true);
                        seen[1] += 1;
                    }
                    None => {}
                }
                // Whoever answers at all, and twice.
                let stopped = stopped_since.is_some() || now < goes_on + 2 * (heartbeat + late);
                if !stopped && now - began > stalled_after + heartbeat + late {
                    assert_eq!(told, poll, "nobody was told");
                    seen[2] += 1;
                }
            }
        }
        assert!(seen.iter().all(|times| *times > 100), "{seen:?}");
    }
}
