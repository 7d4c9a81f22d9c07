//! Which task has killed its worker.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::common::{self, Act, End, event, events, has, put, seen, status_is};
use actix_multiprocess::{
    CrashReport, NoError, Pool, PoolBuilder, PoolEvent, PoolState, RemoteError, Restart,
    RetireReason, Slot, Started, Submit, Suspect, Task, TaskContext, TaskError, TaskOptions,
    TimeoutEnd, TimeoutStage, WorkerSpec, testing::assert_clean, worker_entry,
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;

worker_entry!(
    WorkerSpec::new()
        .state_with(|dir: PathBuf| async move {
            if common::has(&dir, "workers", "broken") {
                return Err(RemoteError::new("test", "as told"));
            }
            Ok(())
        })
        .task::<Act>()
        .task::<Deed>()
        .task::<Here>()
        .task::<There>(),
    PathBuf
);

const MS: Duration = Duration::from_millis(1);

fn pool(dir: &Path, processes: usize) -> PoolBuilder {
    Pool::builder(workers())
        .init_args(dir.to_owned())
        .processes(processes)
        .concurrency(16)
}

/// What a task does to its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Deed {
    Good,
    Abort,
    Overflow,
    Exit,
}

impl Task for Deed {
    const NAME: &'static str = "deed";
    const IDEMPOTENT: bool = true;
    type Output = Slot;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<Slot, NoError> {
        tokio::time::sleep(10 * MS).await;
        match self {
            Self::Good => {}
            Self::Abort => std::process::abort(),
            Self::Overflow => {
                std::hint::black_box(overflow(1));
            }
            Self::Exit => std::process::exit(0),
        }
        Ok(cx.worker().slot)
    }
}

#[expect(unconditional_recursion, reason = "it is to end with the stack")]
fn overflow(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 512]);
    page[usize::try_from(depth % 512).expect("a small number")] + overflow(depth + 1)
}

/// How many of a pair are in this process.
static PAIR: AtomicU32 = AtomicU32::new(0);

/// Harmless, but for when the other is there too.
async fn meet() {
    PAIR.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(200 * MS).await;
    if PAIR.load(Ordering::SeqCst) == 2 {
        std::process::abort();
    }
    PAIR.fetch_sub(1, Ordering::SeqCst);
}

macro_rules! of_pair {
    ($name:ident, $text:literal) => {
        #[derive(Debug, Clone, Serialize, Deserialize)]
        struct $name;

        impl Task for $name {
            const NAME: &'static str = $text;
            const IDEMPOTENT: bool = true;
            type Output = u32;
            type Error = NoError;
            type State = ();
            async fn run(self, cx: TaskContext<()>) -> Result<u32, NoError> {
                meet().await;
                Ok(cx.attempt())
            }
        }
    };
}

of_pair!(Here, "here");
of_pair!(There, "there");

/// What has been found out about a death.
#[derive(Debug)]
struct Inquest {
    suspects: Vec<Suspect>,
    poisoned: Vec<Suspect>,
    runs: u32,
}

async fn inquest(events: &mut UnboundedReceiver<PoolEvent>) -> Inquest {
    event(events, |event| match event {
        PoolEvent::Inquest {
            suspects,
            poisoned,
            runs,
            ..
        } => Some(Inquest {
            suspects: suspects.clone(),
            poisoned: poisoned.clone(),
            runs: *runs,
        }),
        _ => None,
    })
    .await
}

#[track_caller]
fn lost<T: std::fmt::Debug, E: std::fmt::Debug>(settled: Result<T, TaskError<E>>) -> CrashReport {
    match settled {
        Err(TaskError::WorkerLost(report)) => report,
        other => panic!("{other:?}"),
    }
}

