// What is awaited is a process that was started, not the settings of one.
use actix_multiprocess::{Process, Task, Workers};

async fn join<T: Task>(workers: Workers) {
    let _ = Process::<T>::builder(&workers).name("report").await;
}

fn main() {}
