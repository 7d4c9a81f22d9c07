//! A task's future with what has to happen around each poll.
//!
//! Belongs here: one poll of one task, and what its end means. Does not belong here: which tasks there are, and when a
//! name is loud.
//! Invariants: it reports one end, also when it is dropped before it has one; a panic, in a poll or in a drop, stays its
//! task's own.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use crate::{
    error::{RemoteError, capture},
    observe::log,
    task::Scope,
    wire::{Outcome, Payload},
    worker::{Ended, LocalFuture, executor::Executor},
};

/// A task's future with what has to happen around each poll.
pub(super) struct Tracked {
    future: Option<LocalFuture<Ended>>,
    name: u16,
    scope: Rc<Scope>,
    executor: Rc<Executor>,
    /// When its first poll begins.
    born: Instant,
    /// The same until then, for whoever makes it has looked.
    began: Option<Instant>,
    /// The host has been told of its start, or will be before anything else that is told from now on.
    announced: bool,
    ended: bool,
}

impl Tracked {
    /// A task whose future is still to be made.
    pub(super) fn new(
        name: u16,
        scope: Rc<Scope>,
        executor: Rc<Executor>,
        began: Instant,
        announced: bool,
    ) -> Self {
        Self {
            future: None,
            name,
            scope,
            executor,
            born: began,
            began: Some(began),
            announced,
            ended: false,
        }
    }

    /// A task that was pending at its first poll, which the host has been told.
    pub(super) fn pending(
        name: u16,
        scope: Rc<Scope>,
        executor: Rc<Executor>,
        future: LocalFuture<Ended>,
        born: Instant,
    ) -> Self {
        let mut tracked = Self::new(name, scope, executor, born, true);
        tracked.future = Some(future);
        tracked.began = None;
        tracked
    }

    /// Takes the future, or ends the task with the panic of making it. Returns whether there is one.
    pub(super) fn is_made(&mut self, made: Result<LocalFuture<Ended>, RemoteError>) -> bool {
        match made {
            Ok(future) => self.future = Some(future),
            Err(panic) => self.panicked(panic),
        }
        self.future.is_some()
    }

    pub(super) fn scope(&self) -> &Rc<Scope> {
        &self.scope
    }

    fn panicked(&mut self, panic: RemoteError) {
        self.ended = true;
        self.executor.leaves(self.scope.ticket);
        self.executor.panicked(self.name, &self.scope, panic);
    }

    fn ended(&mut self, ended: Ended) {
        self.ended = true;
        self.executor.leaves(self.scope.ticket);
        self.executor.ended(self.name, &self.scope, ended);
    }

    /// Drops the future, whose destructors are the task's own code.
    fn drop_future(&mut self) {
        let future = self.future.take();
        if capture::contained(|| drop(future)).is_none() {
            let task = self.scope.id.get();
            log(|| tracing::error!(task, "a task panicked while it was dropped"));
        }
    }
}

impl Future for Tracked {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(future) = &mut this.future else {
            return Poll::Ready(());
        };
        let executor = &this.executor;
        if !executor.inline.get() && !executor.turnstile.admits(this.scope.ticket, cx) {
            return Poll::Pending;
        }
        let began = this.began.take().unwrap_or_else(Instant::now);
        this.executor
            .env
            .board
            .poll_begins(this.scope.ticket, began);
        let polled = capture::caught(|| future.as_mut().poll(cx));
        let pending = match polled {
            Ok(Poll::Pending) => {
                // Before its name is said to be loud from now on, or the host would take a silent start for none.
                if !std::mem::replace(&mut this.announced, true) {
                    this.executor.out.started(this.scope.ticket);
                }
                true
            }
            Ok(Poll::Ready(ended)) => {
                this.drop_future();
                this.ended(ended);
                false
            }
            Err(panic) => {
                this.drop_future();
                this.panicked(panic);
                false
            }
        };
        this.executor.env.board.poll_ends();
        let now = Instant::now();
        let ended = (!pending).then(|| now.saturating_duration_since(this.born));
        this.executor.after_poll(this.name, began, now, ended);
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.drop_future();
        if self.scope.is_blocking() {
            self.executor.linger(&self.scope);
        } else {
            let outcome = Outcome::Cancelled { started: true };
            self.executor
                .finish(self.scope.ticket, outcome, &Payload::default());
        }
        self.executor.out.wake_session();
    }
}
