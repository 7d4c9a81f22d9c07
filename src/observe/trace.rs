//! What happens to a pool, as lines of a log.
//!
//! Belongs here: level, fields and words of each event. Does not belong here: when one happens.

use std::fmt;

use crate::{
    observe::{PoolEvent, Suspect},
    task::TaskId,
};

/// The first of them, in one line.
struct Suspects<'a>(&'a [Suspect]);

impl fmt::Display for Suspects<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        for (nth, suspect) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            write!(f, "{comma}{} ({})", suspect.task, suspect.id.get())?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl PoolEvent {
    /// Writes the event's one line to the log.
    pub(crate) fn trace(&self) {
        match self {
            Self::WorkerStarting { worker } => tracing::debug!(
                slot = worker.slot.index(),
                generation = worker.generation,
                pid = worker.pid,
                "worker starting"
            ),
            Self::WorkerReady { worker, took } => tracing::info!(
                slot = worker.slot.index(),
                generation = worker.generation,
                pid = worker.pid,
                took = ?took,
                "worker ready"
            ),
            Self::WorkerLost {
                report,
                lost,
                requeued,
            } => tracing::warn!(
                slot = report.slot().index(),
                generation = report.generation(),
                pid = report.pid(),
                cause = ?report.cause(),
                code = report.code(),
                signal = report.signal(),
                uptime = ?report.uptime(),
                lost,
                requeued,
                detail = report.detail(),
                "worker lost"
            ),
            Self::WorkerRetired {
                worker,
                reason,
                uptime,
            } => tracing::info!(
                slot = worker.slot.index(),
                generation = worker.generation,
                pid = worker.pid,
                reason = ?reason,
                uptime = ?uptime,
                "worker retired"
            ),
            Self::WorkerRestarted { worker, after } => tracing::info!(
                slot = worker.slot.index(),
                generation = worker.generation,
                pid = worker.pid,
                after = ?after,
                "worker restarted"
            ),
            Self::CircuitOpened { retry_after } => {
                tracing::warn!(retry_after = ?retry_after, "circuit opened");
            }
            Self::CircuitHalfOpen { slot } => {
                tracing::info!(slot = slot.index(), "circuit half-open: a worker is tried");
            }
            Self::Escalated => tracing::error!("pool escalates: the restart budget is spent"),
            Self::SlowPoll {
                task,
                slot,
                took,
                waiting,
            } => tracing::warn!(
                task,
                slot = slot.index(),
                took = ?took,
                waiting,
                "a task held its worker's event loop; run that part in `cx.block(..)`, make it `EXCLUSIVE`, or give it a pool \
                 with `concurrency(1)`"
            ),
            Self::WorkerStalled {
                worker,
                task,
                id,
                lasted,
            } => tracing::warn!(
                slot = worker.slot.index(),
                generation = worker.generation,
                pid = worker.pid,
                task,
                id = id.map(TaskId::get),
                lasted = ?lasted,
                "{}",
                match task {
                    Some(_) => "worker stalled: one poll of a task holds its event loop",
                    None => "worker stalled: it does not answer",
                }
            ),
            Self::Output {
                worker,
                stream,
                line,
            } => tracing::info!(
                slot = worker.slot.index(),
                generation = worker.generation,
                pid = worker.pid,
                stream = ?stream,
                // It may be a line of anybody's, and drive a terminal.
                "{}",
                line.escape_debug()
            ),
            Self::Captured { task, id, path } => tracing::info!(
                task,
                id = id.get(),
                path = %path.display(),
                "the input of a suspect was kept"
            ),
            Self::CaptureFailed { task, id, message } => tracing::warn!(
                task,
                id = id.get(),
                message,
                "the input of a suspect was not kept"
            ),
            Self::Inquest {
                report,
                suspects,
                poisoned,
                runs,
            } if poisoned.is_empty() => tracing::warn!(
                slot = report.slot().index(),
                generation = report.generation(),
                pid = report.pid(),
                suspects = %Suspects(suspects),
                runs,
                "the death of a worker is not reproducible by any of its tasks alone"
            ),
            Self::Inquest {
                report,
                suspects,
                poisoned,
                runs,
            } => tracing::error!(
                slot = report.slot().index(),
                generation = report.generation(),
                pid = report.pid(),
                poisoned = %Suspects(poisoned),
                suspects = suspects.len(),
                runs,
                "the death of a worker was caused by a task"
            ),
            Self::RoutingReplaced { reason } => {
                tracing::error!(reason, "routing replaced by the least loaded worker");
            }
            Self::CircuitClosed { after } => tracing::warn!(after = ?after, "circuit closed"),
            Self::QueueFull { waiting, bytes } => tracing::warn!(waiting, bytes, "queue full"),
            Self::Resized { from, to } => tracing::info!(from, to, "pool resized"),
            Self::Paused => tracing::info!("pool paused"),
            Self::Resumed => tracing::info!("pool resumed"),
            Self::IntruderRefused { reason } => tracing::warn!(reason, "intruder refused"),
            Self::Closed { reason } => tracing::info!(reason = ?reason, "pool closed"),
        }
    }
}
