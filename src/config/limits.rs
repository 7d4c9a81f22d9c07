//! What a worker process may take of its machine.
//!
//! Belongs here: the numbers, and how they are written. Does not belong here: setting them, which the worker does itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{
    or::Own,
    text::{Bytes, Count, Cpus, Form as _, Signed, Span},
};

/// Which CPUs workers run on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Affinity {
    /// Those of the host: the default. In text `"inherit"`.
    #[default]
    Inherit,
    /// Each on one of those of the host, in turn by their slots. In text `"spread"`.
    Spread,
    /// All on these. In text as the kernel writes it, such as `"0-3,8"`.
    Cpus(Vec<u16>),
}

/// What each worker process may take of its machine, as walls that the operating system keeps up.
///
/// Each is set by the worker itself, before it runs anything of the pool's, and goes on to the processes that it starts. One
/// that may not be set (only a privileged process may raise a limit, or its priority) fails the start of the worker, with a
/// message that names it. What a process does that hits a wall depends on it: without address space an allocation fails, which
/// in Rust aborts; over its CPU time it is killed.
///
/// With serde its fields are named like its methods, and one that is left out stays as in the host.
///
/// # Platforms
///
/// `nice` and the limits on resources on every Unix; `affinity` and `oom_score_adj` on Linux. Elsewhere a pool that sets one of
/// these does not start.
///
/// # Examples
///
/// ```
/// use actix_multiprocess::{Affinity, ProcessLimits};
///
/// // Gives way to the service, is the first to go when memory runs out, and leaves no core files.
/// let limits = ProcessLimits::default()
///     .nice(10)
///     .oom_score_adj(800)
///     .affinity(Affinity::Spread)
///     .address_space(4 << 30)
///     .core_file(0);
/// # let _ = limits;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use = "give it to `.limits(..)`"]
pub struct ProcessLimits {
    #[serde(with = "Signed::<i8>")]
    pub(crate) nice: i8,
    #[serde(with = "Cpus")]
    pub(crate) affinity: Affinity,
    #[serde(with = "Own::<Signed<i16>>")]
    pub(crate) oom_score_adj: Option<i16>,
    #[serde(with = "Own::<Bytes>")]
    pub(crate) address_space: Option<usize>,
    #[serde(with = "Own::<Span>")]
    pub(crate) cpu_time: Option<Duration>,
    #[serde(with = "Own::<Bytes>")]
    pub(crate) core_file: Option<usize>,
    #[serde(with = "Own::<Bytes>")]
    pub(crate) file_size: Option<usize>,
    #[serde(with = "Own::<Count<u32>>")]
    pub(crate) open_files: Option<u32>,
    #[serde(with = "Own::<Count<u32>>")]
    pub(crate) processes: Option<u32>,
}

impl ProcessLimits {
    /// Sets by how much a worker gives way to others on the CPUs, on top of its host. Default: 0. From -20 to 19; below 0 it
    /// takes precedence, which needs a privilege. Workers for suspects give way by 5 more.
    pub fn nice(mut self, by: i8) -> Self {
        self.nice = by;
        self
    }

    /// Sets which CPUs workers run on. Default: [`Affinity::Inherit`]. What sizes itself by the CPUs it may use
    /// (`available_parallelism`) sees these only. Threads that the program has started before
    /// [`WorkerSpec::init`](crate::WorkerSpec::init) keep theirs.
    pub fn affinity(mut self, cpus: Affinity) -> Self {
        self.affinity = cpus;
        self
    }

    /// Sets how readily the kernel kills a worker when memory runs out: from -1000, never, to 1000, first. Default: as its host.
    /// Less than its host needs a privilege.
    pub fn oom_score_adj(mut self, score: i16) -> Self {
        self.oom_score_adj = Some(score);
        self
    }

    /// Sets how many bytes of addresses a worker may have: `RLIMIT_AS`. Default: as its host. More than it ever has in
    /// memory: stacks of threads count in full, and an allocator takes more than it gives.
    pub fn address_space(mut self, bytes: usize) -> Self {
        self.address_space = Some(bytes);
        self
    }

    /// Sets for how long a worker may be on CPUs over all its tasks, in whole seconds: `RLIMIT_CPU`. Default: as its host. It is
    /// killed then. For a limit per task see [`PoolBuilder::run_timeout`](crate::PoolBuilder::run_timeout).
    pub fn cpu_time(mut self, time: Duration) -> Self {
        self.cpu_time = Some(time);
        self
    }

    /// Sets how large a core file may be: `RLIMIT_CORE`. Default: as its host. 0 for none.
    pub fn core_file(mut self, bytes: usize) -> Self {
        self.core_file = Some(bytes);
        self
    }

    /// Sets how large a file that a worker writes may get: `RLIMIT_FSIZE`. Default: as its host.
    pub fn file_size(mut self, bytes: usize) -> Self {
        self.file_size = Some(bytes);
        self
    }

    /// Sets how many descriptors a worker may have: `RLIMIT_NOFILE`. Default: as its host. A worker takes some 20 itself.
    pub fn open_files(mut self, count: u32) -> Self {
        self.open_files = Some(count);
        self
    }

    /// Sets how many processes and threads the user of a worker may have, all over the machine: `RLIMIT_NPROC`. Default: as its
    /// host.
    pub fn processes(mut self, count: u32) -> Self {
        self.processes = Some(count);
        self
    }
}
