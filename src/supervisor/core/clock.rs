//! Tasks that are over their time limits, and those whose time to run again has come.
//!
//! Belongs here: when somebody has to look, and what becomes of those tasks. Does not belong here: waiting for that time.
//! Invariant: whoever keeps the time is woken when an earlier one matters than it waits for, and for nothing else.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use crate::{
    error::TimeoutEnd,
    sched::{Expired, Seat, Ticket},
    supervisor::{
        PoolCore,
        core::{
            After, EndedFor, State,
            reported::{ended_waiting, timed_out},
        },
    },
    task::keep,
};

/// Who keeps the time.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    waker: Option<Waker>,
    /// Until when it sleeps.
    armed: Option<Instant>,
}

impl State {
    /// Wakes whoever keeps the time, if it sleeps for too long. The waker is this crate's own and may be woken under the lock.
    pub(super) fn set_alarm(&mut self) {
        let due = self.ledger.next_due();
        if let Some(due) = due
            && self.alarm.armed.is_none_or(|armed| due < armed)
        {
            // Once: it looks again before it sleeps.
            self.alarm.armed = Some(due);
            if let Some(waker) = &self.alarm.waker {
                waker.wake_by_ref();
            }
        }
    }
}

impl PoolCore {
    /// Nobody keeps the time any more.
    pub(crate) fn forget_alarm(&self) {
        let alarm = std::mem::take(&mut self.lock().alarm);
        drop(alarm);
    }

    /// A worker says that it polls a task, for so long by now.
    pub(crate) fn polls(&self, seat: Seat, ticket: Ticket, lasted: Duration) {
        let mut state = self.lock();
        let now = Instant::now();
        if let Some(since) = now.checked_sub(lasted) {
            state.ledger.polls(seat, ticket, since, now);
            state.set_alarm();
        }
    }

    /// Ends the tasks that are over their limits by now, and lets those run again whose time has come. Returns when to look again; `waker` is woken when that is earlier.
    pub(crate) fn expire(&self, waker: &Waker) -> Option<Instant> {
        let mut after = After::default();
        let (due, old) = {
            let mut guard = self.lock();
            let state = &mut *guard;
            let now = Instant::now();
            let mut any = false;
            while let Some(expired) = state.ledger.expire(now) {
                any = true;
                match expired {
                    Expired::Waiting { reply, over, ran } => {
                        after.settle(state, reply, ended_waiting(over, ran));
                    }
                    Expired::Flight {
                        seat,
                        ticket,
                        first,
                        reply,
                    } => {
                        if first {
                            state.begin_ladder(seat, ticket, EndedFor::TimedOut, None);
                        } else {
                            state.raise_ladder(seat, ticket);
                        }
                        if let Some((reply, over)) = reply {
                            after.settle(state, reply, timed_out(over, TimeoutEnd::Unfinished));
                        }
                    }
                    Expired::Asked { seat, ticket } => state.ask_back(seat, ticket),
                    Expired::Untold { seat } => state.ask_what_runs(seat),
                }
            }
            if state.ledger.release(now) {
                any = true;
                self.requeued(state);
            }
            any |= state.ledger.look(now);
            if any {
                self.freed(state, &mut after);
            }
            let due = state.ledger.next_due();
            state.alarm.armed = due;
            (due, keep(&mut state.alarm.waker, waker))
        };
        drop(old);
        self.finish(after);
        // What is due now and was not is another turn's.
        due.map(|due| due.max(Instant::now() + Duration::from_micros(100)))
    }
}