async fn quarantine_is_over(pool: &Pool, events: &mut UnboundedReceiver<PoolEvent>) {
    status_is(pool, "no suspects are left", |status| {
        status.quarantined == 0
    })
    .await;
    let worker = event(events, |event| match event {
        PoolEvent::WorkerRetired {
            reason: RetireReason::Quarantine,
            worker,
            ..
        } => Some(*worker),
        _ => None,
    })
    .await;
    assert!(worker.slot.is_quarantine());
}

#[test]
fn of_64_tasks_the_3_that_kill_are_found_and_the_pair_that_kills_together_is_named() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = pool(dir.path(), 2)
            .wait_all()
            .start()
            .await
            .expect("a pool");
        let mut events = events(&pool).await;
        // Both go to the same worker, and those beside them have ended when they meet.
        let here = pool.submit(Submit::new(Here).key("pair"));
        let there = pool.submit(Submit::new(There).key("pair"));
        let first: Vec<_> = (0..19).map(|_| pool.submit(Deed::Good)).collect();
        let found = inquest(&mut events).await;
        let names: BTreeSet<&str> = found.suspects.iter().map(|suspect| suspect.task).collect();
        assert_eq!(names, BTreeSet::from(["here", "there"]), "{found:?}");
        assert!(found.poisoned.is_empty() && found.runs == 2, "{found:?}");
        // In their second runs they were alone.
        assert_eq!(
            (
                here.await.expect("a result"),
                there.await.expect("a result")
            ),
            (2, 2)
        );

        let poison = [Deed::Abort, Deed::Overflow, Deed::Exit];
        let deeds = (0..43).map(|nth| {
            *poison
                .get(nth / 4)
                .filter(|_| nth % 4 == 0)
                .unwrap_or(&Deed::Good)
        });
        let second: Vec<_> = deeds.map(|deed| (deed, pool.submit(deed))).collect();
        assert_eq!(2 + first.len() + second.len(), 64);
        for good in first {
            assert!(!good.await.expect("a result").is_quarantine());
        }
        for (deed, handle) in second {
            let settled = handle.await;
            if deed == Deed::Good {
                assert!(settled.is_ok(), "{settled:?}");
                continue;
            }
            let report = lost(settled);
            assert!(
                report.poisoned() && report.slot().is_quarantine(),
                "{report}"
            );
            assert_eq!((report.suspects(), report.started()), (1, Started::Yes));
            match deed {
                Deed::Exit => assert_eq!(report.code(), Some(0)),
                _ => assert_eq!(report.signal_name(), Some("SIGABRT")),
            }
        }
        quarantine_is_over(&pool, &mut events).await;
        let status = pool.status().await;
        assert_eq!((status.counts.done, status.counts.lost), (61, 3));
        // A task runs once more at most, and at most as many as 4 deaths have suspects: 16 each.
        assert!((5..=64).contains(&status.counts.retried), "{status:?}");
        // The worker of the pair, and at most one for each poison: what dies in quarantine is not counted.
        let restarts: u64 = status.slots.iter().map(|slot| slot.restarts).sum();
        assert!((2..=4).contains(&restarts), "{status:?}");
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_task_that_kills_alone_is_poisoned_the_second_time() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = pool(dir.path(), 1).start().await.expect("a pool");
        let mut events = events(&pool).await;
        let act = Submit::new(Act::new(dir.path(), "a", End::Abort)).idempotent();
        let handle = pool.submit(act);
        let id = handle.id().expect("its id");
        let report = lost(handle.await);
        assert!(report.poisoned() && report.suspects() == 1, "{report}");
        assert!(report.to_string().contains("quarantine"), "{report}");
        assert!(has(dir.path(), "a", "start2") && !has(dir.path(), "a", "start3"));
        let found = inquest(&mut events).await;
        assert_eq!(found.poisoned, found.suspects);
        assert_eq!((found.poisoned[0].id, found.poisoned[0].task), (id, "act"));
        assert_eq!(found.runs, 1);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn what_may_not_run_again_is_told_how_many_suspects_there_are() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = pool(dir.path(), 1).start().await.expect("a pool");
        let mut events = events(&pool).await;
        let beside = |name: &str| Act::new(dir.path(), name, End::Ok).gated();
        let once = pool.submit(beside("once"));
        let again = pool.submit(Submit::new(beside("again")).idempotent());
        for name in ["once", "again"] {
            seen(dir.path(), name, "started").await;
        }
        let guilty = lost(
            pool.submit(Act::new(dir.path(), "guilty", End::Abort))
                .await,
        );
        assert!(!guilty.poisoned() && guilty.suspects() == 3, "{guilty}");
        let report = lost(once.await);
        assert!(!report.poisoned() && report.suspects() == 3, "{report}");
        put(dir.path(), "again", "go");
        let said = again.await.expect("a result");
        assert!(said.contains("quarantine"), "{said}");
        let found = inquest(&mut events).await;
        // The guilty one is among those that nobody asks again.
        assert_eq!(
            (found.suspects.len(), found.poisoned.len(), found.runs),
            (3, 0, 1)
        );
        assert_clean(&pool);
        pool.stop().await;
    });
}

