//! However a host's use of a pool ends, nothing of the pool is left.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use actix::{Recipient, System};
use actix_multiprocess::{
    Blob, LossCause, Pool, PoolBuilder, Rejected, RemoteError, Started, Submit, TaskError,
    TaskHandle, WorkerSpec, worker_entry,
};
use nix::sys::signal::Signal;

use crate::process_support::{
    Host, Possessions, WATCHDOG, comes_to_rest, directory, eventually, exists, has, host, is_alive,
    leave_a_process, no_socket_below, put, run, say, scenario, signal, soon, stat, task,
};

const GRACE: Duration = Duration::from_millis(500);

/// What a busy machine may add to a bound.
const SLACK: Duration = Duration::from_secs(2);

task! {
    /// Leaves a process in the worker's group. Returns the worker's id and that process's.
    Leave {} -> (u32, u32), |_this, cx| (cx.worker().pid, leave_a_process())
}

task! {
    /// Says that it has started and never lets go of the event loop.
    Spin {} -> (), |_this, _cx| {
        put(&directory(), "spinning");
        loop {
            std::hint::spin_loop();
        }
    }
}

task! {
    /// Returns more than a socket holds, once it may.
    Large { bytes: usize } -> Blob, |this, _cx| {
        let directory = directory();
        put(&directory, "asked");
        while !has(&directory, "go") {
            thread::sleep(Duration::from_millis(1));
        }
        put(&directory, "returning");
        Blob::from(vec![7; this.bytes])
    }
}

task! {
    Echo { number: u32 } -> u32, |this, _cx| this.number
}

