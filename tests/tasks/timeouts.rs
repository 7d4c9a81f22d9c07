//! Three time limits: for waiting, for running, for all.
#![cfg(target_os = "linux")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::common::{self, Act, Beside, End, has, put, seen};
use actix_multiprocess::{
    KillPolicy, NoError, Pool, PoolBuilder, Submit, Task, TaskContext, TaskError, TaskOptions,
    TimedOut, TimeoutEnd, TimeoutStage, WorkerSpec, testing::assert_clean, worker_entry,
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

worker_entry!(
    WorkerSpec::new()
        .task::<Act>()
        .task::<Beside>()
        .task::<Left>()
        .task::<Graceful>()
        .task::<Sleeps>()
        .task::<Overruns>()
);

/// Says how long it may still take, in milliseconds, after so many.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Left(u64);

impl Task for Left {
    const NAME: &'static str = "left";
    type Output = Option<u64>;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<Option<u64>, NoError> {
        tokio::time::sleep(Duration::from_millis(self.0)).await;
        let left = cx.remaining().map(|left| left.as_millis());
        Ok(left.map(|left| u64::try_from(left).unwrap_or(u64::MAX)))
    }
}

/// Returns when it is told to end.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Graceful;

impl Task for Graceful {
    const NAME: &'static str = "graceful";
    type Output = u32;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<u32, NoError> {
        cx.cancelled().await;
        Ok(7)
    }
}

/// Asks to be told, and then takes its time for ever.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Overruns;

impl Task for Overruns {
    const NAME: &'static str = "overruns";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<(), NoError> {
        cx.cancelled().await;
        std::future::pending().await
    }
}

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(30);

fn one_worker() -> PoolBuilder {
    Pool::builder(workers()).processes(1).concurrency(2)
}

#[track_caller]
fn timed_out<T, E>(
    settled: Result<T, TaskError<E>>,
    stage: TimeoutStage,
    ended: TimeoutEnd,
) -> TimedOut {
    match settled {
        Err(TaskError::TimedOut(timed_out)) => {
            assert_eq!(
                (timed_out.stage, timed_out.ended),
                (stage, ended),
                "{timed_out}"
            );
            assert!(timed_out.elapsed >= timed_out.limit, "{timed_out}");
            timed_out
        }
        Err(error) => panic!("{:?}", error.map_failed(|_| ())),
        Ok(_) => panic!("it has a result"),
    }
}

/// Both places of a worker are taken until `go` is put for both.
async fn fill(pool: &Pool, dir: &Path) {
    for name in ["first", "second"] {
        pool.submit(Act::new(dir, name, End::Ok).gated()).detach();
        seen(dir, name, "started").await;
    }
}

#[test]
fn a_task_that_waits_for_too_long_never_runs() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        fill(&pool, dir.path()).await;
        let began = Instant::now();
        let late = Submit::new(Act::new(dir.path(), "late", End::Ok)).queue_timeout(50 * MS);
        let settled = pool.submit(late).await;
        let took = began.elapsed();
        let error = timed_out(settled, TimeoutStage::Queued, TimeoutEnd::NeverStarted);
        assert_eq!(error.limit, 50 * MS);
        assert!(error.never_ran());
        assert!(took >= 50 * MS && took < Duration::from_secs(1), "{took:?}");
        put(dir.path(), "first", "go");
        put(dir.path(), "second", "go");
        // Behind it there would have been time for it.
        pool.submit(Act::new(dir.path(), "next", End::Ok))
            .await
            .expect("a result");
        assert!(!has(dir.path(), "late", "started"));
        common::status_is(&pool, "the detached ones have ended", |status| {
            status.in_flight == 0
        })
        .await;
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_task_that_has_started_in_time_may_run_for_longer_than_it_might_have_waited() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let slow = Submit::new(Left(150)).queue_timeout(100 * MS);
        assert_eq!(pool.submit(slow).await.expect("a result"), None);
        // The same when its loop is held while it is asked back.
        let held = Act::new(dir.path(), "held", End::Burn(150));
        let settled = pool.submit(Submit::new(held).queue_timeout(100 * MS)).await;
        assert!(settled.is_ok(), "{settled:?}");
        pool.stop().await;
    });
}

