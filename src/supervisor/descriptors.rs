//! Whether the host can have the descriptors that its workers take.
//!
//! Belongs here: how many there are and how many it takes. Does not belong here: opening any.
//! Invariant: a pool is refused as a whole, with the numbers, before half of its workers cannot be started.

use crate::error::ConfigError;

/// What one worker takes of its host until it is ready: the listener, two connections of two descriptors each, the pipes
/// of two streams, the watch of its process. Afterwards it has one or two fewer.
#[cfg(target_os = "linux")]
const PER_WORKER: u64 = 8;

/// What the start of one takes besides, while it lasts: the other ends of pipes, and what the standard library opens to
/// hear of a failure. A thread starts one worker after the other.
#[cfg(target_os = "linux")]
const STARTING: u64 = 8;

/// What the event loop of a thread takes: to wait twice, to be woken, and to hear of signals.
#[cfg(target_os = "linux")]
const PER_THREAD: u64 = 4;

/// Workers beside those that serve: one for tasks that may have killed another.
pub(crate) const QUARANTINE: usize = 1;

/// What is to be there.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "only there it is known how many are left")
)]
pub(crate) struct Demand {
    /// More workers.
    pub(crate) workers: usize,
    /// Those that replace some before these have left.
    pub(crate) replacing: usize,
    /// Threads for their sockets, on each of which one may start at a time.
    pub(crate) threads: usize,
    /// So many of them are not there yet.
    pub(crate) new_threads: usize,
}

/// Says no if it would take more descriptors than are left.
#[cfg(target_os = "linux")]
pub(crate) fn check(
    Demand {
        workers,
        replacing,
        threads,
        new_threads,
    }: Demand,
) -> Result<(), ConfigError> {
    use rustix::process::{Resource, getrlimit};

    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return Ok(());
    };
    let left = limit.saturating_sub(taken());
    if workers == 0 {
        return Ok(());
    }
    let needed = PER_WORKER
        .saturating_mul(workers.saturating_add(replacing) as u64)
        .saturating_add(STARTING)
        .saturating_add(STARTING.saturating_mul(threads as u64))
        .saturating_add(PER_THREAD.saturating_mul(new_threads as u64));
    if needed > left {
        return Err(ConfigError::TooFewDescriptors {
            needed,
            left,
            limit,
        });
    }
    Ok(())
}

/// How many are open. Where /proc is not to be had nobody knows.
#[cfg(target_os = "linux")]
fn taken() -> u64 {
    const OPEN: &str = "/proc/self/fd";
    // Since Linux 6.2 the directory says so itself. To list it makes an entry of the kernel's for each.
    match std::fs::metadata(OPEN).map(|open| open.len()) {
        Ok(known) if known > 0 => known,
        _ => std::fs::read_dir(OPEN).map_or(0, |open| open.count() as u64),
    }
}

/// Elsewhere the limit is another one, or none, and what is taken cannot be counted.
#[cfg(not(target_os = "linux"))]
pub(crate) fn check(_: Demand) -> Result<(), ConfigError> {
    Ok(())
}
