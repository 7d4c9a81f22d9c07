//! What the tests that measure share: a process of its own for each, a watchdog, and /proc.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    fs,
    future::{Future, poll_fn},
    pin::Pin,
    process::Command,
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

use actix_multiprocess::Pool;
use futures_core::Stream;

pub(crate) const MIB: usize = 1024 * 1024;

const ALONE: &str = "ACTIX_MP_TEST_ALONE";

/// Runs a test on an actix `System` in a process in which no other test runs or has run.
///
/// What other tests have allocated, and their threads, would be measured otherwise. A hang is a failure: the process
/// is ended from outside of its `System`, so also when its arbiter is blocked.
#[track_caller]
pub(crate) fn alone(name: &str, limit: Duration, test: impl Future<Output = ()>) {
    if std::env::var(ALONE).as_deref() == Ok(name) {
        let (done, ended) = channel::<()>();
        let watchdog = std::thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("the watchdog: the test hangs");
                std::process::abort();
            }
        });
        actix::System::new().block_on(test);
        drop(done);
        watchdog.join().unwrap();
        return;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, name)
        .status()
        .unwrap();
    assert!(status.success(), "{name} in a process of its own: {status}");
}

/// The number in an environment variable, or what it is without.
pub(crate) fn setting(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

/// The next item of a stream.
pub(crate) async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// Waits until every task has settled, for as long as the watchdog lets it.
pub(crate) async fn all_settled(pool: &Pool) {
    loop {
        let counts = pool.status().await.counts;
        if counts.accepted == counts.settled() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// One line of `/proc/<pid>/status`, in bytes. The resident set there is that of `statm`, without its unit of pages.
fn memory(pid: u32, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

/// The memory of a process that is in RAM, in bytes.
pub(crate) fn rss(pid: u32) -> usize {
    memory(pid, "VmRSS:")
}

/// The memory of every process of a pool: the host's first, then those of the workers.
pub(crate) async fn footprint(pool: &Pool) -> Vec<usize> {
    let status = pool.status().await;
    let workers = status.slots.iter().map(|slot| slot.pid.unwrap());
    std::iter::once(std::process::id())
        .chain(workers)
        .map(rss)
        .collect()
}

/// How far the host's memory rises above what it is now, also between two looks.
pub(crate) struct Peak {
    before: usize,
}

impl Peak {
    pub(crate) fn new() -> Self {
        Self::reset();
        Self {
            before: rss(std::process::id()),
        }
    }

    /// Forgets how far it has risen up to now.
    pub(crate) fn reset() {
        // 5 resets the high-water mark of the resident set: proc(5).
        fs::write("/proc/self/clear_refs", "5").unwrap();
    }

    pub(crate) fn growth(&self) -> usize {
        memory(std::process::id(), "VmHWM:").saturating_sub(self.before)
    }

    /// Asserts that the host has not grown by more than this.
    #[track_caller]
    pub(crate) fn assert_below(&self, what: &str, limit: usize) {
        let growth = self.growth();
        eprintln!(
            "{what}: the host grew by {} KiB of {} KiB",
            growth / 1024,
            limit / 1024
        );
        assert!(growth <= limit, "{what}: {growth} bytes, above {limit}");
    }
}
