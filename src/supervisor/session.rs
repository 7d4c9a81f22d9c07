//! A ready worker and its host, until one of them ends it.
//!
//! Belongs here: moving frames between a worker's connections and the core, and the ladder of its cancelled tasks.
//! Does not belong here: what was before ready, and what follows the end.
//! Invariants: one poll serves everything that is ready; nothing a worker sends is stored before it is known to be due.
//!
//! States: *serving* ─ End ▶ *ending* (Exit was sent; killed after the grace) ─ the process ends ▶ *ended*. A violation, the
//! ladder's last step and Fail lead from both to *killed*, which only waits for the process. Whoever is first of the end of
//! the data connection and the end of the process starts the *closing*: the other has 50 ms to follow.

use std::{
    future::Future,
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Sleep, sleep_until},
};

use crate::{
    error::RemoteError,
    ipc::Stream,
    sched::{Ticket, Violation},
    supervisor::{
        Exit, PoolCore, WorkerProcess,
        allowance::Allowance,
        core::{Event, Outgoing},
        ladder::{HELD, Ladder, Step},
        relay::Relay,
        reply::Settled,
    },
    task::{FaultPoint, Slot},
    wire::{
        Assembly, ControlFromWorker, ControlToWorker, FrameReader, FrameWriter, HostFrame, Outcome,
        Payload, WorkerFrame, codec, frame_bytes, parse,
    },
};

/// How long the second sign of an end may follow the first.
const CLOSING: Duration = Duration::from_millis(50);

/// How long a frame may take from its first byte to its last.
const FRAME_TIME: Duration = Duration::from_secs(10);

/// How much is read before others on the arbiter get a turn.
const READ_TURN: usize = 1024 * 1024;

/// How many events are applied in one lock: small frames, panics above all, are a hundred times as large in memory.
const MAX_EVENTS: usize = 1024;

/// What a proxy tells its worker's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// End in good order: what it has is done or cancelled.
    End {
        /// Processes in its group are asked, too.
        terminate: bool,
    },
    /// The proxy has lost its mind: end at once, as if the worker had.
    Fail,
}

/// How a session ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) exit: Option<Exit>,
    pub(super) why: Why,
}

/// Who ended a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// The worker itself, or something from outside.
    Itself,
    /// It was asked to.
    Asked,
    /// It was asked to and did not.
    Killed,
    /// A cancelled task would not end.
    Stuck(String),
    /// The host's side of it panicked.
    Failed,
    /// It did what no honest worker does.
    Violation(String),
}

/// What a session works with.
pub(super) struct Session<'a> {
    pub(super) core: &'a PoolCore,
    pub(super) slot: Slot,
    pub(super) data: Stream,
    pub(super) control: Stream,
    pub(super) reader: FrameReader,
    pub(super) indexes: Vec<u16>,
    pub(super) process: &'a mut dyn WorkerProcess,
    pub(super) stdout: &'a mut Option<Relay>,
    pub(super) stderr: &'a mut Option<Relay>,
    pub(super) commands: &'a mut UnboundedReceiver<Command>,
}

/// Serves until the worker's process has ended.
pub(super) async fn serve(session: Session<'_>) -> Ended {
    let core = session.core;
    let mut running = Running {
        writer: FrameWriter::new(),
        assembly: Assembly::new(core.config.max_frame_bytes),
        control_reader: FrameReader::new(),
        control_out: BytesMut::new(),
        outgoing: Outgoing::default(),
        events: Vec::new(),
        ladder: Ladder::new(core.config.cancel_grace),
        allowance: Allowance::new(core.config.table.len()),
        held: None,
        partial_since: None,
        data_ended: false,
        data_broken: false,
        deaf: None,
        exit: None,
        closing: None,
        kill_at: None,
        give_up_at: None,
        why: None,
        nonce: 0,
        timer: Box::pin(sleep_until(tokio::time::Instant::now())),
        armed: None,
        session,
    };
    // What came in the same breath as Ready is in the reader already: no further bytes may come to announce it.
    if let Err(violation) = running.digest() {
        running.violated(violation);
    }
    std::future::poll_fn(|cx| running.poll(cx)).await
}

