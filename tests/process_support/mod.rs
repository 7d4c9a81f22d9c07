//! Hosts that are processes of their own, and what they leave behind.
//!
//! A test starts its own binary again as a host with [`Host::start`]; there only the test `host_process` of the same file
//! runs, which does what the scenario says and talks to its parent in lines on its standard output. Everything that a host starts has its
//! directory in the environment and is found by it, whatever its process group.
#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "each test binary uses a part"
)]

use std::{
    env, fs,
    future::Future,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    panic::Location,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use actix_multiprocess::{Pool, Status};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tempfile::TempDir;
use tracing::{
    Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Longer than anything here takes, even when the machine is busy.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(30);

const SCENARIO: &str = "HOST_SCENARIO";
const DIRECTORY: &str = "HOST_DIRECTORY";

/// Runs a test on an actix `System`; a hang is a failure.
#[track_caller]
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    actix::System::new().block_on(async {
        tokio::time::timeout(WATCHDOG, test)
            .await
            .expect("the watchdog: the test hangs")
    })
}

/// In the process that a test started as a host, does what it is to do; in any other, nothing.
pub(crate) fn host(scenarios: impl FnOnce(&str, &Path)) {
    let Some(scenario) = scenario() else { return };
    thread::spawn(|| {
        thread::sleep(WATCHDOG);
        eprintln!("the watchdog: the host hangs");
        std::process::abort();
    });
    scenarios(&scenario, &directory());
    say("done", "");
}

/// What the host that this process is, or belongs to, is to do.
pub(crate) fn scenario() -> Option<String> {
    env::var(SCENARIO).ok()
}

/// The directory of the host that this process is, or belongs to.
pub(crate) fn directory() -> PathBuf {
    env::var_os(DIRECTORY).expect("a host's process").into()
}

/// Tells the test something.
pub(crate) fn say(word: &str, rest: impl std::fmt::Display) {
    // A line of its own, whatever the test harness has printed before.
    let line = format!("\n@{word} {rest}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .expect("a test that reads");
}

/// The name of the test `host_process` of a file: the root of a binary, or a module in the folder of one.
fn host_process_of(file: &str) -> String {
    match Path::new(file)
        .with_extension("")
        .iter()
        .rev()
        .collect::<Vec<_>>()[..]
    {
        [_, folder, ..] if folder == "tests" => "host_process".to_owned(),
        [module, ..] => format!("{}::host_process", module.display()),
        [] => unreachable!("a file has a name"),
    }
}

/// A host in a process of its own, killed with all that belongs to it when this is dropped.
pub(crate) struct Host {
    pub(crate) child: Child,
    pub(crate) directory: TempDir,
    lines: Receiver<String>,
}

impl Host {
    #[track_caller]
    pub(crate) fn start(scenario: &str) -> Self {
        Self::start_with(scenario, &[], |_| {})
    }

    /// Starts one by way of another program, after `change` has had its say. Its group is its own.
    #[track_caller]
    pub(crate) fn start_with(
        scenario: &str,
        through: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let own = env::current_exe().expect("this program");
        let own = own.to_str().expect("a path");
        let host_process = host_process_of(Location::caller().file());
        let mut words = through.to_vec();
        words.extend([
            own,
            &host_process,
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ]);
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env(SCENARIO, scenario)
            .env(DIRECTORY, directory.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().expect("a host");
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            directory,
            lines,
        }
    }

    /// Waits until the host says this, and returns what it says with it.
    #[track_caller]
    pub(crate) fn expect(&mut self, word: &str) -> String {
        let until = Instant::now() + WATCHDOG;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("the host ended without saying {word}"));
            let said = line.strip_prefix('@').and_then(|said| said.split_once(' '));
            match said {
                Some((said, rest)) if said == word => return rest.to_owned(),
                _ => {}
            }
        }
    }

    /// Waits until nobody can say anything more, and returns all that was said.
    #[track_caller]
    pub(crate) fn everything(&mut self) -> Vec<String> {
        let until = Instant::now() + WATCHDOG;
        let mut all = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => all.push(line),
                Err(RecvTimeoutError::Disconnected) => return all,
                Err(RecvTimeoutError::Timeout) => panic!("the host hangs after {all:?}"),
            }
        }
    }

    /// Waits until the host has done all it was to do, without a failure.
    #[track_caller]
    pub(crate) fn succeed(&mut self) {
        self.expect("done");
        let status = self.wait();
        assert!(status.success(), "the host ended with {status}");
    }

    /// Waits for the end of the host itself.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        eventually(WATCHDOG, "the host ends", || {
            ended = self.child.try_wait().expect("a child");
            ended.is_some()
        });
        ended.expect("an ended child")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(pid(self.child.id()), signal).expect("a living host");
    }

    pub(crate) fn signal_group(&self, signal: Signal) {
        killpg(pid(self.child.id()), signal).expect("a living host");
    }

    /// The host and all that it has started, directly or not, and that lives.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mark = format!("{DIRECTORY}={}", self.directory.path().display());
        every_process()
            .filter(|process| {
                fs::read(format!("/proc/{process}/environ")).is_ok_and(|environment| {
                    environment
                        .split(|byte| *byte == 0)
                        .any(|variable| variable == mark.as_bytes())
                })
            })
            .filter(|process| is_alive(*process))
            .collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in self.processes() {
            let _ = kill(pid(process), Signal::SIGKILL);
        }
    }
}

