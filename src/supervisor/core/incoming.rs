//! A task as it was submitted.
//!
//! Belongs here: what a submission says, and which may be one with others. Does not belong here: taking it in.

use crate::{
    error::CodecError,
    sched::Divide as _,
    task::{Terms, TimeLimits},
    wire::{Payload, Run},
};

/// A task on its way in.
#[derive(Debug)]
pub(crate) struct SubmitTask {
    pub(crate) name: &'static str,
    pub(crate) payload: Result<Payload, CodecError>,
    pub(crate) terms: Terms,
    pub(crate) limits: TimeLimits,
    /// How many tasks it is, whose input is a run then.
    pub(crate) tasks: u32,
}

impl SubmitTask {
    /// Keeps the first so many of several and returns the others.
    pub(super) fn split_off(&mut self, at: u32) -> Self {
        let rest = self.tasks.saturating_sub(at);
        self.tasks = at;
        Self {
            name: self.name,
            payload: self.payload.as_mut().map_or_else(
                |error| Err(error.clone()),
                |payload| Ok(payload.split_off(at)),
            ),
            terms: self.terms,
            limits: self.limits,
            tasks: rest,
        }
    }

    /// Its input, if it may be one with others: there is nothing of its own about it.
    pub(crate) fn bundles(&self) -> Option<&Payload> {
        let Terms { exclusive, key, .. } = self.terms;
        let payload = self.payload.as_ref().ok()?;
        let own = exclusive
            || key.is_some()
            || !self.limits.is_none()
            || !self.terms.is_sent_ahead()
            || !payload.attachments().is_empty()
            || !Run::<Self>::takes(payload.len());
        (!own).then_some(payload)
    }

    /// Whether another one differs in nothing but its input.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.terms == other.terms && self.name == other.name
    }

    /// Encoded bytes; none if it could not be encoded.
    pub(crate) fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, Payload::len)
    }
}
