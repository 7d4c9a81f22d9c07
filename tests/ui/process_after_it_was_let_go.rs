// Whoever lets a process go does not ask it any more.
use actix_multiprocess::{Process, Task};

fn close<T: Task>(process: Process<T>) {
    process.detach();
    let _ = process.exit_status();
}

fn main() {}
