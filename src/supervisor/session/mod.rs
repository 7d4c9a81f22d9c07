//! A ready worker and its host, until one of them ends it.
//!
//! Belongs here: moving frames between a worker's connections and the core, and the ladder of its cancelled tasks.
//! Does not belong here: what was before ready, and what follows the end.
//! Invariants: one poll serves everything that is ready; nothing a worker sends is stored before it is known to be due.
//!
//! States: *serving* ─ Retire ▶ *retiring* (no new tasks) ─ empty ▶ *ending*; *serving*, *retiring* ─ End ▶ *ending* (Exit
//! was sent; killed after the grace) ─ the process ends ▶ *ended*. A violation, the retiring one's time-out, the
//! ladder's last step and Fail lead from all to *killed*, which only waits for the process. When the
//! process has ended what it wrote is read first; when its data connection ends first, it has 50 ms to follow.

mod control;
mod data;
mod ended;
mod ending;
mod memory;
mod outcome;
mod partial;
mod sending;
mod stall;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::BytesMut;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Sleep, sleep_until},
};

use crate::{
    error::RemoteError,
    ipc::Stream,
    observe::{ExitStatus, RetireReason},
    sched::Ticket,
    supervisor::{
        PoolCore, WorkerProcess,
        allowance::Allowance,
        busy_poll::Expects,
        core::{Attached, Event, Outgoing},
        jitter,
        ladder::Ladder,
        life::Birth,
        pulse::Pulse,
        relay::Relay,
        session::{memory::Memory, partial::Partial, sending::TaskRun},
    },
    task::{FaultPoint, Slot, WorkerInfo},
    wire::{Assembly, FrameReader, FrameWriter, HostFrame, Outcome, Run},
};

pub(super) use ended::{Ended, Why};

/// What a proxy tells its worker's life. Told twice it is no more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Wait no longer before you start.
    Begin,
    /// End in good order: what it has is done or cancelled.
    End {
        /// Processes in its group are asked, too.
        terminate: bool,
    },
    /// Take no more tasks, and end when the last has.
    Retire(RetireReason),
    /// End, whatever it has: an operator wants so.
    Kill {
        /// Without being asked first.
        at_once: bool,
    },
    /// The proxy has lost its mind: end at once, as if the worker had.
    Fail,
}

/// What a session works with.
pub(super) struct Session<'a> {
    pub(super) core: &'a PoolCore,
    pub(super) birth: &'a Birth,
    pub(super) worker: WorkerInfo,
    pub(super) slot: Slot,
    pub(super) attached: Attached,
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
    let arbiters = core.config.knobs.io_arbiters.min(core.control.size());
    let mut running = Running {
        writer: FrameWriter::new(),
        run: Run::default(),
        assembly: Assembly::new(core.config.knobs.max_frame_bytes, &core.spares),
        control_reader: FrameReader::new(),
        control_out: BytesMut::new(),
        outgoing: Outgoing::default(),
        events: Vec::new(),
        ladder: Ladder::new(core.config.knobs.cancel_grace, core.config.knobs.kill),
        allowance: Allowance::new(core.config.table.len()),
        born: Instant::now(),
        with_worker: 0,
        done: 0,
        work: 0,
        expects: Expects::new(core.config.lineage.cpus as usize / arbiters.max(1)),
        pulse: Pulse::new(core.config.knobs.heartbeat, core.config.knobs.stalled_after),
        stalled: None,
        memory: Memory::new(&session),
        last_words: None,
        held: None,
        shut: false,
        partial: None,
        data_ended: false,
        data_broken: false,
        garbled: false,
        broken: false,
        deaf: None,
        exit: None,
        closing: None,
        kill_at: None,
        give_up_at: None,
        why: None,
        nonce: 0,
        revoking: 0,
        sacrifice_at: None,
        retiring: None,
        retire_at: (core.config.knobs.max_age)
            .map(|most| Instant::now() + jitter::time(most, core.config.knobs.jitter)),
        asked: None,
        timer: Box::pin(sleep_until(tokio::time::Instant::now())),
        armed: None,
        session,
    };
    // What came in the same breath as Ready is in the reader already: no further bytes may come to announce it.
    if let Err(violation) = running.digest(0) {
        running.garbled(violation);
    }
    running.leave_quarantine();
    std::future::poll_fn(|cx| running.poll(cx)).await
}

