//! The inputs of tasks that may have killed their worker, kept in files.
//!
//! Belongs here: which files there are, and writing them. Does not belong here: their bytes; who is a suspect.
//! Invariants: nobody but this user may read them; there are no more than are to be kept, none larger than it may be; the
//! arbiter waits for no file.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

use crate::{
    error::capture,
    observe::{PoolEvent, log},
    supervisor::PoolCore,
    task::TaskId,
    wire::{Captured, Payload, captured},
};

/// What the files are named behind the dot.
const KIND: &str = "task";

/// How many suspects of one death are kept.
const MOST: usize = 32;

/// Makes of an input what may be kept of it.
pub(crate) type Redact = Arc<dyn Fn(&Payload) -> Option<Payload> + Send + Sync>;

/// Where they are kept, and how much of them.
pub(crate) struct Captures {
    pub(crate) dir: PathBuf,
    pub(crate) keep: usize,
    pub(crate) max_bytes: usize,
    /// By the names of tasks.
    redact: BTreeMap<&'static str, Redact>,
    /// Who makes room and takes it: workers may die at once.
    turn: Mutex<()>,
}

impl fmt::Debug for Captures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captures")
            .field("dir", &self.dir)
            .field("keep", &self.keep)
            .field("max_bytes", &self.max_bytes)
            .field("redact", &self.redact.keys())
            .finish()
    }
}

/// A task that may have killed its worker.
pub(super) struct Suspected {
    pub(super) task: &'static str,
    pub(super) version: u32,
    pub(super) id: TaskId,
    pub(super) attempt: u32,
    pub(super) payload: Payload,
}

impl Captures {
    pub(crate) fn new(
        dir: PathBuf,
        keep: usize,
        max_bytes: usize,
        redact: BTreeMap<&'static str, Redact>,
    ) -> Self {
        Self {
            dir,
            keep,
            max_bytes,
            redact,
            turn: Mutex::new(()),
        }
    }

    /// Makes the directory, for this user alone.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.dir)
    }

    /// Keeps the inputs of these, on a thread of their own, and tells of it.
    pub(super) fn keep(
        self: &Arc<Self>,
        mut suspects: Vec<Suspected>,
        report: String,
        core: Weak<PoolCore>,
    ) {
        suspects.truncate(MOST);
        let captures = Arc::clone(self);
        let writing = std::thread::Builder::new().name("capture".to_owned());
        let writing = writing.spawn(move || {
            for suspect in suspects {
                // Redacting is the user's code.
                let written = capture::caught(|| captures.write(&suspect, &report))
                    .unwrap_or_else(|panic| Err(io::Error::other(panic.to_string())));
                let (task, id) = (suspect.task, suspect.id);
                let event = match written {
                    Ok(None) => continue,
                    Ok(Some(path)) => PoolEvent::Captured { task, id, path },
                    Err(error) => PoolEvent::CaptureFailed {
                        task,
                        id,
                        message: error.to_string(),
                    },
                };
                if let Some(core) = core.upgrade() {
                    core.control.emit(event);
                }
            }
        });
        if let Err(error) = writing {
            log(|| tracing::warn!(%error, "no thread to keep the inputs of suspects"));
        }
    }

    /// Writes one file; none if nothing of the input is to be kept.
    fn write(&self, suspect: &Suspected, report: &str) -> io::Result<Option<PathBuf>> {
        let redacted = match self.redact.get(suspect.task) {
            None => None,
            Some(redact) => match redact(&suspect.payload) {
                Some(payload) => Some(payload),
                None => return Ok(None),
            },
        };
        let payload = redacted.as_ref().unwrap_or(&suspect.payload);
        let bytes = payload.len();
        if bytes > self.max_bytes {
            return Err(io::Error::other(format!(
                "its input takes {bytes} bytes, over the {} that are to be kept",
                self.max_bytes
            )));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let taken_at = since.unwrap_or_default().as_millis();
        let attachments = payload.attachments().iter();
        let header = Captured {
            task: suspect.task.to_owned(),
            version: suspect.version,
            id: suspect.id.get(),
            attempt: suspect.attempt,
            report: report.to_owned(),
            taken_at: u64::try_from(taken_at).unwrap_or(u64::MAX),
            attachments: attachments
                .map(|attachment| u32::try_from(attachment.len()).unwrap_or(u32::MAX))
                .collect(),
        };
        let bytes = captured::to_bytes(&header, payload).map_err(io::Error::other)?;
        // In their order by name, and no two of the same.
        let (id, attempt, pid) = (suspect.id.get(), suspect.attempt, std::process::id());
        let task: String = (suspect.task.chars())
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .take(64)
            .collect();
        let name = format!("{taken_at:015}-{pid}-{id}-{attempt}-{task}.{KIND}");
        let path = self.dir.join(name);
        let _turn = self.turn.lock();
        self.make_room()?;
        let mut file = create(&path)?;
        if let Err(error) = file.write_all(&bytes) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Some(path))
    }

    /// Removes the oldest until there is room for one more.
    fn make_room(&self) -> io::Result<()> {
        let entries = fs::read_dir(&self.dir)?.flatten();
        let paths = entries.map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = paths.filter(|path| is_ours(path)).collect();
        paths.sort_unstable();
        let excess = (paths.len() + 1).saturating_sub(self.keep);
        for path in paths.into_iter().take(excess) {
            match fs::remove_file(path) {
                // Another pool of this directory was first.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether this is a file of such a name, in whatever pool's directory.
fn is_ours(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let digits = stem.and_then(|stem| stem.split('-').next());
    path.extension().is_some_and(|kind| kind == KIND)
        && digits.is_some_and(|digits| {
            digits.len() == 15 && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_die_at_once_are_in_each_others_way_neither_with_what_is_kept_nor_with_how_much()
    {
        let dir = tempfile::tempdir().unwrap();
        // Of two pools, which know nothing of each other.
        let pools =
            [(); 2].map(|()| Captures::new(dir.path().to_owned(), 2, 1000, BTreeMap::new()));
        let count = || fs::read_dir(dir.path()).unwrap().count();
        let written: Vec<_> = std::thread::scope(|scope| {
            let deaths: Vec<_> = (0..16)
                .map(|death| {
                    let captures = &pools[death % 2];
                    let count = &count;
                    scope.spawn(move || {
                        let ids = (0..20).map(|nth| TaskId::new(death as u64 * 100 + nth));
                        ids.map(|id| {
                            let suspect = Suspected {
                                task: "render",
                                version: 1,
                                id,
                                attempt: 1,
                                payload: Payload::copied(b"page"),
                            };
                            let path = captures.write(&suspect, "");
                            path.map(|path| (path.is_some(), count()))
                        })
                        .collect::<Vec<_>>()
                    })
                })
                .collect();
            let written = deaths.into_iter().flat_map(|death| death.join().unwrap());
            written.map(|written| written.unwrap()).collect()
        });
        assert!(written.len() == 320 && written.iter().all(|(written, _)| *written));
        // One more for the other pool, which may be between making room and taking it; one for a look that is none at a moment.
        let most = written.iter().map(|(_, files)| *files).max();
        assert!(most.is_some_and(|most| most <= 4), "{most:?}");
    }
}
