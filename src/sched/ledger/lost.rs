//! What becomes of the tasks of a worker that has gone.
//!
//! Belongs here: who runs again, where, and at whose cost. Does not belong here: what the others are told.
//! Invariant: of a task that is not idempotent, and may have started, nothing runs again.

use crate::{
    error::Started,
    sched::ledger::{
        Ledger, Lost, LostTask, Seat, Ticket, Verdict,
        place::{Flight, Place},
    },
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

/// Where a task goes that runs again.
enum Again {
    No,
    AtOnce,
    InQuarantine,
}

impl<P, R> Ledger<P, R> {
    /// This worker has gone, and its seat is free. `read` says that all that it had said was read.
    ///
    /// What had surely not started goes back, no attempt spent. Of the rest, the suspects, what is idempotent runs again: alone
    /// in quarantine, unless the end was others' doing. The benefit of the doubt it has once: killed from outside, it goes on
    /// beside others, which is what an operator or a machine short of memory costs.
    pub(crate) fn lost(&mut self, seat: Seat, doing: Doing, read: bool) -> Lost<R> {
        let mut lost = Lost {
            settled: Vec::new(),
            requeued: 0,
            again: 0,
            suspects: 0,
            inquest: None,
        };
        self.dissolve(seat);
        self.blame.left(seat);
        let Some(place) = self.places.get_mut(seat.index()) else {
            return lost;
        };
        let Place {
            slot,
            flights,
            written,
            quiet,
            quarantine,
            ..
        } = std::mem::replace(place, Place::free());
        let mut flights: Vec<(Ticket, Flight)> = flights.into_iter().collect();
        // Whoever was sent first hears of it first.
        flights.sort_unstable_by_key(|(ticket, _)| *ticket);
        let (mut suspects, mut isolated) = (Vec::new(), Vec::new());
        for (ticket, flight) in flights {
            let id = flight.id;
            let started = flight.started(ticket, written, &quiet, read);
            let own = doing.of(ticket);
            // Where one is to blame the others are no suspects.
            let suspect = own == doing || own != Doing::Others;
            if started != Started::No && suspect {
                lost.suspects += 1;
                suspects.push((id, flight.name));
            }
            self.gone(slot, &flight);
            let over = self.clocks.over(id);
            let ending = flight.cancelling || over.is_some();
            let again = if ending {
                Again::No
            } else {
                self.runs_again_after(id, started, own, quarantine)
            };
            match again {
                Again::AtOnce if quarantine => self.suspect(id),
                Again::AtOnce => self.requeue(id),
                Again::InQuarantine => {
                    self.suspect(id);
                    isolated.push(id);
                }
                Again::No => {
                    let deaths = self.tasks.get(id.get()).map_or(0, |task| task.spent.lost);
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
        doing: Doing,
        quarantine: bool,
    ) -> Again {
        let most = self.rules.lost;
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
        if guilty || task.spent.lost.saturating_add(1) >= most {
            return Again::No;
        }
        task.ran = true;
        task.spent.lost += 1;
        if quarantine {
            // A suspect still.
            return Again::AtOnce;
        }
        if doing == Doing::Unknown && task.spent.lost == 1 {
            Again::AtOnce
        } else {
            Again::InQuarantine
        }
    }
}
