//! What can be asked without changing anything.

use super::{
    events::Event,
    pool::{Pool, seat},
};
use crate::{
    sched::{
        Ticket,
        model::{
            Run,
            reference::{At, Inquest},
        },
    },
    task::TaskId,
};

impl Pool {
    /// What is known of deaths comes out once, when the last suspect has ended.
    fn conclude(&mut self) {
        let reference = &mut self.reference;
        let concluded = reference
            .inquests
            .extract_if(.., |inquest| inquest.open.is_empty());
        let mut expected: Vec<_> = concluded.collect();
        let mut found = Vec::new();
        while let Some(inquest) = self.ledger.take_inquest() {
            let named = |suspects: Vec<(TaskId, u16)>| -> Vec<(u64, u16)> {
                let named = suspects.into_iter().map(|(id, name)| (id.get(), name));
                named.collect()
            };
            found.push(Inquest {
                number: inquest.number,
                suspects: named(inquest.suspects),
                open: Vec::new(),
                poisoned: named(inquest.poisoned),
                runs: inquest.runs,
            });
        }
        found.sort_unstable_by_key(|inquest| inquest.number);
        expected.sort_unstable_by_key(|inquest| inquest.number);
        assert_eq!(found, expected);
        let open: usize = reference
            .inquests
            .iter()
            .map(|inquest| inquest.open.len())
            .sum();
        assert_eq!(self.ledger.suspects(), open);
        let waits = reference.tasks.iter().any(|task| task.at == At::Suspect);
        assert_eq!(self.ledger.wants_quarantine(), waits);
        let idle = reference.quarantine.filter(|index| {
            let worker = &reference.workers[*index];
            worker.flights.is_empty() && (!waits || worker.left == Some(0))
        });
        assert_eq!(self.ledger.idle_quarantine(), idle.map(seat));
    }

    /// What can be asked without changing anything.
    pub(super) fn check(&mut self, run: &mut Run<Event>) {
        self.conclude();
        let reference = &self.reference;
        let found = self.ledger.quantities();
        assert_eq!(found.waiting, reference.waiting().len());
        assert_eq!(found.waiting + found.in_flight, reference.tasks.len());
        assert_eq!(found.bytes, reference.bytes());
        assert_eq!(self.ledger.is_empty(), reference.tasks.is_empty());
        // Whoever waits for the crew is looked after.
        assert_eq!(self.ledger.waits_for_crew(), reference.look.is_some());
        let due = self.ledger.next_due();
        assert!(reference.look.is_none() || due.is_some());
        let index = run.random.below(reference.workers.len());
        let worker = &reference.workers[index];
        assert_eq!(self.ledger.in_flight(seat(index)), worker.flights.len());
        let spent = worker.left == Some(0);
        assert_eq!(self.ledger.is_spent(seat(index)), spent);
        if run.random.odds(7, 8) {
            return;
        }
        let mut revocable = self.ledger.revocable(seat(index));
        revocable.sort_unstable();
        let expected = worker.flights.iter();
        let expected: Vec<Ticket> = expected
            .filter(|flight| flight.ticket <= worker.written)
            .filter(|flight| !flight.started && !flight.cancelling)
            .map(|flight| flight.ticket)
            .collect();
        assert_eq!(revocable, expected);
        let all = worker.flights.iter().all(|flight| flight.cancelling);
        for ticket in 0..worker.issued + 2 {
            let there = worker.flights.iter().any(|flight| flight.ticket == ticket);
            assert_eq!(
                self.ledger.ending(seat(index), ticket),
                there.then_some(all)
            );
        }
        let mut running: Vec<u64> = self.ledger.running().iter().map(|id| id.get()).collect();
        running.sort_unstable();
        let expected = reference.tasks.iter().filter(|task| !task.waits());
        assert_eq!(running, expected.map(|task| task.id).collect::<Vec<u64>>());
    }
}