#[test]
fn a_task_behind_a_held_loop_is_asked_back_when_it_has_waited_for_too_long() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let holder = pool.submit(Act::new(dir.path(), "holder", End::Hold));
        seen(dir.path(), "holder", "started").await;
        let behind = Act::new(dir.path(), "behind", End::Ok);
        let began = Instant::now();
        let settled = pool
            .submit(Submit::new(behind).queue_timeout(50 * MS))
            .await;
        assert!(
            began.elapsed() < Duration::from_millis(900),
            "{:?}",
            began.elapsed()
        );
        timed_out(settled, TimeoutStage::Queued, TimeoutEnd::NeverStarted);
        put(dir.path(), "holder", "go");
        assert!(holder.await.is_ok());
        pool.submit(Left(0)).await.expect("a result");
        assert!(!has(dir.path(), "behind", "started"));
        pool.stop().await;
    });
}

#[test]
fn a_worker_that_does_not_even_answer_does_not_keep_a_task_that_has_waited_for_too_long() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().grace(100 * MS).start().await.expect("a pool");
        let pid = pool.status().await.slots[0].pid.expect("a worker");
        common::signal(pid, Signal::SIGSTOP);
        common::eventually("it is stopped", || async {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_ok_and(|stat| stat.contains(") T "))
        })
        .await;
        let began = Instant::now();
        let lost = Act::new(dir.path(), "lost", End::Ok);
        let settled = pool.submit(Submit::new(lost).queue_timeout(50 * MS)).await;
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{:?}",
            began.elapsed()
        );
        timed_out(settled, TimeoutStage::Queued, TimeoutEnd::Unfinished);
        // Nobody knows what it would do: it goes, and another comes.
        assert_eq!(pool.submit(Left(0)).await.expect("a result"), None);
        assert!(!has(dir.path(), "lost", "started"));
        pool.stop().await;
    });
}

#[test]
fn a_task_that_runs_for_too_long_is_dropped_and_its_neighbours_go_on() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let pid = pool.status().await.slots[0].pid;
        let neighbour = pool.submit(Act::new(dir.path(), "neighbour", End::Ok).gated());
        let began = Instant::now();
        let endless = Submit::new(Act::new(dir.path(), "endless", End::Wait)).run_timeout(100 * MS);
        let settled = pool.submit(endless).await;
        let took = began.elapsed();
        timed_out(settled, TimeoutStage::Running, TimeoutEnd::Dropped);
        assert!(
            took >= 100 * MS && took < Duration::from_secs(1),
            "{took:?}"
        );
        seen(dir.path(), "endless", "dropped").await;
        put(dir.path(), "neighbour", "go");
        assert!(neighbour.await.is_ok());
        assert_eq!(pool.status().await.slots[0].pid, pid);
        assert_eq!(pool.status().await.counts.timed_out, 1);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn the_time_to_run_begins_with_the_start_and_not_with_the_wait() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        fill(&pool, dir.path()).await;
        let waits = pool.submit(Submit::new(Left(10)).run_timeout(150 * MS));
        tokio::time::sleep(200 * MS).await;
        put(dir.path(), "first", "go");
        put(dir.path(), "second", "go");
        let left = waits.await.expect("a result").expect("a limit");
        assert!((1..=140).contains(&left), "{left} ms");
        pool.stop().await;
    });
}

#[test]
fn a_loop_that_never_awaits_is_over_its_run_time_and_its_slot_free_in_600_ms() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let spin = Submit::new(Act::new(dir.path(), "spin", End::Spin)).run_timeout(300 * MS);
        let spin = pool.submit(spin);
        seen(dir.path(), "spin", "started").await;
        let began = Instant::now();
        let settled = spin.await;
        timed_out(settled, TimeoutStage::Running, TimeoutEnd::WithWorker);
        // The bound is 600 ms on an idle machine.
        assert!(
            began.elapsed() < Duration::from_millis(1600),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(pool.submit(Left(0)).await.expect("a result"), None);
        assert!(
            began.elapsed() < Duration::from_millis(1600),
            "{:?}",
            began.elapsed()
        );
        pool.stop().await;
    });
}

