//! The frames of both connections.
//!
//! Belongs here: the enums both sides share, and nothing else with `Serialize` that is not part of the handshake.
//! Does not belong here: what a side does on receiving one.
//! Invariant: a change of any type here changes the bytes in `wire/tests/golden_bytes.rs` and the protocol version.

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::RemoteError,
    wire::{codec, copy::append_to},
};

/// Data connection, host to worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HostFrame {
    /// Answer to the worker's offer. Tail: the initializer's arguments, or their first part.
    Welcome(super::Welcome),
    /// Run this. Tail: body and attachments, or their first part.
    Task {
        ticket: u64,
        id: u64,
        attempt: u32,
        name: u16,
        /// Length of each attachment; the body is what is in front of them.
        attachments: Vec<u32>,
        /// Bytes that follow in parts.
        rest: u64,
        /// Of a task with time limits. Its start is announced whatever its name.
        left: Option<TimeLeft>,
    },
    /// Tail: the next bytes of this ticket's value. Ticket 0 is the handshake.
    Part { ticket: u64 },
    /// The worker may have this many tasks that it has not started (not used yet).
    Credit { tasks: u32 },
    /// Run these, whose tickets and ids are counted up. Tail: a run of their bodies.
    Tasks {
        ticket: u64,
        id: u64,
        attempt: u32,
        name: u16,
        tasks: u32,
        /// How long each may run, in microseconds.
        run: Option<u64>,
    },
}

/// How long a task may take, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimeLeft {
    /// From now to its deadline.
    pub(crate) total: Option<u64>,
    /// From its start to its end.
    pub(crate) run: Option<u64>,
}

/// How many slow polls of one name a worker reports. The host may have a reason to ignore one.
pub(crate) const SLOW_POLLS: u8 = 4;

/// How many tasks a worker may have ended without having written so, when it starts another: what was sent to it behind those, and
/// behind what it runs at once, has not started when it dies.
///
/// Fewer, and whoever ends one in 100 ns spends a quarter of its time on writing so; more, and as many more are suspects when it
/// dies, each of which then runs alone.
pub(crate) const UNREPORTED: usize = 256;

/// Data connection, worker to host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WorkerFrame {
    /// The first frame of a worker.
    Offer(super::Offer),
    /// The state is there: tasks may come.
    Ready,
    /// The worker cannot serve and ends. Tail: an encoded `RemoteError`, or nothing with `init_args`.
    Failed {
        init_args: Option<crate::error::CodecError>,
    },
    /// This task is about to be polled for the first time, or is being polled.
    Started { ticket: u64 },
    /// The end of a task. Tail: what `outcome` says, or its first part.
    Result {
        ticket: u64,
        outcome: Outcome,
        attachments: Vec<u32>,
        rest: u64,
    },
    /// Tail: the next bytes of this ticket's value.
    Part { ticket: u64 },
    /// From here on starts of this name are, or are not, announced before the first poll.
    Quiet { name: u16, quiet: bool },
    /// One of many results of a task (not used yet).
    Item { ticket: u64 },
    /// How far a task is (not used yet).
    Progress { ticket: u64, done: u64, total: u64 },
    /// A task of this name has held the event loop for so long in one poll, which was its last or not.
    SlowPoll { name: u16, micros: u64, ended: bool },
    /// How late the event loop was at least since it was told last. Only if it is to be.
    Lag { micros: u64 },
    /// Tasks of this name take so long from start to end, in the mean. Told when it has doubled or halved.
    Pace { name: u16, nanos: u32 },
    /// These have ended well; their tickets are counted up. Tail: a run of their bodies.
    Results { ticket: u64, results: u32 },
}

/// How a task ended, and what the tail of its result is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Tail: the encoded output.
    Done,
    /// Tail: the encoded error, which may go away by itself or not.
    Failed {
        transient: bool,
    },
    /// Tail: an encoded `RemoteError`.
    Panicked,
    Cancelled {
        started: bool,
    },
    /// Tail: an encoded `CodecError`.
    Codec,
    /// It did not start, because its deadline was over.
    Expired,
}

/// Control connection, host to worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ControlToWorker {
    /// End this task: token first, then its future is dropped.
    Cancel { ticket: u64 },
    /// Give this task back if it has not started.
    Revoke { ticket: u64 },
    /// Say what the loop does right now.
    Ping { nonce: u64 },
    /// Drop what runs, run the shutdown hook, exit.
    Exit,
}

/// Control connection, worker to host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ControlFromWorker {
    Pong {
        nonce: u64,
        /// The task whose poll is under way, and for how long.
        running: Option<(u64, u64)>,
    },
    Revoked {
        ticket: u64,
        /// Whether it is back now; otherwise it has started or ended, or was given back before.
        given_back: bool,
    },
    /// The worker caught a signal that is the host's to act on.
    Signalled { signal: i32 },
    /// A panic ends the worker, before it has.
    LastWords {
        /// The task whose poll it was, if it was one.
        ticket: Option<u64>,
        panic: RemoteError,
    },
}

/// Appends one whole frame without a tail longer than fits.
pub(crate) fn frame_bytes<T: Serialize>(
    header: &T,
    tail: &[u8],
    into: &mut BytesMut,
) -> Result<(), String> {
    let start = into.len();
    into.put_u32_le(0);
    if let Err(error) = codec::encode_header(header, into) {
        into.truncate(start);
        return Err(error);
    }
    append_to(tail, into);
    let length = into.len() - start - 4;
    let Ok(length) = u32::try_from(length) else {
        into.truncate(start);
        return Err("frame longer than 4 GiB".to_owned());
    };
    if let Some(prefix) = into.get_mut(start..start + 4) {
        prefix.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// What a frame begins with.
pub(crate) trait Header: DeserializeOwned {
    /// Whether its tail is a value or a part of one, which may come bit by bit.
    fn has_value(&self) -> bool;
}

impl Header for HostFrame {
    fn has_value(&self) -> bool {
        matches!(self, Self::Task { .. } | Self::Part { .. })
    }
}

impl Header for WorkerFrame {
    fn has_value(&self) -> bool {
        matches!(self, Self::Result { .. } | Self::Part { .. })
    }
}

/// Splits a frame into its header and tail.
pub(crate) fn parse<T: DeserializeOwned>(frame: &[u8]) -> Result<(T, &[u8]), String> {
    let (header, taken) = codec::decode_header(frame)?;
    Ok((header, frame.get(taken..).unwrap_or_default()))
}
