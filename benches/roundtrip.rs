//! How long one task takes from `submit` to its result, one at a time, against 16 bytes there and back over a socket.
//!
//! Run with `cargo bench --bench roundtrip`, or `-- --quick` for a short one.

mod common;

use std::{io, time::Instant};

use actix_multiprocess::{NoError, Pool, Task, TaskContext, WorkerSpec, Workers};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use common::{Args, Bar, Link, Outcome, Socket, Table, Unit, percentile};

#[derive(Serialize, Deserialize)]
struct Echo([u8; 8]);

impl Task for Echo {
    const NAME: &'static str = "echo";
    type Output = [u8; 8];
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<[u8; 8], NoError> {
        Ok(self.0)
    }
}

/// The part of which all processes are on one CPU, in a re-execution.
const ONE_CPU: &str = "all on one CPU";

/// What is held to figures.
const WORKERS: usize = 2;

/// The part that the system places as it likes.
const FREE: &str = "free";

fn main() -> Outcome {
    let workers = WorkerSpec::new().task::<Echo>().init();
    common::bare_child(echo)?;
    let args = Args::parse()?;
    if args.part.as_deref() == Some(ONE_CPU) {
        return measure(&args, &workers, ONE_CPU, [Bar::AtMost(1.4), Bar::None]);
    }
    println!(
        "# roundtrip: {} rounds of {} tasks, one at a time",
        args.rounds,
        trips(&args)
    );
    if args.wants(ONE_CPU) && !common::reexecute_on_one_cpu(&args, ONE_CPU)? {
        println!("{ONE_CPU}: skipped, `taskset -c 0` does not work here");
    }
    if args.wants(FREE) {
        measure(&args, &workers, FREE, [Bar::AtMost(1.1); 2])?;
    }
    Ok(())
}

fn trips(args: &Args) -> usize {
    args.amount(20_000, 1_000)
}

fn measure(args: &Args, workers: &Workers, place: &str, [p50, p99]: [Bar; 2]) -> Outcome {
    let trips = trips(args);
    let system = actix::System::new();
    let runtime = common::runtime()?;
    let mut pools = Vec::new();
    for processes in [1, WORKERS] {
        let pool = Pool::builder(workers.clone())
            .processes(processes)
            .wait_all();
        pools.push((processes, system.block_on(pool.start())?));
    }
    let mut link = runtime.block_on(async { Link::open() })?;
    let mut table = Table::default();
    for _ in 0..args.rounds {
        for (processes, pool) in &pools {
            let mut product = system.block_on(product(pool, trips))?;
            let mut bare = runtime.block_on(bare(&mut link.socket, trips))?;
            for (name, share, bar) in [("p50", 0.5, p50), ("p99", 0.99, p99)] {
                // Of a worker alone the system nearly always makes one on another CPU, which has to be woken each time.
                let bar = if *processes == WORKERS {
                    bar
                } else {
                    Bar::None
                };
                table.add(
                    &format!("round trip {place}, workers: {processes}, {name}"),
                    Unit::Micros,
                    bar,
                    percentile(&mut product, share),
                    percentile(&mut bare, share),
                );
            }
        }
    }
    link.close()?;
    for (_, pool) in pools {
        system.block_on(pool.stop());
    }
    table.print();
    Ok(())
}

/// Microseconds of each task, after a tenth for warming up.
async fn product(pool: &Pool, trips: usize) -> Outcome<Vec<f64>> {
    let mut micros = Vec::with_capacity(trips);
    for trip in 0..trips + trips / 10 {
        let began = Instant::now();
        pool.submit(Echo([7; 8])).await?;
        if trip >= trips / 10 {
            micros.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(micros)
}

async fn bare(socket: &mut Socket, trips: usize) -> Outcome<Vec<f64>> {
    let mut micros = Vec::with_capacity(trips);
    let mut message = [7; 16];
    for trip in 0..trips + trips / 10 {
        let began = Instant::now();
        socket.write_all(&message).await?;
        socket.read_exact(&mut message).await?;
        if trip >= trips / 10 {
            micros.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(micros)
}

/// The bare child.
async fn echo(mut socket: Socket) -> io::Result<()> {
    let mut message = [0; 16];
    loop {
        socket.read_exact(&mut message).await?;
        socket.write_all(&message).await?;
    }
}
