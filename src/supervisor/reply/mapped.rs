//! The slots behind a map: outcomes that wait in input order, or in the order in which they came.
//!
//! Belongs here: collecting outcomes, and who the one consumer is. Does not belong here: pulling input, types.
//! Invariant: an index is settled and taken at most once.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::{
    supervisor::reply::{Kept, KeptRun},
    task::{IdMap, keep},
};

/// One outcome and the place of its input, or several outputs and that of the first.
#[derive(Debug)]
pub(crate) enum Taken {
    One(u64, Kept),
    Run(u64, KeptRun),
}

impl Taken {
    pub(crate) fn index(&self) -> u64 {
        match self {
            Self::One(index, _) | Self::Run(index, _) => *index,
        }
    }

    pub(crate) fn items(&self) -> u64 {
        match self {
            Self::One(..) => 1,
            Self::Run(_, run) => u64::from(run.items),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their coming; used when unordered.
    arrived: VecDeque<Taken>,
    /// By index; used when ordered.
    early: IdMap<u64, Taken>,
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

    /// Returns the consumer if it waits for this.
    pub(super) fn settle(&self, taken: Taken) -> Option<Waker> {
        let index = taken.index();
        let mut state = self.state.lock();
        if self.ordered {
            state.early.insert(index, taken);
            // Only the next in order is news to the consumer.
            if index == state.next {
                state.waker.take()
            } else {
                None
            }
        } else {
            state.arrived.push_back(taken);
            state.waker.take()
        }
    }

    pub(super) fn is_awaited(&self, index: u64, items: u32) -> bool {
        let state = self.state.lock();
        let here = index..index + u64::from(items);
        state.waker.is_some() && (!self.ordered || here.contains(&state.next))
    }

    /// Takes every outcome that is next, or waits for one. `into` is empty.
    pub(crate) fn poll(&self, into: &mut VecDeque<Taken>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if self.ordered {
            while let Some(taken) = {
                let next = state.next;
                state.early.remove(&next)
            } {
                state.next += taken.items();
                into.push_back(taken);
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
