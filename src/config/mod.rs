//! What a pool may be told.
//!
//! Belongs here: every knob with its unit and default, and its form in files and in the environment. Does not belong here:
//! what a knob may be, which is looked at when a pool starts; what it brings about.
//! Invariant: plain values; what is written is read back as the same.

mod concurrency;
mod env;
mod launcher;
mod limits;
mod or;
mod restart;
mod retry;
mod stdio;
mod task_options;
#[cfg(test)]
mod tests;
mod text;

pub use concurrency::Concurrency;
pub use launcher::Launcher;
pub use limits::{Affinity, ProcessLimits};
pub use restart::Restart;
pub use retry::Retry;
pub use stdio::{Output, Stdio};
pub use task_options::TaskOptions;

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use or::{Auto, Limit};
use serde::{Deserialize, Serialize};
use text::{Bytes, Count, Flag, Form as _, Percent, Span};

const MIB: usize = 1024 * 1024;

/// What a submit meets when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WhenFull {
    /// It settles as [`Rejected::QueueFull`](crate::Rejected::QueueFull): the default.
    #[default]
    Reject,
    /// It waits in the pool beyond the limit. A caller that awaits each submit is held back by this;
    /// one that does not is not held back at all.
    Wait,
}

/// What a pool does when its restart budget is spent and no worker is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnExhausted {
    /// It opens the circuit: what is accepted waits, new submits are refused, and one worker at a time is tried. The
    /// default.
    #[default]
    OpenCircuit,
    /// It settles all that it has and ends; under `actix::Supervisor` it begins anew. See
    /// [`PoolBuilder::into_supervised`](crate::PoolBuilder::into_supervised).
    Escalate,
}

/// Whose end may go as far as SIGTERM and SIGKILL of a worker. Drains, stops and operators always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KillPolicy {
    /// That of no task. One that does not end by itself keeps its place in its worker.
    Never,
    /// That of tasks over their `run_timeout` or `timeout`, whoever else is in the worker; and that of cancelled ones that
    /// are alone there. The default.
    #[default]
    OnTimeout,
    /// That of every task, whoever else is in the worker.
    Always,
}

