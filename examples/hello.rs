//! The smallest useful program: `cargo run --example hello`. Look at `init()`, where the workers turn off.
use actix_multiprocess::{NoError, Pool, Task, TaskContext, WorkerSpec};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Greet(String);

impl Task for Greet {
    const NAME: &'static str = "greet";
    type Output = (String, u32);
    type Error = NoError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<(String, u32), NoError> {
        Ok((format!("hello, {}", self.0), cx.worker().pid))
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let workers = WorkerSpec::new().task::<Greet>().init(); // in a worker process this never returns
    let pool = Pool::builder(workers).processes(2).start().await?;
    let (greeting, pid) = pool.submit(Greet("world".to_owned())).await?;
    assert_eq!(greeting, "hello, world");
    assert_ne!(pid, std::process::id(), "it must have been another process");
    println!("{greeting}, says process {pid}");
    pool.stop().await;
    Ok(())
}
