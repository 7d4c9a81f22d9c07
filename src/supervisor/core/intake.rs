//! Tasks on their way in.
//!
//! Belongs here: limits, refusals, and who may submit at all. Does not belong here: where an accepted task goes.
//! Invariant: every reply that comes in is in the ledger afterwards, or settled, or handed back to its map.

use std::{
    collections::VecDeque,
    task::Waker,
    time::{Duration, Instant},
};

use crate::{
    config::WhenFull,
    error::Rejected,
    observe::{Counts, PoolEvent},
    sched::{Divide as _, Full, Limits, NewTask},
    supervisor::{
        PoolCore,
        core::{Admission, After, State, SubmitTask},
        reply::{Reply, Settled},
    },
    task::{TaskId, Terms, TimeLimits},
    wire::Payload,
};

/// Whoever is refused is not told to ask again at once: the worker that is tried may take longer than the one before.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// How much a pool takes of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appetite {
    /// How many tasks workers have.
    pub(crate) in_flight: usize,
    /// How many may be pulled as one.
    pub(crate) bundle: u32,
}

/// Why a task was not taken in.
enum Refused {
    Full(Full, Box<(NewTask<Payload, ()>, Reply)>),
    Unavailable(Instant, Reply),
    Closed(Reply),
}

impl Refused {
    fn rejected(self, core: &PoolCore) -> (Reply, Rejected) {
        match self {
            Self::Full(full, back) => (
                back.1,
                Rejected::QueueFull {
                    waiting: full.waiting,
                    limit: core.queue_limit(),
                    bytes: full.bytes,
                    bytes_limit: core.config.knobs.queue_bytes,
                },
            ),
            Self::Unavailable(at, reply) => (
                reply,
                Rejected::Unavailable {
                    retry_after: at
                        .saturating_duration_since(Instant::now())
                        .max(RETRY_AFTER),
                },
            ),
            Self::Closed(reply) => (reply, Rejected::Closed),
        }
    }
}

impl PoolCore {
    /// Takes a task in. Its reply is settled here and now if it cannot be.
    pub(crate) fn submit(&self, task: SubmitTask, reply: Reply) -> Option<TaskId> {
        let (task, reply) = match self.admit(task) {
            Ok(task) => (task, reply),
            Err(settled) => {
                self.refuse(reply, settled);
                return None;
            }
        };
        let limits = self.limits();
        let (mut event, mut replaced) = (None, None);
        let verdict = {
            let mut guard = self.lock();
            let state = &mut *guard;
            let awaited = self.results.is_over() && reply.is_awaited();
            let mut accepted = Self::accept(state, task, reply, 1, Some(limits));
            if let Err(Refused::Full(full, task)) = accepted {
                // Said once until the queue has had room again.
                if !std::mem::replace(&mut state.full, true) {
                    event = Some(PoolEvent::QueueFull {
                        waiting: full.waiting,
                        bytes: full.bytes,
                    });
                }
                accepted = match self.config.knobs.when_full {
                    WhenFull::Wait => {
                        let (task, reply) = *task;
                        Self::accept(state, task, reply, 1, None)
                    }
                    WhenFull::Reject => Err(Refused::Full(full, task)),
                };
            }
            if let Ok(id) = accepted {
                if awaited {
                    state.ledger.expedite(id);
                }
                self.assign(state);
                replaced = state.ledger.take_replaced();
            }
            accepted
        };
        if let Some(event) = event {
            self.control.emit(event);
        }
        if let Some(replaced) = replaced {
            self.say_replaced(replaced);
        }
        match verdict {
            Ok(id) => Some(id),
            Err(refused) => {
                let (reply, rejected) = refused.rejected(self);
                self.refuse(reply, Settled::rejected(rejected));
                None
            }
        }
    }

