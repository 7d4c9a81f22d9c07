//! The data plane of a pool: accepted tasks, who has them, and the way back of their outcomes.
//!
//! Belongs here: what callers, sessions and actors do to tasks, each under one lock per batch. Does not belong here:
//! decisions about workers' lives (`control`), sockets.
//! Invariants: replies are settled outside the lock; nothing here needs an actor or a runtime to be alive.

use std::{
    collections::{HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Instant,
};

use parking_lot::Mutex;

use crate::{
    error::{CodecError, Crash, CrashReport, LossCause, Rejected, Started},
    observe::{Counts, PoolEvent},
    sched::{
        Cancelled, Dispatch, Finished, Full, Ledger, NewTask, Ticket, Unsettled, Verdict, Violation,
    },
    supervisor::{
        Config, WhenFull,
        budget::ResultBudget,
        control::Control,
        reply::{Reply, Settled},
    },
    task::{Fault, FaultPoint, Slot, TaskId},
    wire::{ControlToWorker, Outcome, Payload},
};

/// A task on its way in.
#[derive(Debug)]
pub(crate) struct SubmitTask {
    pub(crate) name: &'static str,
    pub(crate) payload: Result<Payload, CodecError>,
    pub(crate) idempotent: bool,
    pub(crate) exclusive: bool,
}

impl SubmitTask {
    /// Encoded bytes; none if it could not be encoded.
    pub(crate) fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, Payload::len)
    }
}

/// What a worker has reported.
#[derive(Debug)]
pub(crate) enum Event {
    Started(Ticket),
    Quiet(u16, bool),
    Finished(Ticket, Outcome, Settled),
    Revoked(Ticket),
}

/// What a session has to tell its worker.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) tasks: Vec<Dispatch<Payload>>,
    pub(crate) control: Vec<ControlToWorker>,
    /// Tickets whose ladder begins.
    pub(crate) cancels: Vec<Ticket>,
}

/// Why the pool ends what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Stop, or a drain's end: what runs is cancelled.
    Asked,
    /// The `System` or the arbiter ended: what runs is lost.
    Gone,
}

/// Whether tasks are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Open,
    /// The circuit is open; the next attempt is due then.
    Unavailable(Instant),
    Closed,
}

#[derive(Debug)]
struct Lane {
    control: Vec<ControlToWorker>,
    cancels: Vec<Ticket>,
    done: u64,
}

#[derive(Debug)]
struct State {
    ledger: Ledger<Payload, Reply>,
    admission: Admission,
    counts: Counts,
    lanes: Vec<Lane>,
    /// A full queue has been reported and has not had room since.
    full: bool,
    /// Maps that wait for room.
    room: Vec<Waker>,
}

/// Wakes the session of a slot.
#[derive(Debug, Default)]
struct Signal {
    raised: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*self.waker.lock()
        {
            waker.wake_by_ref();
        }
    }
}

/// Why a task was not taken in.
enum Refused {
    Full(Full, (NewTask<Payload, ()>, Reply)),
    Unavailable(Instant, Reply),
    Closed(Reply),
}

impl Refused {
    fn rejected(self, config: &Config) -> (Reply, Rejected) {
        match self {
            Self::Full(full, (_, reply)) => (
                reply,
                Rejected::QueueFull {
                    waiting: full.waiting,
                    limit: config.queue_limit,
                    bytes: full.bytes,
                    bytes_limit: config.queue_bytes,
                },
            ),
            Self::Unavailable(at, reply) => (
                reply,
                Rejected::Unavailable {
                    retry_after: at.saturating_duration_since(Instant::now()),
                },
            ),
            Self::Closed(reply) => (reply, Rejected::Closed),
        }
    }
}

/// A settlement on its way out.
type Delivery = (Reply, Settled);

/// The tasks of a pool. Shared by everything that touches one.
#[derive(Debug)]
pub(crate) struct PoolCore {
    pub(crate) config: Config,
    pub(crate) control: Control,
    pub(crate) results: Arc<ResultBudget>,
    pub(crate) fault: Fault,
    state: Mutex<State>,
    signals: Vec<Signal>,
    /// Notified when the last task has settled.
    pub(crate) idle: tokio::sync::Notify,
}

