//! Work that takes too long, in each of the ways it can: `cargo run --example timeouts`, or `-- 2000` for a limit of so many
//! milliseconds instead of 300.
//!
//! What to look at: `run_timeout`, which a pool can have for all its tasks, a name or one submission, and what a caller is told
//! (`TaskError::TimedOut`): which limit it was, and what became of the task. One that awaits is dropped. One that computes goes
//! with its worker, which is replaced; its idempotent neighbour runs again. One that looks at `remaining()` returns what it
//! has. The program checks that every caller was told in time and that the pool serves afterwards; if not, the status is 1.
use std::{
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use actix_multiprocess::{
    NoError, Pool, Submit, Task, TaskContext, TaskError, TimeoutEnd, TimeoutStage, WorkerSpec,
};
use serde::{Deserialize, Serialize};

/// Looks for the digits of pi, in one way or another.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Pi {
    /// Waits for somebody who never answers.
    AskingAround,
    /// Computes for ever.
    Computing,
    /// Computes as long as it may, and returns what it has.
    ComputingInTime,
    /// Takes a third of a second.
    ReadingItUp,
}

impl Task for Pi {
    const NAME: &'static str = "pi";
    type Output = f64;
    type Error = NoError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<f64, NoError> {
        let close = Duration::from_millis(50);
        match self {
            Self::AskingAround => std::future::pending().await,
            Self::Computing => Ok(leibniz(|| true)),
            Self::ComputingInTime => Ok(leibniz(|| cx.remaining().is_none_or(|left| left > close))),
            Self::ReadingItUp => {
                tokio::time::sleep(Duration::from_millis(330)).await;
                Ok(std::f64::consts::PI)
            }
        }
    }
}

/// Adds up Leibniz' series for as long as it may.
fn leibniz(mut may: impl FnMut() -> bool) -> f64 {
    let (mut sum, mut k) = (0.0, 0.0);
    while may() {
        for _ in 0..1000 {
            sum += 4.0 / (2.0 * k + 1.0) - 4.0 / (2.0 * k + 3.0);
            k += 2.0;
        }
    }
    sum
}

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let workers = WorkerSpec::new().task::<Pi>().init();
    let limit = std::env::args()
        .nth(1)
        .map_or(Ok(300), |text| text.parse())?;
    let limit = Duration::from_millis(limit);
    let pool = Pool::builder(workers)
        .processes(1)
        .concurrency(2)
        .run_timeout(limit)
        .start()
        .await?;
    let began = Instant::now();
    let mut wrong = Vec::new();
    let mut check = |what: &str, is_right: bool| {
        println!("{:>5} ms  {what}", began.elapsed().as_millis());
        if !is_right {
            wrong.push(what.to_owned());
        }
    };

    // Dropped at its await. What waits behind for longer than it may never starts.
    let asking = [(); 2].map(|()| pool.submit(Pi::AskingAround));
    let hasty = Submit::new(Pi::ReadingItUp).queue_timeout(limit / 3);
    let told = pool.submit(hasty).await;
    check(
        &format!("waiting: {}", words(&told)),
        is_over(&told, TimeoutStage::Queued, TimeoutEnd::NeverStarted),
    );
    for asking in asking {
        let told = asking.await;
        check(
            &format!("asking around: {}", words(&told)),
            is_over(&told, TimeoutStage::Running, TimeoutEnd::Dropped),
        );
    }

    // Nothing but the end of its process ends a loop. The other task in it is not to blame, and runs again.
    let patient = Submit::new(Pi::ReadingItUp)
        .idempotent()
        .run_timeout(Duration::MAX);
    let reading = pool.submit(patient);
    let told = pool.submit(Pi::Computing).await;
    check(
        &format!("computing: {}", words(&told)),
        is_over(&told, TimeoutStage::Running, TimeoutEnd::WithWorker),
    );
    let read = reading.await;
    check(
        &format!("reading it up beside that: {}", words(&read)),
        read.is_ok(),
    );

    // It knows how long it has.
    let close = pool.submit(Pi::ComputingInTime).await;
    let is_close = close
        .as_ref()
        .is_ok_and(|pi| (pi - std::f64::consts::PI).abs() < 1e-3);
    check(&format!("computing in time: {}", words(&close)), is_close);

    // A deadline is for all: waiting, and running in however many workers.
    let until = Submit::new(Pi::AskingAround).timeout(limit / 2);
    let told = pool.submit(until).await;
    let over =
        matches!(&told, Err(TaskError::TimedOut(over)) if over.stage == TimeoutStage::Deadline);
    check(&format!("with a deadline: {}", words(&told)), over);

    let took = began.elapsed();
    let most = Duration::from_secs(5);
    check(&format!("all of them in {took:.1?}"), took < most);
    pool.stop().await;
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("not as it should be: {}", wrong.join("; "));
    Ok(ExitCode::FAILURE)
}

fn words(told: &Result<f64, TaskError<NoError>>) -> String {
    match told {
        Ok(pi) => format!("{pi:.4}"),
        Err(error) => error.to_string(),
    }
}

fn is_over(told: &Result<f64, TaskError<NoError>>, stage: TimeoutStage, ended: TimeoutEnd) -> bool {
    matches!(told, Err(TaskError::TimedOut(over)) if (over.stage, over.ended) == (stage, ended))
}
