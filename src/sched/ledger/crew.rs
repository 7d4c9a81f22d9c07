//! The workers that quick tasks are sent to, where there are more workers than CPUs.
//!
//! Belongs here: who they are, and until when a task waits for one of them. Does not belong here: which task is next, and who
//! gets it that is not quick.
//! Invariants: nobody waits for the crew but while a look is due; whoever is sent a task by it may be sent that.
//!
//! A worker that is woken for some quick tasks finds the caches full of what others had there, and needs a CPU that others use. Where
//! as many are awake as there are CPUs this costs more than to wait for one of those, which takes a fraction of a
//! millisecond. So they get all quick tasks, and the others sleep until one of them has something else to do, or is stuck.
//!
//! ```text
//!             chosen for a quick task,            has work that takes long, takes none, or
//!             while the crew is not full          has said nothing from one look to the next
//!   others ───────────────────────────────▶ crew ─────────────────────────────────────────────▶ others
//!
//!   a quick task: of a full crew somebody has room, or of one that is not somebody nothing to do ──▶ goes there
//!                 the crew is full, and nobody has room ──▶ waits; a look is due, unless one is
//!                 else ──▶ goes where any task would
//! ```

use std::time::{Duration, Instant};

use crate::{
    sched::ledger::{
        Divide, Entry, Ledger, ReadAhead, Work, assign::Choice, bundle::PART, place::Place,
    },
    task::TaskId,
};

/// For bundles, of which each is worth to be woken for, it has so many members for each CPU: enough that one is always about to
/// run while the host does.
const BUNDLED: usize = 4;

/// For so long somebody of the crew may say nothing while tasks wait for it. Somewhat more than what was sent ahead may take; an
/// event loop's timers are not finer.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    index: usize,
    epoch: u64,
}

/// Who is sent quick tasks.
#[derive(Debug, Default)]
pub(super) struct Crew {
    members: Vec<Member>,
    /// When those are looked at for which tasks wait.
    look: Option<Instant>,
}

/// Where a task goes, as far as the crew has a say in it.
#[derive(Debug)]
pub(super) enum Called {
    To(Choice),
    /// Nowhere now.
    Wait,
    /// Where any task would.
    Any,
}

impl Member {
    fn place<'a>(&self, places: &'a [Place]) -> Option<&'a Place> {
        let place = places.get(self.index);
        place.filter(|place| place.epoch == self.epoch)
    }
}

impl Crew {
    /// Those of its members that such a task is for, and whether nobody else is called for it.
    fn called(&self, places: &[Place], several: bool, most: &ReadAhead) -> (&[Member], bool) {
        if several {
            let full = BUNDLED.saturating_mul(most.cpus);
            let called = self.members.get(..full);
            return (called.unwrap_or(&self.members), called.is_some());
        }
        let (mut room, enough) = (0, most.room.saturating_mul(most.cpus));
        for (nth, member) in self.members.iter().enumerate() {
            let place = member.place(places);
            room += place.map_or(0, |place| place.credits.limit() as usize);
            if nth + 1 >= most.cpus && room >= enough {
                let called = self.members.get(..=nth);
                return (called.unwrap_or(&self.members), true);
            }
        }
        (&self.members, false)
    }

    /// When somebody has to look.
    pub(super) fn due(&self) -> Option<Instant> {
        self.look
    }
}

impl Place {
    /// Whether all that it has is quick, and it may be sent more of that.
    fn is_quick(&self, most: &ReadAhead) -> bool {
        self.open
            && !self.quarantine
            && self.quota != Some(0)
            && !self.credits.is_exclusive()
            && self.work <= most.nanos()
    }

    /// Whether tasks of this name are known to be quick here.
    fn is_quick_with(&self, name: u16, most: &ReadAhead) -> bool {
        let pace = self.paces.get(usize::from(name)).copied().flatten();
        pace.is_some_and(|pace| u64::from(pace) <= most.nanos() / PART)
    }
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// Whether quick tasks have a crew, and this could be one of them.
    fn has_crew(&self, task: &Entry<P, R>, most: &ReadAhead) -> bool {
        let limited = task.count > 1 && self.is_limited(task.name);
        let not = limited || task.terms.exclusive || self.router.is_custom();
        !not && self.places.len() > most.cpus
    }

