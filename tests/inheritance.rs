//! What is the host's stays the host's: descriptors, children, dispositions of signals.
#![cfg(target_os = "linux")]

mod process_support;

use std::{
    collections::HashSet,
    fs::{self, File},
    net::TcpListener,
    os::{fd::AsRawFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    time::Duration,
};

use actix::System;
use actix_multiprocess::{
    LossCause, Pool, RemoteError, SlotState, SlotStatus, TaskError, WorkerSpec, worker_entry,
};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::Signal,
};

use process_support::{
    Host, Possessions, WATCHDOG, Warnings, directory, exists, host, is_alive, no_socket_below, run,
    scenario, signal, soon, status_is, task,
};

/// The descriptors of this process, and what is behind them.
fn descriptors() -> Vec<(u32, String)> {
    fs::read_dir("/proc/self/fd")
        .expect("a file system of processes")
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// Those of this process that a careless parent has given to it, and to whatever it starts.
fn inheritable() -> Vec<u32> {
    descriptors()
        .into_iter()
        .filter(|(number, _)| {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
            let info = info.unwrap_or_default();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
            flags.is_some_and(|flags| flags & 0o2_000_000 == 0)
        })
        .map(|(number, _)| number)
        .collect()
}

task! {
    /// What the worker's descriptors are.
    Descriptors {} -> Vec<(u32, String)>, |_this, _cx| descriptors()
}

task! {
    Whoami {} -> u32, |_this, cx| cx.worker().pid
}

task! {
    /// Says that it has started and does not end.
    Endless { file: PathBuf } -> (), |this, _cx| {
        fs::write(&this.file, b"").expect("a file");
        std::future::pending().await
    }
}

task! {
    /// How a process ended that the task has started.
    Starts {} -> Option<i32>, |_this, _cx| {
        let status = std::process::Command::new("sh").args(["-c", "exit 7"]).status();
        status.ok().and_then(|status| status.code())
    }
}

/// Takes its time as long as somebody has asked one worker to.
async fn initialize() -> Result<(), RemoteError> {
    let Some(base) = scenario().map(|_| directory()) else {
        return Ok(());
    };
    if fs::rename(base.join("hold"), base.join("held")).is_ok() {
        soon(WATCHDOG, "a word to go on", || !base.join("held").exists()).await;
    }
    Ok(())
}

worker_entry!(
    WorkerSpec::new()
        .state(initialize)
        .task::<Starts>()
        .task::<Descriptors>()
        .task::<Whoami>()
        .task::<Endless>()
);

async fn start(base: &Path, processes: usize) -> Pool {
    Pool::builder(workers())
        .processes(processes)
        .socket_dir(base)
        .wait_all()
        .start()
        .await
        .expect("a pool")
}

#[test]
fn workers_inherit_nothing_of_a_host_with_many_descriptors() {
    run(async {
        let base = tempfile::tempdir().expect("a directory");
        let files: Vec<_> = (0..100)
            .map(|number| File::create(base.path().join(format!("file-{number}"))))
            .collect::<Result<_, _>>()
            .expect("100 files");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let given = inheritable();
        let pool = start(base.path(), 2).await;
        // The second generation, too, of a host that has a pool's own descriptors by then.
        for _ in 0..2 {
            let worker = pool.submit(Whoami {}).await.expect("an answer");
            // Sockets and pipes have numbers in their names; what all processes have alike says nothing.
            let hosts: HashSet<_> = descriptors()
                .into_iter()
                .map(|(_, target)| target)
                .filter(|target| target != "/dev/null" && !target.starts_with("anon_inode:"))
                .collect();
            assert!(hosts.len() > 101, "{hosts:?}");
            for (number, target) in pool.submit(Descriptors {}).await.expect("a list") {
                assert!(
                    number < 3 || given.contains(&number) || !hosts.contains(&target),
                    "the worker's {number} is the host's {target}"
                );
            }
            signal(worker, Signal::SIGKILL);
            soon(WATCHDOG, "the worker is gone", || !exists(worker)).await;
        }
        // Nobody else holds the listening socket.
        let address = listener.local_addr().expect("an address");
        drop(listener);
        soon(WATCHDOG, "the address is free", || {
            TcpListener::bind(address).is_ok()
        })
        .await;
        pool.stop().await;
        drop(files);
    });
}

#[test]
fn the_hosts_own_children_end_with_their_own_statuses() {
    run(async {
        let base = tempfile::tempdir().expect("a directory");
        let pool = start(base.path(), 2).await;
        let mut children = Vec::new();
        for code in 0..20 {
            let mut child = tokio::process::Command::new("sh")
                .args(["-c", &format!("read line; exit {code}")])
                .stdin(Stdio::piped())
                .spawn()
                .expect("a process");
            if code % 2 == 0 {
                // Has ended and waits to be reaped when the pool reaps its own.
                drop(child.stdin.take());
                let id = child.id().expect("an id");
                soon(WATCHDOG, "it has ended", || !is_alive(id)).await;
            }
            children.push((code, child));
            if code % 5 == 0 {
                let worker = pool.submit(Whoami {}).await.expect("an answer");
                signal(worker, Signal::SIGKILL);
                soon(WATCHDOG, "the worker is gone", || !exists(worker)).await;
            }
        }
        status_is(&pool, "four were lost", |status| {
            status.slots.iter().map(|slot| slot.restarts).sum::<u64>() == 4
        })
        .await;
        for (code, child) in &mut children {
            drop(child.stdin.take());
            let status = child.wait().await.expect("a status");
            assert_eq!(status.code(), Some(*code));
        }
        pool.stop().await;
        // Also those that end with nobody at home.
        let mut last = tokio::process::Command::new("sh")
            .args(["-c", "kill -KILL $$"])
            .spawn()
            .expect("a process");
        let status = last.wait().await.expect("a status");
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    });
}

/// Leaves a file open for the children of this process, and returns how it is named.
fn leave_open(path: &Path) -> (File, String) {
    let file = File::create(path).expect("a file");
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).expect("a flag");
    let name = format!("{} -> {}", file.as_raw_fd(), path.display());
    (file, name)
}

