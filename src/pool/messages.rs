//! The messages of a pool's actor, but for [`Submit`].
//!
//! Belongs here: their types and handlers. Does not belong here: what they lead to.

use std::{sync::Arc, time::Duration};

use actix::{Context, Handler, Message, MessageResult, Recipient, ResponseFuture};
use tokio::sync::oneshot;

use crate::{
    error::ConfigError,
    observe::{CloseReason, DrainReport, PoolEvent, Status},
    pool::{Submit, check::processes, respond::Deferred},
    sched::changing_at_once,
    supervisor::{
        PoolCore, PoolSupervisor, descriptors,
        descriptors::{Demand, QUARANTINE},
    },
    task::{FaultPoint, Slot, Task, TaskId},
};

/// Ends a task, as [`Pool::cancel`](crate::Pool::cancel) does.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Cancel(pub TaskId);

/// Asks what the pool is doing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Status")]
pub struct GetStatus;

/// Takes no more tasks and ends when the accepted ones have, or after `grace`: see [`Pool::drain`](crate::Pool::drain).
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "DrainReport")]
pub struct Drain {
    /// How long accepted tasks may go on.
    pub grace: Duration,
}

/// Takes no more tasks, ends those that run, and the workers. During a drain it goes on to that drain's end.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "DrainReport")]
pub struct Stop;

/// Sends no more tasks to workers, until [`Resume`]. Those with workers go on; those that are submitted wait, as far as the
/// queue has room. A drain or stop lifts it.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Pause;

/// Sends tasks to workers again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Resume;

/// Ends the worker of a slot whatever it does: SIGTERM, and SIGKILL after the pool's `grace`, to its process group.
///
/// Answers whether there was one. What it had finished counts; of the rest, idempotent tasks run again, no attempt spent,
/// and the others settle as [`WorkerLost`](crate::TaskError::WorkerLost) with
/// [`LossCause::Operator`](crate::LossCause::Operator). Another worker takes its place at once.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "bool")]
pub struct Kill(pub Slot);

/// Changes how many workers there are. More are started at once, unless the circuit is open, or two workers are just leaving
/// the same slot; of fewer, those of the highest slots take no new tasks and leave when they have none left, or after the
/// pool's `retire_timeout`.
///
/// Answers when that is decided; [`PoolEvent::WorkerReady`] and [`PoolEvent::WorkerRetired`] tell when it has come about. An
/// automatic `queue_limit` follows the number. A pool that drains or stops keeps its size. Refused, with nothing changed,
/// is what `start` would refuse: zero, too many, or more than there are descriptors for.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), ConfigError>")]
pub struct Resize(pub usize);

/// Replaces every worker that takes tasks, a tenth of them at a time, at least one: the new one is ready before the old one
/// takes no more tasks, and the old one leaves when it has none left, or after the pool's `retire_timeout`.
///
/// [`PoolEvent::WorkerRetired`] tells of each.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Recycle;

/// Sends every [`PoolEvent`] from now on to an actor, until that actor ends.
///
/// Those of one worker come in their order. Workers whose sockets have [threads of their own](crate::PoolBuilder::io_arbiters) tell of
/// themselves from there, so an event of one may pass another's that happened just before; [`GetStatus`] has what is true at
/// one moment.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<PoolEvent>);

/// Ends the pool whether or not anybody waits for the report: of a message that was sent with `send`, actix forgets the
/// ones whose sender has gone before their turn.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct End {
    pub(super) grace: Duration,
    pub(super) reason: CloseReason,
    pub(super) answer: oneshot::Sender<DrainReport>,
}

/// Asks for what a [`Pool`](crate::Pool) holds beside an address.
#[derive(Debug, Message)]
#[rtype(result = "Arc<PoolCore>")]
pub(super) struct GetCore;

/// Ends the worker of a pool that is one process.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct EndProcess {
    pub(super) at_once: bool,
}

// Here and not beside the type: `observe` knows no actor.
impl Message for PoolEvent {
    type Result = ();
}

impl<T: Task> Handler<Submit<T>> for PoolSupervisor {
    type Result = Deferred;