/// The knobs of a pool as a value: for a file, for the environment, and in [`Status::config`](crate::Status::config)
/// with what was made of the automatic ones.
///
/// With serde, durations are texts such as `"5s"` or `"1m 30s"`, bytes are texts such as `"64MiB"` or numbers, and what
/// depends on the machine or on another knob is `"auto"`. What is left out has its default; what is unknown is refused.
///
/// # Examples
///
/// ```
/// use actix_multiprocess::PoolConfig;
///
/// let config: PoolConfig = serde_json::from_str(r#"{ "processes": 4, "grace": "5s", "queue_bytes": "64MiB" }"#)?;
/// assert_eq!(config.processes, Some(4));
/// assert_eq!(config.concurrency, PoolConfig::default().concurrency);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// In a configuration file:
///
/// ```toml
/// [pool]
/// processes = "auto"
/// concurrency = 16
/// queue_bytes = "256MiB"
/// when_full = "reject"
/// grace = "3s"
/// restart = { budget = 5, period = "10s", backoff_min = "100ms", backoff_max = "30s" }
/// retry = { failed_attempts = 3, backoff_min = "100ms", backoff_max = "10s" }
/// stdio = { stdout = "inherit", stderr = "relay" }
/// run_timeout = "30s"
/// tasks = { render = { max_running = 4, run_timeout = "5m" } }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PoolConfig {
    /// How many worker processes there are. Automatic: the CPUs this process may use.
    #[serde(with = "Auto::<Count<usize>>")]
    pub processes: Option<usize>,
    /// How many tasks one worker runs at once. Default: 16.
    pub concurrency: Concurrency,
    /// How many tasks may wait for a worker. Automatic: 1024 for each process.
    #[serde(with = "Auto::<Count<usize>>")]
    pub queue_limit: Option<usize>,
    /// How many encoded bytes all unsettled tasks may have together. Default: 256 MiB.
    #[serde(with = "Bytes")]
    pub queue_bytes: usize,
    /// How many bytes of results may be settled and not taken. Default: 256 MiB.
    #[serde(with = "Bytes")]
    pub result_bytes: usize,
    /// What a submit meets when the queue is full. Default: `"reject"`.
    pub when_full: WhenFull,
    /// How lost workers are replaced.
    pub restart: Restart,
    /// What the pool does when that is of no use. Default: `"open-circuit"`.
    pub on_exhausted: OnExhausted,
    /// How long a task may take in all, from its being accepted. Default: unlimited.
    #[serde(with = "Limit::<Span>")]
    pub timeout: Option<Duration>,
    /// How long a task may wait for its first start. Default: unlimited.
    #[serde(with = "Limit::<Span>")]
    pub queue_timeout: Option<Duration>,
    /// How long a task may run, each time that it is started. Default: unlimited.
    #[serde(with = "Limit::<Span>")]
    pub run_timeout: Option<Duration>,
    /// Whose end may go as far as killing its worker. Default: `"on-timeout"`.
    pub kill: KillPolicy,
    /// How often a worker that has tasks is asked for a sign of life. Default: 1 s.
    #[serde(with = "Span")]
    pub heartbeat: Duration,
    /// After how long a worker that does not go on has stalled. Default: 10 s.
    #[serde(with = "Span")]
    pub stalled_after: Duration,
    /// Whether it is killed then. Default: no.
    #[serde(with = "Flag")]
    pub kill_stalled: bool,
    /// From how many bytes in memory on a worker is replaced when its tasks have ended. Default: unlimited.
    #[serde(with = "Limit::<Bytes>")]
    pub memory_soft: Option<usize>,
    /// From how many on it is killed. Default: unlimited.
    #[serde(with = "Limit::<Bytes>")]
    pub memory_hard: Option<usize>,
    /// From how many in all workers together on one of them is killed. Default: unlimited.
    #[serde(with = "Limit::<Bytes>")]
    pub memory_total: Option<usize>,
    /// What each worker process may take of its machine. Default: what its host may.
    pub limits: ProcessLimits,
    /// How often an idempotent task may start whose workers are lost. Default: 3.
    #[serde(with = "Count::<u32>")]
    pub max_attempts: u32,
    /// How idempotent tasks run again for other reasons.
    pub retry: Retry,
    /// How many tasks a worker starts before another takes its place; each draws its number once, see `jitter`. Default:
    /// unlimited.
    #[serde(with = "Limit::<Count<u32>>")]
    pub max_tasks: Option<u32>,
    /// How long a worker serves before another takes its place; see `jitter`. Default: unlimited.
    #[serde(with = "Limit::<Span>")]
    pub max_age: Option<Duration>,
    /// By how many percent `max_tasks` and `max_age` are less at most, at random, so that workers that were started
    /// together do not leave together. Default: 10.
    #[serde(with = "Percent")]
    pub jitter: u8,
    /// How long a worker that is to be replaced may go on with the tasks it has. Default: 60 s.
    #[serde(with = "Span")]
    pub retire_timeout: Duration,
    /// How long a worker may take from its start until it is ready. Default: 30 s.
    #[serde(with = "Span")]
    pub start_timeout: Duration,
    /// How large one encoded input or result may be. Default: 64 MiB.
    #[serde(with = "Bytes")]
    pub max_frame_bytes: usize,
    /// How many threads the sockets of workers have of their own. Default: 0, they are served by the pool's.
    #[serde(with = "Count::<usize>")]
    pub io_arbiters: usize,
    /// How long a cancelled task may take to end before its caller is told so. Default: 1 s.
    #[serde(with = "Span")]
    pub cancel_grace: Duration,
    /// The time between asking a worker to end and killing it. Default: 3 s.
    #[serde(with = "Span")]
    pub grace: Duration,
    /// Where the output streams of workers go.
    pub stdio: Stdio,
    /// By the names of tasks, what is to be different for one. Default: nothing.
    pub tasks: BTreeMap<String, TaskOptions>,
    /// The directory below which a private directory for sockets is made. Automatic: see
    /// [`PoolBuilder::socket_dir`](crate::PoolBuilder::socket_dir).
    #[serde(with = "Auto::<text::Path>")]
    pub socket_dir: Option<PathBuf>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            processes: None,
            concurrency: Concurrency::Fixed(16),
            queue_limit: None,
            queue_bytes: 256 * MIB,
            result_bytes: 256 * MIB,
            when_full: WhenFull::default(),
            restart: Restart::default(),
            on_exhausted: OnExhausted::default(),
            timeout: None,
            queue_timeout: None,
            run_timeout: None,
            kill: KillPolicy::default(),
            heartbeat: Duration::from_secs(1),
            stalled_after: Duration::from_secs(10),
            kill_stalled: false,
            memory_soft: None,
            memory_hard: None,
            memory_total: None,
            limits: ProcessLimits::default(),
            max_attempts: 3,
            retry: Retry::default(),
            max_tasks: None,
            max_age: None,
            jitter: 10,
            retire_timeout: Duration::from_secs(60),
            start_timeout: Duration::from_secs(30),
            max_frame_bytes: 64 * MIB,
            io_arbiters: 0,
            cancel_grace: Duration::from_secs(1),
            grace: Duration::from_secs(3),
            stdio: Stdio::default(),
            tasks: BTreeMap::new(),
            socket_dir: None,
        }
    }
}

/// In one line, as JSON.
impl fmt::Display for PoolConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}
