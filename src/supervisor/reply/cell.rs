//! The slot behind a task handle.
//!
//! Belongs here: one outcome, one waiter. Does not belong here: types.

use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::{supervisor::reply::Kept, task::keep};

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
        let old = keep(&mut state.waker, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        task::Wake,
        thread,
        time::Duration,
    };

    use super::*;

    /// A waker whose drop looks at what it waited for, as that of a task which owns the handle may.
    struct Looks(Arc<ReplyCell>, mpsc::Sender<bool>);

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.is_settled());
        }
    }

    #[test]
    fn a_waker_is_dropped_where_its_drop_may_come_back() {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let cell = Arc::new(ReplyCell::default());
            let first = Waker::from(Arc::new(Looks(Arc::clone(&cell), tell)));
            let pending = cell.poll(&mut Context::from_waker(&first)).is_pending();
            drop(first);
            assert!(
                pending
                    && cell
                        .poll(&mut Context::from_waker(Waker::noop()))
                        .is_pending()
            );
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(false));
    }
}
