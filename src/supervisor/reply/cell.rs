//! The slot behind a task handle.
//!
//! Belongs here: one outcome, one waiter. Does not belong here: types.

use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::supervisor::reply::Kept;

/// Either somebody waits or the outcome does: it has room for one of them, for each task that waits has one of these.
#[derive(Debug, Default)]
enum State {
    #[default]
    Pending,
    Awaited(Waker),
    Kept(Kept),
    Taken,
    /// Nobody will ever take it, so it costs nothing to have it.
    Detached,
    DetachedAndSettled,
}

/// Where the outcome of one task waits for its handle.
#[derive(Debug, Default)]
pub(crate) struct ReplyCell {
    state: Mutex<State>,
}

impl ReplyCell {
    /// Returns who waits for it.
    pub(super) fn settle(&self, kept: Kept) -> Option<Waker> {
        let before = {
            let mut state = self.state.lock();
            let next = match *state {
                State::Detached | State::DetachedAndSettled => State::DetachedAndSettled,
                State::Pending | State::Awaited(_) | State::Kept(_) | State::Taken => {
                    State::Kept(kept)
                }
            };
            std::mem::replace(&mut *state, next)
        };
        match before {
            State::Awaited(waker) => Some(waker),
            _ => None,
        }
    }

    pub(super) fn is_awaited(&self) -> bool {
        let state = self.state.lock();
        matches!(
            *state,
            State::Awaited(_) | State::Detached | State::DetachedAndSettled
        )
    }

    /// The handle lets the task run on without it.
    pub(crate) fn detach(&self) {
        let before = {
            let mut state = self.state.lock();
            let settled = matches!(*state, State::Kept(_) | State::Taken);
            let next = if settled {
                State::DetachedAndSettled
            } else {
                State::Detached
            };
            std::mem::replace(&mut *state, next)
        };
        drop(before);
    }

    pub(crate) fn is_settled(&self) -> bool {
        let state = self.state.lock();
        matches!(
            *state,
            State::Kept(_) | State::Taken | State::DetachedAndSettled
        )
    }

    /// Takes the outcome, or waits for it.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Kept> {
        let mut state = self.state.lock();
        let before = match &mut *state {
            State::Kept(_) => std::mem::replace(&mut *state, State::Taken),
            State::Awaited(waker) if waker.will_wake(cx.waker()) => return Poll::Pending,
            State::Pending | State::Awaited(_) => {
                std::mem::replace(&mut *state, State::Awaited(cx.waker().clone()))
            }
            State::Taken | State::Detached | State::DetachedAndSettled => return Poll::Pending,
        };
        drop(state);
        match before {
            State::Kept(kept) => Poll::Ready(kept),
            // Dropped here, where its drop may come back.
            _ => Poll::Pending,
        }
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