    /// Takes in what a map has pulled, from the front, as far as there is room; the rest stays, and `waker` is woken
    /// when there is room for it. With `force` one task is taken in any case. Returns how many tasks workers have then,
    /// and how many of this name may be pulled as one.
    pub(crate) fn submit_pulled(
        &self,
        name: &str,
        pulled: &mut VecDeque<(SubmitTask, Reply)>,
        force: bool,
        waker: &Waker,
        mut accepted: impl FnMut(Option<TaskId>, u32),
    ) -> Appetite {
        let limits = self.limits();
        let mut after = After::default();
        let mut force = force;
        let appetite = {
            let mut guard = self.lock();
            let state = &mut *guard;
            while let Some((mut task, mut reply)) = pulled.pop_front() {
                let forced = std::mem::take(&mut force);
                let over = self.results.is_over() && !forced && state.admission == Admission::Open;
                if task.tasks > 1 && !over {
                    // As many as there is room for; the others after them.
                    let room = state.ledger.room(task.terms.priority, limits).max(1);
                    // Beside results over their limit no more than what must be.
                    let room = if self.results.is_over() { 1 } else { room };
                    let room = u32::try_from(room).unwrap_or(u32::MAX);
                    if room < task.tasks {
                        let rest = task.split_off(room);
                        pulled.push_front((rest, reply.split_off(room)));
                    }
                }
                let tasks = task.tasks;
                let task = match self.admit(task) {
                    Ok(task) => task,
                    Err(settled) => {
                        accepted(None, tasks);
                        after.refuse(reply, settled);
                        continue;
                    }
                };
                let taken = if over {
                    Err(Refused::Full(Full::default(), Box::new((task, reply))))
                } else {
                    let limits = (!forced).then_some(limits);
                    match Self::accept(state, task, reply, tasks, limits) {
                        Err(Refused::Full(_, back)) => {
                            let (task, reply) = *back;
                            // What workers have credit for does not wait, and its place is free.
                            self.assign(state);
                            Self::accept(state, task, reply, tasks, limits)
                        }
                        taken => taken,
                    }
                };
                match taken {
                    Ok(id) => accepted(Some(id), tasks),
                    Err(Refused::Full(_, back)) => {
                        let (task, reply) = *back;
                        state.wait_for_room(task.terms.priority, waker);
                        pulled.push_front((self.readmit(task, tasks), reply));
                        break;
                    }
                    Err(refused) => {
                        let (reply, rejected) = refused.rejected(self);
                        accepted(None, tasks);
                        after.refuse(reply, Settled::rejected(rejected));
                    }
                }
            }
            self.assign(state);
            after.replaced = state.ledger.take_replaced();
            // What has limits is looked after one by one, but for that to run.
            let run_only = |name: &u16| {
                let limits = self.config.limits(*name, TimeLimits::default());
                limits.is_run_only()
            };
            let name = self.config.table.index(name).filter(run_only);
            Appetite {
                in_flight: state.ledger.quantities().in_flight,
                bundle: name.map_or(1, |name| state.ledger.bundle_of(name)),
            }
        };
        self.finish(after);
        appetite
    }

    fn limits(&self) -> Limits {
        Limits {
            waiting: self.queue_limit(),
            bytes: self.config.knobs.queue_bytes,
        }
    }

    fn refuse(&self, reply: Reply, settled: Settled) {
        let mut after = After::default();
        after.refuse(reply, settled);
        self.finish(after);
    }

    /// Checks what does not need the lock.
    fn admit(&self, task: SubmitTask) -> Result<NewTask<Payload, ()>, Settled> {
        let Some(name) = self.config.table.index(task.name) else {
            return Err(Settled::rejected(Rejected::UnknownTask {
                name: task.name,
                near: self.config.table.near(task.name),
            }));
        };
        let payload = task.payload.map_err(Settled::Codec)?;
        let bytes = payload.len();
        if bytes > self.config.knobs.max_frame_bytes {
            return Err(Settled::rejected(Rejected::TooLarge {
                bytes,
                limit: self.config.knobs.max_frame_bytes,
            }));
        }
        Ok(NewTask {
            name,
            payload,
            bytes,
            terms: Terms {
                // There is nobody to run it again.
                idempotent: task.terms.idempotent && !self.config.one_life,
                ..task.terms
            },
            limits: self.config.limits(name, task.limits),
            reply: (),
        })
    }

    /// The task as it came, for another try.
    fn readmit(&self, task: NewTask<Payload, ()>, tasks: u32) -> SubmitTask {
        let name = self.config.table.name(task.name);
        SubmitTask {
            tasks,
            name,
            payload: Ok(task.payload),
            terms: task.terms,
            limits: task.limits,
        }
    }

    fn accept(
        state: &mut State,
        task: NewTask<Payload, ()>,
        reply: Reply,
        tasks: u32,
        limits: Option<Limits>,
    ) -> Result<TaskId, Refused> {
        match state.admission {
            Admission::Open => {}
            Admission::Unavailable(at) => return Err(Refused::Unavailable(at, reply)),
            Admission::Closed => return Err(Refused::Closed(reply)),
        }
        let (task, ()) = task.replace_reply(reply);
        let accepted = state
            .ledger
            .accept_bundle(task, tasks, limits, Instant::now);
        match accepted {
            Ok(id) => {
                state.counts.accepted += u64::from(tasks);
                Ok(id)
            }
            Err((full, task)) => Err(Refused::Full(full, Box::new(task.replace_reply(())))),
        }
    }

    /// The circuit has opened or closed.
    pub(crate) fn say_available(&self) {
        let mut state = self.lock();
        self.admit_if_available(&mut state);
    }

    /// Takes tasks or does not, as the circuit wants it.
    pub(super) fn admit_if_available(&self, state: &mut State) {
        if state.admission != Admission::Closed {
            // Asked for under the lock: threads whose workers open and close the circuit come here in any order, and the last
            // one must not say what it saw before the others.
            let unavailable = self.control.unavailable();
            state.admission = unavailable.map_or(Admission::Open, Admission::Unavailable);
        }
    }

    /// Takes no more tasks. Returns how many are left, and the counts so far.
    pub(crate) fn close(&self) -> (u64, Counts) {
        let mut state = self.lock();
        state.admission = Admission::Closed;
        state.paused = false;
        self.assign(&mut state);
        let left = state.counts.accepted - state.counts.settled();
        let counts = state.counts;
        let after = After {
            wake: state.take_room(),
            replaced: state.ledger.take_replaced(),
            ..After::default()
        };
        drop(state);
        self.finish(after);
        (left, counts)
    }
}
