//! The data plane of a pool: accepted tasks, who has them, and the way back of their outcomes.
//!
//! Belongs here: what callers, sessions and actors do to tasks, each under one lock per batch: taking them in
//! (`intake`), giving them to workers (`assign`), telling sessions (`lanes`), settling them (`settle`), all at once (`end`).
//! Does not belong here: decisions about workers' lives (`control`), sockets.
//! Invariants: replies are settled, and their waiters woken, outside the lock; nothing here needs an actor or a runtime
//! to be alive.

mod assign;
mod clock;
mod end;
mod incoming;
mod intake;
mod lanes;
mod lock;
mod lost;
mod memory;
mod quarantine;
mod reported;
mod settle;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;

pub(crate) use end::End;
pub(crate) use incoming::SubmitTask;
pub(crate) use lanes::{Attached, EndedFor, Ending, Outgoing};
pub(crate) use lost::Guilt;
pub(crate) use reported::Event;

use crate::{
    config::PoolConfig,
    error::Crash,
    observe::{Counts, PoolEvent},
    sched::{Adaptive, Ledger, Replaced, Routing, routes},
    supervisor::{
        Config,
        budget::ResultBudget,
        control::Control,
        core::{clock::Alarm, lanes::Signal},
        oom::OomCounters,
        reply::{Reply, Settled},
    },
    task::{Fault, FaultPoint, Priority, TaskId},
    wire::{ControlToWorker, Payload, Spares},
};

/// Whether tasks are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Open,
    /// The circuit is open; the next attempt is due then.
    Unavailable(Instant),
    Closed,
}

/// What the session of a seat has to hear.
#[derive(Debug, Default)]
struct Lane {
    signal: Arc<Signal>,
    control: Vec<ControlToWorker>,
    cancels: Vec<Ending>,
    /// How many tasks its worker may have, where that depends on it.
    adaptive: Option<Adaptive>,
    /// How many bytes its worker had in memory when it was last looked at.
    resident: usize,
    /// It is to end, because all workers together had so many.
    too_much: Option<usize>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger<Payload, Reply>,
    admission: Admission,
    counts: Counts,
    /// By seat.
    lanes: Vec<Lane>,
    /// By slot, how many tasks its workers have ended.
    done: Vec<u64>,
    /// Nothing is sent to workers.
    paused: bool,
    /// The pool ends, and cancels what it has for itself.
    ending: bool,
    /// A full queue has been reported and has not had room since.
    full: bool,
    /// Maps that wait for room for a task of this class.
    room: Vec<(Priority, Waker)>,
    alarm: Alarm,
    /// Deaths of workers whose suspects have yet to end.
    inquests: HashMap<u64, Arc<Crash>>,
}

/// What follows from a change and must not happen under the lock, because it runs code of others.
#[derive(Default)]
struct After {
    /// Settlements on their way out.
    deliveries: Vec<(Option<TaskId>, Reply, Settled)>,
    /// Outputs of tasks in a row on their way out.
    runs: Vec<(Reply, Bytes)>,
    /// Maps that have room again.
    wake: Vec<Waker>,
    /// What is to be told to everybody.
    events: Vec<PoolEvent>,
    /// A routing that has been given up.
    replaced: Option<Replaced>,
}

/// The tasks of a pool. Shared by everything that touches one.
#[derive(Debug)]
pub(crate) struct PoolCore {
    pub(crate) config: Config,
    pub(crate) control: Control,
    pub(crate) results: Arc<ResultBudget>,
    /// What large results are read into.
    pub(crate) spares: Spares,
    pub(crate) fault: Fault,
    state: Mutex<State>,
    /// How many tasks may wait.
    queue_limit: AtomicUsize,
    /// Notified when the last task has settled.
    pub(crate) idle: tokio::sync::Notify,
    this: Weak<Self>,
    /// Which ends the kernel is known to have brought about.
    pub(super) oom_counters: OomCounters,
}