    fn handle(&mut self, message: Submit<T>, ctx: &mut Context<Self>) -> Deferred {
        let mut deferred = Deferred {
            core: Arc::clone(&self.core),
            task: None,
        };
        self.guarded(ctx, |this, ctx| {
            this.core.fault(FaultPoint::SubmitHandler);
            this.breathe(ctx);
            deferred.task = Some(message.into_task());
        });
        deferred
    }
}

impl Handler<Cancel> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, Cancel(id): Cancel, ctx: &mut Context<Self>) {
        self.guarded(ctx, |this, _| this.core.cancel(id, false));
    }
}

impl Handler<GetStatus> for PoolSupervisor {
    type Result = MessageResult<GetStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.core.status())
    }
}

impl Handler<Pause> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, _: Pause, ctx: &mut Context<Self>) {
        self.guarded(ctx, |this, _| this.core.pause(true));
    }
}

impl Handler<Resume> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, _: Resume, ctx: &mut Context<Self>) {
        self.guarded(ctx, |this, _| this.core.pause(false));
    }
}

impl Handler<Kill> for PoolSupervisor {
    type Result = bool;

    fn handle(&mut self, Kill(slot): Kill, ctx: &mut Context<Self>) -> bool {
        let mut killed = false;
        self.guarded(ctx, |this, _| killed = this.kill(slot));
        killed
    }
}

impl Handler<Resize> for PoolSupervisor {
    type Result = Result<(), ConfigError>;

    fn handle(&mut self, Resize(count): Resize, ctx: &mut Context<Self>) -> Self::Result {
        let size = processes(count)?;
        if self.core.config.launcher.connects() {
            let present = self.core.control.size();
            let threads = |slots: usize| self.core.config.knobs.io_arbiters.min(slots);
            descriptors::check(Demand {
                workers: size.saturating_sub(present),
                replacing: changing_at_once(size) + QUARANTINE,
                threads: threads(size),
                new_threads: threads(size).saturating_sub(threads(present)),
            })?;
        }
        self.guarded(ctx, |this, ctx| this.resize(size, ctx));
        Ok(())
    }
}

impl Handler<Recycle> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, _: Recycle, ctx: &mut Context<Self>) {
        self.guarded(ctx, |this, _| this.recycle());
    }
}

impl Handler<Drain> for PoolSupervisor {
    type Result = ResponseFuture<DrainReport>;

    fn handle(&mut self, Drain { grace }: Drain, ctx: &mut Context<Self>) -> Self::Result {
        self.reported(grace, CloseReason::Drain, ctx)
    }
}

impl Handler<Stop> for PoolSupervisor {
    type Result = ResponseFuture<DrainReport>;

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) -> Self::Result {
        self.reported(Duration::ZERO, CloseReason::Stop, ctx)
    }
}

impl Handler<End> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, message: End, ctx: &mut Context<Self>) {
        let report = self.reported(message.grace, message.reason, ctx);
        actix_rt::spawn(async move {
            // Whoever does not wait any more does not want it.
            let _ = message.answer.send(report.await);
        });
    }
}

impl Handler<GetCore> for PoolSupervisor {
    type Result = MessageResult<GetCore>;

    fn handle(&mut self, _: GetCore, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Arc::clone(&self.core))
    }
}

impl Handler<EndProcess> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, EndProcess { at_once }: EndProcess, ctx: &mut Context<Self>) {
        self.guarded(ctx, |this, _| this.end_process(at_once));
    }
}

impl Handler<Subscribe> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, Subscribe(subscriber): Subscribe, ctx: &mut Context<Self>) {
        self.guarded(ctx, |this, _| this.core.control.subscribe(subscriber));
    }
}

impl PoolSupervisor {
    /// Ends the pool, and answers when it has ended.
    fn reported(
        &mut self,
        grace: Duration,
        reason: CloseReason,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<DrainReport> {
        let mut receiver = None;
        self.guarded(ctx, |this, ctx| {
            receiver = Some(this.shut_down(grace, reason, ctx));
        });
        Box::pin(async move {
            let Some(mut report) = receiver else {
                return DrainReport::default();
            };
            // The sender goes only with the pool's arbiter; then there is nobody to report.
            let report = report.wait_for(Option::is_some).await;
            report
                .ok()
                .and_then(|report| report.clone())
                .unwrap_or_default()
        })
    }
}