struct Running<'a> {
    session: Session<'a>,
    writer: FrameWriter<HostFrame>,
    /// Tasks that share a frame. Empty between two polls.
    run: Run<TaskRun>,
    assembly: Assembly<Outcome>,
    control_reader: FrameReader,
    control_out: BytesMut,
    outgoing: Outgoing,
    events: Vec<Event>,
    ladder: Ladder,
    allowance: Allowance,
    /// Since when it serves.
    born: Instant,
    /// How many tasks it was sent and has not said the end of.
    with_worker: usize,
    /// How many it has said the end of.
    done: u64,
    /// How long those that it has take in all, in nanoseconds.
    work: u64,
    expects: Expects,
    pulse: Pulse,
    /// The task that has stalled the worker, which is to be killed for that.
    stalled: Option<Ticket>,
    memory: Memory,
    /// A panic that ends it, and whose poll that was.
    last_words: Option<(Option<Ticket>, RemoteError)>,
    /// The cancelled task that holds the loop. Nothing more is sent meanwhile: given back tasks would only return.
    held: Option<Ticket>,
    /// No tasks are sent for now.
    shut: bool,
    /// A frame that is not complete.
    partial: Option<Partial>,
    data_ended: bool,
    data_broken: bool,
    /// What comes on the data connection makes no sense any more.
    garbled: bool,
    /// The data connection ended in the middle of what came on it, for all that is known.
    broken: bool,
    exit: Option<ExitStatus>,
    /// When a worker that takes no more bytes must have ended.
    deaf: Option<Instant>,
    /// When the end is settled without its second sign.
    closing: Option<Instant>,
    /// When a worker that was asked to end is killed.
    kill_at: Option<Instant>,
    /// When a killed worker that does not even end so is given up.
    give_up_at: Option<Instant>,
    why: Option<Why>,
    /// It takes no more tasks, and has until then to end those it has.
    retiring: Option<(RetireReason, Instant)>,
    /// When it is old.
    retire_at: Option<Instant>,
    /// Why its replacement was asked for last.
    asked: Option<RetireReason>,
    nonce: u64,
    /// How many tasks it was asked to give back and has not answered for.
    revoking: usize,
    /// When it ends for a task that has timed out and would not end, whatever else it has.
    sacrifice_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl Running<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.session.core.fault(FaultPoint::Session);
        self.take_commands(cx);
        if self.session.attached.watch(cx.waker()) {
            self.take_outgoing();
            self.mind_the_limit();
            self.ask_if_spent();
            self.leave_quarantine();
        }
        let mut more = false;
        let done = self.done;
        if !self.data_ended {
            match self.read(cx) {
                Ok(again) => more = again,
                Err(violation) => self.garbled(violation),
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
            self.hear_out(cx);
            // What the worker wrote before its end may not have been announced to this poll.
            more |= !self.data_ended;
        }
        let now = Instant::now();
        self.expects.has(self.work, self.done != done, now);
        self.leave_if_empty(now);
        if let Some(ended) = self.closing(more, now) {
            return Poll::Ready(ended);
        }
        if self.data_broken && !more {
            // Who ends closes both halves, so the end of what it says follows; some live on with one half closed.
            self.deaf.get_or_insert(now + ending::CLOSING);
        }
        self.steps(now);
        self.write_control(cx);
        self.arm(now, cx);
        if more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Sets the one timer to the earliest time that matters.
    fn arm(&mut self, now: Instant, cx: &mut Context<'_>) {
        let due = [
            self.ladder.next(),
            self.pulse.next().filter(|_| self.why.is_none()),
            self.memory.next().filter(|_| !self.is_killed()),
            self.partial.as_ref().map(Partial::due),
            self.deaf,
            self.closing,
            self.kill_at,
            self.retire_at,
            self.sacrifice_at.filter(|_| self.why.is_none()),
            self.retiring
                .map(|(_, until)| until)
                .filter(|_| self.why.is_none()),
            self.give_up_at.filter(|_| self.exit.is_none()),
        ]
        .into_iter()
        .flatten()
        // What is past has been acted on, or waits for something else than time.
        .filter(|at| *at > now)
        .min();
        let Some(at) = due else {
            if self.armed.take().is_some() {
                // Left as it is it would wake an idle pool.
                self.timer.set(sleep_until(tokio::time::Instant::from(now)));
            }
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
