//! Who is to blame when a worker dies that had started several tasks.
//!
//! Belongs here: suspects, and what is known when the last of them has run again. Does not belong here: who is one.
//!
//! ```text
//!              its worker dies       its turn in quarantine                    ends, in whatever way
//!   started ───────────────────▶ suspect ──────────────────▶ alone in a worker ──────────────────────▶ cleared
//!                                   ▲                          │        │  its worker dies again
//!                                   └──────────────────────────┘        └───────────────────────────▶ poisoned: settled
//!                  that worker ends for another reason, or before the start
//! ```
//! Suspects of one death are an *inquest*, which is concluded when none of them waits or runs in quarantine any more.
//! Invariants: a suspect has a worker to itself, which nobody has had before it; it runs at most once after the death that made
//! it one, unless its worker ends for another reason; so there are no more runs than suspects.

use std::collections::BTreeSet;

use crate::{
    sched::ledger::{At, Divide, Ledger, Name, Place, Seat, Work},
    task::{IdMap, Slot, TaskId},
};

/// A task that may have caused the death of a worker, and the number of its name.
pub(crate) type Suspect = (TaskId, u16);

/// The suspects of one death, and what came of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inquest {
    /// Which death, counted from 1.
    pub(crate) number: u64,
    /// All of them: those that could not run again, too.
    pub(crate) suspects: Vec<Suspect>,
    /// Those that have killed again.
    pub(crate) poisoned: Vec<Suspect>,
    /// How many times one of them was sent to quarantine.
    pub(crate) runs: u32,
    /// How many have yet to end.
    open: usize,
}

/// All suspects.
#[derive(Debug, Default)]
pub(super) struct Blame {
    /// Those that wait, in the order of their acceptance.
    waiting: BTreeSet<TaskId>,
    /// For each suspect that has yet to end its inquest.
    under: IdMap<u64, u64>,
    inquests: IdMap<u64, Inquest>,
    numbers: u64,
    concluded: Vec<Inquest>,
    /// The worker for them.
    quarantine: Option<Seat>,
}

impl Blame {
    pub(super) fn is_empty(&self) -> bool {
        self.under.is_empty()
    }

    /// A worker has died. `again` are those of its suspects that run again.
    pub(super) fn inquire(&mut self, suspects: Vec<Suspect>, again: &[TaskId]) -> Option<u64> {
        if again.is_empty() {
            return None;
        }
        self.numbers += 1;
        let number = self.numbers;
        for id in again {
            self.under.insert(id.get(), number);
        }
        let inquest = Inquest {
            number,
            suspects,
            poisoned: Vec::new(),
            runs: 0,
            open: again.len(),
        };
        self.inquests.insert(number, inquest);
        Some(number)
    }

    fn inquest_mut(&mut self, id: TaskId) -> Option<&mut Inquest> {
        let number = self.under.get(&id.get())?;
        self.inquests.get_mut(number)
    }

    /// A task runs in quarantine.
    fn runs(&mut self, id: TaskId) {
        if let Some(inquest) = self.inquest_mut(id) {
            inquest.runs += 1;
        }
    }

    /// A task has killed its worker once more, alone.
    pub(super) fn poisoned(&mut self, id: TaskId) {
        if let Some(inquest) = self.inquest_mut(id) {
            let own = inquest.suspects.iter().find(|(suspect, _)| *suspect == id);
            inquest.poisoned.extend(own.copied());
        }
    }

    /// A task is no suspect any more.
    pub(super) fn cleared(&mut self, id: TaskId) {
        let Some(number) = self.under.remove(&id.get()) else {
            return;
        };
        let Some(inquest) = self.inquests.get_mut(&number) else {
            return;
        };
        inquest.open -= 1;
        if inquest.open == 0
            && let Some(inquest) = self.inquests.remove(&number)
        {
            self.concluded.push(inquest);
        }
    }

    pub(super) fn remove(&mut self, id: TaskId) {
        self.waiting.remove(&id);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.waiting.iter().copied()
    }

    /// A worker has gone, or takes no more.
    pub(super) fn left(&mut self, seat: Seat) {
        self.quarantine.take_if(|quarantine| *quarantine == seat);
    }
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// A worker is ready for a suspect, for one alone.
    pub(crate) fn up_quarantine(&mut self, slot: Slot) -> Seat {
        // What one has left behind, a thread or a broken heap, must not kill the next.
        let seat = self.up(slot, 1, Some(1));
        if let Some(place) = self.place_mut(seat) {
            place.quarantine = true;
        }
        self.blame.quarantine = Some(seat);
        seat
    }

    /// A task that is nowhere waits for its turn in quarantine.
    pub(super) fn suspect(&mut self, id: TaskId) {
        if self.set_at(id, At::Suspect).is_some() {
            self.blame.waiting.insert(id);
            self.clocks.waits(id);
        }
    }

    /// The next suspect goes to the worker for them, if that is free. One whose name has as many running as may lets others
    /// pass.
    pub(super) fn fill_quarantine(&mut self, touched: &mut impl FnMut(Seat)) {
        let Some(seat) = self.blame.quarantine else {
            return;
        };
        let free = |place: &Place| place.open && place.quota != Some(0) && place.flights.is_empty();
        if !self.place(seat).is_some_and(free) {
            return;
        }
        let may = |id: &TaskId| {
            let name = self.tasks.get(id.get()).map(|task| usize::from(task.name));
            let name = name.and_then(|name| self.names.get(name));
            !name.is_some_and(Name::is_full)
        };
        let next = self.blame.iter().find(may);
        if let Some(id) = next {
            self.leave(id);
            self.blame.runs(id);
            touched(self.send(id, (seat.index(), None)));
        }
    }

    /// How many tasks are suspects that have yet to end.
    pub(crate) fn suspects(&self) -> usize {
        self.blame.under.len()
    }

    /// Whether suspects wait.
    pub(crate) fn wants_quarantine(&self) -> bool {
        !self.blame.waiting.is_empty()
    }

    /// The worker for a suspect, if it has had one, or there is none.
    pub(crate) fn idle_quarantine(&self) -> Option<Seat> {
        let seat = self.blame.quarantine?;
        let place = self.place(seat)?;
        let over = place.quota == Some(0) || !self.wants_quarantine();
        (over && place.flights.is_empty()).then_some(seat)
    }

    /// What has been found out about a death, once.
    pub(crate) fn take_inquest(&mut self) -> Option<Inquest> {
        self.blame.concluded.pop()
    }
}
