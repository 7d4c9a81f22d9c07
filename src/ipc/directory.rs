//! The private directory in which a pool's sockets appear for a moment.
//!
//! Belongs here: making it, removing it, sweeping those of dead hosts. Does not belong here: sockets.
//!
//! Layout: `<base>/actix-multiprocess-<uid>/<random>/lock` and beside the lock a socket per worker that is starting.
//! A living host holds an exclusive `flock` on `lock`; whoever gets that lock knows that the host is dead. A directory is
//! removed only under its lock, and its maker looks, once it has the lock, whether its directory is still there: so
//! neither a sweeper nor a maker ever works on what the other removed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;

use rustix::fs::{FlockOperation, flock};

/// How old a directory without a lock must be before it is taken for the rest of a host that died making it.
const HALF_MADE: Duration = Duration::from_secs(60);

/// The longest path that fits into a socket address everywhere, less its terminator.
const MAX_PATH: usize = 103;

/// A private directory, removed on drop at the latest.
#[derive(Debug)]
pub(crate) struct SocketDirectory {
    path: PathBuf,
    parent: PathBuf,
    /// The locks of the directory that is there, and of those that were there before somebody cleaned up.
    held: Mutex<Vec<File>>,
    removed: AtomicBool,
}

impl SocketDirectory {
    /// Makes a directory below `base`, and removes those that dead hosts left there.
    pub(crate) fn create(base: &Path, random: &str) -> io::Result<Self> {
        let parent = base.join(format!(
            "actix-multiprocess-{}",
            rustix::process::geteuid().as_raw()
        ));
        let path = parent.join(random);
        // The longest name a socket in it gets.
        if path.as_os_str().len() + "/w4294967295.4294967295".len() > MAX_PATH {
            return Err(io::Error::new(
                io::ErrorKind::InvalidFilename,
                "the path is too long for a socket address",
            ));
        }
        for _ in 0..16 {
            make_private(&parent)?;
            sweep(&parent);
            match hold(&path) {
                Ok(Some(held)) => {
                    return Ok(Self {
                        path,
                        parent,
                        held: Mutex::new(held),
                        removed: AtomicBool::new(false),
                    });
                }
                // The last pool of another host removed the parent just now, or a sweeper took this for a dead host's.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the directory is removed again and again"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether sockets can be made in it: a policy may forbid what it allows of files, and there may be room for no more.
    pub(crate) fn takes_sockets(&self) -> bool {
        let trial = self.path.join("trial");
        let taken = std::os::unix::net::UnixListener::bind(&trial).is_ok();
        taken && fs::remove_file(&trial).is_ok()
    }

    /// Makes it again after somebody has cleaned up the place it is in: temporary directories are, after days.
    pub(crate) fn restore(&self) -> io::Result<()> {
        if self.removed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::NotFound.into());
        }
        make_private(&self.parent)?;
        // Without a lock to have, another slot of this pool was first.
        if let Some(locks) = hold(&self.path)? {
            self.held.lock().extend(locks);
        }
        Ok(())
    }

    /// Removes it before it is dropped: no socket is made in it any more.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
        // Nobody to tell, and the next host sweeps what stays.
        let _ = fs::remove_dir_all(&self.path);
        // Fails while another host has its directory there, as it should.
        let _ = fs::remove_dir(&self.parent);
    }
}

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Makes a directory for this user alone, or finds one that is.
fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // In a shared temp directory somebody else may have been there first, or put a link.
    let found = fs::symlink_metadata(path)?;
    if found.is_dir()
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.mode() & 0o077 == 0
    {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is not a private directory of this user", path.display()),
        ))
    }
}

/// Makes a directory and holds its lock. `None` when it is another's, or was swept away meanwhile.
fn hold(path: &Path) -> io::Result<Option<Vec<File>>> {
    make_private(path)?;
    let Some(lock) = lock(&path.join("lock"))? else {
        return Ok(None);
    };
    let mut held = vec![lock];
    // systemd-tmpfiles leaves a directory alone that is itself locked. Where that does not work the lock does.
    if let Ok(directory) = File::open(path)
        && flock(&directory, FlockOperation::NonBlockingLockShared).is_ok()
    {
        held.push(directory);
    }
    Ok(Some(held))
}

/// Makes and holds a lock file. `None` when it was swept away meanwhile.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    let held = file.metadata()?;
    Ok(fs::metadata(path)
        .is_ok_and(|linked| linked.ino() == held.ino())
        .then_some(file))
}

/// Removes the directories of hosts that are dead.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let dead = match File::open(path.join("lock")) {
            Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive)
                .is_ok()
                .then_some(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let age = entry
                    .metadata()
                    .and_then(|found| found.modified())
                    .ok()
                    .and_then(|made| SystemTime::now().duration_since(made).ok());
                age.is_some_and(|age| age > HALF_MADE).then_some(None)
            }
            Err(_) => None,
        };
        if let Some(_held_while_removing) = dead {
            let _ = fs::remove_dir_all(&path);
        }
    }
}
