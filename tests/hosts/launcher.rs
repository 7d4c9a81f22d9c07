//! Workers that are started in another way: by another program, elsewhere, with another environment.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeMap,
    env,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use actix::System;
use actix_multiprocess::{
    Launcher, NoError, Pool, PoolState, StartError, Task, TaskContext, TaskHandle, WorkerSpec,
    worker_entry,
};
use nix::{
    sys::signal::Signal,
    unistd::{getpgrp, getppid},
};

use serde::{Deserialize, Serialize};

use crate::process_support::{
    Host, eventually, host, is_alive, leave_a_process, run, say, signal, soon, task,
};

task! {
    /// Environment, working directory, arguments.
    Around {} -> (BTreeMap<String, String>, String, Vec<String>), |_this, _cx| (
        env::vars().collect(),
        env::current_dir().expect("a directory").display().to_string(),
        env::args().collect(),
    )
}

task! {
    /// Process as it knows itself and as its context does, parent, group.
    Identity {} -> (u32, u32, u32, u32), |_this, cx| (
        std::process::id(),
        cx.worker().pid,
        getppid().as_raw().cast_unsigned(),
        getpgrp().as_raw().cast_unsigned(),
    )
}

task! {
    /// Starts a process that goes on.
    Leave {} -> u32, |_this, _cx| leave_a_process()
}

task! {
    /// Says that it has started, and never awaits.
    Spin { sign: PathBuf } -> (), |this, _cx| {
        std::fs::write(&this.sign, b"").expect("a file");
        loop {
            std::hint::spin_loop();
        }
    }
}

/// A task of which there are several versions.
#[derive(Serialize, Deserialize)]
struct Versioned<const VERSION: u32>;

impl<const V: u32> Task for Versioned<V> {
    const NAME: &'static str = "versioned";
    const VERSION: u32 = V;
    type Output = u32;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<u32, NoError> {
        Ok(V)
    }
}

/// In whose environment this is, is the next version of this program.
const NEXT: &str = "NEXT_VERSION";

fn spec() -> WorkerSpec {
    let spec = WorkerSpec::new()
        .task::<Around>()
        .task::<Identity>()
        .task::<Leave>()
        .task::<Spin>();
    if env::var_os(NEXT).is_some() {
        spec.task::<Versioned<1>>()
    } else {
        spec.task::<Versioned<0>>()
    }
}

worker_entry!(spec());

/// What makes a test binary come to its `worker_entry`, when it is named as a program like any other.
fn harness(launcher: Launcher) -> Launcher {
    [
        "launcher::worker_entry",
        "--exact",
        "--nocapture",
        "--test-threads=1",
    ]
    .into_iter()
    .fold(launcher, Launcher::arg)
}

/// Runs what is behind it in a process of its own and waits for that, as a shell does.
fn shell() -> Launcher {
    Launcher::own_image().wrapper("sh", ["-c", "\"$@\"; exit $?", "sh"])
}

async fn start(launcher: Launcher) -> Pool {
    Pool::builder(workers())
        .processes(1)
        .launcher(launcher)
        .start()
        .await
        .expect("a pool")
}

/// A task that has started and does not end.
async fn spinning(pool: &Pool) -> TaskHandle<Spin> {
    let directory = tempfile::tempdir().expect("a directory");
    let sign = directory.path().join("started");
    let spin = pool.submit(Spin { sign: sign.clone() });
    soon(Duration::from_secs(20), "it starts", || sign.exists()).await;
    spin
}

