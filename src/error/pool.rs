//! Why a pool, or a worker of it, did not start.
//!
//! Belongs here: bad settings and everything between a spawn and a ready worker.
//! Does not belong here: the end of a worker that was ready (`crash`).
//! Invariant: the text of an outer error holds that of the inner one, and its `source` begins below it, so that neither
//! one line nor a walk of the chain loses or repeats a cause.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::{CodecError, CrashReport, RemoteError, text};

/// A setting the pool cannot work with.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// A setting is zero that must not be.
    Zero {
        /// The name of the setting.
        knob: &'static str,
    },
    /// A setting is under its least value.
    TooSmall {
        /// The name of the setting.
        knob: &'static str,
        /// What it was set to, with its unit.
        value: String,
        /// The least it may be, with its unit.
        least: String,
    },
    /// A setting is over its greatest value.
    TooLarge {
        /// The name of the setting.
        knob: &'static str,
        /// What it was set to, with its unit.
        value: String,
        /// The most it may be, with its unit.
        most: String,
    },
    /// Settings, registrations or the way the program was started cannot hold together.
    Contradiction {
        /// Which, why, and what to change.
        message: String,
    },
    /// Options are for a task that the workers do not have.
    UnknownTask {
        /// The name.
        name: String,
        /// Names there are that look like it.
        near: Vec<String>,
    },
    /// A variable of the environment is no setting, or its value is none of it.
    Environment {
        /// The name of the variable.
        variable: String,
        /// What is wrong with it.
        message: String,
    },
    /// So many workers take more descriptors of their host than it may have.
    TooFewDescriptors {
        /// How many they take while they start.
        needed: u64,
        /// How many the host may still open.
        left: u64,
        /// How many it may have: its `RLIMIT_NOFILE`.
        limit: u64,
    },
    /// A pool inside a worker of a pool inside a worker.
    TooDeep {
        /// How many pools may be one inside the other.
        levels: u32,
    },
    /// A setting needs what this platform lacks.
    Unsupported {
        /// The name of the setting.
        knob: &'static str,
        /// The platform.
        platform: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { knob } => write!(
                f,
                "`{knob}` is zero; set it to more, or leave it out for the default"
            ),
            Self::TooSmall { knob, value, least } => {
                write!(f, "`{knob}` is {value}; set it to at least {least}")
            }
            Self::TooLarge { knob, value, most } => {
                write!(f, "`{knob}` is {value}; set it to at most {most}")
            }
            Self::Contradiction { message } => f.write_str(message),
            Self::UnknownTask { name, near } => {
                write!(
                    f,
                    "there are options for a task `{name}`, which the workers do not have"
                )?;
                text::write_near(f, near)
            }
            Self::Environment { variable, message } => {
                write!(f, "the environment variable `{variable}`: {message}")
            }
            Self::TooFewDescriptors {
                needed,
                left,
                limit,
            } => write!(
                f,
                "the workers take {needed} descriptors while they start, and {left} of {limit} are left; \
                 raise the limit (`ulimit -n`, `LimitNOFILE`) or lower `processes`"
            ),
            Self::TooDeep { levels } => write!(
                f,
                "this is a worker of a pool inside a worker, and pools may be {levels} levels deep; \
                 submit its tasks one level higher"
            ),
            Self::Unsupported { knob, platform } => write!(
                f,
                "`{knob}` is not supported on {platform}; leave it out there"
            ),
        }
    }
}

impl StdError for ConfigError {}

/// Why a pool did not start.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum StartError {
    /// A setting is refused.
    Config(ConfigError),
    /// The current thread runs neither an actix `System` nor an `Arbiter`.
    NoArbiter,
    /// There is no place for the local sockets of the workers.
    NoSocket {
        /// The places that were tried and what the operating system said.
        message: String,
    },
    /// The operating system refused what a pool needs besides, such as a thread.
    System {
        /// What was refused, and what the operating system said.
        message: String,
    },
    /// The first attempt of every slot failed; this is the first one's cause.
    Worker(WorkerStartError),
    /// The pool's arbiter ended before a worker was ready.
    Closed,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::NoArbiter => f.write_str(
                "`start()` needs the current thread to run an actix System or Arbiter; \
                 use `start_on(..)`, or `own_arbiter()` from plain tokio",
            ),
            Self::NoSocket { message } => write!(
                f,
                "no place for the local sockets of the workers: {message}; \
                 name a writable directory with a short path, or set XDG_RUNTIME_DIR or TMPDIR to one"
            ),
            Self::System { message } => {
                write!(
                    f,
                    "the operating system refused what the pool needs: {message}"
                )
            }
            Self::Worker(error) => {
                f.write_str("no worker became ready: ")?;
                error.fmt(f)
            }
            Self::Closed => f.write_str(
                "the pool's arbiter ended before a worker was ready; \
                 keep its System or Arbiter running until `start()` is done",
            ),
        }
    }
}

