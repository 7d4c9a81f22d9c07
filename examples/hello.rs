//! hi
use actix_multiprocess::{NoError, Pool, Task, TaskContext, WorkerSpec};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Square(u64);

impl Task for Square {
    const NAME: &'static str = "square";
    type Output = u64;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<u64, NoError> {
        Ok(self.0 * self.0)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let workers = WorkerSpec::new().task::<Square>().init();
    actix::System::new().block_on(async move {
        let pool = Pool::builder(workers).processes(2).start().await?;
        assert_eq!(pool.submit(Square(7)).await?, 49);
        let squares = pool.map((0..1000).map(Square)).await?;
        assert_eq!(squares[31], 961);
        println!("{:?}", pool.status().await);
        println!("{:?}", pool.drain(std::time::Duration::from_secs(5)).await);
        Ok(())
    })
}
