//! What a submitted task can come to other than its output.
//!
//! Belongs here: the one enum every caller matches on, and what its variants mean for submitting again.
//! Does not belong here: the contents of the variants, which have a file each.
//! Invariant: `never_ran` is true only where it is certain; a caller may repeat a payment on its word.

use std::error::Error as StdError;
use std::fmt;

use super::{CodecError, CrashReport, Rejected, RemoteError, Started, TimedOut};

/// Why a task came to no output.
///
/// `Failed` is the task's own error, typed; the rest is what the pool has to say. [`never_ran`](Self::never_ran) tells
/// whether it is safe to submit the task again, [`is_transient`](Self::is_transient) whether that has a chance.
///
/// # Examples
///
/// ```
/// use actix_multiprocess::TaskError;
///
/// fn again<E>(error: &TaskError<E>, may_run_twice: bool) -> bool {
///     error.is_transient() && (may_run_twice || error.never_ran())
/// }
///
/// assert!(!again(&TaskError::<()>::Cancelled { started: true }, true));
/// ```
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum TaskError<E> {
    /// The task returned this error itself.
    Failed(E),
    /// The task panicked and was unwound; its worker goes on.
    Panicked(RemoteError),
    /// The task was cancelled: by its caller, by `stop`, or at the end of a drain.
    Cancelled {
        /// Whether it had started, or may have.
        started: bool,
    },
    /// The task was over one of its time limits.
    TimedOut(TimedOut),
    /// The worker that had the task ended.
    WorkerLost(CrashReport),
    /// The pool did not take the task, or gave it back before it ran.
    Rejected(Rejected),
    /// A value could not be encoded or decoded.
    Codec(CodecError),
}

impl<E> TaskError<E> {
    /// Returns whether the task surely never ran, so that it is safe to submit again whatever it does.
    #[must_use]
    pub fn never_ran(&self) -> bool {
        match self {
            Self::Failed(_) | Self::Panicked(_) => false,
            Self::Cancelled { started } => !started,
            Self::TimedOut(timed_out) => timed_out.never_ran(),
            Self::WorkerLost(report) => report.started() == Started::No,
            Self::Rejected(_) => true,
            Self::Codec(error) => error.never_ran(),
        }
    }

    /// Returns whether the same task, unchanged, may well succeed when it is submitted again later.
    ///
    /// It does not say that the task did not run: see [`never_ran`](Self::never_ran).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::WorkerLost(_) | Self::TimedOut(_) => true,
            Self::Rejected(reason) => reason.is_transient(),
            Self::Failed(_) | Self::Panicked(_) | Self::Cancelled { .. } | Self::Codec(_) => false,
        }
    }

    /// Converts the task's own error and leaves the rest as it is.
    pub fn map_failed<F>(self, f: impl FnOnce(E) -> F) -> TaskError<F> {
        match self {
            Self::Failed(error) => TaskError::Failed(f(error)),
            Self::Panicked(error) => TaskError::Panicked(error),
            Self::Cancelled { started } => TaskError::Cancelled { started },
            Self::TimedOut(timed_out) => TaskError::TimedOut(timed_out),
            Self::WorkerLost(report) => TaskError::WorkerLost(report),
            Self::Rejected(reason) => TaskError::Rejected(reason),
            Self::Codec(error) => TaskError::Codec(error),
        }
    }

    // A variant shows the text of what is in it, so its source is the source of that: no text is said twice.
    fn source_with<'a>(
        &'a self,
        of_failed: impl FnOnce(&'a E) -> Option<&'a (dyn StdError + 'static)>,
    ) -> Option<&'a (dyn StdError + 'static)> {
        match self {
            Self::Failed(error) => of_failed(error),
            Self::Panicked(error) => error.source(),
            Self::Cancelled { .. } | Self::TimedOut(_) => None,
            Self::WorkerLost(report) => report.source(),
            Self::Rejected(reason) => reason.source(),
            Self::Codec(error) => error.source(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for TaskError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Panicked(error) => write_panic(f, error),
            Self::Cancelled { started: false } => f.write_str(
                "the task was cancelled before it started, so it is safe to submit again",
            ),
            Self::Cancelled { started: true } => f.write_str(
                "the task was cancelled when it had started or may have; \
                 see what it did before you submit it again",
            ),
            Self::TimedOut(timed_out) => timed_out.fmt(f),
            Self::WorkerLost(report) => report.fmt(f),
            Self::Rejected(reason) => reason.fmt(f),
            Self::Codec(error) => error.fmt(f),
        }
    }
}

fn write_panic(f: &mut fmt::Formatter<'_>, panic: &RemoteError) -> fmt::Result {
    match panic.task() {
        Some(task) => write!(f, "{task} panicked")?,
        None => f.write_str("the task panicked")?,
    }
    if let Some(location) = panic.location() {
        write!(f, " at {location}")?;
    }
    if let Some(worker) = panic.worker() {
        write!(f, " in {worker}")?;
    }
    f.write_str(": ")?;
    fmt::Display::fmt(panic, f)?;
    f.write_str(match panic.backtrace() {
        Some(_) => " (its `report()` has the backtrace)",
        None => " (set `RUST_BACKTRACE=1` for a backtrace)",
    })
}

impl<E: StdError + 'static> StdError for TaskError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source_with(StdError::source)
    }
}

// Accepted beside the impl above because `RemoteError` is ours and is no `Error`.
impl StdError for TaskError<RemoteError> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source_with(|error| error.source())
    }
}
