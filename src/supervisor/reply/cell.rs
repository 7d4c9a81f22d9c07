//! The slot behind a task handle.
//!
//! Belongs here: one outcome, one waiter. Does not belong here: types.

use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::supervisor::reply::Kept;

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    settled: bool,
    waker: Option<Waker>,
    /// Nobody will ever take it, so it costs nothing to have it.
    detached: bool,
}

/// Where the outcome of one task waits for its handle.
#[derive(Debug, Default)]
pub(crate) struct ReplyCell {
    state: Mutex<State>,
}

impl ReplyCell {
    pub(super) fn settle(&self, kept: Kept) {
        let waker = {
            let mut state = self.state.lock();
            state.settled = true;
            if state.detached {
                return;
            }
            state.kept = Some(kept);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_awaited(&self) -> bool {
        let state = self.state.lock();
        state.waker.is_some() || state.detached
    }

    /// The handle lets the task run on without it.
    pub(crate) fn detach(&self) {
        let kept = {
            let mut state = self.state.lock();
            state.detached = true;
            state.kept.take()
        };
        drop(kept);
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.state.lock().settled
    }

    /// Takes the outcome, or waits for it.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Kept> {
        let mut state = self.state.lock();
        if let Some(kept) = state.kept.take() {
            return Poll::Ready(kept);
        }
        if !state
            .waker
            .as_ref()
            .is_some_and(|old| old.will_wake(cx.waker()))
        {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
