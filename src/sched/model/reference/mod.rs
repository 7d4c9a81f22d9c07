//! What the ledger promises, done the slow way: everything in short lists that are searched from the front.
//!
//! Nothing of the ledger's own is used here but the values it takes and gives.

mod worker;

pub(super) use worker::{Flight, Worker};

use crate::{
    error::Started,
    sched::{Ticket, Violation},
};

/// A task as it was accepted, and how often it was sent.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: u64,
    pub(super) name: u16,
    pub(super) bytes: usize,
    pub(super) idempotent: bool,
    pub(super) exclusive: bool,
    pub(super) attempt: u32,
    /// Came back from a worker and waits in front of those that were never sent.
    pub(super) requeued: bool,
    /// Where it is; `None` while it waits.
    pub(super) flight: Option<(usize, Ticket)>,
}

/// What became of one task of a lost worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) id: u64,
    pub(super) started: Started,
    pub(super) cancelled: bool,
}

/// All accepted, unsettled tasks.
#[derive(Debug)]
pub(super) struct Reference {
    /// In the order of their acceptance, which is that of their ids.
    pub(super) tasks: Vec<Task>,
    pub(super) workers: Vec<Worker>,
    /// By id, whoever asked first.
    pub(super) awaited: Vec<u64>,
    pub(super) max_attempts: u32,
    pub(super) names: u16,
}

impl Reference {
    pub(super) fn task(&self, id: u64) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    fn task_mut(&mut self, id: u64) -> &mut Task {
        self.tasks.iter_mut().find(|task| task.id == id).unwrap()
    }

    /// Waiting tasks in the order in which they are due.
    pub(super) fn waiting(&self) -> Vec<u64> {
        let ids = |requeued| {
            self.tasks
                .iter()
                .filter(move |task| task.flight.is_none() && task.requeued == requeued)
                .map(|task| task.id)
        };
        ids(true).chain(ids(false)).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.tasks.iter().map(|task| task.bytes).sum()
    }

    pub(super) fn settle(&mut self, id: u64) {
        let before = self.tasks.len();
        self.tasks.retain(|task| task.id != id);
        assert_eq!(self.tasks.len(), before - 1, "{id} was settled before");
    }

    fn requeue(&mut self, id: u64) {
        let task = self.task_mut(id);
        task.flight = None;
        task.requeued = true;
    }

    /// The task that is due next.
    fn next(&mut self, awaited_only: bool) -> Option<u64> {
        if !awaited_only {
            return self.waiting().first().copied();
        }
        let tasks = &self.tasks;
        self.awaited.retain(|id| {
            tasks
                .iter()
                .any(|task| task.id == *id && task.flight.is_none())
        });
        self.awaited.iter().min().copied()
    }

    /// Checks that the due tasks went to these workers rightly, one after the other, and that none of them could go on.
    pub(super) fn assigned(&mut self, awaited_only: bool, to: &[usize]) {
        for &slot in to {
            let id = self.next(awaited_only).expect("a task was due");
            let exclusive = self.task(id).unwrap().exclusive;
            let worker = &self.workers[slot];
            assert!(
                worker.admits(exclusive),
                "task {id} on slot {slot}: {worker:?}"
            );
            let least = self
                .workers
                .iter()
                .filter(|worker| worker.admits(exclusive))
                .map(|worker| worker.flights.len())
                .min();
            assert_eq!(Some(worker.flights.len()), least, "not breadth first");
            self.send(id, slot);
        }
        if let Some(id) = self.next(awaited_only) {
            let exclusive = self.task(id).unwrap().exclusive;
            let free = self
                .workers
                .iter()
                .position(|worker| worker.admits(exclusive));
            assert_eq!(free, None, "task {id} waits and could go");
        }
        if !awaited_only {
            self.awaited.clear();
        }
    }

