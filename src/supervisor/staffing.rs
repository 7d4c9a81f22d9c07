//! Which workers a pool has.
//!
//! Belongs here: what the supervisor decides when a worker is ready, has ended or is to be replaced, and when there are to be
//! more or fewer of them. Does not belong here: the pool's own end; what is known of slots, which is `control`'s.
//! Invariant: a slot that is to have a worker has one, or one is on the way, or it waits for the circuit to close.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, WeakAddr};

use crate::{
    config::OnExhausted,
    observe::{CloseReason, PoolEvent, PoolState, RetireReason},
    sched::Decision,
    supervisor::{
        PoolSupervisor,
        actor::Home,
        core::End,
        life::LifeEnded,
        proxy::{LaunchWorker, ProcessProxy, ReplaceWorker, Tell, WorkerEnded, WorkerReady},
        session::Command,
        slots::{SlotRecord, slots},
    },
    task::Slot,
};

impl PoolSupervisor {
    pub(super) fn launch(&self, slot: Slot, delay: Duration) {
        let life = self.core.control.slot(slot, SlotRecord::launch);
        if let (Some(proxy), Some(life)) = (self.proxy_of(slot), life) {
            proxy.do_send(LaunchWorker { life, delay });
        }
    }

    fn proxy_of(&self, slot: Slot) -> Option<&Addr<ProcessProxy>> {
        if slot.is_quarantine() {
            self.quarantine.as_ref()
        } else {
            self.proxies.get(slot.index() as usize)
        }
    }

    pub(super) fn all_proxies(&self) -> impl Iterator<Item = &Addr<ProcessProxy>> {
        self.proxies.iter().chain(&self.quarantine)
    }

    /// Starts a worker for suspects, if any wait and there is none.
    fn isolate(&self) {
        let control = &self.core.control;
        if !self.is_over() && !control.has_quarantine() && self.core.wants_quarantine() {
            let delay = control.quarantine_delay(&self.core.config.rules);
            self.launch(Slot::QUARANTINE, delay);
        }
    }

    /// Whether no worker is started any more.
    fn is_over(&self) -> bool {
        let ends = self.shutdown.is_some() && self.core.control.phase() != PoolState::Draining;
        ends || self.escalating
    }

    /// Starts the worker of a slot that need not wait for the circuit any more, if it has none.
    fn launch_lacking(&self, slot: Slot) {
        if self.core.control.lacks(slot) {
            self.launch(slot, Duration::ZERO);
        }
    }

    /// Starts the replacements whose turn it is.
    pub(super) fn rotate(&self) {
        if self.is_over() {
            return;
        }
        while let Some(slot) = self.core.control.grant() {
            self.launch(slot, Duration::ZERO);
        }
    }

    pub(super) fn tell(&self, slot: Slot, life: Option<u32>, command: Command) {
        if let Some(proxy) = self.proxy_of(slot) {
            proxy.do_send(Tell { life, command });
        }
    }

    /// Ends the worker of a slot. Returns whether there was one.
    pub(crate) fn kill(&self, slot: Slot) -> bool {
        let present = self.core.control.slot(slot, |record| {
            let present = record.present().filter(|record| record.pid.is_some());
            present.map(|record| record.life)
        });
        let Some(life) = present.flatten() else {
            return false;
        };
        self.tell(slot, Some(life), Command::Kill { at_once: false });
        true
    }

    /// Replaces every worker that takes tasks, a few at a time.
    pub(crate) fn recycle(&self) {
        self.core.control.want_all(RetireReason::Recycle);
        self.rotate();
    }

    /// A worker asks to be replaced.
    pub(super) fn replace(&self, message: &ReplaceWorker) {
        let ReplaceWorker { slot, life, reason } = *message;
        self.core.control.want(slot, life, reason);
        self.rotate();
        if reason == RetireReason::MaxTasks && self.core.control.is_waiting(slot, life) {
            // It takes no more tasks and has yet to wait for its turn: better to leave now than to be there for nothing.
            self.tell(slot, Some(life), Command::Retire(reason));
        }
    }

    /// Changes the number of slots.
    pub(crate) fn resize(&mut self, size: usize, ctx: &Context<Self>) {
        let before = self.core.control.size();
        if size == before || self.shutdown.is_some() || self.core.control.is_ending() {
            return;
        }
        self.core.resize(size);
        let resized = self.core.control.resize(size, Instant::now());
        // Otherwise it begins anew with as many, when those that end have ended.
        if !self.escalating {
            let supervisor = ctx.address().downgrade();
            for slot in slots(self.proxies.len(), size) {
                self.add_proxy(slot, supervisor.clone());
            }
            for slot in resized.dismissed {
                self.tell(slot, None, Command::Retire(RetireReason::Resize));
            }
            for slot in resized.start {
                self.launch(slot, Duration::ZERO);
            }
            if let Some(slot) = resized.freed {
                self.core.say_available();
                self.launch_lacking(slot);
            }
            self.rotate();
        }
        self.core.control.emit(PoolEvent::Resized {
            from: before,
            to: size,
        });
    }

