//! How tasks end, as far as their worker has to say so.
//!
//! Belongs here: one report for each end, and what the failure hook is to hear. Does not belong here: why a task ends.
//! Invariant: a task that was taken reports exactly one end.

use std::rc::Rc;

use crate::{
    error::RemoteError,
    task::Scope,
    wire::{Outcome, Payload, WorkerFrame, codec},
    worker::{Ended, executor::Executor, mourning::Mourned},
};

impl Executor {
    /// Reports a task that was cancelled before it started.
    pub(super) fn refuse(&self, ticket: u64) {
        self.report(
            ticket,
            Outcome::Cancelled { started: false },
            &Payload::default(),
        );
    }

    /// A task has come to its end by itself.
    pub(super) fn ended(&self, name: u16, scope: &Scope, ended: Ended) {
        match ended {
            Ended::Done(payload) => self.report(scope.ticket, Outcome::Done, &payload),
            Ended::Failed(payload, error, transient) => {
                self.report(scope.ticket, Outcome::Failed { transient }, &payload);
                self.mourn(name, scope, Mourned::Failed(error));
            }
            Ended::Codec(error) => {
                let payload = codec::encode(&error).unwrap_or_default();
                self.report(scope.ticket, Outcome::Codec, &payload);
                self.mourn(name, scope, Mourned::Codec(error));
            }
        }
    }

    /// A task has panicked.
    pub(super) fn panicked(&self, name: u16, scope: &Scope, panic: RemoteError) {
        let error = panic.at(scope.env.worker, scope.id);
        let payload = codec::encode(&error).unwrap_or_default();
        self.report(scope.ticket, Outcome::Panicked, &payload);
        self.mourn(name, scope, Mourned::Panicked(error));
    }

    /// Reports the dropped tasks whose code on blocking threads has ended.
    pub(crate) fn reap_lingering(&self) {
        if self.lingering.borrow().is_empty() {
            return;
        }
        let ended: Vec<Rc<Scope>> = {
            let mut lingering = self.lingering.borrow_mut();
            let (still, ended) = lingering.drain(..).partition(|scope| scope.is_blocking());
            *lingering = still;
            ended
        };
        for scope in ended {
            let outcome = Outcome::Cancelled { started: true };
            self.finish(scope.ticket, outcome, &Payload::default());
        }
    }

    /// Something was written: the failure hook may hear of what is on its way.
    pub(crate) fn flushed(&self) {
        self.mourning.tell(&self.program, &self.out);
    }

    fn mourn(&self, name: u16, scope: &Scope, failure: Mourned) {
        self.mourning
            .take(&self.program, &self.out, name, scope, failure);
    }

    /// Its code on blocking threads is there after the task, which ends with it.
    pub(super) fn linger(&self, scope: &Rc<Scope>) {
        self.running.borrow_mut().remove(&scope.ticket);
        self.lingering.borrow_mut().push(Rc::clone(scope));
    }

    /// A task that runs is none any more.
    pub(super) fn leaves(&self, ticket: u64) {
        self.running.borrow_mut().remove(&ticket);
        self.active.set(self.active.get().saturating_sub(1));
    }

    pub(super) fn finish(&self, ticket: u64, outcome: Outcome, payload: &Payload) {
        self.leaves(ticket);
        self.report(ticket, outcome, payload);
    }

    /// Queues the frame that ends a ticket.
    pub(crate) fn report(&self, ticket: u64, outcome: Outcome, payload: &Payload) {
        if !self.env.board.is_calm() {
            self.env
                .board
                .requests(|requests| requests.cancelled.remove(&ticket));
        }
        if outcome == Outcome::Done && self.out.done(ticket, payload) {
            return;
        }
        let attachments = payload
            .attachments()
            .iter()
            .map(|attachment| u32::try_from(attachment.len()).unwrap_or(u32::MAX))
            .collect();
        self.out.value(
            ticket,
            |rest| WorkerFrame::Result {
                ticket,
                outcome,
                attachments,
                rest,
            },
            payload,
        );
    }
}