/// Waits until something is true that no event announces.
#[track_caller]
pub(crate) fn eventually(limit: Duration, what: &str, mut check: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !check() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The same while the arbiter goes on.
pub(crate) async fn soon(limit: Duration, what: &str, mut check: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !check() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until a pool's status is so.
pub(crate) async fn status_is(pool: &Pool, what: &str, check: impl Fn(&Status) -> bool) {
    let until = Instant::now() + WATCHDOG;
    loop {
        let status = pool.status().await;
        if check(&status) {
            return;
        }
        assert!(Instant::now() < until, "never: {what}: {status:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).expect("a process id"))
}

pub(crate) fn signal(process: u32, signal: Signal) {
    kill(pid(process), signal).expect("a living process");
}

/// What the kernel says of a process: its state, its parent, its group.
pub(crate) fn stat(process: u32) -> Option<(char, u32, u32)> {
    stat_of(Path::new(&format!("/proc/{process}/stat")))
}

fn stat_of(path: &Path) -> Option<(char, u32, u32)> {
    let text = fs::read_to_string(path).ok()?;
    // The name before may have blanks in it.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((
        state,
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
    ))
}

/// Whether a process runs, or could. One that only waits to be reaped does not.
pub(crate) fn is_alive(process: u32) -> bool {
    stat(process).is_some_and(|(state, ..)| !matches!(state, 'Z' | 'X'))
}

/// Whether there is anything left of a process, a zombie included.
pub(crate) fn exists(process: u32) -> bool {
    stat(process).is_some()
}

/// Whether every thread of a process sleeps. Asked until it has been so for a while, it says that the process waits.
pub(crate) fn sleeps(process: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else {
        return false;
    };
    tasks
        .flatten()
        .all(|task| stat_of(&task.path().join("stat")).is_some_and(|(state, ..)| state == 'S'))
}

/// Waits, blocking, until a process has nothing to do but wait.
#[track_caller]
pub(crate) fn comes_to_rest(process: u32) {
    let mut asleep = 0;
    eventually(WATCHDOG, "the process waits", || {
        asleep = if sleeps(process) { asleep + 1 } else { 0 };
        asleep > 20
    });
}

fn every_process() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Processes of this one, zombies included.
pub(crate) fn children() -> Vec<u32> {
    let own = std::process::id();
    every_process()
        .filter(|process| stat(*process).is_some_and(|(_, parent, _)| parent == own))
        .collect()
}

/// What the operating system has given to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Possessions {
    descriptors: Vec<String>,
    threads: Vec<String>,
    children: Vec<u32>,
}

impl Possessions {
    pub(crate) fn now() -> Self {
        let mut descriptors: Vec<_> = fs::read_dir("/proc/self/fd")
            .expect("a file system of processes")
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            // One socket is as good as another.
            .map(|target| {
                target
                    .to_string_lossy()
                    .split(':')
                    .next()
                    .map(str::to_owned)
            })
            .map(Option::unwrap_or_default)
            .collect();
        descriptors.sort();
        let mut threads: Vec<_> = fs::read_dir("/proc/self/task")
            .expect("a file system of processes")
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok())
            .collect();
        threads.sort();
        Self {
            descriptors,
            threads,
            children: children(),
        }
    }

    /// Waits, blocking, until this process has no more and no less than then.
    #[track_caller]
    pub(crate) fn are_all(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while Self::now() != *self && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(Self::now(), *self, "something is left after {limit:?}");
    }

    /// The same while the arbiter goes on.
    pub(crate) async fn are_all_soon(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while Self::now() != *self && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(Self::now(), *self, "something is left after {limit:?}");
    }
}

/// Asserts that nothing of a pool's sockets is below this directory, or listens there.
#[track_caller]
pub(crate) fn no_socket_below(base: &Path) {
    let left: Vec<_> = fs::read_dir(base)
        .expect("a directory")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    assert!(left.is_empty(), "directories are left: {left:?}");
    let mut sockets = String::new();
    fs::File::open("/proc/net/unix")
        .and_then(|mut file| file.read_to_string(&mut sockets))
        .expect("the kernel's list");
    assert!(
        !sockets.contains(&base.display().to_string()),
        "a socket is left"
    );
}

/// The file by which a task, or a test, says something.
pub(crate) fn put(directory: &Path, name: &str) {
    fs::write(directory.join(name), b"").expect("a file");
}

pub(crate) fn has(directory: &Path, name: &str) -> bool {
    directory.join(name).exists()
}

/// Starts a process that would go on for long, in the group of this one. Returns its id.
pub(crate) fn leave_a_process() -> u32 {
    let child = Command::new("sleep").arg("1000").spawn();
    child.expect("a process").id()
}

/// A log that keeps warnings and errors.
#[derive(Debug, Clone)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>, Level);

impl Default for Warnings {
    fn default() -> Self {
        Self::and_down_to(Level::WARN)
    }
}

impl Warnings {
    /// Keeps less important lines, too.
    pub(crate) fn and_down_to(level: Level) -> Self {
        Self(Arc::default(), level)
    }

    /// Where the lines come to be.
    pub(crate) fn lines(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.0)
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.1
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{}={value:?} ", field.name());
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().expect("a lock").push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Defines a task in a line or two.
macro_rules! task {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty),* } -> $out:ty, |$this:ident, $cx:ident| $body:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        struct $name { $($field: $type),* }

        #[allow(unreachable_code, reason = "some never end")]
        impl actix_multiprocess::Task for $name {
            const NAME: &'static str = stringify!($name);
            type Output = $out;
            type Error = actix_multiprocess::RemoteError;
            type State = ();

            async fn run(
                self,
                $cx: actix_multiprocess::TaskContext<()>,
            ) -> Result<$out, actix_multiprocess::RemoteError> {
                let $this = self;
                Ok($body)
            }
        }
    };
}
pub(crate) use task;
