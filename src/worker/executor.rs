//! Runs tasks on the event loop of a worker.
//!
//! Belongs here: polling and cancelling tasks. Does not belong here: reading frames; measuring and ends, which are beside it.
//! Invariants: each task that was taken reports exactly one end; a panic, in a poll or in a drop, stays its task's own.
//!
//! ```text
//!   queued ──▶ first poll, inline ──▶ done                    (no spawn, no waker)
//!                    │ pending
//!                    ▼
//!                 spawned ──▶ done
//!                    │ cancelled: token; at once, or after the grace if it listens to the token:
//!                    ▼
//!                 dropped ──▶ cancelled          (when its code on blocking threads has ended too)
//! ```

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use tokio::task::AbortHandle;

use crate::{
    error::capture,
    task::{IdMap, Scope, WorkerEnv},
    wire::{Outcome, Payload},
    worker::{
        Ended, LocalFuture, Program,
        batch::Batch,
        mourning::Mourning,
        outbox::Outbox,
        pace::Measure,
        tracked::Tracked,
        turnstile::Turnstile,
        waiting::{Incoming, Several},
    },
};

pub(super) struct Running {
    scope: Rc<Scope>,
    abort: AbortHandle,
}

/// The running tasks of a worker.
pub(crate) struct Executor {
    pub(crate) out: Outbox,
    pub(super) program: Arc<Program>,
    pub(super) state: Rc<dyn Any>,
    pub(super) env: Rc<WorkerEnv>,
    cancel_grace: Duration,
    /// Those that were pending at their first poll. That poll ends before anybody can ask for the task.
    pub(super) running: RefCell<IdMap<u64, Running>>,
    /// Dropped tasks whose code is still on blocking threads.
    pub(super) lingering: RefCell<Vec<Rc<Scope>>>,
    pub(super) names: RefCell<Vec<Measure>>,
    /// Tasks that count against the concurrency.
    pub(super) active: Cell<usize>,
    pub(super) mourning: Mourning,
    /// The session is polling a task itself and writes afterwards anyway.
    pub(super) inline: Cell<bool>,
    /// When the last poll had ended, which is when what came after it began.
    pub(super) now: Cell<Instant>,
    pub(super) turnstile: Rc<Turnstile>,
    this: Weak<Executor>,
}

impl Executor {
    pub(crate) fn new(
        out: Outbox,
        program: Arc<Program>,
        state: Rc<dyn Any>,
        env: Rc<WorkerEnv>,
        cancel_grace: Duration,
    ) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            names: RefCell::new(vec![Measure::default(); program.tasks.len()]),
            out,
            program,
            state,
            env,
            cancel_grace,
            running: RefCell::new(IdMap::default()),
            lingering: RefCell::new(Vec::new()),
            active: Cell::new(0),
            mourning: Mourning::default(),
            inline: Cell::new(false),
            now: Cell::new(Instant::now()),
            turnstile: Rc::default(),
            this: this.clone(),
        })
    }

    /// How many names of tasks there are.
    pub(super) fn names(&self) -> usize {
        self.program.tasks.len()
    }

    pub(crate) fn active(&self) -> usize {
        self.active.get()
    }

    /// Polls a task for the first time. `announced` says that the host has been told of its start.
    ///
    /// Takes the present time and returns it: one reading of the clock is the end of one poll and the start of the next.
    pub(crate) fn start(&self, task: Incoming, announced: bool, began: Instant) -> Instant {
        let scope = Rc::new(Scope::new(
            task.ticket,
            task.id,
            task.attempt,
            Rc::clone(&self.env),
            task.limits.and_then(|limits| limits.end(began)),
        ));
        self.active.set(self.active.get() + 1);
        let Some(entry) = self.program.tasks.get(usize::from(task.name)) else {
            // The session has checked the index; ending the task here keeps the invariant even so.
            self.finish(
                task.ticket,
                Outcome::Cancelled { started: false },
                &Payload::default(),
            );
            return began;
        };
        let Some(this) = self.this.upgrade() else {
            return began;
        };
        let mut tracked = Tracked::new(task.name, Rc::clone(&scope), this, began, announced);
        let run = &entry.run;
        let made = capture::caught(|| run(&task.payload, scope, &self.state));
        drop(task.payload);
        if !tracked.is_made(made) {
            return Instant::now();
        }
        // If it is pending it is polled again at once when spawned, with a waker that works.
        self.inline.set(true);
        let polled = Pin::new(&mut tracked).poll(&mut Context::from_waker(Waker::noop()));
        self.inline.set(false);
        if polled.is_pending() {
            self.spawn(tracked);
        }
        self.now.get()
    }

    fn spawn(&self, tracked: Tracked) {
        let scope = Rc::clone(tracked.scope());
        let ticket = scope.ticket;
        let abort = tokio::task::spawn_local(tracked).abort_handle();
        let running = Running { scope, abort };
        self.running.borrow_mut().insert(ticket, running);
    }

    /// Starts tasks that came together, as far as they are quick and nothing is in their way. Returns the present time, or
    /// `None` if they are to start one by one.
    pub(super) fn start_several(
        self: &Rc<Self>,
        tasks: &mut Several,
        concurrency: usize,
        turn: Instant,
        now: Instant,
    ) -> Option<Instant> {
        if self.is_loud(tasks.name) || !self.env.board.is_calm() {
            return None;
        }
        let entry = self.program.tasks.get(usize::from(tasks.name));
        let each = entry.and_then(|entry| entry.each.as_ref())?;
        self.inline.set(true);
        let mut batch = Batch::new(self, tasks, concurrency, turn, now);
        each(&mut batch, &self.state);
        let now = batch.end();
        self.inline.set(false);
        Some(now)
    }

    /// A task was pending at its first poll, of whose start the host has not been told.
    pub(super) fn goes_on(
        self: &Rc<Self>,
        name: u16,
        scope: Rc<Scope>,
        future: LocalFuture<Ended>,
        born: Instant,
    ) {
        let ticket = scope.ticket;
        self.active.set(self.active.get() + 1);
        self.out.started(ticket);
        self.spawn(Tracked::pending(name, scope, Rc::clone(self), future, born));
    }

    /// Ends a task that the host no longer wants: token first, its future at its next await.
    pub(crate) fn cancel(&self, ticket: u64) -> bool {
        let Some((scope, abort)) = self
            .running
            .borrow()
            .get(&ticket)
            .map(|running| (Rc::clone(&running.scope), running.abort.clone()))
        else {
            return false;
        };
        scope.cancel();
        if scope.listens() {
            let grace = self.cancel_grace;
            tokio::task::spawn_local(async move {
                tokio::time::sleep(grace).await;
                abort.abort();
            });
        } else {
            abort.abort();
        }
        true
    }

    /// Drops every task that runs, because the worker ends.
    pub(crate) fn abort_all(&self) {
        let aborts: Vec<_> = self
            .running
            .borrow()
            .values()
            .map(|running| {
                running.scope.cancel();
                running.abort.clone()
            })
            .collect();
        for abort in aborts {
            abort.abort();
        }
    }
}