struct Running<'a> {
    session: Session<'a>,
    writer: FrameWriter<HostFrame>,
    assembly: Assembly<Outcome>,
    control_reader: FrameReader,
    control_out: BytesMut,
    outgoing: Outgoing,
    events: Vec<Event>,
    ladder: Ladder,
    allowance: Allowance,
    /// The cancelled task that holds the loop. Nothing more is sent meanwhile: given back tasks would only return.
    held: Option<Ticket>,
    /// When an incomplete frame began.
    partial_since: Option<Instant>,
    data_ended: bool,
    data_broken: bool,
    exit: Option<Exit>,
    /// When a worker that takes no more bytes must have ended.
    deaf: Option<Instant>,
    /// When the end is settled without its second sign.
    closing: Option<Instant>,
    /// When a worker that was asked to end is killed.
    kill_at: Option<Instant>,
    /// When a killed worker that does not even end so is given up.
    give_up_at: Option<Instant>,
    why: Option<Why>,
    nonce: u64,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.session.core.unwatch(self.session.slot);
    }
}

impl Running<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.session.core.fault(FaultPoint::Session);
        self.take_commands(cx);
        if self.session.core.watch(self.session.slot, cx.waker()) {
            self.take_outgoing();
        }
        let mut more = false;
        if !self.data_ended {
            match self.read(cx) {
                Ok(again) => more = again,
                Err(violation) => self.violated(violation),
            }
        }
        self.write(cx);
        if let Err(violation) = self.converse(cx) {
            self.violated(violation);
        }
        self.write_control(cx);
        let session = &mut self.session;
        for relay in [&mut *session.stdout, &mut *session.stderr]
            .into_iter()
            .flatten()
        {
            relay.poll(cx);
        }
        if self.exit.is_none()
            && let Poll::Ready(exit) = self.session.process.poll_exit(cx)
        {
            self.exit = Some(exit);
            // What the worker wrote before its end may not have been announced to this poll.
            more |= !self.data_ended;
        }
        let now = Instant::now();
        if let Some(ended) = self.closing(now) {
            return Poll::Ready(ended);
        }
        if self.data_broken && !more {
            // Who ends closes both halves, so the end of what it says follows; some live on with one half closed.
            self.deaf.get_or_insert(now + CLOSING);
        }
        self.steps(now);
        self.write_control(cx);
        self.arm(now, cx);
        if more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the worker is being killed: nothing it says counts any more.
    fn is_killed(&self) -> bool {
        !matches!(self.why, None | Some(Why::Asked))
    }

    fn kill(&mut self, why: Why) {
        if !self.is_killed() {
            self.why = Some(why);
            self.session.core.control.killed_one();
        }
        self.session.core.close_slot(self.session.slot);
        self.session.process.kill();
        self.give_up_at
            .get_or_insert_with(|| Instant::now() + Duration::from_secs(1));
    }

    fn violated(&mut self, message: String) {
        // Its bytes cannot be told apart any more.
        self.data_ended = true;
        self.kill(Why::Violation(message));
    }

    fn take_commands(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(command)) = self.session.commands.poll_recv(cx) {
            match command {
                Command::Fail => self.kill(Why::Failed),
                Command::End { terminate } => {
                    if self.why.is_none() {
                        self.why = Some(Why::Asked);
                        self.session.core.close_slot(self.session.slot);
                        self.say(&ControlToWorker::Exit);
                        self.kill_at = Some(Instant::now() + self.session.core.config.grace);
                    }
                    if terminate {
                        self.session.process.terminate();
                    }
                }
            }
        }
    }

    fn take_outgoing(&mut self) {
        let (session, writer) = (&self.session, &mut self.writer);
        let mut broken = false;
        session
            .core
            .take_outgoing(session.slot, &mut self.outgoing, |task| {
                let index = session.indexes.get(usize::from(task.name)).copied();
                let name = index.unwrap_or(u16::MAX);
                let attachments = lengths(task.payload);
                let ticket = task.ticket;
                let queued = writer.value(
                    |rest| HostFrame::Task {
                        ticket,
                        id: task.id.get(),
                        attempt: task.attempt,
                        name,
                        attachments,
                        rest,
                    },
                    HostFrame::Part { ticket },
                    task.payload,
                );
                broken |= queued.is_err();
            });
        self.data_broken |= broken;
        let now = Instant::now();
        for ticket in self.outgoing.cancels.drain(..) {
            self.ladder.begin(ticket, now);
        }
        let control = std::mem::take(&mut self.outgoing.control);
        for frame in &control {
            self.say(frame);
        }
    }

    fn say(&mut self, frame: &ControlToWorker) {
        self.allowance.asked(frame);
        // These have no tail, so they always fit.
        let _ = frame_bytes(frame, &[], &mut self.control_out);
    }

    /// Reads and applies what is there. Returns whether there may be more.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, String> {
        let mut total = 0;
        while total < READ_TURN {
            match self.session.data.poll_read(cx, self.session.reader.space()) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.data_ended = true;
                    return Ok(false);
                }
                Poll::Ready(Ok(bytes)) => {
                    self.session.reader.filled(bytes);
                    total += bytes;
                    self.digest()?;
                }
            }
        }
        Ok(true)
    }

    /// Applies what was read, and takes note of whether a frame is incomplete.
    fn digest(&mut self) -> Result<(), String> {
        let frames = self.parse()?;
        if !self.session.reader.is_partial() {
            self.partial_since = None;
        } else if frames > 0 || self.partial_since.is_none() {
            // Bytes that complete no frame buy it no time.
            self.partial_since = Some(Instant::now());
        }
        Ok(())
    }

    /// Takes the whole frames out of the buffer and applies them. Returns how many there were.
    fn parse(&mut self) -> Result<usize, String> {
        let mut frames = 0;
        let taken = self.take_frames(&mut frames);
        // What was said before a violation counts: those results are there.
        self.apply()?;
        taken.map(|()| frames)
    }

    fn take_frames(&mut self, frames: &mut usize) -> Result<(), String> {
        let (core, slot) = (self.session.core, self.session.slot);
        let due = |ticket| core.expects(slot, ticket).map_err(violation);
        loop {
            if self.events.len() >= MAX_EVENTS {
                self.apply()?;
            }
            let Some(frame) = self
                .session
                .reader
                .next()
                .map_err(|error| format!("a frame of {} bytes", error.claimed))?
            else {
                return Ok(());
            };
            *frames += 1;
            let (header, tail) =
                parse(frame).map_err(|error| format!("an unreadable frame: {error}"))?;
            let whole = match header {
                WorkerFrame::Started { ticket } => {
                    self.events.push(Event::Started(ticket));
                    continue;
                }
                WorkerFrame::Quiet { name, quiet } => {
                    self.allowance.quiet()?;
                    // It may have more names, but it was sent no task of those.
                    let mut known = self.session.indexes.iter().zip(0..);
                    let (_, own) = known
                        .find(|(index, _)| **index == name)
                        .ok_or_else(|| violation(Violation::UnknownName(name)))?;
                    self.events.push(Event::Quiet(own, quiet));
                    continue;
                }
                WorkerFrame::Result {
                    ticket,
                    outcome,
                    attachments,
                    rest,
                } => {
                    if rest > 0 {
                        // Before a byte of it is kept. The ledger does not know yet what has just been read.
                        let ended = |event: &Event| matches!(event, Event::Finished(other, ..) if *other == ticket);
                        if self.events.iter().any(ended) {
                            return Err(violation(Violation::SettledTicket(ticket)));
                        }
                        due(ticket)?;
                    }
                    self.assembly
                        .first(ticket, outcome, attachments, rest, tail)
                        .map(|whole| whole.map(|whole| (ticket, whole)))
                }
                WorkerFrame::Part { ticket } => {
                    let whole = self.assembly.part(ticket, tail);
                    whole.map(|whole| whole.map(|whole| (ticket, whole)))
                }
                WorkerFrame::Offer(_)
                | WorkerFrame::Ready
                | WorkerFrame::Failed { .. }
                | WorkerFrame::Item { .. }
                | WorkerFrame::Progress { .. } => {
                    return Err("a frame that is not due".to_owned());
                }
            };
            if let Some((ticket, (outcome, payload))) =
                whole.map_err(|error| format!("a value that cannot be put together: {error:?}"))?
            {
                let settled = settled(&outcome, payload)?;
                self.events.push(Event::Finished(ticket, settled));
            }
        }
    }

    /// Hands events to the core, in one lock.
    fn apply(&mut self) -> Result<(), String> {
        if self.events.is_empty() {
            return Ok(());
        }
        let finished = self
            .events
            .iter()
            .filter(|event| matches!(event, Event::Finished(..) | Event::Revoked(_)))
            .count();
        let (core, slot) = (self.session.core, self.session.slot);
        core.apply(slot, &mut self.events).map_err(violation)?;
        if finished > 0 {
            self.allowance.finished(finished);
            core.control.healthy(slot);
            if !self.ladder.is_empty() {
                self.ladder
                    .retain(|ticket| core.ending(slot, ticket).is_some());
                self.kill_if_held_alone();
                self.end_if_alone();
            }
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        while !self.data_broken && !self.writer.is_empty() {
            let mut slices = [IoSlice::new(&[]); 16];
            let Ok(filled) = self.writer.slices(&mut slices) else {
                self.data_broken = true;
                return;
            };
            let slices = slices.get(..filled).unwrap_or_default();
            match self.session.data.poll_write(cx, slices) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => self.writer.advance(bytes),
                // Its end is seen by reading, after what it has written.
                Poll::Ready(_) => self.data_broken = true,
                Poll::Pending => return,
            }
        }
    }

    fn write_control(&mut self, cx: &mut Context<'_>) {
        while !self.control_out.is_empty() {
            let slices = [IoSlice::new(&self.control_out)];
            match self.session.control.poll_write(cx, &slices) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => self.control_out.advance(bytes),
                Poll::Ready(_) => self.control_out.clear(),
                Poll::Pending => return,
            }
        }
    }

    /// Reads the control connection.
    fn converse(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        if self.is_killed() {
            return Ok(());
        }
        for _ in 0..16 {
            match self
                .session
                .control
                .poll_read(cx, self.control_reader.space())
            {
                // Its end is the process's end, which is watched.
                Poll::Pending | Poll::Ready(Ok(0) | Err(_)) => return Ok(()),
                Poll::Ready(Ok(bytes)) => self.control_reader.filled(bytes),
            }
            while let Some(frame) = self
                .control_reader
                .next()
                .map_err(|error| format!("a control frame of {} bytes", error.claimed))?
            {
                let (frame, _) = parse(frame)
                    .map_err(|error| format!("an unreadable control frame: {error}"))?;
                match frame {
                    ControlFromWorker::Pong { running, .. } => {
                        self.allowance.pong()?;
                        self.pong(running);
                    }
                    ControlFromWorker::Revoked { ticket, given_back } => {
                        self.allowance.revoked()?;
                        if given_back {
                            if self.assembly.contains(ticket) {
                                return Err(format!(
                                    "ticket {ticket} given back with a part of its value"
                                ));
                            }
                            self.events.push(Event::Revoked(ticket));
                        }
                    }
                    ControlFromWorker::Signalled { signal } => {
                        self.allowance.signal()?;
                        crate::observe::log(|| {
                            tracing::debug!(
                                slot = self.session.slot.index(),
                                signal,
                                "a worker was signalled"
                            )
                        });
                    }
                }
            }
            self.apply()?;
        }
        // A worker that talks without end gets its turn like everybody else.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// The worker says what its loop does.
    fn pong(&mut self, running: Option<(u64, u64)>) {
        let holder = running
            .filter(|(_, micros)| Duration::from_micros(*micros) >= HELD)
            .map(|(ticket, _)| ticket)
            .filter(|ticket| self.ladder.contains(*ticket));
        self.hold(holder);
        if holder.is_some() {
            // Neighbours that wait behind it have not started: given back, they run elsewhere and it is alone.
            for ticket in self.session.core.revocable(self.session.slot) {
                self.say(&ControlToWorker::Revoke { ticket });
            }
            self.kill_if_held_alone();
        }
    }

    /// Takes note of who holds the loop.
    fn hold(&mut self, holder: Option<Ticket>) {
        match (self.held, holder) {
            (None, Some(_)) => self.session.core.close_slot(self.session.slot),
            (Some(_), None) if self.why.is_none() => {
                self.session.core.reopen_slot(self.session.slot);
            }
            _ => {}
        }
        self.held = holder;
    }

    /// A cancelled task that holds the loop ends with its worker as soon as nobody else is in that.
    fn kill_if_held_alone(&mut self) {
        let Some(ticket) = self.held else { return };
        match self.session.core.ending(self.session.slot, ticket) {
            Some(true) => self.kill(Why::Stuck(format!(
                "a cancelled task held its event loop for {HELD:?} and longer"
            ))),
            Some(false) => {}
            None => self.hold(None),
        }
    }

    /// Takes the ladder's steps that are due, and everything else that waits for a time.
    fn steps(&mut self, now: Instant) {
        for step in self.ladder.due(now) {
            match step {
                Step::Ask => {
                    self.nonce += 1;
                    self.say(&ControlToWorker::Ping { nonce: self.nonce });
                }
                Step::Expired(ticket) => self.session.core.abandon(self.session.slot, ticket),
            }
        }
        self.end_if_alone();
        if self.kill_at.is_some_and(|at| now >= at) {
            self.kill_at = None;
            self.kill(Why::Killed);
        }
        if self.deaf.is_some_and(|at| now >= at)
            && !self.data_ended
            && self.exit.is_none()
            && self.why.is_none()
        {
            self.violated("it closed its data connection for reading and went on".to_owned());
        }
        if self
            .partial_since
            .is_some_and(|since| now >= since + FRAME_TIME)
            && !self.is_killed()
        {
            self.violated(format!(
                "a frame that was not complete after {FRAME_TIME:?}"
            ));
        }
    }

    /// A cancelled task that has not ended within its grace ends with its worker, when nobody else is in that.
    fn end_if_alone(&mut self) {
        if self.why.is_some() {
            return;
        }
        let Some(ticket) = self.ladder.expired() else {
            return;
        };
        if self.session.core.ending(self.session.slot, ticket) == Some(true) {
            self.why = Some(Why::Stuck(format!(
                "a cancelled task had not ended {:?} later",
                self.session.core.config.cancel_grace
            )));
            self.session.core.control.killed_one();
            self.session.core.close_slot(self.session.slot);
            // If the loop is free the shutdown hook runs; if not, nothing but SIGKILL works.
            self.say(&ControlToWorker::Exit);
            self.session.process.terminate();
            self.kill_at = Some(Instant::now() + self.session.core.config.grace);
        }
    }

    /// Says whether the worker has ended for good.
    fn closing(&mut self, now: Instant) -> Option<Ended> {
        if self.exit.is_none() && !self.data_ended && self.give_up_at.is_none() {
            return None;
        }
        let ended = match (self.exit, self.data_ended) {
            (Some(_), true) => true,
            (Some(_), false) => now >= *self.closing.get_or_insert(now + CLOSING),
            (None, _) if self.is_killed() => self.give_up_at.is_some_and(|at| now >= at),
            (None, true) => {
                if now >= *self.closing.get_or_insert(now + CLOSING) && self.why.is_none() {
                    self.violated("it closed its data connection and went on".to_owned());
                }
                false
            }
            (None, false) => false,
        };
        ended.then(|| Ended {
            exit: self.exit,
            why: self.why.take().unwrap_or(Why::Itself),
        })
    }

    /// Sets the one timer to the earliest time that matters.
    fn arm(&mut self, now: Instant, cx: &mut Context<'_>) {
        let due = [
            self.ladder.next(),
            self.partial_since.map(|since| since + FRAME_TIME),
            self.deaf,
            self.closing,
            self.kill_at,
            self.give_up_at.filter(|_| self.exit.is_none()),
        ]
        .into_iter()
        .flatten()
        // What is past has been acted on, or waits for something else than time.
        .filter(|at| *at > now)
        .min();
        let Some(at) = due else {
            self.armed = None;
            return;
        };
        if self.armed != Some(at) {
            self.timer.as_mut().reset(at.into());
            self.armed = Some(at);
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            self.armed = None;
            cx.waker().wake_by_ref();
        }
    }
}

