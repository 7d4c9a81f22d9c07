//! The sets that aiomultiprocess measures itself with (`tests/perf.py`), each with the start and stop of its pool, against
//! what they would take if nothing but their sleeping took time.
//!
//! Run with `cargo bench --bench sets`, or `-- --quick` for the smaller half of the sets.

mod common;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use actix_multiprocess::{NoError, Pool, Task, TaskContext, WorkerSpec, Workers};
use serde::{Deserialize, Serialize};
use tokio::{runtime, sync::Semaphore, task::LocalSet};

use common::{Args, Bar, Outcome, Table, Unit};

/// Microseconds, one after the other: waits for those above 0, and holds its event loop for those below.
#[derive(Clone, Serialize, Deserialize)]
struct Sleeps(Vec<i64>);

impl Task for Sleeps {
    const NAME: &'static str = "sleeps";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        sleep(&self.0).await;
        Ok(())
    }
}

async fn sleep(sleeps: &[i64]) {
    for &micros in sleeps {
        let time = Duration::from_micros(micros.unsigned_abs());
        match micros {
            0 => tokio::task::yield_now().await,
            1.. => tokio::time::sleep(time).await,
            ..0 => std::thread::sleep(time),
        }
    }
}

const WORKERS: usize = 4;

struct Set {
    name: &'static str,
    sleeps: &'static [i64],
    /// How many, and how many at once in a worker.
    sizes: [(usize, usize); 4],
}

const SETS: [Set; 3] = [
    Set {
        name: "0",
        sleeps: &[0],
        sizes: [(400, 8), (800, 16), (1600, 32), (3200, 64)],
    },
    Set {
        name: "50 ms",
        sleeps: &[50_000],
        sizes: [(400, 8), (800, 16), (1600, 32), (3200, 64)],
    },
    Set {
        name: "2 ms blocking, 200 ms, 2 ms blocking",
        sleeps: &[-2_000, 200_000, -2_000],
        sizes: [(200, 8), (400, 16), (800, 32), (1600, 64)],
    },
];

fn main() -> Outcome {
    let workers = WorkerSpec::new().task::<Sleeps>().init();
    let args = Args::parse()?;
    println!(
        "# sets: {} rounds, {WORKERS} workers, with the start and stop of the pool",
        args.rounds
    );
    let system = actix::System::new();
    let mut table = Table::against("ideal");
    for _ in 0..args.rounds {
        let (mut total, mut total_ideal, mut total_bare) = (0.0, 0.0, 0.0);
        // Not counted: a machine that has slept through the round before starts processes twice as slowly.
        let Set { sleeps, sizes, .. } = &SETS[0];
        system.block_on(run(&workers, sleeps, sizes[0].0, sizes[0].1))?;
        for set in &SETS {
            for (tasks, concurrency) in &set.sizes[..args.amount(4, 2)] {
                let name = format!("{tasks} × {}, {concurrency} at once", set.name);
                if !args.wants(&name) {
                    continue;
                }
                let took = system.block_on(run(&workers, set.sleeps, *tasks, *concurrency))?;
                let ideal = ideal(set.sleeps, tasks / WORKERS, *concurrency);
                if ideal > 0.0 {
                    table.add(&name, Unit::Millis, Bar::None, took, ideal);
                } else {
                    table.add_alone(&name, Unit::Millis, Bar::AtMost(10.0), took);
                }
                total += took;
                total_ideal += ideal;
                total_bare += bare(set.sleeps, tasks / WORKERS, *concurrency)?;
            }
        }
        if total_ideal > 0.0 {
            let name = "all, over the ideal";
            let times = total / total_ideal;
            table.add_alone(name, Unit::Times, Bar::AtMost(1.01), times);
            let name = "all, over the same in as many bare event loops";
            table.add_alone(name, Unit::Times, Bar::None, total / total_bare);
            let name = "those, over the ideal";
            table.add_alone(name, Unit::Times, Bar::None, total_bare / total_ideal);
        }
    }
    table.print();
    Ok(())
}

/// Milliseconds of event loops with nothing but their tasks: tokio's clock ticks once a millisecond, and to be woken takes time.
fn bare(sleeps: &'static [i64], tasks: usize, concurrency: usize) -> Outcome<f64> {
    let began = Instant::now();
    let event_loop = move || -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let permits = Rc::new(Semaphore::new(concurrency));
        let local = LocalSet::new();
        for _ in 0..tasks {
            let permits = Rc::clone(&permits);
            local.spawn_local(async move {
                let _permit = permits.acquire().await;
                sleep(sleeps).await;
            });
        }
        runtime.block_on(local);
        Ok(())
    };
    let threads: Vec<_> = (0..WORKERS).map(|_| thread::spawn(event_loop)).collect();
    for thread in threads {
        thread.join().map_err(|_| "an event loop panicked")??;
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// Milliseconds.
async fn run(workers: &Workers, sleeps: &[i64], tasks: usize, concurrency: usize) -> Outcome<f64> {
    let began = Instant::now();
    let pool = Pool::builder(workers.clone())
        .processes(WORKERS)
        .concurrency(concurrency)
        .start()
        .await?;
    let outputs = pool
        .map((0..tasks).map(|_| Sleeps(sleeps.to_vec())))
        .await?;
    pool.stop().await;
    let millis = began.elapsed().as_secs_f64() * 1e3;
    if outputs.len() != tasks {
        return Err(format!("{} outputs of {tasks} tasks", outputs.len()).into());
    }
    Ok(millis)
}

/// Milliseconds that one event loop takes for so many tasks, so many at once, if nothing but their sleeping takes time.
fn ideal(sleeps: &[i64], tasks: usize, concurrency: usize) -> f64 {
    let first = tasks.min(concurrency);
    let mut waiting = tasks - first;
    // When each goes on, in which order those that go on together do, and what is left of it.
    let mut due: BinaryHeap<_> = (0..first).map(|nth| Reverse((0, nth, sleeps))).collect();
    let (mut nth, mut held_until) = (first, 0);
    while let Some(Reverse((at, _, mut rest))) = due.pop() {
        let mut now = held_until.max(at);
        let mut waits = None;
        while waits.is_none()
            && let Some((micros, after)) = rest.split_first()
        {
            rest = after;
            match micros {
                0 => {}
                1.. => waits = Some(micros),
                ..0 => now -= micros,
            }
        }
        held_until = now;
        let next = match waits {
            Some(micros) => Some((now + micros, rest)),
            None if waiting > 0 => {
                waiting -= 1;
                Some((now, sleeps))
            }
            None => None,
        };
        if let Some((at, rest)) = next {
            due.push(Reverse((at, nth, rest)));
            nth += 1;
        }
    }
    // Time only goes on, so the last to hold the loop is the last to end.
    held_until as f64 / 1e3
}
