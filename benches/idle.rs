//! What a pool costs that has nothing to do: the memory of a worker, and how often anything of it wakes.
//!
//! Memory is the proportional set size of a worker of a program with one task, beside that of the bare child. For the rest
//! a host of its own is watched from outside. Linux only. Run with `cargo bench --bench idle`, or `-- --quick`.

mod common;

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Child, Stdio},
    thread::sleep,
    time::Duration,
};

use actix_multiprocess::{NoError, Pool, Task, TaskContext, WorkerSpec, Workers};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use common::{Args, Bar, Link, Outcome, Socket, Table, Unit, proc};

#[derive(Serialize, Deserialize)]
struct Greet(String);

impl Task for Greet {
    const NAME: &'static str = "greet";
    type Output = String;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<String, NoError> {
        Ok(format!("hello, {}", self.0))
    }
}

const WORKERS: usize = 2;

/// After the last task, before anything is measured.
const REST: Duration = Duration::from_secs(1);

/// The re-execution that is a host with an idle pool.
const HOST: &str = "host";

fn main() -> Outcome {
    let workers = WorkerSpec::new().task::<Greet>().init();
    common::bare_child(echo)?;
    let args = Args::parse()?;
    if !proc::HERE {
        println!("idle: skipped, there is no /proc here");
        return Ok(());
    }
    if args.part.as_deref() == Some(HOST) {
        return actix::System::new().block_on(host(&workers));
    }
    let seconds = args.amount(10, 2);
    println!(
        "# idle: {} rounds, {WORKERS} workers, {seconds} s of nothing",
        args.rounds
    );

    let mut table = Table::default();
    let system = actix::System::new();
    let runtime = common::runtime()?;
    for _ in 0..args.rounds {
        let product = system.block_on(worker_memory(&workers))?;
        let bare = runtime.block_on(bare_memory())?;
        let name = "memory of an idle worker (PSS)";
        table.add(
            &format!("{name}, against a bare child"),
            Unit::Mebibytes,
            Bar::None,
            product,
            bare,
        );
        table.add_alone(name, Unit::Mebibytes, Bar::AtMost(1.5), product);
    }
    let (mut child, pids) = start_host()?;
    for _ in 0..args.rounds {
        let (switches, ticks) = watch(&pids, Duration::from_secs(seconds as u64))?;
        for (name, figure) in [("context switches", switches), ("CPU ticks", ticks)] {
            let name = format!("{name} of host and workers in {seconds} s");
            table.add_alone(&name, Unit::Count, Bar::AtMost(0.0), figure);
        }
    }
    // The end of its input is how it is told to go.
    drop(child.stdin.take());
    child.wait()?;
    table.print();
    Ok(())
}

/// A pool that has done something.
async fn used_pool(workers: &Workers) -> Outcome<(Pool, Vec<u32>)> {
    let pool = Pool::builder(workers.clone())
        .processes(WORKERS)
        .wait_all()
        .start()
        .await?;
    pool.map((0..64).map(|_| Greet("world".to_owned()))).await?;
    let slots = pool.status().await.slots;
    let pids = slots.into_iter().filter_map(|slot| slot.pid).collect();
    Ok((pool, pids))
}

/// 2^20 bytes of the larger of two workers.
async fn worker_memory(workers: &Workers) -> Outcome<f64> {
    let (pool, pids) = used_pool(workers).await?;
    tokio::time::sleep(REST).await;
    let largest = largest(&pids)?;
    pool.stop().await;
    Ok(largest)
}

/// The same of two bare children, which share the pages of the program among as many.
async fn bare_memory() -> Outcome<f64> {
    let mut links = [Link::open()?, Link::open()?];
    for link in &mut links {
        for _ in 0..64 {
            link.socket.write_all(&[7; 16]).await?;
            link.socket.read_exact(&mut [0; 16]).await?;
        }
    }
    tokio::time::sleep(REST).await;
    let largest = largest(&links.each_ref().map(Link::pid))?;
    for link in links {
        link.close()?;
    }
    Ok(largest)
}

fn largest(pids: &[u32]) -> Outcome<f64> {
    let mut largest = 0.0;
    for pid in pids {
        largest = proc::pss(*pid)?.max(largest);
    }
    Ok(largest / 1024.0 / 1024.0)
}

/// The bare child.
async fn echo(mut socket: Socket) -> io::Result<()> {
    let mut message = [0; 16];
    loop {
        socket.read_exact(&mut message).await?;
        socket.write_all(&message).await?;
    }
}

/// Has an idle pool until its input ends. This thread sleeps in the runtime, another one in a read.
async fn host(workers: &Workers) -> Outcome {
    let (pool, pids) = used_pool(workers).await?;
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    println!("{}", pids.join(" "));
    io::stdout().flush()?;
    tokio::task::spawn_blocking(|| io::stdin().lines().count()).await?;
    pool.stop().await;
    Ok(())
}

/// Starts a host: its process id, and those of its workers.
fn start_host() -> Outcome<(Child, Vec<u32>)> {
    let mut child = common::command()?
        .args(["--part", HOST])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("the host has no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let mut pids = vec![child.id()];
    for pid in line.split_whitespace() {
        pids.push(pid.parse()?);
    }
    if pids.len() != 1 + WORKERS {
        return Err(format!("not the workers of the host: {line}").into());
    }
    sleep(REST);
    Ok((child, pids))
}

/// How often the threads of these processes were switched away from meanwhile, and clock ticks that they computed for.
fn watch(pids: &[u32], time: Duration) -> Outcome<(f64, f64)> {
    let (mut before, ticks) = (proc::switches(pids)?, proc::ticks(pids)?);
    sleep(time);
    let mut switches = 0.0;
    for (thread, count) in proc::switches(pids)? {
        switches += count - before.remove(&thread).unwrap_or(0.0);
    }
    // Those that have ended meanwhile woke for that at least.
    switches += before.len() as f64;
    Ok((switches, proc::ticks(pids)? - ticks))
}
