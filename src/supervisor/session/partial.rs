//! A frame that has begun and is not complete.
//!
//! Belongs here: how long that may be. Does not belong here: reading.

use std::time::{Duration, Instant};

use crate::supervisor::session::Running;

/// How long a frame may take from its first byte to its last.
const FRAME_TIME: Duration = Duration::from_secs(10);

/// How long a worker may take to say what keeps it from completing a frame.
const EXCUSE_TIME: Duration = Duration::from_secs(1);

/// A frame that has begun and is not complete.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) since: Instant,
    /// When the worker was asked what its loop does.
    pub(super) asked: Option<Instant>,
}

impl Partial {
    pub(super) fn due(&self) -> Instant {
        self.asked
            .map_or(self.since + FRAME_TIME, |asked| asked + EXCUSE_TIME)
    }

    /// The loop computes, and can write nothing meanwhile.
    pub(super) fn excuse(&mut self, now: Instant) {
        if self.asked.take().is_some() {
            self.since = now;
        }
    }
}

impl Running<'_> {
    /// Asks what keeps a worker from completing a frame, and ends one that has no excuse.
    pub(super) fn mind_the_frame(&mut self, now: Instant, is_killed: bool) {
        if let Some(partial) = &mut self.partial
            && now >= partial.due()
            && !is_killed
        {
            if partial.asked.is_some() {
                self.violated(format!(
                    "a frame that was not complete after {FRAME_TIME:?}"
                ));
            } else {
                // An honest loop writes the rest when a task lets it.
                partial.asked = Some(now);
                self.ask();
            }
        }
    }
}
