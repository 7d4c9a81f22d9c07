//! Whether the kernel ended a process because there was no memory left.
//!
//! Belongs here: finding the counter of a process's control group, and who is meant when it rises. Does not belong here: memory
//! limits of the pool's own.
//! Invariant: a rise by one names one of the pool's workers, however many end at once.
//!
//! Both versions of control groups count such ends where the victim was: in `memory.events` (version 2) and in
//! `memory.oom_control` (version 1), each in a line `oom_kill <number>`, before the victim gets its SIGKILL. A group of version 2
//! for which nobody asked for the memory controller has no such file, and is counted in the nearest one above it that has. See
//! `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst` of the kernel.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use parking_lot::Mutex;

/// What all workers' counters have in common. One for a pool.
#[derive(Debug, Default)]
pub(super) struct OomCounters {
    /// Where they are: this process's `/proc/self/mountinfo`.
    mounts: OnceLock<Option<String>>,
    /// That of this process, which is its children's until somebody moves them.
    own: OnceLock<Option<PathBuf>>,
    /// Up to which number each one's rises are explained.
    explained: Mutex<HashMap<PathBuf, u64>>,
}

impl OomCounters {
    fn mounts(&self) -> Option<&str> {
        let read = || text("/proc/self/mountinfo");
        self.mounts.get_or_init(read).as_deref()
    }

    /// Finds out what children are watched by, which takes a while, at a moment when that does not matter.
    pub(super) fn prepare(&self) {
        self.own();
    }

    fn own(&self) -> Option<&Path> {
        let found = || find("self", self).map(|(counter, _)| counter);
        self.own.get_or_init(found).as_deref()
    }

    /// Whether a rise from `before` to `now` has somebody to name, who is named from now on.
    fn claim(&self, counter: &Path, before: u64, now: u64) -> bool {
        let mut explained = self.explained.lock();
        let known = explained.get(counter).copied().unwrap_or(0).max(before);
        if now <= known {
            return false;
        }
        explained.insert(counter.to_owned(), known + 1);
        true
    }
}

/// The counter of one worker's control group.
#[derive(Debug)]
pub(super) struct OomWatch {
    counter: PathBuf,
    /// What it said a while ago and last: an end is heard of only after it was counted.
    seen: [u64; 2],
}

impl OomWatch {
    /// Of any process. `None` where the system does not tell.
    pub(super) fn of(pid: u32, counters: &OomCounters) -> Option<Self> {
        let (counter, now) = find(&pid.to_string(), counters)?;
        Some(Self::new(counter, now))
    }

    /// Of a child that has just been born. Asks nothing of the child: what the kernel has told of a process it takes time to forget.
    pub(super) fn of_child(counters: &OomCounters) -> Option<Self> {
        let counter = counters.own()?;
        Some(Self::new(counter.to_owned(), read(counter)?))
    }

    fn new(counter: PathBuf, now: u64) -> Self {
        Self {
            counter,
            seen: [now; 2],
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.counter == other.counter
    }

    /// The worker lives.
    pub(super) fn lives(&mut self) {
        if let Some(now) = read(&self.counter) {
            self.seen = [self.seen[1], now];
        }
    }

    /// The worker got a SIGKILL of somebody else's. Says what shows that it was the kernel's, if something does.
    pub(super) fn ended(&self, counters: &OomCounters) -> Option<String> {
        let (before, now) = (self.seen[0], read(&self.counter)?);
        counters
            .claim(&self.counter, before, now)
            .then(|| format!("oom_kill of {} rose to {now}", self.counter.display()))
    }
}

/// The counter of a process, and what it says.
fn find(process: &str, counters: &OomCounters) -> Option<(PathBuf, u64)> {
    if cfg!(not(target_os = "linux")) {
        return None;
    }
    let groups = text(format!("/proc/{process}/cgroup"))?;
    candidates(&groups, counters.mounts()?).find_map(|counter| {
        let now = read(&counter)?;
        Some((counter, now))
    })
}

fn read(counter: &Path) -> Option<u64> {
    kills(&text(counter)?)
}

/// A file of the kernel's, which does not say how long it is: with room for most of them from the beginning.
fn text(path: impl AsRef<Path>) -> Option<String> {
    let mut text = String::with_capacity(4096);
    // A limited reader does not ask for the length first.
    let read = File::open(path).and_then(|file| file.take(u64::MAX).read_to_string(&mut text));
    read.is_ok().then_some(text)
}

/// The number of the line `oom_kill`.
fn kills(counter: &str) -> Option<u64> {
    counter.lines().find_map(|line| {
        let number = line.strip_prefix("oom_kill ")?;
        number.trim().parse().ok()
    })
}

/// Files that may count for a process, by its `/proc/<pid>/cgroup` and this one's `/proc/self/mountinfo`. The first that is there
/// does.
fn candidates<'a>(groups: &'a str, mounts: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    groups
        .lines()
        .flat_map(|line| counters(line, mounts).unwrap_or_default())
}

/// Those of one line of `/proc/<pid>/cgroup`.
fn counters(line: &str, mounts: &str) -> Option<Vec<PathBuf>> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let second = number == "0" && controllers.is_empty();
    let first = controllers.split(',').any(|name| name == "memory");
    // One outside of what this process sees.
    let hidden = path.split('/').any(|part| part == "..");
    if hidden || !first && !second {
        return None;
    }
    let (point, below) = mounts.lines().find_map(|line| mounted(line, path, first))?;
    if first {
        return Some(vec![point.join(below).join("memory.oom_control")]);
    }
    let groups = below.ancestors();
    Some(
        groups
            .map(|group| point.join(group).join("memory.events"))
            .collect(),
    )
}

