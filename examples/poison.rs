//! Inputs that kill the worker they are given to, among many that do not: `cargo run --release --example poison`, or
//! `-- 1 2 3` for others than the 20th, 40th and 60th of 64.
//!
//! What to look at: `IDEMPOTENT`, which lets a task run again when its worker has died, and what becomes of it then. Each worker
//! runs several at once, so when one dies nobody knows which of them it was. The pool runs the suspects again, one after
//! the other, in a worker for them alone; the one that kills that, too, is `poisoned()`. Others go on meanwhile: the program
//! measures how many of them. It checks that each poisoned input is found, and that no other is lost; if not, the
//! status is 1.
use std::{
    cell::Cell,
    collections::BTreeSet,
    error::Error,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_multiprocess::{NoError, Pool, Task, TaskContext, TaskError, TaskHandle, WorkerSpec};
use serde::{Deserialize, Serialize};

/// A file to be parsed, by a library with a bug.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parse {
    number: u32,
    poisoned: bool,
}

impl Task for Parse {
    const NAME: &'static str = "parse";
    const IDEMPOTENT: bool = true;
    type Output = u32;
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<u32, NoError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self.poisoned {
            eprintln!("libparse: corrupted size vs. prev_size");
            std::process::abort();
        }
        Ok(self.number)
    }
}

/// What the service is there for.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Serve;

impl Task for Serve {
    const NAME: &'static str = "serve";
    const IDEMPOTENT: bool = true;
    type Output = ();
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        let until = Instant::now() + Duration::from_millis(1);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        Ok(())
    }
}

/// Sixteen clients, each of which asks again when it has its answer. Returns the number of answers.
fn clients(pool: &Pool) -> Rc<Cell<u32>> {
    let answers = Rc::new(Cell::new(0));
    for _ in 0..16 {
        let (pool, answers) = (pool.clone(), Rc::clone(&answers));
        actix::spawn(async move {
            while pool.submit(Serve).await.is_ok() {
                answers.set(answers.get() + 1);
            }
        });
    }
    answers
}

/// Answers in a second, until `done`, and for one second at least.
async fn rate(answers: &Cell<u32>, done: impl Future<Output = ()>) -> f64 {
    let (before, began) = (answers.get(), Instant::now());
    done.await;
    let left = Duration::from_secs(1).saturating_sub(began.elapsed());
    tokio::time::sleep(left).await;
    f64::from(answers.get() - before) / began.elapsed().as_secs_f64()
}

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let workers = WorkerSpec::new().task::<Parse>().task::<Serve>().init();
    let mut poisoned = BTreeSet::new();
    for text in std::env::args().skip(1) {
        poisoned.insert(text.parse::<u32>()?);
    }
    if poisoned.is_empty() {
        poisoned = BTreeSet::from([20, 40, 60]);
    }
    let pool = Pool::builder(workers)
        .processes(2)
        .wait_all()
        .start()
        .await?;
    let answers = clients(&pool);
    let before = rate(&answers, async {}).await;

    let files = (0..64).map(|number| Parse {
        number,
        poisoned: poisoned.contains(&number),
    });
    let handles: Vec<TaskHandle<Parse>> = files.map(|file| pool.submit(file)).collect();
    let (mut found, mut lost) = (BTreeSet::new(), Vec::new());
    let meanwhile = rate(&answers, async {
        for (number, handle) in (0..).zip(handles) {
            match handle.await {
                Ok(_) => {}
                Err(TaskError::WorkerLost(report)) if report.poisoned() => {
                    println!("{number}: {report}");
                    found.insert(number);
                }
                Err(error) => lost.push(format!("{number}: {error}")),
            }
        }
    })
    .await;
    let status = pool.status().await;
    let deaths: u64 = status.slots.iter().map(|slot| slot.restarts).sum();
    println!(
        "{} of 64 files are poisoned; {deaths} workers died of them, and {} tasks ran again",
        found.len(),
        status.counts.retried
    );
    println!(
        "served meanwhile: {meanwhile:.0} a second, {:.0} % of the {before:.0} before",
        100.0 * meanwhile / before
    );
    pool.stop().await;
    if found == poisoned && lost.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("found {found:?} instead of {poisoned:?}, and lost {lost:?}");
    Ok(ExitCode::FAILURE)
}
