//! Which waiting tasks somebody awaits right now: those alone are sent while results are over their limit.
//!
//! Belongs here: marking them, wherever they wait. Does not belong here: when the mark counts.

use crate::{
    sched::ledger::{At, Divide, Ledger, Work, line::Line},
    task::TaskId,
};

impl<P: Work, R: Divide> Ledger<P, R> {
    /// Marks a waiting task as awaited right now. Does nothing for any other.
    pub(crate) fn expedite(&mut self, id: TaskId) {
        self.isolate(id);
        self.mark(id);
    }

    /// The same of an entry, with all that it is.
    fn mark(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(id.get()) else {
            return;
        };
        let priority = task.terms.priority;
        match task.at {
            // Whoever awaits one that may run again is asked for then; suspects go whoever awaits them.
            At::Flight(..) | At::Later | At::Suspect => {}
            At::Queue => self.awaited.insert(priority, id),
            At::Line(seat) => {
                if let Some(place) = self.places.get_mut(seat.index()) {
                    place.line.expedite(priority, id);
                }
            }
            At::Held => {
                if let Some(name) = self.names.get_mut(usize::from(task.name)) {
                    name.held.expedite(priority, id);
                }
            }
        }
    }

    /// Marks every waiting task whose reply says so as awaited, and no other.
    pub(crate) fn expedite_where(&mut self, mut awaited: impl FnMut(&R) -> bool) {
        self.awaited.clear();
        let lines = self.places.iter_mut().map(|place| &mut place.line);
        let held = self.names.iter_mut().map(|name| &mut name.held);
        lines.chain(held).for_each(Line::forget_awaited);
        for id in self.all_waiting() {
            if let Some(task) = self.tasks.get(id.get())
                && awaited(&task.reply)
            {
                self.mark(id);
            }
        }
    }
}
