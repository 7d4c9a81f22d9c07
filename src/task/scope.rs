//! One running task as its worker sees it.
//!
//! Belongs here: what the context of a task and the executor share. Does not belong here: running it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
    time::Instant,
};

use crate::task::{Board, TaskId, WorkerEnv, keep_among};

/// Shared by a task's context and the executor that runs it.
pub(crate) struct Scope {
    pub(crate) ticket: u64,
    pub(crate) id: TaskId,
    pub(crate) attempt: u32,
    pub(crate) env: Rc<WorkerEnv>,
    /// When it has to have ended.
    pub(crate) until: Option<Instant>,
    cancelled: Cell<bool>,
    /// The task has asked to be told, so it gets time to end by itself.
    listens: Cell<bool>,
    waiters: RefCell<Vec<Waker>>,
    /// Closures on blocking threads, or waiting for one. Most tasks never have any.
    blocking: OnceCell<Arc<AtomicUsize>>,
}

impl Scope {
    pub(crate) fn new(
        ticket: u64,
        id: TaskId,
        attempt: u32,
        env: Rc<WorkerEnv>,
        until: Option<Instant>,
    ) -> Self {
        Self {
            ticket,
            id,
            attempt,
            env,
            until,
            cancelled: Cell::new(false),
            listens: Cell::new(false),
            waiters: RefCell::new(Vec::new()),
            blocking: OnceCell::new(),
        }
    }

    /// Becomes that of another task, as good as new: nobody else has had a part in it, or all have let go.
    pub(crate) fn renew(
        self: &mut Rc<Self>,
        ticket: u64,
        id: TaskId,
        attempt: u32,
        until: Option<Instant>,
    ) {
        match Rc::get_mut(self) {
            Some(scope) if scope.blocking.get().is_none() => {
                (scope.ticket, scope.id, scope.attempt) = (ticket, id, attempt);
                scope.until = until;
                scope.cancelled.set(false);
                scope.listens.set(false);
                scope.waiters.get_mut().clear();
            }
            _ => *self = Rc::new(Self::new(ticket, id, attempt, Rc::clone(&self.env), until)),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get() || self.env.board.is_cancelled(self.ticket)
    }

    /// The executor hands the token over.
    pub(crate) fn cancel(&self) {
        self.cancelled.set(true);
        // Taken out first: a waker may run code that comes back here.
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        for waiter in waiters {
            waiter.wake();
        }
    }

    pub(crate) fn listens(&self) -> bool {
        self.listens.get()
    }

    pub(crate) fn listen(&self, waker: &Waker) {
        self.listens.set(true);
        keep_among(&mut self.waiters.borrow_mut(), waker);
    }

    /// Whether code of this task is still on a blocking thread.
    pub(crate) fn is_blocking(&self) -> bool {
        let blocking = self.blocking.get();
        blocking.is_some_and(|blocking| blocking.load(Ordering::Acquire) > 0)
    }

    pub(crate) fn begin_blocking(&self) -> BlockingGuard {
        let count = self.blocking.get_or_init(Arc::default);
        count.fetch_add(1, Ordering::AcqRel);
        BlockingGuard {
            count: Arc::clone(count),
            board: Arc::clone(&self.env.board),
        }
    }
}

/// Lives as long as one closure on a blocking thread, or in the queue for one.
#[derive(Debug)]
pub(crate) struct BlockingGuard {
    count: Arc<AtomicUsize>,
    board: Arc<Board>,
}

impl Drop for BlockingGuard {
    fn drop(&mut self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            // A task that was cancelled meanwhile has ended only now, and the loop has to report it.
            self.board.wake();
        }
    }
}