async fn kill_slot(pool: &Pool) {
    let pid = pool.status().await.slots[0].pid.expect("a worker");
    common::signal(pid, Signal::SIGKILL);
}

/// The process that a run of a task has started last.
async fn quarantined_pid(events: &mut UnboundedReceiver<PoolEvent>) -> u32 {
    event(events, |event| match event {
        PoolEvent::WorkerReady { worker, .. } if worker.slot.is_quarantine() => Some(worker.pid),
        _ => None,
    })
    .await
}

#[test]
fn who_is_killed_from_outside_has_the_benefit_of_the_doubt_once() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = pool(dir.path(), 1).start().await.expect("a pool");
        let mut events = events(&pool).await;
        let act = Act::new(dir.path(), "a", End::Ok).gated();
        let handle = pool.submit(Submit::new(act).idempotent());
        seen(dir.path(), "a", "start1").await;
        kill_slot(&pool).await;
        seen(dir.path(), "a", "start2").await;
        assert_eq!(pool.status().await.quarantined, 0);
        status_is(&pool, "it is replaced", |status| {
            status.slots[0].pid.is_some()
        })
        .await;
        kill_slot(&pool).await;
        seen(dir.path(), "a", "start3").await;
        assert_eq!(pool.status().await.quarantined, 1);
        let pid = quarantined_pid(&mut events).await;
        common::signal(pid, Signal::SIGKILL);
        let report = lost(handle.await);
        assert!(report.poisoned() && report.pid() == Some(pid), "{report}");
        assert!(!has(dir.path(), "a", "start4"));
        assert_clean(&pool);
        pool.stop().await;
    });
}

/// A task that has killed its worker, and is held before or in its run in quarantine; the tasks behind it wait.
async fn in_quarantine(
    pool: &Pool,
    dir: &Path,
    waiting: &[&str],
) -> Vec<actix_multiprocess::TaskHandle<Act>> {
    let mut handles = Vec::new();
    for name in [&["runs"], waiting].concat() {
        let act = Act::new(dir, name, End::Ok).gated();
        handles.push(pool.submit(Submit::new(act).idempotent()));
        seen(dir, name, "started").await;
    }
    let killer = Act::new(dir, "killer", End::Abort);
    assert!(pool.submit(killer).await.is_err());
    seen(dir, "runs", "start2").await;
    assert_eq!(pool.status().await.quarantined, handles.len());
    handles
}

