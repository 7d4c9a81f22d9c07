//! Tasks on their way in, and the limits they meet.

use super::pool::{Pool, Token};
use crate::{
    sched::{
        Full, Limits, NewTask,
        model::reference::{At, Task},
    },
    task::{Priority, Terms},
};

impl Pool {
    /// Whether a task is let in: there is room, or its class has not got its share.
    fn fits(&self, priority: Priority, bytes: usize) -> bool {
        let reference = &self.reference;
        let class = || {
            let tasks = reference.tasks.iter();
            tasks.filter(|task| task.terms.priority == priority)
        };
        let Limits {
            waiting,
            bytes: most,
        } = self.limits;
        let room = reference.waiting().len() < waiting
            || class().filter(|task| task.waits()).count() < waiting.div_ceil(4);
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
            payload: token as u64,
            bytes,
            terms,
            limits: crate::task::TimeLimits::default(),
            reply: Token(token),
        };
        let expected = Full {
            waiting: self.reference.waiting().len(),
            bytes: self.reference.bytes(),
        };
        let fits = self.fits(terms.priority, bytes);
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
                });
                "accepted"
            }
            Err((full, task)) => {
                assert!(limited && !fits);
                assert_eq!(full, expected);
                // Handed back as it was: it may come again.
                let found = (task.name, task.payload, task.bytes, task.terms);
                assert_eq!(found, (name, token as u64, bytes, terms));
                assert_eq!(task.reply, Token(token));
                self.outcomes[token] = 1;
                "refused"
            }
        }
    }
}
