// The initializer is async: it may connect to something.
use actix_multiprocess::WorkerSpec;

fn main() {
    let _ = WorkerSpec::new().state(|| Ok(10)).init();
}
