//! What is said of a worker that has ended.
//!
//! Belongs here: cause, report, what its tasks and the pool's observers are told. Does not belong here: what follows.
//! Invariant: what a worker had is settled or requeued before anybody hears of its end.

use std::{sync::Arc, time::Instant};

use crate::{
    error::{Crash, CrashReport, LossCause, Started, Vitals, WorkerStartError},
    observe::{ExitStatus, PoolEvent, PoolState},
    supervisor::{
        Launched,
        core::Guilt,
        life::{Birth, Guard, LifeEnded},
        relay::Relay,
        session::{Ended, Why},
    },
    task::WorkerInfo,
};

/// Why a worker was lost.
pub(super) struct Loss {
    pub(super) cause: LossCause,
    pub(super) detail: Option<String>,
    /// Whose doing it was.
    pub(super) guilt: Guilt,
    /// All that it had said was read.
    pub(super) read: bool,
    /// As far as its session knows.
    pub(super) vitals: Vitals,
}

/// Settles what the worker had and says how it ended.
pub(super) fn ended_as(birth: &Birth, guard: &mut Guard, ended: Ended, born: Instant) -> LifeEnded {
    let exit = ended.exit;
    // Whoever does not die has more to say.
    let read = exit.is_some() && !ended.unread;
    let mut vitals = ended.vitals;
    if let Some(seat) = guard.seat {
        vitals.running = birth.core.aboard(seat, read);
    }
    let (cause, detail, guilt, outcome) = match ended.why {
        Why::Itself => (
            ended_itself(exit),
            None,
            Guilt::Somebody,
            LifeEnded::Abnormally,
        ),
        Why::Asked => (LossCause::Exited, None, Guilt::Nobody, LifeEnded::Asked),
        Why::Retired => (LossCause::Retired, None, Guilt::Nobody, LifeEnded::Asked),
        Why::Overdue(detail) => (
            LossCause::Retired,
            Some(detail),
            Guilt::Nobody,
            LifeEnded::Asked,
        ),
        Why::Killed if ended.retired.is_some() => {
            (LossCause::Retired, None, Guilt::Nobody, LifeEnded::Asked)
        }
        Why::Killed => (LossCause::Killed, None, Guilt::Nobody, LifeEnded::Asked),
        Why::Failed => (
            LossCause::Killed,
            Some("the host's proxy of this worker panicked".to_owned()),
            Guilt::Nobody,
            LifeEnded::Sacrificed,
        ),
        Why::Operator => (
            LossCause::Operator,
            None,
            Guilt::Nobody,
            LifeEnded::Sacrificed,
        ),
        Why::Stuck(detail) => (
            LossCause::Killed,
            Some(detail),
            Guilt::Nobody,
            LifeEnded::Sacrificed,
        ),
        Why::Stalled { guilty, detail } => (
            LossCause::Stalled,
            Some(detail),
            guilty.map_or(Guilt::Somebody, Guilt::One),
            LifeEnded::Sacrificed,
        ),
        Why::Panicked { guilty, panic } => {
            let place = panic.location().unwrap_or("a place unknown");
            let detail = format!("{} at {place}", panic.message());
            vitals.panic = Some(panic);
            (
                LossCause::Panicked,
                Some(detail),
                guilty.map_or(Guilt::Somebody, Guilt::One),
                LifeEnded::Abnormally,
            )
        }
        Why::Memory { guilt, detail } => (
            LossCause::Memory,
            Some(detail),
            guilt,
            LifeEnded::Sacrificed,
        ),
        Why::KernelOom(detail) => (
            LossCause::KernelOom,
            Some(detail),
            Guilt::Perhaps,
            LifeEnded::Abnormally,
        ),
        Why::Violation(detail) => (
            LossCause::Protocol,
            Some(detail),
            Guilt::Somebody,
            LifeEnded::Abnormally,
        ),
    };
    let planned = outcome == LifeEnded::Asked;
    if planned {
        // Nothing is lost with a worker that was asked to end; what it still had is settled by whoever asked.
        let launched = guard.launched.as_mut();
        let crash = crash(birth, launched, exit, born, (cause, detail), vitals);
        if let Some(seat) = guard.seat.take() {
            birth.core.lost(seat, &crash, guilt, read);
        }
        if let (Some(reason), Some(launched)) = (ended.retired, &guard.launched) {
            birth.core.control.emit(PoolEvent::WorkerRetired {
                worker: WorkerInfo::new(birth.slot, birth.generation, launched.pid),
                reason,
                uptime: born.elapsed(),
            });
        }
    } else {
        let loss = Loss {
            cause,
            detail,
            guilt,
            read,
            vitals,
        };
        report(birth, guard, exit, born, loss);
    }
    outcome
}

