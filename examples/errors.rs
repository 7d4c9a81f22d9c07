//! Every way in which a task can come to nothing, as its caller reads it: `cargo run --example errors`.
//!
//! What to look at: `Draw::run` does each of these things to its worker, and the pool goes on; `what_to_do` is the `match` that
//! a caller may want to write. Each error is shown in one line and, where that is more, with all that is known. The panic
//! and the last words that stand in between are the workers' own, on stderr. An error that is not the expected one is
//! named, and the status is 1.
//!
//! Settings that the program leaves open can come from the environment. With `ERRORS_WHEN_FULL=wait` a full queue refuses
//! nobody, so that one error does not come about, and the program says so.

use std::{
    error::Error,
    fmt::{self, Display},
    future::pending,
    process::ExitCode,
    time::Duration,
};

use actix_multiprocess::{
    Blob, CodecValue, NoError, Pool, PoolConfig, Rejected, RemoteError, Started, Submit, Task,
    TaskContext, TaskError, TimeoutEnd, TimeoutStage, WorkerSpec,
};
use serde::{Deserialize, Serialize};

/// An error of the task's own. It reaches the caller as the value it is.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    TooSmall { least: u32 },
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { least } => write!(f, "draw at least {least} pixels"),
        }
    }
}

impl Error for Refusal {}

#[derive(Serialize, Deserialize)]
enum Draw {
    Nothing,
    Panic,
    Abort,
    Exit,
    ForEver,
    Bytes(Blob),
}

impl Task for Draw {
    const NAME: &'static str = "draw";
    type Output = ();
    type Error = Refusal;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<(), Refusal> {
        match self {
            Self::Nothing => Err(Refusal::TooSmall { least: 1 }),
            Self::Panic => panic!("a canvas without a size"),
            Self::Abort => {
                eprintln!("libdraw: assertion `canvas != NULL' failed");
                std::process::abort()
            }
            Self::Exit => std::process::exit(3),
            Self::ForEver => pending().await,
            Self::Bytes(_) => Ok(()),
        }
    }
}

/// Its errors are of many types, and all come back as a `RemoteError`.
#[derive(Serialize, Deserialize)]
struct Measure(String);

impl Task for Measure {
    const NAME: &'static str = "measure";
    type Output = u32;
    type Error = RemoteError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<u32, RemoteError> {
        let width = self.0.parse().map_err(BadWidth)?;
        Ok(width)
    }
}

#[derive(Debug)]
struct BadWidth(std::num::ParseIntError);

impl Display for BadWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the width is no number")
    }
}

impl Error for BadWidth {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// No worker has it.
#[derive(Serialize, Deserialize)]
struct Drawn;

impl Task for Drawn {
    const NAME: &'static str = "drawn";
    type Output = ();
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        Ok(())
    }
}

/// `flatten` needs a format that describes itself, which `Json<Colours>` would travel in.
#[derive(Serialize, Deserialize)]
struct Colours {
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, u32>,
}

impl Task for Colours {
    const NAME: &'static str = "colours";
    type Output = ();
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        Ok(())
    }
}

fn what_to_do<E>(error: &TaskError<E>) -> &'static str {
    match error {
        TaskError::Failed(_) => "it is the task's own: handle it as if it had been called here",
        TaskError::Panicked(_) => {
            "a bug of the task: its report has the place; do not submit it again"
        }
        TaskError::Cancelled { .. } => "somebody wanted it to end: nothing",
        TaskError::TimedOut(over) if over.never_ran() => "submit it later: 504",
        TaskError::TimedOut(_) => "give it more time or less to do: 504",
        TaskError::WorkerLost(report) if report.started() == Started::No => "submit it again",
        TaskError::WorkerLost(_) => {
            "submit it again if it may run twice; one that always may is IDEMPOTENT"
        }
        TaskError::Rejected(Rejected::QueueFull { .. }) => {
            "submit it later, or pass the load on: 503"
        }
        TaskError::Rejected(Rejected::Unavailable { .. }) => "submit it after `retry_after`: 503",
        TaskError::Rejected(Rejected::TooLarge { .. }) => "send less, or raise the limit: 413",
        TaskError::Rejected(Rejected::Closed) => "end: the pool has",
        TaskError::Rejected(_) => "a bug of the host: register the task",
        TaskError::Codec(_) => "a bug of a type: wrap it in Json",
        _ => "read it",
    }
}

