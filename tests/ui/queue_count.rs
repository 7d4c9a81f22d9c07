// There is one queue, so its number cannot be wrong.
use actix_multiprocess::{Pool, WorkerSpec};

fn main() {
    let workers = WorkerSpec::new().init();
    let _ = Pool::builder(workers).processes(4).queue_count(9);
}
