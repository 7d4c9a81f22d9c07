//! Tasks on their way out.
//!
//! Belongs here: every reason for which a task settles, and counting it. Does not belong here: what the outcome means to
//! whoever asked.
//! Invariant: a reply leaves the ledger and is delivered by the same call; one that panics harms no other.

use std::{task::Waker, time::Instant};

use bytes::Buf as _;

use crate::{
    error::{Rejected, TimeoutEnd, capture},
    observe::{Counts, PoolEvent, log},
    sched::{Cancelled, Finished, Seat, Ticket, Violation},
    supervisor::{
        PoolCore,
        core::{
            After, EndedFor, Event, State, in_the_fall_of_a_routing,
            reported::{ended_waiting, timed_out},
        },
        jitter,
        reply::{Reply, Settled},
    },
    task::{Slot, TaskId},
    wire::run,
};

impl PoolCore {
    /// Somebody wants a task to end. With `abandon` nobody waits for it any more.
    pub(crate) fn cancel(&self, id: TaskId, abandon: bool) {
        if in_the_fall_of_a_routing() {
            return;
        }
        let mut after = After::default();
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            let over_at = state.ledger.over_at(id, Instant::now);
            match state.ledger.cancel(id, abandon) {
                Cancelled::Queued { reply, ran } => {
                    after.settle(state, reply, Settled::Cancelled { started: ran });
                }
                Cancelled::Flight {
                    seat,
                    ticket,
                    reply,
                    first,
                } => {
                    if first {
                        state.begin_ladder(seat, ticket, EndedFor::Cancelled, over_at);
                    }
                    if let Some(reply) = reply {
                        after.settle(state, reply, Settled::Cancelled { started: true });
                    }
                }
                Cancelled::Unknown => return,
            }
            if !after.is_empty() {
                self.freed(state, &mut after);
            }
        }
        self.finish(after);
    }

    /// Settles a cancelled task whose worker has not ended it within the grace.
    pub(crate) fn abandon(&self, seat: Seat, ticket: Ticket) {
        let mut after = After::default();
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            let over = state.ledger.over(seat, ticket);
            if let Some((_, reply)) = state.ledger.abandon(seat, ticket) {
                let cancelled = Settled::Cancelled { started: true };
                let settled =
                    over.map_or(cancelled, |over| timed_out(over, TimeoutEnd::Unfinished));
                after.settle(state, reply, settled);
                self.freed(state, &mut after);
            }
        }
        self.finish(after);
    }

    /// Takes note of what a worker has reported, in its order, up to the first thing that no honest worker does.
    pub(crate) fn apply(
        &self,
        worker: (Slot, Seat),
        events: &mut Vec<Event>,
    ) -> Result<u64, Violation> {
        let mut after = After::default();
        let mut verdict = Ok(());
        let work = {
            let mut guard = self.lock();
            let state = &mut *guard;
            let (slot, seat) = worker;
            let mut done = 0;
            let mut revoked = false;
            for event in events.drain(..) {
                let applied = match event {
                    Event::Started(ticket) => state.ledger.started(seat, ticket).map(|id| {
                        state.ledger.runs(id, Instant::now);
                        None
                    }),
                    Event::Quiet(name, quiet) => {
                        state.ledger.quiet(seat, name, quiet).map(|()| None)
                    }
                    Event::Pace(name, nanos) => {
                        state.ledger.paced(seat, name, nanos).map(|()| None)
                    }
                    Event::SlowPoll { name, took, ended } => {
                        if self.config.concurrency > 1
                            && let Some(waiting) = state.ledger.slow_poll(seat, name, ended)
                        {
                            after.events.push(PoolEvent::SlowPoll {
                                task: self.config.table.name(name),
                                slot,
                                took,
                                waiting,
                            });
                        }
                        Ok(None)
                    }
                    Event::Revoked(ticket) => {
                        revoked = true;
                        let settled = state.ended_for(seat, ticket, false);
                        state
                            .ledger
                            .revoked(seat, ticket)
                            .map(|reply| reply.map(|reply| (reply, settled)))
                    }
                    Event::Dropped { ticket, started } => {
                        let settled = state.ended_for(seat, ticket, started);
                        state
                            .ledger
                            .dropped(seat, ticket, started)
                            .map(|reply| reply.map(|reply| (reply, settled)))
                    }
                    Event::Expired(ticket) => {
                        let ran = state.ledger.had_run(seat, ticket);
                        let expired = state.ledger.expired(seat, ticket, Instant::now);
                        expired
                            .map(|left| left.map(|(reply, over)| (reply, ended_waiting(over, ran))))
                    }
                    Event::Finished(ticket, mut settled) => {
                        let finished = match settled {
                            Settled::Cancelled { started } => {
                                settled = state.ended_for(seat, ticket, started);
                                state.ledger.cancelled(seat, ticket, started)
                            }
                            _ => state.ledger.finished(seat, ticket),
                        };
                        finished.map(|finished| {
                            done += 1;
                            match finished {
                                Finished::Settle(reply) => Some((reply, settled)),
                                Finished::Abandoned | Finished::Again => None,
                            }
                        })
                    }
                    Event::FinishedRun(ticket, tasks, values) => {
                        let (mut rest, mut taken) = (values, 0);
                        let ledger = &mut state.ledger;
                        let counts = &mut state.counts;
                        let finished = ledger.finished_run(seat, ticket, tasks, |reply, range| {
                            // In order: what lies between two was abandoned.
                            let skipped = run::length(&rest, range.start - taken);
                            rest.advance(skipped);
                            let length = run::length(&rest, range.end - range.start);
                            taken = range.end;
                            counts.done += u64::from(range.end - range.start);
                            after.runs.push((reply, rest.split_to(length)));
                        });
                        done += u64::from(tasks);
                        finished.map(|()| None)
                    }
                    Event::Failed(ticket, error) => {
                        let ledger = &mut state.ledger;
                        let failed = ledger.failed(seat, ticket, Instant::now, jitter::random);
                        failed.map(|failed| {
                            done += 1;
                            match failed {
                                Finished::Settle(reply) => Some((reply, Settled::Failed(error))),
                                Finished::Abandoned => None,
                                Finished::Again => {
                                    state.counts.retried += 1;
                                    None
                                }
                            }
                        })
                    }
                };
                match applied {
                    Ok(None) => {}
                    Ok(Some((reply, settled))) => {
                        after.settle(state, reply, settled);
                    }
                    Err(violation) => {
                        verdict = Err(violation);
                        break;
                    }
                }
            }
            if let Some(total) = state.done.get_mut(slot.index() as usize) {
                *total += done;
            }
            if revoked {
                self.requeued(state);
            }
            self.freed(state, &mut after);
            state.ledger.work(seat)
        };
        self.finish(after);
        verdict.map(|()| work)
    }

    /// Does what must not be done under the lock. A reply that panics harms no other.
    pub(super) fn finish(&self, after: After) {
        // Woken when all have what they wait for: a caller on another thread that wants several wakes once.
        let (mut first, mut others) = (None, after.wake);
        let mut wake_later = |handed_over: Option<Option<Waker>>| match handed_over {
            // Most of the time there is one, for which no room is allocated.
            Some(waits) if first.is_none() => first = waits,
            Some(waits) => others.extend(waits),
            None => log(|| tracing::error!("a reply panicked while it was settled")),
        };
        for (id, reply, settled) in after.deliveries {
            if let Some(id) = id {
                log(|| tracing::trace!(task = id.get(), "settled with its worker or pool"));
            }
            wake_later(capture::contained(|| reply.settle(settled, &self.results)));
        }
        for (reply, values) in after.runs {
            wake_later(capture::contained(|| {
                reply.settle_run(&values, &self.results)
            }));
        }
        for waker in first.into_iter().chain(others) {
            let _ = capture::contained(|| waker.wake());
        }
        for event in after.events {
            self.control.emit(event);
        }
        if let Some(replaced) = after.replaced {
            self.say_replaced(replaced);
        }
    }
}

