//! How much memory and time a process has taken, as the system tells it.
//!
//! Belongs here: asking, per platform, and reading the answers. Does not belong here: what follows from them.
//! Invariant: what cannot be told is `None`, never 0.

#[cfg(target_os = "linux")]
use std::time::Duration;

/// The resident memory of a process.
#[derive(Debug)]
pub(super) struct Meter {
    #[cfg(target_os = "linux")]
    pid: u32,
    /// Kept open by one that asks often.
    #[cfg(target_os = "linux")]
    file: Option<std::fs::File>,
}

/// Whether this platform tells.
pub(crate) const TOLD: bool = cfg!(target_os = "linux");

#[cfg(target_os = "linux")]
impl Meter {
    /// That of a process that is this one's child, or its child's. With `often` it takes a descriptor, and asking is cheaper.
    pub(super) fn new(pid: u32, often: bool) -> Self {
        let file = if often { Self::open(pid) } else { None };
        Self { pid, file }
    }

    fn open(pid: u32) -> Option<std::fs::File> {
        std::fs::File::open(format!("/proc/{pid}/statm")).ok()
    }

    /// Bytes in memory right now.
    pub(super) fn resident(&self) -> Option<usize> {
        use std::os::unix::fs::FileExt as _;
        let mut text = [0; 128];
        let read = |file: &std::fs::File, text: &mut [u8]| file.read_at(text, 0).ok();
        let bytes = match &self.file {
            Some(file) => read(file, &mut text)?,
            None => read(&Self::open(self.pid)?, &mut text)?,
        };
        let pages = pages(text.get(..bytes)?)?;
        // One that has ended has none, and did not run in none.
        Some(pages.checked_mul(rustix::param::page_size())?).filter(|bytes| *bytes > 0)
    }
}

#[cfg(not(target_os = "linux"))]
impl Meter {
    pub(super) fn new(_: u32, _: bool) -> Self {
        Self {}
    }

    pub(super) fn resident(&self) -> Option<usize> {
        None
    }
}

/// The second number of `/proc/<pid>/statm`.
#[cfg(any(target_os = "linux", test))]
fn pages(statm: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(statm).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The time on CPUs that a process has had, and those of its children that it has waited for. Known until it is reaped.
#[cfg(target_os = "linux")]
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = ticks(&stat)?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_nanos(
        ticks.saturating_mul(1_000_000_000 / per_second),
    ))
}

/// `utime`, `stime`, `cutime` and `cstime` of `/proc/<pid>/stat`, together. The name in it, in parentheses, may be anything.
#[cfg(any(target_os = "linux", test))]
fn ticks(stat: &str) -> Option<u64> {
    let (_, numbers) = stat.rsplit_once(')')?;
    // The state is the third of all.
    let times = numbers.split_ascii_whitespace().skip(11).take(4);
    let mut ticks = 0_u64;
    let mut found = 0;
    for time in times {
        let time: i64 = time.parse().ok()?;
        ticks = ticks.saturating_add(u64::try_from(time).unwrap_or(0));
        found += 1;
    }
    (found == 4).then_some(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_writes_is_read() {
        assert_eq!(pages(b"3012 640 512 10 0 400 0\n"), Some(640));
        assert_eq!(pages(b"3012"), None);
        assert_eq!(pages(b""), None);
        let stat =
            "4711 (a) b) (c) S 1 4711 4711 0 -1 4194560 99 0 0 0 150 25 7 3 20 0 2 0 100 200 300";
        assert_eq!(ticks(stat), Some(185));
        assert_eq!(ticks("4711 (a) S 1 4711"), None);
        assert_eq!(ticks("nothing of the kind"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_what_it_has() {
        let own = std::process::id();
        for often in [false, true] {
            let meter = Meter::new(own, often);
            let before = meter.resident().unwrap();
            let block = std::hint::black_box(vec![1_u8; 32 << 20]);
            let grown = meter.resident().unwrap() - before;
            assert!((24 << 20..64 << 20).contains(&grown), "{grown}");
            drop(block);
        }
        assert!(cpu_time(own).unwrap() < Duration::from_secs(3600));
        let nobody = Meter::new(u32::MAX, true);
        assert_eq!((nobody.resident(), cpu_time(u32::MAX)), (None, None));
    }
}
