//! What the tests against strangers and hostile workers share: a watchdog, a directory, and a pool's events.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler};
use actix_multiprocess::{Pool, PoolEvent, Subscribe};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Waits for a future; a hang is a failure that says what it was waiting for.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("the watchdog: {what} took longer than {limit:?}"),
    }
}

/// Waits until something is true that no event announces.
pub(crate) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < limit, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The same where there is no runtime. Ends the process instead of panicking: a worker has nobody to tell.
pub(crate) fn block_until(mut check: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(40);
    while !check() {
        if Instant::now() > limit {
            std::process::exit(70);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A directory with a short path, removed on drop.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Where the directory of this name is that a process made.
    pub(crate) fn place(pid: u32, name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("amp-{pid}-{name}"))
    }

    /// One that another process can find by this one's id.
    pub(crate) fn named(name: &str) -> Self {
        let path = Self::place(std::process::id(), name);
        std::fs::create_dir(&path).expect("a directory of the test");
        Self(path)
    }

    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self::named(&COUNT.fetch_add(1, Ordering::Relaxed).to_string())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Says something to another process by a file's being there.
pub(crate) fn put(dir: &Path, name: &str) {
    std::fs::write(dir.join(name), b"").expect("a file of the test");
}

/// The events of a pool since [`Events::of`].
#[derive(Debug)]
pub(crate) struct Events {
    receiver: UnboundedReceiver<PoolEvent>,
    /// Those that were waited past.
    pub(crate) passed: Vec<PoolEvent>,
}

struct Listener(UnboundedSender<PoolEvent>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<PoolEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: PoolEvent, _: &mut Context<Self>) {
        // Fails when the test has all that it wants.
        let _ = self.0.send(event);
    }
}

impl Events {
    pub(crate) async fn of(pool: &Pool) -> Self {
        let (sender, receiver) = unbounded_channel();
        let listener = Listener(sender).start();
        pool.addr()
            .send(Subscribe(listener.recipient()))
            .await
            .expect("the pool is there");
        Self {
            receiver,
            passed: Vec::new(),
        }
    }

    /// Waits for the next event that `pick` wants.
    pub(crate) async fn next<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut pick: impl FnMut(&PoolEvent) -> Option<T>,
    ) -> T {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            match tokio::time::timeout_at(deadline, self.receiver.recv()).await {
                Ok(Some(event)) => match pick(&event) {
                    Some(picked) => return picked,
                    None => self.passed.push(event),
                },
                Ok(None) => panic!("the events ended before {what}; passed: {:?}", self.passed),
                Err(_) => panic!("no {what} within {limit:?}; passed: {:?}", self.passed),
            }
        }
    }

    /// Takes what has come, without waiting.
    pub(crate) fn take(&mut self) -> Vec<PoolEvent> {
        while let Ok(event) = self.receiver.try_recv() {
            self.passed.push(event);
        }
        std::mem::take(&mut self.passed)
    }
}

/// The reason of an [`PoolEvent::IntruderRefused`].
pub(crate) fn refusal(event: &PoolEvent) -> Option<String> {
    match event {
        PoolEvent::IntruderRefused { reason } => Some(reason.clone()),
        _ => None,
    }
}

/// The path of a worker's socket below the directory its pool was given, as soon as it is there.
pub(crate) fn socket(dir: &Path, worker: &str) -> Option<PathBuf> {
    let entries = |dir: &Path| {
        std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect::<Vec<_>>()
    };
    entries(dir)
        .iter()
        .flat_map(|users| entries(users))
        .map(|pool| pool.join(worker))
        .find(|socket| socket.exists())
}