/// Prints what a task came to, and whether it is what was expected.
pub(crate) fn show<T, E: Display>(
    what: &str,
    outcome: Result<T, TaskError<E>>,
    expected: impl FnOnce(&TaskError<E>) -> bool,
) -> bool {
    println!("\n{what}");
    let Err(error) = outcome else {
        eprintln!("{what}: it succeeded");
        return false;
    };
    let (line, all) = (error.to_string(), format!("{error:#}"));
    println!("  {{}}    {line}");
    if all != line {
        println!("  {{:#}}  {}", all.replace('\n', "\n        "));
    }
    println!("  to do: {}", what_to_do(&error));
    let right = expected(&error);
    if !right {
        eprintln!("{what}: that is not the expected error");
    }
    right
}

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let workers = WorkerSpec::new()
        .task::<Draw>()
        .task::<Measure>()
        .task::<Colours>()
        .init();

    let pool = Pool::builder(workers)
        .config(PoolConfig::from_env("ERRORS")?)
        .processes(1)
        .concurrency(1)
        .queue_limit(1)
        .max_frame_bytes(256 << 10)
        .start()
        .await?;
    let mut right = true;

    let outcome = pool.submit(Draw::Nothing).await;
    right &= show("it returns an error of its own", outcome, |error| {
        matches!(error, TaskError::Failed(Refusal::TooSmall { least: 1 }))
    });

    let outcome = pool.submit(Measure("wide".to_owned())).await;
    right &= show("it returns any error, by `?`", outcome, |error| {
        // With the causes of its cause, and where the `?` is.
        matches!(error, TaskError::Failed(error) if error.message() == "the width is no number"
            && error.chain().eq(["invalid digit found in string"])
            && error.location().is_some_and(|place| place.contains("errors.rs")))
    });

    let outcome = pool.submit(Draw::Panic).await;
    right &= show("it panics", outcome, |error| {
        matches!(error, TaskError::Panicked(panic) if panic.message() == "a canvas without a size"
            && panic.location().is_some_and(|place| place.contains("errors.rs")))
    });

    let outcome = pool.submit(Draw::Abort).await;
    right &= show(
        "it aborts, as a failed assertion in C does",
        outcome,
        |error| {
            // Whether it had started may not be known: the starts of quick tasks are not announced.
            matches!(error, TaskError::WorkerLost(report) if report.started() != Started::No
            && (report.signal_name() == Some("SIGABRT") || cfg!(not(unix)))
            && report.stderr_tail().contains("canvas != NULL"))
        },
    );

    let outcome = pool
        .submit(Submit::new(Draw::ForEver).run_timeout(Duration::from_millis(50)))
        .await;
    right &= show("it takes too long", outcome, |error| {
        matches!(error, TaskError::TimedOut(over) if over.stage == TimeoutStage::Running
            && over.ended == TimeoutEnd::Dropped)
    });

    let outcome = pool.submit(Draw::Exit).await;
    right &= show("it ends its process", outcome, |error| {
        matches!(error, TaskError::WorkerLost(report) if report.code() == Some(3)
            && report.suspects() == 1)
    });

    // One that runs, one that waits, and no room for a third.
    let running = pool.submit(Draw::ForEver);
    while pool.status().await.in_flight == 0 {
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
    let waiting = pool.submit(Draw::ForEver);
    let refused = pool.submit(Draw::ForEver);
    if !refused.is_settled() {
        refused.cancel();
    }
    right &= show("the queue is full", refused.await, |error| {
        matches!(
            error,
            TaskError::Rejected(Rejected::QueueFull {
                waiting: 1,
                limit: 1,
                ..
            })
        )
    });
    waiting.cancel();
    right &= show("it is cancelled while it waits", waiting.await, |error| {
        matches!(error, TaskError::Cancelled { started: false })
    });
    drop(running);

    let outcome = pool
        .submit(Draw::Bytes(Blob::from(vec![0; 300 << 10])))
        .await;
    right &= show(
        "it is too large",
        outcome,
        |error| matches!(error, TaskError::Rejected(Rejected::TooLarge { limit, .. }) if *limit == 256 << 10),
    );

    right &= show("no worker has it", pool.submit(Drawn).await, |error| {
        matches!(error, TaskError::Rejected(Rejected::UnknownTask { name: "drawn", near })
            if near == &["draw"])
    });

    let colours = Colours {
        rest: [("red".to_owned(), 0xff_0000)].into(),
    };
    right &= show(
        "it cannot be encoded",
        pool.submit(colours).await,
        |error| {
            matches!(error, TaskError::Codec(error) if error.value() == CodecValue::Input
            && error.never_ran())
        },
    );

    pool.stop().await;
    let outcome = pool.submit(Draw::Nothing).await;
    right &= show("the pool is closed", outcome, |error| {
        matches!(error, TaskError::Rejected(Rejected::Closed))
    });

    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
