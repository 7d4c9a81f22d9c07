//! What the ledger promises, done the slow way: everything in short lists that are searched from the front.
//!
//! Nothing of the ledger's own is used here but the values it takes and gives.

mod crew;
mod next;
mod reports;
mod worker;

pub(super) use worker::{Flight, Worker};

use crate::{
    error::Started,
    sched::{ReadAhead, Ticket},
    task::{Key, Terms},
};

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Before those that were never sent, if it was or has waited elsewhere.
    Queue {
        first: bool,
    },
    Line(usize),
    Held,
    /// Until then.
    Later(u64),
    /// For its turn in quarantine.
    Suspect,
    Flight(usize, Ticket),
}

/// A task as it was accepted, and how often it was sent.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: u64,
    pub(super) name: u16,
    pub(super) bytes: usize,
    pub(super) terms: Terms,
    /// Runs that were lost, runs that failed, runs that were lost for want of memory.
    pub(super) spent: [u32; 3],
    pub(super) ran: bool,
    /// When it was accepted, in tenths of a second.
    pub(super) since: u64,
    pub(super) at: At,
    /// It is one with the task before it, as long as both wait.
    pub(super) joined: bool,
}

impl Task {
    pub(super) fn waits(&self) -> bool {
        !matches!(self.at, At::Flight(..))
    }

    /// It waits, and not for a time.
    pub(super) fn may_be_awaited(&self) -> bool {
        self.waits() && !matches!(self.at, At::Later(_) | At::Suspect)
    }

    pub(super) fn flight(&self) -> Option<(usize, Ticket)> {
        match self.at {
            At::Flight(index, ticket) => Some((index, ticket)),
            _ => None,
        }
    }
}

/// What became of one task of a lost worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) id: u64,
    pub(super) started: Started,
    pub(super) cancelled: bool,
    pub(super) suspect: bool,
    pub(super) poisoned: bool,
}

/// All accepted, unsettled tasks.
#[derive(Debug)]
pub(super) struct Reference {
    /// In the order of their acceptance, which is that of their ids.
    pub(super) tasks: Vec<Task>,
    pub(super) workers: Vec<Worker>,
    /// By id, whoever asked first.
    pub(super) awaited: Vec<u64>,
    /// How often a task may start that is lost, and one that fails.
    pub(super) attempts: [u32; 3],
    /// For each name how many may run at once.
    pub(super) limits: Vec<Option<usize>>,
    /// The pool has a routing of its own.
    pub(super) custom: bool,
    /// How far tasks are sent ahead, if they are.
    pub(super) ahead: Option<ReadAhead>,
    /// Which worker, of which epoch, quick tasks go to, and for how much longer.
    pub(super) favourite: Option<(usize, u64, u128)>,
    /// Which workers, of which epochs, quick tasks are for, and since when somebody is to look at them.
    pub(super) crew: Vec<(usize, u64)>,
    pub(super) look: Option<u64>,
    /// How many workers there have been at once.
    pub(super) seats: usize,
    /// Somebody waited for the crew in the last assignment.
    pub(super) waited: bool,
    /// The last assignment sent several tasks as one.
    pub(super) sent_as_one: bool,
    /// In tenths of a second.
    pub(super) now: u64,
    /// When the first task came that was not of normal priority.
    pub(super) ages_from: Option<u64>,
    /// Which worker each key was given: its seat and epoch.
    pub(super) homes: Vec<(Key, usize, u64)>,
    /// The worker for suspects, if it takes any.
    pub(super) quarantine: Option<usize>,
    /// Deaths whose suspects have yet to end: all of them, those that have, the guilty, how many runs.
    pub(super) inquests: Vec<Inquest>,
    pub(super) numbers: u64,
}

/// What is known of a death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inquest {
    pub(super) number: u64,
    pub(super) suspects: Vec<(u64, u16)>,
    pub(super) open: Vec<u64>,
    pub(super) poisoned: Vec<(u64, u16)>,
    pub(super) runs: u32,
}

