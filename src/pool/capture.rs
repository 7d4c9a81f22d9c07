//! What is kept of tasks that may have killed their worker.
//!
//! Belongs here: the setting. Does not belong here: keeping it.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use crate::{
    supervisor::{Captures, Redact},
    task::Task,
    wire::codec,
};

/// Keeps the inputs of tasks that may have killed their worker, each in a file of its own, to run them again under a
/// debugger: with [`CapturedTask`](crate::CapturedTask).
///
/// A file is readable by this user alone (0600, on Unix), in a directory that is made for this user alone (0700) if it is not
/// there. It has the encoded input, the task's name, id and attempt, and what was said of the worker's end. Which file it is
/// is told as [`PoolEvent::Captured`](crate::PoolEvent::Captured); that one could not be written, as
/// [`PoolEvent::CaptureFailed`](crate::PoolEvent::CaptureFailed). Of one death 32 suspects are kept at most.
///
/// Inputs may have secrets in them: see [`redact`](Self::redact) and [`skip`](Self::skip).
///
/// # Examples
///
/// ```
/// use actix_multiprocess::Capture;
/// # use actix_multiprocess::{NoError, Task, TaskContext};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Login { user: String, password: String }
/// # impl Task for Login {
/// #     const NAME: &'static str = "login";
/// #     type Output = ();
/// #     type Error = NoError;
/// #     type State = ();
/// #     async fn run(self, _: TaskContext<()>) -> Result<(), NoError> { Ok(()) }
/// # }
///
/// let capture = Capture::new("/var/crash/thumbs")
///     .keep(32)
///     .redact(|login: &mut Login| login.password.clear());
/// # let _ = capture;
/// ```
#[must_use = "give it to `.capture(..)`"]
pub struct Capture {
    dir: PathBuf,
    keep: usize,
    max_bytes: usize,
    redact: BTreeMap<&'static str, Redact>,
}

impl Capture {
    /// Keeps them in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            dir: directory.into(),
            keep: 16,
            max_bytes: 1024 * 1024,
            redact: BTreeMap::new(),
        }
    }

    /// Sets how many files there are at most; the oldest go first. Default: 16. At least 1.
    pub fn keep(mut self, files: usize) -> Self {
        self.keep = files;
        self
    }

    /// Sets how large an encoded input may be to be kept. Default: 1 MiB.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Changes tasks of this type before they are kept. Of one that cannot be read, nothing is. It runs on a thread of its own;
    /// if it panics, nothing is kept either.
    pub fn redact<T: Task>(mut self, change: impl Fn(&mut T) + Send + Sync + 'static) -> Self {
        let redact: Redact = Arc::new(move |payload| {
            let mut task: T = codec::decode(payload).ok()?;
            change(&mut task);
            codec::encode(&task).ok()
        });
        self.redact.insert(T::NAME, redact);
        self
    }

    /// Keeps nothing of tasks of this type.
    pub fn skip<T: Task>(mut self) -> Self {
        self.redact.insert(T::NAME, Arc::new(|_| None));
        self
    }

    pub(super) fn into_captures(self) -> Captures {
        let Self {
            dir,
            keep,
            max_bytes,
            redact,
        } = self;
        Captures::new(dir, keep, max_bytes, redact)
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("dir", &self.dir)
            .field("keep", &self.keep)
            .field("max_bytes", &self.max_bytes)
            .field("redact", &self.redact.keys())
            .finish()
    }
}
