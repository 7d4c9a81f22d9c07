//! Which task goes next, and which workers it may go to: all that wait are looked at each time.

use super::{At, Reference, Task, crew::Called};
use crate::sched::ledger::candidates;

/// What the turn of a task leads to.
enum Turn {
    /// It goes to one of these.
    Goes(Vec<usize>),
    Kept,
    Blocked,
}

impl Reference {
    /// Who waits for a worker has a place of the name already.
    fn is_full(&self, name: u16) -> bool {
        let running = self.workers.iter().flat_map(|worker| &worker.flights);
        let running = running.filter(|flight| flight.name == name).count();
        let lined = self.tasks.iter().filter(|task| task.name == name);
        let lined = lined.filter(|task| matches!(task.at, At::Line(_))).count();
        self.limits[usize::from(name)].is_some_and(|limit| running + lined >= limit)
    }

    /// Whether a worker is kept free for a task; with `awaited_only` for one that is awaited.
    pub(super) fn is_reserved(&self, index: usize, awaited_only: bool) -> bool {
        let reserved = self.workers[index].reserved;
        reserved.is_some_and(|id| !awaited_only || self.awaited.contains(&id))
    }

    /// The first of all, or of those that are awaited, that do not wait for something of their own.
    fn next(&self, awaited_only: bool) -> Option<u64> {
        let level = |id: u64| {
            let task = self.task(id).unwrap();
            let since = task.since.max(self.ages_from.unwrap_or(self.now));
            (task.terms.priority as u64).saturating_sub((self.now - since) / 50)
        };
        let mut fronts = Vec::new();
        for priority in 0..3 {
            let mut class: Vec<_> = self.tasks.iter().collect();
            class.retain(|task| task.terms.priority as u64 == priority);
            class.retain(|task| !awaited_only || self.awaited.contains(&task.id));
            let queued = |first| {
                let here = class.iter().find(|task| task.at == At::Queue { first });
                here.map(|task| task.id)
            };
            if awaited_only {
                // As they were accepted, wherever they have been.
                fronts.extend([queued(true), queued(false)].into_iter().flatten().min());
            } else {
                fronts.extend(queued(true).or(queued(false)));
            }
            for (index, worker) in self.workers.iter().enumerate() {
                if worker.admits(false) && !self.is_reserved(index, awaited_only) {
                    let first = class.iter().find(|task| task.at == At::Line(index));
                    fronts.extend(first.map(|task| task.id));
                }
            }
            for name in (0..)
                .take(self.limits.len())
                .filter(|name| !self.is_full(*name))
            {
                let mut held = class.iter().filter(|task| task.at == At::Held);
                fronts.extend(held.find(|task| task.name == name).map(|task| task.id));
            }
        }
        fronts.into_iter().min_by_key(|id| (level(*id), *id))
    }

