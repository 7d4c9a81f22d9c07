//! What the workers of a pool may take of the machine.
//!
//! Belongs here: those settings, as methods of the builder, and what they may be. Does not belong here: what they bring about.

use std::time::Duration;

use crate::{
    config::{Affinity, PoolConfig, ProcessLimits},
    error::ConfigError,
    pool::PoolBuilder,
    supervisor::MEMORY_IS_TOLD,
};

/// # Memory
///
/// What counts is what a worker process itself has in memory (its resident set, shared pages included), not its
/// children. It is looked at whenever a task ends, and every 250 ms while tasks run; a worker without tasks is left alone. Linux
/// only: elsewhere a pool with one of these limits does not start. How exactly the kernel counts depends on its version and
/// on the number of CPUs: be generous by some MiB.
impl<A> PoolBuilder<A> {
    /// Sets from how many bytes in memory on a worker is replaced: it gets no more tasks, and ends when those it has have ended
    /// and its replacement is ready ([`RetireReason::Memory`](crate::RetireReason::Memory)). Default: no limit. What a library
    /// has leaked is given back so, and no task is lost.
    ///
    /// With a concurrency of 1 a worker has at most what a single task takes beyond this.
    pub fn memory_soft(mut self, bytes: usize) -> Self {
        self.config.memory_soft = Some(bytes);
        self
    }

    /// Sets from how many bytes in memory on a worker is killed. Default: no limit.
    ///
    /// Its tasks settle as [`WorkerLost`](crate::TaskError::WorkerLost) with [`LossCause::Memory`](crate::LossCause::Memory), each
    /// of those that had started a suspect; idempotent ones run again alone, and one that takes as much there is given up. What
    /// that costs them is counted apart from other losses: [`Retry::memory_attempts`](crate::Retry::memory_attempts). A worker
    /// without tasks is replaced instead.
    ///
    /// It is no wall: a task that takes 1 GiB/s has taken 250 MiB more before it is noticed. For a wall see
    /// [`ProcessLimits`](crate::ProcessLimits), or give the service a control group.
    pub fn memory_hard(mut self, bytes: usize) -> Self {
        self.config.memory_hard = Some(bytes);
        self
    }

    /// Sets what each worker process may take of its machine: CPUs, priority, and what the operating system can limit. Default:
    /// what its host may.
    pub fn limits(mut self, limits: ProcessLimits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Sets from how many bytes in memory on, those of all workers together, one of them ends. Default: no limit.
    ///
    /// Only a worker that has half of its share of them at least is picked: one that is idle, if there is; else one whose tasks may all
    /// run again, and the newest of those; else the newest. One at a time, until it is enough. Nobody is to blame for sure, so
    /// idempotent tasks run again beside others, the first time, after the back-off of [`retry`](Self::retry).
    pub fn memory_total(mut self, bytes: usize) -> Self {
        self.config.memory_total = Some(bytes);
        self
    }
}

/// Looks at all of them.
pub(super) fn check(knobs: &PoolConfig) -> Result<(), ConfigError> {
    for (knob, limit) in [
        ("memory_soft", knobs.memory_soft),
        ("memory_hard", knobs.memory_hard),
        ("memory_total", knobs.memory_total),
    ] {
        if limit == Some(0) {
            return Err(ConfigError::Zero { knob });
        }
        if limit.is_some() && !MEMORY_IS_TOLD {
            return Err(ConfigError::Unsupported {
                knob,
                platform: std::env::consts::OS,
            });
        }
    }
    if let (Some(soft), Some(hard)) = (knobs.memory_soft, knobs.memory_hard)
        && soft > hard
    {
        return Err(ConfigError::Contradiction {
            message: format!(
                "`memory_soft` ({soft} bytes) is above `memory_hard` ({hard}), so that nobody would live to see it"
            ),
        });
    }
    process_limits(&knobs.limits)
}

/// Looks at what worker processes are to take at most.
fn process_limits(limits: &ProcessLimits) -> Result<(), ConfigError> {
    for (knob, zero) in [
        ("limits.address_space", limits.address_space == Some(0)),
        ("limits.cpu_time", limits.cpu_time == Some(Duration::ZERO)),
        ("limits.open_files", limits.open_files == Some(0)),
        ("limits.processes", limits.processes == Some(0)),
        (
            "limits.affinity",
            limits.affinity == Affinity::Cpus(Vec::new()),
        ),
    ] {
        if zero {
            return Err(ConfigError::Zero { knob });
        }
    }
    let most_cpu = match &limits.affinity {
        Affinity::Cpus(cpus) => cpus.iter().copied().max().unwrap_or(0),
        Affinity::Inherit | Affinity::Spread => 0,
    };
    let score = i32::from(limits.oom_score_adj.unwrap_or(0));
    for (knob, value, least, most) in [
        ("limits.nice", i32::from(limits.nice), -20, 19),
        ("limits.oom_score_adj", score, -1000, 1000),
        ("limits.affinity", i32::from(most_cpu), 0, MAX_CPU),
    ] {
        let value_of = || value.to_string();
        if value < least {
            return Err(ConfigError::TooSmall {
                knob,
                value: value_of(),
                least: least.to_string(),
            });
        }
        if value > most {
            return Err(ConfigError::TooLarge {
                knob,
                value: value_of(),
                most: most.to_string(),
            });
        }
    }
    let of_linux = limits.oom_score_adj.is_some() || limits.affinity != Affinity::Inherit;
    let none = *limits == ProcessLimits::default();
    if cfg!(not(target_os = "linux")) && of_linux || cfg!(not(unix)) && !none {
        return Err(ConfigError::Unsupported {
            knob: "limits",
            platform: std::env::consts::OS,
        });
    }
    Ok(())
}

/// The number of the last CPU that a worker can be told of.
const MAX_CPU: i32 = 1023;
