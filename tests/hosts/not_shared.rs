//! What a worker does not share with its host, and that each remedy is one.
#![cfg(target_os = "linux")]

use std::{
    cell::Cell,
    env, fs,
    hash::BuildHasher,
    hash::RandomState,
    panic,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use actix::System;
use actix_multiprocess::{Launcher, Pool, TaskError, WorkerSpec, worker_entry};
use nix::sys::signal::Signal;

use crate::process_support::{
    self, Host, WATCHDOG, Warnings, directory, has, host, put, run, scenario, signal, soon, task,
};

static COUNT: AtomicU32 = AtomicU32::new(0);
static LOCK: Mutex<()> = Mutex::new(());

thread_local! {
    static LOCAL: Cell<u32> = const { Cell::new(0) };
}

task! {
    /// Raises the counter of its process, and returns what it and the thread's were.
    Count {} -> (u32, u32), |_this, _cx| (COUNT.fetch_add(1, Ordering::Relaxed), LOCAL.get())
}

task! {
    Lock {} -> bool, |_this, _cx| LOCK.try_lock().is_ok()
}

task! {
    Panic {} -> (), |_this, _cx| panic!("as told")
}

task! {
    Logs {} -> bool, |_this, _cx| tracing::event_enabled!(tracing::Level::INFO)
}

task! {
    Threads {} -> Vec<String>, |_this, _cx| threads()
}

task! {
    /// Directory and process.
    Whereabouts {} -> (String, u32), |_this, cx| {
        (env::current_dir()?.display().to_string(), cx.worker().pid)
    }
}

task! {
    Random {} -> u64, |_this, _cx| RandomState::new().hash_one(0)
}

worker_entry!(
    WorkerSpec::new()
        .setup(|_| {
            // The remedies, where a test asks for them.
            if env::var_os("SET_UP").is_some() {
                COUNT.store(100, Ordering::Relaxed);
                panic::set_hook(Box::new(|_| put(&directory(), "workers_hook")));
                let log = Warnings::and_down_to(tracing::Level::INFO);
                tracing::subscriber::set_global_default(log).expect("no logger before");
            }
        })
        .task::<Count>()
        .task::<Lock>()
        .task::<Panic>()
        .task::<Logs>()
        .task::<Threads>()
        .task::<Whereabouts>()
        .task::<Random>()
);

async fn start(set_up: bool) -> Pool {
    let launcher = match set_up {
        true => Launcher::own_image().env("SET_UP", "1"),
        false => Launcher::own_image(),
    };
    let pool = Pool::builder(workers()).processes(1).launcher(launcher);
    pool.start().await.expect("a pool")
}

fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("a file system of processes");
    let names = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

/// In a host of its own, because all of it is a process's.
#[track_caller]
fn holds(scenario: &str) {
    Host::start(scenario).succeed();
}

async fn statics() {
    COUNT.store(7, Ordering::Relaxed);
    LOCAL.set(7);
    let (one, other) = (start(false).await, start(true).await);
    assert_eq!(one.submit(Count {}).await.expect("numbers"), (0, 0));
    assert_eq!(one.submit(Count {}).await.expect("numbers"), (1, 0));
    // The remedy: what a worker needs is made in the worker.
    assert_eq!(other.submit(Count {}).await.expect("numbers"), (100, 0));
    assert_eq!(COUNT.load(Ordering::Relaxed), 7);
    let held = LOCK.lock();
    assert!(one.submit(Lock {}).await.expect("an answer"));
    drop(held);
}

async fn panic_hook(base: &Path) {
    let hook = base.join("hosts_hook");
    panic::set_hook(Box::new(move |_| fs::write(&hook, b"").expect("a file")));
    for set_up in [false, true] {
        let pool = start(set_up).await;
        let outcome = pool.submit(Panic {}).await;
        assert!(matches!(outcome, Err(TaskError::Panicked(_))));
        assert_eq!(has(base, "workers_hook"), set_up);
    }
    assert!(!has(base, "hosts_hook"));
}

async fn logger() {
    let log = Warnings::and_down_to(tracing::Level::INFO);
    tracing::subscriber::set_global_default(log).expect("no logger before");
    for set_up in [false, true] {
        let pool = start(set_up).await;
        assert_eq!(pool.submit(Logs {}).await.expect("an answer"), set_up);
    }
}

async fn thread_pools() {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let helper = std::thread::Builder::new().name("helper".to_owned());
    let (begin, begun) = std::sync::mpsc::channel();
    let run = move || begin.send(()).is_ok() && ended.recv().is_ok();
    let helper = helper.spawn(run).expect("a thread");
    // It has its name by now.
    begun.recv().expect("a thread");
    let pool = start(false).await;
    let of_worker = pool.submit(Threads {}).await.expect("names");
    assert!(threads().contains(&"helper".to_owned()));
    assert!(!of_worker.contains(&"helper".to_owned()), "{of_worker:?}");
    drop(end);
    let _ = helper.join();
}

async fn working_directory(base: &Path) {
    let before = env::current_dir().expect("a directory");
    let pool = start(false).await;
    let (is, pid) = pool.submit(Whereabouts {}).await.expect("a place");
    assert_eq!(Path::new(&is), before);
    env::set_current_dir(base).expect("a directory");
    let (is, _) = pool.submit(Whereabouts {}).await.expect("a place");
    assert_eq!(Path::new(&is), before);
    // Its successor starts where the host is by then, unless a directory is named.
    signal(pid, Signal::SIGKILL);
    soon(WATCHDOG, "it has gone", || !process_support::exists(pid)).await;
    let (is, _) = pool.submit(Whereabouts {}).await.expect("a place");
    assert_eq!(Path::new(&is), base.canonicalize().expect("a path"));
}

#[test]
fn host_process() {
    host(|scenario, base| {
        System::new().block_on(async {
            match scenario {
                "statics" => statics().await,
                "panic_hook" => panic_hook(base).await,
                "logger" => logger().await,
                "thread_pools" => thread_pools().await,
                "working_directory" => working_directory(base).await,
                _ => panic!("no scenario: {scenario}"),
            }
        });
    });
}

#[test]
fn statics_thread_locals_and_locks_are_each_workers_own() {
    holds("statics");
}

#[test]
fn a_panic_hook_of_the_host_is_none_of_its_workers() {
    holds("panic_hook");
}

#[test]
fn a_logger_of_the_host_is_none_of_its_workers() {
    holds("logger");
}

#[test]
fn threads_of_the_host_are_not_in_its_workers() {
    holds("thread_pools");
}

#[test]
fn a_directory_that_the_host_changes_to_is_that_of_later_workers_only() {
    holds("working_directory");
}

#[test]
fn random_numbers_are_seeded_in_each_worker() {
    assert!(scenario().is_none());
    run(async {
        let (one, other) = (start(false).await, start(false).await);
        let numbers = [
            one.submit(Random {}).await.expect("a number"),
            other.submit(Random {}).await.expect("a number"),
            RandomState::new().hash_one(0),
        ];
        let [a, b, c] = numbers;
        assert!(a != b && b != c && a != c, "{numbers:?}");
    });
}
