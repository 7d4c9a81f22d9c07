// The initializer takes a number.
use actix_multiprocess::{Pool, WorkerSpec};

fn main() {
    let workers = WorkerSpec::new()
        .state_with(|size: u32| async move { Ok(size) })
        .init();
    let _ = Pool::builder(workers).init_args("ten");
}
