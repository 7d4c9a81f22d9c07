//! A panic on the host's side costs what it touched and nothing else.
#![cfg(target_os = "linux")]

use std::{
    mem::ManuallyDrop,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use crate::common::{self, Act, End, seen, signal};
use actix::{Actor, Context, Handler, Recipient};
use actix_multiprocess::{
    NoError, Pool, PoolEvent, Status, Submit, Subscribe, Task, TaskContext, TaskError, WorkerSpec,
    testing::{PanicIn, assert_clean, panic_once},
    worker_entry,
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

worker_entry!(
    WorkerSpec::new()
        .task::<Act>()
        .task::<Bomb>()
        .task::<FailsBadly>()
);

/// Its output panics when it is dropped in the host, where the flag is set.
#[derive(Serialize, Deserialize)]
struct Bomb;

#[derive(Debug, Serialize, Deserialize)]
struct Armed(u8);

static ARMED: AtomicBool = AtomicBool::new(false);

impl Drop for Armed {
    fn drop(&mut self) {
        if ARMED.load(Ordering::SeqCst) {
            ARMED.store(false, Ordering::SeqCst);
            // What it panics with panics when it is dropped, too.
            std::panic::panic_any(Explosive);
        }
    }
}

impl Task for Bomb {
    const NAME: &'static str = "bomb";
    type Output = Armed;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<Armed, NoError> {
        Ok(Armed(1))
    }
}

struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

impl Wake for Explosive {
    fn wake(self: Arc<Self>) {
        std::panic::panic_any(Explosive);
    }
}

#[test]
fn waker_that_panics_with_what_panics_harms_nobody() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let acts = ["a", "b", "c"].map(|name| Act::new(dir.path(), name, End::Ok).gated());
        let mut all = pin!(pool.map(acts).into_future());
        // Not dropped here either.
        let waker = ManuallyDrop::new(Waker::from(Arc::new(Explosive)));
        let polled = all
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending());
        for name in ["a", "b", "c"] {
            seen(dir.path(), name, "started").await;
            common::put(dir.path(), name, "go");
        }
        let settled = |status: &Status| status.counts.settled() == 3;
        common::status_is(&pool, "settled", settled).await;
        assert_eq!(pool.status().await.slots[0].restarts, 0);
        assert_eq!(all.await.unwrap().len(), 3);
        pool.stop().await;
    });
}

/// Fails with an error that panics when it is dropped, where the task has run; after its first poll or in it.
#[derive(Serialize, Deserialize)]
struct FailsBadly {
    later: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Bad {
    #[serde(skip)]
    own: bool,
}

impl Drop for Bad {
    fn drop(&mut self) {
        if self.own {
            std::panic::panic_any(Explosive);
        }
    }
}

impl Task for FailsBadly {
    const NAME: &'static str = "fails badly";
    type Output = ();
    type Error = Bad;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), Bad> {
        if self.later {
            tokio::task::yield_now().await;
        }
        Err(Bad { own: true })
    }
}

#[test]
fn error_whose_drop_panics_stays_its_tasks_own() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let neighbour = pool.submit(Act::new(dir.path(), "n", End::Wait));
        seen(dir.path(), "n", "started").await;
        for later in [true, false, true, false] {
            let failed = pool.submit(FailsBadly { later }).await;
            assert!(matches!(failed, Err(TaskError::Failed(Bad { own: false }))));
        }
        assert!(!neighbour.is_settled());
        assert_eq!(pool.status().await.slots[0].restarts, 0);
        pool.stop().await;
    });
}

