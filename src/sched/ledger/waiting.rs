//! Tasks that wait: taking them in, and moving them between the places where they do.
//!
//! Belongs here: limits and shares, queues, lines, those held back, and how long each has waited. Does not belong here:
//! which of them is next.
//! Invariant: a task that waits is in one of these places, and counted once.

use std::time::Instant;

use crate::{
    sched::{
        Spent,
        ledger::{At, Divide, Entry, Full, Ledger, Limits, NewTask, Seat, Work},
    },
    task::{Priority, TaskId},
};

/// What one class may always have of a limit, whatever the others have: this part of it.
const SHARE: usize = 4;

/// How long a task waits until it counts as one of the class above its own, in tenths of a second.
const STEP: u32 = 50;

/// How long tasks have waited.
///
/// Until the first task that is not of normal priority comes, nobody reads a clock for this: waits count from then on.
#[derive(Debug)]
pub(super) struct Ageing {
    born: Instant,
    from: Option<u32>,
}

impl Ageing {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            born: now,
            from: None,
        }
    }

    /// In tenths of a second: a pool may live for 13 years.
    pub(super) fn time(&self, now: Instant) -> u32 {
        let tenths = now.saturating_duration_since(self.born).as_millis() / 100;
        u32::try_from(tenths).unwrap_or(u32::MAX)
    }

    fn stamp(&mut self, priority: Priority, now: impl FnOnce() -> Instant) -> u32 {
        if self.from.is_none() && priority == Priority::Normal {
            return 0;
        }
        let now = self.time(now());
        self.from.get_or_insert(now);
        now
    }

    /// What a task of this class counts as after its wait: 0 is the first served.
    pub(super) fn level(&self, priority: Priority, since: u32, now: u32) -> u32 {
        let since = since.max(self.from.unwrap_or(now));
        (priority.index() as u32).saturating_sub(now.saturating_sub(since) / STEP)
    }
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// Whether a task of this class may wait beside those that do.
    pub(crate) fn has_room(&self, priority: Priority, waiting: usize) -> bool {
        self.waiting.sum() < waiting || *self.waiting.of(priority) < Self::share(waiting)
    }

    /// What one class may always have of so many.
    pub(super) fn share(waiting: usize) -> usize {
        waiting.div_ceil(SHARE)
    }

    /// Takes a task in, unless the limits are reached; then it is handed back.
    pub(crate) fn accept(
        &mut self,
        task: NewTask<P, R>,
        limits: Option<Limits>,
        now: impl Fn() -> Instant,
    ) -> Result<TaskId, (Full, NewTask<P, R>)> {
        let priority = task.terms.priority;
        if let Some(limits) = limits {
            let bytes = self.bytes.sum();
            // A single task larger than the limit passes when nothing else is there, or it could never run.
            let over = bytes > 0
                && bytes + task.bytes > limits.bytes
                && self.bytes.of(priority) + task.bytes > limits.bytes / SHARE;
            if over || !self.has_room(priority, limits.waiting) {
                let waiting = self.waiting.sum();
                return Err((Full { waiting, bytes }, task));
            }
        }
        let id = TaskId::new(self.next_id);
        self.next_id += 1;
        *self.bytes.of_mut(priority) += task.bytes;
        let mut at = None;
        let mut now = || *at.get_or_insert_with(&now);
        let since = self.ageing.stamp(priority, &mut now);
        if !task.limits.is_none() {
            self.clocks.insert(id, task.limits, now());
        }
        self.tasks.insert(
            id.get(),
            Entry {
                name: task.name,
                count: 1,
                spent: Spent::default(),
                ran: false,
                since,
                payload: task.payload,
                bytes: u32::try_from(task.bytes).unwrap_or(u32::MAX),
                terms: task.terms,
                reply: task.reply,
                at: At::Queue,
            },
        );
        self.total += 1;
        *self.waiting.of_mut(priority) += 1;
        self.queues.of_mut(priority).push_back(id);
        Ok(id)
    }

    /// Takes a waiting task out of where it waits, for good or to put it elsewhere. Does nothing for any other. Returns
    /// whether it is awaited.
    pub(super) fn leave(&mut self, id: TaskId) -> bool {
        let Some(task) = self.tasks.get(id.get()) else {
            return false;
        };
        let (name, priority, at) = (task.name, task.terms.priority, task.at);
        let count = task.count as usize;
        self.leave_from(at, (id, count), name, priority)
    }

    /// The same for who knows where it is, and how many tasks.
    pub(super) fn leave_from(
        &mut self,
        at: At,
        (id, count): (TaskId, usize),
        name: u16,
        priority: Priority,
    ) -> bool {
        let mut awaited = false;
        match at {
            At::Flight(..) => return false,
            At::Queue => {
                let queue = self.queues.of_mut(priority);
                if queue.front() == Some(id) {
                    queue.pop_front();
                } else {
                    queue.remove(id);
                }
                if !self.awaited.is_empty() {
                    awaited = self.awaited.remove(priority, id);
                }
            }
            At::Line(seat) => {
                if let Some(place) = self.places.get_mut(seat.index()) {
                    awaited = place.line.remove(priority, id);
                    place.reserved.take_if(|(_, reserved)| *reserved == id);
                }
                self.lined -= 1;
                self.free_name(name, 1);
            }
            At::Held => {
                if let Some(name) = self.names.get_mut(usize::from(name)) {
                    awaited = name.held.remove(priority, id);
                }
                self.held -= 1;
            }
            At::Later => self.later.remove(id),
            At::Suspect => self.blame.remove(id),
        }
        *self.waiting.of_mut(priority) -= count;
        awaited
    }

    /// A task of this name does not have its place of the name any more.
    pub(super) fn free_name(&mut self, name: u16, tasks: u32) {
        if let Some(name) = self.names.get_mut(usize::from(name)) {
            name.running = name.running.saturating_sub(tasks);
        }
    }

    pub(super) fn set_at(&mut self, id: TaskId, at: At) -> Option<Priority> {
        let task = self.tasks.get_mut(id.get())?;
        task.at = at;
        let priority = task.terms.priority;
        *self.waiting.of_mut(priority) += 1;
        Some(priority)
    }

    /// A task that is nowhere goes in front of its class: it has waited once already.
    pub(super) fn requeue(&mut self, id: TaskId) {
        if let Some(priority) = self.set_at(id, At::Queue) {
            self.queues.of_mut(priority).requeue(id);
            self.clocks.waits(id);
        }
    }

    /// A waiting task waits for this worker from now on, with a place of its name.
    pub(super) fn line_up(&mut self, id: TaskId, name: u16, seat: Seat) {
        let awaited = self.leave(id);
        if let Some(priority) = self.set_at(id, At::Line(seat))
            && let Some(place) = self.places.get_mut(seat.index())
        {
            place.line.insert(priority, id, awaited);
            self.lined += 1;
            if let Some(name) = self.names.get_mut(usize::from(name)) {
                name.running += 1;
            }
        }
    }

    /// A waiting task waits for others of its name from now on.
    pub(super) fn hold(&mut self, id: TaskId, name: u16) {
        let awaited = self.leave(id);
        if let Some(priority) = self.set_at(id, At::Held)
            && let Some(name) = self.names.get_mut(usize::from(name))
        {
            name.held.insert(priority, id, awaited);
            self.held += 1;
        }
    }

    /// Nobody waits for this worker any more: keys that were at home there find another.
    pub(super) fn dissolve(&mut self, seat: Seat) {
        let Some(place) = self.places.get_mut(seat.index()) else {
            return;
        };
        place.reserved = None;
        for (priority, id, awaited) in place.line.drain() {
            self.lined -= 1;
            *self.waiting.of_mut(priority) -= 1;
            if let Some(name) = self.tasks.get(id.get()).map(|task| task.name) {
                self.free_name(name, 1);
            }
            self.requeue(id);
            if awaited {
                self.awaited.insert(priority, id);
            }
        }
    }

    /// Every task that waits, the first of each class before its others.
    pub(super) fn all_waiting(&self) -> Vec<TaskId> {
        let queues = Priority::ALL.into_iter();
        let queued = queues.flat_map(|priority| self.queues.of(priority).iter());
        let lined = self.places.iter().flat_map(|place| place.line.iter());
        let held = self.names.iter().flat_map(|name| name.held.iter());
        let later = self.later.iter();
        let suspects = self.blame.iter();
        let others = held.chain(later).chain(suspects);
        queued.chain(lined).chain(others).collect()
    }
}
