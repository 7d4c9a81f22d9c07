//! What the tests of this crate share: a watchdog, tasks that do as they are told, and looks at the file system.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use actix::{Actor, Context, Handler};
use actix_multiprocess::{Pool, PoolEvent, RemoteError, Status, Subscribe, Task, TaskContext};
use serde::{Deserialize, Serialize};

/// Runs a test on an actix `System`; a hang is a failure.
#[track_caller]
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    run_for(Duration::from_secs(60), test)
}

/// The same with a limit of its own.
#[track_caller]
pub(crate) fn run_for<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    actix::System::new().block_on(async {
        tokio::time::timeout(limit, test)
            .await
            .expect("the watchdog: the test hangs")
    })
}

/// Waits until something is true that no event announces.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while !check().await {
        assert!(std::time::Instant::now() < limit, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) async fn status_is(pool: &Pool, what: &str, check: impl Fn(&Status) -> bool) {
    eventually(what, || async { check(&pool.status().await) }).await;
}

/// How a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Ok,
    Error,
    Panic,
    Slow,
    Exit,
    Abort,
    /// Returns after computing for so many milliseconds.
    Burn(u64),
    /// Aborts after that.
    BurnAbort(u64),
    /// Blocks its loop until it is told to go: nothing else runs in that worker.
    Hold,
    /// Never ends and never awaits.
    Spin,
    /// Never ends but may be dropped.
    Wait,
    /// Never ends on a blocking thread.
    Block,
}

/// A task that says in the file system what happens to it: `<name>.started`, `.dropped`, and waits for `.go`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Act {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) end: End,
    /// Says that it has started and waits for `.go` before it ends.
    pub(crate) gated: bool,
}

impl Act {
    pub(crate) fn new(dir: &Path, name: impl Into<String>, end: End) -> Self {
        Self {
            dir: dir.to_owned(),
            name: name.into(),
            end,
            gated: false,
        }
    }

    pub(crate) fn gated(mut self) -> Self {
        self.gated = true;
        self
    }
}

struct OnDrop(PathBuf, bool);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if self.1 {
            let _ = std::fs::write(&self.0, b"");
        }
    }
}

fn file(dir: &Path, name: &str, what: &str) -> PathBuf {
    dir.join(format!("{name}.{what}"))
}

pub(crate) fn has(dir: &Path, name: &str, what: &str) -> bool {
    file(dir, name, what).exists()
}

pub(crate) fn put(dir: &Path, name: &str, what: &str) {
    std::fs::write(file(dir, name, what), b"").expect("a file of the test");
}

pub(crate) async fn seen(dir: &Path, name: &str, what: &str) {
    eventually(&format!("{name}.{what}"), || async { has(dir, name, what) }).await;
}

impl Task for Act {
    const NAME: &'static str = "act";
    type Output = String;
    type Error = RemoteError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<String, RemoteError> {
        let mut dropped = OnDrop(file(&self.dir, &self.name, "dropped"), true);
        // Counts runs: a second one finds the first.
        let starts = (1..)
            .find(|n| !has(&self.dir, &self.name, &format!("start{n}")))
            .unwrap_or(0);
        put(&self.dir, &self.name, &format!("start{starts}"));
        put(&self.dir, &self.name, "started");
        if self.gated {
            while !has(&self.dir, &self.name, "go") {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        match self.end {
            End::Ok => {}
            End::Error => {
                dropped.1 = false;
                return Err(RemoteError::new("test", "as told"));
            }
            End::Panic => {
                dropped.1 = false;
                panic!("as told");
            }
            End::Slow => tokio::time::sleep(Duration::from_millis(100)).await,
            End::Exit => std::process::exit(3),
            End::Abort => std::process::abort(),
            End::Burn(millis) => burn(Duration::from_millis(millis)),
            End::BurnAbort(millis) => {
                burn(Duration::from_millis(millis));
                std::process::abort();
            }
            End::Hold => {
                // Asleep it holds its loop as well, and leaves the processor to others.
                while !has(&self.dir, &self.name, "go") {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            End::Spin => loop {
                std::hint::spin_loop();
            },
            End::Wait => std::future::pending().await,
            End::Block => {
                let (dir, name) = (self.dir.clone(), self.name.clone());
                cx.block(move || {
                    while !has(&dir, &name, "unblock") {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                })
                .await;
            }
        }
        dropped.1 = false;
        Ok(format!("{} in {}", self.name, cx.worker().slot))
    }
}

/// The same under another name: what a worker has measured of one says nothing about the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Beside(pub(crate) Act);

impl Task for Beside {
    const NAME: &'static str = "beside";
    type Output = String;
    type Error = RemoteError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<String, RemoteError> {
        self.0.run(cx).await
    }
}

pub(crate) fn burn(time: Duration) {
    let until = std::time::Instant::now() + time;
    while std::time::Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    let _ = nix::sys::signal::kill(pid, signal);
}

struct Listener(tokio::sync::mpsc::UnboundedSender<PoolEvent>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<PoolEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: PoolEvent, _: &mut Context<Self>) {
        let _ = self.0.send(event);
    }
}

/// What happens to a pool from now on.
pub(crate) async fn events(pool: &Pool) -> tokio::sync::mpsc::UnboundedReceiver<PoolEvent> {
    let (sender, events) = tokio::sync::mpsc::unbounded_channel();
    let listener = Listener(sender).start().recipient();
    pool.addr().send(Subscribe(listener)).await.expect("a pool");
    events
}

/// The first event that `wanted` finds something in.
pub(crate) async fn event<T>(
    events: &mut tokio::sync::mpsc::UnboundedReceiver<PoolEvent>,
    wanted: impl Fn(&PoolEvent) -> Option<T>,
) -> T {
    loop {
        let event = events.recv().await.expect("a pool that goes on");
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}
