//! How long it takes until a pool of two workers, and a program with one, has its first result, against starting the
//! same executable until its first byte comes over a socket; how long until a pool of many has, and how long a task takes while
//! a pool becomes one.
//!
//! Run with `cargo bench --bench startup`, or `-- --quick`.

mod common;

use std::{
    io::{self, Read, Write},
    process::Stdio,
    time::{Duration, Instant},
};

use actix_multiprocess::{NoError, Pool, SlotState, Task, TaskContext, WorkerSpec, Workers};
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

const WORKERS: usize = 2;

const MANY: usize = 64;

/// The re-execution that is a small program: a pool, one task, the end.
const PROGRAM: &str = "program";

fn main() -> Outcome {
    let workers = WorkerSpec::new().task::<Echo>().init();
    common::bare_child(first_byte)?;
    let args = Args::parse()?;
    if args.part.as_deref() == Some(PROGRAM) {
        return program(&workers);
    }
    let starts = args.amount(20, 3);
    println!(
        "# startup: {} rounds of {starts} starts, {WORKERS} workers",
        args.rounds
    );

    let system = actix::System::new();
    let runtime = common::runtime()?;
    let mut table = Table::default();
    for _ in 0..args.rounds {
        let (mut pool_first, mut pool_all) = (Vec::new(), Vec::new());
        let (mut whole, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..starts {
            pool_first.push(system.block_on(pool(&workers, WORKERS, false))?);
            bare.push(runtime.block_on(exec())?);
            pool_all.push(system.block_on(pool(&workers, WORKERS, true))?);
            whole.push(program_exec()?);
        }
        let bare = percentile(&mut bare, 0.5);
        for (name, mut product, bar) in [
            (
                "pool creation to first result",
                pool_first,
                Bar::AtMost(2.5),
            ),
            ("the same, all workers ready", pool_all, Bar::None),
            (
                "exec of a program to its first result",
                whole,
                Bar::AtMost(5.0),
            ),
        ] {
            let product = percentile(&mut product, 0.5);
            table.add(
                &format!("{name}; bare: exec"),
                Unit::Millis,
                Bar::None,
                product,
                bare,
            );
            table.add_alone(name, Unit::Millis, bar, product);
        }
        for all in [false, true] {
            let mut took = Vec::new();
            for _ in 0..args.amount(5, 1) {
                took.push(system.block_on(pool(&workers, MANY, all))?);
            }
            let what = if all {
                "all workers ready"
            } else {
                "first result"
            };
            let name = format!("a pool of {MANY}: creation to {what}");
            table.add_alone(&name, Unit::Millis, Bar::None, percentile(&mut took, 0.5));
        }
        let (mut longest, mut became) = (Vec::new(), Vec::new());
        for _ in 0..args.amount(5, 1) {
            let (task, all) = system.block_on(becomes_many(&workers))?;
            longest.push(task);
            became.push(all);
        }
        let name = format!("{WORKERS} workers become {MANY}");
        table.add_alone(&name, Unit::Millis, Bar::None, percentile(&mut became, 0.5));
        let name = "the longest of the tasks meanwhile, one every 0.2 ms";
        table.add_alone(name, Unit::Millis, Bar::None, percentile(&mut longest, 0.5));
    }
    table.print();
    Ok(())
}

/// Milliseconds until the first result of a new pool.
async fn pool(workers: &Workers, processes: usize, all: bool) -> Outcome<f64> {
    let began = Instant::now();
    let mut builder = Pool::builder(workers.clone()).processes(processes);
    if all {
        builder = builder.wait_all();
    }
    let pool = builder.start().await?;
    pool.submit(Echo([7; 8])).await?;
    let millis = began.elapsed().as_secs_f64() * 1e3;
    pool.stop().await;
    Ok(millis)
}

/// Milliseconds of the longest task while a pool becomes larger, and until it has.
async fn becomes_many(workers: &Workers) -> Outcome<(f64, f64)> {
    let builder = Pool::builder(workers.clone()).processes(WORKERS).wait_all();
    let pool = builder.start().await?;
    for _ in 0..100 {
        pool.submit(Echo([7; 8])).await?;
    }
    let mut longest = 0.0_f64;
    let began = Instant::now();
    pool.resize(MANY).await?;
    loop {
        let task = Instant::now();
        pool.submit(Echo([7; 8])).await?;
        longest = longest.max(task.elapsed().as_secs_f64() * 1e3);
        let slots = pool.status().await.slots;
        let ready = slots.iter().filter(|slot| slot.state == SlotState::Ready);
        if ready.count() == MANY {
            break;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let all = began.elapsed().as_secs_f64() * 1e3;
    pool.stop().await;
    Ok((longest, all))
}

/// Milliseconds from exec to the first byte of a process that does nothing else.
async fn exec() -> Outcome<f64> {
    let began = Instant::now();
    let mut link = Link::open()?;
    link.socket.read_u8().await?;
    let millis = began.elapsed().as_secs_f64() * 1e3;
    link.close()?;
    Ok(millis)
}

/// The bare child.
async fn first_byte(mut socket: Socket) -> io::Result<()> {
    socket.write_u8(1).await
}

/// Milliseconds from exec of a whole program to the moment when it has its first result.
fn program_exec() -> Outcome<f64> {
    let began = Instant::now();
    let mut child = common::command()?
        .args(["--part", PROGRAM])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = child.stdout.take().ok_or("the program has no output")?;
    output.read_exact(&mut [0])?;
    let millis = began.elapsed().as_secs_f64() * 1e3;
    child.wait()?;
    Ok(millis)
}

fn program(workers: &Workers) -> Outcome {
    actix::System::new().block_on(async {
        let pool = Pool::builder(workers.clone())
            .processes(WORKERS)
            .start()
            .await?;
        pool.submit(Echo([7; 8])).await?;
        let mut output = io::stdout().lock();
        output.write_all(&[1])?;
        output.flush()?;
        drop(output);
        pool.stop().await;
        Ok(())
    })
}
