//! What a task costs as there are more of them, of workers, and of the host's threads for those: tasks that wait, workers, threads,
//! tasks outstanding, a flood.
//!
//! Queues are measured in a re-execution each, because memory that was used once is there for the next. Run with
//! `cargo bench --bench growth`, or `-- --quick`; with `-- --huge` also 10 million tasks that wait.

mod common;

use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use actix_multiprocess::{
    NoError, Pool, Submit, Task, TaskContext, TaskHandle, WorkerSpec, Workers,
};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{MissedTickBehavior, interval, sleep},
};

use common::{Args, Bar, Link, Outcome, Socket, Table, Unit, proc};

#[derive(Serialize, Deserialize)]
struct Noop([u8; 8]);

impl Noop {
    fn new(number: usize) -> Self {
        Self((number as u64).to_le_bytes())
    }
}

impl Task for Noop {
    const NAME: &'static str = "noop";
    type Output = [u8; 8];
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<[u8; 8], NoError> {
        Ok(self.0)
    }
}

const WORKERS: usize = 2;

/// Single submits that wait at the same time, where their number is not what is measured.
const OUTSTANDING: usize = 1024;

/// How often the timer beside a flood is to go off.
const TICK: Duration = Duration::from_millis(10);

const QUEUED: &str = "queued";
const BY_WORKERS: &str = "workers";
const BY_ARBITERS: &str = "io_arbiters";
const BY_OUTSTANDING: &str = "outstanding";
const FLOOD: &str = "flood";

fn main() -> Outcome {
    let workers = WorkerSpec::new().task::<Noop>().init();
    common::bare_child(echo)?;
    let args = Args::parse()?;
    let system = actix::System::new();
    if let Some(part) = &args.part {
        let (tasks, total) = part.split_once('/').ok_or("no such part")?;
        return system.block_on(queued(&workers, tasks.parse()?, total.parse()?));
    }
    println!("# growth: {} rounds", args.rounds);
    let (mut table, mut bare) = (Table::against("1,000 queued"), Table::default());
    for _ in 0..args.rounds {
        if args.wants(QUEUED) {
            all_queued(&args, &mut table)?;
        }
        if args.wants(BY_WORKERS) {
            system.block_on(by_workers(&workers, &args, &mut table, &mut bare))?;
        }
        if args.wants(BY_ARBITERS) {
            system.block_on(by_arbiters(&workers, &args, &mut table))?;
        }
        if args.wants(BY_OUTSTANDING) {
            system.block_on(by_outstanding(&workers, &args, &mut table))?;
        }
        if args.wants(FLOOD) {
            let tasks = args.amount(1_000_000, 100_000);
            let late = system.block_on(flood(&workers, tasks))?;
            let name = format!("{FLOOD} of {tasks} messages: how late a timer of 10 ms is");
            table.add_alone(&name, Unit::Millis, Bar::AtMost(50.0), late);
        }
    }
    bare.print();
    table.print();
    Ok(())
}

async fn pool(workers: &Workers, processes: usize) -> Outcome<Pool> {
    pool_on(workers, processes, 0).await
}

async fn pool_on(workers: &Workers, processes: usize, io_arbiters: usize) -> Outcome<Pool> {
    let pool = Pool::builder(workers.clone())
        .processes(processes)
        .io_arbiters(io_arbiters)
        .queue_limit(1 << 24);
    Ok(pool.wait_all().start().await?)
}

// --- tasks that wait --------------------------------------------------------------------------------------------------

fn all_queued(args: &Args, table: &mut Table) -> Outcome {
    let most = if args.huge {
        10_000_000
    } else {
        args.amount(1_000_000, 100_000)
    };
    // As many in all, so that a small queue is measured as long as a large one.
    let total = args.amount(100_000, 20_000);
    let mut least = None;
    for tasks in decades(1_000, most) {
        let output = common::command()?
            .args(["--part", &format!("{tasks}/{total}")])
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let figures = text.trim().split_once(' ').ok_or("no figures")?;
        let (bytes, micros): (f64, f64) = (figures.0.parse()?, figures.1.parse()?);
        let name = format!("{tasks} {QUEUED}");
        // Elsewhere than on Linux nothing tells.
        if bytes.is_finite() {
            let name = format!("{name}: memory for each");
            table.add_alone(&name, Unit::Bytes, Bar::AtMost(200.0), bytes);
        }
        let name = format!("{name}: from resume to the last result, for each");
        match least {
            None => {
                least = Some(micros);
                table.add_alone(&name, Unit::Micros, Bar::None, micros);
            }
            Some(least) => table.add(&name, Unit::Micros, Bar::AtMost(1.1), micros, least),
        }
    }
    Ok(())
}

