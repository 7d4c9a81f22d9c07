//! What the failure hook of a worker is told, and when.
#![cfg(target_os = "linux")]

use std::{env, fmt, fs, path::PathBuf, time::Duration};

use crate::common::{self, eventually, has, put, run, seen, status_is};
use actix_multiprocess::{
    CodecValue, Failure, FailureInfo, Launcher, Pool, Submit, Task, TaskContext, TaskError, TaskId,
    WorkerSpec, testing::assert_clean, worker_entry,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// An error with something in it that no text has.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Refusal {
    code: u32,
    bulk: String,
}

impl Refusal {
    fn new(code: u32) -> Self {
        Self {
            code,
            bulk: String::new(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refusal {}

/// What cannot be written: its length is not known.
#[derive(Debug, Default, Deserialize)]
struct Endless;

impl Serialize for Endless {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..9).filter(|number| number % 2 == 0))
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Fail {
    Not,
    Never,
    With(u32),
    /// Leaves something behind that holds the loop for a moment.
    AndHold(u32),
    /// With an error of so many bytes, while the host does not read.
    Large(usize),
    Panic,
    Unwritable,
    /// Aborts when it runs for the first time, and fails when it runs again.
    Again(u32),
}

impl Task for Fail {
    const NAME: &'static str = "fail";
    type Output = Option<Endless>;
    type Error = Refusal;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<Option<Endless>, Refusal> {
        match self {
            Self::Not => Ok(None),
            Self::Never => std::future::pending().await,
            Self::With(code) => Err(Refusal::new(code)),
            Self::AndHold(code) => {
                let (go, gone) = tokio::sync::oneshot::channel::<()>();
                actix::spawn(async {
                    let _ = gone.await;
                    std::thread::sleep(Duration::from_millis(50));
                });
                tokio::task::yield_now().await;
                // A result after a poll this long is written at once.
                common::burn(Duration::from_millis(1));
                drop(go);
                Err(Refusal::new(code))
            }
            Self::Large(bytes) => {
                put(&directory(), "task", "started");
                seen(&directory(), "host", "holds").await;
                Err(Refusal {
                    code: 3,
                    bulk: "x".repeat(bytes),
                })
            }
            Self::Panic => panic!("as told"),
            Self::Unwritable => Ok(Some(Endless)),
            Self::Again(_) if cx.attempt() == 1 => std::process::abort(),
            Self::Again(code) => Err(Refusal::new(code)),
        }
    }
}

/// What the hook has heard, in a line of its own file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Heard {
    name: String,
    id: TaskId,
    attempt: u32,
    pid: u32,
    what: What,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum What {
    Code(u32),
    Panic(String),
    Codec(String),
}

const DIRECTORY: &str = "HOOK_DIRECTORY";

fn directory() -> PathBuf {
    env::var_os(DIRECTORY)
        .expect("a worker of this test")
        .into()
}

fn hook(info: &FailureInfo, failure: Failure<'_>) {
    let dir = directory();
    // Whoever flushes its reports at the end has all of them.
    assert!(!has(&dir, "hook", "shutdown"), "told too late");
    put(&dir, "hook", "begun");
    if has(&dir, "hook", "exit") {
        std::process::exit(3);
    }
    while has(&dir, "hook", "hold") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let what = match failure {
        Failure::Failed(_) => {
            let error: &Refusal = failure.downcast_ref().expect("the task's own type");
            assert!(failure.downcast_ref::<String>().is_none());
            What::Code(error.code)
        }
        Failure::Panicked(error) => What::Panic(error.message().to_owned()),
        Failure::Codec(error) => What::Codec(error.value().to_string()),
        _ => panic!("of another kind"),
    };
    let heard = Heard {
        name: info.name.to_owned(),
        id: info.id,
        attempt: info.attempt,
        pid: info.worker.pid,
        what,
    };
    let number = (0..).find(|number| !has(&dir, &number.to_string(), "heard"));
    let name = format!("{}.heard", number.expect("a number"));
    let text = serde_json::to_string(&heard).expect("a text");
    // Whole when it is there.
    let temporary = dir.join("hook.temporary");
    fs::write(&temporary, text).expect("a file");
    fs::rename(temporary, dir.join(name)).expect("a new name");
}

worker_entry!(
    WorkerSpec::new()
        .on_failure(hook)
        .shutdown(|_| async { put(&directory(), "hook", "shutdown") })
        .task::<Fail>()
);

async fn start(dir: &TempDir) -> Pool {
    Pool::builder(workers())
        .processes(1)
        .launcher(Launcher::own_image().env(DIRECTORY, dir.path()))
        .start()
        .await
        .expect("a pool")
}

/// What the hook heard, when it has heard this much.
async fn heard(dir: &TempDir, count: usize) -> Vec<Heard> {
    let file = |number: usize| dir.path().join(format!("{number}.heard"));
    eventually("the hook hears", || async { file(count - 1).exists() }).await;
    assert!(!file(count).exists(), "it heard more");
    let read = |number| {
        let text = fs::read_to_string(file(number)).expect("a file");
        serde_json::from_str(&text).expect("what the hook wrote")
    };
    (0..count).map(read).collect()
}

fn directory_of_a_test() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn the_hook_gets_the_typed_error_with_task_id_attempt_and_worker() {
    run(async {
        let dir = directory_of_a_test();
        let pool = start(&dir).await;
        let pid = pool.status().await.slots[0].pid.expect("a process");
        // Ids count on, so that no default is the right one.
        pool.submit(Fail::Not).await.expect("a result");
        let failing = pool.submit(Fail::With(7));
        let id = failing.id().expect("an accepted task");
        let outcome = failing.await;
        assert!(matches!(
            outcome,
            Err(TaskError::Failed(Refusal { code: 7, .. }))
        ));
        let expected = Heard {
            name: "fail".to_owned(),
            id,
            attempt: 1,
            pid,
            what: What::Code(7),
        };
        assert_eq!(heard(&dir, 1).await, [expected]);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn the_hook_hears_which_attempt_failed() {
    run(async {
        let dir = directory_of_a_test();
        let pool = start(&dir).await;
        let failing = pool.submit(Submit::new(Fail::Again(5)).idempotent());
        let id = failing.id().expect("an accepted task");
        let outcome = failing.await;
        assert!(matches!(
            outcome,
            Err(TaskError::Failed(Refusal { code: 5, .. }))
        ));
        // Of the first nobody in that worker was left to tell.
        let [heard] = &heard(&dir, 1).await[..] else {
            panic!("more than one");
        };
        assert_eq!((heard.id, heard.attempt), (id, 2));
        pool.stop().await;
    });
}

#[test]
fn the_hook_hears_of_panics_and_of_outputs_that_cannot_travel() {
    run(async {
        let dir = directory_of_a_test();
        let pool = start(&dir).await;
        let panicked = pool.submit(Fail::Panic);
        let ids = [panicked.id()];
        assert!(matches!(panicked.await, Err(TaskError::Panicked(_))));
        let unwritable = pool.submit(Fail::Unwritable);
        let ids = [ids[0], unwritable.id()].map(|id| id.expect("an accepted task"));
        let outcome = unwritable.await;
        assert!(
            matches!(&outcome, Err(TaskError::Codec(error)) if error.value() == CodecValue::Output),
            "{outcome:?}"
        );
        let heard = heard(&dir, 2).await;
        assert_eq!(heard[0].what, What::Panic("as told".to_owned()));
        assert_eq!(heard[1].what, What::Codec("output".to_owned()));
        assert_eq!([heard[0].id, heard[1].id], ids);
        pool.stop().await;
    });
}

#[test]
fn the_hook_hears_of_nothing_that_did_not_fail() {
    run(async {
        let dir = directory_of_a_test();
        let pool = start(&dir).await;
        pool.submit(Fail::Not).await.expect("a result");
        let waiting = pool.submit(Fail::Never);
        waiting.cancel();
        assert!(matches!(waiting.await, Err(TaskError::Cancelled { .. })));
        status_is(&pool, "free", |status| status.slots[0].in_flight == 0).await;
        pool.submit(Fail::With(1)).await.expect_err("an error");
        assert_eq!(heard(&dir, 1).await[0].what, What::Code(1));
        pool.stop().await;
    });
}

#[test]
fn the_caller_has_the_result_while_the_hook_still_runs() {
    run(async {
        let dir = directory_of_a_test();
        put(dir.path(), "hook", "hold");
        let pool = start(&dir).await;
        let outcome = pool.submit(Fail::With(2)).await;
        assert!(matches!(
            outcome,
            Err(TaskError::Failed(Refusal { code: 2, .. }))
        ));
        seen(dir.path(), "hook", "begun").await;
        assert!(!has(dir.path(), "0", "heard"), "the hook has ended before");
        fs::remove_file(dir.path().join("hook.hold")).expect("a file");
        heard(&dir, 1).await;
        pool.stop().await;
    });
}

#[test]
fn a_hook_that_ends_its_process_takes_no_result_along() {
    run(async {
        let dir = directory_of_a_test();
        put(dir.path(), "hook", "exit");
        let pool = start(&dir).await;
        // More than a socket takes before it is read.
        let bytes = 16 << 20;
        let failing = pool.submit(Fail::Large(bytes));
        seen(dir.path(), "task", "started").await;
        put(dir.path(), "host", "holds");
        // The pool's own thread.
        std::thread::sleep(Duration::from_millis(200));
        let outcome = failing.await;
        let Err(TaskError::Failed(Refusal { code: 3, bulk })) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(bulk.len(), bytes);
        // It did end its process.
        status_is(&pool, "lost", |status| status.slots[0].restarts > 0).await;
        pool.stop().await;
    });
}

#[test]
fn a_worker_that_is_asked_to_end_tells_the_hook_first() {
    run(async {
        for code in 0..5 {
            let dir = directory_of_a_test();
            let pool = start(&dir).await;
            // Its host has the result, and asks the worker to end, while the loop is held.
            let failing = pool.submit(Fail::AndHold(code));
            let drained = pool.drain(Duration::from_secs(20));
            failing.await.expect_err("a failure");
            drained.await;
            assert!(has(dir.path(), "hook", "shutdown"));
            assert_eq!(heard(&dir, 1).await[0].what, What::Code(code));
        }
    });
}
