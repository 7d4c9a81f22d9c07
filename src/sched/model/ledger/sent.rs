//! Tasks on their way to workers.

use std::time::Instant;

use super::pool::{Pool, seat};
use crate::{sched::Dispatch, task::TaskId};

impl Pool {
    pub(super) fn assign(&mut self) -> &'static str {
        let mut to = Vec::new();
        let now = self.now();
        self.ledger
            .assign(self.awaited_only, || now, |seat| to.push(seat.index()));
        let kept = self.reference.assigned(self.awaited_only, &to);
        let more = |index: &usize| {
            let worker = &self.reference.workers[*index];
            worker.flights.len() > worker.credits as usize
        };
        match to[..] {
            _ if self.reference.waited => "waited for the crew",
            _ if self.reference.sent_as_one => "several sent as one",
            _ if to.iter().any(more) => "sent ahead",
            [] if kept > 0 => "kept for something of their own",
            [] => "nothing assigned",
            _ if self.awaited_only => "awaited ones assigned",
            _ => "assigned",
        }
    }

    pub(super) fn write(&mut self, index: usize) -> &'static str {
        let mut found = Vec::new();
        self.ledger.take_outbox(seat(index), Instant::now, |task| {
            assert_eq!(task.count, task.payload.2);
            found.extend((0..task.count).map(|nth| Dispatch {
                ticket: task.ticket + u64::from(nth),
                count: 1,
                id: task.id.after(nth),
                name: task.name,
                attempt: task.attempt,
                left: task.left,
                payload: task.payload.0 + nth as usize,
            }));
        });
        let expected: Vec<Dispatch<usize>> = self
            .reference
            .write(index)
            .into_iter()
            .map(|(ticket, task)| {
                let spent = task.spent.iter().zip(self.reference.attempts);
                assert!(spent.clone().all(|(spent, most)| *spent < most), "{task:?}");
                let ran = self.may_have_run[usize::try_from(task.id).unwrap()];
                assert!(task.terms.idempotent || !ran, "{task:?} would run twice");
                Dispatch {
                    ticket,
                    count: 1,
                    id: TaskId::new(task.id),
                    name: task.name,
                    attempt: 1 + task.spent.iter().sum::<u32>(),
                    left: None,
                    payload: self.tokens[usize::try_from(task.id).unwrap()],
                }
            })
            .collect();
        assert_eq!(found, expected);
        match found.iter().map(|task| task.attempt).max() {
            None => "nothing written",
            Some(1) => "written",
            Some(_) => "another attempt written",
        }
    }
}
