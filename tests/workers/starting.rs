//! How many workers start at the same time.
#![cfg(target_os = "linux")]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::available_parallelism,
    time::{Duration, Instant},
};

use crate::common::{self, status_is};
use actix_multiprocess::{
    Launcher, NoError, Pool, RemoteError, Restart, SlotState, StartError, Task, TaskContext,
    WorkerSpec, WorkerStartError, Workers,
    testing::{Connection, Way, assert_clean, faulty, in_process},
    worker_entry,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Noop;

impl Task for Noop {
    const NAME: &'static str = "noop";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        Ok(())
    }
}

/// Waits for its like: so many of them at the same time.
async fn meet((dir, so_many): (PathBuf, usize)) -> Result<(), RemoteError> {
    let _ = std::fs::write(dir.join(format!("{}.here", std::process::id())), b"");
    while in_it(&dir) < so_many {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn in_it(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

worker_entry!(
    WorkerSpec::new().state_with(meet).task::<Noop>(),
    (PathBuf, usize)
);

/// How many have a turn. There is to be room for some times as many, on a machine with many CPUs, too.
fn turns() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(1 << 16)), hard).unwrap();
    available_parallelism().map_or(1, usize::from).max(2)
}

/// A turn may be over by itself when it has taken so long.
const TURN: Duration = Duration::from_millis(10);

#[test]
fn no_more_workers_are_started_before_they_introduce_themselves_than_there_are_turns() {
    common::run(async {
        // Whoever was started, and has not introduced itself.
        let started: Arc<Mutex<Vec<(u32, Instant)>>> = Arc::default();
        let most = Arc::new(Mutex::new(0));
        let spec = {
            let (started, most) = (Arc::clone(&started), Arc::clone(&most));
            // In the launch itself, of workers that are no processes.
            WorkerSpec::new().task::<Noop>().setup(move |worker| {
                let mut started = started.lock().unwrap();
                started.push((worker.pid, Instant::now()));
                let on_turn = started.iter().filter(|(_, at)| at.elapsed() < TURN);
                let mut most = most.lock().unwrap();
                *most = on_turn.count().max(*most);
            })
        };
        let seen = Arc::clone(&started);
        let workers: Workers = faulty(in_process(spec), move |frame| {
            if (frame.connection, frame.way, frame.nth) == (Connection::Data, Way::FromWorker, 1) {
                let mut started = seen.lock().unwrap();
                started.retain(|(pid, _)| *pid != frame.worker.pid);
            }
            None
        });
        let all = 4 * turns();
        let pool = Pool::builder(workers).processes(all).wait_all();
        let pool = pool.start().await.unwrap();
        assert_eq!(pool.status().await.slots.len(), all);
        assert!(started.lock().unwrap().is_empty());
        let most = *most.lock().unwrap();
        assert!((1..=turns()).contains(&most), "{most}");
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn however_long_initializers_take_they_take_it_at_the_same_time() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let all = turns() + 3;
        let pool = Pool::builder(workers())
            .init_args((dir.path().to_owned(), all))
            .processes(all)
            .wait_all()
            .start()
            .await
            .unwrap();
        assert_eq!(in_it(dir.path()), all);
        pool.stop().await;
    });
}

/// As many processes as have a turn never come to anything.
fn hangs_at_first(dir: &Path) -> Launcher {
    let script = r#"dir=$1 left=$2; shift 2
        while [ "$left" -gt 0 ]; do
            mkdir "$dir/$left" 2>/dev/null && exec sleep 1000
            left=$((left - 1))
        done
        exec "$@""#;
    let dir = dir.display().to_string();
    let turns = turns().to_string();
    Launcher::own_image().wrapper("sh", ["-c", script, "sh", &dir, &turns])
}

#[test]
fn whoever_hangs_keeps_nobody_from_starting() {
    common::run(async {
        let (hung, met) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let all = turns() + 4;
        let pool = Pool::builder(workers())
            .init_args((met.path().to_owned(), 0))
            .launcher(hangs_at_first(hung.path()))
            .processes(all)
            .start_timeout(Duration::from_secs(100))
            .start()
            .await
            .unwrap();
        status_is(&pool, "all others are ready", |status| {
            let are = |state| {
                status
                    .slots
                    .iter()
                    .filter(|slot| slot.state == state)
                    .count()
            };
            are(SlotState::Ready) == all - turns() && are(SlotState::Starting) == turns()
        })
        .await;
        pool.submit(Noop).await.unwrap();
        assert_eq!(in_it(hung.path()), turns());
        // Those that wait for a turn have no process to end.
        pool.resize(all + 4).await.unwrap();
        pool.resize(all).await.unwrap();
        pool.submit(Noop).await.unwrap();
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_start_that_fails_says_why_also_when_the_circuit_opens_before_all_had_a_turn() {
    common::run(async {
        for budget in [0, 3] {
            let started = Pool::builder(workers())
                .init_args((PathBuf::new(), 0))
                .launcher(Launcher::program("false"))
                .processes(turns() + 8)
                .restart(Restart::default().budget(budget))
                .start()
                .await;
            let Err(StartError::Worker(WorkerStartError::ExitedEarly { status, .. })) = started
            else {
                panic!("{started:?}");
            };
            assert!(status.contains("status 1"), "{status}");
        }
    });
}
