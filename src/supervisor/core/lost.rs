//! What the tasks of a worker that has gone are told.
//!
//! Belongs here: whose doing its end was, and what that makes of each task. Does not belong here: who runs again, which is the
//! ledger's.

use std::{sync::Arc, time::Instant};

use crate::{
    error::{Crash, CrashReport, LossCause, RunningTask, Started, TimeoutEnd, signal},
    sched::{Death, Doing, Seat, Ticket, Verdict},
    supervisor::{
        PoolCore,
        capture::Suspected,
        core::{
            After,
            reported::{ended_for, timed_out},
        },
        jitter,
        reply::Settled,
    },
    wire::Payload,
};

/// Whose doing the end of a worker was, as far as its session knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guilt {
    /// Not its tasks'.
    Nobody,
    /// That of its tasks or of others, for all that is known.
    Perhaps,
    /// Perhaps that of any of them; how it ended says more.
    Somebody,
    /// That of this one.
    One(Ticket),
}

/// How many of a lost worker's tasks its report names.
const NAMED: usize = 32;

impl PoolCore {
    /// What a worker that has gone had. `read` says that all it had said was read.
    pub(crate) fn aboard(&self, seat: Seat, read: bool) -> Vec<RunningTask> {
        let now = Instant::now();
        let aboard = self.lock().ledger.aboard(seat, read, NAMED);
        let tasks = aboard.into_iter().map(|task| RunningTask {
            task: self.config.table.name(task.name),
            id: task.id,
            age: now.saturating_duration_since(task.sent),
            started: task.started,
        });
        tasks.collect()
    }

    /// A worker has gone. `guilt` says whose doing it was, `read` that all it had said was read.
    ///
    /// Returns how many tasks were settled and how many went back to the queue.
    pub(crate) fn lost(
        &self,
        seat: Seat,
        crash: &Arc<Crash>,
        guilt: Guilt,
        read: bool,
    ) -> (usize, usize) {
        let mut after = After::default();
        let mut kept = Vec::new();
        let (settled, requeued, suspects) = {
            let mut guard = self.lock();
            let state = &mut *guard;
            let doing = match guilt {
                Guilt::Nobody => Doing::Others,
                Guilt::Perhaps => Doing::Unknown,
                Guilt::One(ticket) => Doing::One(ticket),
                Guilt::Somebody => match (&crash.cause, crash.code, crash.signal) {
                    // Whoever sent it; it is no signal that code gets for what it does.
                    (LossCause::Signal, _, Some(signal::KILL)) => Doing::Unknown,
                    // It did not answer any more, which somebody may have seen to.
                    (LossCause::Stalled, ..) => Doing::Unknown,
                    // It did not end, or its host's side of it did.
                    (_, None, None) => Doing::Unknown,
                    _ => Doing::Tasks,
                },
            };
            let short = matches!(crash.cause, LossCause::Memory | LossCause::KernelOom);
            let death = Death {
                doing,
                read,
                shortage: short.then(Instant::now),
            };
            if let Some(lane) = state.lanes.get_mut(seat.index()) {
                (lane.resident, lane.too_much) = (0, None);
            }
            let table = &self.config.table;
            let keep = |id, name, attempt, payload: &Payload| {
                if self.config.captures.is_some() {
                    kept.push(Suspected {
                        task: table.name(name),
                        version: table.version(name),
                        id,
                        attempt,
                        payload: payload.clone(),
                    });
                }
            };
            let lost = state.ledger.lost(seat, death, jitter::random, keep);
            let suspects = lost.suspects;
            state.counts.retried += lost.again;
            if let Some(number) = lost.inquest {
                state.inquests.insert(number, Arc::clone(crash));
            }
            let settled = lost.settled.len();
            for task in lost.settled {
                let outcome = match task.verdict {
                    Verdict::Cancelled => {
                        let started = task.started != Started::No;
                        match (task.over, started) {
                            (Some(over), true) => timed_out(over, TimeoutEnd::WithWorker),
                            (over, started) => ended_for(over, started, false),
                        }
                    }
                    verdict => {
                        let suspects = if task.suspect { lost.suspects } else { 0 };
                        let report = CrashReport::new(Arc::clone(crash), task.started, suspects);
                        Settled::WorkerLost(match verdict {
                            Verdict::Poisoned => report.poisoning(),
                            _ => report,
                        })
                    }
                };
                after.settle_lost(state, task.id, task.reply, outcome);
            }
            if lost.requeued > 0 {
                self.requeued(state);
            }
            self.freed(state, &mut after);
            (settled, lost.requeued, suspects)
        };
        self.finish(after);
        if let (Some(captures), false) = (&self.config.captures, kept.is_empty()) {
            let report = CrashReport::new(Arc::clone(crash), Started::Yes, suspects);
            captures.keep(kept, format!("{report:#}"), self.this.clone());
        }
        (settled, requeued)
    }
}
