//! Errors of tasks as answers of an actix-web service (feature `actix-web`).
//!
//! Belongs here: what a client of a service may be told of a task's end, and with which status.
//! Does not belong here: servers, routes, extractors; deciding that something went wrong.
//! Invariant: no body has a word of what happened inside, except what a task's own error says of itself.

mod response;
#[cfg(test)]
mod tests;
