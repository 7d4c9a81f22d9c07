//! The actor of one slot.
//!
//! Belongs here: starting and ending the slot's workers, one after the other. Does not belong here: tasks, which pass by
//! this actor between the core and the session; and when to restart, which the supervisor decides.
//! Invariant: a slot has at most one life at a time; a panic in a handler ends that life and is reported as its end.

use std::{sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, Message, WeakAddr};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{
    error::capture,
    ipc::SocketPlace,
    supervisor::{
        PoolCore, PoolSupervisor,
        life::{self, Birth, LifeEnded},
        session::Command,
    },
    task::{FaultPoint, Slot},
};

/// Start a worker after a delay.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct LaunchWorker {
    pub(super) generation: u32,
    pub(super) delay: Duration,
}

/// Tell the present worker something.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Tell(pub(super) Command);

/// A slot's worker has ended, and with it everything it had.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct WorkerEnded {
    pub(super) slot: Slot,
    pub(super) generation: u32,
    pub(super) ended: LifeEnded,
}

/// The circuit has closed: these slots may start.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Unpark(pub(super) Vec<Slot>);

/// Bridges one slot to the process in it.
#[derive(Debug)]
pub(crate) struct ProcessProxy {
    core: Arc<PoolCore>,
    place: Arc<SocketPlace>,
    slot: Slot,
    supervisor: WeakAddr<PoolSupervisor>,
    life: Option<UnboundedSender<Command>>,
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
            life: None,
            over: false,
        }
    }

    /// Reports an end that no life reports.
    fn report(&self, generation: u32, ended: LifeEnded) {
        if let Some(supervisor) = self.supervisor.upgrade() {
            supervisor.do_send(WorkerEnded {
                slot: self.slot,
                generation,
                ended,
            });
        }
    }

    fn launch(&mut self, message: &LaunchWorker) {
        if self.over {
            return self.report(message.generation, LifeEnded::Asked);
        }
        let (commands, receiver) = unbounded_channel();
        self.life = Some(commands);
        let birth = Birth {
            core: Arc::clone(&self.core),
            place: Arc::clone(&self.place),
            slot: self.slot,
            generation: message.generation,
            delay: message.delay,
            supervisor: self.supervisor.clone(),
        };
        let (slot, generation) = (self.slot, message.generation);
        let supervisor = self.supervisor.clone();
        // Not in the context: there it would keep this actor alive, and a panic in a handler would drop it.
        actix_rt::spawn(async move {
            let ended = life::live(birth, receiver).await;
            if let Some(supervisor) = supervisor.upgrade() {
                supervisor.do_send(WorkerEnded {
                    slot,
                    generation,
                    ended,
                });
            }
        });
    }

    /// Runs a handler's body; if it panics, the worker of this slot ends and is reported like any other.
    fn guarded(&mut self, body: impl FnOnce(&mut Self)) {
        let done = capture::contained(|| {
            self.core.fault(FaultPoint::ProxyHandler);
            body(self);
        });
        if done.is_none() {
            crate::observe::log(|| {
                tracing::error!(slot = self.slot.index(), "a proxy's handler panicked")
            });
            match &self.life {
                Some(life) if !life.is_closed() => {
                    let _ = life.send(Command::Fail);
                }
                _ => {
                    // No life to end: the next one was not started, so its end is reported here.
                    let record = self
                        .core
                        .control
                        .slot(self.slot, |record| record.generation);
                    self.report(record.unwrap_or(0), LifeEnded::Abnormally);
                }
            }
        }
    }

    fn tell(&mut self, command: Command) {
        self.over |= matches!(command, Command::End { .. });
        match &self.life {
            Some(life) if life.send(command).is_ok() => {}
            // Its end has reported itself.
            _ if matches!(command, Command::Kill { .. }) => {}
            _ => self.report(0, LifeEnded::Asked),
        }
    }
}

impl Actor for ProcessProxy {
    type Context = Context<Self>;
}

impl Handler<LaunchWorker> for ProcessProxy {
    type Result = ();

    fn handle(&mut self, message: LaunchWorker, _: &mut Context<Self>) {
        self.guarded(|this| this.launch(&message));
    }
}

impl Handler<Tell> for ProcessProxy {
    type Result = ();

    fn handle(&mut self, Tell(command): Tell, _: &mut Context<Self>) {
        self.guarded(|this| this.tell(command));
    }
}
