//! What the death of a worker costs those who wait for its tasks, and how soon there is another that serves.
//!
//! Two workers have 16 tasks each, of 200 ms, and 68 wait; then one is killed. Times are from the moment at which `kill`
//! returned, so the end of the process is in them. The bare figures are those of a child at the end of a socket: from its being
//! killed to the end of the socket, and beyond that to the first byte of another one. Run with `cargo bench --bench crash`, or `-- --quick`.

mod common;

use std::{
    io,
    time::{Duration, Instant},
};

use actix_multiprocess::{
    NoError, Pool, Priority, Submit, Task, TaskContext, TaskError, WorkerSpec, Workers,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use common::{Args, Bar, Link, Outcome, Socket, Table, Unit};

#[derive(Serialize, Deserialize)]
struct Sleep;

impl Task for Sleep {
    const NAME: &'static str = "sleep";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(())
    }
}

/// Which process serves.
#[derive(Serialize, Deserialize)]
struct Who;

impl Task for Who {
    const NAME: &'static str = "who";
    type Output = u32;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<u32, NoError> {
        Ok(std::process::id())
    }
}

const WORKERS: usize = 2;
const CONCURRENCY: usize = 16;
const TASKS: usize = 100;

/// Milliseconds after the kill.
struct Crash {
    /// The last of the errors.
    lost: Option<f64>,
    /// The first result of a worker that was not there before.
    serving: f64,
    /// The last of all outcomes.
    over: f64,
}

fn main() -> Outcome {
    let workers = WorkerSpec::new().task::<Sleep>().task::<Who>().init();
    common::bare_child(first_byte)?;
    let args = Args::parse()?;
    println!(
        "# crash: {} rounds, {WORKERS} workers with {CONCURRENCY} of {TASKS} tasks each, one is killed",
        args.rounds
    );
    let system = actix::System::new();
    let runtime = common::runtime()?;
    let mut table = Table::default();
    for _ in 0..args.rounds {
        for (what, idempotent) in [("not idempotent", false), ("idempotent", true)] {
            let crash = system.block_on(crash(&workers, idempotent))?;
            let (bare_lost, bare_serving) = runtime.block_on(bare())?;
            let mut add = |name, limit, millis, bare| {
                let name = format!("{what}: kill to {name}");
                table.add_alone(&name, Unit::Millis, Bar::AtMost(limit), millis);
                let name = format!("{name}, against bare");
                table.add(&name, Unit::Millis, Bar::None, millis, bare);
            };
            if let Some(lost) = crash.lost {
                add("the last of 16 errors", 2.0, lost, bare_lost);
            }
            add(
                "the first result of a new worker",
                5.0,
                crash.serving,
                bare_serving,
            );
            let name = format!("{what}: kill to the last of all outcomes");
            table.add_alone(&name, Unit::Millis, Bar::None, crash.over);
        }
    }
    table.print();
    Ok(())
}

/// Milliseconds after the kill of a child to the end of its socket, and to the first byte of the next.
async fn bare() -> Outcome<(f64, f64)> {
    let mut link = Link::open()?;
    link.socket.read_u8().await?;
    kill(link.pid())?;
    let killed = Instant::now();
    // Nothing comes any more, so it is the end, however that is told.
    let _ = link.socket.read_u8().await;
    let lost = killed.elapsed();
    let mut next = Link::open()?;
    next.socket.read_u8().await?;
    let serving = killed.elapsed();
    link.close()?;
    next.close()?;
    Ok((lost.as_secs_f64() * 1e3, serving.as_secs_f64() * 1e3))
}

/// The bare child: says that it is there, and waits for its end.
async fn first_byte(mut socket: Socket) -> io::Result<()> {
    socket.write_u8(1).await?;
    socket.read_u8().await.map(drop)
}

async fn crash(workers: &Workers, idempotent: bool) -> Outcome<Crash> {
    let pool = Pool::builder(workers.clone())
        .processes(WORKERS)
        .concurrency(CONCURRENCY)
        .wait_all()
        .start()
        .await?;
    let mut outcomes: FuturesUnordered<_> = (0..TASKS)
        .map(|_| {
            let task = Submit::new(Sleep);
            let handle = pool.submit(if idempotent { task.idempotent() } else { task });
            async { (handle.await, Instant::now()) }
        })
        .collect();
    let there = both_are_full(&pool).await?;
    let victim = *there.first().ok_or("no worker")?;
    kill(victim)?;
    let killed = Instant::now();
    let millis = |at: Instant| at.duration_since(killed).as_secs_f64() * 1e3;

    let serving = async {
        loop {
            // Ahead of those that wait. The worker that lives has no room, so only a new one can take it.
            let who = pool.submit(Submit::new(Who).priority(Priority::High));
            if !there.contains(&who.await?) {
                return Ok::<_, TaskError<NoError>>(millis(Instant::now()));
            }
        }
    };
    let settling = async {
        let (mut results, mut lost) = (0, Vec::new());
        let mut over = killed;
        while let Some((outcome, at)) = outcomes.next().await {
            match outcome {
                Ok(()) => results += 1,
                Err(TaskError::WorkerLost(_)) => lost.push(at),
                Err(other) => return Err(other),
            }
            over = over.max(at);
        }
        Ok((results, lost, over))
    };
    let (serving, (results, lost, over)) = tokio::try_join!(serving, settling)?;
    pool.stop().await;

    let expected = if idempotent { 0 } else { CONCURRENCY };
    if (results, lost.len()) != (TASKS - expected, expected) {
        return Err(format!(
            "{results} results and {} lost, idempotent: {idempotent}",
            lost.len()
        )
        .into());
    }
    Ok(Crash {
        lost: lost.into_iter().max().map(millis),
        serving,
        over: millis(over),
    })
}

/// The process ids of the workers, once each runs as many tasks as it may.
async fn both_are_full(pool: &Pool) -> Outcome<Vec<u32>> {
    loop {
        let slots = pool.status().await.slots;
        let full = slots.iter().all(|slot| slot.in_flight == CONCURRENCY);
        // Those that were sent begin within this, and do not end.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if full {
            return Ok(slots.into_iter().filter_map(|slot| slot.pid).collect());
        }
    }
}

#[cfg(unix)]
fn kill(pid: u32) -> Outcome {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    Ok(kill(Pid::from_raw(pid.try_into()?), Signal::SIGKILL)?)
}

#[cfg(not(unix))]
fn kill(_: u32) -> Outcome {
    Err("there is no SIGKILL here".into())
}
