//! What a worker has to tell its host, written once per turn.
//!
//! Belongs here: queueing and writing frames of the data connection. Does not belong here: what they say.
//! Invariant: whatever is queued is written at the latest when the session is polled next.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    ipc::Stream,
    task::keep,
    wire::{FrameWriter, Outcome, Payload, Run, UNREPORTED, WorkerFrame, run},
};

/// A turn's frames wait no longer than this,
const TURN_TIME: Duration = Duration::from_micros(200);
/// nor for more bytes than this,
const TURN_BYTES: usize = 64 * 1024;
/// nor for a neighbour's poll once one took longer than this.
const LONG_POLL: Duration = Duration::from_micros(50);

/// The writing side of the data connection, shared by the session and the tasks it spawned.
#[derive(Debug)]
pub(crate) struct Outbox {
    stream: Stream,
    writer: RefCell<FrameWriter<WorkerFrame>>,
    /// Results of tasks in a row, from this ticket on, which share a frame.
    run: RefCell<Run<u64>>,
    /// Tasks that were pending at their first poll, of whose starts the host has not been told: who ends first need not be.
    starts: RefCell<VecDeque<u64>>,
    /// When the first frame that is still here was queued.
    since: Cell<Option<Instant>>,
    /// How many ends of tasks are in here.
    unreported: Cell<usize>,
    session: RefCell<Option<Waker>>,
    broken: Cell<bool>,
}

