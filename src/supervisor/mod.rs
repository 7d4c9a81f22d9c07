//! The host's side: the pool's data plane, the actors that own its policy, and the processes.
//!
//! Belongs here: everything that happens in the host and nowhere else. Does not belong here: the public facade.
//! Invariant: a task is settled through [`core::PoolCore`] and nothing else, whatever panics or ends around it.
//!
//! ```text
//!  PoolSupervisor (actor) ── LaunchWorker, Tell ─▶ ProcessProxy (actor, one per slot) ── spawns ─▶ life (one per generation)
//!        ▲                                                                                         │ process, connections
//!        └── WorkerEnded, Unpark ──────────────────────────────────────────────────────────────────┤
//!                                                                                                  ▼
//!  Pool, handles, maps ── submit, cancel ──────────▶ PoolCore ◀── take, apply, lost ── session (one poll per wake-up)
//! ```

pub(crate) mod actor;
mod allowance;
mod budget;
mod bundles;
mod busy_poll;
mod capture;
mod child;
mod clock;
mod config;
mod confines;
mod control;
mod core;
pub(crate) mod descriptors;
mod handshake;
mod io;
mod jitter;
mod ladder;
mod launch;
mod life;
mod lines;
mod meter;
mod oom;
mod proxy;
mod pulse;
pub(crate) mod relay;
pub(crate) mod reply;
mod session;
mod shutdown;
mod slots;
mod spout;
mod staffing;
mod streams;

pub(crate) use self::core::{Numbers, PoolCore, SubmitTask};
pub use actor::PoolSupervisor;
pub(crate) use capture::{Captures, Redact};
pub(crate) use child::WorkerProcess;
pub(crate) use config::{Config, TaskTable};
pub(crate) use launch::{Launch, LaunchOrder, Launched, Processes};
pub(crate) use meter::TOLD as MEMORY_IS_TOLD;
pub(crate) use slots::SlotRecord;
