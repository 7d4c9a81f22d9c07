//! Ending a pool in good order.
//!
//! Belongs here: the stages of a drain and of a stop, and the report. Does not belong here: what a worker does when asked.
//!
//! ```text
//!  Draining ── nothing is left ───────────────────────────▶ ending workers ─▶ Stopped
//!     │                                                          ▲
//!     └─ grace over, or Stop ─▶ Stopping: what waits is rejected, what runs is cancelled;
//!                               cancel_grace later what still runs is settled ┘
//! ```
//! Invariant: from the end of the drain's grace on no stage waits for a worker longer than its own limit, so the whole
//! takes at most `cancel_grace` + `grace` more, and a second or so for what the kernel holds.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::Addr;
use tokio::sync::watch;

use crate::{
    observe::{Counts, DrainReport, PoolState},
    supervisor::{
        PoolCore,
        core::End,
        proxy::{ProcessProxy, Tell},
        session::Command,
    },
    task::Slot,
};

/// What the stages of an ending pool share with its actor.
#[derive(Debug)]
pub(super) struct Shutdown {
    /// When what is accepted is not waited for any more. It only comes nearer.
    pub(super) deadline: watch::Sender<Instant>,
    /// The report, when there is one.
    pub(super) report: watch::Receiver<Option<DrainReport>>,
}

/// What a pool had when it began to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub(super) outstanding: u64,
    pub(super) counts: Counts,
    pub(super) killed: u32,
    pub(super) at: Instant,
}

impl Shutdown {
    /// Ends the drain at `deadline`, if it would go on for longer.
    pub(super) fn hurry(&self, deadline: Instant) {
        self.deadline.send_if_modified(|present| {
            let nearer = deadline < *present;
            *present = deadline.min(*present);
            nearer
        });
    }
}

/// The end of a grace that begins now.
pub(super) fn deadline(grace: Duration) -> Instant {
    // `Duration::MAX` cannot be added; a year is as good as for ever.
    let now = Instant::now();
    now.checked_add(grace)
        .unwrap_or(now + Duration::from_secs(365 * 24 * 60 * 60))
}

/// Lets accepted tasks finish until the deadline, then ends the rest, then the workers.
pub(super) async fn run(
    core: Arc<PoolCore>,
    proxies: Vec<Addr<ProcessProxy>>,
    mut deadline: watch::Receiver<Instant>,
    down: watch::Receiver<HashSet<Slot>>,
    before: Before,
) -> DrainReport {
    let drained = loop {
        let until = *deadline.borrow_and_update();
        if until <= Instant::now() {
            break core.is_idle();
        }
        tokio::select! {
            () = idle(&core) => break true,
            () = tokio::time::sleep_until(until.into()) => {}
            // The sender lives in the actor, which outlives this, unless it is gone: then nothing is left, which ends the loop.
            _ = deadline.changed() => {}
        }
    };
    let mut stuck = false;
    if !drained {
        core.control.advance(PoolState::Stopping);
        core.cancel_all();
        stuck = tokio::time::timeout(core.config.knobs.cancel_grace, idle(&core))
            .await
            .is_err();
        core.end(End::Asked);
    }
    core.control.advance(PoolState::Stopping);
    for proxy in &proxies {
        proxy.do_send(Tell {
            life: None,
            command: Command::End { terminate: stuck },
        });
    }
    all_down(down, proxies.len()).await;
    DrainReport {
        outstanding: before.outstanding,
        counts: core.numbers().counts.since(&before.counts),
        killed: core.control.killed() - before.killed,
        took: before.at.elapsed(),
    }
}

/// Waits until no task is left.
async fn idle(core: &PoolCore) {
    loop {
        let notified = core.idle.notified();
        let mut notified = std::pin::pin!(notified);
        // Registered before the look, or the last task could settle in between.
        notified.as_mut().enable();
        if core.is_idle() {
            return;
        }
        notified.await;
    }
}

/// Waits until every slot is down. Each session limits how long its worker takes.
async fn all_down(mut down: watch::Receiver<HashSet<Slot>>, slots: usize) {
    // The sender lives in the actor, which outlives this, unless it is gone and nobody reports any more.
    let _ = down.wait_for(|down| down.len() >= slots).await;
}