#[test]
fn a_deadline_is_told_at_once_whatever_the_task_does() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let block = Submit::new(Act::new(dir.path(), "block", End::Block)).timeout(200 * MS);
        let began = Instant::now();
        let settled = pool.submit(block).await;
        let took = began.elapsed();
        timed_out(settled, TimeoutStage::Deadline, TimeoutEnd::Unfinished);
        assert!(
            took >= 200 * MS && took < Duration::from_millis(1200),
            "{took:?}"
        );
        put(dir.path(), "block", "unblock");
        // Before it was sent, too.
        fill(&pool, dir.path()).await;
        let waits = Submit::new(Act::new(dir.path(), "waits", End::Ok)).timeout(50 * MS);
        timed_out(
            pool.submit(waits).await,
            TimeoutStage::Deadline,
            TimeoutEnd::NeverStarted,
        );
        assert!(!has(dir.path(), "waits", "started"));
        pool.stop().await;
    });
}

#[test]
fn a_task_that_ends_by_itself_within_the_grace_has_its_result() {
    common::run(async {
        let pool = one_worker().start().await.expect("a pool");
        let graceful = Submit::new(Graceful).run_timeout(50 * MS);
        assert_eq!(pool.submit(graceful).await.expect("a result"), 7);
        pool.stop().await;
    });
}

/// It is dropped at the end of its grace, which its worker has to have time for.
#[test]
fn a_task_that_uses_up_its_grace_costs_no_worker() {
    common::run(async {
        for _ in 0..5 {
            let pool = one_worker()
                .cancel_grace(150 * MS)
                .start()
                .await
                .expect("a pool");
            let pid = pool.status().await.slots[0].pid;
            let settled = pool
                .submit(Submit::new(Overruns).run_timeout(20 * MS))
                .await;
            assert!(
                matches!(settled, Err(TaskError::TimedOut(_))),
                "{settled:?}"
            );
            common::status_is(&pool, "it was dropped", |status| {
                status.slots[0].in_flight == 0
            })
            .await;
            assert_eq!(pool.submit(Left(0)).await.expect("a result"), None);
            let status = pool.status().await;
            assert_eq!((status.slots[0].pid, status.slots[0].restarts), (pid, 0));
            pool.stop().await;
        }
    });
}

#[test]
fn a_task_that_never_started_ends_nobody_with_its_deadline() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker()
            .cancel_grace(50 * MS)
            .start()
            .await
            .expect("a pool");
        let pid = pool.status().await.slots[0].pid;
        let holder = pool.submit(Act::new(dir.path(), "holder", End::Hold));
        seen(dir.path(), "holder", "started").await;
        let behind = Submit::new(Act::new(dir.path(), "behind", End::Ok)).timeout(50 * MS);
        let settled = pool.submit(behind).await;
        assert!(
            matches!(settled, Err(TaskError::TimedOut(_))),
            "{settled:?}"
        );
        // It is not its worker's any more, long before that would have to go for it.
        common::status_is(&pool, "it is given back", |status| {
            status.slots[0].in_flight == 1
        })
        .await;
        assert!(pool.status().await.slots[0].retiring.is_empty());
        put(dir.path(), "holder", "go");
        assert!(holder.await.is_ok());
        assert_eq!(pool.status().await.slots[0].pid, pid);
        assert!(!has(dir.path(), "behind", "started"));
        pool.stop().await;
    });
}

/// Else a client could disarm the limit by hanging up.
#[test]
fn a_task_that_nobody_wants_any_more_has_its_limits_still() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let neighbour = pool.submit(Act::new(dir.path(), "neighbour", End::Ok).gated());
        seen(dir.path(), "neighbour", "started").await;
        // It has the loop that its neighbour needs, until it is over its limit.
        let spin = Submit::new(Act::new(dir.path(), "spin", End::Spin)).run_timeout(700 * MS);
        let spin = pool.submit(spin);
        seen(dir.path(), "spin", "started").await;
        drop(spin);
        put(dir.path(), "neighbour", "go");
        let settled = neighbour.await;
        let Err(TaskError::WorkerLost(report)) = settled else {
            panic!("{settled:?}");
        };
        assert_eq!(report.suspects(), 0);
        pool.stop().await;
    });
}

