//! What a pool that finds out its concurrency gains and loses against one that is told: `cargo bench --bench adaptive`, or
//! `-- 5` for so many rounds instead of 3.
//!
//! Two workers. Computing tasks, waiting tasks and a mix of both come at random moments at a pace that two CPUs can bear; and as
//! fast as they are taken. Each round has all pools in turn; what is told is the median of the rounds.
use std::time::{Duration, Instant};

use actix_multiprocess::{Concurrency, NoError, Pool, Task, TaskContext, WorkerSpec, Workers};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};

/// Computes for so many microseconds, then waits for so many.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Work {
    computes: u64,
    waits: u64,
}

impl Task for Work {
    const NAME: &'static str = "work";
    type Output = ();
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        let until = Instant::now() + Duration::from_micros(self.computes);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        if self.waits > 0 {
            tokio::time::sleep(Duration::from_micros(self.waits)).await;
        }
        Ok(())
    }
}

/// The next of a mix.
type Mix = fn(u64) -> Work;

const COMPUTES: Mix = |_| Work {
    computes: 10_000,
    waits: 0,
};
const WAITS: Mix = |_| Work {
    computes: 0,
    waits: 20_000,
};
const BOTH: Mix = |nth| {
    if nth % 2 == 0 {
        COMPUTES(nth)
    } else {
        WAITS(nth)
    }
};

/// Long computations beside many short waits.
const UNEVEN: Mix = |nth| match nth % 10 {
    0 => Work {
        computes: 100_000,
        waits: 0,
    },
    _ => WAITS(nth),
};
/// Mostly waiting, more at once than 16, with computations in between.
const MANY: Mix = |nth| match nth % 20 {
    0 => COMPUTES(nth),
    _ => WAITS(nth),
};

/// splitmix64, from 0 to 1.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

async fn pool(workers: &Workers, concurrency: Concurrency) -> Pool {
    let pool = Pool::builder(workers.clone()).processes(2);
    let pool = pool
        .concurrency(concurrency)
        .queue_limit(1 << 20)
        .wait_all();
    pool.start().await.expect("a pool")
}

/// Tasks that come so many a second at random moments: how long each takes from its submit, in milliseconds, sorted.
async fn paced(pool: &Pool, mix: Mix, per_second: f64, time: Duration) -> Vec<f64> {
    let (began, mut due, mut seed, mut nth) = (Instant::now(), 0.0, 1, 0);
    let mut running = FuturesUnordered::new();
    let mut took = Vec::new();
    // It finds its number first.
    let warm = Duration::from_secs(2);
    while began.elapsed() < warm + time {
        due -= random(&mut seed).max(1e-9).ln() / per_second;
        let at = tokio::time::Instant::from_std(began + Duration::from_secs_f64(due));
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(at) => break,
                Some(one) = running.next(), if !running.is_empty() => took.extend(one),
            }
        }
        nth += 1;
        let (submitted, handle) = (Instant::now(), pool.submit(mix(nth)));
        let counts = began.elapsed() > warm;
        running.push(async move {
            handle.await.expect("a result");
            counts.then(|| submitted.elapsed().as_secs_f64() * 1e3)
        });
    }
    let until = tokio::time::Instant::now() + Duration::from_secs(2);
    while let Ok(Some(one)) = tokio::time::timeout_at(until, running.next()).await {
        took.extend(one);
    }
    // A pool that cannot bear the pace would take minutes for what is left: those took as long as all this at least.
    let most = began.elapsed().as_secs_f64() * 1e3;
    took.extend(std::iter::repeat_n(most, running.len()));
    took.sort_by(f64::total_cmp);
    took
}

/// Tasks as fast as they are taken: how many a second.
async fn saturated(pool: &Pool, mix: Mix, time: Duration) -> f64 {
    let mut map = pool.map((0..).map(mix)).unordered();
    let (warm, began) = (Duration::from_secs(2), Instant::now());
    while began.elapsed() < warm {
        map.next().await;
    }
    let (mut done, began) = (0, Instant::now());
    while began.elapsed() < time {
        map.next().await;
        done += 1;
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[actix::main]
async fn main() {
    let workers = WorkerSpec::new().task::<Work>().init();
    let rounds: usize = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(3);
    let pools = [
        ("1", Concurrency::Fixed(1)),
        ("16", Concurrency::Fixed(16)),
        ("adaptive:64", Concurrency::Adaptive { max: 64 }),
    ];
    let time = Duration::from_secs(6);
    println!("{rounds} rounds; 10 ms of computing, 20 ms of waiting, and each in turn");
    println!("| what | 1 | 16 | adaptive:64 |\n| --- | --- | --- | --- |");
    let at_pace: [(&str, Mix, f64); 5] = [
        ("computing, 130 a second", COMPUTES, 130.0),
        ("waiting, 80 a second", WAITS, 80.0),
        ("both, 110 a second", BOTH, 110.0),
        ("1 in 10 computes 100 ms, 130 a second", UNEVEN, 130.0),
        ("1 in 20 computes, 1600 a second", MANY, 1600.0),
    ];
    for (what, mix, per_second) in at_pace {
        let mut found = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            for ((_, concurrency), found) in pools.iter().zip(&mut found) {
                let pool = pool(&workers, *concurrency).await;
                let took = paced(&pool, mix, per_second, time).await;
                let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
                found.push((at(0.5), at(0.99)));
                pool.stop().await;
            }
        }
        let cells = found.map(|found| {
            let p50 = median(found.iter().map(|(p50, _)| *p50).collect());
            let spread = median(found.iter().map(|(p50, p99)| p99 - p50).collect());
            format!("{p50:.1} ms, {spread:.1} ms")
        });
        println!("| {what}: p50, p99 − p50 | {} |", cells.join(" | "));
    }
    let as_fast: [(&str, Mix); 5] = [
        ("computing", COMPUTES),
        ("waiting", WAITS),
        ("both", BOTH),
        ("1 in 10 computes 100 ms", UNEVEN),
        ("1 in 20 computes", MANY),
    ];
    for (what, mix) in as_fast {
        let mut found = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            for ((_, concurrency), found) in pools.iter().zip(&mut found) {
                let pool = pool(&workers, *concurrency).await;
                found.push(saturated(&pool, mix, time / 2).await);
                pool.stop().await;
            }
        }
        let cells = found.map(|found| format!("{:.0}/s", median(found)));
        println!(
            "| {what}, as fast as they are taken | {} |",
            cells.join(" | ")
        );
    }
}
