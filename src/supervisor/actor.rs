//! The actor that owns a pool.
//!
//! Belongs here: decisions about workers and about the pool's end. Does not belong here: tasks; the public messages, which
//! are the facade's.
//! Invariants: a panic in a handler costs that message alone; all that matters is in the core; nothing long-lived is in
//! the context, so that the actor notices when nobody has its address any more.
//!
//! Pool: *starting* ─ first worker ready ▶ *running* ⇄ *circuit open*, or, under a supervisor, ─ escalates ▶ *starting*; any ─ Drain, last address dropped ▶ *draining* ─
//! Stop, grace over ▶ *stopping* ─ all slots down ▶ *stopped*; any ─ System or arbiter ends ▶ dropped;
//! any ─ a thread of its workers' sockets ends under it ▶ *stopped*, as gone.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext, ActorState, Addr, AsyncContext, Context, Handler, Message, Running,
    Supervised, WeakAddr,
};
use tokio::sync::watch;

use crate::{
    error::capture,
    ipc::{SocketPlace, Sweeper},
    observe::{CloseReason, DrainReport, PoolEvent, PoolState},
    supervisor::{
        PoolCore,
        clock::Clock,
        config::DEFAULT_DRAIN,
        core::End,
        io::IoArbiters,
        proxy::{ProcessProxy, ReplaceWorker, WorkerEnded, WorkerReady},
        shutdown::{self, Before, Shutdown},
        slots::slots,
    },
    task::Slot,
};

/// Messages handled in a row before the arbiter's timers and sockets get a turn.
const MESSAGES_IN_A_ROW: u32 = 128;

/// Capacity of the mailbox for senders that wait; the queue of tasks is elsewhere.
const MAILBOX: usize = 1024;

/// Owns a pool of worker processes: starts, restarts and ends them, and answers messages.
///
/// It is an ordinary actor. Its address is [`Pool::addr`](crate::Pool::addr); the messages it takes are
/// [`Submit`](crate::Submit), [`Cancel`](crate::Cancel), [`GetStatus`](crate::GetStatus), [`Pause`](crate::Pause),
/// [`Resume`](crate::Resume), [`Resize`](crate::Resize), [`Recycle`](crate::Recycle), [`Kill`](crate::Kill),
/// [`Drain`](crate::Drain), [`Stop`](crate::Stop) and [`Subscribe`](crate::Subscribe).
#[derive(Debug)]
pub struct PoolSupervisor {
    pub(crate) core: Arc<PoolCore>,
    pub(super) place: Arc<SocketPlace>,
    pub(super) io: IoArbiters,
    pub(super) proxies: Vec<Addr<ProcessProxy>>,
    /// That of the slot beside them.
    pub(super) quarantine: Option<Addr<ProcessProxy>>,
    /// The slots that will start no worker any more.
    pub(super) down: watch::Sender<HashSet<Slot>>,
    pub(super) shutdown: Option<Shutdown>,
    /// The last address was dropped: this one keeps the actor until it has drained.
    keep: Option<Addr<Self>>,
    in_a_row: u32,
    /// Its own address.
    own: Option<WeakAddr<Self>>,
    /// Ends the arbiter that was made for this pool.
    pub(super) home: Home,
    /// It is given up, and begins anew when its last worker has gone.
    pub(super) escalating: bool,
    clock: Option<Clock>,
    sweeper: Option<Sweeper>,
}

/// Where a pool lives.
#[derive(Debug)]
pub(crate) enum Home {
    /// On an arbiter of its user's.
    Shared,
    /// The same, under `actix::Supervisor`.
    Supervised,
    /// On one that was made for it.
    OwnArbiter,
    /// On a thread with a `System` that ends when this is dropped.
    OwnSystem(
        #[expect(dead_code, reason = "its drop is the message")] tokio::sync::oneshot::Sender<()>,
    ),
}

/// The pool has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Ended;

/// The thread of a worker's proxy has ended under it, as all arbiters do when their `System` is stopped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Gone;

impl PoolSupervisor {
    pub(crate) fn new(core: Arc<PoolCore>, place: SocketPlace, home: Home) -> Self {
        Self {
            io: IoArbiters::new(core.config.knobs.io_arbiters),
            core,
            place: Arc::new(place),
            proxies: Vec::new(),
            quarantine: None,
            down: watch::Sender::new(HashSet::new()),
            shutdown: None,
            keep: None,
            in_a_row: 0,
            own: None,
            home,
            escalating: false,
            clock: None,
            sweeper: None,
        }
    }

    /// Runs a handler's body, whose panic must not end the actor and with it every waiter.
    pub(crate) fn guarded(
        &mut self,
        ctx: &mut Context<Self>,
        body: impl FnOnce(&mut Self, &mut Context<Self>),
    ) {
        if capture::contained(|| body(self, ctx)).is_none() {
            crate::observe::log(|| tracing::error!("a handler of the pool's supervisor panicked"));
        }
    }

    /// Lets the arbiter breathe: a mailbox is otherwise drained until it is empty.
    pub(crate) fn breathe(&mut self, ctx: &mut Context<Self>) {
        self.in_a_row += 1;
        if self.in_a_row >= MESSAGES_IN_A_ROW {
            self.in_a_row = 0;
            ctx.wait(actix::fut::wrap_future(tokio::task::yield_now()));
        }
    }

