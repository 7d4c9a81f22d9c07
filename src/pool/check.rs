//! Looking at what a builder was told.
//!
//! Belongs here: what each setting may be, alone and with the others. Does not belong here: defaults.
//! Invariant: a bad setting is refused with its name, and nothing is there yet when it is.

use std::{sync::Arc, time::Duration};

use crate::{
    config::PoolConfig,
    error::{
        CodecError, CodecSide, CodecStep, CodecValue, ConfigError, StartError, WorkerStartError,
    },
    pool::{Capture, PoolBuilder, resources},
    sched::{RestartRules, RetryRules, Routing},
    supervisor::{Captures, Config, TaskTable},
    task::{Slot, TimeLimits},
    wire::{Lineage, Payload},
};

/// The smallest limit of a value: an error with all its texts at their own limits fits.
const MIN_FRAME_BYTES: usize = 256 * 1024;

impl<A> PoolBuilder<A> {
    pub(super) fn check(self) -> Result<(Config, Option<Box<dyn Routing>>), StartError> {
        if let Some(problem) = self.workers.problem() {
            return Err(problem.into());
        }
        let mut knobs = self.config;
        let table = self.workers.table();
        known_tasks(&knobs, &table)?;
        let nested = self.workers.nesting();
        let mut lineage = host();
        if let Some(nested) = nested {
            // A wrapper may have left the worker fewer than its host shared out.
            let cpus = nested.lineage.cpus.min(lineage.cpus);
            lineage = Lineage {
                cpus,
                ..nested.lineage
            };
        }
        let processes = match knobs.processes {
            Some(count) => count,
            None => lineage.cpus as usize,
        };
        let processes = count("processes", processes, MAX_PROCESSES)?;
        let concurrency = count("concurrency", knobs.concurrency.most(), 1 << 20)?;
        let queue_limit = knobs.queue_limit;
        knobs.processes = Some(processes as usize);
        bytes_and_times(&mut knobs)?;
        let restart = &mut knobs.restart;
        let budget = (restart.budget).unwrap_or(Some(processes.saturating_mul(2).max(5)));
        restart.budget = Some(budget);
        let rules = RestartRules {
            budget,
            period: restart.period,
            backoff_min: restart.backoff_min,
            backoff_max: restart.backoff_max,
        };
        let retry = RetryRules {
            lost: knobs.max_attempts,
            memory: knobs.retry.memory_attempts,
            failed: knobs.retry.failed_attempts,
            backoff_min: knobs.retry.backoff_min,
            backoff_max: knobs.retry.backoff_max,
        };
        let own = self.workers.launcher();
        let launcher = match self.launcher {
            None => own,
            Some(launcher) => own.with(launcher).ok_or_else(|| ConfigError::Contradiction {
                message: "these workers run in the host, so there is nothing to launch; leave `launcher` out".to_owned(),
            })?,
        };
        knobs.stdio.stdout = Some(launcher.stdout(&knobs.stdio));
        let init_args = (self.args)
            .map(|args| args.and_then(|args| small_enough(args, knobs.max_frame_bytes)))
            .transpose()
            .map_err(|error| StartError::Worker(WorkerStartError::InitArgs(error)))?;
        let limits = table.iter().map(|(name, _)| limits(&knobs, name)).collect();
        let config = Config {
            limits,
            table,
            launcher,
            knobs,
            processes,
            concurrency,
            queue_limit,
            rules,
            retry,
            one_life: self.one_life,
            captures: self.capture.map(captures).transpose()?,
            init_args: init_args.or_else(|| nested.and_then(|nested| nested.args.clone())),
            lineage,
            until: nested.and_then(|nested| nested.until),
        };
        Ok((config, self.routing))
    }
}

/// Makes sure that there is a place for them.
fn captures(capture: Capture) -> Result<Arc<Captures>, ConfigError> {
    let captures = capture.into_captures();
    for (knob, zero) in [
        ("capture.keep", captures.keep == 0),
        ("capture.max_bytes", captures.max_bytes == 0),
    ] {
        if zero {
            return Err(ConfigError::Zero { knob });
        }
    }
    if let Err(error) = captures.prepare() {
        return Err(ConfigError::Contradiction {
            message: format!(
                "the directory {} for captured tasks cannot be made: {error}",
                captures.dir.display()
            ),
        });
    }
    Ok(Arc::new(captures))
}

/// A name that is misspelt would have the options that were meant for it do nothing.
fn known_tasks(knobs: &PoolConfig, table: &TaskTable) -> Result<(), ConfigError> {
    for (name, options) in &knobs.tasks {
        if table.index(name).is_none() {
            return Err(ConfigError::UnknownTask {
                name: name.clone(),
                near: table.near(name),
            });
        }
        for (knob, zero) in [
            ("max_running", options.max_running == Some(0)),
            ("timeout", options.timeout == Some(Duration::ZERO)),
            (
                "queue_timeout",
                options.queue_timeout == Some(Duration::ZERO),
            ),
            ("run_timeout", options.run_timeout == Some(Duration::ZERO)),
        ] {
            if zero {
                return Err(ConfigError::Zero { knob });
            }
        }
    }
    Ok(())
}

/// What a host that is no worker knows of itself.
fn host() -> Lineage {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Lineage {
        level: 0,
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        counted: 0,
    }
}

