//! The control connection of a ready worker: what the host asks, and what the control thread answers.
//!
//! Belongs here: frames of that connection, and who holds the worker's loop. Does not belong here: ending the worker.
//! Invariant: an answer that was not asked for is a violation.

use std::{
    io::IoSlice,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Buf;

use crate::{
    sched::Ticket,
    supervisor::{core::Event, ladder::HELD, session::Running},
    wire::{ControlFromWorker, ControlToWorker, frame_bytes, parse},
};

impl Running<'_> {
    pub(super) fn say(&mut self, frame: &ControlToWorker) {
        self.allowance.asked(frame);
        if matches!(frame, ControlToWorker::Revoke { .. }) {
            self.revoking += 1;
        }
        // These have no tail, so they always fit.
        let _ = frame_bytes(frame, &[], &mut self.control_out);
    }

    pub(super) fn write_control(&mut self, cx: &mut Context<'_>) {
        while !self.control_out.is_empty() {
            let slices = [IoSlice::new(&self.control_out)];
            match self.session.control.poll_write(cx, &slices) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => self.control_out.advance(bytes),
                Poll::Ready(_) => self.control_out.clear(),
                Poll::Pending => return,
            }
        }
    }

    /// Asks what the loop does.
    pub(super) fn ask(&mut self) {
        self.nonce += 1;
        self.say(&ControlToWorker::Ping { nonce: self.nonce });
    }

    /// Reads the control connection.
    pub(super) fn converse(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        if self.is_killed() {
            return Ok(());
        }
        for _ in 0..16 {
            match self
                .session
                .control
                .poll_read(cx, self.control_reader.space())
            {
                // Its end is the process's end, which is watched.
                Poll::Pending | Poll::Ready(Ok(0) | Err(_)) => return Ok(()),
                Poll::Ready(Ok(bytes)) => self.control_reader.filled(bytes),
            }
            self.listen()?;
            self.apply()?;
            self.kill_if_held();
        }
        // A worker that talks without end gets its turn like everybody else.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Takes note of what has been read.
    fn listen(&mut self) -> Result<(), String> {
        while let Some(frame) = self
            .control_reader
            .next()
            .map_err(|error| format!("a control frame of {} bytes", error.claimed))?
        {
            let (frame, _) =
                parse(frame).map_err(|error| format!("an unreadable control frame: {error}"))?;
            match frame {
                ControlFromWorker::Pong { running, .. } => {
                    self.allowance.pong()?;
                    self.pong(running);
                }
                ControlFromWorker::Revoked { ticket, given_back } => {
                    self.allowance.revoked()?;
                    self.revoking = self.revoking.saturating_sub(1);
                    if given_back {
                        if self.assembly.contains(ticket) {
                            return Err(format!(
                                "ticket {ticket} given back with a part of its value"
                            ));
                        }
                        self.events.push(Event::Revoked(ticket));
                    }
                }
                ControlFromWorker::LastWords { ticket, panic } => {
                    self.allowance.last_words()?;
                    self.last_words = Some((ticket, panic));
                }
                ControlFromWorker::Signalled { signal } => {
                    self.allowance.signal()?;
                    crate::observe::log(|| {
                        tracing::debug!(
                            slot = self.session.slot.index(),
                            signal,
                            "a worker was signalled"
                        )
                    });
                }
            }
        }
        Ok(())
    }

    /// Reads what a worker that has ended had said, announced or not.
    pub(super) fn hear_out(&mut self, cx: &mut Context<'_>) {
        while !self.is_killed() {
            let (control, space) = (&self.session.control, self.control_reader.space());
            match control.poll_left(cx, space) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => self.control_reader.filled(bytes),
                _ => return,
            }
            // It cannot be ended for it any more.
            let _ = self.listen();
        }
    }

    /// The worker says what its loop does.
    pub(super) fn pong(&mut self, running: Option<(u64, u64)>) {
        // However short: it may be one of many in a row, between which the loop does not get to write.
        if running.is_some()
            && let Some(partial) = &mut self.partial
        {
            partial.excuse(Instant::now());
        }
        if let Some((ticket, micros)) = running {
            let (core, seat) = (self.session.core, self.session.attached.seat);
            core.polls(seat, ticket, Duration::from_micros(micros));
        }
        self.take_pulse(running);
        let holder = running
            .filter(|(_, micros)| Duration::from_micros(*micros) >= HELD)
            .map(|(ticket, _)| ticket)
            .filter(|ticket| self.ladder.contains(*ticket));
        self.hold(holder);
        if holder.is_some() {
            // Neighbours that wait behind it have not started: given back, they run elsewhere and it is alone.
            self.ask_back();
            self.kill_if_held();
        }
    }

    /// Asks for all tasks that have not started.
    pub(super) fn ask_back(&mut self) {
        for ticket in self.session.core.revocable(self.session.attached.seat) {
            self.say(&ControlToWorker::Revoke { ticket });
        }
    }

    /// Takes note of who holds the loop.
    pub(super) fn hold(&mut self, holder: Option<Ticket>) {
        self.held = holder;
        self.mind_the_seat();
    }

    /// Has no tasks sent while one is about to end with its worker, or to have ended.
    pub(super) fn mind_the_seat(&mut self) {
        let shut = self.held.is_some() || self.stalled.is_some() || self.ladder.hangs();
        if std::mem::replace(&mut self.shut, shut) == shut {
            return;
        }
        let (core, seat) = (self.session.core, self.session.attached.seat);
        if shut {
            core.close_seat(seat);
        } else if self.why.is_none() {
            core.reopen_seat(seat);
        }
    }
}
