//! What workers say of their tasks, and what follows when one has gone.

use super::{At, Inquest, Loss, Reference, Task};
use crate::{
    error::Started,
    sched::{Doing, Ticket, Violation},
};

impl Reference {
    pub(in crate::sched::model) fn started(
        &mut self,
        slot: usize,
        ticket: Ticket,
    ) -> Result<(), Violation> {
        let worker = &mut self.workers[slot];
        let at = worker.expects(ticket)?;
        let flight = &mut worker.flights[at];
        if flight.started {
            return Err(Violation::StartedTwice(ticket));
        }
        flight.started = true;
        Ok(())
    }

    pub(in crate::sched::model) fn quiet(
        &mut self,
        slot: usize,
        name: u16,
        quiet: bool,
    ) -> Result<(), Violation> {
        if usize::from(name) >= self.limits.len() {
            return Err(Violation::UnknownName(name));
        }
        let worker = &mut self.workers[slot];
        worker.quiet.retain(|other| *other != name);
        if quiet {
            worker.quiet.push(name);
        }
        Ok(())
    }

    pub(in crate::sched::model) fn paced(
        &mut self,
        slot: usize,
        name: u16,
        nanos: u32,
    ) -> Result<(), Violation> {
        if usize::from(name) >= self.limits.len() {
            return Err(Violation::UnknownName(name));
        }
        if self.workers[slot].alive {
            self.workers[slot].paces.push((name, nanos));
        }
        Ok(())
    }

    /// The task that this end settles, unless it was abandoned.
    pub(in crate::sched::model) fn ended(
        &mut self,
        slot: usize,
        ticket: Ticket,
        ran: bool,
    ) -> Result<Option<u64>, Violation> {
        let worker = &mut self.workers[slot];
        let at = worker.expects(ticket)?;
        let flight = worker.flights.remove(at);
        worker.heard = true;
        if !ran {
            worker.unsent();
        }
        if flight.abandoned {
            return Ok(None);
        }
        self.settle(flight.id);
        Ok(Some(flight.id))
    }

    /// The task that an error of its own settles; `None` if another run follows, or it was abandoned.
    pub(in crate::sched::model) fn failed(
        &mut self,
        slot: usize,
        ticket: Ticket,
    ) -> Result<Option<u64>, Violation> {
        let worker = &self.workers[slot];
        let flight = &worker.flights[worker.expects(ticket)?];
        let (id, ends) = (flight.id, flight.cancelling || flight.abandoned);
        let attempts = self.attempts[1];
        let again = |task: &Task| task.terms.idempotent && task.spent[1] + 1 < attempts;
        if ends || !self.task(id).is_some_and(again) {
            return self.ended(slot, ticket, true);
        }
        self.workers[slot].flights.retain(|flight| flight.id != id);
        self.workers[slot].heard = true;
        let task = self.task_mut(id);
        task.ran = true;
        task.spent[1] += 1;
        let nth = task.spent[1];
        self.clear(id);
        self.wait(id, nth);
        Ok(None)
    }

    /// Half of what doubles from 200 ms to 2 s, in tenths of a second.
    fn wait(&mut self, id: u64, nth: u32) {
        let tenths = [1, 2, 4, 8].get(nth as usize - 1).copied().unwrap_or(10);
        self.task_mut(id).at = At::Later(self.now + tenths);
    }

    /// Whose time has come.
    pub(in crate::sched::model) fn release(&mut self) -> bool {
        let mut any = false;
        for task in &mut self.tasks {
            if matches!(task.at, At::Later(due) if due <= self.now) {
                task.at = At::Queue { first: true };
                any = true;
            }
        }
        any
    }

    /// The same of one that was to end.
    pub(in crate::sched::model) fn cancelled(
        &mut self,
        slot: usize,
        ticket: Ticket,
        started: bool,
    ) -> Result<Option<u64>, Violation> {
        let worker = &self.workers[slot];
        let flight = &worker.flights[worker.expects(ticket)?];
        if !flight.cancelling && !flight.abandoned {
            return Err(Violation::NotCancelled(ticket));
        }
        self.ended(slot, ticket, started)
    }

    /// The task that this settles, because it was to end anyhow; any other stays until its worker has gone.
    pub(in crate::sched::model) fn dropped(
        &mut self,
        slot: usize,
        ticket: Ticket,
        started: bool,
    ) -> Result<Option<u64>, Violation> {
        let worker = &mut self.workers[slot];
        let at = worker.expects(ticket)?;
        let flight = &mut worker.flights[at];
        if flight.cancelling || flight.abandoned {
            return self.ended(slot, ticket, started);
        }
        flight.started |= started;
        Ok(None)
    }

