//! The end of a pool in good order: what it finishes, what it ends, how long it takes, what it says.
#![cfg(target_os = "linux")]

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler, System};
use actix_multiprocess::{
    DrainReport, Pool, PoolBuilder, PoolEvent, PoolState, Rejected, RemoteError, SlotState,
    Subscribe, TaskError, WorkerSpec, worker_entry,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process_support::{
    self, Host, Possessions, WATCHDOG, Warnings, exists, has, host, no_socket_below, put, run,
    signal, soon, stat, status_is, task,
};

const CANCEL_GRACE: Duration = Duration::from_millis(300);
const GRACE: Duration = Duration::from_millis(400);

/// What the promise of a drain adds to its three times.
const SLACK: Duration = Duration::from_secs(2);

task! {
    /// Says that it has started, in a file of its name, and ends when the gate opens.
    Gated { dir: PathBuf, name: String } -> String, |this, _cx| {
        put(&this.dir, &this.name);
        while !has(&this.dir, "gate") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        this.name
    }
}

task! {
    Failing { dir: PathBuf } -> (), |this, _cx| {
        while !has(&this.dir, "gate") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        return Err(RemoteError::new("test", "as told"));
    }
}

task! {
    /// Says that it has started and never lets go of the event loop.
    Spin { dir: PathBuf, name: String } -> (), |this, _cx| {
        put(&this.dir, &this.name);
        loop {
            std::hint::spin_loop();
        }
    }
}

task! {
    /// Occupies a thread of the worker for good.
    Block { dir: PathBuf, name: String } -> (), |this, cx| {
        cx.block(move || {
            put(&this.dir, &this.name);
            loop {
                thread::sleep(WATCHDOG);
            }
        })
        .await
    }
}

task! {
    Whoami {} -> u32, |_this, cx| cx.worker().pid
}

task! {
    /// Makes the worker end in a certain way when it is asked to end in good order.
    EndBy { code: u32 } -> (), |this, _cx| END_BY.store(this.code, Ordering::Relaxed)
}

task! {
    /// Writes something that comes through the host.
    Write {} -> (), |_this, _cx| eprintln!("a line of a worker")
}

static END_BY: AtomicU32 = AtomicU32::new(0);

worker_entry!(
    WorkerSpec::new()
        .task::<Gated>()
        .task::<Failing>()
        .task::<Spin>()
        .task::<Block>()
        .task::<Whoami>()
        .task::<EndBy>()
        .task::<Write>()
        .shutdown(|_| async {
            match END_BY.load(Ordering::Relaxed) {
                0 => {}
                1 => std::process::exit(3),
                2 => std::process::abort(),
                3 => std::future::pending().await,
                _ => panic!("as told"),
            }
        })
);

fn builder(base: &Path) -> PoolBuilder {
    Pool::builder(workers())
        .processes(1)
        .cancel_grace(CANCEL_GRACE)
        .grace(GRACE)
        .socket_dir(base)
}

async fn start(base: &Path) -> Pool {
    builder(base).start().await.expect("a pool")
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn gated(base: &TempDir, name: impl Into<String>) -> Gated {
    Gated {
        dir: base.path().to_owned(),
        name: name.into(),
    }
}

async fn started(base: &TempDir, name: &str) {
    soon(WATCHDOG, "a started task", || has(base.path(), name)).await;
}

async fn stop_process(worker: u32) {
    signal(worker, Signal::SIGSTOP);
    soon(WATCHDOG, "a stopped worker", || {
        stat(worker).is_some_and(|(state, ..)| state == 'T')
    })
    .await;
}

/// Awaits a report and asserts that it adds up.
async fn timed(ending: impl Future<Output = DrainReport>) -> (DrainReport, Duration) {
    let began = Instant::now();
    let report = ending.await;
    let took = began.elapsed();
    assert_eq!(report.outstanding, report.counts.settled(), "{report:?}");
    assert_eq!(report.counts.accepted, 0, "{report:?}");
    (report, took)
}

fn is_cancelled<T: std::fmt::Debug>(outcome: &Result<T, TaskError<RemoteError>>) -> bool {
    matches!(outcome, Err(TaskError::Cancelled { started: true }))
}

fn is_closed<T: std::fmt::Debug>(outcome: &Result<T, TaskError<RemoteError>>) -> bool {
    matches!(outcome, Err(TaskError::Rejected(Rejected::Closed)))
}

#[test]
fn tasks_that_finish_within_the_drain_give_their_results() {
    run(async {
        let base = directory();
        let pool = builder(base.path())
            .concurrency(2)
            .start()
            .await
            .expect("a pool");
        let names: Vec<_> = (0..20).map(|number| format!("task-{number}")).collect();
        let handles: Vec<_> = names
            .iter()
            .map(|name| pool.submit(gated(&base, name)))
            .collect();
        started(&base, "task-0").await;
        let drain = pool.drain(WATCHDOG);
        status_is(&pool, "draining", |status| {
            status.state == PoolState::Draining
        })
        .await;
        // What comes now is too late, whichever way it comes.
        assert!(is_closed(&pool.submit(gated(&base, "late")).await));
        let late = actix_multiprocess::Submit::new(gated(&base, "late"));
        assert!(is_closed(&pool.addr().send(late).await.expect("an answer")));
        put(base.path(), "gate");
        let (report, _) = timed(drain).await;
        for (handle, name) in handles.into_iter().zip(names) {
            assert_eq!(handle.await.expect("a result"), name);
        }
        assert_eq!(report.outstanding, 20, "{report:?}");
        assert_eq!(report.counts.done, 20, "{report:?}");
        assert_eq!(report.killed, 0, "{report:?}");
        assert_eq!(pool.status().await.state, PoolState::Stopped);
    });
}

#[test]
fn end_of_a_drain_rejects_what_waits_and_cancels_what_runs() {
    run(async {
        let base = directory();
        let pool = builder(base.path())
            .concurrency(2)
            .cancel_grace(WATCHDOG)
            .start()
            .await
            .expect("a pool");
        let running = [
            pool.submit(gated(&base, "one")),
            pool.submit(gated(&base, "two")),
        ];
        started(&base, "one").await;
        started(&base, "two").await;
        let waiting: Vec<_> = (0..50)
            .map(|number| pool.submit(gated(&base, format!("waiting-{number}"))))
            .collect();
        let grace = Duration::from_millis(200);
        let (report, took) = timed(pool.drain(grace)).await;
        for handle in running {
            let outcome = handle.await;
            assert!(is_cancelled(&outcome), "{outcome:?}");
        }
        for (number, handle) in waiting.into_iter().enumerate() {
            let outcome = handle.await;
            assert!(is_closed(&outcome), "{outcome:?}");
            assert!(!has(base.path(), &format!("waiting-{number}")), "it ran");
        }
        assert_eq!(report.outstanding, 52, "{report:?}");
        assert_eq!(report.counts.cancelled, 2, "{report:?}");
        assert_eq!(report.counts.rejected, 50, "{report:?}");
        assert_eq!(report.killed, 0, "{report:?}");
        assert!(took >= grace, "{took:?}");
        // Both can be dropped, and are.
        assert!(took < grace + SLACK, "{took:?}");
    });
}

#[test]
fn report_counts_every_kind_of_end() {
    run(async {
        let base = directory();
        let pool = start(base.path()).await;
        let done = pool.submit(gated(&base, "done"));
        let dropped = pool.submit(gated(&base, "dropped"));
        let failed = pool.submit(Failing {
            dir: base.path().to_owned(),
        });
        started(&base, "done").await;
        started(&base, "dropped").await;
        let drain = pool.drain(WATCHDOG);
        status_is(&pool, "draining", |status| {
            status.state == PoolState::Draining
        })
        .await;
        // Nobody waits for it any more in the midst of the drain.
        drop(dropped);
        status_is(&pool, "it ended", |status| status.counts.cancelled == 1).await;
        put(base.path(), "gate");
        let (report, _) = timed(drain).await;
        assert_eq!(report.outstanding, 3, "{report:?}");
        assert_eq!(report.counts.done, 1, "{report:?}");
        assert_eq!(report.counts.failed, 1, "{report:?}");
        assert_eq!(report.counts.cancelled, 1, "{report:?}");
        done.await.expect("a result");
        assert!(matches!(failed.await, Err(TaskError::Failed(_))));
    });
}

#[test]
fn drain_keeps_to_its_bounds_with_a_stopped_worker() {
    run(async {
        let base = directory();
        let pool = start(base.path()).await;
        let worker = pool.submit(Whoami {}).await.expect("an answer");
        let task = pool.submit(gated(&base, "task"));
        started(&base, "task").await;
        stop_process(worker).await;
        let grace = Duration::from_millis(300);
        let (report, took) = timed(pool.drain(grace)).await;
        assert!(took >= grace, "{took:?}");
        assert!(took < grace + CANCEL_GRACE + GRACE + SLACK, "{took:?}");
        assert_eq!(report.killed, 1, "{report:?}");
        assert!(is_cancelled(&task.await));
        assert!(!exists(worker));
    });
}

#[test]
fn drain_keeps_to_its_bounds_with_a_stopped_worker_that_has_nothing() {
    run(async {
        let base = directory();
        let pool = start(base.path()).await;
        let worker = pool.submit(Whoami {}).await.expect("an answer");
        stop_process(worker).await;
        let (report, took) = timed(pool.drain(WATCHDOG)).await;
        // There is nothing to drain, so only the worker's end takes its time.
        assert!(took < GRACE + SLACK, "{took:?}");
        assert_eq!(report.killed, 1, "{report:?}");
        assert_eq!(report.outstanding, 0, "{report:?}");
        assert!(!exists(worker));
    });
}

#[test]
fn stop_keeps_to_its_bounds_with_tasks_that_do_not_end() {
    run(async {
        let base = directory();
        let pool = builder(base.path())
            .processes(2)
            .concurrency(1)
            .wait_all()
            .start()
            .await
            .expect("a pool");
        let dir = base.path().to_owned();
        let name = "spin".to_owned();
        let spin = pool.submit(Spin {
            dir: dir.clone(),
            name,
        });
        let name = "block".to_owned();
        let block = pool.submit(Block { dir, name });
        started(&base, "spin").await;
        started(&base, "block").await;
        let waiting = pool.submit(Whoami {});
        let (report, took) = timed(pool.stop()).await;
        assert!(took < CANCEL_GRACE + GRACE + SLACK, "{took:?}");
        let outcome = spin.await;
        assert!(is_cancelled(&outcome), "{outcome:?}");
        let outcome = block.await;
        assert!(is_cancelled(&outcome), "{outcome:?}");
        assert!(is_closed(&waiting.await));
        assert_eq!(report.outstanding, 3, "{report:?}");
    });
}

#[test]
fn stop_hurries_a_drain() {
    run(async {
        let base = directory();
        let pool = start(base.path()).await;
        let task = pool.submit(gated(&base, "task"));
        started(&base, "task").await;
        let drain = actix::spawn(pool.drain(WATCHDOG));
        status_is(&pool, "draining", |status| {
            status.state == PoolState::Draining
        })
        .await;
        // A drain that may take longer does not: it waits for the first.
        let second = actix::spawn(pool.drain(2 * WATCHDOG));
        let began = Instant::now();
        let (report, _) = timed(pool.stop()).await;
        let drained = drain.await.expect("a report");
        assert_eq!(second.await.expect("a report"), drained);
        assert!(began.elapsed() < CANCEL_GRACE + GRACE + SLACK);
        assert_eq!(report, drained);
        assert_eq!(report.counts.cancelled, 1, "{report:?}");
        assert!(is_cancelled(&task.await));
    });
}

#[test]
fn shorter_drain_hurries_a_longer_one() {
    run(async {
        let base = directory();
        let pool = start(base.path()).await;
        let task = pool.submit(gated(&base, "task"));
        started(&base, "task").await;
        let drain = actix::spawn(pool.drain(Duration::MAX));
        status_is(&pool, "draining", |status| {
            status.state == PoolState::Draining
        })
        .await;
        let short = Duration::from_millis(100);
        let (report, took) = timed(pool.drain(short)).await;
        assert!(
            short <= took && took < short + CANCEL_GRACE + GRACE + SLACK,
            "{took:?}"
        );
        assert_eq!(drain.await.expect("a report"), report);
        assert!(is_cancelled(&task.await));
    });
}

#[test]
fn drain_goes_on_when_its_future_is_dropped() {
    run(async {
        let base = directory();
        let pool = start(base.path()).await;
        let worker = pool.submit(Whoami {}).await.expect("an answer");
        let task = pool.submit(gated(&base, "task"));
        started(&base, "task").await;
        drop(pool.drain(WATCHDOG));
        status_is(&pool, "draining", |status| {
            status.state == PoolState::Draining
        })
        .await;
        put(base.path(), "gate");
        task.await.expect("a result");
        soon(WATCHDOG, "the worker is gone", || !exists(worker)).await;
    });
}

#[test]
fn worker_lost_in_a_drain_is_replaced_for_what_waits() {
    run(async {
        let base = directory();
        let pool = builder(base.path())
            .concurrency(1)
            .start()
            .await
            .expect("a pool");
        let worker = pool.submit(Whoami {}).await.expect("an answer");
        let running = pool.submit(gated(&base, "running"));
        started(&base, "running").await;
        let waiting = pool.submit(gated(&base, "waiting"));
        let drain = pool.drain(WATCHDOG);
        status_is(&pool, "draining", |status| {
            status.state == PoolState::Draining
        })
        .await;
        signal(worker, Signal::SIGKILL);
        assert!(matches!(running.await, Err(TaskError::WorkerLost(_))));
        put(base.path(), "gate");
        assert_eq!(waiting.await.expect("a result"), "waiting");
        let (report, _) = timed(drain).await;
        assert_eq!(report.counts.lost, 1, "{report:?}");
        assert_eq!(report.counts.done, 1, "{report:?}");
    });
}

/// Keeps what happens to a pool.
struct Witness(Arc<Mutex<Vec<PoolEvent>>>);

impl Actor for Witness {
    type Context = Context<Self>;
}

impl Handler<PoolEvent> for Witness {
    type Result = ();

    fn handle(&mut self, event: PoolEvent, _: &mut Context<Self>) {
        self.0.lock().expect("a lock").push(event);
    }
}

/// Ends a pool after `prepare` and asserts that neither log nor subscribers hear of a loss.
fn ends_quietly<F: Future<Output = ()>>(prepare: impl FnOnce(Pool, PathBuf) -> F) {
    ends_quietly_within(Duration::ZERO, prepare);
}

/// The same with so much time for what it has.
fn ends_quietly_within<F: Future<Output = ()>>(
    grace: Duration,
    prepare: impl FnOnce(Pool, PathBuf) -> F,
) {
    let warnings = Warnings::default();
    let lines = warnings.lines();
    tracing::subscriber::with_default(warnings, || {
        run(async {
            let base = directory();
            let pool = start(base.path()).await;
            let events = Arc::new(Mutex::new(Vec::new()));
            let witness = Witness(Arc::clone(&events)).start();
            pool.addr()
                .send(Subscribe(witness.clone().recipient()))
                .await
                .expect("an answer");
            prepare(pool.clone(), base.path().to_owned()).await;
            if grace.is_zero() {
                timed(pool.stop()).await;
            } else {
                timed(pool.drain(grace)).await;
            }
            // What was sent before this is there when it is answered.
            tokio::task::yield_now().await;
            let events = std::mem::take(&mut *events.lock().expect("a lock"));
            assert!(
                events
                    .iter()
                    .all(|event| matches!(event, PoolEvent::Closed { .. })),
                "{events:?}"
            );
            assert_eq!(events.len(), 1, "{events:?}");
            let status = pool.status().await;
            assert_eq!(status.slots[0].restarts, 0, "{status:?}");
            assert_eq!(status.slots[0].state, SlotState::Down, "{status:?}");
        });
    });
    let mut lines = lines.lock().expect("a lock");
    // What this test was given by a careless parent is another matter.
    lines.retain(|line| !line.contains("not close-on-exec"));
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn idle_worker_ends_quietly() {
    ends_quietly(|_, _| async {});
}

#[test]
fn idle_worker_ends_quietly_in_a_drain() {
    ends_quietly_within(Duration::from_secs(1), |_, _| async {});
}

#[test]
fn worker_killed_for_a_loop_that_never_awaits_ends_quietly() {
    ends_quietly(|pool, dir| async move {
        let name = "spin".to_owned();
        pool.submit(Spin {
            dir: dir.clone(),
            name,
        })
        .detach();
        soon(WATCHDOG, "a started task", || has(&dir, "spin")).await;
    });
}

#[test]
fn worker_killed_for_a_blocked_thread_ends_quietly() {
    ends_quietly(|pool, dir| async move {
        let name = "block".to_owned();
        pool.submit(Block {
            dir: dir.clone(),
            name,
        })
        .detach();
        soon(WATCHDOG, "a started task", || has(&dir, "block")).await;
    });
}

#[test]
fn worker_killed_because_it_is_stopped_ends_quietly() {
    ends_quietly(|pool, _| async move {
        stop_process(pool.submit(Whoami {}).await.expect("an answer")).await;
    });
}

#[test]
fn worker_killed_because_it_is_stopped_with_a_task_ends_quietly() {
    ends_quietly(|pool, dir| async move {
        let worker = pool.submit(Whoami {}).await.expect("an answer");
        let name = "task".to_owned();
        pool.submit(Gated {
            dir: dir.clone(),
            name,
        })
        .detach();
        soon(WATCHDOG, "a started task", || has(&dir, "task")).await;
        stop_process(worker).await;
    });
}

#[test]
fn worker_that_ends_badly_when_asked_to_end_ends_quietly() {
    for code in 1..=4 {
        ends_quietly(move |pool, _| async move {
            pool.submit(EndBy { code }).await.expect("a setting");
        });
    }
}

/// Nothing of a pool is left in a host that goes on, holding it.
fn leaves_nothing(how: &str, base: &Path) {
    match how {
        "shared" => System::new().block_on(leave(base, |builder| builder.start())),
        "own_arbiter" => {
            System::new().block_on(leave(base, |builder| builder.own_arbiter().start()));
        }
        "io_arbiters" => {
            System::new().block_on(leave(base, |builder| builder.io_arbiters(2).start()));
        }
        "own_system" => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(leave(base, |builder| builder.own_arbiter().start())),
        _ => panic!("no such place: {how}"),
    }
}

async fn leave<F: Future<Output = Result<Pool, actix_multiprocess::StartError>>>(
    base: &Path,
    start: impl Fn(PoolBuilder) -> F,
) {
    let builder = || builder(base).processes(3).concurrency(4).wait_all();
    let before = Possessions::now();
    for round in 0..4 {
        let pool = start(builder()).await.expect("a pool");
        let tasks: Vec<_> = (0..20).map(|_| pool.submit(Write {})).collect();
        for task in tasks {
            task.await.expect("a result");
        }
        let worker = pool.submit(Whoami {}).await.expect("an answer");
        match round {
            0 => {
                pool.stop().await;
            }
            1 => {
                pool.drain(WATCHDOG).await;
            }
            2 => {
                // Some are down when it begins, some on their way.
                signal(worker, Signal::SIGKILL);
                pool.stop().await;
            }
            _ => {
                stop_process(worker).await;
                pool.drain(WATCHDOG).await;
            }
        }
        // The report came when all was gone, for a host that ends now; only the thread of an arbiter ends after it.
        assert_eq!(process_support::children(), Vec::<u32>::new(), "{round}");
        no_socket_below(base);
        before.are_all_soon(SLACK).await;
        drop(pool);
    }
}

#[test]
fn host_process() {
    host(leaves_nothing);
}

#[test]
fn end_of_a_pool_on_its_users_arbiter_leaves_nothing() {
    Host::start("shared").succeed();
}

#[test]
fn end_of_a_pool_on_its_own_arbiter_leaves_nothing() {
    Host::start("own_arbiter").succeed();
}

#[test]
fn end_of_a_pool_with_threads_for_its_sockets_leaves_nothing() {
    Host::start("io_arbiters").succeed();
}

#[test]
fn end_of_a_pool_with_a_system_of_its_own_leaves_nothing() {
    Host::start("own_system").succeed();
}
