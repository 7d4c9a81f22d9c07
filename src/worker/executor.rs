//! Runs tasks on the event loop of a worker.
//!
//! Belongs here: polling, measuring and cancelling tasks, and reporting their ends. Does not belong here: reading frames.
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
    task::{IdMap, Scope, TaskId, WorkerEnv},
    wire::{Outcome, Payload, SLOW_POLLS, WorkerFrame},
    worker::{
        Program,
        limits::Limits,
        mourning::{Mourned, Mourning},
        outbox::Outbox,
        pace::Measure,
        tracked::Tracked,
    },
};

/// Starts of names whose polls take longer are announced before the first poll.
const LOUD: Duration = Duration::from_micros(200);

/// A poll that takes as long is told to the host: the worker's other tasks waited for it.
const SLOW: Duration = Duration::from_millis(100);

/// A task as it came off the wire.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) ticket: u64,
    pub(crate) id: TaskId,
    pub(crate) attempt: u32,
    pub(crate) name: u16,
    pub(crate) payload: Payload,
    pub(crate) limits: Option<Limits>,
    /// When it came, where that counts.
    pub(crate) came: Option<Instant>,
}

struct Running {
    scope: Rc<Scope>,
    abort: AbortHandle,
}

/// The running tasks of a worker.
pub(crate) struct Executor {
    pub(crate) out: Outbox,
    program: Arc<Program>,
    state: Rc<dyn Any>,
    pub(super) env: Rc<WorkerEnv>,
    cancel_grace: Duration,
    /// Those that were pending at their first poll. That poll ends before anybody can ask for the task.
    running: RefCell<IdMap<u64, Running>>,
    /// Dropped tasks whose code is still on blocking threads.
    lingering: RefCell<Vec<Rc<Scope>>>,
    names: RefCell<Vec<Measure>>,
    /// Tasks that count against the concurrency.
    active: Cell<usize>,
    mourning: Mourning,
    /// The session is polling a task itself and writes afterwards anyway.
    inline: Cell<bool>,
    /// When the last poll had ended, which is when what came after it began.
    now: Cell<Instant>,
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
            this: this.clone(),
        })
    }

    /// Makes a name quiet, as quick tasks of it would.
    #[cfg(all(test, feature = "test-util"))]
    pub(super) fn hush(&self, name: u16) {
        if let Some(measure) = self.names.borrow_mut().get_mut(usize::from(name)) {
            *measure = Measure {
                poll: Some(Duration::ZERO),
                quiet: Some(0),
                slow: 0,
                pace: crate::worker::pace::Pace::default(),
            };
        }
    }

    /// How many names of tasks there are.
    pub(super) fn names(&self) -> usize {
        self.program.tasks.len()
    }

    pub(crate) fn active(&self) -> usize {
        self.active.get()
    }

    /// Whether the host must hear of the start before the first poll.
    pub(crate) fn is_loud(&self, name: u16) -> bool {
        !self
            .names
            .borrow()
            .get(usize::from(name))
            .and_then(|measure| measure.quiet)
            .is_some_and(|mark| self.out.is_written(mark))
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
            let scope = Rc::clone(tracked.scope());
            let abort = tokio::task::spawn_local(tracked).abort_handle();
            let running = Running { scope, abort };
            self.running.borrow_mut().insert(task.ticket, running);
        }
        self.now.get()
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

    /// Reports the dropped tasks whose code on blocking threads has ended.
    pub(crate) fn reap_lingering(&self) {
        if self.lingering.borrow().is_empty() {
            return;
        }
        let ended: Vec<Rc<Scope>> = {
            let mut lingering = self.lingering.borrow_mut();
            let (still, ended) = lingering.drain(..).partition(|scope| scope.is_blocking());
            *lingering = still;
            ended
        };
        for scope in ended {
            let outcome = Outcome::Cancelled { started: true };
            self.finish(scope.ticket, outcome, &Payload::default());
        }
    }

    /// Something was written: the failure hook may hear of what is on its way.
    pub(crate) fn flushed(&self) {
        self.mourning.tell(&self.program, &self.out);
    }

    pub(super) fn mourn(&self, name: u16, scope: &Scope, failure: Mourned) {
        self.mourning
            .take(&self.program, &self.out, name, scope, failure);
    }

    /// Its code on blocking threads is there after the task, which ends with it.
    pub(super) fn linger(&self, scope: &Rc<Scope>) {
        self.running.borrow_mut().remove(&scope.ticket);
        self.lingering.borrow_mut().push(Rc::clone(scope));
    }

    pub(super) fn finish(&self, ticket: u64, outcome: Outcome, payload: &Payload) {
        self.running.borrow_mut().remove(&ticket);
        self.active.set(self.active.get().saturating_sub(1));
        self.report(ticket, outcome, payload);
    }

    /// Queues the frame that ends a ticket.
    pub(crate) fn report(&self, ticket: u64, outcome: Outcome, payload: &Payload) {
        if self.env.board.epoch() != 0 {
            self.env
                .board
                .requests(|requests| requests.cancelled.remove(&ticket));
        }
        if outcome == Outcome::Done && self.out.done(ticket, payload) {
            return;
        }
        let attachments = payload
            .attachments()
            .iter()
            .map(|attachment| u32::try_from(attachment.len()).unwrap_or(u32::MAX))
            .collect();
        self.out.value(
            ticket,
            |rest| WorkerFrame::Result {
                ticket,
                outcome,
                attachments,
                rest,
            },
            payload,
        );
    }

    /// Takes note of a poll and writes what must not wait for the next one. `ended` is how long the task took, if it was its
    /// last.
    pub(super) fn after_poll(
        &self,
        name: u16,
        began: Instant,
        now: Instant,
        ended: Option<Duration>,
    ) {
        let took = now - began;
        if let Some(measure) = self.names.borrow_mut().get_mut(usize::from(name)) {
            let poll = match measure.poll {
                Some(longest) if took < longest => longest - (longest - took) / 8,
                _ => took,
            };
            measure.poll = Some(poll);
            let quiet = poll <= LOUD;
            // Louder at once. Quieter at the end of a task only: so the host can tell a worker that says so too often.
            if quiet != measure.quiet.is_some() && (ended.is_some() || !quiet) {
                self.out.frame(&WorkerFrame::Quiet { name, quiet });
                measure.quiet = quiet.then(|| self.out.mark());
            }
            if took >= SLOW && measure.slow < SLOW_POLLS {
                measure.slow += 1;
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.out.frame(&WorkerFrame::SlowPoll {
                    name,
                    micros,
                    ended: ended.is_some(),
                });
            }
            if let Some(nanos) = ended.and_then(|took| measure.pace.ended(took)) {
                self.out.frame(&WorkerFrame::Pace { name, nanos });
            }
        }
        self.now.set(now);
        if self.out.is_due(began, now, took) {
            self.out.flush_now();
            self.flushed();
            // Writing, and the failure hook, are no part of the next poll.
            self.now.set(Instant::now());
        }
        if !self.inline.get() && (ended.is_some() || !self.out.is_empty()) {
            // To start another one, or to write.
            self.out.wake_session();
        }
    }
}