/// Lengths of attachments, as frames carry them.
fn lengths(payload: &Payload) -> Vec<u32> {
    payload
        .attachments()
        .iter()
        .map(|attachment| u32::try_from(attachment.len()).unwrap_or(u32::MAX))
        .collect()
}

fn violation(violation: Violation) -> String {
    match violation {
        Violation::UnsentTicket(ticket) => {
            format!("a report of ticket {ticket}, which was not sent")
        }
        Violation::SettledTicket(ticket) => {
            format!("a report of ticket {ticket}, which had ended")
        }
        Violation::StartedTwice(ticket) => format!("a second start of ticket {ticket}"),
        Violation::GivenBackStarted(ticket) => {
            format!("ticket {ticket} given back, which had started")
        }
        Violation::UnknownName(name) => format!("a task name {name}, which there is not"),
    }
}

/// What a result says, with the errors of the crate decoded.
fn settled(outcome: &Outcome, payload: Payload) -> Result<Settled, String> {
    Ok(match outcome {
        Outcome::Done => Settled::Done(payload),
        Outcome::Failed => Settled::Failed(payload),
        Outcome::Panicked => Settled::Panicked(
            codec::decode::<RemoteError>(&payload)
                .map_err(|error| format!("an unreadable panic: {error}"))?,
        ),
        Outcome::Codec => Settled::Codec(
            codec::decode(&payload).map_err(|error| format!("an unreadable error: {error}"))?,
        ),
        Outcome::Cancelled { started } => Settled::Cancelled { started: *started },
    })
}
