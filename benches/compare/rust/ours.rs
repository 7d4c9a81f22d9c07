//! The workloads on this crate, by its public names and with its defaults. Only the queue is longer: growth is measured.

mod common;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use actix_multiprocess::{
    Blob, NoError, Pool, PoolBuilder, Task, TaskContext, WorkerSpec, Workers,
};
use common::{
    AT_ONCE, Args, Arrivals, Crash, OF_SETS, Outcome, PATIENCE, RoundTrips, SETS, Sizing, WORKERS,
    say,
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

#[derive(Serialize, Deserialize)]
struct Noop(u64);

impl Task for Noop {
    const NAME: &'static str = "noop";
    const IDEMPOTENT: bool = true;
    type Output = u64;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<u64, NoError> {
        Ok(self.0)
    }
}

#[derive(Serialize, Deserialize)]
struct Echo(Blob);

impl Task for Echo {
    const NAME: &'static str = "echo";
    type Output = Blob;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<Blob, NoError> {
        Ok(self.0)
    }
}

/// Waits, and says in which process it did.
#[derive(Serialize, Deserialize)]
struct Nap(Duration);

impl Task for Nap {
    const NAME: &'static str = "nap";
    type Output = u32;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<u32, NoError> {
        sleep(self.0).await;
        Ok(std::process::id())
    }
}

/// The same, and it may be done twice.
#[derive(Serialize, Deserialize)]
struct NapAgain(Duration);

impl Task for NapAgain {
    const NAME: &'static str = "nap-again";
    const IDEMPOTENT: bool = true;
    type Output = u32;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<u32, NoError> {
        Nap(self.0).run(cx).await
    }
}

#[derive(Serialize, Deserialize)]
struct Burn(Duration);

impl Task for Burn {
    const NAME: &'static str = "burn";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        common::burn(self.0);
        Ok(())
    }
}

/// Waits for so many milliseconds, or holds its event loop where they are below 0.
#[derive(Serialize, Deserialize)]
struct Sleeps(Vec<i64>);

impl Task for Sleeps {
    const NAME: &'static str = "sleeps";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        for millis in self.0 {
            let time = Duration::from_millis(millis.unsigned_abs());
            match millis {
                0 => tokio::task::yield_now().await,
                1.. => sleep(time).await,
                ..0 => std::thread::sleep(time),
            }
        }
        Ok(())
    }
}

/// Workers branch off before the system is made: they would make it for nothing, and have one of their own.
fn main() -> Outcome {
    let workers = WorkerSpec::new()
        .task::<Noop>()
        .task::<Echo>()
        .task::<Nap>()
        .task::<NapAgain>()
        .task::<Burn>()
        .task::<Sleeps>()
        .init();
    actix::System::new().block_on(measure(workers))
}

async fn measure(workers: Workers) -> Outcome {
    let args = Args::parse()?;
    match args.workload.as_str() {
        "start" => {
            let created = Instant::now();
            let pool = builder(&workers, WORKERS).start().await?;
            pool.submit(Noop(1)).await?;
            common::say_start(created)?;
            pool.stop().await;
            return Ok(());
        }
        "workers" => return by_workers(&workers, &args).await,
        "sets" => return sets(&workers).await,
        _ => {}
    }
    let pool = ready(&workers, WORKERS).await?;
    match args.workload.as_str() {
        "roundtrip" => {
            let mut times = RoundTrips::new(args.seconds());
            while times.go_on() {
                let began = Instant::now();
                pool.submit(Noop(1)).await?;
                times.add(began);
            }
            times.say();
        }
        "outstanding" => {
            for window in args.sizes() {
                let rate = outstanding(&pool, args.seconds(), window).await?;
                say(&format!("outstanding/{window}"), rate);
            }
        }
        "map" => {
            let mut sizing = Sizing::new(args.seconds(), 1000);
            while let Some(tasks) = sizing.begin() {
                pool.map((0..tasks as u64).map(Noop)).await?;
                sizing.end();
            }
            say("map", sizing.rate());
        }
        "echo" => {
            let sizes: Vec<_> = args.sizes().collect();
            for pair in sizes.chunks_exact(2) {
                echo(&pool, args.seconds(), pair[0], pair[1]).await?;
            }
        }
        "queued" => {
            for tasks in args.sizes() {
                let began = Instant::now();
                let handles: Vec<_> = (0..tasks as u64)
                    .map(|number| pool.submit(Noop(number)))
                    .collect();
                for handle in handles {
                    handle.await?;
                }
                let micros = began.elapsed().as_secs_f64() * 1e6 / tasks as f64;
                say(&format!("queued/{tasks}"), micros);
            }
        }
        "idle" => common::idle(pids(&pool).await)?,
        "cpu" => {
            let (tasks, time) = args.tasks()?;
            let began = Instant::now();
            for end in join_all((0..tasks).map(|_| pool.submit(Burn(time)))).await {
                end?;
            }
            say("cpu", began.elapsed().as_secs_f64());
        }
        "mix" => mix(&pool, Arrivals::new(&args)?).await?,
        "crash" => {
            let (tasks, nap) = args.tasks()?;
            crash(&pool, "crash", tasks, nap, Nap).await?;
            let fresh = ready(&workers, WORKERS).await?;
            crash(&fresh, "crash-idempotent", tasks, nap, NapAgain).await?;
            fresh.stop().await;
        }
        other => return Err(format!("no workload {other}").into()),
    }
    pool.stop().await;
    Ok(())
}

