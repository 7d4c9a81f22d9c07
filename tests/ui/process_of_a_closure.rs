// A worker is another process, which a closure of this one cannot be sent to.
use actix_multiprocess::{Process, Workers};

fn start(workers: Workers) {
    let inline = async |x: u32| x;
    let _ = Process::builder(&workers).spawn(inline);
}

fn main() {}
