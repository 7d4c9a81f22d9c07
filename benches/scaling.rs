//! What a second worker adds for tasks that compute: 64 of 20 ms each, a fixed amount of work.
//!
//! The same work in threads of one process says what the machine has to give, which others may be using as well. Run with
//! `cargo bench --bench scaling`, or `-- --quick`.

mod common;

use std::{hint::black_box, thread, time::Instant};

use actix_multiprocess::{NoError, Pool, Task, TaskContext, WorkerSpec};
use serde::{Deserialize, Serialize};

use common::{Args, Bar, Outcome, Table, Unit, percentile};

/// So many steps; the output is the seconds that they took.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Compute(u64);

impl Task for Compute {
    const NAME: &'static str = "compute";
    type Output = f64;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<f64, NoError> {
        Ok(self.compute())
    }
}

impl Compute {
    fn compute(self) -> f64 {
        let began = Instant::now();
        let mut value = 1_u64;
        // Each step waits for the one before, so that a CPU that is half of a core does as many.
        for step in 0..self.0 {
            value = (value ^ step).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            value ^= value >> 32;
        }
        black_box(value);
        began.elapsed().as_secs_f64()
    }

    /// The work of 20 ms, which is measured when nothing else of this runs.
    fn calibrated() -> Self {
        const STEPS: u64 = 1 << 22;
        let mut seconds: Vec<f64> = (0..9).map(|_| Self(STEPS).compute()).collect();
        Self((STEPS as f64 * 0.02 / percentile(&mut seconds, 0.0)) as u64)
    }
}

const TASKS: usize = 64;

fn main() -> Outcome {
    let workers = WorkerSpec::new().task::<Compute>().init();
    let args = Args::parse()?;
    let cpus = thread::available_parallelism()?;
    println!(
        "# scaling: {} rounds of {TASKS} tasks of 20 ms, {cpus} CPUs",
        args.rounds
    );
    if cpus.get() < 2 {
        println!("skipped: one CPU cannot do the work of two");
        return Ok(());
    }

    let system = actix::System::new();
    let pool = |processes| {
        let pool = Pool::builder(workers.clone()).processes(processes);
        system.block_on(pool.wait_all().start())
    };
    let (one, two) = (pool(1)?, pool(2)?);
    let work = Compute::calibrated();
    let mut table = Table::against("threads");
    // The first round only warms up.
    for round in 0..=args.rounds {
        let (of_one, computed) = system.block_on(map(&one, work))?;
        let (of_two, _) = system.block_on(map(&two, work))?;
        let (one_thread, two_threads) = (in_threads(1, work)?, in_threads(2, work)?);
        if round == 0 {
            continue;
        }
        let speed_up = of_one / of_two;
        let name = "speed-up from 1 to 2 workers";
        table.add(
            &format!("{name}, against threads"),
            Unit::Times,
            Bar::None,
            speed_up,
            one_thread / two_threads,
        );
        table.add_alone(name, Unit::Times, Bar::AtLeast(1.95), speed_up);
        table.add_alone(
            "end of the last task with 2 workers, in halves of what the tasks of 1 computed",
            Unit::Times,
            Bar::AtMost(1.05),
            of_two / (computed / 2.0),
        );
        table.add_alone(
            "one task",
            Unit::Millis,
            Bar::None,
            computed / TASKS as f64 * 1e3,
        );
    }
    for pool in [one, two] {
        system.block_on(pool.stop());
    }
    table.print();
    Ok(())
}

/// Seconds until the last of the tasks, and those that they computed for in sum.
async fn map(pool: &Pool, work: Compute) -> Outcome<(f64, f64)> {
    let began = Instant::now();
    let seconds = pool.map([work; TASKS]).await?;
    Ok((began.elapsed().as_secs_f64(), seconds.iter().sum()))
}

/// Seconds that so many threads take for their shares.
fn in_threads(threads: usize, work: Compute) -> Outcome<f64> {
    let began = Instant::now();
    let threads: Vec<_> = (0..threads)
        .map(|_| thread::spawn(move || (0..TASKS / threads).map(|_| work.compute()).sum::<f64>()))
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")?;
    }
    Ok(began.elapsed().as_secs_f64())
}
