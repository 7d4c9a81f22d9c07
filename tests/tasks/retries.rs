//! Tasks that run again.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::common::{self, Act, End, has, seen, status_is};
use actix_multiprocess::{
    Pool, PoolBuilder, Process, RemoteError, Retry, Submit, Task, TaskContext, TaskError,
    TimeoutEnd, TimeoutStage, WorkerSpec, testing::assert_clean, worker_entry,
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

worker_entry!(
    WorkerSpec::new()
        .task::<Act>()
        .task::<Tries>()
        .task::<Once>()
        .task::<Doubts>()
);

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Run {
    Busy,
    Wrong,
    Abort,
    Fine,
}

/// An error, and which run it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Trouble {
    Busy(u32),
    Wrong(u32),
}

/// Comes to this in its first run, to that in its second; its last says what comes of all others. Notes its runs in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Tries(PathBuf, Vec<Run>);

impl Task for Tries {
    const NAME: &'static str = "tries";
    const IDEMPOTENT: bool = true;
    type Output = u32;
    type Error = Trouble;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<u32, Trouble> {
        let attempt = cx.attempt();
        fs::write(self.0.join(format!("run{attempt}")), b"").expect("a file of the test");
        let run = usize::try_from(attempt - 1).expect("a small number");
        match self.1.get(run).or(self.1.last()) {
            Some(Run::Busy) => Err(Trouble::Busy(attempt)),
            Some(Run::Wrong) => Err(Trouble::Wrong(attempt)),
            Some(Run::Abort) => std::process::abort(),
            Some(Run::Fine) | None => Ok(attempt),
        }
    }
    fn is_transient(error: &Trouble) -> bool {
        matches!(error, Trouble::Busy(_))
    }
}

/// The same, which may not run again.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Once(Tries);

impl Task for Once {
    const NAME: &'static str = "once";
    type Output = u32;
    type Error = Trouble;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<u32, Trouble> {
        self.0.run(cx).await
    }
    fn is_transient(error: &Trouble) -> bool {
        Tries::is_transient(error)
    }
}

/// Panics when it is asked about its error.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Doubts;

impl Task for Doubts {
    const NAME: &'static str = "doubts";
    const IDEMPOTENT: bool = true;
    type Output = ();
    type Error = RemoteError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), RemoteError> {
        Err(RemoteError::new("doubt", "who knows?"))
    }
    fn is_transient(_: &RemoteError) -> bool {
        panic!("nobody knows")
    }
}

fn one_worker() -> PoolBuilder {
    Pool::builder(workers())
        .processes(1)
        .concurrency(1)
        .retry(Retry::default().backoff(MS, 2 * MS))
}

/// With so long a wait between two runs that nobody lives to see the second.
fn patient() -> PoolBuilder {
    one_worker().retry(Retry::default().backoff(LONG, LONG))
}

fn runs(dir: &Path) -> usize {
    fs::read_dir(dir).expect("a directory").count()
}

#[track_caller]
fn failed(settled: Result<u32, TaskError<Trouble>>) -> Trouble {
    match settled {
        Err(TaskError::Failed(trouble)) => trouble,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_error_that_may_go_away_is_given_time_to() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let tries = Tries(dir.path().to_owned(), vec![Run::Busy, Run::Busy, Run::Fine]);
        assert_eq!(pool.submit(tries).await.expect("a result"), 3);
        let counts = pool.status().await.counts;
        assert_eq!((counts.done, counts.failed, counts.retried), (1, 0, 2));
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn the_error_of_the_last_run_is_the_callers() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let tries = Tries(dir.path().to_owned(), vec![Run::Busy]);
        // By default it may start three times.
        assert_eq!(failed(pool.submit(tries.clone()).await), Trouble::Busy(3));
        let map = pool.map([tries]).await.expect_err("an error");
        assert_eq!(failed(Err(map.error)), Trouble::Busy(3));
        pool.stop().await;
        let other = tempfile::tempdir().expect("a directory");
        let retry = Retry::default().backoff(MS, MS).failed_attempts(5);
        let pool = one_worker().retry(retry).start().await.expect("a pool");
        let tries = Tries(other.path().to_owned(), vec![Run::Busy]);
        assert_eq!(failed(pool.submit(tries).await), Trouble::Busy(5));
        assert_eq!(runs(other.path()), 5);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn an_error_that_stays_is_told_at_once() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let tries = Tries(dir.path().to_owned(), vec![Run::Wrong]);
        assert_eq!(failed(pool.submit(tries).await), Trouble::Wrong(1));
        let tries = Tries(dir.path().to_owned(), vec![Run::Busy, Run::Wrong]);
        assert_eq!(failed(pool.submit(tries).await), Trouble::Wrong(2));
        pool.stop().await;
    });
}

