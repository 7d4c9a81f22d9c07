//! What a worker's report of a task's end means.
//!
//! Belongs here: its words and values. Does not belong here: reading it, what follows.

use crate::{
    error::RemoteError,
    sched::Violation,
    supervisor::reply::Settled,
    wire::{Outcome, Payload, codec},
};

pub(super) fn violation(violation: Violation) -> String {
    match violation {
        Violation::UnsentTicket(ticket) => {
            format!("a report of ticket {ticket}, which was not sent")
        }
        Violation::SettledTicket(ticket) => {
            format!("a report of ticket {ticket}, which had ended")
        }
        Violation::StartedTwice(ticket) => format!("a second start of ticket {ticket}"),
        Violation::GivenBackStarted(ticket) => {
            format!("ticket {ticket} given back, which had started")
        }
        Violation::NotCancelled(ticket) => {
            format!("ticket {ticket} dropped, which nobody had cancelled")
        }
        Violation::UnknownName(name) => format!("a task name {name}, which there is not"),
    }
}

/// What a result says, with the errors of the crate decoded.
pub(super) fn settled(outcome: &Outcome, payload: Payload) -> Result<Settled, String> {
    Ok(match outcome {
        Outcome::Done => Settled::Done(payload),
        Outcome::Failed { .. } => Settled::Failed(payload),
        Outcome::Panicked => Settled::Panicked(
            codec::decode::<RemoteError>(&payload)
                .map_err(|error| format!("an unreadable panic: {error}"))?,
        ),
        Outcome::Codec => Settled::Codec(
            codec::decode(&payload).map_err(|error| format!("an unreadable error: {error}"))?,
        ),
        Outcome::Cancelled { started } => Settled::Cancelled { started: *started },
        // Decided before: it is no end that a caller hears of as it is.
        Outcome::Expired => Settled::Cancelled { started: false },
    })
}