/// Where this mount is that has the control group of this path, if it has, and which group that is in it.
fn mounted(line: &str, path: &str, first: bool) -> Option<(PathBuf, PathBuf)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (unescaped(left.next()?)?, unescaped(left.next()?)?);
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1).unwrap_or(""));
    let fits = if first {
        kind == "cgroup" && options.split(',').any(|option| option == "memory")
    } else {
        kind == "cgroup2"
    };
    if !fits {
        return None;
    }
    let below = match root.trim_end_matches('/') {
        "" => path,
        root => path.strip_prefix(root)?,
    };
    // Not a sibling whose name begins like the root's.
    (below.is_empty() || below.starts_with('/'))
        .then(|| (point.into(), below.trim_start_matches('/').into()))
}

/// The kernel writes blanks and backslashes as octal numbers.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('\\');
    let mut whole = parts.next()?.to_owned();
    for part in parts {
        let byte = u8::from_str_radix(part.get(..3)?, 8).ok()?;
        whole.push(char::from(byte));
        whole += part.get(3..)?;
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of version 2, before and after an end for want of memory, as recorded on Linux 6.1.192 of Debian in a group of 20 MiB.
    const EVENTS: [&str; 2] = [
        "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
        "low 0\nhigh 0\nmax 35\noom 1\noom_kill 1\noom_group_kill 0\n",
    ];

    /// Of version 1, as recorded on Linux 6.18 around such an end.
    const CONTROL: [&str; 2] = [
        "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
        "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    ];

    fn found(groups: &str, mounts: &str) -> Vec<String> {
        let found = candidates(groups, mounts);
        found.map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn counters_of_both_versions_are_read() {
        for [before, after] in [EVENTS, CONTROL] {
            assert_eq!((kills(before), kills(after)), (Some(0), Some(1)));
        }
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(kills("oom_kill many\n"), None);
    }

    #[test]
    fn the_file_of_a_process_is_found() {
        let v2 = "30 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        // The first that is there counts: not every group has one, and the root never.
        assert_eq!(
            found("0::/system.slice/app.service\n", v2),
            [
                "/sys/fs/cgroup/system.slice/app.service/memory.events",
                "/sys/fs/cgroup/system.slice/memory.events",
                "/sys/fs/cgroup/memory.events",
            ]
        );
        // As recorded in the same place as the numbers above.
        let recorded = "26 22 0:23 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";
        let job = found("0::/job\n", recorded);
        assert_eq!(job[0], "/sys/fs/cgroup/job/memory.events");
        // Version 1 for memory, version 2 for nothing but names.
        let both = "31 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                    32 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            found("9:pids:/a\n4:cpu,memory:/a/b\n0::/c\n", both),
            [
                "/sys/fs/cgroup/memory/a/b/memory.oom_control",
                "/sys/fs/cgroup/unified/c/memory.events",
                "/sys/fs/cgroup/unified/memory.events",
            ]
        );
        // A container sees its own part only.
        let part =
            "33 24 0:28 /docker/4f2 /sys/fs/cgroup/mem\\040ory ro - cgroup cgroup rw,memory\n";
        assert_eq!(
            found("4:memory:/docker/4f2/job\n", part),
            ["/sys/fs/cgroup/mem ory/job/memory.oom_control"]
        );
        assert_eq!(
            found("4:memory:/docker/4f2\n", part),
            ["/sys/fs/cgroup/mem ory/memory.oom_control"]
        );
        for elsewhere in [
            "4:memory:/docker/4f25\n",
            "4:memory:/other\n",
            "0::/../../x\n",
            "nonsense\n",
            "",
        ] {
            assert_eq!(found(elsewhere, part), [""; 0]);
        }
    }

    #[test]
    fn a_child_is_counted_where_this_process_is() {
        let counters = OomCounters::default();
        let child = OomWatch::of_child(&counters);
        let own = OomWatch::of(std::process::id(), &counters);
        assert_eq!(child.is_some(), own.is_some());
        // Neither is there where the system does not tell.
        if let (Some(child), Some(own)) = (child, own) {
            assert!(child.is_same(&own) && child.seen[0] <= own.seen[0]);
        }
    }

    #[test]
    fn a_rise_by_one_names_one() {
        let (explained, counter) = (OomCounters::default(), Path::new("/a"));
        assert!(!explained.claim(counter, 3, 3));
        // Three workers die, two of them by the kernel's hand.
        assert!(explained.claim(counter, 3, 5));
        assert!(explained.claim(counter, 3, 5));
        assert!(!explained.claim(counter, 3, 5));
        // Of what had happened before it was born nobody dies.
        assert!(!explained.claim(counter, 9, 9));
        assert!(explained.claim(counter, 9, 10));
        assert!(!explained.claim(counter, 5, 10));
        assert!(explained.claim(Path::new("/b"), 0, 1));
    }

    #[test]
    fn what_was_counted_just_now_may_be_the_end_that_is_not_heard_of_yet() {
        let dir = tempfile::tempdir().unwrap();
        let counter = dir.path().join("memory.events");
        let write = |number: u64| std::fs::write(&counter, format!("oom_kill {number}\n")).unwrap();
        write(7);
        let mut watch = OomWatch {
            counter: counter.clone(),
            seen: [7; 2],
        };
        watch.lives();
        write(8);
        watch.lives();
        let explained = OomCounters::default();
        let said = watch.ended(&explained).unwrap();
        assert!(
            said.starts_with("oom_kill of ") && said.ends_with(" rose to 8"),
            "{said}"
        );
        // Whoever lives on for two looks has not been meant.
        watch.lives();
        assert_eq!(watch.ended(&OomCounters::default()), None);
    }
}
