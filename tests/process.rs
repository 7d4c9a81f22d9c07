//! One task in a process of its own.
#![cfg(target_os = "linux")]

mod common;
mod process_support;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use actix_multiprocess::{
    ExitStatus, Launcher, LossCause, Process, ProcessBuilder, RemoteError, StartError, Started,
    Submit, Task, TaskError, WorkerSpec, worker_entry,
};
use common::{Act, End, has, put, seen};
use process_support::{Host, Possessions, host, is_alive, task};

worker_entry!(
    WorkerSpec::new()
        .state_with(|dir: PathBuf| async move {
            put(&dir, &std::process::id().to_string(), "init");
            if dir.join("sick").exists() {
                return Err(RemoteError::new("sick", "the state cannot be made"));
            }
            while dir.join("wait").exists() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(dir)
        })
        .shutdown(|dir| async move { put(&dir, "hook", "ran") })
        .task::<Act>()
        .task::<Variable>(),
    PathBuf
);

task! {
    /// Reads a variable of the environment.
    Variable { name: String } -> Option<String>, |this, _cx| std::env::var(this.name).ok()
}

const GRACE: Duration = Duration::from_millis(200);

fn builder<T: Task>(dir: &Path) -> ProcessBuilder<T> {
    Process::builder(&workers())
        .init_args(dir.to_owned())
        .grace(GRACE)
}

#[track_caller]
fn run(test: impl AsyncFnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    common::run(test(dir.path()));
}

fn code(code: i32) -> Option<ExitStatus> {
    status(Some(code), None)
}

fn status(code: Option<i32>, signal: Option<i32>) -> Option<ExitStatus> {
    let mut status = ExitStatus::default();
    status.code = code;
    status.signal = signal;
    Some(status)
}

#[test]
fn outcome_comes_when_the_process_was_waited_for() {
    run(async |dir| {
        let task = Act::new(dir, "t", End::Ok).gated();
        let mut process = builder(dir).name("thumbs of May").spawn(task).unwrap();
        assert_eq!(process.name(), "thumbs of May");
        assert!(process.is_alive());
        seen(dir, "t", "started").await;
        let pid = process.pid().unwrap();
        let shown = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(shown.starts_with("thumbs of May\0"), "{shown:?}");
        assert!(process.try_result().is_none());
        assert!(process.wait_timeout(Duration::ZERO).await.is_none());
        assert_eq!((process.is_alive(), process.exit_status()), (true, None));
        put(dir, "t", "go");
        assert_eq!((&mut process).await.unwrap(), "t in slot 0");
        assert!(!process_support::exists(pid));
        assert_eq!((process.is_alive(), process.pid()), (false, None));
        assert_eq!(process.exit_status(), code(0));
        assert!(process.exit_status().unwrap().success());
        // It ended in good order, as nobody asks twice.
        assert!(has(dir, "hook", "ran"));
        assert!(process.try_result().is_none());
    });
}