    pub(super) fn add_proxy(&mut self, slot: Slot, supervisor: WeakAddr<Self>) {
        let proxy = self.proxy(slot, supervisor);
        self.proxies.push(proxy);
    }

    pub(super) fn proxy(&mut self, slot: Slot, supervisor: WeakAddr<Self>) -> Addr<ProcessProxy> {
        let (core, place) = (Arc::clone(&self.core), Arc::clone(&self.place));
        let proxy = ProcessProxy::new(core, place, slot, supervisor);
        match self.io.of(slot) {
            Some(arbiter) => ProcessProxy::start_in_arbiter(&arbiter, |_| proxy),
            None => proxy.start(),
        }
    }

    /// Ends the worker of a pool that is one process.
    pub(crate) fn end_process(&self, at_once: bool) {
        for proxy in &self.proxies {
            // It has been told to start before anybody could ask for this.
            proxy.do_send(Tell {
                life: None,
                command: Command::Kill { at_once },
            });
        }
    }

    pub(super) fn worker_ended(&mut self, message: &WorkerEnded, ctx: &mut Context<Self>) {
        let WorkerEnded { slot, life, ended } = *message;
        let control = &self.core.control;
        if slot.is_quarantine() {
            if let Some(life) = life {
                control.quarantine_ended(life);
            }
            return self.settled(slot, ctx);
        }
        // None follows in a pool that ends its workers, nor where there is to be one only.
        let over = self.is_over() || self.core.config.one_life;
        let starts = life.is_some_and(|life| control.ended(slot, life)) && !over;
        let now = Instant::now();
        match ended {
            _ if life.is_none() || over => {}
            LifeEnded::Held => self.launch_lacking(slot),
            LifeEnded::Asked | LifeEnded::Sacrificed if starts => {
                self.launch(slot, Duration::ZERO);
            }
            LifeEnded::Asked | LifeEnded::Sacrificed => {}
            LifeEnded::Abnormally => {
                let (decision, opened) = if starts {
                    control.exited(slot, now)
                } else {
                    control.left(slot, now)
                };
                self.core.say_available();
                let delay = match decision {
                    Decision::Open(_) if self.escalates() => return self.escalate(ctx),
                    Decision::Restart(delay) | Decision::Open(delay) => Some(delay),
                    Decision::Wait => None,
                };
                if let Some(retry_after) = opened {
                    control.emit(PoolEvent::CircuitOpened { retry_after });
                }
                match delay {
                    Some(delay) if starts => self.launch(slot, delay),
                    Some(_) => self.begin_waiting(slot),
                    None => {}
                }
            }
        }
        self.settled(slot, ctx);
    }

    /// What had to follow the end of a worker has.
    fn settled(&self, slot: Slot, ctx: &mut Context<Self>) {
        let control = &self.core.control;
        if !self.is_over() && !self.core.config.one_life {
            self.rotate();
            self.isolate();
        } else if control.slot(slot, |record| record.lives.is_empty()) == Some(true) {
            self.down.send_modify(|down| {
                down.insert(slot);
            });
            if self.escalating && control.is_empty() {
                ctx.stop();
            }
        }
    }

    /// The worker that a slot waits with begins now: there is none any more that it replaces.
    fn begin_waiting(&self, slot: Slot) {
        let waiting = self.core.control.slot(slot, |record| {
            let youngest = record.lives.last().filter(|record| !record.begun);
            youngest.map(|record| record.life)
        });
        if let Some(life) = waiting.flatten() {
            self.tell(slot, Some(life), Command::Begin);
        }
    }

    fn escalates(&self) -> bool {
        self.core.config.knobs.on_exhausted == OnExhausted::Escalate && self.shutdown.is_none()
    }

    /// Gives up: whoever owns the pool has to do something.
    fn escalate(&mut self, ctx: &mut Context<Self>) {
        let core = Arc::clone(&self.core);
        core.control.emit(PoolEvent::Escalated);
        core.control.start_escalated();
        if !matches!(self.home, Home::Supervised) {
            core.end(End::Gone);
            // Nobody is left to read the report.
            let _ = self.shut_down(Duration::ZERO, CloseReason::Escalated, ctx);
            return;
        }
        self.escalating = true;
        let delays = slots(0, core.control.size()).map(|slot| core.control.first_delay(slot));
        core.give_up(Instant::now() + delays.min().unwrap_or_default());
        for proxy in self.all_proxies() {
            proxy.do_send(Tell {
                life: None,
                command: Command::End { terminate: false },
            });
        }
    }

    pub(super) fn worker_ready(&self, WorkerReady { slot, up }: WorkerReady) {
        if let Some((life, reason)) = up.leaves {
            self.tell(slot, Some(life), Command::Retire(reason));
        }
        if self.is_over() {
            return;
        }
        // Much may have happened since it became ready.
        for slot in up.closed.map(|(_, parked)| parked).unwrap_or_default() {
            self.launch_lacking(slot);
        }
        self.rotate();
    }
}