async fn settles_and_serves_on(place: PanicIn) {
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::builder(workers()).processes(2).start().await.unwrap();
    let recipient: Recipient<Submit<Act>> = pool.addr().clone().recipient();
    let mut waiters = Vec::new();
    for index in 0..4 {
        let name = format!("w{index}");
        let act = Act::new(dir.path(), &name, End::Wait);
        waiters.push((name.clone(), recipient.send(Submit::new(act))));
        seen(dir.path(), &name, "started").await;
    }
    let pids: Vec<u32> = pool
        .status()
        .await
        .slots
        .iter()
        .filter_map(|slot| slot.pid)
        .collect();
    panic_once(&pool, place);
    // Comes by the place, whatever it is: a submit, a loss and a launch.
    let touched = recipient.send(Submit::new(Act::new(dir.path(), "touch", End::Ok)));
    let _ = touched.await;
    for pid in pids {
        signal(pid, Signal::SIGKILL);
    }
    let began = Instant::now();
    for (name, waiter) in waiters {
        let settled = tokio::time::timeout(Duration::from_secs(1), waiter).await;
        assert!(
            settled.is_ok(),
            "{name} did not settle within a second of {place:?}"
        );
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    let after = recipient
        .send(Submit::new(Act::new(dir.path(), "after", End::Ok)))
        .await
        .unwrap();
    assert!(after.is_ok(), "{place:?}: {after:?}");
    assert_clean(&pool);
    pool.stop().await;
}

#[test]
fn panic_in_the_submit_handler_loses_no_waiter() {
    common::run(settles_and_serves_on(PanicIn::SubmitHandler));
}

#[test]
fn panic_in_a_proxy_handler_loses_no_waiter() {
    common::run(settles_and_serves_on(PanicIn::ProxyHandler));
}

#[test]
fn panic_in_a_session_loses_no_waiter() {
    common::run(settles_and_serves_on(PanicIn::Session));
}

struct Observer;

impl Actor for Observer {
    type Context = Context<Self>;
}

impl Handler<PoolEvent> for Observer {
    type Result = ();
    fn handle(&mut self, _: PoolEvent, _: &mut Context<Self>) {
        panic!("an observer that panics");
    }
}

#[test]
fn observer_that_panics_harms_nobody() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let observer = Observer.start();
        pool.addr()
            .send(Subscribe(observer.recipient()))
            .await
            .unwrap();
        let waiting = pool.submit(Act::new(dir.path(), "w", End::Wait));
        seen(dir.path(), "w", "started").await;
        let pid = pool.status().await.slots[0].pid.unwrap();
        signal(pid, Signal::SIGKILL);
        assert!(waiting.await.is_err());
        pool.submit(Act::new(dir.path(), "after", End::Ok))
            .await
            .unwrap();
        assert_clean(&pool);
        pool.stop().await;
    });
}

/// A log that panics on every warning.
struct PanickingLog;

impl tracing::Subscriber for PanickingLog {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        panic!("a log that panics");
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn log_that_panics_harms_nobody() {
    common::run(async {
        let _log = tracing::subscriber::set_default(PanickingLog);
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers()).processes(1).start().await.unwrap();
        let waiting = pool.submit(Act::new(dir.path(), "w", End::Wait));
        seen(dir.path(), "w", "started").await;
        let pid = pool.status().await.slots[0].pid.unwrap();
        signal(pid, Signal::SIGKILL);
        assert!(waiting.await.is_err());
        pool.submit(Act::new(dir.path(), "after", End::Ok))
            .await
            .unwrap();
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn reply_whose_drop_panics_harms_nobody() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(4)
            .start()
            .await
            .unwrap();
        let neighbour = pool.submit(Act::new(dir.path(), "n", End::Slow));
        seen(dir.path(), "n", "started").await;
        // Sent without anybody waiting, and with a caller that leaves: the pool drops what comes.
        ARMED.store(true, Ordering::SeqCst);
        pool.addr().do_send(Submit::new(Bomb));
        let request = pool.addr().send(Submit::new(Bomb));
        drop(request);
        let answered = pool.addr().send(Submit::new(Bomb));
        let answered = actix::spawn(async move {
            // Awaited as far as the answer, which this task drops: its panic is its own.
            let _ = answered.await;
        });
        // Not even what it panicked with is dropped: that panics again.
        std::mem::forget(answered.await);
        ARMED.store(false, Ordering::SeqCst);
        neighbour.await.unwrap();
        pool.submit(Act::new(dir.path(), "after", End::Ok))
            .await
            .unwrap();
        common::status_is(&pool, "settled", |s| {
            s.counts.settled() == s.counts.accepted
        })
        .await;
        assert_clean(&pool);
        pool.stop().await;
    });
}
