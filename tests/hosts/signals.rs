//! Signals to a host and its workers are the host's to act on.
#![cfg(target_os = "linux")]

use std::{fs, os::unix::process::ExitStatusExt, path::Path, time::Duration};

use actix::System;
use actix_multiprocess::{Pool, PoolState, WorkerSpec, worker_entry};
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal as signals};

use crate::process_support::{
    Host, WATCHDOG, directory, eventually, exists, host, put, run, say, signal, soon, task,
};

const TASKS: usize = 32;

task! {
    /// Takes 500 ms and says that it has begun.
    Half { number: u32 } -> u32, |this, _cx| {
        put(&directory(), &format!("begun-{}", this.number));
        tokio::time::sleep(Duration::from_millis(500)).await;
        this.number
    }
}

task! {
    Whoami {} -> u32, |_this, cx| cx.worker().pid
}

worker_entry!(WorkerSpec::new().task::<Half>().task::<Whoami>());

fn begun(base: &Path) -> usize {
    fs::read_dir(base)
        .expect("a directory")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("begun-"))
        .count()
}

/// What every service does: the first signal drains the pool, then the process ends.
async fn drains_when_signalled(base: &Path) {
    let mut terminated = signals(SignalKind::terminate()).expect("a handler");
    let mut interrupted = signals(SignalKind::interrupt()).expect("a handler");
    let pool = Pool::builder(workers())
        .processes(2)
        .concurrency(16)
        .socket_dir(base)
        .wait_all()
        .start()
        .await
        .expect("a pool");
    let numbers = 0..u32::try_from(TASKS).expect("a number");
    let handles: Vec<_> = numbers
        .clone()
        .map(|number| pool.submit(Half { number }))
        .collect();
    soon(WATCHDOG, "every task runs", || begun(base) == TASKS).await;
    let status = pool.status().await;
    let pids: Vec<_> = status
        .slots
        .iter()
        .map(|slot| slot.pid.expect("a worker").to_string())
        .collect();
    say("running", pids.join(" "));
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    let report = pool.drain(WATCHDOG).await;
    assert_eq!(report.outstanding, report.counts.settled(), "{report:?}");
    assert_eq!(report.killed, 0, "{report:?}");
    for (number, handle) in numbers.zip(handles) {
        assert_eq!(handle.await.expect("a result"), number);
    }
    say("results", TASKS);
}

#[test]
fn host_process() {
    host(|_, base| System::new().block_on(drains_when_signalled(base)));
}

/// Starts the host and waits until all tasks run. Returns its workers, too.
fn running() -> (Host, Vec<u32>) {
    let mut host = Host::start("drains_when_signalled");
    let workers = host
        .expect("running")
        .split(' ')
        .map(|pid| pid.parse().expect("a process id"))
        .collect();
    (host, workers)
}

fn gets_all_results_and_exits_with_0(mut host: Host) {
    assert_eq!(host.expect("results"), TASKS.to_string());
    let status = host.wait();
    assert_eq!(status.signal(), None);
    assert_eq!(status.code(), Some(0));
    let left = host.processes();
    assert!(left.is_empty(), "processes are left: {left:?}");
}

#[test]
fn sigterm_to_host_and_workers_at_once_loses_no_result_of_a_host_that_drains() {
    let (host, workers) = running();
    host.signal(Signal::SIGTERM);
    for worker in workers {
        signal(worker, Signal::SIGTERM);
    }
    gets_all_results_and_exits_with_0(host);
}

#[test]
fn sigterm_to_the_workers_first_loses_no_result_either() {
    let (host, workers) = running();
    for worker in workers {
        signal(worker, Signal::SIGTERM);
    }
    host.signal(Signal::SIGTERM);
    gets_all_results_and_exits_with_0(host);
}

#[test]
fn ctrl_c_to_the_process_group_and_the_workers_loses_no_result_of_a_host_that_drains() {
    let (host, workers) = running();
    host.signal_group(Signal::SIGINT);
    for worker in workers {
        // A terminal does not reach them in their groups; an impatient user does.
        signal(worker, Signal::SIGINT);
    }
    gets_all_results_and_exits_with_0(host);
}

#[test]
fn workers_go_on_when_they_alone_are_signalled() {
    run(async {
        let base = tempfile::tempdir().expect("a directory");
        let pool = Pool::builder(workers())
            .processes(1)
            .socket_dir(base.path())
            .start()
            .await
            .expect("a pool");
        let worker = pool.submit(Whoami {}).await.expect("an answer");
        for _ in 0..20 {
            for each in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
                signal(worker, each);
            }
            assert_eq!(pool.submit(Whoami {}).await.expect("an answer"), worker);
        }
        let status = pool.status().await;
        assert_eq!(status.state, PoolState::Running);
        assert_eq!(status.slots[0].restarts, 0);
        pool.stop().await;
        eventually(WATCHDOG, "the worker ends", || !exists(worker));
    });
}