async fn refused(launcher: Launcher) -> String {
    let started = Pool::builder(workers())
        .processes(1)
        .launcher(launcher)
        .start()
        .await;
    match started {
        Err(error @ StartError::Worker(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cleared_environment_has_what_it_is_given_and_the_thread_counts() {
    run(async {
        let launcher = Launcher::own_image()
            .env_clear()
            .env("A", "1")
            .env("B", "2")
            .env_remove("A")
            .env("RAYON_NUM_THREADS", "3")
            .env_remove("OMP_NUM_THREADS");
        let pool = start(launcher).await;
        let (mut variables, ..) = pool.submit(Around {}).await.expect("an answer");
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for name in ["MKL_NUM_THREADS", "TOKIO_WORKER_THREADS"] {
            assert_eq!(variables[name], threads.to_string(), "{name}");
        }
        variables.retain(|name, _| name == "RAYON_NUM_THREADS" || !name.contains("_THREADS"));
        let expected = [("B", "2"), ("RAYON_NUM_THREADS", "3")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(variables, expected.into());
        pool.stop().await;
    });
}

#[test]
fn without_a_word_the_environment_and_the_directory_are_those_of_the_host() {
    run(async {
        let pool = start(Launcher::own_image().arg("marked")).await;
        let (variables, directory, arguments) = pool.submit(Around {}).await.expect("an answer");
        assert_eq!(variables["PATH"], env::var("PATH").expect("a path"));
        assert_eq!(Path::new(&directory), env::current_dir().expect("one"));
        let marked = arguments.iter().position(|argument| argument == "marked");
        assert_eq!(marked, Some(arguments.len() - 2), "{arguments:?}");
        pool.stop().await;
    });
}

#[test]
fn workers_start_in_the_directory_that_is_named() {
    run(async {
        let base = tempfile::tempdir().expect("a directory");
        let base = base.path().canonicalize().expect("a path");
        let pool = start(Launcher::own_image().current_dir(&base)).await;
        let (_, directory, _) = pool.submit(Around {}).await.expect("an answer");
        assert_eq!(Path::new(&directory), base);
        pool.stop().await;

        let text = refused(Launcher::own_image().current_dir(base.join("nowhere"))).await;
        let expected = format!(
            "its working directory {}/nowhere is not there",
            base.display()
        );
        assert!(text.contains(&expected), "{text}");
    });
}

#[test]
fn a_program_that_is_not_there_is_named() {
    run(async {
        for program in ["/nowhere/worker", "no-such-worker"] {
            let text = refused(Launcher::program(program)).await;
            assert!(text.contains(program), "{text}");
            assert!(text.contains("No such file"), "{text}");
        }
        let text = refused(Launcher::own_image().wrapper("no-such-wrapper", ["-x"])).await;
        assert!(text.contains("no-such-wrapper"), "{text}");
    });
}

#[test]
fn a_relative_program_is_one_from_the_hosts_directory() {
    let mut host = Host::start_with("is_relative", &[], |_| {});
    host.succeed();
}

#[test]
fn a_wrapper_starts_the_program_of_a_host_whose_file_has_gone() {
    let copied = "cp \"$0\" \"$HOST_DIRECTORY/copy\" && exec \"$HOST_DIRECTORY/copy\" \"$@\"";
    let mut host = Host::start_with("has_no_file", &["sh", "-c", copied], |_| {});
    host.succeed();
}

async fn has_no_file(base: &Path) {
    std::fs::remove_file(base.join("copy")).expect("the file of this program");
    let pool = start(shell()).await;
    pool.submit(Identity {}).await.expect("an answer");
    pool.stop().await;
}

async fn is_relative(base: &Path) {
    symlink(
        env::current_exe().expect("this program"),
        base.join("worker"),
    )
    .expect("a link");
    env::set_current_dir(base).expect("a directory");
    let launcher = harness(Launcher::program("./worker")).current_dir("/");
    let pool = start(launcher).await;
    let (_, directory, _) = pool.submit(Around {}).await.expect("an answer");
    assert_eq!(directory, "/");
    pool.stop().await;
}

/// What replaces a program is looked at when a worker starts, and costs those that run nothing.
#[test]
fn a_program_replaced_by_another_version_stops_no_running_worker_and_opens_no_circuit() {
    replaced_by(|base| {
        let program = base.join("next version");
        let own = env::current_exe().expect("this program");
        let script = format!("#!/bin/sh\n{NEXT}=1 exec '{}' \"$@\"\n", own.display());
        std::fs::write(&program, script).expect("a program");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&program, mode).expect("its mode");
        program
    });
}

#[test]
fn a_program_replaced_by_none_stops_no_running_worker_and_opens_no_circuit() {
    replaced_by(|_| PathBuf::from("/bin/false"));
}

fn replaced_by(other: impl FnOnce(&Path) -> PathBuf) {
    run(async {
        let base = tempfile::tempdir().expect("a directory");
        let (program, next) = (base.path().join("worker"), base.path().join("next"));
        let replace = |with: &Path| {
            symlink(with, &next).expect("a link");
            std::fs::rename(&next, &program).expect("a new name");
        };
        let own = env::current_exe().expect("this program");
        replace(&own);
        let pool = Pool::builder(workers())
            .processes(2)
            .launcher(harness(Launcher::program(&program)))
            .wait_all()
            .start()
            .await
            .expect("a pool");
        let pids = async || {
            let slots = pool.status().await.slots;
            slots.iter().map(|slot| slot.pid).collect::<Vec<_>>()
        };
        let before = pids().await;

        replace(&other(base.path()));
        let first = before[0].expect("a process");
        signal(first, Signal::SIGKILL);
        // More than the budget of 5 would allow, were nobody ready.
        let mut failed = pool.status().await;
        while failed.slots[0].restarts < 7 {
            failed = pool.status().await;
            assert_eq!(failed.state, PoolState::Running);
            assert_eq!(failed.slots[1].pid, before[1]);
            let version = pool.submit(Versioned::<0>).await.expect("an answer");
            assert_eq!(version, 0);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        replace(&own);
        while pids().await.contains(&None) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(pids().await[1], before[1]);
        pool.stop().await;
    });
}

#[test]
fn a_wrapper_that_becomes_the_worker_keeps_its_process() {
    run(async {
        let pool = start(Launcher::own_image().wrapper("nice", ["-n", "5"])).await;
        let (process, known, parent, group) = pool.submit(Identity {}).await.expect("an answer");
        assert_eq!((parent, group), (std::process::id(), process));
        let status = pool.status().await;
        assert_eq!((known, status.slots[0].pid), (process, Some(known)));
        pool.stop().await;
    });
}

#[test]
fn a_worker_under_a_wrapper_that_forks_is_known_by_its_own_process() {
    run(async {
        let pool = start(shell()).await;
        let (process, known, parent, group) = pool.submit(Identity {}).await.expect("an answer");
        assert_ne!(parent, std::process::id());
        assert_eq!(group, parent);
        let status = pool.status().await;
        assert_eq!((known, status.slots[0].pid), (process, Some(known)));

        // Its loss is noticed, though the process that was started is another.
        let spin = spinning(&pool).await;
        signal(process, Signal::SIGKILL);
        let lost = spin.await.expect_err("a lost worker").to_string();
        assert!(lost.contains(&process.to_string()), "{lost}");
        let (next, ..) = pool.submit(Identity {}).await.expect("an answer");
        assert_ne!(next, process);
        pool.stop().await;
        assert!(!is_alive(process) && !is_alive(parent) && !is_alive(next));
    });
}

#[test]
fn a_loop_under_a_wrapper_is_killed_with_it() {
    run(async {
        let pool = start(shell()).await;
        let (process, _, parent, _) = pool.submit(Identity {}).await.expect("an answer");
        let spin = spinning(&pool).await;
        drop(spin);
        soon(Duration::from_secs(10), "both have gone", || {
            !is_alive(process) && !is_alive(parent)
        })
        .await;
        pool.submit(Identity {}).await.expect("an answer");
        pool.stop().await;
    });
}

/// A host whose workers are under a wrapper, with a loop that never ends.
async fn is_killed(wrapper: &[&str]) {
    let launcher = Launcher::own_image().wrapper(wrapper[0], &wrapper[1..]);
    let pool = Pool::builder(workers())
        .processes(1)
        .grace(Duration::from_millis(200))
        .launcher(launcher)
        .start()
        .await
        .expect("a pool");
    let (process, _, parent, _) = pool.submit(Identity {}).await.expect("an answer");
    let left = pool.submit(Leave {}).await.expect("a process");
    spinning(&pool).await.detach();
    say("runs", format_args!("{process} {parent} {left}"));
    std::future::pending().await
}

#[track_caller]
fn nothing_is_left_after(scenario: &str) {
    let mut host = Host::start(scenario);
    let pids: Vec<u32> = host
        .expect("runs")
        .split(' ')
        .map(|pid| pid.parse().expect("a number"))
        .collect();
    host.signal(Signal::SIGKILL);
    eventually(Duration::from_secs(10), "all have gone", || {
        !pids.iter().any(|pid| is_alive(*pid))
    });
}

#[test]
fn a_killed_host_leaves_no_worker_under_a_wrapper_that_forks() {
    nothing_is_left_after("is_killed_with_a_shell");
}

#[test]
fn a_killed_host_leaves_no_worker_in_a_session_of_its_own() {
    nothing_is_left_after("is_killed_with_a_session");
}

#[test]
fn host_process() {
    host(|scenario, base| match scenario {
        "has_no_file" => System::new().block_on(has_no_file(base)),
        "is_relative" => System::new().block_on(is_relative(base)),
        "is_killed_with_a_shell" => {
            System::new().block_on(is_killed(&["sh", "-c", "\"$@\"; exit $?", "sh"]));
        }
        "is_killed_with_a_session" => System::new().block_on(is_killed(&["setsid", "-w"])),
        _ => panic!("no scenario: {scenario}"),
    });
}
