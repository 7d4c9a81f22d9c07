//! How long small tasks take beside large ones: no-ops at 5,000 a second, and 200 a second that compute for 5 ms.
//!
//! Both come at random moments, whatever has become of those before, to two workers; a thread of its own submits them,
//! because the clock of tokio is too coarse for that. Times are from a task's submit to its result. The tasks that compute
//! need the whole of a worker, so where they are kept to one, what they wait for is each other. Run with `cargo bench
//! --bench mix`, or `-- --quick`.

mod common;

use std::{
    thread,
    time::{Duration, Instant},
};

use actix_multiprocess::{
    NoError, Pool, Submit, Task, TaskContext, TaskHandle, TaskOptions, WorkerSpec, Workers,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use common::{Args, Bar, Outcome, Table, Unit, percentile};

#[derive(Serialize, Deserialize)]
struct Noop;

impl Task for Noop {
    const NAME: &'static str = "noop";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Compute;

impl Task for Compute {
    const NAME: &'static str = "compute";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        Ok(())
    }
}

const WORKERS: usize = 2;
const NOOPS_PER_SECOND: f64 = 5_000.0;
const COMPUTES_PER_SECOND: f64 = 200.0;

/// Tasks of this long before those that count.
const WARM: Duration = Duration::from_millis(500);

#[derive(Clone, Copy)]
enum How {
    Defaults,
    /// All that compute have one key, and so one worker.
    Key,
    /// One that computes at a time.
    MaxRunning,
    /// One task at a time in each worker.
    OneAtATime,
}

const ROWS: [(&str, How); 4] = [
    ("defaults", How::Defaults),
    ("one `key` for those that compute", How::Key),
    ("`max_running(1)` for those that compute", How::MaxRunning),
    ("concurrency 1", How::OneAtATime),
];

fn main() -> Outcome {
    let workers = WorkerSpec::new().task::<Noop>().task::<Compute>().init();
    let args = Args::parse()?;
    let time = Duration::from_secs(args.amount(5, 1) as u64);
    println!(
        "# mix: {} rounds of {} s, {WORKERS} workers",
        args.rounds,
        time.as_secs()
    );
    let system = actix::System::new();
    let mut table = Table::default();
    for round in 0..args.rounds {
        for (name, how) in ROWS {
            if !args.wants(name) {
                continue;
            }
            let (mut noops, mut computes) = system.block_on(mix(&workers, how, time, round))?;
            for (what, millis) in [("no-ops", &mut noops), ("5 ms tasks", &mut computes)] {
                for (at, share) in [("p50", 0.5), ("p99", 0.99)] {
                    let name = format!("{name}: {what}, {at}");
                    let millis = percentile(millis, share);
                    table.add_alone(&name, Unit::Millis, Bar::None, millis);
                }
            }
        }
    }
    table.print();
    Ok(())
}

/// Milliseconds of each no-op, and of each task that computes.
async fn mix(
    workers: &Workers,
    how: How,
    time: Duration,
    seed: usize,
) -> Outcome<(Vec<f64>, Vec<f64>)> {
    let pool = Pool::builder(workers.clone())
        .processes(WORKERS)
        .queue_limit(1 << 20)
        .wait_all();
    let pool = match how {
        How::Defaults | How::Key => pool,
        How::MaxRunning => pool.task_options::<Compute>(TaskOptions::default().max_running(1)),
        How::OneAtATime => pool.concurrency(1),
    };
    let pool = pool.start().await?;

    let (sender, mut submitted) = unbounded_channel();
    let submitter = thread::spawn({
        let pool = pool.clone();
        move || submit(&pool, how, time, seed as u64, &sender)
    });
    let mut running = FuturesUnordered::new();
    let (mut noops, mut computes) = (Vec::new(), Vec::new());
    loop {
        let (handle, at, counts) = tokio::select! {
            Some(next) = submitted.recv() => {
                running.push(settle(next));
                continue;
            }
            Some(settled) = running.next() => settled?,
            else => break,
        };
        if counts {
            match handle {
                Kind::Noop => noops.push(at),
                Kind::Compute => computes.push(at),
            }
        }
    }
    submitter.join().map_err(|_| "the submitter panicked")?;
    pool.stop().await;
    Ok((noops, computes))
}

enum Handle {
    Noop(TaskHandle<Noop>),
    Compute(TaskHandle<Compute>),
}

enum Kind {
    Noop,
    Compute,
}

struct Submitted {
    handle: Handle,
    at: Instant,
    counts: bool,
}

async fn settle(submitted: Submitted) -> Outcome<(Kind, f64, bool)> {
    let kind = match submitted.handle {
        Handle::Noop(handle) => handle.await.map(|()| Kind::Noop)?,
        Handle::Compute(handle) => handle.await.map(|()| Kind::Compute)?,
    };
    let millis = submitted.at.elapsed().as_secs_f64() * 1e3;
    Ok((kind, millis, submitted.counts))
}

/// Submits both kinds at their pace, until the time is over or nobody takes the handles.
fn submit(pool: &Pool, how: How, time: Duration, seed: u64, taken: &UnboundedSender<Submitted>) {
    let began = Instant::now();
    let mut noops = Arrivals::new(seed * 2 + 1, NOOPS_PER_SECOND);
    let mut computes = Arrivals::new(seed * 2 + 2, COMPUTES_PER_SECOND);
    loop {
        let is_noop = noops.due < computes.due;
        let due = if is_noop { noops.due } else { computes.due };
        if due > WARM + time {
            return;
        }
        thread::sleep(due.saturating_sub(began.elapsed()));
        let at = Instant::now();
        let handle = if is_noop {
            noops.go_on();
            Handle::Noop(pool.submit(Noop))
        } else {
            computes.go_on();
            let task = Submit::new(Compute);
            let keyed = matches!(how, How::Key);
            Handle::Compute(pool.submit(if keyed { task.key("compute") } else { task }))
        };
        let submitted = Submitted {
            handle,
            at,
            counts: due > WARM,
        };
        if taken.send(submitted).is_err() {
            return;
        }
    }
}

/// Random moments, so many a second on average.
struct Arrivals {
    state: u64,
    per_second: f64,
    due: Duration,
}

impl Arrivals {
    fn new(seed: u64, per_second: f64) -> Self {
        let mut arrivals = Self {
            state: seed,
            per_second,
            due: Duration::ZERO,
        };
        arrivals.go_on();
        arrivals
    }

    fn go_on(&mut self) {
        let gap = -self.random().max(1e-9).ln() / self.per_second;
        self.due += Duration::from_secs_f64(gap);
    }

    /// splitmix64, from 0 to 1.
    fn random(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
