//! Names of signals.
//!
//! Belongs here: the one table from a signal's number to its name on this platform.
//! Does not belong here: sending or catching one.
//! Invariant: a number without a certain name on this platform has none here.

/// That which nobody can catch, and no code gets for what it does.
pub(crate) const KILL: i32 = 9;
/// That of `abort`.
pub(crate) const ABORT: i32 = 6;

/// Returns the name of a signal that can end a process, such as `SIGSEGV`.
pub(super) fn name(signal: i32) -> Option<&'static str> {
    everywhere(signal).or_else(|| here(signal))
}

fn everywhere(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(any(
        target_arch = "mips",
        target_arch = "mips32r6",
        target_arch = "mips64",
        target_arch = "mips64r6",
        target_arch = "sparc",
        target_arch = "sparc64"
    ))
))]
fn here(signal: i32) -> Option<&'static str> {
    Some(match signal {
        7 => "SIGBUS",
        10 => "SIGUSR1",
        12 => "SIGUSR2",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
fn here(signal: i32) -> Option<&'static str> {
    Some(match signal {
        10 => "SIGBUS",
        12 => "SIGSYS",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        30 => "SIGUSR1",
        31 => "SIGUSR2",
        _ => return None,
    })
}

#[cfg(not(any(
    all(
        any(target_os = "linux", target_os = "android"),
        not(any(
            target_arch = "mips",
            target_arch = "mips32r6",
            target_arch = "mips64",
            target_arch = "mips64r6",
            target_arch = "sparc",
            target_arch = "sparc64"
        ))
    ),
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
)))]
fn here(_signal: i32) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn signals_have_their_names() {
        assert_eq!(name(9), Some("SIGKILL"));
        assert_eq!(name(0), None);
        assert_eq!(name(-1), None);
    }

    #[cfg(unix)]
    #[test]
    fn names_agree_with_the_operating_system() {
        use rustix::process::Signal;

        let known = [
            (Signal::BUS, "SIGBUS"),
            (Signal::SYS, "SIGSYS"),
            (Signal::USR1, "SIGUSR1"),
            (Signal::USR2, "SIGUSR2"),
            (Signal::XCPU, "SIGXCPU"),
            (Signal::XFSZ, "SIGXFSZ"),
            (Signal::SEGV, "SIGSEGV"),
            (Signal::TRAP, "SIGTRAP"),
        ];
        for (signal, expected) in known {
            assert!(name(signal.as_raw()).is_none_or(|found| found == expected));
        }
    }
}