#[test]
fn what_is_not_idempotent_runs_once() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        let once = Once(Tries(dir.path().to_owned(), vec![Run::Busy, Run::Fine]));
        assert_eq!(failed(pool.submit(once.clone()).await), Trouble::Busy(1));
        // It is up to whoever submits it.
        let idempotent = Submit::new(once).idempotent();
        assert_eq!(pool.submit(idempotent).await.expect("a result"), 2);
        pool.stop().await;
        let dir = tempfile::tempdir().expect("a directory");
        // A process of its own is not replaced, so nothing runs again in it.
        let tries = Tries(dir.path().to_owned(), vec![Run::Busy]);
        let process = Process::builder(&workers())
            .spawn(tries)
            .expect("a process");
        assert_eq!(failed(process.await), Trouble::Busy(1));
        assert_eq!(runs(dir.path()), 1);
    });
}

#[test]
fn errors_and_losses_are_counted_apart() {
    common::run(async {
        let pool = one_worker()
            .max_attempts(2)
            .retry(Retry::default().backoff(MS, MS).failed_attempts(2))
            .start()
            .await
            .expect("a pool");
        let dir = tempfile::tempdir().expect("a directory");
        let tries = |runs: &[Run]| Tries(dir.path().to_owned(), runs.to_vec());
        let both = [Run::Busy, Run::Abort, Run::Fine];
        assert_eq!(pool.submit(tries(&both)).await.expect("a result"), 3);
        let both = [Run::Abort, Run::Busy, Run::Busy];
        assert_eq!(failed(pool.submit(tries(&both)).await), Trouble::Busy(3));
        let both = [Run::Abort, Run::Busy, Run::Abort];
        let settled = pool.submit(tries(&both)).await;
        assert!(
            matches!(settled, Err(TaskError::WorkerLost(_))),
            "{settled:?}"
        );
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn waits_between_runs_double() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let retry = Retry::default()
            .backoff(80 * MS, 200 * MS)
            .failed_attempts(5);
        let pool = one_worker().retry(retry).start().await.expect("a pool");
        let tries = Tries(dir.path().to_owned(), vec![Run::Busy]);
        assert_eq!(failed(pool.submit(tries).await), Trouble::Busy(5));
        let at = |run: u32| {
            let meta = fs::metadata(dir.path().join(format!("run{run}")));
            meta.and_then(|meta| meta.modified()).expect("a run")
        };
        for (run, all) in [(1, 80), (2, 160), (3, 200), (4, 200)] {
            let waited = at(run + 1).duration_since(at(run)).expect("later");
            // A file's time is up to 10 ms old.
            assert!(waited + 10 * MS >= all * MS / 2, "{run}: {waited:?}");
            assert!(
                waited < all * MS + Duration::from_secs(1),
                "{run}: {waited:?}"
            );
        }
        pool.stop().await;
    });
}

