//! Tasks on their way in, and the limits they meet.

use super::pool::{Input, Pool, Token};
use crate::{
    sched::{
        Full, Limits, NewTask,
        model::reference::{At, Task},
    },
    task::{Priority, Terms},
};

impl Pool {
    /// Whether so many tasks are let in: there is room, or their class has not got its share.
    fn fits(&self, priority: Priority, bytes: usize, tasks: usize) -> bool {
        let reference = &self.reference;
        let class = || {
            let tasks = reference.tasks.iter();
            tasks.filter(|task| task.terms.priority == priority)
        };
        let Limits {
            waiting,
            bytes: most,
        } = self.limits;
        let room = reference.waiting().len() + tasks <= waiting
            || class().filter(|task| task.waits()).count() + tasks <= waiting.div_ceil(4);
        let unsettled = reference.bytes();
        // A task alone may be larger than all that is allowed, or it could never run.
        let fits = unsettled == 0
            || unsettled + bytes <= most
            || class().map(|task| task.bytes).sum::<usize>() + bytes <= most / 4;
        room && fits
    }

    pub(super) fn submit(
        &mut self,
        name: u16,
        bytes: usize,
        terms: Terms,
        limited: bool,
    ) -> &'static str {
        let token = self.submitted;
        self.submitted += 1;
        self.outcomes.push(0);
        let task = NewTask {
            name,
            payload: Input(token, bytes, 1),
            bytes,
            terms,
            limits: crate::task::TimeLimits::default(),
            reply: Token(token, 1),
        };
        let expected = Full {
            waiting: self.reference.waiting().len(),
            bytes: self.reference.bytes(),
        };
        let fits = self.fits(terms.priority, bytes, 1);
        let limits = limited.then_some(self.limits);
        let now = self.now();
        match self.ledger.accept(task, limits, || now) {
            Ok(id) => {
                assert!(fits || !limited);
                assert_eq!(id.get(), self.tokens.len() as u64, "ids are counted up");
                self.tokens.push(token);
                self.may_have_run.push(false);
                let now = self.reference.now;
                if terms.priority != Priority::Normal {
                    self.reference.ages_from.get_or_insert(now);
                }
                self.reference.tasks.push(Task {
                    id: id.get(),
                    name,
                    bytes,
                    terms,
                    spent: [0; 3],
                    ran: false,
                    since: now,
                    at: At::Queue { first: false },
                    joined: false,
                });
                "accepted"
            }
            Err((full, task)) => {
                assert!(limited && !fits);
                assert_eq!(full, expected);
                // Handed back as it was: it may come again.
                let found = (task.name, task.payload, task.bytes, task.terms);
                assert_eq!(found, (name, Input(token, bytes, 1), bytes, terms));
                assert_eq!(task.reply, Token(token, 1));
                self.outcomes[token] = 1;
                "refused"
            }
        }
    }

    /// Several in a row, as one.
    pub(super) fn submit_many(
        &mut self,
        (name, tasks): (u16, u32),
        bytes: usize,
        terms: Terms,
        limited: bool,
    ) -> &'static str {
        let (token, count) = (self.submitted, tasks as usize);
        self.submitted += count;
        self.outcomes.resize(self.submitted, 0);
        let all = NewTask {
            name,
            payload: Input(token, bytes, tasks),
            bytes: bytes * count,
            terms,
            limits: crate::task::TimeLimits::default(),
            reply: Token(token, tasks),
        };
        let fits = self.fits(terms.priority, bytes * count, count);
        let limits = limited.then_some(self.limits);
        let now = self.now();
        let Ok(id) = self.ledger.accept_bundle(all, tasks, limits, || now) else {
            assert!(limited && !fits);
            self.outcomes[token..].fill(1);
            return "refused";
        };
        assert!(fits || !limited);
        assert_eq!(id.get(), self.tokens.len() as u64, "ids are counted up");
        let since = self.reference.now;
        if terms.priority != Priority::Normal {
            self.reference.ages_from.get_or_insert(since);
        }
        for nth in 0..tasks {
            self.tokens.push(token + nth as usize);
            self.may_have_run.push(false);
            self.reference.tasks.push(Task {
                id: id.after(nth).get(),
                name,
                bytes,
                terms,
                spent: [0; 3],
                ran: false,
                since,
                at: At::Queue { first: false },
                joined: nth > 0,
            });
        }
        "accepted as one"
    }
}
