//! What a ready worker says on its data connection: results above all.
//!
//! Belongs here: frames that come, and what the core makes of them. Does not belong here: what follows a violation; what is
//! sent.
//! Invariant: nothing a worker sends is stored before it is known to be due.

use std::{
    io,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    sched::{Ticket, Violation},
    supervisor::{
        core::Event,
        reply::Settled,
        session::{
            Running,
            outcome::{settled, violation},
            partial::Partial,
        },
    },
    wire::{AssemblyError, Outcome, Whole, WorkerFrame, copied, run},
};

/// How much is read before others on the arbiter get a turn.
const READ_TURN: usize = 1024 * 1024;

/// How many events are applied in one lock: small frames, panics above all, are a hundred times as large in memory.
const MAX_EVENTS: usize = 1024;

impl Running<'_> {
    /// Reads and applies what is there. Returns whether there may be more.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, String> {
        let mut total = 0;
        while total < READ_TURN {
            let data = &self.session.data;
            let space = self.assembly.space(&mut self.session.reader);
            let read = if self.exit.is_some() {
                data.poll_left(cx, space)
            } else {
                data.poll_read(cx, space)
            };
            match read {
                Poll::Pending => {
                    // All that a dead worker has written has been read; what it forked may hold the connection open.
                    self.data_ended = self.exit.is_some() && data.left_is_all();
                    return Ok(false);
                }
                Poll::Ready(Ok(0)) => {
                    self.data_ended = true;
                    return Ok(false);
                }
                Poll::Ready(Err(error)) => {
                    self.data_ended = true;
                    // A local socket is reset behind all that came, when its peer ends without having read everything. What
                    // any other error has swallowed nobody knows.
                    self.broken |= error.kind() != io::ErrorKind::ConnectionReset;
                    return Ok(false);
                }
                Poll::Ready(Ok(bytes)) => {
                    total += bytes;
                    self.pulse.lives(Instant::now);
                    let open = self.assembly.is_open();
                    let whole = self.assembly.filled(bytes, &mut self.session.reader);
                    if let Some((ticket, whole)) = whole.map_err(in_parts)? {
                        self.ended(ticket, whole)?;
                    }
                    self.digest(usize::from(open && !self.assembly.is_open()))?;
                }
            }
        }
        Ok(true)
    }

    /// Applies what was read, and takes note of whether a frame is incomplete. So many were completed already.
    pub(super) fn digest(&mut self, completed: usize) -> Result<(), String> {
        let frames = completed + self.parse()?;
        if !self.session.reader.is_partial() && !self.assembly.is_open() {
            self.partial = None;
        } else if frames > 0 || self.partial.is_none() {
            // Bytes that complete no frame buy it no time.
            self.partial = Some(Partial {
                since: Instant::now(),
                asked: None,
            });
        }
        Ok(())
    }

    /// Takes the whole frames out of the buffer and applies them. Returns how many there were.
    pub(super) fn parse(&mut self) -> Result<usize, String> {
        let mut frames = 0;
        let taken = self.take_frames(&mut frames);
        // What was said before a violation counts: those results are there.
        self.apply()?;
        taken.map(|()| frames)
    }

    pub(super) fn take_frames(&mut self, frames: &mut usize) -> Result<(), String> {
        let (core, seat) = (self.session.core, self.session.attached.seat);
        let due = |ticket| core.expects(seat, ticket).map_err(violation);
        loop {
            if self.events.len() >= MAX_EVENTS {
                self.apply()?;
            }
            let frame = self.session.reader.frame();
            let Some((header, tail)) = frame.map_err(|fault| fault.to_string())? else {
                return Ok(());
            };
            *frames += usize::from(tail.more == 0);
            let whole = match header {
                WorkerFrame::Started { ticket } => {
                    self.events.push(Event::Started(ticket));
                    continue;
                }
                WorkerFrame::Quiet { name, quiet } => {
                    self.allowance.quiet()?;
                    let own = self.known(name)?;
                    self.events.push(Event::Quiet(own, quiet));
                    continue;
                }
                WorkerFrame::Pace { name, nanos } => {
                    self.allowance.pace()?;
                    let own = self.known(name)?;
                    self.events.push(Event::Pace(own, nanos));
                    continue;
                }
                WorkerFrame::SlowPoll {
                    name,
                    micros,
                    ended,
                } => {
                    self.allowance.slow_poll()?;
                    self.events.push(Event::SlowPoll {
                        name: self.known(name)?,
                        took: Duration::from_micros(micros),
                        ended,
                    });
                    continue;
                }
                WorkerFrame::Lag { micros } if core.config.knobs.concurrency.is_adaptive() => {
                    self.allowance.lag(self.born.elapsed())?;
                    self.apply()?;
                    core.lagged(seat, Duration::from_micros(micros));
                    continue;
                }
                WorkerFrame::Result {
                    ticket,
                    outcome,
                    attachments,
                    rest,
                } => {
                    if rest > 0 {
                        // Before a byte of it is kept. The ledger does not know yet what has just been read.
                        let ended = |event: &Event| {
                            event.ended().is_some_and(|(first, tasks)| {
                                (first..first.saturating_add(tasks.into())).contains(&ticket)
                            })
                        };
                        if self.events.iter().any(ended) {
                            return Err(violation(Violation::SettledTicket(ticket)));
                        }
                        due(ticket)?;
                    }
                    self.assembly
                        .first(ticket, outcome, attachments, rest, tail)
                        .map(|whole| whole.map(|whole| (ticket, whole)))
                }
                WorkerFrame::Results { ticket, results } => {
                    let _ = run::values(tail.here(), results)?;
                    self.allowance.finished(results);
                    let values = copied(tail.here());
                    self.events
                        .push(Event::FinishedRun(ticket, results, values));
                    continue;
                }
                WorkerFrame::Part { ticket } => {
                    let whole = self.assembly.part(ticket, tail);
                    whole.map(|whole| whole.map(|whole| (ticket, whole)))
                }
                WorkerFrame::Offer(_)
                | WorkerFrame::Ready
                | WorkerFrame::Failed { .. }
                | WorkerFrame::Item { .. }
                | WorkerFrame::Lag { .. }
                | WorkerFrame::Progress { .. } => {
                    return Err("a frame that is not due".to_owned());
                }
            };
            if let Some((ticket, whole)) = whole.map_err(in_parts)? {
                self.ended(ticket, whole)?;
            }
        }
    }

    /// All of what a worker says of a task that has ended is there.
    fn ended(&mut self, ticket: Ticket, (outcome, payload): Whole<Outcome>) -> Result<(), String> {
        self.allowance.finished(1);
        self.events.push(match outcome {
            Outcome::Expired => Event::Expired(ticket),
            Outcome::Failed { transient: true } => Event::Failed(ticket, payload),
            outcome => match settled(&outcome, payload)? {
                Settled::Cancelled { started } if self.why.is_some() => {
                    Event::Dropped { ticket, started }
                }
                settled => Event::Finished(ticket, settled),
            },
        });
        Ok(())
    }

    /// The host's number of a name that the worker has another for. It may have more names, but was sent no task of those.
    fn known(&self, name: u16) -> Result<u16, String> {
        let mut known = self.session.indexes.iter().zip(0..);
        let own = known.find(|(index, _)| **index == name);
        own.map(|(_, own)| own)
            .ok_or_else(|| violation(Violation::UnknownName(name)))
    }

    /// Hands events to the core, in one lock.
    pub(super) fn apply(&mut self) -> Result<(), String> {
        if self.events.is_empty() {
            return Ok(());
        }
        let ended = self.events.iter().filter_map(Event::ended);
        let ended: usize = ended.map(|(_, tasks)| tasks as usize).sum();
        let (core, slot) = (self.session.core, self.session.slot);
        let seat = self.session.attached.seat;
        if ended > 0 {
            self.weigh();
        }
        let applied = core.apply((slot, seat), &mut self.events);
        self.work = applied.map_err(violation)?;
        if ended > 0 {
            self.done += u64::try_from(ended).unwrap_or(0);
            self.with_worker = self.with_worker.saturating_sub(ended);
            if self.with_worker == 0 {
                self.pulse.rests();
                self.memory.rests();
            }
            self.mind_the_limit();
            self.goes_on();
            core.control.healthy(slot, self.session.birth.life);
            if !self.ladder.is_empty() {
                self.ladder
                    .retain(|ticket| core.ending(seat, ticket).is_some());
                self.kill_if_held();
                self.end_if_alone();
                self.mind_the_seat();
            }
        }
        Ok(())
    }
}

fn in_parts(error: AssemblyError) -> String {
    format!("a value that cannot be put together: {error:?}")
}
