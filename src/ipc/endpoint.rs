//! Where workers connect, and who may.
//!
//! Belongs here: choosing a place, listening, checking a peer's credentials. Does not belong here: tokens, deadlines.
//! Invariant: a socket is gone from the file system when its endpoint is dropped.

#[cfg(unix)]
use std::path::PathBuf;
use std::{io, path::Path};

use interprocess::local_socket::{
    GenericFilePath, GenericNamespaced, ListenerOptions, Name,
    prelude::*,
    tokio::{Listener, prelude::*},
};

use crate::{ipc::Stream, wire::Place};

/// Who may connect to an endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerExpectation {
    /// The process that was started for it, if that is known beforehand.
    pub(crate) pid: Option<u32>,
}

/// Where Linux has files in memory, for every user. What is made there waits for no disk, and this waits on an event loop.
#[cfg(unix)]
const MEMORY: &str = "/dev/shm";

/// Where a pool makes its endpoints.
#[derive(Debug)]
pub(crate) enum SocketPlace {
    #[cfg(unix)]
    Directory(super::directory::SocketDirectory),
    /// The platform's own namespace; the text is unguessable.
    Namespace(String),
}

impl SocketPlace {
    /// Finds a place: below `configured`, else the user's runtime directory, else the temp directory, else a name.
    ///
    /// On Linux a directory in memory comes first where nobody has said where things are to be, unless workers are `wrapped`:
    /// sandboxes share `/tmp` rather than `/dev`.
    pub(crate) fn find(configured: Option<&Path>, wrapped: bool, random: &str) -> io::Result<Self> {
        #[cfg(unix)]
        {
            use super::directory::SocketDirectory;
            let below = |base: &Path| {
                let named = |error: io::Error| {
                    io::Error::new(error.kind(), format!("below {}: {error}", base.display()))
                };
                let directory = SocketDirectory::create(base, random).map_err(named)?;
                Ok(Self::Directory(directory))
            };
            if let Some(base) = configured {
                return below(base);
            }
            let named = |variable| {
                let named = std::env::var_os(variable);
                named.filter(|named| !named.is_empty()).map(PathBuf::from)
            };
            let memory = cfg!(target_os = "linux") && !wrapped && named("TMPDIR").is_none();
            let memory = memory.then(|| PathBuf::from(MEMORY));
            let mut last = io::Error::other("no directory for sockets");
            let bases = named("XDG_RUNTIME_DIR").into_iter().chain(memory);
            for base in bases.chain([std::env::temp_dir()]) {
                match below(&base) {
                    Ok(Self::Directory(place))
                        if base == Path::new(MEMORY) && !place.takes_sockets() =>
                    {
                        last = io::Error::other(format!("{MEMORY} takes no sockets"));
                    }
                    Ok(place) => return Ok(place),
                    Err(error) => last = error,
                }
            }
            if cfg!(target_os = "linux") {
                crate::observe::log(
                    || tracing::debug!(%last, "no directory for sockets, an abstract name is used"),
                );
            } else {
                return Err(last);
            }
        }
        #[cfg(not(unix))]
        let _ = (configured, wrapped);
        Ok(Self::Namespace(format!("actix-multiprocess-{random}")))
    }

    /// Leaves nothing on the file system. Nothing can listen here after this.
    pub(crate) fn remove(&self) {
        match self {
            #[cfg(unix)]
            Self::Directory(directory) => directory.remove(),
            Self::Namespace(_) => {}
        }
    }

    fn place(&self, slot: u32, generation: u32) -> Place {
        match self {
            #[cfg(unix)]
            Self::Directory(directory) => {
                use std::os::unix::ffi::OsStringExt;
                let path = directory.path().join(format!("w{slot}.{generation}"));
                Place::Path(path.into_os_string().into_vec())
            }
            Self::Namespace(name) => Place::Name(format!("{name}-{slot}.{generation}")),
        }
    }

    /// Opens the endpoint of one worker.
    pub(crate) fn listen(&self, slot: u32, generation: u32) -> io::Result<Endpoint> {
        let place = self.place(slot, generation);
        let listen = || {
            let options = ListenerOptions::new().name(name(&place)?);
            options.reclaim_name(true).create_tokio()
        };
        let listener = match (listen(), self) {
            #[cfg(unix)]
            (Err(error), Self::Directory(directory)) if error.kind() == io::ErrorKind::NotFound => {
                directory.restore()?;
                listen()?
            }
            (listener, _) => listener?,
        };
        Ok(Endpoint { place, listener })
    }
}

