//! The data plane as plain values: who waits, who is where, who may be sent what, who settles when.
//!
//! Belongs here: decisions that need no socket, process, actor or clock (time is a parameter).
//! Does not belong here: encoding, replies' meaning, waking anybody.
//! Invariant: every task that [`Ledger::accept`] took leaves the ledger through exactly one returned reply.
//!
//! ```text
//!              accept            assign            started
//!   (caller) ────────▶ Queued ──────────▶ Sent ────────────▶ Started
//!                        ▲  │               │ │                │ │ │
//!                        │  │ cancel        │ │ finished       │ │ │ finished
//!                        │  ▼               │ ▼                │ │ ▼
//!                        │ settled          │ settled          │ │ settled
//!                        │                  │                  │ │
//!                        ├──────────────────┘ revoked, or the  │ │
//!                        │                    worker was lost  │ │
//!                        │                    (no attempt spent)│ │
//!                        ├─────────────────────────────────────┘ │ lost, idempotent, attempts left: at once the first time
//!                        │ its time has come                     │
//!                      Later ◀───────────────────────────────────┤ lost once more, or failed with an error that may go away
//!                        │ cancel                                ▼
//!                        └──▶ settled (it has run)             settled (lost, failed)
//! ```
//! A task in flight whose caller has gone is *abandoned*: its reply has left, its credit stays taken until the worker
//! reports the end or dies.

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

pub(crate) use ledger::{
    Cancelled, Dispatch, Expired, Finished, Full, Ledger, Limits, NewTask, Over, Seat, Ticket,
    Verdict, Violation,
};
pub(crate) use restart::{Decision, RestartPolicy, RestartRules};
pub(crate) use retry::{RetryRules, Spent};
pub(crate) use rotation::{Rotation, changing_at_once};
pub(crate) use router::Replaced;
pub(crate) use routing::routes;
pub use routing::{LeastLoaded, RoundRobin, Routing, TaskMeta, WorkerLoad};
