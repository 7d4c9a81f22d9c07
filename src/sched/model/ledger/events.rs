//! What may happen next.

use super::pool::Pool;
use crate::{
    sched::{Doing, Ticket, model::Run},
    task::{Key, Terms},
};

#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Submit {
        name: u16,
        bytes: usize,
        terms: Terms,
        limited: bool,
    },
    SubmitMany {
        name: u16,
        bytes: usize,
        terms: Terms,
        tasks: u32,
        limited: bool,
    },
    /// How many in a row?
    FinishedRun(usize, Ticket, u32),
    /// So many tenths of a second.
    Passes(u64),
    Gate(bool),
    Assign,
    Expedite(u64),
    ExpediteEvery(u64),
    Write(usize),
    Started(usize, Ticket),
    Quiet(usize, u16, bool),
    Pace(usize, u16, u32),
    Finished(usize, Ticket),
    /// Had it started?
    Cancelled(usize, Ticket, bool),
    /// Had it started?
    Dropped(usize, Ticket, bool),
    Failed(usize, Ticket),
    Release,
    /// When that is due, and what follows.
    Look,
    Revoked(usize, Ticket),
    Cancel(u64, bool),
    Abandon(usize, Ticket),
    /// Whose doing, read to its end, short of memory?
    Lost(usize, Doing, bool, bool),
    UpQuarantine,
    /// With so many credits, for so many tasks in all.
    Up(u32, Option<u32>),
    /// So many credits from now on.
    Limit(usize, u32),
    Close(usize),
    Reopen(usize),
    Retire(usize),
    TakeWaiting,
    TakeFlights,
}

impl Pool {
    /// Something that may happen now; reports of workers that lie are among it.
    pub(super) fn event(&self, run: &mut Run<Event>) -> Event {
        let random = &mut run.random;
        let workers = &self.reference.workers;
        let slot = random.below(workers.len());
        // Or seldom anything would come to an end there.
        if let Some(index) = self.reference.quarantine
            && let Some(flight) = workers[index].flights.first()
            && random.odds(1, 8)
        {
            let ticket = flight.ticket;
            return match random.below(7) {
                0 | 1 => Event::Write(index),
                2 => Event::Started(index, ticket),
                3 => Event::Finished(index, ticket),
                _ => Event::Lost(index, Doing::Tasks, true, false),
            };
        }
        // Nobody waits for long.
        if self.reference.look.is_some() && random.odds(1, 2) {
            return Event::Look;
        }
        let worker = &workers[slot];
        let tickets: Vec<Ticket> = worker.flights.iter().map(|flight| flight.ticket).collect();
        let wild = 1 + usize::try_from(worker.issued).unwrap();
        let ticket = match random.pick(&tickets) {
            Some(ticket) if random.odds(9, 10) => ticket,
            _ => random.below(wild + 2) as Ticket,
        };
        let ids: Vec<u64> = self.reference.tasks.iter().map(|task| task.id).collect();
        let id = match random.pick(&ids) {
            Some(id) if random.odds(9, 10) => id,
            _ => random.below(self.tokens.len() + 1) as u64,
        };
        let names = u16::try_from(self.reference.limits.len()).unwrap();
        let name = u16::try_from(random.below(usize::from(names) + 1)).unwrap();
        match random.below(200) {
            0..=9 => Event::SubmitMany {
                name: name % names,
                bytes: random.below(10),
                terms: Terms {
                    idempotent: random.odds(2, 3),
                    priority: random.pick(&self.classes).unwrap_or_default(),
                    read_ahead: random.odds(1, 4).then_some(true),
                    ..Terms::default()
                },
                tasks: u32::try_from(random.between(1, 6)).unwrap(),
                limited: random.odds(9, 10),
            },
            10..=49 => Event::Submit {
                name: name % names,
                bytes: random.below(40) * random.below(4),
                terms: Terms {
                    idempotent: random.odds(1, 2),
                    exclusive: random.odds(1, 8),
                    priority: random.pick(&self.classes).unwrap_or_default(),
                    key: random
                        .odds(self.keyed, 10)
                        .then(|| Key::of(random.below(6))),
                    read_ahead: random.odds(1, 4).then(|| random.odds(1, 2)),
                },
                limited: random.odds(9, 10),
            },
            50..=51 if random.odds(1, 2) => Event::Gate(random.odds(1, 3)),
            50..=51 => Event::Passes(random.below(80) as u64),
            52..=79 => Event::Assign,
            80..=85 => Event::Expedite(id),
            86..=87 => Event::ExpediteEvery(random.between(1, 3) as u64),
            88..=109 => Event::Write(slot),
            110..=129 => Event::Started(slot, ticket),
            130..=131 => Event::Quiet(slot, name, random.odds(2, 3)),
            132..=135 => Event::Pace(slot, name, u32::try_from(random.below(400)).unwrap()),
            136..=145 => Event::Finished(slot, ticket),
            146..=149 => {
                let tasks = u32::try_from(random.between(1, 6)).unwrap();
                Event::FinishedRun(slot, ticket, tasks)
            }
            150..=154 => Event::Failed(slot, ticket),
            155..=156 => Event::Release,
            157..=162 => Event::Cancelled(slot, ticket, random.odds(1, 2)),
            163..=165 => Event::Dropped(slot, ticket, random.odds(1, 2)),
            166..=172 => Event::Revoked(slot, ticket),
            173..=182 => Event::Cancel(id, random.odds(1, 2)),
            // The ladder knows only of tickets that were written.
            183..=186 if ticket <= worker.written => Event::Abandon(slot, ticket),
            187..=190 => {
                let one = Doing::One(ticket);
                let all = [Doing::Others, Doing::Unknown, Doing::Tasks, one];
                let doing = random.pick(&all).unwrap();
                Event::Lost(slot, doing, random.odds(2, 3), random.odds(1, 3))
            }
            191 if worker.alive && !worker.quarantine && random.odds(1, 2) => {
                Event::Limit(slot, u32::try_from(random.between(1, 8)).unwrap())
            }
            191 => Event::Close(slot),
            192..=193 if worker.alive => Event::Reopen(slot),
            194 if worker.alive => Event::Retire(slot),
            _ if workers.iter().any(|worker| !worker.alive)
                && self.reference.quarantine.is_none()
                && random.odds(1, 2) =>
            {
                Event::UpQuarantine
            }
            _ if workers.iter().any(|worker| !worker.alive) => {
                let [credits, quota] = [random.between(1, 8), random.between(1, 40)];
                let quota = u32::try_from(quota).unwrap();
                let quota = random.odds(1, 2).then_some(quota);
                Event::Up(u32::try_from(credits).unwrap(), quota)
            }
            _ if random.odds(1, 100) => Event::TakeWaiting,
            _ if random.odds(1, 100) => Event::TakeFlights,
            _ => Event::Assign,
        }
    }
}