impl Outbox {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            writer: RefCell::new(FrameWriter::new()),
            run: RefCell::default(),
            starts: RefCell::default(),
            since: Cell::new(None),
            unreported: Cell::new(0),
            session: RefCell::new(None),
            broken: Cell::new(false),
        }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What comes from now on has a frame of its own.
    fn seal(&self) {
        let sealed = self.run.borrow_mut().seal(|ticket, results, bytes| {
            let mut writer = self.writer.borrow_mut();
            if results > 1 {
                return writer.frame_with(&WorkerFrame::Results { ticket, results }, bytes);
            }
            let header = WorkerFrame::Result {
                ticket,
                outcome: Outcome::Done,
                attachments: Vec::new(),
                rest: 0,
            };
            let value = run::first(bytes).map(|(value, _)| value);
            writer.frame_with(&header, value.unwrap_or_default())
        });
        if matches!(sealed, Some(Err(_))) {
            self.broken.set(true);
        }
    }

    /// A task was pending at its first poll, which the host has not been told of.
    pub(crate) fn started(&self, ticket: u64) {
        self.starts.borrow_mut().push_back(ticket);
    }

    /// A task has ended, of whose start nothing need be said any more.
    fn ended(&self, ticket: u64) {
        let mut starts = self.starts.borrow_mut();
        // They end as they have started, as a rule.
        if starts.front() == Some(&ticket) {
            starts.pop_front();
        } else if let Some(at) = starts.iter().position(|other| *other == ticket) {
            starts.remove(at);
        }
    }

    /// Says who has started, before what comes now.
    pub(crate) fn tell_starts(&self) {
        let mut starts = self.starts.borrow_mut();
        for ticket in starts.drain(..) {
            let frame = WorkerFrame::Started { ticket };
            if self.writer.borrow_mut().frame(&frame).is_err() {
                self.broken.set(true);
            }
        }
    }

    /// A task has ended well with this value, which has no attachments. Returns whether that is all there is to do.
    pub(crate) fn done(&self, ticket: u64, payload: &Payload) -> bool {
        let body = payload.body();
        if !payload.attachments().is_empty() || !Run::<u64>::takes(body.len()) {
            return false;
        }
        self.ended(ticket);
        self.make_way(ticket, |run| run.has_room(body.len()));
        self.run.borrow_mut().push(|| ticket, body);
        self.unreported.set(self.unreported.get() + 1);
        true
    }

    /// The same with a value that is encoded here: `encode` appends it, and attachments elsewhere. What is to have a frame of
    /// its own is returned.
    #[inline]
    pub(crate) fn done_with<E>(
        &self,
        ticket: u64,
        encode: impl FnOnce(&mut Vec<u8>, &mut Vec<Bytes>) -> Result<(), E>,
    ) -> Result<Option<Box<Payload>>, E> {
        self.make_way(ticket, Run::has_room_for_any);
        let alone = self.run.borrow_mut().encode(|| ticket, encode)?;
        if alone.is_none() {
            self.unreported.set(self.unreported.get() + 1);
        }
        Ok(alone)
    }

    /// Begins another run unless the result of this ticket goes on with the present one.
    #[inline]
    fn make_way(&self, ticket: u64, has_room: impl Fn(&Run<u64>) -> bool) {
        let goes_on = {
            let run = self.run.borrow();
            let next = run.head();
            next.is_none_or(|(first, results)| {
                ticket == *first + u64::from(results) && has_room(&run)
            })
        };
        if !goes_on {
            self.seal();
        }
    }

    pub(crate) fn frame(&self, frame: &WorkerFrame) {
        self.seal();
        self.tell_starts();
        // Only a frame over 4 GiB fails, and these have no tail.
        if self.writer.borrow_mut().frame(frame).is_err() {
            self.broken.set(true);
        }
    }

    pub(crate) fn value(
        &self,
        ticket: u64,
        header: impl FnOnce(u64) -> WorkerFrame,
        payload: &Payload,
    ) {
        self.ended(ticket);
        self.seal();
        self.unreported.set(self.unreported.get() + 1);
        let part = WorkerFrame::Part { ticket };
        if self
            .writer
            .borrow_mut()
            .value(header, part, payload)
            .is_err()
        {
            self.broken.set(true);
        }
    }

    /// Whether parts of this task's result have yet to be queued.
    pub(crate) fn has_parts(&self, ticket: u64) -> bool {
        self.writer
            .borrow()
            .has_parts(&WorkerFrame::Part { ticket })
    }

    /// The position behind everything queued so far.
    pub(crate) fn mark(&self) -> u64 {
        self.seal();
        self.tell_starts();
        self.writer.borrow().mark()
    }

    /// Whether everything before this position was written.
    pub(crate) fn is_written(&self, mark: u64) -> bool {
        self.writer.borrow().written() >= mark
    }

    /// Whether nothing waits here.
    pub(crate) fn is_empty(&self) -> bool {
        self.writer.borrow().is_empty()
            && self.run.borrow().head().is_none()
            && self.starts.borrow().is_empty()
    }

    /// Whether so many ends of tasks have yet to be written that no other may start: what the host has not heard of by then may
    /// have run for all that it knows.
    pub(crate) fn is_behind(&self) -> bool {
        self.unreported.get() >= UNREPORTED
    }

    /// Nothing more is written.
    pub(crate) fn close(&self) {
        self.broken.set(true);
    }

    pub(crate) fn set_session(&self, waker: &Waker) {
        let old = keep(&mut self.session.borrow_mut(), waker);
        drop(old);
    }

    pub(crate) fn wake_session(&self) {
        if let Some(session) = &*self.session.borrow() {
            session.wake_by_ref();
        }
    }

    /// Whether the frames here must not wait any longer, after a poll that lasted from `began` to `now` and so `took`.
    pub(crate) fn is_due(&self, began: Instant, now: Instant, took: Duration) -> bool {
        let starts = self.starts.borrow().len();
        let pending = self.writer.borrow().pending() + self.run.borrow().pending() + starts;
        if pending == 0 {
            return false;
        }
        if self.since.get().is_none() {
            self.since.set(Some(began));
        }
        pending >= TURN_BYTES
            || took > LONG_POLL
            || self
                .since
                .get()
                .is_some_and(|since| now.saturating_duration_since(since) > TURN_TIME)
    }

    /// Writes as much as the socket takes. Ready when nothing is left but starts that nothing has been said of.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.get() {
            return Poll::Ready(Err(io::Error::other("a frame could not be encoded")));
        }
        self.seal();
        let mut writer = self.writer.borrow_mut();
        self.since.set(None);
        while !writer.is_empty() {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = writer.slices(&mut slices).map_err(io::Error::other)?;
            let slices = slices.get(..filled).unwrap_or_default();
            let written = ready!(self.stream.poll_write(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            writer.advance(written);
        }
        self.unreported.set(0);
        Poll::Ready(Ok(()))
    }

    /// Writes from wherever a result was made; what the socket does not take, the session goes on with.
    pub(crate) fn flush_now(&self) {
        self.tell_starts();
        let session = self.session.borrow().clone();
        let waker = session.as_ref().unwrap_or(Waker::noop());
        if !matches!(
            self.poll_flush(&mut Context::from_waker(waker)),
            Poll::Ready(Ok(()))
        ) {
            self.wake_session();
        }
    }
}
