//! How tasks end other than by their worker's report, and that the end has come to all of them.

use super::pool::{Pool, Token, reply, seat};
use crate::{
    error::Started,
    sched::{
        Cancelled, Death, Doing, Ticket, Verdict,
        ledger::Unsettled,
        model::reference::{At, Loss},
    },
    task::TaskId,
};

impl Pool {
    /// Several in a row have ended: as if each had said so alone.
    pub(super) fn finished_run(
        &mut self,
        index: usize,
        ticket: Ticket,
        tasks: u32,
    ) -> &'static str {
        let mut found = Vec::new();
        let run = self
            .ledger
            .finished_run(seat(index), ticket, tasks, |token, range| {
                assert_eq!(token.1, range.end - range.start);
                let each = (token.0..)
                    .zip(range.clone())
                    .map(|(token, nth)| (nth, token));
                found.extend(each);
            });
        let mut expected = Vec::new();
        let mut ended = Ok(());
        for nth in 0..tasks {
            match self.reference.ended(index, ticket + u64::from(nth), true) {
                Ok(Some(id)) => expected.push((nth, id)),
                Ok(None) => {}
                Err(violation) => {
                    ended = Err(violation);
                    break;
                }
            }
        }
        assert_eq!(run, ended);
        let tokens = expected
            .iter()
            .map(|(nth, id)| (*nth, self.tokens[usize::try_from(*id).unwrap()]));
        assert_eq!(found, tokens.collect::<Vec<_>>());
        for ((_, id), (_, token)) in expected.into_iter().zip(found) {
            self.settled(id, &Token(token, 1));
        }
        ended.map_or("a run of which some had not", |()| "a run")
    }

    pub(super) fn cancel(&mut self, id: u64, abandon: bool) -> &'static str {
        self.reference.isolate(id);
        let found = self.ledger.cancel(TaskId::new(id), abandon);
        let Some(task) = self.reference.task(id).cloned() else {
            assert!(matches!(found, Cancelled::Unknown), "{found:?}");
            return "cancelled, unknown";
        };
        let flight = task.flight().filter(|(index, ticket)| {
            // What was not handed out for writing is as good as waiting.
            *ticket <= self.reference.workers[*index].written
        });
        match (found, flight) {
            (Cancelled::Queued { reply, ran }, None) => {
                assert_eq!(ran, task.ran);
                self.settled(id, &reply);
                self.reference.leave(id);
                if let Some((index, _)) = task.flight() {
                    let flights = &mut self.reference.workers[index].flights;
                    flights.retain(|flight| flight.id != id);
                    self.reference.workers[index].unsent();
                }
                self.reference.settle(id);
                match task.flight() {
                    None if matches!(task.at, At::Later(_)) => "cancelled between runs",
                    Some(_) => "cancelled in the outbox",
                    None => "cancelled in the queue",
                }
            }
            (
                Cancelled::Flight {
                    seat,
                    ticket,
                    reply,
                    first,
                },
                Some((index, expected)),
            ) => {
                assert_eq!((seat.index(), ticket), (index, expected));
                let flights = &mut self.reference.workers[index].flights;
                let flight = flights.iter_mut().find(|flight| flight.id == id).unwrap();
                assert_eq!(first, !flight.cancelling);
                flight.cancelling = true;
                assert_eq!(reply.is_some(), abandon);
                if let Some(token) = reply {
                    flight.abandoned = true;
                    self.settled(id, &token);
                    self.reference.settle(id);
                }
                if first {
                    "cancelled in flight"
                } else {
                    "cancelled again"
                }
            }
            (found, _) => panic!("{found:?} of {task:?}"),
        }
    }

    pub(super) fn failed(&mut self, index: usize, ticket: Ticket) -> &'static str {
        let worker = &self.reference.workers[index];
        let mut flights = worker.flights.iter();
        let flight = flights.find(|flight| flight.ticket == ticket);
        let id = flight.map(|flight| flight.id);
        let now = self.now();
        let ledger = &mut self.ledger;
        let found = ledger.failed(seat(index), ticket, || now, || 0).map(reply);
        let expected = self.reference.failed(index, ticket);
        if let (Ok(_), Some(id)) = (expected, id) {
            self.may_have_run[usize::try_from(id).unwrap()] = true;
        }
        self.left(found, expected, ["failed", "failed, again or abandoned"])
    }

    pub(super) fn release(&mut self) -> &'static str {
        let found = self.ledger.release(self.now());
        assert_eq!(found, self.reference.release());
        if found {
            "released"
        } else {
            "nothing released"
        }
    }

    pub(super) fn look(&mut self) -> &'static str {
        let (looked, late) = self.reference.look();
        assert_eq!(self.ledger.look(self.now()), looked);
        self.assign();
        if late {
            "one of the crew was late"
        } else {
            "nobody of the crew was late"
        }
    }

    pub(super) fn abandon(&mut self, index: usize, ticket: Ticket) -> &'static str {
        let found = self.ledger.abandon(seat(index), ticket);
        let flights = &mut self.reference.workers[index].flights;
        let flight = flights
            .iter_mut()
            .find(|flight| flight.ticket == ticket && !flight.abandoned);
        match (found, flight) {
            (Some((id, token)), Some(flight)) => {
                assert_eq!(id.get(), flight.id);
                flight.abandoned = true;
                self.settled(id.get(), &token);
                self.reference.settle(id.get());
                "abandoned"
            }
            (None, None) => "nothing abandoned",
            (found, flight) => panic!("{found:?} of {flight:?}"),
        }
    }

    pub(super) fn lost(
        &mut self,
        index: usize,
        doing: Doing,
        read: bool,
        short: bool,
    ) -> &'static str {
        let before = self.reference.workers[index].clone();
        let number = self.reference.numbers;
        let death = Death {
            doing,
            read,
            shortage: short.then(|| self.now()),
        };
        let lost = self.ledger.lost(seat(index), death, || 0, |_, _, _, _| {});
        let (losses, requeued, suspects) = self.reference.lost(index, doing, read, short);
        let inquest = Some(self.reference.numbers).filter(|last| *last > number);
        assert_eq!(lost.inquest, inquest);
        assert_eq!(lost.requeued, requeued);
        assert_eq!(lost.suspects as usize, suspects);
        let mut found: Vec<Loss> = Vec::new();
        for task in lost.settled {
            self.settled(task.id.get(), &task.reply);
            found.push(Loss {
                id: task.id.get(),
                started: task.started,
                cancelled: task.verdict == Verdict::Cancelled,
                suspect: task.suspect,
                poisoned: task.verdict == Verdict::Poisoned,
            });
        }
        found.sort_unstable_by_key(|loss| loss.id);
        assert_eq!(found, losses);
        for flight in &before.flights {
            let maybe = before.started(flight, read, self.reference.ahead) != Started::No;
            self.may_have_run[usize::try_from(flight.id).unwrap()] |= maybe;
        }
        if losses.iter().any(|loss| loss.poisoned) {
            return "poisoned";
        }
        if inquest.is_some() {
            return "isolated";
        }
        match (losses.is_empty(), requeued, doing == Doing::Others) {
            (true, 0, _) => "nothing lost",
            (true, _, true) => "requeued, innocent",
            (true, _, false) => "requeued",
            (false, 0, _) => "lost",
            (false, ..) => "lost and requeued",
        }
    }

    pub(super) fn take_waiting(&mut self) -> &'static str {
        let taken = self.ledger.take_waiting();
        let each = |task: &Unsettled<Token>| {
            let id = task.id;
            (0..task.reply.1).map(move |nth| id.after(nth).get())
        };
        let ids: Vec<u64> = taken.iter().flat_map(each).collect();
        assert_eq!(ids, self.reference.waiting());
        for Unsettled {
            id,
            slot,
            started,
            reply,
        } in taken
        {
            let ran = self.reference.task(id.get()).unwrap().ran;
            let expected = if ran { Started::Yes } else { Started::No };
            assert_eq!((slot, started), (None, expected));
            self.settled(id.get(), &reply);
            for nth in 0..reply.1 {
                let id = id.after(nth).get();
                self.reference.leave(id);
                self.reference.settle(id);
            }
        }
        "waiting taken"
    }

    pub(super) fn take_flights(&mut self) -> &'static str {
        let taken = self.ledger.take_flights();
        let mut found: Vec<(u64, usize, Started)> = Vec::new();
        for task in taken {
            self.settled(task.id.get(), &task.reply);
            let index = task.slot.unwrap().index() as usize - 7;
            let each = (0..task.reply.1).map(|nth| task.id.after(nth).get());
            found.extend(each.map(|id| (id, index, task.started)));
        }
        found.sort_unstable_by_key(|(id, ..)| *id);
        assert_eq!(found, self.reference.take_flights());
        "flights taken"
    }

    /// Ends the pool: whatever was accepted has settled now.
    pub(super) fn end(mut self) {
        self.take_waiting();
        self.take_flights();
        assert!(self.ledger.is_empty());
        assert_eq!(self.ledger.quantities().bytes, 0);
        let unsettled = self.outcomes.iter().position(|outcomes| *outcomes != 1);
        assert_eq!(unsettled, None, "a submission without its one outcome");
        // The workers go, and with them what they had: the routing hears of each of its picks.
        for index in 0..self.reference.workers.len() {
            self.lost(index, Doing::Tasks, true, false);
        }
        assert_eq!(*self.picks.lock().unwrap(), []);
    }
}