/// The cause of an end that the pool had no part in.
pub(super) fn ended_itself(exit: Option<ExitStatus>) -> LossCause {
    if exit.is_some_and(|exit| exit.signal.is_some()) {
        LossCause::Signal
    } else {
        LossCause::Exited
    }
}

pub(super) fn crash(
    birth: &Birth,
    launched: Option<&mut Launched>,
    exit: Option<ExitStatus>,
    born: Instant,
    (cause, detail): (LossCause, Option<String>),
    vitals: Vitals,
) -> Arc<Crash> {
    let launched = launched.map(|launched| &*launched);
    Arc::new(Crash {
        slot: birth.slot,
        generation: birth.generation,
        pid: launched.map(|launched| launched.pid),
        code: exit.and_then(|exit| exit.code),
        signal: exit.and_then(|exit| exit.signal),
        cause,
        detail,
        uptime: born.elapsed(),
        vitals: Vitals {
            cpu_time: launched.and_then(|launched| launched.process.cpu_time()),
            ..vitals
        },
        stderr_tail: stderr_tail(launched),
    })
}

/// Settles the tasks of a worker that was lost, and tells everybody.
pub(super) fn report(
    birth: &Birth,
    guard: &mut Guard,
    exit: Option<ExitStatus>,
    born: Instant,
    loss: Loss,
) {
    let launched = guard.launched.as_mut();
    let cause = (loss.cause, loss.detail);
    let crash = crash(birth, launched, exit, born, cause, loss.vitals);
    let core = &birth.core;
    let (mut lost, mut requeued) = match guard.seat.take() {
        Some(seat) => core.lost(seat, &crash, loss.guilt, loss.read),
        None => (0, 0),
    };
    if core.config.one_life {
        lost += core.lost_with(&crash);
        requeued = 0;
    }
    if matches!(
        birth.core.control.phase(),
        PoolState::Stopping | PoolState::Stopped
    ) {
        // A pool that ends what it has loses no worker, however that one ends.
        return;
    }
    let in_quarantine = birth.slot.is_quarantine();
    if in_quarantine && loss.guilt != Guilt::Nobody {
        birth.core.control.quarantine_came_to(lost > 0);
    }
    birth.core.control.slot(birth.slot, |record| {
        record.restarts += 1;
        // Whoever is ready next has not come for this one, if it was leaving, or is followed when there is need.
        if !in_quarantine && !record.life(birth.life).is_some_and(|life| life.leaving) {
            record.lost_at = Some(Instant::now());
        }
    });
    birth.core.control.emit(PoolEvent::WorkerLost {
        report: CrashReport::new(crash, Started::Unknown, 0),
        lost,
        requeued,
    });
}

/// Adds what the worker wrote to its standard error to the errors that show it.
pub(super) fn with_stderr(mut error: WorkerStartError, guard: &Guard) -> WorkerStartError {
    let tail = stderr_tail(guard.launched.as_ref());
    match &mut error {
        WorkerStartError::ExitedEarly { stderr_tail, .. }
        | WorkerStartError::TimedOut { stderr_tail, .. } => *stderr_tail = tail,
        _ => {}
    }
    error
}

pub(super) fn stderr_tail(launched: Option<&Launched>) -> String {
    launched
        .and_then(|launched| launched.stderr.as_ref())
        .map(Relay::tail)
        .unwrap_or_default()
}