fn builder(workers: &Workers, processes: usize) -> PoolBuilder {
    Pool::builder(workers.clone())
        .processes(processes)
        .queue_limit(1 << 24)
}

async fn ready(workers: &Workers, processes: usize) -> Outcome<Pool> {
    let pool = builder(workers, processes).wait_all().start().await?;
    pool.map((0..100).map(Noop)).await?;
    Ok(pool)
}

async fn pids(pool: &Pool) -> Vec<u32> {
    let status = pool.status().await;
    status.slots.iter().filter_map(|slot| slot.pid).collect()
}

/// Tasks a second of one caller that always has so many handles, and awaits the oldest.
async fn outstanding(pool: &Pool, seconds: f64, window: usize) -> Outcome<f64> {
    let mut sizing = Sizing::new(seconds, window.max(100));
    while let Some(tasks) = sizing.begin() {
        let mut handles = VecDeque::with_capacity(window);
        for number in 0..tasks as u64 {
            if handles.len() == window
                && let Some(oldest) = handles.pop_front()
            {
                let _: u64 = oldest.await?;
            }
            handles.push_back(pool.submit(Noop(number)));
        }
        for handle in handles {
            handle.await?;
        }
        sizing.end();
    }
    Ok(sizing.rate())
}

async fn echo(pool: &Pool, seconds: f64, size: usize, window: usize) -> Outcome {
    let blob = Blob::from(vec![7; size]);
    let mut sizing = Sizing::new(seconds, 2 * window);
    while let Some(messages) = sizing.begin() {
        let mut handles = VecDeque::with_capacity(window);
        for _ in 0..messages {
            if handles.len() == window
                && let Some(oldest) = handles.pop_front()
            {
                let back: Blob = oldest.await?;
                assert_eq!(back.len(), size);
            }
            handles.push_back(pool.submit(Echo(blob.clone())));
        }
        for handle in handles {
            handle.await?;
        }
        sizing.end();
    }
    // Both directions count.
    say(
        &format!("echo/{size}"),
        2.0 * size as f64 * sizing.rate() / 1e6,
    );
    Ok(())
}

async fn by_workers(workers: &Workers, args: &Args) -> Outcome {
    for count in args.sizes() {
        let pool = ready(workers, count).await?;
        let rate = outstanding(&pool, args.seconds(), 1024).await?;
        say(&format!("workers/{count}"), 1e6 / rate);
        pool.stop().await;
    }
    Ok(())
}

async fn mix(pool: &Pool, mut arrivals: Arrivals) -> Outcome {
    let (mut noops, mut computing) = (Vec::new(), Vec::new());
    while arrivals.go_on() {
        while let Some(is_noop) = arrivals.next() {
            if is_noop {
                let (handle, began) = (pool.submit(Noop(1)), Instant::now());
                noops.push(tokio::task::spawn_local(async move {
                    handle.await.map(|_| began.elapsed().as_secs_f64() * 1e3)
                }));
            } else {
                computing.push(pool.submit(Burn(arrivals.each)));
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    let mut millis = Vec::new();
    for noop in noops {
        millis.push(noop.await??);
    }
    for computed in join_all(computing).await {
        computed?;
    }
    common::say_mix(millis);
    Ok(())
}

async fn sets(workers: &Workers) -> Outcome {
    let began = Instant::now();
    for (sleeps, scale) in SETS {
        for at_once in AT_ONCE {
            let pool = Pool::builder(workers.clone())
                .processes(OF_SETS)
                .concurrency(at_once)
                .start()
                .await?;
            pool.map((0..scale * at_once).map(|_| Sleeps(sleeps.to_vec())))
                .await?;
            pool.stop().await;
        }
    }
    say("sets", began.elapsed().as_secs_f64());
    Ok(())
}

async fn crash<T: Task<Output = u32, Error = NoError>>(
    pool: &Pool,
    key: &str,
    tasks: usize,
    nap: Duration,
    task: fn(Duration) -> T,
) -> Outcome {
    let before = pids(pool).await;
    let handles: Vec<_> = (0..tasks).map(|_| pool.submit(task(nap))).collect();
    sleep(nap / 2).await;
    common::kill(before[0])?;
    let killed = Instant::now();
    let ends = handles.into_iter().map(async |handle| {
        let end = timeout(PATIENCE, handle).await;
        (end, killed.elapsed())
    });
    let mut crash = Crash::default();
    for (end, after) in join_all(ends).await {
        match end {
            Ok(Ok(pid)) => crash.result(after, !before.contains(&pid)),
            Ok(Err(_)) => crash.error(),
            Err(_) => crash.unanswered(),
        }
    }
    crash.say(key, nap, "no new worker had a task");
    Ok(())
}
