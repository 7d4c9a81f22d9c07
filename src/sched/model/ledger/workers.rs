//! Workers that come, and those that are to go.

use super::pool::{Pool, seat};
use crate::{sched::model::reference::Worker, task::Slot};

impl Pool {
    pub(super) fn up(
        &mut self,
        credits: u32,
        quota: Option<u32>,
        quarantine: bool,
    ) -> &'static str {
        let workers = &self.reference.workers;
        let index = workers.iter().position(|worker| !worker.alive).unwrap();
        let slot = Slot::new(u32::try_from(index).unwrap() + 7);
        let found = if quarantine {
            self.ledger.up_quarantine(slot)
        } else {
            self.ledger.up(slot, credits, quota)
        };
        assert_eq!(found, seat(index));
        self.epochs += 1;
        self.reference.seats = self.reference.seats.max(index + 1);
        self.reference.workers[index] = Worker {
            alive: true,
            epoch: self.epochs,
            open: true,
            quarantine,
            credits,
            left: if quarantine { Some(1) } else { quota },
            ..Worker::default()
        };
        if quarantine {
            self.reference.quarantine = Some(index);
            return "up in quarantine";
        }
        if !self.epochs.is_multiple_of(3) {
            // Or what is quick would seldom be known in time.
            for name in 0..u16::try_from(self.reference.limits.len()).unwrap() {
                self.ledger.paced(found, name, 150).unwrap();
                self.reference.paced(index, name, 150).unwrap();
            }
        }
        "up"
    }

    pub(super) fn retire(&mut self, index: usize) -> &'static str {
        self.ledger.retire(seat(index));
        self.reference.workers[index].retired = true;
        let quarantine = &mut self.reference.quarantine;
        quarantine.take_if(|quarantine| *quarantine == index);
        self.reference.dissolve(index);
        "retired"
    }
}
