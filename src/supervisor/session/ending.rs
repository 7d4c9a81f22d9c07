//! How a ready worker comes to its end.
//!
//! Belongs here: who ends it and why, the steps and their times, when it has ended for good. Does not belong here: what
//! its tasks are told, and what follows.
//! Invariant: the first reason is the one that is reported.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    error::{Vitals, signal},
    observe::{RetireReason, SlotState},
    sched::Ticket,
    supervisor::{
        ladder::{HELD, Reach, Step},
        proxy::ReplaceWorker,
        session::{Command, Ended, Running, Why},
    },
    wire::ControlToWorker,
};

/// How long the second sign of an end may follow the first.
pub(super) const CLOSING: Duration = Duration::from_millis(50);

/// How long the others in a worker have that is to end for one of them.
const NEIGHBOURS: Duration = Duration::from_secs(5);

impl Running<'_> {
    /// Whether the worker is being killed: nothing it says counts any more.
    pub(super) fn is_killed(&self) -> bool {
        !matches!(self.why, None | Some(Why::Asked | Why::Retired))
    }

    /// No new tasks for a worker that is to end.
    fn close(&self, state: SlotState) {
        let (core, birth) = (self.session.core, self.session.birth);
        core.retire_seat(self.session.attached.seat);
        core.control.life(birth.slot, birth.life, |record| {
            record.state = state;
        });
    }

    /// Asks for another worker in the place of this one. It serves until it is told to retire.
    pub(super) fn ask_for_replacement(&mut self, reason: RetireReason) {
        let birth = self.session.birth;
        // What is there for suspects is replaced when some of them wait.
        if birth.slot.is_quarantine() {
            return;
        }
        if let Some(supervisor) = birth.supervisor.upgrade()
            && self.asked.replace(reason) != Some(reason)
        {
            supervisor.do_send(ReplaceWorker {
                slot: birth.slot,
                life: birth.life,
                reason,
            });
        }
    }

    /// A worker that may start no more tasks is of no use.
    pub(super) fn ask_if_spent(&mut self) {
        let core = self.session.core;
        if self.asked != Some(RetireReason::MaxTasks)
            && core.config.knobs.max_tasks.is_some()
            && core.is_spent(self.session.attached.seat)
        {
            self.ask_for_replacement(RetireReason::MaxTasks);
        }
    }

    /// A worker for suspects leaves when there are none.
    pub(super) fn leave_quarantine(&mut self) {
        let (core, seat) = (self.session.core, self.session.attached.seat);
        if self.session.slot.is_quarantine()
            && self.retiring.is_none()
            && core.retire_idle_quarantine(seat)
        {
            self.retire(RetireReason::Quarantine);
        }
    }

    /// No new tasks; what it has may go on for a while.
    pub(super) fn retire(&mut self, reason: RetireReason) {
        if self.why.is_none() && self.retiring.is_none() {
            let limit = self.session.core.config.knobs.retire_timeout;
            self.retiring = Some((reason, Instant::now() + limit));
            self.close(SlotState::Retiring);
            let (core, birth) = (self.session.core, self.session.birth);
            core.control.life(birth.slot, birth.life, |record| {
                record.leaving = true;
            });
        }
    }

    /// Ends a worker that retires when it has nothing left to do.
    pub(super) fn leave_if_empty(&mut self, now: Instant) {
        let Some((_, until)) = self.retiring else {
            return;
        };
        if self.why.is_some() {
            return;
        }
        if self.session.core.in_flight(self.session.attached.seat) == 0 {
            self.exit(Why::Retired);
        } else if now >= until {
            self.end(Why::Overdue(format!(
                "it was to be replaced, and had tasks left after {:?}",
                self.session.core.config.knobs.retire_timeout
            )));
        }
    }

    /// Asks the worker to end in good order.
    fn exit(&mut self, why: Why) {
        self.why = Some(why);
        self.close(SlotState::Ending);
        self.say(&ControlToWorker::Exit);
        self.session.process.leaves();
        self.kill_at = Some(Instant::now() + self.session.core.config.knobs.grace);
    }

    pub(super) fn kill(&mut self, why: Why) {
        if !self.is_killed() {
            self.why = Some(why);
            self.session.core.control.killed_one();
        }
        self.close(SlotState::Ending);
        self.session.process.kill();
        self.give_up_at
            .get_or_insert_with(|| Instant::now() + Duration::from_secs(1));
    }

    /// It did what no honest worker does. What it has said on its data connection still counts.
    pub(super) fn violated(&mut self, message: String) {
        self.kill(Why::Violation(message));
    }

    /// It said on its data connection what no honest worker says: its bytes cannot be told apart any more.
    pub(super) fn garbled(&mut self, message: String) {
        self.data_ended = true;
        self.garbled = true;
        self.violated(message);
    }

    pub(super) fn take_commands(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(command)) = self.session.commands.poll_recv(cx) {
            match command {
                Command::Begin => {}
                Command::Fail => self.kill(Why::Failed),
                Command::Retire(reason) => self.retire(reason),
                Command::Kill { at_once: true } => self.kill(Why::Operator),
                Command::Kill { at_once: false } => {
                    if self.why.is_none() {
                        self.end(Why::Operator);
                    }
                }
                Command::End { terminate } => {
                    if self.why.is_none() {
                        self.exit(Why::Asked);
                    }
                    if terminate {
                        self.session.process.terminate();
                    }
                }
            }
        }
    }

    /// A task that is to end and holds the loop ends with its worker: one that may take its neighbours along as soon as those
    /// that have not started are back, any other when nobody else is there.
    pub(super) fn kill_if_held(&mut self) {
        let Some(ticket) = self.held else { return };
        let (core, seat) = (self.session.core, self.session.attached.seat);
        let reach = self.ladder.reach(ticket);
        match core.ending(seat, ticket) {
            None => self.hold(None),
            Some(true) if reach == Some(Reach::Nobody) => {}
            Some(alone) if alone || reach == Some(Reach::Everybody) && self.revoking == 0 => {
                let what = self.ladder.what(ticket);
                self.kill(Why::Stuck(format!(
                    "{what} held its event loop for {HELD:?} and longer"
                )));
            }
            Some(_) => {}
        }
    }

    /// Takes the ladder's steps that are due, and everything else that waits for a time.
    pub(super) fn steps(&mut self, now: Instant) {
        let is_killed = self.is_killed();
        let due = self.ladder.due(now);
        // Before its caller hears of one that has not ended, and sends the next.
        if self.ladder.hangs() {
            self.mind_the_seat();
        }
        for step in due {
            match step {
                Step::Ask => self.ask(),
                Step::Expired(ticket) => self
                    .session
                    .core
                    .abandon(self.session.attached.seat, ticket),
            }
        }
        self.end_if_alone();
        self.sacrifice(now);
        self.beat(now);
        self.weigh_if_due(now);
        // Only now: what waits would be sent there, and whoever is to end would not be alone.
        self.mind_the_seat();
        if self.retire_at.is_some_and(|at| now >= at) {
            self.retire_at = None;
            self.ask_for_replacement(RetireReason::MaxAge);
        }
        if self.kill_at.is_some_and(|at| now >= at) {
            self.kill_at = None;
            self.kill(Why::Killed);
        }
        if self.deaf.is_some_and(|at| now >= at)
            && !self.data_ended
            && self.exit.is_none()
            && self.why.is_none()
        {
            self.violated("it closed its data connection for reading and went on".to_owned());
        }
        self.mind_the_frame(now, is_killed);
    }

    /// A task that has not ended within its grace ends with its worker, when nobody else is in that.
    pub(super) fn end_if_alone(&mut self) {
        if self.why.is_some() {
            return;
        }
        let (core, seat) = (self.session.core, self.session.attached.seat);
        let expired = self.ladder.expired(Reach::Alone);
        let alone = |ticket: &Ticket| core.ending(seat, *ticket) == Some(true);
        if let Some(ticket) = expired.into_iter().find(alone) {
            self.end_for(ticket);
        }
    }

    /// The same for one that may take its neighbours along: no new ones come, and those that are there have some time.
    fn sacrifice(&mut self, now: Instant) {
        if self.why.is_some() {
            return;
        }
        let (core, seat) = (self.session.core, self.session.attached.seat);
        let expired = self.ladder.expired(Reach::Everybody);
        let there = |ticket: &Ticket| core.ending(seat, *ticket).is_some();
        let Some(ticket) = expired.into_iter().find(there) else {
            return;
        };
        match self.sacrifice_at {
            None => {
                self.sacrifice_at = Some(now + NEIGHBOURS);
                core.retire_seat(seat);
                if !core.config.one_life {
                    self.ask_for_replacement(RetireReason::Stuck);
                }
            }
            Some(at) if now >= at => self.end_for(ticket),
            Some(_) => {}
        }
    }

    fn end_for(&mut self, ticket: Ticket) {
        let grace = self.session.core.config.knobs.cancel_grace;
        let what = self.ladder.what(ticket);
        self.end(Why::Stuck(format!("{what} had not ended {grace:?} later")));
    }

    /// The last two stages of the ladder.
    fn end(&mut self, why: Why) {
        self.why = Some(why);
        self.session.core.control.killed_one();
        self.close(SlotState::Ending);
        // If the loop is free the shutdown hook runs; if not, nothing but SIGKILL works.
        self.say(&ControlToWorker::Exit);
        self.session.process.terminate();
        self.kill_at = Some(Instant::now() + self.session.core.config.knobs.grace);
    }

    /// The panic that has ended it, if one has.
    fn died_of_panic(&mut self) -> Option<Why> {
        let signal = self.exit.and_then(|exit| exit.signal);
        let (ticket, panic) = self.last_words.take()?;
        if self.why.is_some() || signal != Some(signal::ABORT) {
            // It had thought so.
            return None;
        }
        let (core, seat) = (self.session.core, self.session.attached.seat);
        Some(Why::Panicked {
            guilty: ticket.filter(|ticket| core.in_flight_as(seat, *ticket).is_some()),
            panic,
        })
    }

    /// Says whether the worker has ended for good.
    pub(super) fn closing(&mut self, more: bool, now: Instant) -> Option<Ended> {
        if self.exit.is_none() && !self.data_ended && self.give_up_at.is_none() {
            return None;
        }
        let ended = match (self.exit, self.data_ended) {
            (Some(_), true) => true,
            (Some(_), false) => !more && now >= *self.closing.get_or_insert(now + CLOSING),
            (None, _) if self.is_killed() => self.give_up_at.is_some_and(|at| now >= at),
            (None, true) => {
                if now >= *self.closing.get_or_insert(now + CLOSING) && self.why.is_none() {
                    self.violated("it closed its data connection and went on".to_owned());
                }
                false
            }
            (None, false) => false,
        };
        if !ended {
            return None;
        }
        let by_kernel = self.killed_by_kernel().map(Why::KernelOom);
        let by_panic = self.died_of_panic();
        Some(Ended {
            exit: self.exit,
            unread: self.garbled || self.broken || !self.data_ended,
            why: self
                .why
                .take()
                .or(by_kernel)
                .or(by_panic)
                .unwrap_or(Why::Itself),
            vitals: Vitals {
                resident: self.memory.resident,
                done: self.done,
                ..Vitals::default()
            },
            retired: self.retiring.map(|(reason, _)| reason),
        })
    }
}
