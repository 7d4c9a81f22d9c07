//! The workloads on procspawn's pool.

mod common;

use std::{
    collections::{BTreeSet, VecDeque},
    process,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use common::{Args, Arrivals, Crash, Outcome, PATIENCE, RoundTrips, Sizing, WORKERS, cannot, say};
use procspawn::{JoinHandle, Pool};
use serde_bytes::ByteBuf;

fn noop(number: u64) -> u64 {
    number
}

fn echo(bytes: ByteBuf) -> ByteBuf {
    bytes
}

fn nap(time: Duration) -> u32 {
    sleep(time);
    process::id()
}

/// Larger messages than this are only measured two at a time: `spawn` writes the input into a channel before a worker is
/// free to read it, so three of 1 MiB block each other for ever.
const SMALL: usize = 64 * 1024;

fn main() -> Outcome {
    procspawn::init();
    let args = Args::parse()?;
    match args.workload.as_str() {
        "start" => {
            let created = Instant::now();
            let pool = Pool::new(WORKERS)?;
            pool.spawn(1, noop).join()?;
            common::say_start(created)?;
            pool.kill();
            return Ok(());
        }
        "workers" => {
            for count in args.sizes() {
                let pool = Pool::new(count)?;
                pids(&pool, count)?;
                let rate = outstanding(&pool, args.seconds(), 1024)?;
                say(&format!("workers/{count}"), 1e6 / rate);
                pool.kill();
            }
            return Ok(());
        }
        "sets" => {
            let why = "procspawn: its workers run one task at a time, where these sets have up to 64 that sleep";
            cannot("sets", why);
            return Ok(());
        }
        "map" => {
            cannot("map", "procspawn: has no map");
            return Ok(());
        }
        _ => {}
    }
    let pool = Pool::new(WORKERS)?;
    let pids = pids(&pool, WORKERS)?;
    match args.workload.as_str() {
        "roundtrip" => {
            let mut times = RoundTrips::new(args.seconds());
            while times.go_on() {
                let began = Instant::now();
                pool.spawn(1, noop).join()?;
                times.add(began);
            }
            times.say();
        }
        "outstanding" => {
            for window in args.sizes() {
                let rate = outstanding(&pool, args.seconds(), window)?;
                say(&format!("outstanding/{window}"), rate);
            }
        }
        "echo" => {
            let sizes: Vec<_> = args.sizes().collect();
            for pair in sizes.chunks_exact(2) {
                let window = if pair[0] < SMALL { pair[1] } else { 2 };
                let bytes = ByteBuf::from(vec![7; pair[0]]);
                let rate = rate(args.seconds(), window, || pool.spawn(bytes.clone(), echo))?;
                let megabytes = 2.0 * pair[0] as f64 * rate / 1e6;
                say(&format!("echo/{}", pair[0]), megabytes);
            }
        }
        "queued" => {
            for tasks in args.sizes() {
                let began = Instant::now();
                let handles: Vec<_> = (0..tasks as u64)
                    .map(|number| pool.spawn(number, noop))
                    .collect();
                for handle in handles {
                    handle.join()?;
                }
                let micros = began.elapsed().as_secs_f64() * 1e6 / tasks as f64;
                say(&format!("queued/{tasks}"), micros);
            }
        }
        "idle" => common::idle(pids)?,
        "cpu" => {
            let (tasks, time) = args.tasks()?;
            let began = Instant::now();
            let handles: Vec<_> = (0..tasks).map(|_| pool.spawn(time, common::burn)).collect();
            for handle in handles {
                handle.join()?;
            }
            say("cpu", began.elapsed().as_secs_f64());
        }
        "mix" => mix(&pool, Arrivals::new(&args)?)?,
        "crash" => {
            let (tasks, time) = args.tasks()?;
            let handles: Vec<_> = (0..tasks).map(|_| pool.spawn(time, nap)).collect();
            sleep(time / 2);
            common::kill(*pids.first().ok_or("no worker")?)?;
            let killed = Instant::now();
            let mut crash = Crash::default();
            // Joined in order, which is the order in which they end.
            for mut handle in handles {
                let left = PATIENCE.saturating_sub(killed.elapsed());
                match handle.join_timeout(left.max(Duration::from_millis(5))) {
                    Ok(pid) => crash.result(killed.elapsed(), !pids.contains(&pid)),
                    Err(error) if error.is_timeout() => crash.unanswered(),
                    Err(_) => crash.error(),
                }
            }
            crash.say("crash", time, "procspawn: no new worker had a task");
        }
        other => return Err(format!("no workload {other}").into()),
    }
    pool.kill();
    Ok(())
}

/// A thread for each task: a worker goes on when somebody has taken its last result, and they do not end in order.
fn mix(pool: &Pool, mut arrivals: Arrivals) -> Outcome {
    let (mut noops, mut computing) = (Vec::new(), Vec::new());
    while arrivals.go_on() {
        while let Some(is_noop) = arrivals.next() {
            if is_noop {
                let (handle, began) = (pool.spawn(1, noop), Instant::now());
                noops.push(thread::spawn(move || {
                    let end = handle.join();
                    end.map(|_| began.elapsed().as_secs_f64() * 1e3)
                }));
            } else {
                let handle = pool.spawn(arrivals.each, common::burn);
                computing.push(thread::spawn(move || handle.join()));
            }
        }
        sleep(Duration::from_millis(1));
    }
    let mut millis = Vec::new();
    for noop in noops {
        millis.push(noop.join().map_err(|_| "a thread panicked")??);
    }
    for computed in computing {
        computed.join().map_err(|_| "a thread panicked")??;
    }
    common::say_mix(millis);
    Ok(())
}

/// Those of all workers, which have so all run something.
fn pids(pool: &Pool, count: usize) -> Outcome<BTreeSet<u32>> {
    let mut pids = BTreeSet::new();
    while pids.len() < count {
        let naps: Vec<_> = (0..2 * count)
            .map(|_| pool.spawn(Duration::from_millis(20), nap))
            .collect();
        for nap in naps {
            pids.insert(nap.join()?);
        }
    }
    Ok(pids)
}

fn outstanding(pool: &Pool, seconds: f64, window: usize) -> Outcome<f64> {
    rate(seconds, window, || pool.spawn(1, noop))
}

/// Tasks a second of one caller that always has so many handles, and joins the oldest.
fn rate<T>(seconds: f64, window: usize, spawn: impl Fn() -> JoinHandle<T>) -> Outcome<f64>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut sizing = Sizing::new(seconds, window.max(100));
    while let Some(tasks) = sizing.begin() {
        let mut handles = VecDeque::with_capacity(window);
        for _ in 0..tasks {
            if handles.len() == window
                && let Some(oldest) = handles.pop_front()
            {
                let oldest: JoinHandle<T> = oldest;
                oldest.join()?;
            }
            handles.push_back(spawn());
        }
        for handle in handles {
            handle.join()?;
        }
        sizing.end();
    }
    Ok(sizing.rate())
}
