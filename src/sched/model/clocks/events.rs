//! What may happen next.

use std::time::Duration;

use super::{Event, WORKERS, World, due::Known};
use crate::{sched::model::Run, task::TimeLimits};

impl World {
    pub(super) fn event(&self, run: &mut Run<Event>) -> Event {
        let random = &mut run.random;
        let all: Vec<u64> = self.tasks.keys().copied().collect();
        let sent = |known: &&Known| known.sent.is_some();
        let of = |wanted: &dyn Fn(&Known) -> bool| -> Vec<u64> {
            let known = self
                .tasks
                .iter()
                .filter(|(_, known)| sent(known) && wanted(known));
            known.map(|(id, _)| *id).collect()
        };
        let fresh = of(&|known| known.started.is_none());
        let untold = of(&|known| known.started.is_none() && known.untold.is_some());
        let said = of(&|known| known.said);
        let started = of(&|known| known.started.is_some());
        let ending = of(&|known| known.cancelled || known.over.is_some());
        let worker = random.below(WORKERS as usize) as u32;
        let found = match random.below(100) {
            0..=24 => {
                let mut limit = |most: usize| {
                    let millis = random.between(1, most) as u64;
                    random.odds(1, 2).then(|| Duration::from_millis(millis))
                };
                let limits = TimeLimits {
                    total: limit(3000),
                    queue: limit(300),
                    run: limit(300),
                };
                Some(Event::Submit(limits, random.odds(1, 2)))
            }
            25..=29 => {
                let millis = random.between(1, 300) as u64;
                let run = random.odds(2, 3).then(|| Duration::from_millis(millis));
                Some(Event::SubmitMany(run, random.between(2, 6) as u32))
            }
            30..=44 => Some(Event::Send(worker)),
            45..=53 => random.pick(&fresh).map(Event::Start),
            54 => random.pick(&said).map(Event::Start),
            55..=59 => {
                let millis = random.between(0, 400) as u64;
                random.pick(&untold).map(|id| Event::Says(id, millis))
            }
            60..=69 => random.pick(&started).map(Event::Finish),
            70..=74 => random.pick(&ending).map(Event::EndAsAsked),
            75..=77 => random.pick(&fresh).map(Event::Refuse),
            78..=80 => random.pick(&fresh).map(Event::GiveBack),
            81..=83 => random.pick(&all).map(|id| Event::Cancel(id, id % 2 == 0)),
            84 => Some(Event::Lose(worker)),
            _ => None,
        };
        found.unwrap_or_else(|| Event::Passes(random.between(1, 120) as u64))
    }
}
