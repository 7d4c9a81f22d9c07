//! What can be asked without changing anything.

use super::{
    events::Event,
    pool::{Pool, seat},
};
use crate::sched::{Ticket, model::Run};

impl Pool {
    /// What can be asked without changing anything.
    pub(super) fn check(&self, run: &mut Run<Event>) {
        let reference = &self.reference;
        let found = self.ledger.quantities();
        assert_eq!(found.waiting, reference.waiting().len());
        assert_eq!(found.waiting + found.in_flight, reference.tasks.len());
        assert_eq!(found.bytes, reference.bytes());
        assert_eq!(self.ledger.is_empty(), reference.tasks.is_empty());
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