impl Reference {
    pub(super) fn task(&self, id: u64) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    fn task_mut(&mut self, id: u64) -> &mut Task {
        self.tasks.iter_mut().find(|task| task.id == id).unwrap()
    }

    /// How many tasks are one with this one, those behind it.
    pub(super) fn chain(&self, id: u64) -> u32 {
        let mut all = self.tasks.iter().skip_while(|task| task.id != id).skip(1);
        let joined = all.by_ref().take_while(|task| task.joined);
        1 + u32::try_from(joined.count()).unwrap()
    }

    /// A task is alone from now on.
    pub(super) fn isolate(&mut self, id: u64) {
        for task in &mut self.tasks {
            task.joined &= task.id != id && task.id != id + 1;
        }
    }

    /// The ids of those that wait.
    pub(super) fn waiting(&self) -> Vec<u64> {
        let waiting = self.tasks.iter().filter(|task| task.waits());
        waiting.map(|task| task.id).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.tasks.iter().map(|task| task.bytes).sum()
    }

    pub(super) fn settle(&mut self, id: u64) {
        let before = self.tasks.len();
        self.tasks.retain(|task| task.id != id);
        assert_eq!(self.tasks.len(), before - 1, "{id} was settled before");
        self.clear(id);
    }

    /// No suspect any more.
    fn clear(&mut self, id: u64) {
        for inquest in &mut self.inquests {
            inquest.open.retain(|open| *open != id);
        }
    }

    fn requeue(&mut self, id: u64) {
        self.task_mut(id).at = At::Queue { first: true };
    }

    /// A task that waits does so no more, or not there.
    pub(super) fn leave(&mut self, id: u64) {
        for worker in &mut self.workers {
            worker.reserved.take_if(|reserved| *reserved == id);
        }
    }

    /// Nobody waits for this worker any more.
    pub(super) fn dissolve(&mut self, index: usize) {
        self.workers[index].reserved = None;
        for task in &mut self.tasks {
            if task.at == At::Line(index) {
                task.at = At::Queue { first: true };
            }
        }
    }

    fn send(&mut self, id: u64, slot: usize) {
        self.awaited.retain(|awaited| *awaited != id);
        self.leave(id);
        self.isolate(id);
        let task = self.tasks.iter_mut().find(|task| task.id == id).unwrap();
        let worker = &mut self.workers[slot];
        worker.issued += 1;
        task.at = At::Flight(slot, worker.issued);
        worker.outbox.push(worker.issued);
        worker.left = worker.left.map(|left| left - 1);
        worker.heard |= worker.flights.is_empty();
        worker.flights.push(Flight {
            ticket: worker.issued,
            id,
            name: task.name,
            exclusive: task.terms.exclusive,
            bytes: task.bytes,
            pace: worker.pace(task.name),
            started: false,
            cancelling: false,
            abandoned: false,
        });
        // What the credits are for, said once more in other words.
        let most = self.ahead.map(|most| most.time.as_nanos());
        assert!(
            worker.flights.len() <= (worker.credits as usize).max(1)
                || most.is_some_and(|most| u128::from(worker.work()) <= most)
        );
        assert!(worker.flights.len() == 1 || !worker.flights.iter().any(|flight| flight.exclusive));
        if worker.left == Some(0) {
            self.dissolve(slot);
        }
    }

    /// The tickets and tasks that are to be written now.
    pub(super) fn write(&mut self, slot: usize) -> Vec<(Ticket, Task)> {
        let worker = &mut self.workers[slot];
        worker.written = worker.outbox.last().copied().unwrap_or(worker.written);
        let mut sent = Vec::new();
        for ticket in std::mem::take(&mut worker.outbox) {
            let flight = worker.flights.iter().find(|flight| flight.ticket == ticket);
            let Some(flight) = flight else { continue };
            if let Some(task) = self.tasks.iter().find(|task| task.id == flight.id) {
                sent.push((ticket, task.clone()));
            }
        }
        sent
    }
}
