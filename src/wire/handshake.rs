//! How two processes find out that they belong together and speak the same language.
//!
//! Belongs here: token, first bytes of a connection, start configuration, offer and welcome, and comparing tables.
//! Does not belong here: deadlines, credentials of sockets.
//! Invariant: nothing is read from a connection beyond [`Hello::BYTES`] before its token was found right.
//!
//! ```text
//!   host                                         worker
//!   spawn ── stdin: StartConfig ──────────────▶  (reads, puts /dev/null there)
//!         ◀── control: Hello ──────────────────
//!         ◀── data: Hello, Offer ──────────────
//!         ─── data: Welcome (+ arguments) ────▶  setup, state initializer
//!         ◀── data: Ready, or Failed ──────────
//! ```

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::error::cut;

/// Raised with every change that an older peer would misread.
pub(crate) const PROTOCOL: u16 = 1;

pub(crate) const TOKEN_BYTES: usize = 32;

/// What proves that a connection comes from the process that was started for it.
pub(crate) type Token = [u8; TOKEN_BYTES];

const MAGIC: [u8; 8] = *b"actix-mp";

/// Where the host listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// A path in the file system; bytes because paths need not be text.
    Path(Vec<u8>),
    /// A name in the platform's namespace: abstract on Linux, a pipe on Windows.
    Name(String),
}

/// What a worker reads from its standard input, behind a 32-bit little-endian length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartConfig {
    pub(crate) token: Token,
    pub(crate) place: Place,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// From the loss of the control connection to SIGKILL of the own group.
    pub(crate) grace_ms: u64,
    /// The worker leads a process group of its own and may kill it.
    pub(crate) own_group: bool,
    /// It was started by another program, which may be the leader of that group.
    pub(crate) wrapped: bool,
    pub(crate) confines: Confines,
    pub(crate) lineage: Lineage,
    /// It names the descriptors that it was given without being meant to.
    pub(crate) looks_for_inherited: bool,
}

/// What a worker may take of its machine, which it sees to itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confines {
    /// By how much it gives way to others on the CPUs, if it can.
    pub(crate) modesty: u8,
    /// The same, or it does not serve.
    pub(crate) nice: i8,
    /// Empty for those it has.
    pub(crate) cpus: Vec<u16>,
    pub(crate) oom_score_adj: Option<i16>,
    pub(crate) limits: Vec<(Resource, u64)>,
}

/// What the operating system can limit of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Resource {
    AddressSpace,
    CoreFile,
    /// In seconds.
    CpuTime,
    FileSize,
    OpenFiles,
    Processes,
}

/// What a process knows of itself for the sake of a pool in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lineage {
    /// How many pools it is a worker of, one inside the other: none, for a host that is no worker.
    pub(crate) level: u8,
    /// How many CPUs its workers have together.
    pub(crate) cpus: u32,
    /// Which of the variables for thread counts say so by its host's word, not its user's: a bit for each, in their order.
    pub(crate) counted: u16,
}

impl Lineage {
    /// That of one of so many workers.
    pub(crate) fn of_worker(self, processes: u32) -> Self {
        Self {
            level: self.level.saturating_add(1),
            cpus: (self.cpus / processes.max(1)).max(1),
            counted: 0,
        }
    }
}

/// Which of a worker's two connections this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Data,
    Control,
}

/// The first bytes of a connection: fixed in length, so that a stranger costs no more than that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) channel: Channel,
    pub(crate) token: Token,
}

impl Hello {
    pub(crate) const BYTES: usize = 8 + 1 + TOKEN_BYTES;

    pub(crate) fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (magic, rest) = bytes.split_at_mut(8);
        magic.copy_from_slice(&MAGIC);
        if let Some((channel, token)) = rest.split_first_mut() {
            *channel = match self.channel {
                Channel::Data => 0,
                Channel::Control => 1,
            };
            token.copy_from_slice(&self.token);
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (channel, token) = rest.split_first()?;
        Some(Self {
            channel: match channel {
                0 => Channel::Data,
                1 => Channel::Control,
                _ => return None,
            },
            token: token.try_into().ok()?,
        })
    }

    /// Compares in a time that does not depend on where the first difference is.
    pub(crate) fn has(&self, token: &Token) -> bool {
        let difference = self
            .token
            .iter()
            .zip(token)
            .fold(0, |difference, (a, b)| difference | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

/// What a worker can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) protocol: u16,
    pub(crate) pid: u32,
    /// Sorted by name.
    pub(crate) tasks: Vec<(String, u32)>,
    /// Descriptors the worker found open that are not its own, as the system names them.
    #[serde(deserialize_with = "few_names")]
    pub(crate) inherited: Vec<String>,
}

/// How many inherited descriptors an honest worker names, and how many bytes of each name are kept.
const MAX_INHERITED: usize = 32;
const MAX_NAME: usize = 1024;

/// Reads the whole list and keeps what fits: it is for a warning, and a frame holds 200,000 names.
fn few_names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Names;

    impl<'de> de::Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the names of descriptors")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some(name) = seq.next_element::<&str>()? {
                if names.len() < MAX_INHERITED {
                    names.push(cut(name, MAX_NAME).to_owned());
                }
            }
            Ok(names)
        }
    }

    from.deserialize_seq(Names)
}

/// What the host asks of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) concurrency: u32,
    pub(crate) max_frame_bytes: u64,
    pub(crate) cancel_grace_ms: u64,
    /// Bytes of the initializer's arguments that follow in parts.
    pub(crate) rest: u64,
    /// Whether there are arguments at all.
    pub(crate) has_args: bool,
    pub(crate) attachments: Vec<u32>,
    /// Whether the worker is to tell how late its event loop is.
    pub(crate) lag: bool,
    /// Whether it may keep the buffers of large values for the next ones.
    pub(crate) spares: bool,
}
