//! The task: a hash taken a little further.

use std::{
    cell::RefCell,
    ffi::{OsStr, OsString},
    fmt,
    io::{self, Read, Seek, SeekFrom},
    rc::Rc,
};

use actix_multiprocess::{RemoteError, Task, TaskContext};
use serde::{Deserialize, Serialize};
use sha2::{
    Digest as _, Sha256,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use crate::{
    line::Digest,
    platform::{self, Stamp},
};

/// How much one task reads at most: half a millisecond with SHA instructions, three without. That is what a kill costs.
const RANGE: u64 = 1 << 20;

/// The state of a worker: a buffer that outlives the tasks.
#[derive(Debug)]
pub(crate) struct ReadBuffer(Box<[u8]>);

impl Default for ReadBuffer {
    fn default() -> Self {
        Self(vec![0; 64 << 10].into())
    }
}

/// Hashes the next range of a file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HashRange {
    /// Of any bytes; a `PathBuf` would have to be UTF-8 to be serialized.
    pub(crate) path: OsString,
    /// Where to go on; `None` for the first range.
    pub(crate) progress: Option<Progress>,
}

/// How far a file has been hashed. Nothing but the file is needed to go on from here in any process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The serialized `Sha256`, 104 bytes.
    state: Vec<u8>,
    offset: u64,
    /// The file as it was when it was first opened.
    seen: Stamp,
}

/// What a range came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// There is more of the file.
    More { read: u64, progress: Progress },
    /// That was the last of it.
    Done {
        read: u64,
        digest: Digest,
        change: Option<Change>,
    },
    /// Another file has the name now.
    Replaced,
}

/// What happened to a file while it was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    Grew { hashed: u64, len: u64 },
    Shrank { from: u64, to: u64 },
    Rewritten,
}

impl Task for HashRange {
    const NAME: &'static str = "hash-range";
    // The same state and the same bytes give the same state again.
    const IDEMPOTENT: bool = true;
    type Output = Step;
    type Error = RemoteError;
    type State = Rc<RefCell<ReadBuffer>>;

    // Right in the worker's event loop instead of in `cx.block`: the worker has nothing else to do, and one range at a
    // time, rather than many on as many threads, is what keeps a kill from costing more than one.
    async fn run(self, cx: TaskContext<Self::State>) -> Result<Step, RemoteError> {
        Ok(step(
            &self.path,
            self.progress,
            &mut cx.state().borrow_mut().0,
        )?)
    }
}

fn step(path: &OsStr, progress: Option<Progress>, buffer: &mut [u8]) -> io::Result<Step> {
    let mut file = platform::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("is no longer a regular file"));
    }
    let now = Stamp::of(&metadata);
    let (mut hasher, start, seen) = match progress {
        None => (Sha256::new(), 0, now),
        Some(progress) if progress.seen.identity != now.identity => return Ok(Step::Replaced),
        Some(progress) => (restore(&progress.state)?, progress.offset, progress.seen),
    };

    file.seek(SeekFrom::Start(start))?;
    // Files that the kernel makes up, as in /proc, say they are empty; they end where they end.
    let end = if seen.len == 0 { u64::MAX } else { seen.len };
    let mut range = (&file).take(RANGE.min(end.saturating_sub(start)));
    let mut offset = start;
    let at_end = loop {
        if range.limit() == 0 {
            break offset >= end;
        }
        let count = match range.read(buffer) {
            Ok(0) => break true,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
        offset += count as u64;
    };

    let read = offset - start;
    if !at_end {
        let state = SerializableState::serialize(&hasher).to_vec();
        return Ok(Step::More {
            read,
            progress: Progress {
                state,
                offset,
                seen,
            },
        });
    }
    let change = change(&seen, &Stamp::of(&file.metadata()?), offset);
    Ok(Step::Done {
        read,
        digest: hasher.finalize().into(),
        change,
    })
}

fn restore(state: &[u8]) -> io::Result<Sha256> {
    let bytes = SerializedState::<Sha256>::try_from(state).map_err(io::Error::other)?;
    Sha256::deserialize(&bytes).map_err(io::Error::other)
}

/// What `now` says has happened since `seen`, after `hashed` bytes.
fn change(seen: &Stamp, now: &Stamp, hashed: u64) -> Option<Change> {
    if now.len > seen.len {
        (now.len > hashed).then_some(Change::Grew {
            hashed,
            len: now.len,
        })
    } else if now.len < seen.len {
        Some(Change::Shrank {
            from: seen.len,
            to: now.len,
        })
    } else {
        // The kernel gives a file that it makes up a new time whenever it has forgotten the last one.
        (seen.len != 0 && now.modified != seen.modified).then_some(Change::Rewritten)
    }
}

impl Change {
    /// Whether the bytes that were hashed were the file's at some time.
    pub(crate) fn leaves_a_prefix(self) -> bool {
        matches!(self, Self::Grew { .. })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grew { hashed, len } => write!(
                f,
                "grew to {len} bytes while it was read; its line is that of its first {hashed} bytes"
            ),
            Self::Shrank { from, to } => {
                write!(
                    f,
                    "shrank from {from} to {to} bytes while it was read; it has no line"
                )
            }
            Self::Rewritten => f.write_str("was written to while it was read; it has no line"),
        }
    }
}
