//! A ready worker that does not go on.
//!
//! Belongs here: what is said of it, and its end if it is to have one. Does not belong here: when it is asked.
//! Invariant: a worker is killed for a poll only when two answers in a row have said that it stalls, and what had not started
//! there was asked back in between.

use std::time::{Duration, Instant};

use crate::{
    observe::PoolEvent,
    sched::Ticket,
    supervisor::{
        pulse::{Beat, Stall},
        session::{Running, Why},
    },
};

impl Running<'_> {
    /// Asks the worker for a sign of life when one is due.
    pub(super) fn beat(&mut self, now: Instant) {
        if self.why.is_some() {
            return;
        }
        match self.pulse.due(now) {
            None => {}
            Some(Beat::Ask) => {
                self.it_lives();
                self.ask();
            }
            Some(Beat::Stalled(stall)) => {
                self.say_stalled(stall, None);
                if self.session.core.config.knobs.kill_stalled {
                    let detail = format!("it had not answered for {:.1?}", stall.lasted);
                    self.kill(Why::Stalled {
                        guilty: None,
                        detail,
                    });
                }
            }
        }
    }

    /// Takes note of what the worker says of its loop.
    pub(super) fn take_pulse(&mut self, running: Option<(u64, u64)>) {
        let running = running.map(|(ticket, micros)| (ticket, Duration::from_micros(micros)));
        let stall = self.pulse.answered(running, Instant::now());
        let (core, seat) = (self.session.core, self.session.attached.seat);
        let stalls = stall.and_then(|stall| {
            let task = core.in_flight_as(seat, stall.ticket?)?;
            Some((stall, stall.ticket?, task))
        });
        let Some((stall, ticket, task)) = stalls else {
            self.stalled = None;
            self.mind_the_seat();
            return;
        };
        if stall.new {
            self.say_stalled(stall, Some(task));
        }
        if !core.config.knobs.kill_stalled || self.why.is_some() {
            return;
        }
        // The two numbers of an answer may be of two polls, which those of the next are not again.
        if self.stalled.replace(ticket).is_none() {
            self.mind_the_seat();
            self.ask_back();
            self.ask();
        } else {
            let (name, id) = task;
            let detail = format!(
                "one poll of task {:?} (id {}) had held its event loop for {:.1?}",
                name,
                id.get(),
                stall.lasted
            );
            self.kill(Why::Stalled {
                guilty: Some(ticket),
                detail,
            });
        }
    }

    /// Tasks have ended.
    pub(super) fn goes_on(&mut self) {
        let (core, seat) = (self.session.core, self.session.attached.seat);
        let gone = |ticket: &mut Ticket| core.in_flight_as(seat, *ticket).is_none();
        if self.stalled.take_if(gone).is_some() {
            self.mind_the_seat();
        }
    }

    fn say_stalled(&self, stall: Stall, task: Option<(&'static str, crate::task::TaskId)>) {
        self.session.core.control.emit(PoolEvent::WorkerStalled {
            worker: self.session.worker,
            task: task.map(|(name, _)| name),
            id: task.map(|(_, id)| id),
            lasted: stall.lasted,
        });
    }
}
