// What is dropped at once does nothing, or undoes what was begun.
#![deny(unused_must_use)]

use actix_multiprocess::{Pool, Submit, Task, WorkerSpec};

fn unused<T: Task>(pool: Pool, task: fn() -> T) {
    pool.submit(task());
    pool.map([task()]);
    pool.map([task()]).unordered();
    Submit::new(task());
    Submit::new(task()).idempotent();
    WorkerSpec::new();
    WorkerSpec::new().init();
    Pool::builder(WorkerSpec::new().init());
    Pool::builder(WorkerSpec::new().init()).start();
    pool.stop();
}

fn main() {}