/// How long tasks of a name may take.
fn limits(knobs: &PoolConfig, name: &str) -> TimeLimits {
    let own = knobs.tasks.get(name).copied().unwrap_or_default();
    let own = TimeLimits {
        total: own.timeout,
        queue: own.queue_timeout,
        run: own.run_timeout,
    };
    own.or(TimeLimits {
        total: knobs.timeout,
        queue: knobs.queue_timeout,
        run: knobs.run_timeout,
    })
}

/// How many processes a pool has at most.
const MAX_PROCESSES: u32 = Slot::QUARANTINE.index();

/// More threads than a machine has CPUs are a mistake.
const MAX_IO_ARBITERS: usize = 1024;

/// Looks at a number of processes.
pub(super) fn processes(count_of_them: usize) -> Result<usize, ConfigError> {
    count("processes", count_of_them, MAX_PROCESSES).map(|count| count as usize)
}

fn bytes_and_times(knobs: &mut PoolConfig) -> Result<(), ConfigError> {
    for (knob, zero) in [
        ("queue_limit", knobs.queue_limit == Some(0)),
        ("queue_bytes", knobs.queue_bytes == 0),
        ("result_bytes", knobs.result_bytes == 0),
        ("max_attempts", knobs.max_attempts == 0),
        ("retry.failed_attempts", knobs.retry.failed_attempts == 0),
        ("max_tasks", knobs.max_tasks == Some(0)),
        ("max_age", knobs.max_age == Some(Duration::ZERO)),
        ("start_timeout", knobs.start_timeout.is_zero()),
        ("timeout", knobs.timeout == Some(Duration::ZERO)),
        ("queue_timeout", knobs.queue_timeout == Some(Duration::ZERO)),
        ("run_timeout", knobs.run_timeout == Some(Duration::ZERO)),
        ("retry.memory_attempts", knobs.retry.memory_attempts == 0),
        ("heartbeat", knobs.heartbeat.is_zero()),
        ("stalled_after", knobs.stalled_after.is_zero()),
    ] {
        if zero {
            return Err(ConfigError::Zero { knob });
        }
    }
    if knobs.max_frame_bytes < MIN_FRAME_BYTES {
        return Err(ConfigError::TooSmall {
            knob: "max_frame_bytes",
            value: knobs.max_frame_bytes.to_string(),
            least: MIN_FRAME_BYTES.to_string(),
        });
    }
    if u32::try_from(knobs.max_frame_bytes).is_err() {
        return Err(ConfigError::TooLarge {
            knob: "max_frame_bytes",
            value: knobs.max_frame_bytes.to_string(),
            most: u32::MAX.to_string(),
        });
    }
    if knobs.io_arbiters > MAX_IO_ARBITERS {
        return Err(ConfigError::TooLarge {
            knob: "io_arbiters",
            value: knobs.io_arbiters.to_string(),
            most: MAX_IO_ARBITERS.to_string(),
        });
    }
    if cfg!(not(unix)) && knobs.socket_dir.is_some() {
        return Err(ConfigError::Unsupported {
            knob: "socket_dir",
            platform: std::env::consts::OS,
        });
    }
    resources::check(knobs)?;
    let (restart, retry) = (knobs.restart, knobs.retry);
    for (what, min, max) in [
        ("restart", restart.backoff_min, restart.backoff_max),
        ("retry", retry.backoff_min, retry.backoff_max),
    ] {
        if min > max {
            return Err(ConfigError::Contradiction {
                message: format!(
                    "the back-off of `{what}` begins with {min:?}, above its maximum of {max:?}"
                ),
            });
        }
    }
    for duration in [
        &mut knobs.restart.period,
        &mut knobs.restart.backoff_min,
        &mut knobs.restart.backoff_max,
        &mut knobs.retry.backoff_min,
        &mut knobs.retry.backoff_max,
        &mut knobs.retire_timeout,
        &mut knobs.heartbeat,
        &mut knobs.stalled_after,
        &mut knobs.start_timeout,
        &mut knobs.cancel_grace,
        &mut knobs.grace,
    ] {
        *duration = bounded(*duration);
    }
    knobs.max_age = knobs.max_age.map(bounded);
    if knobs.jitter > 100 {
        return Err(ConfigError::TooLarge {
            knob: "jitter",
            value: knobs.jitter.to_string(),
            most: "100".to_owned(),
        });
    }
    Ok(())
}

/// `Duration::MAX` is a usual way to say "never", and cannot be added to a time.
fn bounded(duration: Duration) -> Duration {
    const AS_GOOD_AS_NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
    duration.min(AS_GOOD_AS_NEVER)
}

fn count(knob: &'static str, value: usize, most: u32) -> Result<u32, ConfigError> {
    match u32::try_from(value) {
        Ok(0) => Err(ConfigError::Zero { knob }),
        Ok(value) if value <= most => Ok(value),
        _ => Err(ConfigError::TooLarge {
            knob,
            value: value.to_string(),
            most: most.to_string(),
        }),
    }
}

fn small_enough(
    (payload, type_name): (Payload, &'static str),
    most: usize,
) -> Result<Payload, CodecError> {
    let bytes = payload.len();
    if bytes <= most {
        return Ok(payload);
    }
    Err(CodecError::new(
        CodecValue::InitArgs,
        CodecSide::Host,
        CodecStep::Encode,
        type_name,
        format!("it takes {bytes} bytes, over the {most} of `max_frame_bytes`"),
    ))
}