/// A socket on which one worker connects twice.
#[derive(Debug)]
pub(crate) struct Endpoint {
    place: Place,
    listener: Listener,
}

impl Endpoint {
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Waits for the next connection, whoever it is from.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        Stream::local(self.listener.accept().await?)
    }
}

impl Stream {
    /// Connects to a host's endpoint.
    ///
    /// On Unix this blocks the thread while strangers fill the queue of the listener. interprocess's own way to wait takes
    /// a full queue for a connection that is under way, and the socket, which says that it can be written to, for one that
    /// has come about. The host ends a worker that takes too long, and the end of the host ends the wait.
    pub(crate) async fn connect(place: &Place) -> io::Result<Self> {
        #[cfg(unix)]
        return Self::blocking(interprocess::local_socket::Stream::connect(name(place)?)?);
        #[cfg(not(unix))]
        Self::local(interprocess::local_socket::tokio::Stream::connect(name(place)?).await?)
    }

    /// Says what is wrong with a peer, where the platform tells who it is.
    pub(crate) fn check_peer(&self, expected: PeerExpectation) -> Result<(), String> {
        let Self::Local(socket) = self else {
            return Ok(());
        };
        let Some(peer) = socket.peer() else {
            // The token has to do where the platform does not tell.
            return Ok(());
        };
        #[cfg(unix)]
        if let Some(uid) = peer.euid() {
            let own = rustix::process::geteuid().as_raw();
            if uid != own {
                return Err(format!("it belongs to user {uid}, not {own}"));
            }
        }
        match (peer.pid(), expected.pid) {
            (Some(pid), Some(expected)) if i64::from(pid) != i64::from(expected) => Err(format!(
                "it comes from process {pid}, not from worker {expected}"
            )),
            _ => Ok(()),
        }
    }

    /// The peer's process, where the platform tells.
    pub(crate) fn peer_pid(&self) -> Option<u32> {
        #[cfg(feature = "test-util")]
        if let Self::Faulty(stream) = self {
            return stream.peer_pid();
        }
        let Self::Local(socket) = self else {
            return None;
        };
        u32::try_from(i64::from(socket.peer()?.pid()?)).ok()
    }
}

pub(super) fn name(place: &Place) -> io::Result<Name<'_>> {
    match place {
        #[cfg(unix)]
        Place::Path(path) => {
            use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
            OsStr::from_bytes(path).to_fs_name::<GenericFilePath>()
        }
        #[cfg(not(unix))]
        Place::Path(path) => String::from_utf8_lossy(path)
            .into_owned()
            .to_fs_name::<GenericFilePath>(),
        Place::Name(name) => name.as_str().to_ns_name::<GenericNamespaced>(),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Fills the queue of a listener with connections that nobody accepts.
    fn crowd(path: &Path) -> Vec<UnixStream> {
        use rustix::net::{
            AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
        };
        let address = SocketAddrUnix::new(path).unwrap();
        let mut crowd = Vec::new();
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
            match connect(&socket, &address) {
                Ok(()) => crowd.push(socket.into()),
                Err(rustix::io::Errno::AGAIN) => return crowd,
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_place_is_tried_and_nothing_is_left_of_that() {
        let base = tempfile::tempdir().unwrap();
        let place = crate::ipc::directory::SocketDirectory::create(base.path(), "trial").unwrap();
        let inside = || std::fs::read_dir(place.path()).unwrap().count();
        let before = inside();
        assert!(place.takes_sockets());
        assert_eq!(inside(), before);
        place.remove();
        assert!(!place.takes_sockets());
    }

    #[test]
    fn worker_finds_its_place_in_a_crowd() {
        use std::{io::Read, os::unix::ffi::OsStrExt};
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("crowded");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        // As short as it may be, or it would take thousands.
        rustix::net::listen(&listener, 1).unwrap();
        let crowd = crowd(&path);
        let place = Place::Path(path.as_os_str().as_bytes().to_vec());
        let worker = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async {
                let stream = Stream::connect(&place).await.unwrap();
                stream.write_all(b"here").await.unwrap();
            });
        });
        for _ in 0..crowd.len() {
            listener.accept().unwrap();
        }
        let mut said = String::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(said, "here");
        worker.join().unwrap();
    }
}
