//! Quick tasks in a row, with as little as can be between one and the next.
//!
//! Belongs here: what has to happen around the first poll of each, where the loop around them knows their type.
//! Does not belong here: that loop, which is `spec`'s; tasks that are announced, have limits, or are pending.
//! Invariants: as for a task that starts alone; each is shown on the board before it starts, and what the board has on one is
//! heeded.
//!
//! The clock is read once for several of them, if they are known to be quick: their time is shared between them, and the
//! result of one that is not so quick for once waits for those behind it, seven at most.

use std::{rc::Rc, time::Instant};

use bytes::Bytes;

use crate::{
    error::RemoteError,
    task::{Scope, TaskId},
    wire::Payload,
    worker::{
        Ended, LocalFuture, executor::Executor, measuring::GROUP, session::TURN, waiting::Several,
    },
};

/// What to do with the next task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    Run,
    /// It was given back.
    Skip,
    /// It is not for now.
    Stop,
}

/// Tasks that came together and start one after the other.
pub(crate) struct Batch<'a> {
    executor: &'a Rc<Executor>,
    tasks: &'a mut Several,
    scope: Rc<Scope>,
    concurrency: usize,
    /// When the session's turn began.
    turn: Instant,
    /// When the first task began that has shared the clock since, and how many these are.
    began: Instant,
    polled: u32,
    /// How many may.
    group: u32,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        executor: &'a Rc<Executor>,
        tasks: &'a mut Several,
        concurrency: usize,
        turn: Instant,
        now: Instant,
    ) -> Self {
        let env = Rc::clone(&executor.env);
        Self {
            executor,
            tasks,
            scope: Rc::new(Scope::new(0, TaskId::new(0), 0, env, None)),
            concurrency,
            turn,
            began: now,
            polled: 0,
            group: 0,
        }
    }

    /// The input of those that are left.
    pub(crate) fn input(&self) -> Bytes {
        self.tasks.input.clone()
    }

    /// Comes to the next one. If that is to run, it has to be told of its end or that it is pending.
    pub(crate) fn admit(&mut self, input: &[u8]) -> Admitted {
        let board = &self.executor.env.board;
        if self.executor.out.is_behind() && !self.makes_room() {
            return Admitted::Stop;
        }
        if self.polled >= self.group && !self.goes_on() || !board.is_calm() {
            return Admitted::Stop;
        }
        let (ticket, id) = (self.tasks.ticket, self.tasks.id);
        let starts = board.start(ticket);
        self.tasks.skip(input.len());
        if !starts {
            return Admitted::Skip;
        }
        let until = (self.tasks.run).and_then(|run| self.began.checked_add(run));
        self.scope
            .renew(ticket, TaskId::new(id), self.tasks.attempt, until);
        if self.polled == 0 {
            board.poll_begins(ticket, self.began);
        } else {
            board.poll_goes_on(ticket);
        }
        self.polled += 1;
        Admitted::Run
    }

    /// That of the task that runs.
    pub(crate) fn scope(&self) -> &Rc<Scope> {
        &self.scope
    }

    /// It has ended well: `encode` appends its output, and attachments elsewhere. What is not yet all that there is to do is
    /// returned.
    #[inline]
    pub(crate) fn done<E>(
        &self,
        encode: impl FnOnce(&mut Vec<u8>, &mut Vec<Bytes>) -> Result<(), E>,
    ) -> Result<Option<Box<Payload>>, E> {
        self.executor.out.done_with(self.scope.ticket, encode)
    }

    /// It has ended.
    pub(crate) fn ended(&mut self, ended: Ended) {
        self.executor.ended(self.tasks.name, &self.scope, ended);
    }

    /// It has panicked.
    pub(crate) fn panicked(&mut self, panic: RemoteError) {
        self.executor.panicked(self.tasks.name, &self.scope, panic);
    }

    /// It goes on alone.
    pub(crate) fn pending(&mut self, future: LocalFuture<Ended>) {
        let scope = Rc::clone(&self.scope);
        self.executor
            .goes_on(self.tasks.name, scope, future, self.began);
        self.executor.env.board.poll_ends();
        // Whatever it waits for is not over so soon, and it is none of those that end at once.
        self.settle(false);
    }

    /// Whether the present turn has room for more, and for how many until the clock is read.
    fn goes_on(&mut self) -> bool {
        self.settle(true);
        let quick = self.executor.is_quick(self.tasks.name);
        self.group = if quick { GROUP } else { 1 };
        self.began.saturating_duration_since(self.turn) <= TURN
            && self.executor.active() < self.concurrency
            && !self.executor.is_loud(self.tasks.name)
    }

    /// Writes what has to be written before another task may start.
    fn makes_room(&mut self) -> bool {
        self.settle(true);
        self.executor.out.flush_now();
        self.executor.flushed();
        self.began = Instant::now();
        !self.executor.out.is_behind()
    }

    /// Reads the clock, for all that were polled since it was read last.
    fn settle(&mut self, ended: bool) {
        if self.polled == 0 {
            return;
        }
        self.executor.env.board.poll_ends();
        let polled = std::mem::take(&mut self.polled);
        self.group = 0;
        self.began = (self.executor).after_polls(self.tasks.name, self.began, polled, ended);
    }

    /// Ends it, and returns the present time.
    pub(super) fn end(mut self) -> Instant {
        self.settle(true);
        self.began
    }
}