impl After {
    /// A reply leaves with its outcome.
    pub(super) fn settle(&mut self, state: &mut State, reply: Reply, settled: Settled) {
        self.settle_as(state, None, reply, settled);
    }

    /// The same for a task that goes with its worker or its pool, which the log is told.
    pub(super) fn settle_lost(
        &mut self,
        state: &mut State,
        id: TaskId,
        reply: Reply,
        settled: Settled,
    ) {
        self.settle_as(state, Some(id), reply, settled);
    }

    fn settle_as(&mut self, state: &mut State, id: Option<TaskId>, reply: Reply, settled: Settled) {
        let settled = match settled {
            // The pool's end cancelled it, not its caller.
            Settled::Cancelled { started: false } if state.ending => {
                Settled::rejected(Rejected::Closed)
            }
            settled => settled,
        };
        count(&mut state.counts, &settled, reply.tasks());
        self.deliveries.push((id, reply, settled));
    }

    /// A reply leaves that was never accepted.
    pub(super) fn refuse(&mut self, reply: Reply, settled: Settled) {
        self.deliveries.push((None, reply, settled));
    }

    fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }
}

fn count(counts: &mut Counts, settled: &Settled, tasks: u32) {
    let counter = match settled {
        Settled::Done(_) => &mut counts.done,
        Settled::Failed(_) => &mut counts.failed,
        Settled::Panicked(_) => &mut counts.panicked,
        Settled::Cancelled { .. } => &mut counts.cancelled,
        Settled::TimedOut(_) => &mut counts.timed_out,
        Settled::WorkerLost(_) => &mut counts.lost,
        Settled::Rejected(_) => &mut counts.rejected,
        Settled::Codec(_) => &mut counts.codec,
    };
    *counter += u64::from(tasks);
}