/// A host with descriptors that its children get: one from the beginning, and one later.
async fn has_inheritable_descriptors(base: &Path, lines: &Mutex<Vec<String>>) {
    let (_first, first) = leave_open(&base.join("left-open"));
    let pool = start(base, 3).await;
    let worker = pool.submit(Whoami {}).await.expect("an answer");
    let (_later, later) = leave_open(&base.join("left-open-later"));
    signal(worker, Signal::SIGKILL);
    soon(WATCHDOG, "the worker is gone", || !exists(worker)).await;
    // Its successor has both.
    status_is(&pool, "replaced", |status| {
        status.slots.iter().any(|slot| slot.generation == 1)
            && status
                .slots
                .iter()
                .all(|slot| slot.state == SlotState::Ready)
    })
    .await;
    // One that takes its time to get ready has been started without the last.
    fs::write(base.join("hold"), b"").expect("a file");
    pool.resize(4).await.expect("a worker more");
    let held = base.join("held");
    soon(WATCHDOG, "it initializes", || held.exists()).await;
    let (_last, last) = leave_open(&base.join("left-open-last"));
    let worker = pool.submit(Whoami {}).await.expect("an answer");
    signal(worker, Signal::SIGKILL);
    status_is(&pool, "replaced once more", |status| {
        let ready = |slot: &&SlotStatus| slot.state == SlotState::Ready;
        status.slots.iter().map(|slot| slot.restarts).sum::<u64>() == 2
            && status.slots.iter().filter(ready).count() == 3
    })
    .await;
    fs::remove_file(held).expect("it waits");
    pool.stop().await;
    let lines = lines.lock().expect("a lock");
    for name in [first, later, last] {
        let named = lines.iter().filter(|line| line.contains(&name)).count();
        assert_eq!(named, 1, "of {name} in {lines:?}");
    }
}

/// A host that ignores SIGCHLD: the system reaps its children before it can.
async fn ignores_sigchld(base: &Path) {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .expect("a mask");
    assert!(
        ignored & (1 << (Signal::SIGCHLD as u64 - 1)) != 0,
        "{ignored:x}"
    );
    let before = {
        let pool = start(base, 1).await;
        pool.submit(Whoami {}).await.expect("an answer");
        pool.stop().await;
        Possessions::now()
    };
    let pool = start(base, 2).await;
    // The disposition is inherited, and what a task starts it wants to know the end of.
    let code = pool.submit(Starts {}).await.expect("an answer");
    assert_eq!(code, Some(7));
    // Killed at once, and again when replaced.
    for round in 0..3 {
        let file = base.join(format!("endless-{round}"));
        let endless = pool.submit(Endless { file: file.clone() });
        soon(WATCHDOG, "a started task", || file.exists()).await;
        let status = pool.status().await;
        for slot in status.slots.iter().filter(|slot| slot.in_flight > 0) {
            signal(slot.pid.expect("a worker"), Signal::SIGKILL);
        }
        match endless.await {
            Err(TaskError::WorkerLost(report)) => {
                // How it ended only the system knows.
                assert!(
                    matches!(report.cause(), LossCause::Exited | LossCause::Signal),
                    "{report:?}"
                );
            }
            other => panic!("a killed worker's task came to {other:?}"),
        }
        pool.submit(Whoami {}).await.expect("an answer");
    }
    pool.stop().await;
    before.are_all_soon(Duration::from_secs(2)).await;
    no_socket_below(base);
}

#[test]
fn host_process() {
    host(|scenario, base| match scenario {
        "ignores_sigchld" => System::new().block_on(ignores_sigchld(base)),
        "has_an_inheritable_descriptor" => {
            let warnings = Warnings::default();
            let lines = warnings.lines();
            tracing::subscriber::with_default(warnings, || {
                System::new().block_on(has_inheritable_descriptors(base, &lines));
            });
        }
        _ => panic!("no scenario: {scenario}"),
    });
}

#[test]
fn inheritable_descriptor_is_named_once_in_a_warning() {
    // In a process of its own: workers of other tests would get it, too.
    Host::start("has_an_inheritable_descriptor").succeed();
}

#[test]
fn ignored_sigchld_is_survived() {
    // By the program before it, as dispositions are inherited.
    let through = ["env", "--ignore-signal=CHLD"];
    let mut host = Host::start_with("ignores_sigchld", &through, |_| {});
    host.succeed();
    let left = host.processes();
    assert!(left.is_empty(), "processes are left: {left:?}");
}
