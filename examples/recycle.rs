//! A task that leaks, in workers that are replaced before it matters: `cargo run --example recycle`, or `-- 50` for
//! workers of 50 tasks; with `-- 0` they are never replaced.
//!
//! What to look at: `max_tasks`. Each worker draws a number below it (`jitter`), so that they do not leave together; the
//! next one is ready before the old one takes no more. Whatever a process has leaked, its end gives back. The program
//! checks that no process leaked more than it may, and that nothing was lost on the way; if not, the status is 1.
use std::{
    collections::BTreeMap,
    error::Error,
    process::ExitCode,
    sync::atomic::{AtomicU32, Ordering},
};

use actix_multiprocess::{NoError, Pool, Task, TaskContext, WorkerSpec};
use serde::{Deserialize, Serialize};

const TASKS: u32 = 400;
const KIB_EACH: u32 = 256;
/// What a machine with little memory could bear.
const KIB_AT_MOST: u32 = 100 * KIB_EACH;

/// What this process has leaked.
static LEAKED_KIB: AtomicU32 = AtomicU32::new(0);

#[derive(Serialize, Deserialize)]
struct Leak;

impl Task for Leak {
    const NAME: &'static str = "leak";
    /// The process, and what it has leaked by now.
    type Output = (u32, u32);
    type Error = NoError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<(u32, u32), NoError> {
        // As a C library would, that forgets what it allocated.
        Box::leak(vec![1_u8; KIB_EACH as usize * 1024].into_boxed_slice());
        let leaked = LEAKED_KIB.fetch_add(KIB_EACH, Ordering::Relaxed) + KIB_EACH;
        Ok((cx.worker().pid, leaked))
    }
}

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let workers = WorkerSpec::new().task::<Leak>().init();
    let max_tasks = std::env::args()
        .nth(1)
        .map_or(Ok(20), |text| text.parse())?;
    let mut builder = Pool::builder(workers).processes(2);
    if max_tasks > 0 {
        builder = builder.max_tasks(max_tasks);
    }
    let pool = builder.start().await?;
    // A loss would be an error here, and there is nothing that tries again.
    let leaks = pool.map((0..TASKS).map(|_| Leak)).await?;
    pool.stop().await;

    let mut processes = BTreeMap::new();
    for (pid, leaked) in leaks {
        let most = processes.entry(pid).or_insert(0);
        *most = leaked.max(*most);
    }
    let most = processes.values().max().copied().unwrap_or(0);
    println!(
        "{TASKS} tasks in {} processes, none of which leaked more than {most} KiB",
        processes.len()
    );
    if most > KIB_AT_MOST {
        eprintln!("a process leaked more than {KIB_AT_MOST} KiB");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
