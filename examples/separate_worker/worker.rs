//! The worker program of the example `separate_worker`. It is started by that, and of no use by itself.

mod tasks;

use actix_multiprocess::WorkerSpec;

use crate::tasks::{CountWords, Engine};

fn main() {
    // The name, here the default one, is the same as in the host. It may offer more tasks than the host knows, not fewer.
    let _ = WorkerSpec::new()
        .state(|| async {
            Ok(Engine {
                count_words: |text| text.split_whitespace().count(),
            })
        })
        .task::<CountWords>()
        .init();
    println!("a worker program: `cargo run --example separate_worker` starts it");
}
