//! The restart policy, asked by slots that start, serve, crash and are ended on purpose at random times.

use std::time::{Duration, Instant};

use super::Run;
use crate::{
    sched::{Decision, RestartPolicy, RestartRules},
    task::Slot,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Starts when this time has come, if it may.
    Due(Instant),
    /// `held` says that the circuit was open when it began.
    Starting {
        held: bool,
    },
    Ready,
    Parked,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Passes(Duration),
    Begins(usize),
    Ready(usize),
    Settled(usize),
    Crashes(usize),
    /// Ended because somebody asked for it, or for a task's sake.
    Ended(usize),
    /// One that leaves this slot, which has another, crashes.
    Left(usize),
    /// The last one that leaves a slot that is to have none crashes.
    Dismissed,
    /// The ready one of this slot crashes while its replacement waits.
    Bereft(usize),
    /// The replacement of a ready one crashes.
    Replaces(usize),
    Resize(usize),
    /// The pool escalates and begins anew.
    Restart,
}

/// The reference: all exits ever, and a list of slots.
struct Slots {
    policy: RestartPolicy,
    rules: RestartRules,
    now: Instant,
    phases: Vec<Phase>,
    in_a_row: Vec<u32>,
    /// Which have ever started a worker.
    tried: Vec<bool>,
    exits: Vec<Instant>,
    /// The slot that probes while the circuit is open, and when its attempt is due.
    open: Option<(usize, Instant)>,
    opened: usize,
}

impl Slots {
    fn new(run: &mut Run<Event>, now: Instant) -> Self {
        let random = &mut run.random;
        let slots = random.between(1, 6);
        let budget = random.between(0, 8);
        let min = Duration::from_millis(random.between(1, 200) as u64);
        let rules = RestartRules {
            budget: random.odds(9, 10).then(|| u32::try_from(budget).unwrap()),
            period: Duration::from_millis(random.between(1, 20_000) as u64),
            backoff_min: min,
            backoff_max: min * u32::try_from(random.between(1, 300)).unwrap(),
        };
        Self {
            policy: RestartPolicy::new(rules, slots),
            rules,
            now,
            phases: vec![Phase::Due(now); slots],
            in_a_row: vec![0; slots],
            tried: vec![false; slots],
            exits: Vec::new(),
            open: None,
            opened: 0,
        }
    }

    fn event(&self, run: &mut Run<Event>, crashing: usize) -> Event {
        let random = &mut run.random;
        if random.odds(1, 5) {
            return Event::Passes(Duration::from_millis(random.below(2000) as u64));
        }
        if random.odds(1, 50) {
            // To the very end of what the budget looks back at.
            return Event::Passes(self.rules.period);
        }
        if random.odds(1, 60) {
            return Event::Resize(random.between(1, 8));
        }
        if random.odds(1, 100) {
            return Event::Restart;
        }
        if random.odds(1, 100) {
            return Event::Dismissed;
        }
        let slot = random.below(self.phases.len());
        match self.phases[slot] {
            Phase::Due(at) if at <= self.now => Event::Begins(slot),
            Phase::Due(at) => Event::Passes(at - self.now),
            Phase::Starting { .. } if random.odds(crashing, 10) => Event::Crashes(slot),
            Phase::Starting { .. } => Event::Ready(slot),
            Phase::Ready => match random.below(20) {
                0..=1 => Event::Ended(slot),
                2 if random.odds(1, 3) => Event::Left(slot),
                2 if random.odds(1, 2) => Event::Bereft(slot),
                2 => Event::Replaces(slot),
                kind if kind < 3 + crashing => Event::Crashes(slot),
                _ => Event::Settled(slot),
            },
            Phase::Parked => Event::Passes(Duration::ZERO),
        }
    }

