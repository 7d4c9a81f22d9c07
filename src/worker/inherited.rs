//! What a worker process was given by its host without being meant to.
//!
//! Belongs here: finding it. Does not belong here: what follows.
//! Invariant: it is found out with as few system calls as there can be, because that is before the worker is ready.

#[cfg(target_os = "linux")]
use std::{borrow::Cow, fs::File, io::Read as _, mem::MaybeUninit};

/// As many descriptors are told of.
#[cfg(target_os = "linux")]
const MOST: usize = 32;

/// Descriptors beyond the standard three that its lack of close-on-exec has left to this process.
#[cfg(target_os = "linux")]
pub(super) fn descriptors() -> Vec<String> {
    use rustix::fs::{Mode, OFlags, RawDir, open};

    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let mut names = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = open("/proc/self/fd", flags, Mode::empty()) else {
        return names;
    };
    // On the stack, as whatever follows needs that too: std's takes 32 KiB from the heap.
    let mut room = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(&directory, &mut room);
    while let Some(Ok(entry)) = entries.next() {
        let Some(number) = entry.file_name().to_str().ok() else {
            continue;
        };
        // Not "." and "..".
        if number.parse::<u32>().map_or(true, |number| number < 3) {
            continue;
        }
        // Behind the position, which takes 20 digits at most.
        let mut text = [0; 64];
        let info = beginning(&format!("/proc/self/fdinfo/{number}"), &mut text);
        let flags = info.and_then(|info| {
            let line = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        });
        if flags.is_some_and(|flags| flags & CLOSE_ON_EXEC == 0) && names.len() < MOST {
            let target = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
            names.push(format!("{number} -> {}", target.display()));
        }
    }
    names
}

#[cfg(not(target_os = "linux"))]
pub(super) fn descriptors() -> Vec<String> {
    Vec::new()
}

/// Whether `SIGCHLD` is ignored, as its host did.
#[cfg(target_os = "linux")]
pub(super) fn ignores_sigchld() -> bool {
    let mut text = [0; 1024];
    let mask = beginning("/proc/self/stat", &mut text).and_then(|stat| ignored(&stat));
    mask.is_some_and(|mask| mask & (1 << (signal_hook::consts::SIGCHLD - 1)) != 0)
}

/// Which signals are, by `/proc/<pid>/stat`: in the 33rd field, of which the second is a name with whatever in it. See proc(5).
#[cfg(target_os = "linux")]
fn ignored(stat: &str) -> Option<u64> {
    let (_, from_third) = stat.rsplit_once(") ")?;
    from_third.split(' ').nth(33 - 3)?.parse().ok()
}

/// As much of a file as there is room for and one read gives.
#[cfg(target_os = "linux")]
fn beginning<'a>(path: &str, text: &'a mut [u8]) -> Option<Cow<'a, str>> {
    let read = File::open(path).ok()?.read(text).ok()?;
    // A name may have been cut within a character.
    Some(String::from_utf8_lossy(text.get(..read)?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_found_behind_any_name() {
        // As recorded on Linux 6.18 of a process that ignores SIGCHLD.
        let fields = "R 28062 28062 3286 0 -1 4194304 155 0 0 0 0 0 0 0 20 0 1 0 8096152 3133440 414 \
                      18446744073709551615 94019600904192 94019600924073 140731842256768 0 0 0 0 65536 0 0 0 0 17 1";
        for name in ["worker", "a) R 1 2 (b", "", "\u{fffd}", "one two\nthree"] {
            assert_eq!(ignored(&format!("3 ({name}) {fields}")), Some(0x1_0000));
        }
        assert_eq!(ignored("nonsense"), None);
    }
}
