//! Local sockets between a host and its workers.
//!
//! Belongs here: names, places, credentials, reading and writing bytes. Does not belong here: what the bytes mean.
//! Invariant: the only module that names `interprocess`.

#[cfg(unix)]
mod directory;
mod endpoint;
mod lifeline;
mod socket;
mod stream;

pub(crate) use endpoint::{Endpoint, PeerExpectation, SocketPlace};
pub(crate) use lifeline::{Lifeline, Wait};
pub(crate) use stream::Stream;