    /// How long a task of this name takes at most where several that are one may go, as far as that is known.
    pub(super) fn slowest(&self, name: u16, most: &ReadAhead) -> Option<u32> {
        let pace = |place: &Place| place.paces.get(usize::from(name)).copied().flatten();
        let (called, full) = self.crew.called(&self.places, true, most);
        if full && self.places.len() > called.len() {
            // Others were asleep since they ran some in cold caches.
            let called = called.iter();
            let places = called.filter_map(|member| member.place(&self.places));
            return places.filter_map(pace).max();
        }
        let places = self.places.iter();
        let serving = places.filter(|place| place.open && place.serves());
        serving.filter_map(pace).max()
    }

    /// Where a task without a key goes, or several that are one.
    pub(super) fn pick_of_crew(
        &mut self,
        id: TaskId,
        awaited_only: bool,
        now: impl Fn() -> Instant,
    ) -> Called {
        let (Some(most), Some(task)) = (self.ahead.as_ref(), self.tasks.get(id.get())) else {
            return Called::Any;
        };
        if !self.has_crew(task, most) {
            return Called::Any;
        }
        let places = &self.places;
        let crew = &mut self.crew;
        let quick = |member: &Member| {
            let place = member.place(places);
            place.is_some_and(|place| place.is_quick(most))
        };
        crew.members.retain(quick);
        let (called, full) = crew.called(places, task.count > 1, most);
        let admits = |place: &Place| {
            let ahead = task.count > 1 || task.terms.is_sent_ahead();
            let bytes = task.bytes as usize;
            (task.count == 1 && place.admits(false)
                || ahead && place.admits_ahead(task.name, bytes, task.count, most))
                && !place.is_reserved(awaited_only)
        };
        let mut best: Option<(u64, usize)> = None;
        for member in called {
            let Some(place) = member.place(places) else {
                continue;
            };
            if !place.is_quick_with(task.name, most) {
                return Called::Any;
            }
            if admits(place) && best.is_none_or(|(least, _)| place.work < least) {
                best = Some((place.work, member.index));
            }
        }
        match best {
            Some((work, index)) if full || work == 0 => Called::To((index, None)),
            None if full => {
                let is_other = |(index, place): (usize, &Place)| {
                    let mut called = called.iter();
                    admits(place) && called.all(|member| member.index != index)
                };
                // Who would wait for others to come waits as ever.
                if !places.iter().enumerate().any(is_other) {
                    return Called::Any;
                }
                crew.look.get_or_insert_with(|| now() + LOOK);
                Called::Wait
            }
            _ => Called::Any,
        }
    }

    /// Somebody was chosen for a task without a key, or several that are one, and has not been sent it yet.
    pub(super) fn recruit(&mut self, id: TaskId, (index, _): &Choice) {
        let (Some(most), Some(task)) = (self.ahead.as_ref(), self.tasks.get(id.get())) else {
            return;
        };
        if !self.has_crew(task, most) {
            return;
        }
        let (_, full) = self.crew.called(&self.places, task.count > 1, most);
        let Some(place) = self.places.get_mut(*index).filter(|_| !full) else {
            return;
        };
        let member = Member {
            index: *index,
            epoch: place.epoch,
        };
        if place.is_quick(most)
            && place.is_quick_with(task.name, most)
            && !self.crew.members.contains(&member)
        {
            place.heard = true;
            self.crew.members.push(member);
        }
    }

    /// Looks at the crew, if that is due. Returns whether it was: tasks may go on.
    pub(crate) fn look(&mut self, now: Instant) -> bool {
        if self.crew.look.is_none_or(|look| look > now) {
            return false;
        }
        self.crew.look = None;
        let (places, favourite) = (&mut self.places, &mut self.favourite);
        self.crew.members.retain(|member| {
            let place = places.get_mut(member.index);
            let Some(place) = place.filter(|place| place.epoch == member.epoch) else {
                return false;
            };
            let heard = std::mem::take(&mut place.heard) || place.credits.used() == 0;
            if !heard {
                favourite.take_if(|favourite| favourite.is(member.index));
            }
            heard
        });
        true
    }

    /// Whether tasks wait for the crew.
    #[cfg(test)]
    pub(crate) fn waits_for_crew(&self) -> bool {
        self.crew.look.is_some()
    }
}
