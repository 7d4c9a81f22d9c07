//! Looking at what a builder was told.
//!
//! Belongs here: what each setting may be, alone and with the others. Does not belong here: defaults.
//! Invariant: a bad setting is refused with its name, and nothing is there yet when it is.

use std::time::Duration;

use crate::{
    error::{
        CodecError, CodecSide, CodecStep, CodecValue, ConfigError, StartError, WorkerStartError,
    },
    pool::PoolBuilder,
    supervisor::Config,
    wire::Payload,
};

/// The smallest limit of a value: an error with all its texts at their own limits fits.
const MIN_FRAME_BYTES: usize = 256 * 1024;

impl<A> PoolBuilder<A> {
    pub(super) fn check(self) -> Result<Config, StartError> {
        if let Some(problem) = self.workers.problem() {
            return Err(problem.clone().into());
        }
        let processes = match self.processes {
            Some(count) => count,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let processes = count("processes", processes, 4096)?;
        let concurrency = count("concurrency", self.concurrency, 1 << 20)?;
        let queue_limit = self.queue_limit.unwrap_or(1024 * processes as usize);
        for (knob, value) in [
            ("queue_limit", queue_limit),
            ("queue_bytes", self.queue_bytes),
            ("result_bytes", self.result_bytes),
            ("max_attempts", self.max_attempts as usize),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { knob }.into());
            }
        }
        if self.start_timeout.is_zero() {
            return Err(ConfigError::Zero {
                knob: "start_timeout",
            }
            .into());
        }
        if self.max_frame_bytes < MIN_FRAME_BYTES {
            return Err(ConfigError::TooSmall {
                knob: "max_frame_bytes",
                value: self.max_frame_bytes.to_string(),
                least: MIN_FRAME_BYTES.to_string(),
            }
            .into());
        }
        if u32::try_from(self.max_frame_bytes).is_err() {
            return Err(ConfigError::TooLarge {
                knob: "max_frame_bytes",
                value: self.max_frame_bytes.to_string(),
                most: u32::MAX.to_string(),
            }
            .into());
        }
        if cfg!(not(unix)) && self.socket_dir.is_some() {
            return Err(ConfigError::Unsupported {
                knob: "socket_dir",
                platform: std::env::consts::OS,
            }
            .into());
        }
        if self.restart.backoff_min > self.restart.backoff_max {
            return Err(ConfigError::Contradiction {
                message: format!(
                    "the back-off begins with {:?}, above its maximum of {:?}",
                    self.restart.backoff_min, self.restart.backoff_max
                ),
            }
            .into());
        }
        let mut restart = self.restart;
        for duration in [
            &mut restart.period,
            &mut restart.backoff_min,
            &mut restart.backoff_max,
        ] {
            *duration = bounded(*duration);
        }
        let init_args = (self.args)
            .map(|args| args.and_then(|args| small_enough(args, self.max_frame_bytes)))
            .transpose()
            .map_err(|error| StartError::Worker(WorkerStartError::InitArgs(error)))?;
        Ok(Config {
            table: self.workers.table(),
            launcher: self.workers.launcher(),
            processes,
            concurrency,
            queue_limit,
            queue_bytes: self.queue_bytes,
            result_bytes: self.result_bytes,
            when_full: self.when_full,
            rules: restart.rules(processes),
            max_attempts: self.max_attempts,
            start_timeout: bounded(self.start_timeout),
            max_frame_bytes: self.max_frame_bytes,
            cancel_grace: bounded(self.cancel_grace),
            grace: bounded(self.grace),
            stdio: self.stdio,
            init_args,
        })
    }
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
