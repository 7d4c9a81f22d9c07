//! How many tasks a second two workers get through that do nothing, against frames of the same content over two sockets.
//!
//! The bare side encodes and decodes every frame with postcard, on both sides, writes once for everything it read, and
//! keeps a number of frames in flight to each child. Run with `cargo bench --bench throughput`, or `-- --quick`.

mod common;

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use actix_multiprocess::{
    NoError, Pool, PoolBuilder, Submit, Task, TaskContext, TaskError, WorkerSpec,
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use common::{Args, Bar, Link, Outcome, Socket, Table, Unit};

#[derive(Serialize, Deserialize)]
struct Noop([u8; 8]);

impl Task for Noop {
    const NAME: &'static str = "noop";
    type Output = [u8; 8];
    const IDEMPOTENT: bool = true;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<[u8; 8], NoError> {
        Ok(self.0)
    }
}

/// One in so many fails, and one in so many is cancelled.
const ODD: usize = 1000;

/// The same with a failure among so many.
#[derive(Serialize, Deserialize)]
struct Fallible([u8; 8]);

impl Task for Fallible {
    const NAME: &'static str = "fallible";
    type Output = [u8; 8];
    const IDEMPOTENT: bool = true;
    type Error = u32;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<[u8; 8], u32> {
        if u64::from_le_bytes(self.0).is_multiple_of(ODD as u64) {
            return Err(7);
        }
        Ok(self.0)
    }
}

const WORKERS: usize = 2;

/// Single submits that wait at the same time.
const OUTSTANDING: usize = 1024;

/// What each worker would have of them without limits.
const SHARE: usize = OUTSTANDING / WORKERS;

#[derive(Clone, Copy)]
enum How {
    MapWide,
    MapDefault,
    SubmitsWide,
    SubmitsDefault,
}

const ROWS: [(&str, How, Bar); 4] = [
    (
        "`map`, concurrency 64; bare: 64 in flight per child",
        How::MapWide,
        Bar::AtLeast(0.25),
    ),
    (
        "`map`, defaults; bare: 16 in flight per child",
        How::MapDefault,
        Bar::None,
    ),
    (
        "1,024 submits outstanding, concurrency 64; bare: 512 in flight per child",
        How::SubmitsWide,
        Bar::None,
    ),
    (
        "1,024 submits outstanding, defaults; bare: 512 in flight per child",
        How::SubmitsDefault,
        Bar::None,
    ),
];

fn main() -> Outcome {
    let workers = WorkerSpec::new().task::<Noop>().task::<Fallible>().init();
    common::bare_child(serve)?;
    let args = Args::parse()?;
    let tasks = args.amount(400_000, 20_000);
    println!(
        "# throughput: {} rounds of {tasks} tasks, {WORKERS} workers",
        args.rounds
    );

    let system = actix::System::new();
    let runtime = common::runtime()?;
    let start = |builder: PoolBuilder| system.block_on(builder.wait_all().start());
    let pool = || Pool::builder(workers.clone()).processes(WORKERS);
    let wide = start(pool().concurrency(64))?;
    let default = start(pool())?;
    let (mut a, mut b) = runtime
        .block_on(async { Ok::<_, Box<dyn std::error::Error>>((Link::open()?, Link::open()?)) })?;

    let mut table = Table::default();
    // The first round only warms up.
    for round in 0..=args.rounds {
        for (name, how, bar) in ROWS {
            if !args.wants(name) {
                continue;
            }
            let (product, window) = match how {
                How::MapWide => (system.block_on(map(&wide, tasks))?, 64),
                How::MapDefault => (system.block_on(map(&default, tasks))?, 16),
                How::SubmitsWide => (system.block_on(submits(&wide, tasks))?, SHARE),
                How::SubmitsDefault => (system.block_on(submits(&default, tasks))?, SHARE),
            };
            let bare = runtime.block_on(stream(&mut a.socket, &mut b.socket, window, tasks))?;
            if round > 0 {
                table.add(name, Unit::PerSecond, bar, product, bare);
            }
        }
        // More of them, as there is no bare side to be compared with.
        alone(&args, &mut table, round > 0, &system, &default, 5 * tasks)?;
    }
    a.close()?;
    b.close()?;
    for pool in [wide, default] {
        system.block_on(pool.stop());
    }
    table.print();
    Ok(())
}

/// What is held to figures, not to the bare side.
fn alone(
    args: &Args,
    table: &mut Table,
    counts: bool,
    system: &actix_rt::SystemRunner,
    pool: &Pool,
    tasks: usize,
) -> Outcome {
    let name = "`map`, defaults";
    if args.wants(name) {
        // Whoever has rested, as its processes have while the bare side ran, is not at its pace before they have found their CPUs.
        system.block_on(map(pool, tasks))?;
        let plain = system.block_on(map(pool, tasks))?;
        let limited = system.block_on(limited(pool, tasks))?;
        if counts {
            table.add_alone(name, Unit::PerSecond, Bar::AtLeast(10e6), plain);
            let name = "`map`, each with `run_timeout`, 1 in 1,000 failing, 1 in 1,000 cancelled; bare: plain `map`";
            table.add(name, Unit::PerSecond, Bar::AtLeast(0.8), limited, plain);
        }
    }
    let name = "1,024 submits outstanding";
    if args.wants(name) {
        let here = system.block_on(submits(pool, tasks))?;
        let there = elsewhere(system, pool, tasks)?;
        if counts {
            table.add_alone(name, Unit::PerSecond, Bar::AtLeast(1.5e6), here);
            let name = "1,024 submits outstanding, of another thread";
            table.add_alone(name, Unit::PerSecond, Bar::AtLeast(1e6), there);
        }
    }
    Ok(())
}

/// Tasks a second of one map with a limit on each and some that do not end well.
async fn limited(pool: &Pool, tasks: usize) -> Outcome<f64> {
    let began = Instant::now();
    let mut results = pool
        .map((0..tasks as u64).map(|number| {
            Submit::from(Fallible(number.to_le_bytes())).run_timeout(Duration::from_secs(10))
        }))
        .unordered();
    let (mut settled, mut failed) = (0, 0);
    let mut cancelled = Vec::with_capacity(tasks / ODD);
    while let Some((_, result)) = results.next().await {
        settled += 1;
        failed += usize::from(matches!(result, Err(TaskError::Failed(7))));
        if settled % ODD == 0 {
            let handle = pool.submit(Noop([0; 8]));
            handle.cancel();
            cancelled.push(handle);
        }
    }
    for handle in cancelled {
        // It may have been too late.
        let _ = handle.await;
    }
    let seconds = began.elapsed().as_secs_f64();
    if (settled, failed) != (tasks, tasks.div_ceil(ODD)) {
        return Err(format!("{settled} settled, {failed} failed of {tasks}").into());
    }
    Ok(tasks as f64 / seconds)
}

/// Tasks a second of a caller on a thread of its own.
fn elsewhere(system: &actix_rt::SystemRunner, pool: &Pool, tasks: usize) -> Outcome<f64> {
    let (pool, (tell, told)) = (pool.clone(), tokio::sync::oneshot::channel());
    let caller = std::thread::spawn(move || {
        let runtime = common::runtime().map_err(|error| error.to_string());
        let rate = runtime.and_then(|runtime| {
            runtime
                .block_on(submits(&pool, tasks))
                .map_err(|error| error.to_string())
        });
        // Whoever waits has gone only with the whole benchmark.
        let _ = tell.send(rate);
    });
    let rate = system.block_on(told)?;
    caller.join().map_err(|_| "the caller has panicked")?;
    Ok(rate?)
}

/// Tasks a second of one map.
async fn map(pool: &Pool, tasks: usize) -> Outcome<f64> {
    let began = Instant::now();
    let outputs = pool
        .map((0..tasks as u64).map(|number| Noop(number.to_le_bytes())))
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    if outputs.len() != tasks {
        return Err(format!("{} outputs of {tasks} tasks", outputs.len()).into());
    }
    Ok(tasks as f64 / seconds)
}

/// Tasks a second of one caller that always has so many handles, and awaits the oldest.
async fn submits(pool: &Pool, tasks: usize) -> Outcome<f64> {
    let began = Instant::now();
    let mut handles = VecDeque::with_capacity(OUTSTANDING);
    for number in 0..tasks as u64 {
        if handles.len() == OUTSTANDING
            && let Some(oldest) = handles.pop_front()
        {
            let _: [u8; 8] = oldest.await?;
        }
        handles.push_back(pool.submit(Noop(number.to_le_bytes())));
    }
    for handle in handles {
        handle.await?;
    }
    Ok(tasks as f64 / began.elapsed().as_secs_f64())
}

#[derive(Serialize, Deserialize)]
struct Request {
    id: u64,
    name: u32,
    body: [u8; 8],
}

#[derive(Serialize, Deserialize)]
struct Reply {
    id: u64,
    body: Result<[u8; 8], String>,
}

/// What came in and has not been taken, what goes out next.
struct Frames {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Frames {
    fn new() -> Self {
        Self {
            input: Vec::with_capacity(256 * 1024),
            output: Vec::with_capacity(256 * 1024),
        }
    }

    fn put(&mut self, frame: &impl Serialize) -> io::Result<()> {
        let mut bytes = [0; 64];
        let bytes = postcard::to_slice(frame, &mut bytes).map_err(io::Error::other)?;
        self.output
            .extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    async fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        if !self.output.is_empty() {
            socket.write_all(&self.output).await?;
            self.output.clear();
        }
        Ok(())
    }

    /// Reads once and hands every whole frame to `take`, with itself for an answer.
    async fn read<F: DeserializeOwned>(
        &mut self,
        socket: &mut Socket,
        mut take: impl FnMut(&mut Self, F) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.input.capacity() - self.input.len() < 4096 {
            self.input.reserve(64 * 1024);
        }
        if socket.read_buf(&mut self.input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        while let Some((prefix, after)) = rest.split_first_chunk()
            && let Some((frame, after)) =
                after.split_at_checked(u32::from_le_bytes(*prefix) as usize)
        {
            take(self, postcard::from_bytes(frame).map_err(io::Error::other)?)?;
            rest = after;
        }
        let taken = input.len() - rest.len();
        self.input = input;
        self.input.drain(..taken);
        Ok(())
    }
}

/// Frames a second to both children together.
async fn stream(a: &mut Socket, b: &mut Socket, window: usize, total: usize) -> Outcome<f64> {
    let began = Instant::now();
    tokio::try_join!(
        exchange(a, window, total / 2),
        exchange(b, window, total / 2)
    )?;
    Ok((total / 2 * 2) as f64 / began.elapsed().as_secs_f64())
}

async fn exchange(socket: &mut Socket, window: usize, total: usize) -> io::Result<()> {
    let mut frames = Frames::new();
    let (mut sent, mut received) = (0, 0);
    while received < total {
        while sent < total && sent - received < window {
            let id = sent as u64;
            frames.put(&Request {
                id,
                name: 3,
                body: id.to_le_bytes(),
            })?;
            sent += 1;
        }
        frames.flush(socket).await?;
        frames
            .read(socket, |_, reply: Reply| {
                std::hint::black_box((reply.id, reply.body.map_err(io::Error::other)?));
                received += 1;
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// The bare child.
async fn serve(mut socket: Socket) -> io::Result<()> {
    let mut frames = Frames::new();
    loop {
        frames
            .read(&mut socket, |frames, request: Request| {
                std::hint::black_box(request.name);
                frames.put(&Reply {
                    id: request.id,
                    body: Ok(request.body),
                })
            })
            .await?;
        frames.flush(&mut socket).await?;
    }
}
