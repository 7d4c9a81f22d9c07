//! Who is sent quick tasks, where there are more workers than CPUs.

use super::{Reference, Task, Worker};
use crate::sched::ReadAhead;

/// Where a task goes, as far as the crew has a say in it.
pub(super) enum Called {
    /// To one of these.
    To(Vec<usize>),
    Wait,
    Any,
}

impl Worker {
    fn is_quick(&self, most: ReadAhead) -> bool {
        self.open
            && !self.retired
            && !self.quarantine
            && self.left != Some(0)
            && !self.flights.iter().any(|flight| flight.exclusive)
            && u128::from(self.work()) <= most.time.as_nanos()
    }

    fn is_quick_with(&self, name: u16, most: ReadAhead) -> bool {
        self.is_paced(name) && u128::from(self.pace(name)) <= most.time.as_nanos() / 4
    }
}

impl Reference {
    /// Whether there is a crew, and it may have such a task.
    fn has_crew(&self, task: &Task, tasks: u32) -> Option<ReadAhead> {
        let limited = tasks > 1 && self.limits[usize::from(task.name)].is_some();
        let not = self.custom || task.terms.exclusive || limited;
        self.ahead.filter(|most| !not && self.seats > most.cpus)
    }

    /// Those of the crew that a task is for, or several that are one, and whether nobody else is called.
    fn called(&self, tasks: u32, most: ReadAhead) -> (Vec<usize>, bool) {
        let crew: Vec<usize> = self.crew.iter().map(|(index, _)| *index).collect();
        let is_full = |called: &[usize]| {
            let credits = called.iter().map(|index| self.workers[*index].credits);
            let room = credits.sum::<u32>() as usize >= most.room * most.cpus;
            called.len() >= most.cpus && room
        };
        let mut numbers = 1..=crew.len();
        let enough = if tasks > 1 {
            (crew.len() >= 4 * most.cpus).then_some(4 * most.cpus)
        } else {
            numbers.find(|number| is_full(&crew[..*number]))
        };
        let number = enough.unwrap_or(crew.len());
        (crew[..number].to_vec(), enough.is_some())
    }

    pub(super) fn call(&mut self, task: &Task, tasks: u32, awaited_only: bool) -> Called {
        let Some(most) = self.has_crew(task, tasks) else {
            return Called::Any;
        };
        let workers = &self.workers;
        self.crew.retain(|(index, epoch)| {
            let worker = &workers[*index];
            worker.epoch == *epoch && worker.is_quick(most)
        });
        let (called, full) = self.called(tasks, most);
        let name = task.name;
        let mut workers = called.iter().map(|index| &self.workers[*index]);
        if !workers.all(|worker| worker.is_quick_with(name, most)) {
            return Called::Any;
        }
        let admits = |index: &usize| {
            let worker = &self.workers[*index];
            let alone = tasks == 1 && worker.admits(false);
            let ahead = tasks > 1 || task.terms.read_ahead.unwrap_or(task.terms.idempotent);
            let ahead = ahead && worker.admits_ahead(name, task.bytes, tasks, most);
            (alone || ahead) && !self.is_reserved(*index, awaited_only)
        };
        let work = |index: &usize| self.workers[*index].work();
        let mut free = called.clone();
        free.retain(admits);
        match free.iter().map(work).min() {
            Some(least) if full || least == 0 => {
                free.retain(|index| work(index) == least);
                Called::To(free)
            }
            None if full => {
                let mut others = (0..self.workers.len()).filter(|index| !called.contains(index));
                if !others.any(|index| admits(&index)) {
                    return Called::Any;
                }
                self.look.get_or_insert(self.now);
                self.waited = true;
                Called::Wait
            }
            _ => Called::Any,
        }
    }

    /// Somebody is about to be sent such a task, or several that are one.
    pub(super) fn recruits(&mut self, task: &Task, tasks: u32, to: usize) {
        let Some(most) = self.has_crew(task, tasks) else {
            return;
        };
        let (_, full) = self.called(tasks, most);
        let worker = &mut self.workers[to];
        let member = (to, worker.epoch);
        let quick = worker.is_quick(most) && worker.is_quick_with(task.name, most);
        if quick && !full && !self.crew.contains(&member) {
            worker.heard = true;
            self.crew.push(member);
        }
    }

    /// Looks at the crew, if that is due: whether it was, and whether somebody had said nothing.
    pub(in crate::sched::model) fn look(&mut self) -> (bool, bool) {
        if self.look.is_none_or(|since| since == self.now) {
            return (false, false);
        }
        self.look = None;
        let mut late = false;
        for (index, epoch) in std::mem::take(&mut self.crew) {
            let worker = &mut self.workers[index];
            let heard = std::mem::take(&mut worker.heard) || worker.flights.is_empty();
            if worker.epoch != epoch {
                continue;
            }
            if heard {
                self.crew.push((index, epoch));
            } else {
                self.favourite.take_if(|(other, ..)| *other == index);
                late = true;
            }
        }
        (true, late)
    }
}