    fn apply(&mut self, event: Event) {
        let name = |slot| Slot::new(u32::try_from(slot).unwrap());
        match event {
            Event::Passes(time) => self.now += time,
            Event::Begins(slot) => {
                let may = self.open.is_none_or(|(prober, _)| prober == slot);
                assert_eq!(self.policy.may_start(name(slot)), may);
                self.tried[slot] |= may;
                self.phases[slot] = if may {
                    Phase::Starting {
                        held: self.open.is_some(),
                    }
                } else {
                    Phase::Parked
                };
            }
            Event::Ready(slot) => {
                self.phases[slot] = Phase::Ready;
                let back = self.policy.ready();
                let expected = self.open.take().map(|_| {
                    self.exits.clear();
                    let mut parked = Vec::new();
                    for (index, phase) in self.phases.iter_mut().enumerate() {
                        if *phase == Phase::Parked {
                            *phase = Phase::Due(self.now);
                            parked.push(name(index));
                        }
                        if let Phase::Starting { held } = phase {
                            *held = false;
                        }
                    }
                    parked
                });
                assert_eq!(back, expected, "every parked slot comes back, once");
            }
            Event::Settled(slot) => {
                self.in_a_row[slot] = 0;
                self.policy.settled(name(slot));
            }
            Event::Ended(slot) => {
                self.phases[slot] = Phase::Due(self.now);
            }
            Event::Crashes(slot) => self.crash(slot, name(slot), false),
            Event::Replaces(slot) => self.crash(slot, name(slot), true),
            Event::Left(slot) => {
                self.exits.push(self.now);
                let decision = self.policy.left(name(slot), true, true, self.now);
                assert_eq!(decision, Decision::Restart(Duration::ZERO));
            }
            Event::Dismissed => {
                self.exits.push(self.now);
                let none = name(self.phases.len());
                let ready = self.is_ready();
                let decision = self.policy.left(none, false, ready, self.now);
                assert_eq!(decision, Decision::Wait);
            }
            Event::Bereft(slot) => {
                self.exits.push(self.now);
                self.phases[slot] = Phase::Due(self.now);
                let ready = self.is_ready();
                let expected = if self.is_spent() && !ready {
                    let min = self.rules.backoff_min;
                    self.opened += 1;
                    self.open = Some((slot, self.now + min));
                    Decision::Open(min)
                } else {
                    Decision::Restart(Duration::ZERO)
                };
                let decision = self.policy.left(name(slot), true, ready, self.now);
                assert_eq!(decision, expected);
            }
            Event::Restart => {
                self.policy.restart();
                self.exits.clear();
                self.open = None;
                let known = |slot: usize| match self.in_a_row[slot] {
                    0 => Duration::ZERO,
                    in_a_row => delay(&self.rules, in_a_row + 1),
                };
                let tried = (0..self.tried.len()).filter(|&slot| self.tried[slot]);
                let least = tried.map(known).min().unwrap_or_default();
                for (slot, phase) in self.phases.iter_mut().enumerate() {
                    let delay = if self.tried[slot] { known(slot) } else { least };
                    assert_eq!(self.policy.first_delay(name(slot)), delay);
                    *phase = Phase::Due(self.now + delay);
                }
            }
            Event::Resize(slots) => {
                self.phases.resize(slots, Phase::Due(self.now));
                self.in_a_row.resize(slots, 0);
                self.tried.resize(slots, false);
                let mut expected = None;
                if let Some((prober, due)) = self.open
                    && prober >= slots
                {
                    let parked = self.phases.iter().position(|phase| *phase == Phase::Parked);
                    self.open = Some((parked.unwrap_or(0), due));
                    if let Some(slot) = parked {
                        self.open = Some((slot, self.now));
                        self.phases[slot] = Phase::Due(self.now);
                        expected = Some(name(slot));
                    }
                    if let Phase::Starting { held } = &mut self.phases[parked.unwrap_or(0)] {
                        *held = true;
                    }
                }
                assert_eq!(self.policy.resize(slots, self.now), expected);
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.phases.contains(&Phase::Ready)
    }

    fn is_spent(&self) -> bool {
        let recent = |at: &&Instant| self.now - **at <= self.rules.period;
        let recent = self.exits.iter().filter(recent).count();
        (self.rules.budget).is_some_and(|budget| recent > budget as usize)
    }

    fn crash(&mut self, slot: usize, name: Slot, served: bool) {
        self.in_a_row[slot] += 1;
        self.exits.push(self.now);
        if !served {
            self.phases[slot] = Phase::Parked;
        }
        let ready = self.is_ready();
        let decision = self.policy.exited(name, ready, self.now);
        let min = self.rules.backoff_min;
        let delay = delay(&self.rules, self.in_a_row[slot]);
        let spent = self.is_spent();
        let expected = match self.open {
            Some((prober, _)) if prober == slot => Decision::Restart(delay.max(min)),
            Some(_) => Decision::Wait,
            None if spent && !ready => Decision::Open(delay.max(min)),
            None => Decision::Restart(delay),
        };
        assert_eq!(decision, expected);
        if let Decision::Restart(delay) | Decision::Open(delay) = decision {
            let due = self.now + delay;
            if !served {
                self.phases[slot] = Phase::Due(due);
            }
            if self.open.is_some() || matches!(decision, Decision::Open(_)) {
                self.opened += usize::from(self.open.is_none());
                self.open = Some((slot, due));
            }
        }
    }

    fn check(&self) {
        for (index, phase) in self.phases.iter().enumerate() {
            let slot = Slot::new(u32::try_from(index).unwrap());
            assert_eq!(self.policy.is_parked(slot), *phase == Phase::Parked);
        }
        assert_eq!(self.policy.retry_at(), self.open.map(|(_, due)| due));
        let held = Phase::Starting { held: true };
        let starting = self.phases.iter().filter(|phase| **phase == held).count();
        assert!(
            starting <= 1,
            "{starting} slots start while the circuit is open"
        );
        if self.open.is_some() {
            assert!(
                !self.phases.contains(&Phase::Ready),
                "open beside a ready worker"
            );
        } else {
            assert!(
                !self.phases.contains(&Phase::Parked),
                "nobody wakes a parked slot"
            );
        }
        let bound = self.rules.budget.map_or(0, |budget| budget as usize + 1);
        assert!(self.policy.remembered() <= bound);
    }
}

/// The slow way: one doubling after the other.
fn delay(rules: &RestartRules, in_a_row: u32) -> Duration {
    let mut delay = match in_a_row {
        1 => Duration::ZERO,
        _ => rules.backoff_min,
    };
    for _ in 2..in_a_row {
        delay = (delay * 2).min(rules.backoff_max);
    }
    delay
}

#[test]
fn restarts_follow_the_rules_whatever_the_slots_do() {
    let mut run = Run::new();
    let mut now = Instant::now();
    let mut opened = 0;
    while run.goes_on() {
        let crashing = run.random.between(0, 10);
        let mut slots = Slots::new(&mut run, now);
        for _ in 0..run.random.between(10, 1000) {
            let event = slots.event(&mut run, crashing);
            run.note(event);
            slots.apply(event);
            slots.check();
        }
        now = slots.now;
        opened += slots.opened;
    }
    assert!(opened > 0, "no circuit opened: these events test nothing");
}