#[test]
fn every_way_to_wait_gives_the_outcome() {
    run(async |dir| {
        let spawn = |name| builder(dir).spawn(Act::new(dir, name, End::Ok)).unwrap();
        let mut waited = spawn("waited");
        let outcome = waited.wait_timeout(Duration::from_secs(20)).await;
        assert_eq!(outcome.unwrap().unwrap(), "waited in slot 0");
        let mut tried = spawn("tried");
        let outcome = loop {
            match tried.try_result() {
                Some(outcome) => break outcome,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        assert_eq!(outcome.unwrap(), "tried in slot 0");
        assert!(!tried.is_alive());
    });
}

#[test]
fn processes_have_ids_and_names_of_their_own() {
    run(async |dir| {
        let processes =
            [(); 3].map(|()| builder(dir).spawn(Act::new(dir, "t", End::Wait)).unwrap());
        let ids: HashSet<u64> = processes.iter().map(Process::id).collect();
        assert_eq!(ids.len(), 3);
        for process in &processes {
            assert_eq!(process.name(), format!("process-{}", process.id()));
        }
    });
}

#[test]
fn a_process_has_the_environment_that_it_is_given() {
    run(async |dir| {
        let process = builder(dir).env("SEASON", "May").spawn(Variable {
            name: "SEASON".to_owned(),
        });
        assert_eq!(process.unwrap().await.unwrap().as_deref(), Some("May"));
        let process = builder(dir)
            .launcher(Launcher::own_image().env_clear())
            .spawn(Variable {
                name: "PATH".to_owned(),
            });
        assert_eq!(process.unwrap().await.unwrap(), None);
    });
}

#[test]
fn errors_and_panics_of_the_task_are_no_loss_of_the_process() {
    run(async |dir| {
        let mut failed = builder(dir).spawn(Act::new(dir, "e", End::Error)).unwrap();
        let Err(TaskError::Failed(error)) = (&mut failed).await else {
            panic!("not failed");
        };
        assert_eq!(error.message(), "as told");
        assert_eq!(failed.exit_status(), code(0));
        let mut panicked = builder(dir).spawn(Act::new(dir, "p", End::Panic)).unwrap();
        let outcome = (&mut panicked).await;
        assert!(
            matches!(outcome, Err(TaskError::Panicked(_))),
            "{outcome:?}"
        );
        assert_eq!(panicked.exit_status(), code(0));
    });
}

/// Not even for a task that may run again.
#[test]
fn a_process_that_is_lost_is_not_replaced() {
    run(async |dir| {
        for (end, expected) in [(End::Exit, code(3)), (End::Abort, status(None, Some(6)))] {
            let name = format!("{end:?}");
            let task = Submit::new(Act::new(dir, &name, end)).idempotent();
            let mut process = builder(dir).spawn(task).unwrap();
            let Err(TaskError::WorkerLost(report)) = (&mut process).await else {
                panic!("not lost");
            };
            assert_eq!((report.started(), report.generation()), (Started::Yes, 0));
            assert_eq!(process.exit_status(), expected);
            assert!(!has(dir, &name, "start2"));
        }
        let inits = std::fs::read_dir(dir).unwrap().flatten();
        let inits = inits.filter(|file| file.path().extension().is_some_and(|end| end == "init"));
        assert_eq!(inits.count(), 2);
    });
}

#[test]
fn a_process_that_does_not_get_ready_is_lost() {
    run(async |dir| {
        let lost = async |builder: ProcessBuilder<Act>| {
            let mut process = builder.spawn(Act::new(dir, "t", End::Ok)).unwrap();
            let Err(TaskError::WorkerLost(report)) = (&mut process).await else {
                panic!("not lost");
            };
            assert_eq!(report.cause(), &LossCause::Init);
            assert_eq!((report.started(), report.suspects()), (Started::No, 0));
            (report.to_string(), process.exit_status())
        };
        let (text, status) = lost(builder(dir).launcher(Launcher::program("/nowhere"))).await;
        assert!(text.contains("/nowhere"), "{text}");
        assert_eq!(status, Some(ExitStatus::default()));
        std::fs::write(dir.join("wait"), b"").unwrap();
        let limit = Duration::from_millis(300);
        let (text, _) = lost(builder(dir).start_timeout(limit)).await;
        assert!(text.contains("300ms"), "{text}");
        std::fs::write(dir.join("sick"), b"").unwrap();
        let (text, _) = lost(builder(dir)).await;
        assert!(text.contains("the state cannot be made"), "{text}");
        assert!(!has(dir, "t", "started"));
    });
}

fn is_ended_on_request<T: std::fmt::Debug>(outcome: &Result<T, TaskError<RemoteError>>) -> bool {
    matches!(outcome, Err(TaskError::WorkerLost(report))
        if report.cause() == &LossCause::Operator && report.suspects() == 0)
}

#[test]
fn a_terminated_process_ends_in_good_order_or_is_killed_after_its_grace() {
    run(async |dir| {
        let mut waits = builder(dir)
            .spawn(Act::new(dir, "waits", End::Wait))
            .unwrap();
        seen(dir, "waits", "started").await;
        waits.terminate();
        let outcome = (&mut waits).await;
        assert!(is_ended_on_request(&outcome), "{outcome:?}");
        assert!(has(dir, "waits", "dropped") && has(dir, "hook", "ran"));
        assert_eq!(waits.exit_status(), code(0));

        let mut spins = builder(dir)
            .spawn(Act::new(dir, "spins", End::Spin))
            .unwrap();
        seen(dir, "spins", "started").await;
        let began = Instant::now();
        spins.terminate();
        let outcome = (&mut spins).await;
        assert!(is_ended_on_request(&outcome), "{outcome:?}");
        assert!(began.elapsed() < GRACE + Duration::from_secs(2));
        assert_eq!(spins.exit_status(), status(None, Some(9)));
    });
}

#[test]
fn a_killed_process_ends_at_once_whatever_it_does() {
    run(async |dir| {
        for end in [End::Wait, End::Spin] {
            let name = format!("{end:?}");
            let mut process = builder(dir)
                .grace(Duration::from_secs(60))
                .spawn(Act::new(dir, &name, end))
                .unwrap();
            seen(dir, &name, "started").await;
            process.kill();
            let outcome = (&mut process).await;
            assert!(is_ended_on_request(&outcome), "{outcome:?}");
            assert_eq!(process.exit_status(), status(None, Some(9)));
        }
        assert!(!has(dir, "Wait", "dropped") && !has(dir, "hook", "ran"));
    });
}

#[test]
fn a_process_can_be_ended_before_it_is_ready() {
    run(async |dir| {
        std::fs::write(dir.join("wait"), b"").unwrap();
        for ask in [Process::terminate, Process::kill] {
            // At once, and when it initializes its state.
            for initializes in [false, true] {
                let mut process = builder(dir).spawn(Act::new(dir, "t", End::Ok)).unwrap();
                while initializes && process.pid().is_none() {
                    tokio::task::yield_now().await;
                }
                ask(&process);
                let outcome = (&mut process).await;
                assert!(is_ended_on_request(&outcome), "{outcome:?}");
                assert!(!process.is_alive());
            }
        }
        assert!(!has(dir, "t", "started"));
    });
}

#[test]
fn dropping_a_process_kills_it() {
    run(async |dir| {
        for end in [End::Wait, End::Spin] {
            let name = format!("{end:?}");
            let process = builder(dir)
                .grace(Duration::from_secs(60))
                .spawn(Act::new(dir, &name, end))
                .unwrap();
            seen(dir, &name, "started").await;
            let pid = process.pid().unwrap();
            drop(process);
            let ended = || async { !process_support::exists(pid) };
            common::eventually("it has gone", ended).await;
        }
        assert!(!has(dir, "Wait", "dropped"));
    });
}

#[test]
fn a_detached_process_goes_on_and_ends_with_its_task() {
    run(async |dir| {
        let process = builder(dir)
            .spawn(Act::new(dir, "t", End::Ok).gated())
            .unwrap();
        seen(dir, "t", "started").await;
        let pid = process.pid().unwrap();
        process.detach();
        // Its pool has had every chance to end.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(is_alive(pid));
        put(dir, "t", "go");
        let ended = || async { !process_support::exists(pid) };
        common::eventually("it has gone", ended).await;
        assert!(has(dir, "hook", "ran"));
    });
}

#[test]
fn the_end_of_the_system_ends_a_process_however_it_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, pids) = common::run(async {
        let spawn = |name| {
            builder(dir.path())
                .spawn(Act::new(dir.path(), name, End::Spin))
                .unwrap()
        };
        let (kept, detached) = (spawn("kept"), spawn("detached"));
        seen(dir.path(), "kept", "started").await;
        seen(dir.path(), "detached", "started").await;
        let pids = [kept.pid().unwrap(), detached.pid().unwrap()];
        detached.detach();
        (kept, pids)
    });
    assert!(!pids.into_iter().any(is_alive));
    assert!(!kept.is_alive());
}