#[test]
fn others_run_while_a_task_waits_to_run_again() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = patient().start().await.expect("a pool");
        let busy = pool.submit(Tries(dir.path().to_owned(), vec![Run::Busy]));
        status_is(&pool, "it waits", |status| status.counts.retried == 1).await;
        let status = pool.status().await;
        assert_eq!((status.queued, status.in_flight), (1, 0));
        let fine = Tries(dir.path().to_owned(), vec![Run::Fine]);
        assert_eq!(pool.submit(fine).await.expect("a result"), 1);
        drop(busy);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn whatever_ends_a_task_that_waits_to_run_again_says_that_it_has_run() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let busy = || Tries(dir.path().to_owned(), vec![Run::Busy]);
        let pool = patient().start().await.expect("a pool");
        let waits = async |handles: u64| {
            status_is(&pool, "it waits", |status| status.counts.retried == handles).await;
        };
        let cancelled = pool.submit(busy());
        waits(1).await;
        cancelled.cancel();
        let settled = cancelled.await;
        assert!(
            matches!(settled, Err(TaskError::Cancelled { started: true })),
            "{settled:?}"
        );

        let late = pool.submit(Submit::new(busy()).timeout(200 * MS)).await;
        let Err(TaskError::TimedOut(over)) = late else {
            panic!("{late:?}");
        };
        assert_eq!(
            (over.stage, over.ended),
            (TimeoutStage::Deadline, TimeoutEnd::BetweenRuns)
        );
        assert!(!over.never_ran());

        let stopped = pool.submit(busy());
        waits(3).await;
        pool.stop().await;
        let settled = stopped.await;
        assert!(
            matches!(settled, Err(TaskError::Cancelled { started: true })),
            "{settled:?}"
        );

        let pool = patient().start().await.expect("a pool");
        let drained = pool.submit(busy());
        status_is(&pool, "it waits", |status| status.counts.retried == 1).await;
        let report = pool.drain(50 * MS).await;
        assert_eq!(report.killed, 0);
        let settled = drained.await;
        assert!(
            matches!(settled, Err(TaskError::Cancelled { started: true })),
            "{settled:?}"
        );
        assert_clean(&pool);
    });
}

/// Starts an idempotent task, which waits; its worker is lost, and it waits for a worker again, which it does not get.
async fn lost_while_paused(pool: &Pool, dir: &Path, name: &str, innocent: bool) {
    pool.resume();
    let task = Submit::new(Act::new(dir, name, End::Wait)).idempotent();
    let handle = pool.submit(task);
    seen(dir, name, "started").await;
    pool.pause();
    let slot = &pool.status().await.slots[0];
    if innocent {
        pool.kill(slot.slot).await;
    } else {
        common::signal(slot.pid.expect("a worker"), Signal::SIGKILL);
    }
    status_is(pool, "it waits", |status| status.queued == 1).await;
    handle.cancel();
    let settled = handle.await;
    assert!(
        matches!(settled, Err(TaskError::Cancelled { started: true })),
        "{settled:?}"
    );
    assert!(!has(dir, name, "start2"));
}

#[test]
fn what_is_cancelled_after_its_worker_was_lost_has_run() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().start().await.expect("a pool");
        lost_while_paused(&pool, dir.path(), "suspect", false).await;
        // Whose attempt it was does not matter.
        lost_while_paused(&pool, dir.path(), "innocent", true).await;
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn who_cannot_say_whether_an_error_may_go_away_has_panicked() {
    common::run(async {
        let pool = one_worker().start().await.expect("a pool");
        match pool.submit(Doubts).await {
            Err(TaskError::Panicked(error)) => assert_eq!(error.message(), "nobody knows"),
            other => panic!("{other:?}"),
        }
        assert_clean(&pool);
        pool.stop().await;
    });
}

/// Its caller has asked before it ran the first time, and does not ask again.
#[test]
fn a_task_that_is_awaited_runs_again_also_when_nobody_takes_the_results_of_others() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = one_worker().result_bytes(1).start().await.expect("a pool");
        let untaken = pool.submit(Act::new(dir.path(), "untaken", End::Ok));
        status_is(&pool, "a result is not taken", |status| {
            status.result_bytes > 1
        })
        .await;
        let tries = Tries(dir.path().to_owned(), vec![Run::Busy, Run::Busy, Run::Fine]);
        assert_eq!(pool.submit(tries).await.expect("a result"), 3);
        assert!(untaken.await.is_ok());
        pool.stop().await;
    });
}
