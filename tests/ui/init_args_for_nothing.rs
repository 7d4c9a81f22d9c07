// The initializer takes nothing.
use actix_multiprocess::{Pool, WorkerSpec};

fn main() {
    let workers = WorkerSpec::new().init();
    let _ = Pool::builder(workers).init_args(10);
}