    /// The task that this settles, because it had been cancelled; any other waits again.
    pub(in crate::sched::model) fn revoked(
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
        worker.heard = true;
        worker.unsent();
        if flight.abandoned {
            return Ok(None);
        }
        if flight.cancelling {
            self.settle(flight.id);
            return Ok(Some(flight.id));
        }
        if worker.quarantine {
            self.task_mut(flight.id).at = At::Suspect;
        } else {
            self.requeue(flight.id);
        }
        Ok(None)
    }

    /// What is settled, how many wait again, and how many may have started.
    pub(in crate::sched::model) fn lost(
        &mut self,
        slot: usize,
        doing: Doing,
        read: bool,
        short: bool,
    ) -> (Vec<Loss>, usize, usize) {
        self.dissolve(slot);
        self.quarantine.take_if(|seat| *seat == slot);
        let worker = std::mem::take(&mut self.workers[slot]);
        let mut losses = Vec::new();
        let (mut requeued, mut suspects, mut again) = (0, Vec::new(), Vec::new());
        for flight in &worker.flights {
            let started = worker.started(flight, read, self.ahead);
            let maybe = started != Started::No;
            let all = doing;
            let doing = match all {
                Doing::One(guilty) if guilty == flight.ticket => Doing::Tasks,
                Doing::One(_) => Doing::Others,
                all => all,
            };
            let beside = matches!(all, Doing::One(_)) && doing == Doing::Others;
            if maybe && !beside {
                suspects.push((flight.id, flight.name));
            }
            if flight.abandoned {
                continue;
            }
            let kind = if short { 2 } else { 0 };
            let most = self.attempts[kind];
            let spends = maybe && doing != Doing::Others;
            let task = self.task_mut(flight.id);
            let kills = match doing {
                Doing::Others => false,
                Doing::Unknown => task.spent[kind] + 1 >= most && task.spent[0] + task.spent[2] > 1,
                Doing::Tasks | Doing::One(_) => true,
            };
            let poisoned = maybe && kills && worker.quarantine && !flight.cancelling;
            let poisoned = poisoned && task.terms.idempotent;
            if flight.cancelling
                || maybe && !task.terms.idempotent
                || poisoned
                || spends && task.spent[kind] + 1 >= most
            {
                losses.push(Loss {
                    id: flight.id,
                    started: if task.ran { Started::Yes } else { started },
                    cancelled: flight.cancelling,
                    suspect: doing != Doing::Others,
                    poisoned,
                });
                if poisoned {
                    let of = |inquest: &&mut Inquest| inquest.open.contains(&flight.id);
                    let inquest = self.inquests.iter_mut().find(of).unwrap();
                    inquest.poisoned.push((flight.id, flight.name));
                }
                self.settle(flight.id);
                continue;
            }
            task.ran |= maybe;
            task.spent[kind] += u32::from(spends);
            requeued += 1;
            let doubted = doing == Doing::Unknown && task.spent[kind] == 1;
            if worker.quarantine {
                task.at = At::Suspect;
            } else if spends && !doubted {
                task.at = At::Suspect;
                again.push(flight.id);
            } else if spends && short {
                self.wait(flight.id, 1);
            } else {
                task.at = At::Queue { first: true };
            }
        }
        losses.sort_unstable_by_key(|loss| loss.id);
        let count = suspects.len();
        if !again.is_empty() {
            self.numbers += 1;
            self.inquests.push(Inquest {
                number: self.numbers,
                suspects,
                open: again,
                poisoned: Vec::new(),
                runs: 0,
            });
        }
        (losses, requeued, count)
    }

    /// Every unsettled task in flight, who has it, and whether it has started; their flights stay.
    pub(in crate::sched::model) fn take_flights(&mut self) -> Vec<(u64, usize, Started)> {
        let mut taken = Vec::new();
        for (slot, worker) in self.workers.iter_mut().enumerate() {
            let before = worker.clone();
            for flight in &mut worker.flights {
                if !std::mem::replace(&mut flight.abandoned, true) {
                    let ran = self
                        .tasks
                        .iter()
                        .any(|task| task.id == flight.id && task.ran);
                    let started = match before.started(flight, false, None) {
                        _ if ran => Started::Yes,
                        started => started,
                    };
                    taken.push((flight.id, slot, started));
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
