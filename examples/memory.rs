//! Workers that take too much memory, and what that costs: `cargo run --example memory`, or `-- 200` for a soft limit of so
//! many MiB instead of 48. Linux only.
//!
//! What to look at: `memory_soft`, at which a worker is replaced without losing a task, so that what a library leaks is given
//! back; `memory_hard`, at which it is killed, and what its task's caller is told (`LossCause::Memory`, and how much it had);
//! `memory_total`, at which the newest task goes that may run again, and does so when there is room. The program checks that
//! no worker had more than the soft limit and one task, and that every caller was told the truth; if not, the status is 1.
use std::{error::Error, process::ExitCode, time::Duration};

use actix_multiprocess::{
    LossCause, NoError, Pool, Retry, Submit, Task, TaskContext, TaskError, WorkerSpec, Workers,
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;

/// Draws a page with a library that never gives its memory back: returns how many MiB its process has then.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Draw;

impl Task for Draw {
    const NAME: &'static str = "draw";
    type Output = usize;
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<usize, NoError> {
        std::hint::black_box(vec![1_u8; MIB]).leak();
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        Ok(pages.unwrap_or(0) * 4096 / MIB)
    }
}

/// Unpacks an archive into so many MiB of memory, 1 MiB every 2 ms, and works on it for so many milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Unpack {
    mib: usize,
    work: u64,
}

impl Task for Unpack {
    const NAME: &'static str = "unpack";
    type Output = u32;
    type Error = NoError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<u32, NoError> {
        let mut unpacked = Vec::new();
        for _ in 0..self.mib {
            unpacked.push(std::hint::black_box(vec![1_u8; MIB]));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(self.work)).await;
        Ok(cx.attempt())
    }
}

/// A leak of 1 MiB a page, in workers that are replaced before it matters. Returns what a worker had at most.
async fn leaks(workers: Workers, soft: usize) -> Result<usize, Box<dyn Error>> {
    let pool = Pool::builder(workers)
        .processes(2)
        .concurrency(1)
        .memory_soft(soft * MIB);
    let pool = pool.start().await?;
    let mut pages = pool.map((0..500).map(|_| Draw)).unordered();
    let (mut drawn, mut most) = (0, 0);
    while let Some((_, page)) = pages.next().await {
        most = most.max(page?);
        drawn += 1;
    }
    println!("{drawn} pages, 1 MiB leaked by each: no worker had more than {most} MiB");
    pool.stop().await;
    Ok(most)
}

/// One archive that is too large, and one that is not. Returns whether both were told the truth.
async fn too_large(workers: Workers) -> Result<bool, Box<dyn Error>> {
    let pool = Pool::builder(workers).processes(1).memory_hard(100 * MIB);
    let pool = pool.start().await?;
    let bomb = pool.submit(Unpack { mib: 4000, work: 0 }).await;
    let told = match &bomb {
        Err(TaskError::WorkerLost(report)) => {
            println!("a bomb: {report}");
            report.cause() == &LossCause::Memory && report.suspects() == 1
        }
        other => {
            println!("a bomb: {other:?}");
            false
        }
    };
    let other = pool.submit(Unpack { mib: 10, work: 0 }).await;
    println!("an archive of 10 MiB behind it: attempt {other:?}");
    pool.stop().await;
    Ok(told && other.is_ok())
}

/// Two archives that have room, but not both at once. Returns whether both were unpacked, the second at its second attempt.
async fn both_at_once(workers: Workers) -> Result<bool, Box<dyn Error>> {
    let pool = Pool::builder(workers)
        .processes(2)
        .concurrency(1)
        .memory_total(150 * MIB)
        .retry(Retry::default().backoff(Duration::from_secs(1), Duration::from_secs(1)));
    let pool = pool.wait_all().start().await?;
    let [first, second] = [(); 2].map(|()| {
        let archive = Unpack { mib: 90, work: 300 };
        pool.submit(Submit::new(archive).idempotent())
    });
    let (first, second) = (first.await, second.await);
    println!("two archives of 90 MiB with room for 150: attempts {first:?} and {second:?}");
    pool.stop().await;
    Ok(matches!((first, second), (Ok(1), Ok(2))))
}

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let workers = WorkerSpec::new().task::<Draw>().task::<Unpack>().init();
    let soft = std::env::args()
        .nth(1)
        .map_or(Ok(48), |text| text.parse())?;
    let most = leaks(workers.clone(), soft).await?;
    let mut wrong = Vec::new();
    // One task more, and what an allocator makes of it.
    if !(soft..=soft.min(48) + 3).contains(&most) {
        wrong.push("a worker had too much, or never enough to be replaced");
    }
    if !too_large(workers.clone()).await? {
        wrong.push("what the bomb came to");
    }
    if !both_at_once(workers).await? {
        wrong.push("what the two archives came to");
    }
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("not as it should be: {}", wrong.join("; "));
    Ok(ExitCode::FAILURE)
}