impl PoolCore {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        let slots = config.processes as usize;
        Arc::new_cyclic(|core| Self {
            results: Arc::new(ResultBudget::new(config.result_bytes, core.clone())),
            state: Mutex::new(State {
                ledger: Ledger::new(slots, config.table.len(), config.max_attempts),
                admission: Admission::Open,
                counts: Counts::default(),
                lanes: (0..slots)
                    .map(|_| Lane {
                        control: Vec::new(),
                        cancels: Vec::new(),
                        done: 0,
                    })
                    .collect(),
                full: false,
                room: Vec::new(),
            }),
            signals: (0..slots).map(|_| Signal::default()).collect(),
            control: Control::new(slots, config.rules),
            fault: Fault::default(),
            idle: tokio::sync::Notify::new(),
            config,
        })
    }

    /// Takes a task in. Its reply is settled here and now if it cannot be.
    pub(crate) fn submit(&self, task: SubmitTask, reply: Reply) -> Option<TaskId> {
        let (task, reply) = match self.admit(task) {
            Ok(task) => (task, reply),
            Err(settled) => {
                self.deliver([(reply, settled)]);
                return None;
            }
        };
        let limits = (self.config.queue_limit, self.config.queue_bytes);
        let mut event = None;
        let verdict = {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            let awaited = self.results.is_over() && reply.is_awaited();
            let mut accepted = Self::accept(state, task, reply, Some(limits));
            if let Err(Refused::Full(full, task)) = accepted {
                // Said once until the queue has had room again.
                if !std::mem::replace(&mut state.full, true) {
                    event = Some(PoolEvent::QueueFull {
                        waiting: full.waiting,
                        bytes: full.bytes,
                    });
                }
                accepted = match self.config.when_full {
                    WhenFull::Wait => Self::accept(state, task.0, task.1, None),
                    WhenFull::Reject => Err(Refused::Full(full, task)),
                };
            }
            if let Ok(id) = accepted {
                if awaited {
                    state.ledger.expedite(id);
                }
                self.assign(state);
            }
            accepted
        };
        if let Some(event) = event {
            self.control.emit(event);
        }
        match verdict {
            Ok(id) => Some(id),
            Err(refused) => {
                let (reply, rejected) = refused.rejected(&self.config);
                self.deliver([(reply, Settled::Rejected(rejected))]);
                None
            }
        }
    }

    /// Takes in what a map has pulled, from the front, as far as there is room; the rest stays, and `waker` is woken
    /// when there is room for it. With `force` one task is taken in any case.
    pub(crate) fn submit_pulled(
        &self,
        pulled: &mut VecDeque<(SubmitTask, Reply)>,
        force: bool,
        waker: &Waker,
        mut accepted: impl FnMut(Option<TaskId>),
    ) {
        let limits = (self.config.queue_limit, self.config.queue_bytes);
        let mut refusals = Vec::new();
        let mut force = force;
        {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            while let Some((task, reply)) = pulled.pop_front() {
                let forced = std::mem::take(&mut force);
                let over = self.results.is_over() && !forced && state.admission == Admission::Open;
                let task = match self.admit(task) {
                    Ok(task) => task,
                    Err(settled) => {
                        accepted(None);
                        refusals.push((reply, settled));
                        continue;
                    }
                };
                let taken = if over {
                    Err(Refused::Full(Full::default(), (task, reply)))
                } else {
                    Self::accept(state, task, reply, (!forced).then_some(limits))
                };
                match taken {
                    Ok(id) => accepted(Some(id)),
                    Err(Refused::Full(_, (task, reply))) => {
                        pulled.push_front((self.readmit(task), reply));
                        if !state.room.iter().any(|old| old.will_wake(waker)) {
                            state.room.push(waker.clone());
                        }
                        break;
                    }
                    Err(refused) => {
                        let (reply, rejected) = refused.rejected(&self.config);
                        accepted(None);
                        refusals.push((reply, Settled::Rejected(rejected)));
                    }
                }
            }
            self.assign(state);
        }
        self.deliver(refusals);
    }

    /// Checks what does not need the lock.
    fn admit(&self, task: SubmitTask) -> Result<NewTask<Payload, ()>, Settled> {
        let Some(name) = self.config.table.index(task.name) else {
            return Err(Settled::Rejected(Rejected::UnknownTask {
                name: task.name,
                near: self.config.table.near(task.name),
            }));
        };
        let payload = task.payload.map_err(Settled::Codec)?;
        let bytes = payload.len();
        if bytes > self.config.max_frame_bytes {
            return Err(Settled::Rejected(Rejected::TooLarge {
                bytes,
                limit: self.config.max_frame_bytes,
            }));
        }
        Ok(NewTask {
            name,
            payload,
            bytes,
            idempotent: task.idempotent,
            exclusive: task.exclusive,
            reply: (),
        })
    }

    /// The task as it came, for another try.
    fn readmit(&self, task: NewTask<Payload, ()>) -> SubmitTask {
        let name = self.config.table.name(task.name);
        SubmitTask {
            name,
            payload: Ok(task.payload),
            idempotent: task.idempotent,
            exclusive: task.exclusive,
        }
    }

    fn accept(
        state: &mut State,
        task: NewTask<Payload, ()>,
        reply: Reply,
        limits: Option<(usize, usize)>,
    ) -> Result<TaskId, Refused> {
        match state.admission {
            Admission::Open => {}
            Admission::Unavailable(at) => return Err(Refused::Unavailable(at, reply)),
            Admission::Closed => return Err(Refused::Closed(reply)),
        }
        match state.ledger.accept(task.with_reply(reply), limits) {
            Ok(id) => {
                state.counts.accepted += 1;
                Ok(id)
            }
            Err((full, task)) => Err(Refused::Full(full, task.without_reply())),
        }
    }

    /// Gives waiting tasks to workers with credit, and wakes those.
    fn assign(&self, state: &mut State) {
        let awaited_only = self.results.is_over();
        state.ledger.assign(awaited_only, |slot| {
            if let Some(signal) = self.signals.get(slot.index() as usize) {
                signal.raise();
            }
        });
    }

    /// Results have crossed their limit: closes or opens the gate for what nobody awaits.
    pub(crate) fn regate(&self) {
        let mut state = self.state.lock();
        if self.results.decide() {
            Self::expedite_awaited(&mut state);
        }
        self.assign(&mut state);
        let room = std::mem::take(&mut state.room);
        drop(state);
        for waker in room {
            waker.wake();
        }
    }

    /// Tasks are back in the queue. Whoever awaits one has said so before it was sent, and does not say so again.
    fn requeued(&self, state: &mut State) {
        if self.results.is_over() {
            Self::expedite_awaited(state);
        }
    }

    fn expedite_awaited(state: &mut State) {
        // A map that takes results as they come waits for any one of its tasks, not for all of them.
        let mut maps = HashSet::new();
        state.ledger.expedite_where(|reply| {
            reply.is_awaited() && reply.map().is_none_or(|map| maps.insert(map))
        });
    }

    /// Somebody awaits this task from now on.
    pub(crate) fn expedite(&self, id: TaskId) {
        if self.results.is_over() {
            let mut state = self.state.lock();
            state.ledger.expedite(id);
            self.assign(&mut state);
        }
    }

    /// Somebody wants a task to end. With `abandon` nobody waits for it any more.
    pub(crate) fn cancel(&self, id: TaskId, abandon: bool) {
        let delivery = {
            let mut state = self.state.lock();
            let delivery = match state.ledger.cancel(id, abandon) {
                Cancelled::Queued(reply) => {
                    state.counts.cancelled += 1;
                    Some((reply, Settled::Cancelled { started: false }))
                }
                Cancelled::Flight {
                    slot,
                    ticket,
                    reply,
                    first,
                } => {
                    if first && let Some(lane) = state.lanes.get_mut(slot.index() as usize) {
                        lane.control.push(ControlToWorker::Cancel { ticket });
                        lane.cancels.push(ticket);
                        if let Some(signal) = self.signals.get(slot.index() as usize) {
                            signal.raise();
                        }
                    }
                    reply.map(|reply| {
                        state.counts.cancelled += 1;
                        (reply, Settled::Cancelled { started: true })
                    })
                }
                Cancelled::Unknown => None,
            };
            if delivery.is_some() {
                self.freed(&mut state);
            }
            delivery
        };
        self.deliver(delivery);
    }

    /// Settles a cancelled task whose worker has not ended it within the grace.
    pub(crate) fn abandon(&self, slot: Slot, ticket: Ticket) {
        let delivery = {
            let mut state = self.state.lock();
            let reply = state.ledger.abandon(slot, ticket).map(|(_, reply)| reply);
            reply.map(|reply| {
                state.counts.cancelled += 1;
                self.freed(&mut state);
                (reply, Settled::Cancelled { started: true })
            })
        };
        self.deliver(delivery);
    }

    /// There may be room, credit, or nothing left.
    fn freed(&self, state: &mut State) {
        self.assign(state);
        if state.ledger.quantities().waiting < self.config.queue_limit {
            state.full = false;
            for waker in state.room.drain(..) {
                waker.wake();
            }
        }
        if state.ledger.is_empty() {
            self.idle.notify_waiters();
        }
    }

    /// Makes sure that `waker` is woken when there is something to take. Returns whether there is already.
    pub(crate) fn watch(&self, slot: Slot, waker: &Waker) -> bool {
        let Some(signal) = self.signals.get(slot.index() as usize) else {
            return false;
        };
        {
            let mut current = signal.waker.lock();
            if !current.as_ref().is_some_and(|old| old.will_wake(waker)) {
                *current = Some(waker.clone());
            }
        }
        signal.raised.swap(false, Ordering::AcqRel)
    }

    /// The slot's session has ended. A waker left here would keep its runtime, and that its descriptors, as long as
    /// anybody holds the pool.
    pub(crate) fn unwatch(&self, slot: Slot) {
        if let Some(signal) = self.signals.get(slot.index() as usize) {
            let waker = signal.waker.lock().take();
            drop(waker);
        }
    }

    /// Takes what a session has to tell its worker.
    pub(crate) fn take_outgoing(&self, slot: Slot, into: &mut Outgoing) {
        let mut state = self.state.lock();
        state.ledger.take_outbox(slot, &mut into.tasks);
        if let Some(lane) = state.lanes.get_mut(slot.index() as usize) {
            into.control.append(&mut lane.control);
            into.cancels.append(&mut lane.cancels);
        }
    }

    /// A worker is ready for tasks.
    pub(crate) fn up(&self, slot: Slot) {
        let mut state = self.state.lock();
        if let Some(lane) = state.lanes.get_mut(slot.index() as usize) {
            lane.control.clear();
            lane.cancels.clear();
        }
        state.ledger.up(slot, self.config.concurrency);
        self.assign(&mut state);
    }

    /// A worker is not to be sent any more tasks.
    pub(crate) fn close_slot(&self, slot: Slot) {
        self.state.lock().ledger.close(slot);
    }

    /// A worker takes tasks again after all.
    pub(crate) fn reopen_slot(&self, slot: Slot) {
        let mut state = self.state.lock();
        state.ledger.reopen(slot);
        self.assign(&mut state);
    }

    /// Whether a result for this ticket is due.
    pub(crate) fn expects(&self, slot: Slot, ticket: Ticket) -> Result<(), Violation> {
        self.state.lock().ledger.expects(slot, ticket)
    }

    /// Whether a ticket is still with its worker, and whether all that is with it is being cancelled.
    pub(crate) fn ending(&self, slot: Slot, ticket: Ticket) -> Option<bool> {
        self.state.lock().ledger.ending(slot, ticket)
    }

    pub(crate) fn revocable(&self, slot: Slot) -> Vec<Ticket> {
        self.state.lock().ledger.revocable(slot)
    }

    /// Takes note of what a worker has reported, in its order, up to the first thing that no honest worker does.
    pub(crate) fn apply(&self, slot: Slot, events: &mut Vec<Event>) -> Result<(), Violation> {
        let mut deliveries = Vec::new();
        let mut verdict = Ok(());
        {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            let mut done = 0;
            let mut revoked = false;
            for event in events.drain(..) {
                let applied = match event {
                    Event::Started(ticket) => state.ledger.started(slot, ticket).map(|_| ()),
                    Event::Quiet(name, quiet) => state.ledger.quiet(slot, name, quiet),
                    Event::Revoked(ticket) => {
                        revoked = true;
                        state.ledger.revoked(slot, ticket)
                    }
                    Event::Finished(ticket, outcome, settled) => {
                        state.ledger.finished(slot, ticket).map(|finished| {
                            done += 1;
                            if let Finished::Settle(reply) = finished {
                                let settled = match outcome {
                                    Outcome::Cancelled { started: false }
                                        if state.admission == Admission::Closed =>
                                    {
                                        Settled::Rejected(Rejected::Closed)
                                    }
                                    _ => settled,
                                };
                                count(&mut state.counts, &settled);
                                deliveries.push((reply, settled));
                            }
                        })
                    }
                };
                if let Err(violation) = applied {
                    verdict = Err(violation);
                    break;
                }
            }
            if let Some(lane) = state.lanes.get_mut(slot.index() as usize) {
                lane.done += done;
            }
            if revoked {
                self.requeued(state);
            }
            self.freed(state);
        }
        self.deliver(deliveries);
        verdict
    }

    /// A worker has gone. `innocent` says that its tasks did not cause it.
    ///
    /// Returns how many tasks were settled and how many went back to the queue.
    pub(crate) fn lost(&self, slot: Slot, crash: &Arc<Crash>, innocent: bool) -> (usize, usize) {
        let (deliveries, requeued) = {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            let lost = state.ledger.lost(slot, innocent);
            let suspects = if innocent { 0 } else { lost.suspects };
            let mut deliveries = Vec::with_capacity(lost.settled.len());
            for task in lost.settled {
                let settled = match task.verdict {
                    Verdict::Cancelled => Settled::Cancelled {
                        started: task.started != Started::No,
                    },
                    Verdict::Lost => Settled::WorkerLost(CrashReport::new(
                        Arc::clone(crash),
                        task.started,
                        suspects,
                    )),
                };
                crate::observe::log(|| {
                    tracing::trace!(
                        task = task.id.get(),
                        name = task.name,
                        "settled with its worker's end"
                    )
                });
                count(&mut state.counts, &settled);
                deliveries.push((task.reply, settled));
            }
            if lost.requeued > 0 {
                self.requeued(state);
            }
            self.freed(state);
            (deliveries, lost.requeued)
        };
        let settled = deliveries.len();
        self.deliver(deliveries);
        (settled, requeued)
    }

    /// The circuit opens or closes.
    pub(crate) fn set_available(&self, unavailable_until: Option<Instant>) {
        let mut state = self.state.lock();
        if state.admission != Admission::Closed {
            state.admission = unavailable_until.map_or(Admission::Open, Admission::Unavailable);
        }
    }

    /// Takes no more tasks. Returns how many are left, and the counts so far.
    pub(crate) fn close(&self) -> (u64, Counts) {
        let mut state = self.state.lock();
        state.admission = Admission::Closed;
        let left = state.counts.accepted - state.counts.settled();
        let counts = state.counts;
        let room = std::mem::take(&mut state.room);
        drop(state);
        for waker in room {
            waker.wake();
        }
        (left, counts)
    }

    /// Settles what waits, and tells the workers to cancel what they have.
    pub(crate) fn cancel_all(&self) {
        let (deliveries, running) = {
            let mut state = self.state.lock();
            let waiting = state.ledger.take_waiting();
            let deliveries = Self::settle_unsettled(&mut state, waiting, None);
            (deliveries, state.ledger.running())
        };
        self.deliver(deliveries);
        for id in running {
            self.cancel(id, false);
        }
        self.check_idle();
    }

    /// Settles everything that is left.
    pub(crate) fn end(&self, end: End) {
        let deliveries = {
            let mut state = self.state.lock();
            state.admission = Admission::Closed;
            let mut left = state.ledger.take_waiting();
            left.extend(state.ledger.take_flights());
            Self::settle_unsettled(&mut state, left, Some(end))
        };
        self.deliver(deliveries);
        self.check_idle();
    }

    fn check_idle(&self) {
        let mut state = self.state.lock();
        self.freed(&mut state);
    }

    fn settle_unsettled(
        state: &mut State,
        tasks: Vec<Unsettled<Reply>>,
        end: Option<End>,
    ) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(tasks.len());
        for task in tasks {
            let settled = match (task.started, end) {
                (Started::No, _) | (_, None) => Settled::Rejected(Rejected::Closed),
                (_, Some(End::Asked)) => Settled::Cancelled { started: true },
                (started, Some(End::Gone)) => Settled::WorkerLost(CrashReport::new(
                    Arc::new(Crash::pool_gone(task.slot.unwrap_or(Slot::new(0)))),
                    started,
                    0,
                )),
            };
            crate::observe::log(|| {
                tracing::trace!(task = task.id.get(), "settled with the pool's end")
            });
            count(&mut state.counts, &settled);
            deliveries.push((task.reply, settled));
        }
        deliveries
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.state.lock().ledger.is_empty()
    }

    /// The numbers for a status.
    pub(crate) fn numbers(&self) -> Numbers {
        let state = self.state.lock();
        let found = state.ledger.quantities();
        Numbers {
            queued: found.waiting,
            in_flight: found.in_flight,
            bytes: found.bytes,
            counts: state.counts,
            slots: (0..)
                .zip(&state.lanes)
                .map(|(index, lane)| (state.ledger.in_flight(Slot::new(index)), lane.done))
                .collect(),
        }
    }

    /// Hands outcomes over. A reply that panics harms no other.
    fn deliver(&self, deliveries: impl IntoIterator<Item = Delivery>) {
        for (reply, settled) in deliveries {
            let handed_over =
                catch_unwind(AssertUnwindSafe(|| reply.settle(settled, &self.results)));
            if handed_over.is_err() {
                crate::observe::log(|| tracing::error!("a reply panicked while it was settled"));
            }
        }
    }

    /// Lets a test make this place panic.
    #[inline]
    pub(crate) fn fault(&self, point: FaultPoint) {
        self.fault.hit(point);
    }
}

/// Numbers of the data plane at one moment.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) queued: usize,
    pub(crate) in_flight: usize,
    pub(crate) bytes: usize,
    pub(crate) counts: Counts,
    /// Per slot: in flight, done.
    pub(crate) slots: Vec<(usize, u64)>,
}

fn count(counts: &mut Counts, settled: &Settled) {
    let counter = match settled {
        Settled::Done(_) => &mut counts.done,
        Settled::Failed(_) => &mut counts.failed,
        Settled::Panicked(_) => &mut counts.panicked,
        Settled::Cancelled { .. } => &mut counts.cancelled,
        Settled::WorkerLost(_) => &mut counts.lost,
        Settled::Rejected(_) => &mut counts.rejected,
        Settled::Codec(_) => &mut counts.codec,
    };
    *counter += 1;
}

impl Crash {
    /// The end of a task's worker together with its pool.
    fn pool_gone(slot: Slot) -> Self {
        Self {
            slot,
            generation: 0,
            pid: None,
            code: None,
            signal: None,
            cause: LossCause::PoolGone,
            detail: None,
            rss: None,
            uptime: std::time::Duration::ZERO,
            stderr_tail: String::new(),
        }
    }
}
