//! The slots behind a map: outcomes that wait in input order, or in the order in which they came.
//!
//! Belongs here: collecting outcomes and waking the one consumer. Does not belong here: pulling input, types.
//! Invariant: an index is settled and taken at most once.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::{
    supervisor::reply::Kept,
    task::{IdMap, keep},
};

/// One outcome and the place of its input.
pub(crate) type Taken = (u64, Kept);

#[derive(Debug, Default)]
struct State {
    /// In the order of their coming; used when unordered.
    arrived: VecDeque<Taken>,
    /// By index; used when ordered.
    early: IdMap<u64, Kept>,
    /// The index the consumer of an ordered map takes next.
    next: u64,
    waker: Option<Waker>,
}

/// Where the outcomes of a map wait.
#[derive(Debug)]
pub(crate) struct Mapped {
    ordered: bool,
    state: Mutex<State>,
}

impl Mapped {
    pub(crate) fn new(ordered: bool) -> Self {
        Self {
            ordered,
            state: Mutex::new(State::default()),
        }
    }

    pub(super) fn settle(&self, index: u64, kept: Kept) {
        let waker = {
            let mut state = self.state.lock();
            if self.ordered {
                state.early.insert(index, kept);
                // Only the next in order is news to the consumer.
                if index == state.next {
                    state.waker.take()
                } else {
                    None
                }
            } else {
                state.arrived.push_back((index, kept));
                state.waker.take()
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_awaited(&self, index: u64) -> bool {
        let state = self.state.lock();
        state.waker.is_some() && (!self.ordered || index == state.next)
    }

    /// Takes every outcome that is next, or waits for one. `into` is empty.
    pub(crate) fn poll(&self, into: &mut VecDeque<Taken>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if self.ordered {
            while let Some(kept) = {
                let next = state.next;
                state.early.remove(&next)
            } {
                into.push_back((state.next, kept));
                state.next += 1;
            }
        } else {
            // Both buffers stay in use, one on each side.
            std::mem::swap(&mut state.arrived, into);
        }
        if !into.is_empty() {
            let old = state.waker.take();
            drop(state);
            drop(old);
            return Poll::Ready(());
        }
        let old = keep(&mut state.waker, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }
}
