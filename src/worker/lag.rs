//! How late a worker's event loop is, for a host that sends it more or less accordingly.
//!
//! Belongs here: measuring. Does not belong here: what follows from it.
//! Invariant: a worker without tasks is woken by nothing.

use std::{
    future::Future,
    pin::Pin,
    task::Context,
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

/// How often the loop is asked whether it is in time.
const INTERVAL: Duration = Duration::from_millis(10);

/// How often the host is told how late it was at least.
const WINDOW: Duration = Duration::from_millis(100);

/// Of how much that is told, unless it takes [`LONGEST`].
const ENOUGH: u32 = 8;

/// After so long it is told of whatever was found.
const LONGEST: Duration = Duration::from_millis(500);

/// What one worker finds of its loop.
#[derive(Debug)]
pub(super) struct Lag {
    timer: Pin<Box<Sleep>>,
    /// When it is to fire.
    due: Option<Instant>,
    /// Since when this is kept: of each task that has started, and of each time that the loop was asked.
    since: Instant,
    samples: u32,
    least: Option<Duration>,
    /// Since when there is nothing to be late for.
    rested: Option<Instant>,
}

impl Lag {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            timer: Box::pin(sleep_until(now.into())),
            due: None,
            since: now,
            samples: 0,
            least: None,
            rested: None,
        }
    }

    /// Something could have been polled since a moment, and is now.
    pub(super) fn waited(&mut self, from: Instant, now: Instant) {
        let time = now.saturating_duration_since(from);
        if from < self.since && time < WINDOW {
            // How late it was may be of what the host has changed since.
            return;
        }
        self.samples = self.samples.saturating_add(1);
        self.least = Some(self.least.map_or(time, |least| least.min(time)));
    }

    /// Looks whether the loop is in time, as long as there is something to be late for. Returns what is to be told.
    pub(super) fn poll(&mut self, works: bool, cx: &mut Context<'_>) -> Option<Duration> {
        if !works {
            if self.due.take().is_some() {
                // Left as it is it would wake an idle worker.
                self.timer.set(sleep_until(Instant::now().into()));
                self.rested = Some(Instant::now());
            }
            return None;
        }
        let now = Instant::now();
        if self
            .rested
            .take()
            .is_some_and(|since| now.saturating_duration_since(since) >= WINDOW)
        {
            // What was before that is of no interest any more. Shorter ones are between two tasks.
            self.since = now;
            (self.samples, self.least) = (0, None);
        }
        let due = self.due.unwrap_or_else(|| self.arm(now));
        if self.timer.as_mut().poll(cx).is_ready() {
            self.waited(due, now);
            self.arm(now);
            // A timer that was set anew has to be asked once.
            if self.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        let lasted = now.saturating_duration_since(self.since);
        let whole = lasted >= WINDOW && self.samples >= ENOUGH || lasted >= LONGEST;
        whole.then(|| {
            self.since = now;
            self.samples = 0;
            self.least.take().unwrap_or_default()
        })
    }

    fn arm(&mut self, now: Instant) -> Instant {
        let due = now + INTERVAL;
        self.timer.as_mut().reset(due.into());
        self.due = Some(due);
        due
    }
}
