//! How long polls take, and what a worker says of it.
//!
//! Belongs here: when a name is loud, quick or slow, and when what a poll has left is written. Does not belong here: polling.

use std::time::{Duration, Instant};

use crate::{
    wire::{SLOW_POLLS, WorkerFrame},
    worker::executor::Executor,
};

/// Starts of names whose polls take longer are announced before the first poll.
const LOUD: Duration = Duration::from_micros(200);

/// A poll that takes as long is told to the host: the worker's other tasks waited for it.
const SLOW: Duration = Duration::from_millis(100);

/// So many polls may share a reading of the clock,
pub(super) const GROUP: u32 = 8;
/// if as many took no longer than this.
const GROUP_TIME: Duration = Duration::from_micros(10);

impl Executor {
    /// Makes a name quiet, as quick tasks of it would.
    #[cfg(all(test, feature = "test-util"))]
    pub(super) fn hush(&self, name: u16) {
        if let Some(measure) = self.names.borrow_mut().get_mut(usize::from(name)) {
            *measure = crate::worker::pace::Measure {
                poll: Some(Duration::ZERO),
                quiet: Some(0),
                slow: 0,
                pace: crate::worker::pace::Pace::default(),
            };
        }
    }

    /// Whether the host must hear of the start before the first poll.
    pub(crate) fn is_loud(&self, name: u16) -> bool {
        !self
            .names
            .borrow()
            .get(usize::from(name))
            .and_then(|measure| measure.quiet)
            .is_some_and(|mark| self.out.is_written(mark))
    }

    /// Whether tasks of a name are so quick that several may share a reading of the clock.
    pub(super) fn is_quick(&self, name: u16) -> bool {
        let names = self.names.borrow();
        let poll = names.get(usize::from(name)).and_then(|name| name.poll);
        poll.is_some_and(|poll| poll <= GROUP_TIME)
    }

    /// The same as [`after_poll`](Self::after_poll) for several that share a reading of the clock. Returns the present time.
    pub(super) fn after_polls(
        &self,
        name: u16,
        began: Instant,
        polls: u32,
        ended: bool,
    ) -> Instant {
        let now = Instant::now();
        let ended = ended.then(|| now.saturating_duration_since(began));
        self.after(name, (began, now), polls, ended);
        self.now.get()
    }

    /// Takes note of a poll and writes what must not wait for the next one. `ended` is how long the task took, if it was its
    /// last.
    pub(super) fn after_poll(
        &self,
        name: u16,
        began: Instant,
        now: Instant,
        ended: Option<Duration>,
    ) {
        self.after(name, (began, now), 1, ended);
    }

    fn after(
        &self,
        name: u16,
        (began, now): (Instant, Instant),
        polls: u32,
        ended: Option<Duration>,
    ) {
        let took = now - began;
        if let Some(measure) = self.names.borrow_mut().get_mut(usize::from(name)) {
            // Of several, none took longer than all.
            let poll = match measure.poll {
                Some(longest) if took < longest => longest - (longest - took) / 8,
                _ => took,
            };
            measure.poll = Some(poll);
            let quiet = poll <= LOUD;
            // Louder at once. Quieter at the end of a task only: so the host can tell a worker that says so too often.
            if quiet != measure.quiet.is_some() && (ended.is_some() || !quiet) {
                self.out.frame(&WorkerFrame::Quiet { name, quiet });
                measure.quiet = quiet.then(|| self.out.mark());
            }
            // Of several, none need have been slow.
            if took >= SLOW && polls == 1 && measure.slow < SLOW_POLLS {
                measure.slow += 1;
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.out.frame(&WorkerFrame::SlowPoll {
                    name,
                    micros,
                    ended: ended.is_some(),
                });
            }
            let pace = &mut measure.pace;
            if let Some(nanos) = ended.and_then(|took| pace.ended(took / polls.max(1))) {
                self.out.frame(&WorkerFrame::Pace { name, nanos });
            }
        }
        self.turnstile.held(took);
        self.now.set(now);
        if self.out.is_due(began, now, took) {
            self.out.flush_now();
            self.flushed();
            // Writing, and the failure hook, are no part of the next poll.
            self.now.set(Instant::now());
        }
        if !self.inline.get() && (ended.is_some() || !self.out.is_empty()) {
            // To start another one, or to write.
            self.out.wake_session();
        }
    }
}
