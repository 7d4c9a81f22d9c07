//! What a worker writes, line by line, for whoever listens to the pool.
//!
//! Belongs here: cutting it into lines, and telling them. Does not belong here: reading it; the last of it, which is the relay's.
//! Invariant: neither a worker that writes no end of a line nor a listener that is slow makes the host grow.

use std::{
    fmt,
    io::{self, Write},
    sync::Weak,
};

use crate::{
    observe::{OutputStream, PoolEvent},
    supervisor::PoolCore,
    task::{Slot, WorkerInfo},
};

/// A line that is longer comes in parts.
const LONGEST: usize = 8 * 1024;

/// Whose lines they are, but for the process.
#[derive(Clone)]
pub(crate) struct Listeners {
    pub(super) core: Weak<PoolCore>,
    pub(super) slot: Slot,
    pub(super) generation: u32,
}

impl Listeners {
    /// Takes one stream of this process, on a thread that may wait.
    pub(super) fn of(&self, pid: u32, stream: OutputStream) -> impl Write + Send + 'static {
        Lines {
            core: self.core.clone(),
            worker: WorkerInfo::new(self.slot, self.generation, pid),
            stream,
            begun: Vec::new(),
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

struct Lines {
    core: Weak<PoolCore>,
    worker: WorkerInfo,
    stream: OutputStream,
    /// A line without its end.
    begun: Vec<u8>,
}

impl Lines {
    fn tell(&mut self) {
        let line = String::from_utf8_lossy(&self.begun).into_owned();
        self.begun.clear();
        if let Some(core) = self.core.upgrade() {
            let (worker, stream) = (self.worker, self.stream);
            let line = PoolEvent::Output {
                worker,
                stream,
                line,
            };
            core.control.emit_to_those_with_room(&line);
        }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            match byte {
                b'\n' => {
                    if self.begun.last() == Some(&b'\r') {
                        self.begun.pop();
                    }
                    self.tell();
                }
                byte => {
                    self.begun.push(*byte);
                    if self.begun.len() >= LONGEST {
                        self.tell();
                    }
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    /// Whoever ends in the middle of a line has said it, too.
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            self.tell();
        }
    }
}
