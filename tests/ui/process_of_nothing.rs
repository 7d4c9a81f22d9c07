// A process is started for a task.
use actix_multiprocess::{Process, Task, Workers};

fn start<T: Task>(workers: Workers) {
    let _ = Process::<T>::builder(&workers).spawn();
}

fn main() {}