impl StdError for StartError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Config(error) => error.source(),
            Self::Worker(error) => error.source(),
            Self::NoArbiter | Self::NoSocket { .. } | Self::System { .. } | Self::Closed => None,
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Why a worker did not become ready.
///
/// `Display` is one line; `{:#}` adds all that was kept of the worker's stderr, and the sources of a [`RemoteError`].
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum WorkerStartError {
    /// The operating system did not start the program.
    Spawn {
        /// The program.
        program: String,
        /// What the operating system said.
        message: String,
    },
    /// The process ended before it connected.
    ExitedEarly {
        /// How it ended: `exit status 1`, or `signal 6`.
        status: String,
        /// The last of what it wrote to stderr.
        stderr_tail: String,
    },
    /// It was not ready within `start_timeout`.
    TimedOut {
        /// The time it was given.
        after: Duration,
        /// What it was at: `connecting`, `handshake` or `initializing its state`.
        stage: &'static str,
        /// The last of what it wrote to stderr.
        stderr_tail: String,
    },
    /// It speaks another version of the protocol.
    OtherVersion {
        /// The host's version.
        host: u16,
        /// The worker's version.
        worker: u16,
    },
    /// Its program lacks a task that the host has registered.
    MissingTask {
        /// The task's name.
        name: String,
        /// Names the worker has that look like it, best first.
        near: Vec<String>,
    },
    /// Its program has another version of a task.
    TaskVersion {
        /// The task's name.
        name: String,
        /// `Task::VERSION` in the host.
        host: u32,
        /// `Task::VERSION` in the worker.
        worker: u32,
    },
    /// Its state initializer failed.
    State(RemoteError),
    /// The arguments of its state initializer could not be encoded or decoded.
    InitArgs(CodecError),
    /// The handshake failed otherwise.
    Refused {
        /// Which side refused what.
        message: String,
    },
    /// It ended after it had connected.
    Lost(CrashReport),
}

const INIT_HINT: &str = " (is `init()` the first statement of main, and reached?)";

impl fmt::Display for WorkerStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn { program, message } => write!(
                f,
                "the program `{program}` could not be started: {message}; \
                 see that it is there and may be executed"
            ),
            Self::ExitedEarly {
                status,
                stderr_tail,
            } => {
                write!(
                    f,
                    "the worker ended before it connected, with {status}{INIT_HINT}"
                )?;
                text::write_stderr(f, stderr_tail)
            }
            Self::TimedOut {
                after,
                stage,
                stderr_tail,
            } => {
                write!(
                    f,
                    "the worker was not ready within `start_timeout` ({:?}), its stage was: {stage}",
                    text::brief(*after)
                )?;
                f.write_str(match *stage {
                    "connecting" => INIT_HINT,
                    _ => "; make it faster or raise `start_timeout`",
                })?;
                text::write_stderr(f, stderr_tail)
            }
            Self::OtherVersion { host, worker } => write!(
                f,
                "the host speaks protocol version {host} and the worker {worker}; \
                 build both with the same version of actix-multiprocess"
            ),
            Self::MissingTask { name, near } => {
                write!(
                    f,
                    "the worker's program lacks task `{name}`; \
                     call `.task::<..>()` with its type there, or build both from the same source"
                )?;
                text::write_near(f, near)
            }
            Self::TaskVersion { name, host, worker } => write!(
                f,
                "task `{name}` has version {host} in the host and {worker} in the worker; \
                 build both from the same source"
            ),
            Self::State(error) => {
                f.write_str("the worker's state initializer failed: ")?;
                fmt::Display::fmt(error, f)
            }
            Self::InitArgs(error) => {
                f.write_str("the arguments of the state initializer did not get through: ")?;
                error.fmt(f)
            }
            Self::Refused { message } => write!(
                f,
                "the handshake failed: {message}; \
                 see that both sides are the same program, or built from the same source"
            ),
            Self::Lost(report) => report.without_task().fmt(f),
        }
    }
}

impl StdError for WorkerStartError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::State(error) => error.source(),
            Self::InitArgs(error) => error.source(),
            Self::Lost(report) => report.source(),
            _ => None,
        }
    }
}
