//! A worker that a panic ends says so, and which; one that ends otherwise is not taken for it.
#![cfg(target_os = "linux")]

use std::time::Duration;

use crate::common::{self, Act, End, has, put, seen};
use actix_multiprocess::{
    CrashReport, LossCause, NoError, Pool, PoolBuilder, Restart, Started, Submit, Task,
    TaskContext, TaskError, WorkerSpec, worker_entry,
};
use serde::{Deserialize, Serialize};

worker_entry!(WorkerSpec::new().task::<Act>().task::<Fall>());

/// Ends its worker, in one way or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Fall {
    /// As a callback of a C library that panics.
    CannotUnwind,
    /// A destructor panics while the panic of its task unwinds.
    Twice,
    /// On a thread of its own, which nobody polls.
    Elsewhere,
    /// As a C library does, after a panic that was caught.
    AbortLater,
    /// Panics, is caught, and ends.
    Caught,
}

extern "C" fn callback() {
    panic!("a panic in a callback");
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        panic!("a panic in a destructor");
    }
}

impl Task for Fall {
    const NAME: &'static str = "fall";
    type Output = ();
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        match self {
            Self::CannotUnwind => callback(),
            Self::Twice => {
                let _guard = Guard;
                panic!("the first");
            }
            Self::Elsewhere => {
                std::thread::spawn(|| {
                    std::thread::sleep(Duration::from_millis(200));
                    callback();
                });
                std::future::pending().await
            }
            Self::AbortLater => {
                let caught = std::panic::catch_unwind(|| panic!("a panic that is caught"));
                assert!(caught.is_err());
                std::process::abort();
            }
            Self::Caught => panic!("a panic of a task"),
        }
        Ok(())
    }
}

fn builder() -> PoolBuilder {
    Pool::builder(workers())
        .processes(1)
        .concurrency(4)
        .restart(
            Restart::default()
                .budget(None)
                .backoff(Duration::ZERO, Duration::from_millis(20)),
        )
}

#[track_caller]
fn lost<T: std::fmt::Debug, E: std::fmt::Debug>(settled: Result<T, TaskError<E>>) -> CrashReport {
    match settled {
        Err(TaskError::WorkerLost(report)) => report,
        other => panic!("not lost: {other:?}"),
    }
}

#[test]
fn a_panic_that_cannot_be_caught_is_the_cause_and_its_task_alone_the_suspect() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder().start().await.unwrap();
        for (fall, words) in [
            (Fall::CannotUnwind, "a panic in a callback"),
            (Fall::Twice, "a panic in a destructor"),
        ] {
            let neighbour = format!("{fall:?}");
            let act = Act::new(dir.path(), &neighbour, End::Ok).gated();
            let beside = pool.submit(Submit::new(act).idempotent());
            seen(dir.path(), &neighbour, "started").await;
            let report = lost(pool.submit(fall).await);
            assert_eq!(report.cause(), &LossCause::Panicked, "{report}");
            assert_eq!(report.signal_name(), Some("SIGABRT"));
            assert_eq!((report.started(), report.suspects()), (Started::Yes, 1));
            let panic = report.panic().unwrap();
            assert_eq!(panic.message(), words);
            assert!(
                panic
                    .location()
                    .unwrap()
                    .starts_with("tests/tasks/last_words.rs:")
            );
            let text = report.to_string();
            assert!(text.contains("aborted by a panic (SIGABRT)"), "{text}");
            assert!(
                text.contains(&format!("{words} at tests/tasks/last_words.rs:")),
                "{text}"
            );
            let names: Vec<_> = report.running().iter().map(|task| task.task).collect();
            assert_eq!(names, ["act", "fall"]);
            // Who was beside it is not to blame.
            put(dir.path(), &neighbour, "go");
            assert!(beside.await.is_ok());
        }
        assert_eq!(pool.status().await.quarantined, 0);
    });
}

#[test]
fn a_panic_on_another_thread_names_no_task_whatever_is_polled_meanwhile() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder().start().await.unwrap();
        let falls = pool.submit(Fall::Elsewhere);
        let beside = pool.submit(Act::new(dir.path(), "beside", End::Hold));
        seen(dir.path(), "beside", "started").await;
        let report = lost(falls.await);
        assert_eq!(report.cause(), &LossCause::Panicked, "{report}");
        assert_eq!(report.suspects(), 2);
        assert_eq!(lost(beside.await).suspects(), 2);
        assert!(!has(dir.path(), "beside", "dropped"));
    });
}

#[test]
fn whoever_ends_otherwise_has_not_died_of_a_panic() {
    common::run(async {
        let pool = builder().start().await.unwrap();
        let report = lost(pool.submit(Fall::AbortLater).await);
        assert_eq!(report.cause(), &LossCause::Signal, "{report}");
        assert_eq!(report.panic(), None);
        let caught = pool.submit(Fall::Caught).await;
        assert!(matches!(caught, Err(TaskError::Panicked(_))), "{caught:?}");
        assert!(pool.submit(Fall::Caught).await.is_err());
        assert_eq!(pool.status().await.slots[0].restarts, 1);
    });
}
