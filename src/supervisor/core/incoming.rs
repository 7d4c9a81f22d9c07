//! A task as it was submitted.
//!
//! Belongs here: what a submission says. Does not belong here: taking it in.

use crate::{
    error::CodecError,
    sched::Divide as _,
    task::{Terms, TimeLimits},
    wire::Payload,
};

/// A task on its way in.
#[derive(Debug)]
pub(crate) struct SubmitTask {
    pub(crate) name: &'static str,
    pub(crate) payload: Result<Payload, Box<CodecError>>,
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

    /// Encoded bytes; none if it could not be encoded.
    pub(crate) fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, Payload::len)
    }
}
