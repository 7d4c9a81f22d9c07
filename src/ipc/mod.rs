//! Local sockets between a host and its workers.
//!
//! Belongs here: names, places, credentials, reading and writing bytes, giving back what they were read into.
//! Does not belong here: what the bytes mean.
//! Invariant: the only module that names `interprocess`.

#[cfg(unix)]
mod directory;
mod endpoint;
#[cfg(feature = "test-util")]
mod faulty;
mod lifeline;
mod socket;
mod stream;
mod sweeper;

pub(crate) use endpoint::{Endpoint, PeerExpectation, SocketPlace};
#[cfg(feature = "test-util")]
pub use faulty::{Connection, Fault, PassingFrame, Way};
#[cfg(feature = "test-util")]
pub(crate) use faulty::{FaultPlan, FaultyStream};
pub(crate) use lifeline::{LastSend, Lifeline, Wait};
pub(crate) use stream::Stream;
pub(crate) use sweeper::Sweeper;
