//! The actor of one slot.
//!
//! Belongs here: starting and ending the slot's workers, one after the other. Does not belong here: tasks, which pass by
//! this actor between the core and the session; and when to restart, which the supervisor decides.
//! Invariants: every life that is to be started is reported as ended once; a panic while one is started ends it, or is
//! reported as its end; what a life is to be told it is told, panic or not.

use std::{sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, Message, WeakAddr};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{
    error::capture,
    ipc::SocketPlace,
    observe::RetireReason,
    supervisor::{
        PoolCore, PoolSupervisor,
        control::WorkerUp,
        life::{self, Birth, LifeEnded},
        session::Command,
    },
    task::{FaultPoint, Slot},
};

/// Start a worker after a delay.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct LaunchWorker {
    pub(super) life: u32,
    pub(super) delay: Duration,
}

/// Tell a worker something.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Tell {
    /// `None` is all that are in the slot.
    pub(super) life: Option<u32>,
    pub(super) command: Command,
}

/// A slot's worker has ended, and with it everything it had.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct WorkerEnded {
    pub(super) slot: Slot,
    /// Which; `None` says that there was none to end.
    pub(super) life: Option<u32>,
    pub(super) ended: LifeEnded,
}

/// A worker is ready, and something follows from it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct WorkerReady {
    pub(super) slot: Slot,
    pub(super) up: WorkerUp,
}

/// A worker is to be replaced.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ReplaceWorker {
    pub(super) slot: Slot,
    pub(super) life: u32,
    pub(super) reason: RetireReason,
}

/// Bridges one slot to the process in it.
#[derive(Debug)]
pub(crate) struct ProcessProxy {
    core: Arc<PoolCore>,
    place: Arc<SocketPlace>,
    slot: Slot,
    supervisor: WeakAddr<PoolSupervisor>,
    lives: Vec<(u32, UnboundedSender<Command>)>,
    /// The pool ends: no further worker is started.
    over: bool,
}

impl ProcessProxy {
    pub(super) fn new(
        core: Arc<PoolCore>,
        place: Arc<SocketPlace>,
        slot: Slot,
        supervisor: WeakAddr<PoolSupervisor>,
    ) -> Self {
        Self {
            core,
            place,
            slot,
            supervisor,
            lives: Vec::new(),
            over: false,
        }
    }

    /// Reports an end that no life reports.
    fn report(&self, life: Option<u32>, ended: LifeEnded) {
        if let Some(supervisor) = self.supervisor.upgrade() {
            supervisor.do_send(WorkerEnded {
                slot: self.slot,
                life,
                ended,
            });
        }
    }

    fn launch(&mut self, message: &LaunchWorker) {
        if self.over {
            return self.report(Some(message.life), LifeEnded::Asked);
        }
        let (commands, receiver) = unbounded_channel();
        self.lives.retain(|(_, life)| !life.is_closed());
        self.lives.push((message.life, commands));
        let birth = Birth {
            core: Arc::clone(&self.core),
            place: Arc::clone(&self.place),
            slot: self.slot,
            life: message.life,
            generation: 0,
            delay: message.delay,
            supervisor: self.supervisor.clone(),
        };
        let (slot, life) = (self.slot, message.life);
        let supervisor = self.supervisor.clone();
        // Not in the context: there it would keep this actor alive, and a panic in a handler would drop it.
        actix_rt::spawn(async move {
            let ended = life::live(birth, receiver).await;
            if let Some(supervisor) = supervisor.upgrade() {
                supervisor.do_send(WorkerEnded {
                    slot,
                    life: Some(life),
                    ended,
                });
            }
        });
    }

    /// Runs a handler's body. Returns whether it came to its end.
    fn guarded(&mut self, body: impl FnOnce(&mut Self)) -> bool {
        let done = capture::contained(|| {
            self.core.fault(FaultPoint::ProxyHandler);
            body(self);
        });
        if done.is_none() {
            crate::observe::log(|| {
                tracing::error!(slot = self.slot.index(), "a proxy's handler panicked")
            });
        }
        done.is_some()
    }

    fn tell(&mut self, Tell { life, command }: &Tell) {
        let is_end = matches!(command, Command::End { .. });
        self.over |= is_end;
        let mut heard = false;
        for (number, commands) in &self.lives {
            if life.is_none_or(|life| life == *number) {
                // The end of one that has ended has reported itself.
                heard |= commands.send(*command).is_ok();
            }
        }
        if is_end && !heard {
            self.report(None, LifeEnded::Asked);
        }
    }
}

impl Actor for ProcessProxy {
    type Context = Context<Self>;
}

impl Handler<LaunchWorker> for ProcessProxy {
    type Result = ();

    fn handle(&mut self, message: LaunchWorker, _: &mut Context<Self>) {
        if self.guarded(|this| this.launch(&message)) {
            return;
        }
        match self.lives.last() {
            Some((life, commands)) if *life == message.life => {
                // One that has ended has reported itself.
                let _ = commands.send(Command::Fail);
            }
            _ => self.report(Some(message.life), LifeEnded::Abnormally),
        }
    }
}

impl Handler<Tell> for ProcessProxy {
    type Result = ();

    fn handle(&mut self, message: Tell, _: &mut Context<Self>) {
        // A worker that is not told to leave or to end would be waited for in vain.
        let _ =
            self.guarded(|this| this.tell(&message)) || self.guarded(|this| this.tell(&message));
    }
}
