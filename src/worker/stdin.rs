//! Standard input of a worker: the start configuration, then /dev/null.
//!
//! Belongs here: the one read of descriptor 0. Does not belong here: what the configuration means.
//! Invariant: `std::io::stdin` is never touched, so that nothing of the host's is left in its buffer.

use std::{fs::File, io};

use rustix::stdio;

/// Reads one length-prefixed value from standard input and puts /dev/null in its place.
pub(crate) fn take() -> io::Result<Vec<u8>> {
    let mut prefix = [0; 4];
    read_exact(&mut prefix)?;
    let length = u32::from_le_bytes(prefix) as usize;
    if length > super::entry::MAX_START_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    read_exact(&mut bytes)?;
    // A task that reads its input to the end, or a process it starts, ends at once instead of waiting for the host.
    stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(bytes)
}

fn read_exact(mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match rustix::io::read(stdio::stdin(), &mut *buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => buffer = buffer.get_mut(read..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
