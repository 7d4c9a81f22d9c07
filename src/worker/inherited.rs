//! What a worker process was given by its host without being meant to.
//!
//! Belongs here: finding it. Does not belong here: what follows.
//! Invariant: it is found out with as few system calls as there can be, because that is before the worker is ready.

#[cfg(target_os = "linux")]
use std::{fs::File, io::Read as _};

/// As many descriptors are told of.
#[cfg(target_os = "linux")]
const MOST: usize = 32;

/// And as much of a status is read.
#[cfg(target_os = "linux")]
const MOST_STATUS: u64 = 1024 * 1024;

/// Descriptors beyond the standard three that its lack of close-on-exec has left to this process.
#[cfg(target_os = "linux")]
pub(super) fn descriptors() -> Vec<String> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for entry in entries.flatten() {
        let number = entry.file_name();
        let Some(number) = number.to_str() else {
            continue;
        };
        if number.parse::<u32>().is_ok_and(|number| number < 3) {
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
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
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
    // In one read, unless this process belongs to hundreds of groups, which are told before.
    let mut status = Vec::with_capacity(4096);
    let opened = File::open("/proc/self/status");
    let _ = opened.and_then(|file| file.take(MOST_STATUS).read_to_end(&mut status));
    let status = String::from_utf8_lossy(&status);
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal_hook::consts::SIGCHLD - 1)) != 0)
}

/// As much of a file as there is room for and one read gives.
#[cfg(target_os = "linux")]
fn beginning<'a>(path: &str, text: &'a mut [u8]) -> Option<&'a str> {
    let read = File::open(path).ok()?.read(text).ok()?;
    std::str::from_utf8(text.get(..read)?).ok()
}
