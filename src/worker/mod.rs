//! A worker process: its event loop, its control thread, and what it runs.
//!
//! Belongs here: everything that happens in a worker and nowhere else. Does not belong here: anything of the host.
//! Invariant: what is polled on the event loop can hang or burn CPU without the control thread noticing.
//!
//! ```text
//!  event loop (one thread)                                control thread
//!  ┌────────────────────────────────────────────┐        ┌─────────────────────┐
//!  │ session: read ▶ queue ▶ poll once inline ──┼─ done ─▶│ Board: cancel,      │
//!  │    ▲                      │ pending         │◀────────│ revoke, exit, ping  │
//!  │    │                      ▼                 │        └─────────┬───────────┘
//!  │ data connection      spawn_local tasks      │                  │ control connection,
//!  │    ▲                      │ done            │                  │ signals, life line
//!  │    └── outbox: one write per turn ◀─────────│
//!  └────────────────────────────────────────────┘
//! ```

mod batch;
#[cfg(all(test, feature = "test-util"))]
mod batch_tests;
mod confine;
mod control;
mod ends;
mod entry;
mod executor;
mod greeting;
mod inherited;
mod lag;
mod limits;
mod measuring;
mod mourning;
mod outbox;
mod pace;
mod program;
mod serve;
mod session;
#[cfg(all(test, feature = "test-util"))]
mod session_tests;
#[cfg(unix)]
mod stdin;
mod tracked;
#[cfg(all(test, feature = "test-util"))]
mod turn_tests;
mod turnstile;
mod waiting;

pub(crate) use batch::{Admitted, Batch};
#[cfg(feature = "test-util")]
pub(crate) use control::answer;
pub(crate) use entry::{SENTINEL, enter};
pub(crate) use program::{Ended, InitFailure, LocalFuture, MakeKin, Program, TaskEntry};
pub(crate) use serve::{Origin, ServeEnd, serve};