fn decades(first: usize, last: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(first), |size| size.checked_mul(10))
        .take_while(move |size| *size <= last)
}

/// The re-execution: prints the bytes of each of so many tasks that wait, and the microseconds of each from the moment at
/// which they may go. It lets as many wait again until there were so many in all.
async fn queued(workers: &Workers, tasks: usize, total: usize) -> Outcome {
    let pool = pool(workers, WORKERS).await?;
    pool.map((0..100).map(Noop::new)).await?;
    // The pages of the handles themselves are the caller's: with these they are there already.
    let mut handles: Vec<Option<TaskHandle<Noop>>> = (0..tasks).map(|_| None).collect();
    let (mut bytes, mut seconds, mut done) = (None, 0.0, 0);
    while done < total.max(tasks) {
        pool.pause();
        let before = proc::own_rss().unwrap_or(f64::NAN);
        for (number, handle) in handles.iter_mut().enumerate() {
            *handle = Some(pool.submit(Noop::new(number)));
        }
        let after = proc::own_rss().unwrap_or(f64::NAN);
        bytes.get_or_insert((after - before) / tasks as f64);
        let began = Instant::now();
        pool.resume();
        for handle in handles.iter_mut().filter_map(Option::take) {
            handle.await?;
        }
        seconds += began.elapsed().as_secs_f64();
        done += tasks;
    }
    pool.stop().await;
    let bytes = bytes.unwrap_or(f64::NAN);
    println!("{bytes} {}", seconds * 1e6 / done as f64);
    Ok(())
}

// --- workers, threads, and tasks outstanding -----------------------------------------------------------------------------------

async fn by_workers(
    workers: &Workers,
    args: &Args,
    table: &mut Table,
    bare: &mut Table,
) -> Outcome {
    for processes in [1, 2, 4, 8, 16, 32, 64] {
        let pool = pool(workers, processes).await?;
        let name = format!("{BY_WORKERS}: {processes}");
        let micros = times(pool, &name, args, table).await?;
        let exchanged = exchanges(processes, args.amount(200_000, 20_000)).await?;
        let name = format!("{name}, time of each task; bare: messages there and back");
        bare.add(&name, Unit::Micros, Bar::None, micros, exchanged);
    }
    Ok(())
}

/// What a worker has at once, and in one message when it has a word for each.
const TOGETHER: usize = 16;
const WORD: usize = 12;

/// The bare child.
async fn echo(mut socket: Socket) -> io::Result<()> {
    let mut buffer = [0; TOGETHER * WORD];
    loop {
        socket.read_exact(&mut buffer).await?;
        socket.write_all(&buffer).await?;
    }
}

/// Microseconds of each of so many words between this process and others, of which each has [`TOGETHER`] at a time.
async fn exchanges(processes: usize, words: usize) -> Outcome<f64> {
    let mut links = Vec::new();
    for _ in 0..processes {
        links.push(Link::open()?);
    }
    let mut micros = 0.0;
    // The first ones are not counted.
    for words in [words / 10, words] {
        let left = Cell::new(words / TOGETHER);
        let began = Instant::now();
        let all = links.iter_mut().map(|link| async {
            let mut buffer = [7; TOGETHER * WORD];
            while let Some(less) = left.get().checked_sub(1) {
                left.set(less);
                link.socket.write_all(&buffer).await?;
                link.socket.read_exact(&mut buffer).await?;
            }
            Ok::<_, io::Error>(())
        });
        try_join_all(all).await?;
        micros = began.elapsed().as_secs_f64() * 1e6 / words as f64;
    }
    for link in links {
        link.close()?;
    }
    Ok(micros)
}

