// A pool that is open does not end, so nobody can wait for that: `drain` and `stop` close it and wait.
use actix_multiprocess::Pool;

async fn join(pool: Pool) {
    pool.join().await;
}

fn main() {}