#[test]
fn suspects_run_one_after_the_other_while_others_run_beside_them() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = pool(dir.path(), 1).start().await.expect("a pool");
        let mut events = events(&pool).await;
        let handles = in_quarantine(&pool, dir.path(), &["second"]).await;
        let slot = pool.submit(Deed::Good).await.expect("a result");
        assert!(!slot.is_quarantine());
        assert!(!has(dir.path(), "second", "start2"));
        put(dir.path(), "runs", "go");
        seen(dir.path(), "second", "start2").await;
        put(dir.path(), "second", "go");
        for handle in handles {
            assert!(handle.await.expect("a result").contains("quarantine"));
        }
        quarantine_is_over(&pool, &mut events).await;
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn whatever_ends_a_suspect_ends_its_quarantine() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = pool(dir.path(), 1).start().await.expect("a pool");
        let mut events = events(&pool).await;
        let handles = in_quarantine(&pool, dir.path(), &["waits"]).await;
        for handle in &handles {
            handle.cancel();
        }
        for handle in handles {
            let settled = handle.await;
            assert!(
                matches!(settled, Err(TaskError::Cancelled { started: true })),
                "{settled:?}"
            );
        }
        let found = inquest(&mut events).await;
        assert_eq!(
            (found.suspects.len(), found.poisoned.len(), found.runs),
            (3, 0, 1)
        );
        quarantine_is_over(&pool, &mut events).await;
        assert!(!has(dir.path(), "waits", "start2"));
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn limits_hold_in_quarantine() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = pool(dir.path(), 1).start().await.expect("a pool");
        let submit = |name: &str, end| Submit::new(Act::new(dir.path(), name, end)).idempotent();
        let runs = pool.submit(submit("runs", End::Wait).run_timeout(700 * MS));
        seen(dir.path(), "runs", "started").await;
        let waits = pool.submit(submit("waits", End::Wait).timeout(600 * MS));
        seen(dir.path(), "waits", "started").await;
        assert!(
            pool.submit(Act::new(dir.path(), "killer", End::Abort))
                .await
                .is_err()
        );
        let mut ends = Vec::new();
        for handle in [runs, waits] {
            let settled = handle.await;
            let Err(TaskError::TimedOut(over)) = settled else {
                panic!("{settled:?}");
            };
            ends.push((over.stage, over.ended));
        }
        let expected = [
            (TimeoutStage::Running, TimeoutEnd::Dropped),
            (TimeoutStage::Deadline, TimeoutEnd::BetweenRuns),
        ];
        assert_eq!(ends, expected);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn as_many_of_a_name_run_as_may_in_quarantine_too() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        // Both in one worker; the other is there for those who take their places.
        let pool = pool(dir.path(), 2)
            .wait_all()
            .task_options::<Act>(TaskOptions::default().max_running(2))
            .start()
            .await
            .expect("a pool");
        let mut events = events(&pool).await;
        let act =
            |name: &str| Submit::new(Act::new(dir.path(), name, End::Ok).gated()).idempotent();
        let suspect = pool.submit(act("suspect").key(1));
        seen(dir.path(), "suspect", "started").await;
        let killer = Act::new(dir.path(), "killer", End::BurnAbort(100));
        let killer = pool.submit(Submit::new(killer).key(1));
        // Two that take both places of the name before the suspect's turn comes.
        let others = ["one", "two"].map(|name| pool.submit(act(name)));
        assert!(killer.await.is_err());
        for name in ["one", "two"] {
            seen(dir.path(), name, "started").await;
        }
        let _ = quarantined_pid(&mut events).await;
        assert!(pool.submit(Deed::Good).await.is_ok());
        assert!(!has(dir.path(), "suspect", "start2"));
        put(dir.path(), "one", "go");
        seen(dir.path(), "suspect", "start2").await;
        for name in ["suspect", "two"] {
            put(dir.path(), name, "go");
        }
        assert!(suspect.await.is_ok());
        for other in others {
            assert!(other.await.is_ok());
        }
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_drain_waits_for_suspects_and_a_stop_does_not() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let drained = pool(dir.path(), 1).start().await.expect("a pool");
        let handles = in_quarantine(&drained, dir.path(), &["drained"]).await;
        let drain = drained.drain(Duration::from_secs(20));
        for name in ["runs", "drained"] {
            put(dir.path(), name, "go");
        }
        for handle in handles {
            assert!(handle.await.is_ok());
        }
        let report = drain.await;
        assert_eq!((report.killed, report.counts.done), (0, 2));

        let dir = tempfile::tempdir().expect("a directory");
        let stopped = pool(dir.path(), 1).start().await.expect("a pool");
        let mut events = events(&stopped).await;
        let handles = in_quarantine(&stopped, dir.path(), &["stopped"]).await;
        let pid = quarantined_pid(&mut events).await;
        stopped.stop().await;
        for handle in handles {
            let settled = handle.await;
            assert!(
                matches!(settled, Err(TaskError::Cancelled { started: true })),
                "{settled:?}"
            );
        }
        assert!(!Path::new("/proc").join(pid.to_string()).exists());
        assert_clean(&stopped);
    });
}

