//! Where a task's outcome goes: a handle, a map, an actor's caller, or nobody.
//!
//! Belongs here: the slots in which outcomes wait for whoever asked. Does not belong here: decoding typed values.
//! Invariant: a reply is settled at most once, because settling consumes it.

mod cell;
mod mapped;

use std::{fmt, sync::Arc, task::Waker};

use bytes::Bytes;

pub(crate) use cell::ReplyCell;
pub(crate) use mapped::{Mapped, Taken};

use crate::{
    error::{CodecError, CrashReport, Rejected, RemoteError, TimedOut},
    supervisor::budget::{Lease, ResultBudget},
    wire::{Payload, run},
};

/// How a task ended, its value still encoded. What is rare and large is elsewhere: each reply that waits has room for one.
#[derive(Debug, Clone)]
pub(crate) enum Settled {
    Done(Payload),
    Failed(Payload),
    Panicked(RemoteError),
    Cancelled { started: bool },
    TimedOut(Box<TimedOut>),
    WorkerLost(CrashReport),
    Rejected(Box<Rejected>),
    Codec(Box<CodecError>),
}

impl Settled {
    pub(crate) fn rejected(rejected: Rejected) -> Self {
        Self::Rejected(Box::new(rejected))
    }

    pub(crate) fn timed_out(timed_out: TimedOut) -> Self {
        Self::TimedOut(Box::new(timed_out))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Done(payload) | Self::Failed(payload) => payload.len(),
            Self::Panicked(error) => {
                let place = error.location().map_or(0, str::len);
                let trace = error.backtrace().map_or(0, str::len);
                let sources: usize = error.chain().map(str::len).sum();
                error.kind().len() + error.message().len() + sources + place + trace
            }
            // Shared by the tasks of one worker, but each may have had its own.
            Self::WorkerLost(report) => report.stderr_tail().len(),
            Self::Codec(error) => error.type_name().len() + error.message().len(),
            Self::Cancelled { .. } | Self::TimedOut(_) | Self::Rejected(_) => 0,
        }
    }
}

/// A waiting outcome and what it costs.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) settled: Settled,
    _lease: Lease,
}

/// Outputs of several tasks in a row that wait, and what they cost.
#[derive(Debug)]
pub(crate) struct KeptRun {
    pub(crate) values: Bytes,
    pub(crate) items: u32,
    _lease: Lease,
}

impl KeptRun {
    /// The encoded outputs.
    pub(crate) fn each(&self) -> impl Iterator<Item = &[u8]> {
        run::each(&self.values)
    }
}

/// The caller of `addr().send(..)`.
pub(crate) trait ActorReply: Send + Sync {
    /// Decodes and answers, on the pool's arbiter.
    fn settle(&self, settled: Settled);
}

/// Who gets an outcome.
pub(crate) enum Reply {
    Handle(Arc<ReplyCell>),
    /// Of so many items, from this one on.
    Map(Arc<Mapped>, u64, u32),
    Actor(Arc<dyn ActorReply>),
    Nobody,
}

impl Reply {
    /// Hands the outcome over. Returns who is to be woken for it. May run code of the caller's: never under the core's
    /// lock.
    #[must_use = "whoever waits is not woken otherwise"]
    pub(crate) fn settle(self, settled: Settled, budget: &Arc<ResultBudget>) -> Option<Waker> {
        match self {
            Self::Handle(cell) => cell.settle(Self::keep(settled, budget)),
            Self::Map(mapped, index, items) => {
                let mut waits = None;
                for nth in 1..u64::from(items) {
                    let kept = Self::keep(settled.clone(), budget);
                    waits = mapped.settle(Taken::One(index + nth, kept)).or(waits);
                }
                let kept = Self::keep(settled, budget);
                mapped.settle(Taken::One(index, kept)).or(waits)
            }
            Self::Actor(reply) => {
                reply.settle(settled);
                None
            }
            Self::Nobody => None,
        }
    }

    /// The same for the outputs of tasks that have ended well, one for each, as a [`Run`](crate::wire::Run) has them.
    #[must_use = "whoever waits is not woken otherwise"]
    pub(crate) fn settle_run(self, values: &Bytes, budget: &Arc<ResultBudget>) -> Option<Waker> {
        match self {
            Self::Map(mapped, index, items) if items > 1 => {
                let run = KeptRun {
                    values: values.clone(),
                    items,
                    _lease: budget.charge(values.len()),
                };
                mapped.settle(Taken::Run(index, run))
            }
            one => {
                let value = run::first(values).map_or(&[][..], |(value, _)| value);
                one.settle(Settled::Done(Payload::copied(value)), budget)
            }
        }
    }

    /// How many tasks it stands for.
    pub(crate) fn tasks(&self) -> u32 {
        match self {
            Self::Map(_, _, items) => *items,
            Self::Handle(_) | Self::Actor(_) | Self::Nobody => 1,
        }
    }

    fn keep(settled: Settled, budget: &Arc<ResultBudget>) -> Kept {
        Kept {
            _lease: budget.charge(settled.bytes()),
            settled,
        }
    }

    /// Whether somebody waits for this outcome right now.
    pub(crate) fn is_awaited(&self) -> bool {
        match self {
            Self::Handle(cell) => cell.is_awaited(),
            Self::Map(mapped, index, items) => mapped.is_awaited(*index, *items),
            // A request decodes and takes its result when it settles; without one there is nothing to keep.
            Self::Actor(_) | Self::Nobody => true,
        }
    }

    /// Tells the tasks of one map from others.
    pub(crate) fn map(&self) -> Option<*const Mapped> {
        match self {
            Self::Map(mapped, ..) => Some(Arc::as_ptr(mapped)),
            _ => None,
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handle(_) => "Handle",
            Self::Map(..) => "Map",
            Self::Actor(_) => "Actor",
            Self::Nobody => "Nobody",
        })
    }
}