#[test]
fn the_closest_limit_wins() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker()
            .run_timeout(50 * MS)
            .task_options::<Beside>(TaskOptions::default().run_timeout(LONG))
            .start()
            .await
            .expect("a pool");
        let wait = |name| Act::new(dir.path(), name, End::Wait);
        // The pool's; its name's; its own.
        let settled = pool.submit(wait("pool")).await;
        assert_eq!(
            timed_out(settled, TimeoutStage::Running, TimeoutEnd::Dropped).limit,
            50 * MS
        );
        let slow = Beside(Act::new(dir.path(), "name", End::Slow));
        assert!(pool.submit(slow.clone()).await.is_ok());
        let settled = pool.submit(Submit::new(slow).run_timeout(60 * MS)).await;
        assert_eq!(
            timed_out(settled, TimeoutStage::Running, TimeoutEnd::Dropped).limit,
            60 * MS
        );
        let never = Submit::new(Left(100)).run_timeout(Duration::MAX);
        assert!(pool.submit(never).await.expect("a result").is_some());
        pool.stop().await;
    });
}

#[test]
fn a_task_knows_how_long_it_has() {
    common::run(async {
        let pool = one_worker().start().await.expect("a pool");
        assert_eq!(pool.submit(Left(0)).await.expect("a result"), None);
        let both = Submit::new(Left(20))
            .timeout(LONG)
            .run_timeout(Duration::from_secs(5));
        let left = pool.submit(both).await.expect("a result").expect("a limit");
        assert!((3000..=4980).contains(&left), "{left} ms");
        let total = Submit::new(Left(20)).timeout(LONG);
        let left = pool
            .submit(total)
            .await
            .expect("a result")
            .expect("a limit");
        assert!((20_000..=29_980).contains(&left), "{left} ms");
        pool.stop().await;
    });
}

#[test]
fn items_of_a_map_and_requests_of_actors_have_limits_too() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let wait = Submit::new(Act::new(dir.path(), "wait", End::Wait)).run_timeout(50 * MS);
        let settled = pool.addr().send(wait.clone()).await.expect("an answer");
        timed_out(settled, TimeoutStage::Running, TimeoutEnd::Dropped);
        let error = pool.map([wait]).await.expect_err("no result");
        timed_out::<(), _>(Err(error.error), TimeoutStage::Running, TimeoutEnd::Dropped);
        pool.stop().await;
    });
}

/// Runs another program and waits for that on its event loop.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sleeps(std::path::PathBuf);

impl Task for Sleeps {
    const NAME: &'static str = "sleeps";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        let child = std::process::Command::new("sleep").arg("1000").spawn();
        let mut child = child.expect("a process");
        std::fs::write(&self.0, child.id().to_string()).expect("a file of the test");
        let _ = child.wait();
        Ok(())
    }
}

#[test]
fn what_a_task_that_runs_for_too_long_has_started_is_gone() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("pid");
        let pool = one_worker().start().await.expect("a pool");
        let sleeps = Submit::new(Sleeps(file.clone())).run_timeout(200 * MS);
        let settled = pool.submit(sleeps).await;
        timed_out(settled, TimeoutStage::Running, TimeoutEnd::WithWorker);
        let pid = std::fs::read_to_string(&file).expect("its process id");
        common::eventually("it is gone", || async {
            !Path::new("/proc").join(&pid).exists()
        })
        .await;
        pool.stop().await;
    });
}

