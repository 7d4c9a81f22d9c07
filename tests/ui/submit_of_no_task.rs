// What is submitted is a task, or one in a `Submit`.
use actix_multiprocess::Pool;

fn submit(pool: &Pool) {
    let _ = pool.submit("resize");
}

fn main() {}
