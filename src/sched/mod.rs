//! The data plane as plain values: who waits, who is where, who may be sent what, who settles when.
//!
//! Belongs here: decisions that need no socket, process, actor or clock (time is a parameter).
//! Does not belong here: encoding, replies' meaning, waking anybody.
//! Invariant: every task that [`Ledger::accept`] took leaves the ledger through exactly one returned reply.
//!
//! ```text
//!              accept            assign            started
//!   (caller) ────────▶ Queued ──────────▶ Sent ────────────▶ Started
//!                       │ ▲ ▲              │ │                │  │ finished, cancelled: settled
//!      cancel: settled ─┘ │ └──────────────┘ └─▶ settled      │  │ lost, not idempotent or all spent: settled
//!                         │   revoked or lost,   (cancelled)  │  │
//!                         │   no attempt spent                │  │
//!                         ├───────────────────────────────────┘  │ lost, idempotent: others' doing, or the first time in doubt
//!        its time is here │                                      │
//!                       Later ◀──────────────────────────────────┤ failed, idempotent: the error may go away; or lost the
//!                         │                                      │ first time that there was no memory for its worker
//!                         └─ cancel: settled                     │
//!                                          assign, alone         │
//!                      Suspect ◀─────────────────────────────────┘ lost, idempotent: its doing, perhaps
//!                         │  └────────▶ Sent, in quarantine: as above, but for one that kills again: settled (poisoned)
//!                         └─ cancel: settled
//! ```
//! A task in flight whose caller has gone is *abandoned*: its reply has left, its credit stays taken until the worker
//! reports the end or dies.

mod adaptive;
mod credits;
mod ledger;
#[cfg(test)]
pub(crate) mod model;
mod queue;
mod restart;
mod retry;
mod rotation;
mod router;
mod routing;
#[cfg(test)]
mod tests;

pub(crate) use adaptive::Adaptive;
pub(crate) use ledger::{
    Burden, Cancelled, Death, Dispatch, Divide, Doing, Expired, Finished, Full, IN_ONE_PIECE,
    Ledger, Limits, NewTask, Over, ReadAhead, Seat, Ticket, Verdict, Violation, Work,
};
pub(crate) use restart::{Decision, RestartPolicy, RestartRules};
pub(crate) use retry::{RetryRules, Spent};
pub(crate) use rotation::{Rotation, changing_at_once};
pub(crate) use router::Replaced;
pub(crate) use routing::routes;
pub use routing::{LeastLoaded, RoundRobin, Routing, TaskMeta, WorkerLoad};
