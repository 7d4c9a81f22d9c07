//! How long it takes until a pool of two workers, and a program with one, has its first result, against starting the
//! same executable until its first byte comes over a socket.
//!
//! Run with `cargo bench --bench startup`, or `-- --quick`.

mod common;

use std::{
    io::{self, Read, Write},
    process::Stdio,
    time::Instant,
};

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

const WORKERS: usize = 2;

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
            pool_first.push(system.block_on(pool(&workers, false))?);
            bare.push(runtime.block_on(exec())?);
            pool_all.push(system.block_on(pool(&workers, true))?);
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
    }
    table.print();
    Ok(())
}

/// Milliseconds until the first result of a new pool.
async fn pool(workers: &Workers, all: bool) -> Outcome<f64> {
    let began = Instant::now();
    let mut builder = Pool::builder(workers.clone()).processes(WORKERS);
    if all {
        builder = builder.wait_all();
    }
    let pool = builder.start().await?;
    pool.submit(Echo([7; 8])).await?;
    let millis = began.elapsed().as_secs_f64() * 1e3;
    pool.stop().await;
    Ok(millis)
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
