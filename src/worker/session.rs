//! The data connection of a worker that serves: tasks in and results out.
//!
//! Belongs here: the order of frames, and turns. Does not belong here: running tasks, what comes before and after.
//! Invariant: the session never waits for a task, and a task never for the socket.

use std::{
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    task::{Board, TaskId},
    wire::{
        Assembly, FrameReader, HostFrame, Outcome, Payload, Spares, Whole, WorkerFrame, copied, run,
    },
    worker::{
        ServeEnd,
        executor::Executor,
        lag::Lag,
        limits::Limits,
        waiting::{Incoming, Several, Waiting},
    },
};

/// After this long the session lets the tasks it has spawned have the loop.
pub(super) const TURN: Duration = Duration::from_micros(200);

/// What the first frame of a task says of it.
type Head = (TaskId, u32, u16, Option<Limits>);

/// A worker that serves.
pub(super) struct Session {
    executor: Rc<Executor>,
    reader: FrameReader,
    assembly: Assembly<Head>,
    board: Arc<Board>,
    queue: Waiting,
    concurrency: usize,
    /// The board's epoch that has been acted on.
    seen: u64,
    last_read: u64,
    names: usize,
    /// The task at the head of the queue has been announced, in the bytes before this position.
    announced: Option<u64>,
    /// One that was announced has started since anything was written: should it have ended, the host must not take it for the one
    /// that holds the loop from now on.
    owed: bool,
    /// How late the loop is, if that is to be told.
    lag: Option<Lag>,
}