    /// Begins to end, or hurries what has begun. The report comes through the receiver.
    pub(crate) fn shut_down(
        &mut self,
        grace: Duration,
        reason: CloseReason,
        ctx: &mut Context<Self>,
    ) -> watch::Receiver<Option<DrainReport>> {
        if let Some(shutdown) = &self.shutdown {
            shutdown.hurry(shutdown::deadline(grace));
            return shutdown.report.clone();
        }
        let (outstanding, counts) = self.core.close();
        if self.core.control.advance(PoolState::Draining) {
            self.core.control.start_closed();
            self.core.control.emit(PoolEvent::Closed { reason });
        }
        let (deadline, until) = watch::channel(shutdown::deadline(grace));
        let (sender, report) = watch::channel(None);
        self.shutdown = Some(Shutdown {
            deadline,
            report: report.clone(),
        });
        // Slots without a life are down already.
        let address = ctx.address();
        let before = Before {
            outstanding,
            counts,
            killed: self.core.control.killed(),
            at: Instant::now(),
        };
        let ending = shutdown::run(
            Arc::clone(&self.core),
            self.all_proxies().cloned().collect(),
            until,
            self.down.subscribe(),
            before,
        );
        let place = Arc::clone(&self.place);
        actix_rt::spawn(async move {
            let report = ending.await;
            // Before the report: whoever gets it may end the process at once.
            place.remove();
            address.do_send(Ended);
            let _ = sender.send(Some(report));
        });
        report
    }

    /// Ends what there is left to end, because nobody will any more.
    fn end_without_warning(&self) {
        if self.core.control.advance(PoolState::Stopped) {
            self.core.control.start_closed();
            self.core.end(End::Gone);
            self.core.control.emit(PoolEvent::Closed {
                reason: CloseReason::Gone,
            });
        }
    }

    /// The pool has ended, and lets go of what it had.
    fn ended(&mut self, ctx: &mut Context<Self>) {
        if self.core.control.advance(PoolState::Stopped) {
            self.io.stop();
        }
        // Otherwise workers may have yet to be ended: their threads are waited for when this is dropped.
        self.keep = None;
        self.clock = None;
        self.sweeper = None;
        // The address of one that has ended keeps the runtime that it was on.
        self.proxies.clear();
        self.quarantine = None;
        // Its supervisor would begin it anew. It goes when nobody has its address any more.
        if !matches!(self.home, Home::Supervised) {
            ctx.stop();
        }
    }
}

impl Actor for PoolSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX);
        let supervisor = ctx.address().downgrade();
        self.own = Some(supervisor.clone());
        crate::observe::log(|| {
            tracing::info!(config = %self.core.effective(), "pool starts");
        });
        if self.core.control.is_ending() {
            return;
        }
        // The one before its supervisor began it anew goes on.
        let core = &self.core;
        self.clock.get_or_insert_with(|| Clock::start(core));
        self.sweeper
            .get_or_insert_with(|| Sweeper::start(&core.spares));
        self.quarantine = Some(self.proxy(Slot::QUARANTINE, supervisor.clone()));
        for slot in slots(0, self.core.control.size()) {
            self.add_proxy(slot, supervisor.clone());
            self.launch(slot, self.core.control.first_delay(slot));
        }
    }

    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        // Still running means that nobody has the address any more; otherwise the context or the arbiter ends.
        if ctx.state() == ActorState::Running && self.core.control.phase() != PoolState::Stopped {
            self.keep = Some(ctx.address());
            // Nobody is left to read the report.
            let _ = self.shut_down(DEFAULT_DRAIN, CloseReason::Drain, ctx);
            return Running::Continue;
        }
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        if matches!(self.home, Home::OwnArbiter) {
            actix_rt::Arbiter::current().stop();
        }
    }
}

impl Supervised for PoolSupervisor {
    /// Forgets what made it escalate, but for how long slots that cannot start wait. What was asked of it meanwhile stays:
    /// its size, its end.
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.proxies.clear();
        self.quarantine = None;
        self.escalating = false;
        if self.shutdown.is_none() {
            self.down.send_replace(HashSet::new());
        }
        self.core.control.restart();
    }
}

impl Drop for PoolSupervisor {
    fn drop(&mut self) {
        self.end_without_warning();
        // An address keeps the waker of its mailbox and with it the whole runtime, descriptors and all, after both have
        // ended. A last message, which nobody reads, takes the waker out.
        if let Some(own) = self.own.as_ref().and_then(WeakAddr::upgrade) {
            own.do_send(Ended);
        }
    }
}

impl Handler<WorkerEnded> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, message: WorkerEnded, ctx: &mut Context<Self>) {
        self.guarded(ctx, |this, ctx| this.worker_ended(&message, ctx));
    }
}

impl Handler<WorkerReady> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, message: WorkerReady, ctx: &mut Context<Self>) {
        self.guarded(ctx, |this, _| this.worker_ready(message));
    }
}

impl Handler<ReplaceWorker> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, message: ReplaceWorker, ctx: &mut Context<Self>) {
        self.guarded(ctx, |this, _| this.replace(&message));
    }
}

impl Handler<Ended> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, _: Ended, ctx: &mut Context<Self>) {
        self.ended(ctx);
    }
}

impl Handler<Gone> for PoolSupervisor {
    type Result = ();

    fn handle(&mut self, _: Gone, ctx: &mut Context<Self>) {
        self.end_without_warning();
        // Nobody reports the end of a worker that was ended with its thread.
        self.down.send_modify(|down| {
            down.extend(slots(0, self.proxies.len()).chain([Slot::QUARANTINE]));
        });
        self.ended(ctx);
    }
}