impl PoolCore {
    /// Without a `routing` the least loaded worker gets a task.
    pub(crate) fn new(config: Config, routing: Option<Box<dyn Routing>>) -> Arc<Self> {
        let slots = config.processes as usize;
        let queue_limit = AtomicUsize::new(config.queue_limit(slots));
        let mut ledger = Ledger::new(config.names(), config.retry, routing, Instant::now());
        if let Some(most) = config.read_ahead() {
            ledger.read_ahead(most);
        }
        Arc::new_cyclic(|core| Self {
            spares: Spares::default(),
            results: Arc::new(ResultBudget::new(config.knobs.result_bytes, core.clone())),
            state: Mutex::new(State {
                ledger,
                admission: Admission::Open,
                counts: Counts::default(),
                lanes: Vec::new(),
                done: vec![0; slots],
                paused: false,
                ending: false,
                full: false,
                room: Vec::new(),
                alarm: Alarm::default(),
                inquests: HashMap::new(),
            }),
            queue_limit,
            control: Control::new(slots, config.lineage.cpus as usize, config.rules),
            fault: Fault::default(),
            this: core.clone(),
            oom_counters: OomCounters::default(),
            idle: tokio::sync::Notify::new(),
            config,
        })
    }

    /// How many tasks may wait.
    pub(crate) fn queue_limit(&self) -> usize {
        // Nothing else hangs on it.
        self.queue_limit.load(Ordering::Relaxed)
    }

    /// The knobs with what was made of the automatic ones.
    pub(crate) fn effective(&self) -> PoolConfig {
        PoolConfig {
            processes: Some(self.control.size()),
            queue_limit: Some(self.queue_limit()),
            ..self.config.knobs.clone()
        }
    }

    /// There are to be so many slots.
    pub(crate) fn resize(&self, slots: usize) {
        let limit = self.config.queue_limit(slots);
        self.queue_limit.store(limit, Ordering::Relaxed);
        let mut after = After::default();
        {
            let mut state = self.lock();
            if state.done.len() < slots {
                state.done.resize(slots, 0);
            }
            self.freed(&mut state, &mut after);
        }
        self.finish(after);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.lock().ledger.is_empty()
    }

    /// The numbers for a status.
    pub(crate) fn numbers(&self) -> Numbers {
        let state = self.lock();
        let found = state.ledger.quantities();
        let done = state.done.iter().map(|done| SlotNumbers {
            done: *done,
            ..SlotNumbers::default()
        });
        let mut slots: Vec<SlotNumbers> = done.collect();
        for load in state.ledger.loads() {
            if let Some(numbers) = slots.get_mut(load.slot.index() as usize) {
                numbers.in_flight += load.has;
                numbers.concurrency = load.limit as usize;
                let lane = state.lanes.get(load.seat.index());
                numbers.resident += lane.map_or(0, |lane| lane.resident);
            }
        }
        Numbers {
            queued: found.waiting,
            in_flight: found.in_flight,
            bytes: found.bytes,
            counts: state.counts,
            paused: state.paused,
            quarantined: state.ledger.suspects(),
            slots,
        }
    }

    /// Lets a test make this place panic.
    #[inline]
    pub(crate) fn fault(&self, point: FaultPoint) {
        self.fault.hit(point);
    }
}

/// Whether this is a destructor that runs because a routing has panicked. The lock is this thread's, and to panic once more
/// would end the process: what a handle has to say of its task goes unsaid then.
fn in_the_fall_of_a_routing() -> bool {
    routes() && std::thread::panicking()
}

/// What a slot has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SlotNumbers {
    pub(crate) in_flight: usize,
    pub(crate) done: u64,
    /// How many tasks its present worker may have.
    pub(crate) concurrency: usize,
    /// How many bytes its workers had in memory when they were last looked at.
    pub(crate) resident: usize,
}

/// Numbers of the data plane at one moment.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) queued: usize,
    pub(crate) in_flight: usize,
    pub(crate) bytes: usize,
    pub(crate) counts: Counts,
    pub(crate) paused: bool,
    /// Suspects that have yet to end.
    pub(crate) quarantined: usize,
    /// By slot.
    pub(crate) slots: Vec<SlotNumbers>,
}
