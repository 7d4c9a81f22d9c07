// A pool is built from what `init()` returns: without it nobody would turn off into the worker.
use actix_multiprocess::{Pool, WorkerSpec};

fn main() {
    let spec = WorkerSpec::new();
    let _ = Pool::builder(spec);
}
