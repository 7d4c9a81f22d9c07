//! Keeping the time for tasks with limits.
//!
//! Belongs here: sleeping until the next of them is due. Does not belong here: which is, and what follows.
//! Invariant: one timer for a pool, unarmed when nothing is due; it keeps nothing alive.

use std::{
    future::{Future, poll_fn},
    sync::{Arc, Weak},
    task::Poll,
};

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::{error::capture, supervisor::PoolCore};

/// Somebody who keeps the time of a pool, until this is dropped.
#[derive(Debug)]
pub(super) struct Clock(AbortHandle);

impl Clock {
    /// On the current arbiter.
    pub(super) fn start(core: &Arc<PoolCore>) -> Self {
        let core = Arc::downgrade(core);
        Self(tokio::task::spawn_local(keep_time(Forgets(core))).abort_handle())
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A waker that stays behind would keep its runtime, and that its descriptors, as long as anybody holds the pool.
struct Forgets(Weak<PoolCore>);

impl Drop for Forgets {
    fn drop(&mut self) {
        if let Some(core) = self.0.upgrade() {
            core.forget_alarm();
        }
    }
}

async fn keep_time(core: Forgets) {
    let mut sleep = Box::pin(sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let Some(core) = core.0.upgrade() else {
                return Poll::Ready(());
            };
            // Replies are somebody else's code; a panic in here must not stop the clock.
            let due = capture::contained(|| core.expire(cx.waker())).flatten();
            drop(core);
            let Some(due) = due else {
                return Poll::Pending;
            };
            sleep.as_mut().reset(due.into());
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}