async fn by_arbiters(workers: &Workers, args: &Args, table: &mut Table) -> Outcome {
    for arbiters in [0, 1, 2, 4] {
        let pool = pool_on(workers, 4, arbiters).await?;
        let name = format!("{BY_ARBITERS}: {arbiters}, 4 workers");
        times(pool, &name, args, table).await?;
    }
    Ok(())
}

async fn times(pool: Pool, name: &str, args: &Args, table: &mut Table) -> Outcome<f64> {
    let tasks = args.amount(200_000, 20_000);
    let mut pids = vec![std::process::id()];
    pids.extend(pool.status().await.slots.iter().filter_map(|slot| slot.pid));
    submits(&pool, tasks / 10, OUTSTANDING).await?;
    let before = proc::cpu_seconds(&pids);
    let micros = submits(&pool, tasks, OUTSTANDING).await?;
    let after = proc::cpu_seconds(&pids);
    let time = format!("{name}, time of each task");
    table.add_alone(&time, Unit::Micros, Bar::None, micros);
    // Elsewhere than on Linux nothing tells.
    if let (Ok(before), Ok(after)) = (before, after) {
        let micros = (after - before) * 1e6 / tasks as f64;
        let time = format!("{name}, CPU time of each task");
        table.add_alone(&time, Unit::Micros, Bar::None, micros);
    }
    pool.stop().await;
    Ok(micros)
}

async fn by_outstanding(workers: &Workers, args: &Args, table: &mut Table) -> Outcome {
    let pool = pool(workers, WORKERS).await?;
    for outstanding in decades(1, args.amount(1_000_000, 100_000)) {
        // Few at once take longer each.
        let tasks = args.amount(200_000, 20_000).min(outstanding * 5_000);
        let micros = submits(&pool, tasks.max(outstanding), outstanding).await?;
        let name = format!("{BY_OUTSTANDING}: {outstanding}, time of each task");
        table.add_alone(&name, Unit::Micros, Bar::None, micros);
    }
    pool.stop().await;
    Ok(())
}

/// Microseconds of each task, of one caller that always has so many handles and awaits the oldest.
async fn submits(pool: &Pool, tasks: usize, outstanding: usize) -> Outcome<f64> {
    let mut handles = VecDeque::with_capacity(outstanding);
    let began = Instant::now();
    for number in 0..tasks {
        if handles.len() == outstanding
            && let Some(oldest) = handles.pop_front()
        {
            let _: [u8; 8] = oldest.await?;
        }
        handles.push_back(pool.submit(Noop::new(number)));
    }
    for handle in handles {
        handle.await?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / tasks as f64)
}

// --- a flood ----------------------------------------------------------------------------------------------------------

/// Milliseconds by which a timer on the pool's arbiter was late at most, until all messages of a thread have come to
/// something.
async fn flood(workers: &Workers, tasks: usize) -> Outcome<f64> {
    let pool = pool(workers, WORKERS).await?;
    let addr = pool.addr().clone();
    let sender = thread::spawn(move || {
        for number in 0..tasks {
            addr.do_send(Submit::new(Noop::new(number)));
        }
    });
    let late = Cell::new(Duration::ZERO);
    let watched = async {
        let mut timer = interval(TICK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer.tick().await;
        loop {
            let last = Instant::now();
            timer.tick().await;
            late.set(last.elapsed().saturating_sub(TICK).max(late.get()));
        }
    };
    // Asking more often would be a part of the load.
    let settled = async {
        while pool.status().await.counts.done < tasks as u64 {
            sleep(TICK * 10).await;
        }
    };
    tokio::select! {
        () = watched => {}
        () = settled => {}
        () = sleep(Duration::from_secs(120)) => {
            return Err(format!("not all came: {:?}", pool.status().await.counts).into());
        }
    }
    sender.join().map_err(|_| "the sender panicked")?;
    pool.stop().await;
    Ok(late.get().as_secs_f64() * 1e3)
}
