//! A task that may have killed its worker, from the file in which it was kept.
//!
//! Belongs here: reading it, and running it once more in this process. Does not belong here: keeping it.

use std::{
    any::Any,
    error::Error,
    fmt, io,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use crate::{
    error::{CodecError, CodecSide, CodecValue, RemoteError},
    spec::WorkerSpec,
    task::{Board, Scope, Slot, Task, TaskId, WorkerEnv, WorkerInfo},
    wire::{Captured, Payload, captured, codec},
    worker::{Ended, InitFailure},
};

/// A task from a file that [`Capture`](crate::Capture) has kept.
#[derive(Debug, Clone)]
pub struct CapturedTask {
    header: Captured,
    payload: Payload,
}

impl CapturedTask {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What the operating system says; [`InvalidData`](io::ErrorKind::InvalidData) for a file that is no such one, or a part of
    /// one.
    pub fn read(path: impl AsRef<Path>) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        let (header, payload) = captured::from_bytes(bytes.into())
            .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        Ok(Self { header, payload })
    }

    /// Returns the name of the task.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.header.task
    }

    /// Returns which version of the task it is: [`Task::VERSION`].
    #[must_use]
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// Returns its number in the pool it was submitted to.
    #[must_use]
    pub fn id(&self) -> TaskId {
        TaskId::new(self.header.id)
    }

    /// Returns which of its runs it was, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.header.attempt
    }

    /// Returns what was said of the end of its worker.
    #[must_use]
    pub fn report(&self) -> &str {
        &self.header.report
    }

    /// Returns when it was kept.
    #[must_use]
    pub fn taken_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.header.taken_at)
    }

    /// Returns the task itself.
    ///
    /// # Errors
    ///
    /// One that says what does not fit, if it is not of this type.
    pub fn decode<T: Task>(&self) -> Result<T, CodecError> {
        codec::decode_checked(&self.payload, CodecValue::Input, CodecSide::Host)
    }
}

/// Why a captured task did not run.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// It is another task than was asked for, or of another version: their names and versions.
    OtherTask {
        /// What was captured.
        captured: (String, u32),
        /// What was asked for.
        wanted: (&'static str, u32),
    },
    /// The description of the workers does not have it.
    Unregistered {
        /// Its name.
        task: &'static str,
    },
    /// The state could not be made.
    State(RemoteError),
    /// A value could not be read or written.
    Codec(CodecError),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherTask { captured, wanted } => write!(
                f,
                "the file has task `{}` in version {}, not `{}` in version {}",
                captured.0, captured.1, wanted.0, wanted.1
            ),
            Self::Unregistered { task } => {
                write!(f, "task `{task}` is not registered in this `WorkerSpec`")
            }
            Self::State(error) => write!(f, "the state could not be made: {error}"),
            Self::Codec(error) => error.fmt(f),
        }
    }
}

impl Error for ReplayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::State(error) => Some(&**error),
            Self::Codec(error) => Some(error),
            Self::OtherTask { .. } | Self::Unregistered { .. } => None,
        }
    }
}

impl<S: 'static, A: Serialize> WorkerSpec<S, A> {
    /// Runs a captured task once more, in this process and on this arbiter: under a debugger, a sanitizer, or with logging.
    ///
    /// What it does to its process it does to this one; a panic goes on in the caller. The setup hook and the initializer run
    /// before it, the latter with these arguments. There is no pool: nobody cancels it, and no limit counts. A program whose
    /// tasks have pools of their own ([`TaskContext::workers`](crate::TaskContext::workers)) gives this one a pool only in a
    /// worker.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] says why it did not run; what it has returned is in the `Ok`.
    pub async fn replay<T: Task>(
        self,
        captured: &CapturedTask,
        args: A,
    ) -> Result<Result<T::Output, T::Error>, ReplayError> {
        let (wanted, kept) = ((T::NAME, T::VERSION), &captured.header);
        if (kept.task.as_str(), kept.version) != wanted {
            return Err(ReplayError::OtherTask {
                captured: (kept.task.clone(), kept.version),
                wanted,
            });
        }
        let program = self.into_program();
        let entry = program.tasks.iter().find(|entry| entry.name == T::NAME);
        let run = entry
            .ok_or(ReplayError::Unregistered { task: T::NAME })?
            .run
            .clone();
        let worker = WorkerInfo::new(Slot::new(0), 0, std::process::id());
        if let Some(setup) = &program.setup {
            setup(&worker);
        }
        let args = codec::encode(&args).map_err(|why| {
            let step = crate::error::CodecStep::Encode;
            let (value, side) = (CodecValue::InitArgs, CodecSide::Host);
            ReplayError::Codec(CodecError::new(
                value,
                side,
                step,
                std::any::type_name::<A>(),
                why,
            ))
        })?;
        let state = (program.init)(Some(args)).await;
        let state: Rc<dyn Any> = state.map_err(|failure| match failure {
            InitFailure::State(error) => ReplayError::State(error),
            InitFailure::Args(error) => ReplayError::Codec(error),
        })?;
        let env = WorkerEnv {
            worker,
            max_bytes: usize::MAX,
            board: Arc::new(Board::new(Instant::now())),
            kin: Rc::new(()),
        };
        let scope = Scope::new(1, captured.id(), kept.attempt, Rc::new(env), None);
        match run(&captured.payload, Rc::new(scope), &state).await {
            Ended::Done(output) => {
                codec::decode_checked(&output, CodecValue::Output, CodecSide::Host)
                    .map(Ok)
                    .map_err(ReplayError::Codec)
            }
            Ended::Failed(error, ..) => {
                codec::decode_checked(&error, CodecValue::Error, CodecSide::Host)
                    .map(Err)
                    .map_err(ReplayError::Codec)
            }
            Ended::Codec(error) => Err(ReplayError::Codec(error)),
        }
    }
}