impl Session {
    /// `reader` may have read on already.
    pub(super) fn new(
        executor: Rc<Executor>,
        reader: FrameReader,
        concurrency: usize,
        lag: Option<Lag>,
        spares: &Spares,
    ) -> Self {
        Self {
            assembly: Assembly::new(executor.env.max_bytes, spares),
            reader,
            board: Arc::clone(&executor.env.board),
            queue: Waiting::default(),
            concurrency,
            seen: 0,
            last_read: 0,
            names: executor.names(),
            announced: None,
            owed: false,
            lag,
            executor,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ServeEnd> {
        self.board.set_waker(cx.waker());
        self.executor.out.set_session(cx.waker());
        // They have had the loop since, which has woken this one if they have not ended.
        self.executor.out.tell_starts();
        let began = Instant::now();
        loop {
            if let Some(end) = self.requests() {
                return Poll::Ready(end);
            }
            self.executor.reap_lingering();
            self.tell_lag(cx);
            let read = match self.read(cx) {
                Ok(read) => read,
                Err(end) => return Poll::Ready(end),
            };
            let rested = self.run(began);
            match self.executor.out.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(ServeEnd::Orphaned),
                // Tasks go on starting behind a large value on its way out.
                Poll::Ready(Ok(())) | Poll::Pending => self.executor.flushed(),
            }
            if !rested || began.elapsed() > TURN && (read || self.runnable()) {
                // Spawned tasks get the loop before the next turn.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !read && !self.runnable() {
                return Poll::Pending;
            }
        }
    }

    /// Tells how late the loop is, if it is time to.
    fn tell_lag(&mut self, cx: &mut Context<'_>) {
        let works = self.executor.active() > 0 || !self.queue.is_empty();
        let Some(lag) = self.lag.as_mut().and_then(|lag| lag.poll(works, cx)) else {
            return;
        };
        let micros = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        self.executor.out.frame(&WorkerFrame::Lag { micros });
    }

    fn runnable(&self) -> bool {
        !self.queue.is_empty()
            && self.executor.active() < self.concurrency
            && !self.executor.out.is_behind()
            && self
                .announced
                .is_none_or(|mark| self.executor.out.is_written(mark))
    }

    /// Acts on what the control thread has written on the board.
    fn requests(&mut self) -> Option<ServeEnd> {
        let epoch = self.board.epoch();
        if epoch == self.seen {
            return None;
        }
        self.seen = epoch;
        let (exit, orphaned, cancelled) = self.board.requests(|requests| {
            let cancelled: Vec<u64> = requests.cancelled.iter().copied().collect();
            (requests.exit, requests.orphaned, cancelled)
        });
        if orphaned {
            return Some(ServeEnd::Orphaned);
        }
        if exit {
            return Some(ServeEnd::Exit);
        }
        for ticket in cancelled {
            let waiting = self.queue.contains(ticket);
            // A ticket that was read, does not wait and does not run has ended: its report is on its way.
            if !self.executor.cancel(ticket)
                && !waiting
                && !self.assembly.contains(ticket)
                && ticket <= self.last_read
            {
                self.board
                    .requests(|requests| requests.cancelled.remove(&ticket));
            }
        }
        None
    }

    /// Reads what is there. Returns whether there was anything.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, ServeEnd> {
        let space = self.assembly.space(&mut self.reader);
        let bytes = match self.executor.out.stream().poll_read(cx, space) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0) | Err(_)) => return Err(ServeEnd::Orphaned),
            Poll::Ready(Ok(bytes)) => bytes,
        };
        let whole = self.assembly.filled(bytes, &mut self.reader);
        if let Some((ticket, whole)) = whole.map_err(|_| ServeEnd::Protocol)? {
            self.came(ticket, whole);
        }
        while let Some((header, tail)) = self.reader.frame().map_err(|_| ServeEnd::Protocol)? {
            let (ticket, whole) = match header {
                HostFrame::Task {
                    ticket,
                    id,
                    attempt,
                    name,
                    attachments,
                    rest,
                    left,
                    // Tickets come in order: one that comes again would have its task run again.
                } if usize::from(name) < self.names && ticket > self.last_read => {
                    let limits = left.map(|left| Limits::new(left, Instant::now()));
                    let head = (TaskId::new(id), attempt, name, limits);
                    self.last_read = ticket;
                    let whole = self.assembly.first(ticket, head, attachments, rest, tail);
                    (ticket, whole)
                }
                HostFrame::Tasks {
                    ticket,
                    id,
                    attempt,
                    name,
                    tasks,
                    run: limit,
                } if usize::from(name) < self.names && ticket > self.last_read => {
                    let _ = run::values(tail.here(), tasks).map_err(|_| ServeEnd::Protocol)?;
                    self.last_read = ticket.saturating_add(u64::from(tasks) - 1);
                    self.queue.push_several(Several {
                        ticket,
                        id,
                        attempt,
                        name,
                        came: self.lag.is_some().then(Instant::now),
                        tasks,
                        run: limit.map(Duration::from_micros),
                        input: copied(tail.here()),
                    });
                    continue;
                }
                HostFrame::Part { ticket } => (ticket, self.assembly.part(ticket, tail)),
                _ => return Err(ServeEnd::Protocol),
            };
            if let Some(whole) = whole.map_err(|_| ServeEnd::Protocol)? {
                self.came(ticket, whole);
            }
        }
        Ok(true)
    }

    /// All of a task is there.
    fn came(&mut self, ticket: u64, (head, payload): Whole<Head>) {
        let (id, attempt, name, limits) = head;
        self.queue.push(Incoming {
            came: self.lag.is_some().then(Instant::now),
            ticket,
            id,
            attempt,
            name,
            payload,
            limits,
            announced: limits.is_some(),
        });
    }

    /// Starts what may start. Returns false when the turn is used up first.
    fn run(&mut self, began: Instant) -> bool {
        // `None` when something else than a poll has taken time since the clock was read.
        let mut now = None;
        while self.executor.active() < self.concurrency {
            let Some(next) = self.queue.next() else {
                return true;
            };
            let loud = next.announced || self.executor.is_loud(next.name);
            if !loud && std::mem::take(&mut self.owed) {
                self.executor.out.flush_now();
                self.executor.flushed();
                now = None;
            }
            if self.announced.is_none() && self.start_several(&mut now, began) {
                if now.is_some_and(|now| now - began > TURN) {
                    return false;
                }
                continue;
            }
            let (ticket, until) = (next.ticket, next.limits.and_then(|limits| limits.until));
            // Once, and first of all: of a task that was given back the host must hear nothing more.
            if self.announced.is_none() && !self.board.start(ticket) {
                self.queue.take();
                continue;
            }
            if !self.board.is_calm()
                && self
                    .board
                    .requests(|requests| requests.cancelled.contains(&ticket))
            {
                self.queue.take();
                self.announced = None;
                self.executor.refuse(ticket);
                continue;
            }
            if self.announced.is_none() && until.is_some_and(|until| Instant::now() >= until) {
                self.queue.take();
                let nothing = Payload::default();
                self.executor.report(ticket, Outcome::Expired, &nothing);
                continue;
            }
            if self.executor.out.is_behind() {
                self.executor.out.flush_now();
                self.executor.flushed();
                now = None;
            }
            if loud && self.announced.is_none() {
                self.executor.out.frame(&WorkerFrame::Started { ticket });
                self.announced = Some(self.executor.out.mark());
                self.executor.out.flush_now();
                self.executor.flushed();
                now = None;
            }
            // The host must know before the task can do harm.
            if !self.runnable() {
                return true;
            }
            let announced = self.announced.take().is_some();
            self.owed |= announced;
            let Some(task) = self.queue.take() else {
                return true;
            };
            let now_is = now.unwrap_or_else(Instant::now);
            if let (Some(lag), Some(came)) = (&mut self.lag, task.came) {
                lag.waited(came, now_is);
            }
            let ended = self.executor.start(task, announced, now_is);
            now = Some(ended);
            if ended - began > TURN {
                return false;
            }
        }
        true
    }
}

impl Session {
    /// Starts those that are next, if they came together and may start so. Returns whether any has.
    fn start_several(&mut self, now: &mut Option<Instant>, began: Instant) -> bool {
        let Some(tasks) = self.queue.several() else {
            return false;
        };
        let (before, came) = (tasks.tasks, tasks.came);
        let is_now = now.unwrap_or_else(Instant::now);
        let ended = self
            .executor
            .start_several(tasks, self.concurrency, began, is_now);
        let left = tasks.tasks;
        *now = ended.or(*now);
        if left < before
            && let (Some(lag), Some(came)) = (&mut self.lag, came)
        {
            lag.waited(came, is_now);
        }
        self.queue.tidy();
        left < before
    }
}