#[test]
fn a_held_loop_ends_with_its_neighbours_who_are_not_to_blame() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = Pool::builder(workers()).processes(1).concurrency(4);
        let pool = pool.start().await.expect("a pool");
        let act = |name, end| Act::new(dir.path(), name, end).gated();
        // Starts of this name are not announced any more.
        for _ in 0..3 {
            pool.submit(Left(0)).await.expect("a result");
        }
        let again = pool.submit(Submit::new(act("again", End::Ok)).idempotent());
        let lost = pool.submit(act("lost", End::Ok));
        seen(dir.path(), "again", "started").await;
        seen(dir.path(), "lost", "started").await;
        let spin = Act::new(dir.path(), "spin", End::Spin);
        let spin = pool.submit(Submit::new(spin).run_timeout(300 * MS));
        seen(dir.path(), "spin", "started").await;
        let began = Instant::now();
        // Behind it, and not started: it has nothing to do with it.
        let behind = pool.submit(Left(0));
        timed_out(spin.await, TimeoutStage::Running, TimeoutEnd::WithWorker);
        assert!(
            began.elapsed() < Duration::from_millis(1600),
            "{:?}",
            began.elapsed()
        );
        let Err(TaskError::WorkerLost(report)) = lost.await else {
            panic!("it was lost");
        };
        assert_eq!(report.suspects(), 0);
        assert!(report.to_string().contains("time limit"), "{report}");
        put(dir.path(), "again", "go");
        assert!(again.await.is_ok());
        assert!(has(dir.path(), "again", "start2"));
        assert!(behind.await.is_ok());
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn stuck_blocking_work_leaves_its_neighbours_5_s_and_its_slot_to_another_worker() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = Pool::builder(workers()).processes(1).concurrency(4);
        let pool = pool.cancel_grace(200 * MS).grace(200 * MS).start().await;
        let pool = pool.expect("a pool");
        let old = pool.status().await.slots[0].pid;
        let neighbour = pool.submit(Act::new(dir.path(), "neighbour", End::Ok).gated());
        let late = pool.submit(Act::new(dir.path(), "late", End::Ok).gated());
        seen(dir.path(), "neighbour", "started").await;
        seen(dir.path(), "late", "started").await;
        let began = Instant::now();
        let stuck = Submit::new(Act::new(dir.path(), "stuck", End::Block)).run_timeout(100 * MS);
        timed_out(
            pool.submit(stuck).await,
            TimeoutStage::Running,
            TimeoutEnd::Unfinished,
        );
        assert!(
            began.elapsed() < Duration::from_millis(1300),
            "{:?}",
            began.elapsed()
        );
        // Another worker takes its place at once.
        common::status_is(&pool, "another worker", |status| status.slots[0].pid != old).await;
        assert_eq!(pool.submit(Left(0)).await.expect("a result"), None);
        tokio::time::sleep(Duration::from_secs(2)).await;
        put(dir.path(), "neighbour", "go");
        assert!(neighbour.await.is_ok(), "it had 5 s");
        let Err(TaskError::WorkerLost(report)) = late.await else {
            panic!("it was not in time");
        };
        let took = began.elapsed();
        assert_eq!(report.suspects(), 0);
        assert!(
            took >= Duration::from_secs(5) && took < Duration::from_secs(8),
            "{took:?}"
        );
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn where_no_task_may_kill_a_caller_is_told_and_the_worker_stays() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().kill(KillPolicy::Never).cancel_grace(100 * MS);
        let pool = pool.grace(200 * MS).start().await.expect("a pool");
        let pid = pool.status().await.slots[0].pid.expect("a worker");
        let hold = Submit::new(Act::new(dir.path(), "hold", End::Hold)).run_timeout(100 * MS);
        timed_out(
            pool.submit(hold).await,
            TimeoutStage::Running,
            TimeoutEnd::Unfinished,
        );
        let dropped = pool.submit(Act::new(dir.path(), "dropped", End::Ok));
        tokio::time::sleep(500 * MS).await;
        drop(dropped);
        put(dir.path(), "hold", "go");
        assert_eq!(pool.submit(Left(0)).await.expect("a result"), None);
        assert_eq!(pool.status().await.slots[0].pid, Some(pid));
        pool.stop().await;
    });
}

#[test]
fn where_every_task_may_kill_a_dropped_loop_takes_its_neighbours_along() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker()
            .kill(KillPolicy::Always)
            .start()
            .await
            .expect("a pool");
        let neighbour = pool.submit(Act::new(dir.path(), "neighbour", End::Ok).gated());
        seen(dir.path(), "neighbour", "started").await;
        let spin = pool.submit(Act::new(dir.path(), "spin", End::Spin));
        seen(dir.path(), "spin", "started").await;
        drop(spin);
        let Err(TaskError::WorkerLost(report)) = neighbour.await else {
            panic!("it was lost");
        };
        assert_eq!(report.suspects(), 0);
        pool.stop().await;
    });
}