#[test]
fn suspects_wait_until_there_can_be_a_worker_for_them() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        // Its circuit opens meanwhile.
        let restart = Restart::default().budget(1);
        let pool = pool(dir.path(), 1)
            .restart(restart)
            .start()
            .await
            .expect("a pool");
        let mut events = events(&pool).await;
        let act = Act::new(dir.path(), "a", End::Ok).gated();
        let suspect = pool.submit(Submit::new(act).idempotent());
        seen(dir.path(), "a", "started").await;
        put(dir.path(), "workers", "broken");
        assert!(
            pool.submit(Act::new(dir.path(), "killer", End::Abort))
                .await
                .is_err()
        );
        let mut failed = 0;
        while failed < 3 {
            failed += event(&mut events, |event| match event {
                PoolEvent::WorkerLost { report, .. } => {
                    Some(u32::from(report.slot().is_quarantine()))
                }
                _ => None,
            })
            .await;
        }
        let state = pool.status().await.state;
        let open = [PoolState::CircuitOpen, PoolState::CircuitHalfOpen];
        assert!(open.contains(&state), "{state:?}");
        std::fs::remove_file(dir.path().join("workers.broken")).expect("a file");
        put(dir.path(), "a", "go");
        assert!(suspect.await.expect("a result").contains("quarantine"));
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_suspect_whose_quarantine_ends_for_another_reason_is_one_still() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = pool(dir.path(), 1).start().await.expect("a pool");
        let mut events = events(&pool).await;
        let handles = in_quarantine(&pool, dir.path(), &[]).await;
        let slot = event(&mut events, |event| match event {
            PoolEvent::WorkerReady { worker, .. } => {
                worker.slot.is_quarantine().then_some(worker.slot)
            }
            _ => None,
        })
        .await;
        assert!(pool.kill(slot).await, "there is one");
        seen(dir.path(), "runs", "start3").await;
        put(dir.path(), "runs", "go");
        for handle in handles {
            assert!(handle.await.expect("a result").contains("quarantine"));
        }
        let found = inquest(&mut events).await;
        assert_eq!((found.poisoned.len(), found.runs), (0, 2));
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn suspects_of_a_paused_pool_wait() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = pool(dir.path(), 1).start().await.expect("a pool");
        let mut events = events(&pool).await;
        let act = Act::new(dir.path(), "a", End::Ok).gated();
        let suspect = pool.submit(Submit::new(act).idempotent());
        seen(dir.path(), "a", "started").await;
        let killer = pool.submit(Act::new(dir.path(), "killer", End::BurnAbort(50)));
        seen(dir.path(), "killer", "started").await;
        pool.pause();
        assert!(killer.await.is_err());
        let _ = quarantined_pid(&mut events).await;
        assert!(!has(dir.path(), "a", "start2"));
        // Nothing waits for it any more when nobody does.
        drop(suspect);
        quarantine_is_over(&pool, &mut events).await;
        assert!(!has(dir.path(), "a", "start2"));
        pool.resume();
        assert_clean(&pool);
        pool.stop().await;
    });
}
