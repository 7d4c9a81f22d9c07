//! The worker that quick tasks are sent to, one after the other, until it has enough.
//!
//! Belongs here: who that is, and for how long. Does not belong here: who is chosen when there is none.
//! Invariant: no worker has more of it than is one bundle at most, and whoever may not be sent a task is none.
//!
//! Each of quick tasks sent to another worker has each of these woken for a task, which takes longer than the task; and with many
//! workers the search for the least loaded one does. So the one that was chosen keeps getting them as long as all that it gets
//! takes no longer than waking another would.

use crate::{
    sched::ledger::{Divide, Ledger, Work, assign::Choice, bundle::PART},
    task::TaskId,
};

/// Who is sent quick tasks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Favourite {
    index: usize,
    epoch: u64,
    /// How much more of them, in nanoseconds.
    left: u64,
}

impl Favourite {
    pub(super) fn is(&self, index: usize) -> bool {
        self.index == index
    }
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// Sends a task without a key to whoever is favoured, if that may have it.
    pub(super) fn pick_favourite(&mut self, id: TaskId, awaited_only: bool) -> Option<Choice> {
        let favourite = self.favourite?;
        let (most, task) = (self.ahead.as_ref()?, self.tasks.get(id.get())?);
        let place = self.places.get(favourite.index)?;
        if place.epoch != favourite.epoch || task.terms.exclusive || self.router.is_custom() {
            return None;
        }
        let pace = place.paces.get(usize::from(task.name)).copied().flatten()?;
        let left = favourite.left.checked_sub(u64::from(pace))?;
        let ahead = task.terms.is_sent_ahead();
        let admits = place.admits(false)
            || ahead && place.admits_ahead(task.name, task.bytes as usize, 1, most);
        if !admits || place.is_reserved(awaited_only) {
            return None;
        }
        self.favourite = Some(Favourite { left, ..favourite });
        Some((favourite.index, None))
    }

    /// Somebody was chosen for a task without a key: it is favoured if that is quick.
    pub(super) fn favour(&mut self, id: TaskId, (index, _): &Choice) {
        self.favourite = self.ahead.as_ref().and_then(|most| {
            let (task, place) = (self.tasks.get(id.get())?, self.places.get(*index)?);
            let pace = place.paces.get(usize::from(task.name)).copied().flatten()?;
            let left = (most.nanos() / PART).checked_sub(u64::from(pace))?;
            Some(Favourite {
                index: *index,
                epoch: place.epoch,
                left,
            })
        });
    }
}
