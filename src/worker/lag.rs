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

/// How often the host is told how late it was.
const WINDOW: Duration = Duration::from_millis(100);

/// How much of a window counts, from its beginning on.
const SAMPLES: usize = 128;

/// What one worker finds of its loop.
#[derive(Debug)]
pub(super) struct Lag {
    timer: Pin<Box<Sleep>>,
    /// When it is to fire.
    due: Option<Instant>,
    /// Since when these are kept: one for each task that has started, and for each time that the loop was asked.
    since: Instant,
    samples: Vec<Duration>,
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
            samples: Vec::with_capacity(SAMPLES),
            rested: None,
        }
    }

    /// A task could have been polled before, for so long.
    pub(super) fn waited(&mut self, time: Duration) {
        if self.samples.len() < SAMPLES {
            self.samples.push(time);
        }
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
            self.samples.clear();
        }
        let due = self.due.unwrap_or_else(|| self.arm(now));
        if self.timer.as_mut().poll(cx).is_ready() {
            self.waited(now.saturating_duration_since(due));
            self.arm(now);
            // A timer that was set anew has to be asked once.
            if self.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        (now.saturating_duration_since(self.since) >= WINDOW).then(|| {
            self.since = now;
            self.median()
        })
    }

    /// The one in the middle: the longest poll of a mix is no measure of how busy the loop is.
    fn median(&mut self) -> Duration {
        self.samples.sort_unstable();
        let median = self.samples.get(self.samples.len() / 2).copied();
        self.samples.clear();
        median.unwrap_or_default()
    }

    fn arm(&mut self, now: Instant) -> Instant {
        let due = now + INTERVAL;
        self.timer.as_mut().reset(due.into());
        self.due = Some(due);
        due
    }
}
