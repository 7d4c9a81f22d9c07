//! What becomes of the tasks of a worker that has gone.
//!
//! Belongs here: who runs again, where, and at whose cost. Does not belong here: what the others are told.
//! Invariant: of a task that is not idempotent, and may have started, nothing runs again.

use std::time::Instant;

use crate::{
    error::Started,
    sched::ledger::{Divide, Ledger, Lost, LostTask, Seat, Ticket, Verdict, Work, place::Place},
    task::TaskId,
};

/// Whose doing the end of a worker was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Not its tasks'.
    Others,
    /// Perhaps not its tasks': somebody has killed it, who did not say why; or nobody knows how it ended.
    Unknown,
    /// Its tasks', as far as anybody can know.
    Tasks,
    /// That of this one, and not of those beside it.
    One(Ticket),
}

impl Doing {
    /// What this says of one of the tasks.
    pub(crate) fn of(self, ticket: Ticket) -> Self {
        match self {
            Self::One(guilty) if guilty == ticket => Self::Tasks,
            Self::One(_) => Self::Others,
            doing => doing,
        }
    }
}

/// How a worker has gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Death {
    pub(crate) doing: Doing,
    /// All that it had said was read.
    pub(crate) read: bool,
    /// There was no memory for it, and when that was.
    pub(crate) shortage: Option<Instant>,
}

/// Where a task goes that runs again.
enum Again {
    No,
    AtOnce,
    /// When this many have died with it for want of memory.
    Later(u32),
    InQuarantine,
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// This worker has gone, and its seat is free. `suspected` hears of each task that may have caused it and is still there: its
    /// id, name, attempt and payload.
    ///
    /// What had surely not started goes back, no attempt spent. Of the rest, the suspects, what is idempotent runs again: alone
    /// in quarantine, unless the end was others' doing. The benefit of the doubt it has once: killed from outside, it goes on
    /// beside others, which is what an operator or a machine short of memory costs; for the latter it waits.
    pub(crate) fn lost(
        &mut self,
        seat: Seat,
        death: Death,
        mut random: impl FnMut() -> u64,
        mut suspected: impl FnMut(TaskId, u16, u32, &P),
    ) -> Lost<R> {
        let Death { doing, read, .. } = death;
        let mut lost = Lost {
            settled: Vec::new(),
            requeued: 0,
            again: 0,
            suspects: 0,
            inquest: None,
        };
        self.dissolve(seat);
        self.blame.left(seat);
        self.scatter_flights(seat);
        let most_started = self.most_started();
        let Some(place) = self.places.get_mut(seat.index()) else {
            return lost;
        };
        let place = std::mem::replace(place, Place::free());
        let (slot, quarantine) = (place.slot, place.quarantine);
        let (mut suspects, mut isolated) = (Vec::new(), Vec::new());
        // Whoever was sent first hears of it first.
        for (ticket, flight, started) in place.in_order(read, most_started) {
            let id = flight.id;
            let own = doing.of(ticket);
            // Where one is to blame the others are no suspects.
            let suspect = own == doing || own != Doing::Others;
            if started != Started::No && suspect {
                lost.suspects += 1;
                suspects.push((id, flight.name));
                if let Some(task) = self.tasks.get(id.get()) {
                    suspected(id, flight.name, task.spent.attempt(), &task.payload);
                }
            }
            self.gone(slot, flight);
            let over = self.clocks.over(id);
            let ending = flight.cancelling || over.is_some();
            let again = if ending {
                Again::No
            } else {
                let death = Death {
                    doing: own,
                    ..death
                };
                self.runs_again_after(id, started, death, quarantine)
            };
            match again {
                Again::AtOnce if quarantine => self.suspect(id),
                Again::AtOnce => self.requeue(id),
                Again::Later(nth) => {
                    let wait = self.rules.backoff(nth, random());
                    let at = death.shortage.and_then(|now| now.checked_add(wait));
                    self.wait_until(id, at);
                }
                Again::InQuarantine => {
                    self.suspect(id);
                    isolated.push(id);
                }
                Again::No => {
                    let deaths = self.tasks.get(id.get()).map(|task| task.spent.deaths());
                    let deaths = deaths.unwrap_or(0);
                    let poisoned = quarantine
                        && !ending
                        && started != Started::No
                        && match own {
                            Doing::Others => false,
                            // Once more than others may have wanted its worker's end by chance.
                            Doing::Unknown => deaths > 1,
                            Doing::Tasks | Doing::One(_) => true,
                        };
                    if poisoned {
                        self.blame.poisoned(id);
                    }
                    let ran = self.has_run(id);
                    if let Some(reply) = self.settle(id) {
                        lost.settled.push(LostTask {
                            id,
                            started: if ran { Started::Yes } else { started },
                            over,
                            suspect: own != Doing::Others,
                            verdict: match (ending, poisoned) {
                                (true, _) => Verdict::Cancelled,
                                (_, true) => Verdict::Poisoned,
                                _ => Verdict::Lost,
                            },
                            reply,
                        });
                    }
                    continue;
                }
            }
            lost.requeued += 1;
            lost.again += u64::from(started != Started::No);
        }
        lost.inquest = self.blame.inquire(suspects, &isolated);
        lost
    }

    /// Whether a task runs again whose worker has gone, and what that costs it.
    fn runs_again_after(
        &mut self,
        id: TaskId,
        started: Started,
        death: Death,
        quarantine: bool,
    ) -> Again {
        let (doing, rules) = (death.doing, self.rules);
        let Some(task) = self.tasks.get_mut(id.get()) else {
            return Again::No;
        };
        if started == Started::No {
            return Again::AtOnce;
        }
        if !task.terms.idempotent {
            return Again::No;
        }
        if doing == Doing::Others {
            task.ran = true;
            return Again::AtOnce;
        }
        // Alone, it was the cause: but for what comes from outside.
        let guilty = quarantine && doing == Doing::Tasks;
        let (spent, most) = match death.shortage {
            None => (&mut task.spent.lost, rules.lost),
            Some(_) => (&mut task.spent.memory, rules.memory),
        };
        if guilty || u32::from(*spent) + 1 >= most {
            return Again::No;
        }
        task.ran = true;
        *spent = spent.saturating_add(1);
        let nth = u32::from(*spent);
        if quarantine {
            // A suspect still.
            return Again::AtOnce;
        }
        match (doing, nth, death.shortage) {
            (Doing::Unknown, 1, None) => Again::AtOnce,
            (Doing::Unknown, 1, Some(_)) => Again::Later(nth),
            _ => Again::InQuarantine,
        }
    }
}
