//! The protocol as its bytes are, written down a second time: what a stranger can know of it.
//!
//! Only the parts that the hostile worker says or understands. Enums keep the order of their variants.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[derive(Deserialize)]
pub(crate) enum Place {
    Path(Vec<u8>),
    Name(String),
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "the order of the fields is the format")]
pub(crate) struct StartConfig {
    pub(crate) token: [u8; 32],
    pub(crate) place: Place,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) grace_ms: u64,
    pub(crate) own_group: bool,
}

#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Offer {
    pub(crate) protocol: u16,
    pub(crate) pid: u32,
    pub(crate) tasks: Vec<(String, u32)>,
    pub(crate) inherited: Vec<String>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "the order of the fields is the format")]
pub(crate) struct Welcome {
    concurrency: u32,
    max_frame_bytes: u64,
    cancel_grace_ms: u64,
    rest: u64,
    has_args: bool,
    attachments: Vec<u32>,
}

#[derive(Deserialize)]
#[allow(
    dead_code,
    reason = "the order of the variants and fields is the format"
)]
pub(crate) enum HostFrame {
    Welcome(Welcome),
    Task {
        ticket: u64,
        id: u64,
        attempt: u32,
        name: u16,
        attachments: Vec<u32>,
        rest: u64,
        left: Option<(Option<u64>, Option<u64>)>,
    },
    Part {
        ticket: u64,
    },
    Credit {
        tasks: u32,
    },
    Tasks {
        ticket: u64,
        id: u64,
        attempt: u32,
        name: u16,
        tasks: u32,
        run: Option<u64>,
    },
}

#[derive(Serialize, Clone)]
pub(crate) enum WorkerFrame {
    Offer(Offer),
    Ready,
    Failed {
        init_args: Option<()>,
    },
    Started {
        ticket: u64,
    },
    Result {
        ticket: u64,
        outcome: Outcome,
        attachments: Vec<u32>,
        rest: u64,
    },
    Part {
        ticket: u64,
    },
    Quiet {
        name: u16,
        quiet: bool,
    },
    Item {
        ticket: u64,
    },
    Progress {
        ticket: u64,
        done: u64,
        total: u64,
    },
    SlowPoll {
        name: u16,
        micros: u64,
        ended: bool,
    },
    Lag {
        micros: u64,
    },
    Pace {
        name: u16,
        nanos: u32,
    },
    Results {
        ticket: u64,
        results: u32,
    },
}

#[derive(Serialize, Clone)]
#[allow(dead_code, reason = "the order of the variants is the format")]
pub(crate) enum Outcome {
    Done,
    Failed { transient: bool },
    Panicked,
    Cancelled { started: bool },
    Codec,
    Expired,
}

#[derive(Deserialize)]
#[allow(
    dead_code,
    reason = "the order of the variants and fields is the format"
)]
pub(crate) enum ControlToWorker {
    Cancel { ticket: u64 },
    Revoke { ticket: u64 },
    Ping { nonce: u64 },
    Exit,
}

#[derive(Serialize)]
pub(crate) enum ControlFromWorker {
    Pong {
        nonce: u64,
        running: Option<(u64, u64)>,
    },
    Revoked {
        ticket: u64,
        given_back: bool,
    },
    Signalled {
        signal: i32,
    },
    LastWords {
        ticket: Option<u64>,
        panic: Panic,
    },
}

/// As much of an error as it takes.
#[derive(Serialize)]
pub(crate) struct Panic {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// No sources, no place, no backtrace, no worker, no task.
    pub(crate) rest: [u8; 5],
}

/// The first bytes of a connection; channel 0 is data, 1 control.
pub(crate) fn hello(channel: u8, token: &[u8; 32]) -> Vec<u8> {
    [b"actix-mp".as_slice(), &[channel], token].concat()
}

/// A frame in one piece.
pub(crate) fn frame(header: &impl Serialize, tail: &[u8]) -> Vec<u8> {
    let header = postcard::to_stdvec(header).expect("a header");
    let length = u32::try_from(header.len() + tail.len()).expect("a length");
    [&length.to_le_bytes(), header.as_slice(), tail].concat()
}

pub(crate) fn parse<T: DeserializeOwned>(frame: &[u8]) -> (T, &[u8]) {
    postcard::take_from_bytes(frame).expect("a frame of an honest host")
}
