//! What can go wrong, in the words a caller can act on.
//!
//! | error | did the task run? | what to do |
//! |---|---|---|
//! | [`TaskError::Failed`] | yes | it is the task's own: handle it |
//! | [`TaskError::Panicked`] | yes, in part | mend the task at [`RemoteError::location`]; the worker goes on |
//! | [`TaskError::Cancelled`] | `started` says so | submit it again if it is still wanted and may run twice or never ran |
//! | [`TaskError::TimedOut`] | [`TimedOut::never_ran`] says so | see which limit it names: raise it, or submit again later |
//! | [`TaskError::WorkerLost`] | [`CrashReport::started`] says so | with 1 of [`suspects`](CrashReport::suspects) mend the task; else submit it again if it may run twice or never ran |
//! | [`Rejected::QueueFull`] | no | submit later, or let `when_full` wait |
//! | [`Rejected::Unavailable`] | no | submit again after `retry_after`; see why the workers end |
//! | [`Rejected::TooLarge`] | no | pass a path instead of the bytes, or raise `max_frame_bytes` |
//! | [`Rejected::Closed`] | no | submit it to a pool that is open |
//! | [`Rejected::UnknownTask`] | no | register it in the `WorkerSpec` |
//! | [`TaskError::Codec`] | [`TaskError::never_ran`] says so | mend the type the message names |
//! | [`StartError`], [`WorkerStartError`] | there was none | mend the setting, the program or the place it names |
//!
//! Belongs here: errors as plain values, their texts, and what they mean for submitting again.
//! Does not belong here: deciding that one happened; logging it; turning it into an HTTP response.
//! Invariant: every text says what went wrong, with which value, and what to do, in lower case and without a full stop.

pub(crate) mod capture;
mod chain;
mod codec;
#[cfg(test)]
mod codec_tests;
mod crash;
mod crash_text;
mod near;
mod pool;
mod rejected;
mod remote;
pub(crate) mod signal;
mod size;
mod task;
mod text;
mod timed_out;

#[cfg(test)]
mod tests;

pub(crate) use codec::cut;
pub use codec::{CodecError, CodecSide, CodecStep, CodecValue};
pub(crate) use crash::{Crash, Vitals};
pub use crash::{CrashReport, LossCause, RunningTask, Started};
pub(crate) use near::near_names;
pub use pool::{ConfigError, StartError, WorkerStartError};
pub use rejected::Rejected;
pub use remote::RemoteError;
pub(crate) use size::Size;
pub use task::TaskError;
pub use timed_out::{TimedOut, TimeoutEnd, TimeoutStage};