    fn turn(&mut self, id: u64, awaited_only: bool) -> Turn {
        let task = self.task(id).unwrap().clone();
        let terms = task.terms;
        let chain = self.chain(id);
        if chain > 1 {
            return self.turn_of_many(id, chain, awaited_only);
        }
        if !matches!(task.at, At::Line(_)) && self.is_full(task.name) {
            if task.at != At::Held {
                self.leave(id);
                self.task_mut(id).at = At::Held;
            }
            return Turn::Kept;
        }
        let Some(key) = terms.key else {
            if let Some(favourite) = self.goes_to_favourite(&task, awaited_only) {
                return Turn::Goes(vec![favourite]);
            }
            match self.call(&task, 1, awaited_only) {
                Called::To(free) => return Turn::Goes(free),
                Called::Wait => return Turn::Blocked,
                Called::Any => {}
            }
            let mut free: Vec<usize> = (0..self.workers.len()).collect();
            free.retain(|index| {
                let worker = &self.workers[*index];
                worker.admits(terms.exclusive) && !self.is_reserved(*index, awaited_only)
            });
            if self.custom {
                free.drain(..free.len().saturating_sub(1));
            } else {
                let load = |index: &usize| self.workers[*index].flights.len();
                let least = free.iter().map(load).min();
                free.retain(|index| Some(load(index)) == least);
            }
            if let Some(most) = self.ahead
                && free.is_empty()
                && !self.custom
                && !terms.exclusive
                && terms.read_ahead.unwrap_or(terms.idempotent)
            {
                free = (0..self.workers.len()).collect();
                free.retain(|index| {
                    let worker = &self.workers[*index];
                    worker.admits_ahead(task.name, task.bytes, 1, most)
                        && !self.is_reserved(*index, awaited_only)
                });
                let work = |index: &usize| self.workers[*index].work();
                let least = free.iter().map(work).min();
                free.retain(|index| Some(work(index)) == least);
            }
            return if free.is_empty() {
                Turn::Blocked
            } else {
                Turn::Goes(free)
            };
        };
        let Some(home) = self.home(key) else {
            return Turn::Blocked;
        };
        let worker = &self.workers[home];
        let reserved = worker.reserved != Some(id) && self.is_reserved(home, awaited_only);
        if worker.admits(terms.exclusive) && !reserved {
            return Turn::Goes(vec![home]);
        }
        if task.at != At::Line(home) {
            self.leave(id);
            self.task_mut(id).at = At::Line(home);
        }
        let reserved = self.is_reserved(home, awaited_only);
        let worker = &mut self.workers[home];
        if terms.exclusive && worker.admits(false) && !reserved {
            worker.reserved = Some(id);
        }
        Turn::Kept
    }

    fn goes_to_favourite(&self, task: &Task, awaited_only: bool) -> Option<usize> {
        let ((index, epoch, left), most) = self.favourite.zip(self.ahead)?;
        let (worker, terms) = (&self.workers[index], task.terms);
        let ahead = terms.read_ahead.unwrap_or(terms.idempotent)
            && worker.admits_ahead(task.name, task.bytes, 1, most);
        let quick = worker.is_paced(task.name) && u128::from(worker.pace(task.name)) <= left;
        let goes = worker.epoch == epoch
            && !terms.exclusive
            && !self.custom
            && quick
            && (worker.admits(false) || ahead)
            && !self.is_reserved(index, awaited_only);
        goes.then_some(index)
    }

    /// A task without a key goes there.
    fn favours(&mut self, task: &Task, awaited_only: bool, to: usize) {
        let worker = &self.workers[to];
        let left = match (self.favourite, self.ahead) {
            (Some((_, _, left)), _) if self.goes_to_favourite(task, awaited_only).is_some() => left,
            (_, Some(most)) => most.time.as_nanos() / 4,
            (_, None) => 0,
        };
        let left = left.checked_sub(u128::from(worker.pace(task.name)));
        let quick = self.ahead.is_some() && worker.is_paced(task.name);
        self.favourite = left.filter(|_| quick).map(|left| (to, worker.epoch, left));
    }

    /// Several that are one go where there is room for all of them, or each by itself where there is for one.
    fn turn_of_many(&mut self, id: u64, tasks: u32, awaited_only: bool) -> Turn {
        let task = self.task(id).unwrap().clone();
        match self.call(&task, tasks, awaited_only) {
            Called::To(free) => return Turn::Goes(free),
            Called::Wait => return Turn::Blocked,
            Called::Any => {}
        }
        let limited = self.limits[usize::from(task.name)].is_some();
        let mut free: Vec<usize> = Vec::new();
        if let Some(most) = self.ahead
            && !self.custom
            && !limited
        {
            free = (0..self.workers.len()).collect();
            free.retain(|index| {
                let worker = &self.workers[*index];
                worker.admits_ahead(task.name, task.bytes, tasks, most)
                    && !self.is_reserved(*index, awaited_only)
            });
            let work = |index: &usize| self.workers[*index].work();
            let least = free.iter().map(work).min();
            free.retain(|index| Some(work(index)) == least);
        }
        if !free.is_empty() {
            return Turn::Goes(free);
        }
        let one = |index: usize| {
            self.workers[index].admits(false) && !self.is_reserved(index, awaited_only)
        };
        if !(0..self.workers.len()).any(one) {
            return Turn::Blocked;
        }
        for nth in 0..u64::from(tasks) {
            self.isolate(id + nth);
        }
        Turn::Kept
    }