task! {
    /// Says that it has started, in a file of its name, and ends when it may.
    Wait { file: std::path::PathBuf } -> (), |this, _cx| {
        let go = this.file.with_extension("go");
        fs::write(&this.file, b"").expect("a file");
        while !go.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Known to the initializer, which is not told.
static SLOT: AtomicU32 = AtomicU32::new(0);

worker_entry!(
    WorkerSpec::new()
        .setup(|worker| SLOT.store(worker.slot.index(), Ordering::Relaxed))
        .state(|| async {
            // The second worker only, so that there is a pool.
            let scenario = scenario().unwrap_or_default();
            if SLOT.load(Ordering::Relaxed) == 1 {
                if scenario.ends_with("initializing") {
                    leave_a_process();
                    put(&directory(), "initializing");
                    loop {
                        thread::sleep(WATCHDOG);
                    }
                } else if scenario.ends_with("failing") {
                    leave_a_process();
                    put(&directory(), "initializing");
                    while !has(&directory(), "go") {
                        thread::sleep(Duration::from_millis(1));
                    }
                    return Err(RemoteError::new("test", "as told"));
                }
            }
            Ok(())
        })
        .task::<Leave>()
        .task::<Spin>()
        .task::<Large>()
        .task::<Echo>()
        .task::<Wait>()
);

fn builder(base: &Path, processes: usize) -> PoolBuilder {
    Pool::builder(workers())
        .processes(processes)
        .grace(GRACE)
        .cancel_grace(GRACE)
        .socket_dir(base)
}

async fn start(base: &Path, processes: usize) -> Pool {
    builder(base, processes).start().await.expect("a pool")
}

/// Whatever is made once and kept is there after this.
async fn warm_up(base: &Path) {
    let pool = start(base, 1).await;
    assert_eq!(pool.submit(Echo { number: 1 }).await.expect("an echo"), 1);
    pool.stop().await;
    no_socket_below(base);
}

/// What the worker is at when its host ends. What it was given is handed on unsettled.
async fn bring_about(state: &str, pool: &Pool, base: &Path) -> Option<TaskHandle<Large>> {
    if processes_for(state) == 2 {
        soon(WATCHDOG, "an initializer", || has(base, "initializing")).await;
        return None;
    }
    let (worker, _) = pool.submit(Leave {}).await.expect("a process");
    match state {
        "idle" => {}
        "spinning" => {
            pool.submit(Spin {}).detach();
            soon(WATCHDOG, "a loop", || has(base, "spinning")).await;
        }
        "stopped" => {
            signal(worker, Signal::SIGSTOP);
            soon(WATCHDOG, "a stopped worker", || {
                stat(worker).is_some_and(|(state, ..)| state == 'T')
            })
            .await;
        }
        "full" => {
            let large = pool.submit(Large {
                bytes: 32 * 1024 * 1024,
            });
            soon(WATCHDOG, "a started task", || has(base, "asked")).await;
            // From here on this arbiter reads nothing, until the caller awaits.
            put(base, "go");
            eventually(WATCHDOG, "a result", || has(base, "returning"));
            comes_to_rest(worker);
            return Some(large);
        }
        other => panic!("no state of a worker: {other}"),
    }
    None
}

fn processes_for(state: &str) -> usize {
    match state {
        "initializing" | "failing" => 2,
        _ => 1,
    }
}

/// The end of `System::run` in a process that goes on.
fn system_ends(state: &str, base: &Path) {
    System::new().block_on(warm_up(base));
    let before = Possessions::now();
    let system = System::new();
    let (pool, _unsettled) = system.block_on(async {
        let pool = start(base, processes_for(state)).await;
        let unsettled = bring_about(state, &pool, base).await;
        System::current().stop();
        (pool, unsettled)
    });
    system_of_the_thread_ends(system);
    // Also while somebody holds the pool.
    before.are_all(SLACK);
    no_socket_below(base);
    drop(pool);
}

/// The same when the pool has an arbiter of its own, which nobody joins, or its workers have.
fn system_ends_elsewhere(state: &str, base: &Path, elsewhere: impl Fn(PoolBuilder) -> PoolBuilder) {
    System::new().block_on(warm_up(base));
    let before = Possessions::now();
    let system = System::new();
    let pool = system.block_on(async {
        let builder = elsewhere(builder(base, processes_for(state)));
        let pool = builder.start().await.expect("a pool");
        bring_about(state, &pool, base).await;
        System::current().stop();
        pool
    });
    system_of_the_thread_ends(system);
    before.are_all(SLACK);
    no_socket_below(base);
    drop(pool);
}

/// The drop of everything that keeps a pool open, in a process that goes on.
async fn addresses_are_dropped(state: &str, base: &Path) {
    warm_up(base).await;
    let before = Possessions::now();
    let pool = start(base, processes_for(state)).await;
    let address = pool.addr().clone();
    let recipient: Recipient<Submit<Echo>> = address.clone().recipient();
    if state == "spinning" {
        // Nobody waits for it: it ends with the last address, and not 30 s later.
        let (_, _) = pool.submit(Leave {}).await.expect("a process");
        let spinning = pool.submit(Spin {});
        soon(WATCHDOG, "a loop", || has(base, "spinning")).await;
        drop((pool, address, recipient, spinning));
    } else {
        drop(pool);
        let echo = address.send(Submit::new(Echo { number: 2 })).await;
        assert_eq!(echo.expect("an open pool").expect("an echo"), 2);
        drop(address);
        let echo = recipient.send(Submit::new(Echo { number: 3 })).await;
        assert_eq!(echo.expect("an open pool").expect("an echo"), 3);
        // Once more with a worker in its state, and only the recipient is there to the last.
        let pool = start(base, processes_for(state)).await;
        let last: Recipient<Submit<Echo>> = pool.addr().clone().recipient();
        drop(recipient);
        let unsettled = bring_about(state, &pool, base).await;
        drop(pool);
        drop(last);
        if let Some(unsettled) = unsettled {
            let result = unsettled.await.expect("a result of a pool nobody holds");
            assert_eq!(result.as_ref().len(), 32 * 1024 * 1024);
        }
    }
    before.are_all_soon(GRACE + SLACK).await;
    no_socket_below(base);
}

/// A host that is killed while its worker is at something.
fn is_killed(state: &str, base: &Path) {
    System::new().block_on(async {
        let pool = start(base, processes_for(state)).await;
        let _unsettled = bring_about(state, &pool, base).await;
        say("ready", "");
        // Blocking: a full socket stays full.
        loop {
            thread::sleep(WATCHDOG);
        }
    })
}

#[test]
fn host_process() {
    host(|scenario, base| match scenario.split_once('/') {
        Some(("system_ends", state)) => system_ends(state, base),
        Some(("system_ends_elsewhere", state)) => {
            system_ends_elsewhere(state, base, PoolBuilder::own_arbiter);
        }
        Some(("system_ends_with_threads", state)) => {
            system_ends_elsewhere(state, base, |builder| builder.io_arbiters(2));
        }
        Some(("addresses_are_dropped", state)) => {
            System::new().block_on(addresses_are_dropped(state, base));
        }
        Some(("is_killed", state)) => is_killed(state, base),
        _ => panic!("no scenario: {scenario}"),
    });
}

/// A host that goes on after its pool, and looks at itself.
fn survives_clean(scenario: &str) {
    let mut host = Host::start(scenario);
    host.succeed();
    let left = host.processes();
    assert!(left.is_empty(), "processes are left: {left:?}");
}

fn is_killed_and_leaves_nothing(state: &str) {
    let mut host = Host::start(&format!("is_killed/{state}"));
    host.expect("ready");
    let base = host.directory.path().to_owned();
    // What has just been started has no environment yet for a moment, while the kernel gives it its program.
    let found = "a host, a worker and what it started";
    eventually(WATCHDOG, found, || host.processes().len() >= 3);
    let killed = Instant::now();
    host.signal(Signal::SIGKILL);
    host.wait();
    // Whoever waits for this goes on without a host.
    put(&base, "go");
    eventually(GRACE + SLACK, "its processes end", || {
        host.processes().is_empty()
    });
    assert!(killed.elapsed() < GRACE + SLACK);
    // Its directory is what a killed host cannot see to; the next pool does.
    let parent = fs::read_dir(&base)
        .expect("a directory")
        .flatten()
        .find(|entry| entry.path().is_dir())
        .expect("the directory of the dead host")
        .path();
    let dead: Vec<_> = entries(&parent);
    assert_eq!(dead.len(), 1, "{dead:?}");
    run(async {
        let pool = start(&base, 1).await;
        let living = entries(&parent);
        assert_eq!(living.len(), 1, "{living:?}");
        assert_ne!(living, dead);
        pool.stop().await;
    });
    no_socket_below(&base);
}

fn entries(directory: &Path) -> Vec<std::ffi::OsString> {
    fs::read_dir(directory)
        .expect("a directory")
        .flatten()
        .map(|entry| entry.file_name())
        .collect()
}

#[test]
fn end_of_system_leaves_nothing_of_an_idle_worker() {
    survives_clean("system_ends/idle");
}

#[test]
fn end_of_system_leaves_nothing_of_a_loop_that_never_awaits() {
    survives_clean("system_ends/spinning");
}

#[test]
fn end_of_system_leaves_nothing_of_an_initializer() {
    survives_clean("system_ends/initializing");
}

#[test]
fn end_of_system_leaves_nothing_of_a_stopped_worker() {
    survives_clean("system_ends/stopped");
}

#[test]
fn end_of_system_leaves_nothing_of_a_worker_with_a_full_socket() {
    survives_clean("system_ends/full");
}

#[test]
fn end_of_system_leaves_nothing_of_a_pool_on_its_own_arbiter() {
    survives_clean("system_ends_elsewhere/spinning");
}

#[test]
fn end_of_system_leaves_nothing_of_an_initializer_of_a_pool_on_its_own_arbiter() {
    survives_clean("system_ends_elsewhere/initializing");
}

#[test]
fn end_of_system_leaves_nothing_of_a_loop_on_a_thread_for_sockets() {
    survives_clean("system_ends_with_threads/spinning");
}

#[test]
fn end_of_system_leaves_nothing_of_a_stopped_worker_on_a_thread_for_sockets() {
    survives_clean("system_ends_with_threads/stopped");
}

#[test]
fn end_of_system_leaves_nothing_of_an_initializer_on_a_thread_for_sockets() {
    survives_clean("system_ends_with_threads/initializing");
}

#[test]
fn drop_of_the_last_address_leaves_nothing_of_an_idle_worker() {
    survives_clean("addresses_are_dropped/idle");
}

#[test]
fn drop_of_the_last_address_leaves_nothing_of_a_loop_that_never_awaits() {
    survives_clean("addresses_are_dropped/spinning");
}

#[test]
fn drop_of_the_last_address_leaves_nothing_of_an_initializer() {
    survives_clean("addresses_are_dropped/initializing");
}

#[test]
fn drop_of_the_last_address_leaves_nothing_of_a_stopped_worker() {
    survives_clean("addresses_are_dropped/stopped");
}

#[test]
fn drop_of_the_last_address_leaves_nothing_of_a_worker_with_a_full_socket() {
    survives_clean("addresses_are_dropped/full");
}

#[test]
fn killed_host_leaves_nothing_of_an_idle_worker() {
    is_killed_and_leaves_nothing("idle");
}

#[test]
fn killed_host_leaves_nothing_of_a_loop_that_never_awaits() {
    is_killed_and_leaves_nothing("spinning");
}

#[test]
fn killed_host_leaves_nothing_of_an_initializer() {
    is_killed_and_leaves_nothing("initializing");
}

#[test]
fn killed_host_leaves_nothing_of_an_initializer_that_fails_after_it() {
    is_killed_and_leaves_nothing("failing");
}

#[test]
fn killed_host_leaves_nothing_of_a_stopped_worker() {
    // Orphans go to a process of their own session, as in a container whose first process is a shell; otherwise the
    // kernel itself would continue what was stopped in a group that is orphaned.
    nix::sys::prctl::set_child_subreaper(true).expect("a setting of this process");
    is_killed_and_leaves_nothing("stopped");
}

#[test]
fn killed_host_leaves_nothing_of_a_worker_with_a_full_socket() {
    is_killed_and_leaves_nothing("full");
}

#[test]
fn handles_on_another_thread_settle_when_the_system_ends() {
    let base = tempfile::tempdir().expect("a directory");
    let file = base.path().join("started");
    let system = System::new();
    let handles = system.block_on(async {
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(1)
            .socket_dir(base.path())
            .start()
            .await
            .expect("a pool");
        let wait = Wait { file: file.clone() };
        let handles: Vec<_> = (0..20).map(|_| pool.submit(wait.clone())).collect();
        soon(WATCHDOG, "a started task", || file.exists()).await;
        handles
    });
    let awaited = thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime")
            .block_on(async {
                let mut outcomes = Vec::new();
                for handle in handles {
                    let outcome = tokio::time::timeout(WATCHDOG, handle).await;
                    outcomes.push(outcome.expect("a handle that settles"));
                }
                outcomes
            })
    });
    System::current().stop();
    system_of_the_thread_ends(system);
    let mut outcomes = awaited.join().expect("a thread").into_iter();
    match outcomes.next() {
        Some(Err(TaskError::WorkerLost(report))) => {
            assert_eq!(*report.cause(), LossCause::PoolGone);
            assert_eq!(report.started(), Started::Yes);
            assert_eq!(report.suspects(), 0);
        }
        other => panic!("a started task came to {other:?}"),
    }
    for outcome in outcomes {
        assert!(
            matches!(outcome, Err(TaskError::Rejected(Rejected::Closed))),
            "a task that never ran came to {outcome:?}"
        );
    }
}

#[track_caller]
fn system_of_the_thread_ends(system: actix::SystemRunner) {
    let asked = Instant::now();
    system.run().expect("a system that was stopped");
    assert!(asked.elapsed() < SLACK, "it took {:?}", asked.elapsed());
}

#[test]
fn handle_gets_its_result_from_a_pool_nobody_holds_and_does_not_keep_it_open() {
    run(async {
        let base = tempfile::tempdir().expect("a directory");
        let file = base.path().join("started");
        let pool = start(base.path(), 1).await;
        let (worker, left) = pool.submit(Leave {}).await.expect("a process");
        let waiting = pool.submit(Wait { file: file.clone() });
        soon(WATCHDOG, "a started task", || file.exists()).await;
        drop(pool);
        put(base.path(), "started.go");
        // The handle is there and unsettled, then settled and untaken.
        soon(GRACE + SLACK, "the pool ends", || !exists(worker)).await;
        soon(SLACK, "what it started ends", || !is_alive(left)).await;
        waiting.await.expect("a result of the pool that has ended");
        soon(SLACK, "its directory goes", || {
            !fs::read_dir(base.path())
                .expect("a directory")
                .flatten()
                .any(|entry| entry.path().is_dir())
        })
        .await;
    });
}