    fn send(&mut self, id: u64, slot: usize) {
        self.awaited.retain(|awaited| *awaited != id);
        let task = self.tasks.iter_mut().find(|task| task.id == id).unwrap();
        let worker = &mut self.workers[slot];
        worker.issued += 1;
        task.flight = Some((slot, worker.issued));
        worker.outbox.push(worker.issued);
        worker.left = worker.left.map(|left| left - 1);
        worker.flights.push(Flight {
            ticket: worker.issued,
            id,
            name: task.name,
            exclusive: task.exclusive,
            started: false,
            cancelling: false,
            abandoned: false,
        });
        // What the credits are for, said once more in other words.
        assert!(worker.flights.len() <= (worker.credits as usize).max(1));
        assert!(worker.flights.len() == 1 || !worker.flights.iter().any(|flight| flight.exclusive));
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

    pub(super) fn started(&mut self, slot: usize, ticket: Ticket) -> Result<(), Violation> {
        let worker = &mut self.workers[slot];
        let at = worker.expects(ticket)?;
        let flight = &mut worker.flights[at];
        if flight.started {
            return Err(Violation::StartedTwice(ticket));
        }
        flight.started = true;
        Ok(())
    }

    pub(super) fn quiet(&mut self, slot: usize, name: u16, quiet: bool) -> Result<(), Violation> {
        if name >= self.names {
            return Err(Violation::UnknownName(name));
        }
        let worker = &mut self.workers[slot];
        worker.quiet.retain(|other| *other != name);
        if quiet {
            worker.quiet.push(name);
        }
        Ok(())
    }

    /// The task that this end settles, unless it was abandoned.
    pub(super) fn finished(
        &mut self,
        slot: usize,
        ticket: Ticket,
        ran: bool,
    ) -> Result<Option<u64>, Violation> {
        let worker = &mut self.workers[slot];
        let at = worker.expects(ticket)?;
        let flight = worker.flights.remove(at);
        if !ran {
            worker.unsent();
        }
        if flight.abandoned {
            return Ok(None);
        }
        self.settle(flight.id);
        Ok(Some(flight.id))
    }

    /// The task that this settles, because it was to end anyhow; any other stays until its worker has gone.
    pub(super) fn dropped(
        &mut self,
        slot: usize,
        ticket: Ticket,
        started: bool,
    ) -> Result<Option<u64>, Violation> {
        let worker = &mut self.workers[slot];
        let at = worker.expects(ticket)?;
        let flight = &mut worker.flights[at];
        if flight.cancelling || flight.abandoned {
            return self.finished(slot, ticket, started);
        }
        flight.started |= started;
        Ok(None)
    }

    /// The task that this settles, because it had been cancelled; any other waits again.
    pub(super) fn revoked(
        &mut self,
        slot: usize,
        ticket: Ticket,
    ) -> Result<Option<u64>, Violation> {
        let worker = &mut self.workers[slot];
        let at = worker.expects(ticket)?;
        if worker.flights[at].started {
            return Err(Violation::GivenBackStarted(ticket));
        }
        let flight = worker.flights.remove(at);
        worker.unsent();
        if flight.abandoned {
            return Ok(None);
        }
        if flight.cancelling {
            self.settle(flight.id);
            return Ok(Some(flight.id));
        }
        self.requeue(flight.id);
        Ok(None)
    }

    /// What is settled, how many wait again, and how many may have started.
    pub(super) fn lost(
        &mut self,
        slot: usize,
        innocent: bool,
        read: bool,
    ) -> (Vec<Loss>, usize, usize) {
        let worker = std::mem::take(&mut self.workers[slot]);
        let mut losses = Vec::new();
        let (mut requeued, mut suspects) = (0, 0);
        for flight in &worker.flights {
            let started = worker.started(flight, read);
            let maybe = started != Started::No;
            suspects += usize::from(maybe);
            if flight.abandoned {
                continue;
            }
            let max_attempts = self.max_attempts;
            let task = self.task_mut(flight.id);
            let spends = maybe && !innocent;
            if flight.cancelling
                || maybe && !task.idempotent
                || spends && task.attempt >= max_attempts
            {
                losses.push(Loss {
                    id: flight.id,
                    started,
                    cancelled: flight.cancelling,
                });
                self.settle(flight.id);
            } else {
                task.attempt += u32::from(spends);
                requeued += 1;
                self.requeue(flight.id);
            }
        }
        losses.sort_unstable_by_key(|loss| loss.id);
        (losses, requeued, suspects)
    }

    /// Every unsettled task in flight, who has it, and whether it has started; their flights stay.
    pub(super) fn take_flights(&mut self) -> Vec<(u64, usize, Started)> {
        let mut taken = Vec::new();
        for (slot, worker) in self.workers.iter_mut().enumerate() {
            let before = worker.clone();
            for flight in &mut worker.flights {
                if !std::mem::replace(&mut flight.abandoned, true) {
                    taken.push((flight.id, slot, before.started(flight, false)));
                }
            }
        }
        for (id, ..) in &taken {
            self.settle(*id);
        }
        taken.sort_unstable_by_key(|(id, ..)| *id);
        taken
    }
}
