//! A program whose panics abort: `.ci/run` builds it as a crate of its own, because no test can be one.
//!
//! A task that panics ends its worker there. Its caller is told what it said and where, and the program's other tasks go on.
use std::process::ExitCode;

use actix_multiprocess::{LossCause, NoError, Pool, Task, TaskContext, TaskError, WorkerSpec};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Divide(u32, u32);

impl Task for Divide {
    const NAME: &'static str = "divide";
    type Output = u32;
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<u32, NoError> {
        Ok(self.0 / self.1)
    }
}

#[actix::main]
async fn main() -> ExitCode {
    let workers = WorkerSpec::new().task::<Divide>().init();
    let pool = Pool::builder(workers).processes(1).start().await;
    let pool = pool.expect("a pool");
    let by_zero = pool.submit(Divide(1, 0)).await;
    let next = pool.submit(Divide(6, 2)).await;
    println!("{by_zero:?}, then {next:?}");
    let told = match &by_zero {
        Err(TaskError::WorkerLost(report)) => {
            println!("{report}");
            let said = report.panic().map(|panic| panic.message());
            report.cause() == &LossCause::Panicked
                && report.suspects() == 1
                && said == Some("attempt to divide by zero")
        }
        _ => false,
    };
    pool.stop().await;
    if told && next.is_ok_and(|six| six == 3) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
