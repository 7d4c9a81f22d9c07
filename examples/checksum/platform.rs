//! What Unix and the rest of the world do differently.

use std::{ffi::OsStr, fs::File, fs::Metadata, io};

use serde::{Deserialize, Serialize};

/// What is looked at to see whether a file is still the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Device and inode; zero where there is no such thing.
    pub(crate) identity: (u64, u64),
    pub(crate) len: u64,
    /// Seconds and nanoseconds.
    pub(crate) modified: (i64, i64),
}

#[cfg(unix)]
mod imp {
    use std::{fs::OpenOptions, os::unix::fs::MetadataExt, os::unix::fs::OpenOptionsExt};

    use nix::{
        fcntl::OFlag,
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    use super::{File, Metadata, OsStr, Stamp, io};

    impl Stamp {
        pub(crate) fn of(metadata: &Metadata) -> Self {
            Self {
                identity: (metadata.dev(), metadata.ino()),
                len: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
            }
        }
    }

    /// Opens without following a symbolic link, or waiting for the other end of a pipe, that has taken the file's place.
    pub(crate) fn open(path: &OsStr) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(path)
    }

    pub(crate) fn kill_process(pid: u32) -> io::Result<()> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        Ok(kill(Pid::from_raw(pid), Signal::SIGKILL)?)
    }
}

#[cfg(not(unix))]
mod imp {
    use std::time::SystemTime;

    use super::{File, Metadata, OsStr, Stamp, io};

    impl Stamp {
        pub(crate) fn of(metadata: &Metadata) -> Self {
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let since = modified
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            Self {
                identity: (0, 0),
                len: metadata.len(),
                modified: (
                    i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                    i64::from(since.subsec_nanos()),
                ),
            }
        }
    }

    pub(crate) fn open(path: &OsStr) -> io::Result<File> {
        File::open(path)
    }

    pub(crate) fn kill_process(_pid: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(crate) use imp::{kill_process, open};