    fn home(&mut self, key: crate::task::Key) -> Option<usize> {
        let known = self.homes.iter().find(|(other, ..)| *other == key).copied();
        if let Some((_, index, epoch)) = known
            && self.workers[index].epoch == epoch
            && self.workers[index].serves()
        {
            return Some(index);
        }
        let mut serving: Vec<usize> = (0..self.workers.len()).collect();
        serving.retain(|index| self.workers[*index].open && self.workers[*index].serves());
        if serving.is_empty() {
            return None;
        }
        let load = |index: &usize| {
            let lined = self.tasks.iter().filter(|task| task.at == At::Line(*index));
            self.workers[*index].flights.len() + lined.count()
        };
        let [first, second] = candidates(key, serving.len()).map(|nth| serving[nth]);
        let home = if load(&second) < load(&first) {
            second
        } else {
            first
        };
        self.homes.retain(|(other, ..)| *other != key);
        self.homes.push((key, home, self.workers[home].epoch));
        Some(home)
    }

    /// Checks that the tasks whose turn it was went to these workers rightly, and that none of the others could go on.
    /// Returns how many were kept for something of their own.
    pub(in crate::sched::model) fn assigned(&mut self, awaited_only: bool, to: &[usize]) -> usize {
        let mut to = to.iter().copied();
        let mut kept = 0;
        self.sent_as_one = false;
        self.waited = false;
        if let Some(id) = self.next_suspect() {
            let inquests = self.inquests.iter_mut();
            let mut own = inquests.filter(|inquest| inquest.open.contains(&id));
            own.next().unwrap().runs += 1;
            self.goes(id, &Vec::from_iter(self.quarantine), to.next());
        }
        for index in 0..self.workers.len() {
            let worker = &self.workers[index];
            if let Some(id) = worker.reserved
                && worker.admits(true)
                && self.is_reserved(index, awaited_only)
                && let Turn::Goes(free) = self.turn(id, awaited_only)
            {
                self.goes(id, &free, to.next());
            }
        }
        while let Some(id) = self.next(awaited_only) {
            match self.turn(id, awaited_only) {
                Turn::Goes(free) => {
                    let to = to.next();
                    let task = self.task(id).unwrap().clone();
                    let tasks = self.chain(id);
                    if let Some(to) = to
                        && task.terms.key.is_none()
                    {
                        let one = tasks == 1;
                        let favoured = one && self.goes_to_favourite(&task, awaited_only).is_some();
                        if one {
                            self.favours(&task, awaited_only, to);
                        }
                        if !favoured {
                            self.recruits(&task, tasks, to);
                        }
                    }
                    self.goes(id, &free, to);
                }
                Turn::Kept => kept += 1,
                Turn::Blocked => break,
            }
        }
        if !awaited_only {
            // Whoever waits in a line is remembered, until all are marked anew.
            let mut awaited = std::mem::take(&mut self.awaited);
            awaited.retain(|id| {
                let at = self.task(*id).map(|task| task.at);
                matches!(at, Some(At::Line(_) | At::Held))
            });
            self.awaited = awaited;
        }
        assert_eq!(to.next(), None, "somebody was sent a task that was not due");
        kept
    }

    /// The first suspect whose name has not as many running as may, if their worker is free.
    fn next_suspect(&self) -> Option<u64> {
        let worker = &self.workers[self.quarantine?];
        let mut suspects = self.tasks.iter().filter(|task| task.at == At::Suspect);
        let next = suspects.find(|task| !self.is_full(task.name))?;
        let free = worker.open && !worker.retired && worker.left != Some(0);
        (free && worker.flights.is_empty()).then_some(next.id)
    }

    fn goes(&mut self, id: u64, free: &[usize], to: Option<usize>) {
        let to = to.unwrap_or_else(|| panic!("task {id} waits and could go to {free:?}"));
        assert!(
            free.contains(&to),
            "task {id} went to {to}, not to one of {free:?}"
        );
        let tasks = self.chain(id);
        self.sent_as_one |= tasks > 1;
        for nth in 0..u64::from(tasks) {
            self.send(id + nth, to);
        }
    }
}
