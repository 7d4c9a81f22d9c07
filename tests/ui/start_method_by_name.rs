// How workers are started is a `Launcher`, and no word that may be misspelt.
use actix_multiprocess::{Pool, WorkerSpec};

fn main() {
    let workers = WorkerSpec::new().init();
    let _ = Pool::builder(workers).launcher("fork");
}
