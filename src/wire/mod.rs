//! What travels between host and worker, as plain values and bytes.
//!
//! Belongs here: frames, their encoding and limits, handshake values, payloads. Does not belong here: sockets, meaning.
//! Invariant: nothing a peer sends makes this code allocate more than the limits say, recurse deeply, or panic.
//!
//! A frame is a 32-bit little-endian length, then a postcard header, then a tail of raw bytes. A value whose bytes
//! exceed [`PART_BYTES`] is cut: its first frame says how much follows, and [`HostFrame::Part`] or
//! [`WorkerFrame::Part`] frames bring the rest, other frames passing in between.

mod assembly;
mod blob;
pub(crate) mod captured;
pub(crate) mod codec;
mod copy;
mod depth;
mod draft;
mod frame;
mod handshake;
mod json;
mod limits;
mod payload;
mod reader;
pub(crate) mod run;
mod spare;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use assembly::{Assembly, AssemblyError, Tail, Whole};
pub use blob::Blob;
pub(crate) use captured::Captured;
pub(crate) use copy::copied;
pub(crate) use frame::{
    ControlFromWorker, ControlToWorker, Header, HostFrame, Outcome, SLOW_POLLS, TimeLeft,
    UNREPORTED, WorkerFrame, frame_bytes, parse,
};
pub(crate) use handshake::{
    Channel, Confines, Hello, Lineage, Offer, PROTOCOL, Place, Resource, StartConfig, TOKEN_BYTES,
    Token, Welcome,
};
pub use json::Json;
pub(crate) use payload::Payload;
pub(crate) use reader::FrameReader;
pub(crate) use run::{RUN_VALUES, Run};
pub(crate) use spare::Spares;
pub(crate) use writer::FrameWriter;

/// The most bytes of a value that travel in one frame: what another frame may have to wait for.
pub(crate) const PART_BYTES: usize = 256 * 1024;

/// The most bytes of a frame: a part, and room for a header (names of a handshake, attachment lengths).
pub(crate) const FRAME_BYTES: usize = PART_BYTES + 256 * 1024;