/// In a host of its own: the other tests of this binary may run beside this one.
fn leaves_nothing(dir: &Path) {
    // What the first runtime of a process leaves.
    common::run(async {});
    let before = Possessions::now();
    common::run(async {
        let spawn = |name, end| builder(dir).spawn(Act::new(dir, name, end)).unwrap();
        spawn("awaited", End::Ok).await.unwrap();
        spawn("lost", End::Abort).await.unwrap_err();
        let killed = spawn("killed", End::Spin);
        killed.kill();
        killed.await.unwrap_err();
        let dropped = spawn("dropped", End::Spin);
        seen(dir, "dropped", "started").await;
        drop(dropped);
        spawn("detached", End::Slow).detach();
        let soon = Duration::from_secs(10);
        // But for what a running runtime has.
        process_support::soon(soon, "no process is left", || {
            process_support::children().is_empty()
        })
        .await;
        // The end of the system takes these.
        spawn("detached too", End::Spin).detach();
        seen(dir, "detached too", "started").await;
    });
    before.are_all(Duration::from_secs(5));
}

#[test]
fn processes_leave_nothing_of_the_operating_system_behind() {
    let mut host = Host::start("leaves_nothing");
    host.succeed();
}

#[test]
fn host_process() {
    host(|scenario, dir| match scenario {
        "leaves_nothing" => leaves_nothing(dir),
        _ => panic!("no scenario: {scenario}"),
    });
}

#[test]
fn without_an_arbiter_there_is_no_process() {
    let spawned = builder(Path::new("/")).spawn(Act::new(Path::new("/"), "t", End::Ok));
    assert!(matches!(spawned, Err(StartError::NoArbiter)), "{spawned:?}");
}
