//! What a pool leaves to others: its arbiter's timers and sockets while it is flooded, and the CPU while it is idle.
#![cfg(target_os = "linux")]

mod common;
mod measure;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use actix_multiprocess::{
    GetStatus, NoError, Pool, Submit, Task, TaskContext, WhenFull, WorkerSpec,
    testing::assert_clean, worker_entry,
};
use common::{eventually, status_is};
use measure::{all_settled, alone};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[derive(Serialize, Deserialize)]
struct Echo(u64);

impl Task for Echo {
    const NAME: &'static str = "echo";
    type Output = u64;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<u64, NoError> {
        Ok(self.0)
    }
}

/// Never ends by itself.
#[derive(Serialize, Deserialize)]
struct Wait;

impl Task for Wait {
    const NAME: &'static str = "wait";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        std::future::pending().await
    }
}

worker_entry!(WorkerSpec::new().task::<Echo>().task::<Wait>());

const LIMIT: Duration = Duration::from_secs(180);

/// How late anything on the arbiter may be: far above what is measured, far below what a flood takes in one go.
const LATE: Duration = Duration::from_secs(1);

/// The work of a debug build is a tenth, where the workers have to do it.
const MILLION: u64 = 1_000_000;
const EXECUTED: u64 = if cfg!(debug_assertions) {
    MILLION / 10
} else {
    MILLION
};

/// Ticks every 10 ms on this arbiter until it is told to stop.
struct Ticker {
    stop: Arc<AtomicBool>,
    ticks: actix_rt::task::JoinHandle<(u32, Duration)>,
}

impl Ticker {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let ticks = actix_rt::spawn(async move {
            let (mut ticks, mut latest) = (0, Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                let due = Instant::now() + Duration::from_millis(10);
                tokio::time::sleep_until(due.into()).await;
                latest = latest.max(due.elapsed());
                ticks += 1;
            }
            (ticks, latest)
        });
        Self { stop, ticks }
    }

    /// How often it ticked, and how late at worst.
    async fn stop(self) -> (u32, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.ticks.await.unwrap()
    }
}

/// A client in a thread of its own that is answered by this arbiter.
struct Caller {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(u32, Duration)>,
}

impl Caller {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        actix_rt::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            while let Ok(byte) = stream.read_u8().await {
                stream.write_u8(byte).await.unwrap();
            }
        });
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut calls, mut longest) = (0, Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                stream.write_all(b"?").unwrap();
                stream.read_exact(&mut [0]).unwrap();
                longest = longest.max(began.elapsed());
                calls += 1;
                thread::sleep(Duration::from_millis(1));
            }
            (calls, longest)
        });
        Self { stop, thread }
    }

    /// How often it was answered, and after how long at worst.
    fn stop(self) -> (u32, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        // The last answer may be under way, on this arbiter.
        self.thread.join().unwrap()
    }
}

/// Floods a pool on this arbiter, from two threads that `send` does the work of, and looks at what else is served.
async fn flood(
    pool: &Pool,
    what: &str,
    count: u64,
    send: impl Fn(&Pool, u64) + Clone + Send + 'static,
) {
    let half = |from: u64| {
        let (pool, send) = (pool.clone(), send.clone());
        thread::spawn(move || (from..from + count / 2).for_each(|index| send(&pool, index)))
    };
    // This arbiter does nothing meanwhile, so that all of it waits at once.
    half(0).join().unwrap();
    let caller = Caller::start().await;
    let began = Instant::now();
    let ticker = Ticker::start();
    let rest = half(count / 2);
    eventually("the second half is sent", || async { rest.is_finished() }).await;
    rest.join().unwrap();
    // Behind everything else in the mailbox.
    pool.addr().send(GetStatus).await.unwrap();
    all_settled(pool).await;
    let took = began.elapsed();
    let (ticks, late) = ticker.stop().await;
    let status = pool.status().await;
    eprintln!(
        "{what}: {count} sent, {} accepted, {took:?}; {ticks} ticks, {late:?} late at worst",
        status.counts.accepted
    );
    assert!(late < LATE, "a timer was {late:?} late");
    assert!(ticks >= 5, "a timer ticked {ticks} times in {took:?}");
    let caller = tokio::task::spawn_blocking(move || caller.stop());
    let (calls, longest) = caller.await.unwrap();
    eprintln!("{what}: {calls} calls answered, {longest:?} at worst");
    assert!(longest < LATE, "an answer took {longest:?}");
    assert!(calls >= 5, "{calls} calls were answered in {took:?}");
    assert_clean(pool);
}

#[test]
fn a_flood_of_refused_messages_starves_no_timer_and_no_socket() {
    alone(
        "a_flood_of_refused_messages_starves_no_timer_and_no_socket",
        LIMIT,
        async {
            let pool = Pool::builder(workers()).processes(2).start().await.unwrap();
            flood(&pool, "refused", MILLION, |pool, index| {
                pool.addr().do_send(Submit::new(Echo(index)));
            })
            .await;
            assert!(pool.status().await.counts.accepted < MILLION);
            pool.drain(Duration::from_secs(10)).await;
        },
    );
}

#[test]
fn a_flood_of_accepted_messages_starves_no_timer_and_no_socket() {
    alone(
        "a_flood_of_accepted_messages_starves_no_timer_and_no_socket",
        LIMIT,
        async {
            let pool = Pool::builder(workers())
                .processes(2)
                .when_full(WhenFull::Wait)
                .start()
                .await
                .unwrap();
            flood(&pool, "accepted", EXECUTED, |pool, index| {
                pool.addr().do_send(Submit::new(Echo(index)));
            })
            .await;
            assert_eq!(pool.status().await.counts.done, EXECUTED);
            pool.drain(Duration::from_secs(10)).await;
        },
    );
}

#[test]
fn a_flood_of_detached_tasks_starves_no_timer_and_no_socket() {
    alone(
        "a_flood_of_detached_tasks_starves_no_timer_and_no_socket",
        LIMIT,
        async {
            let pool = Pool::builder(workers())
                .processes(2)
                .when_full(WhenFull::Wait)
                .start()
                .await
                .unwrap();
            flood(&pool, "detached", EXECUTED, |pool, index| {
                pool.submit(Echo(index)).detach();
            })
            .await;
            assert_eq!(pool.status().await.counts.done, EXECUTED);
            pool.drain(Duration::from_secs(10)).await;
        },
    );
}

/// How often each thread of these processes was switched to, but for the one that asks.
fn switches(pids: &[u32]) -> BTreeMap<String, u64> {
    let own = fs::read_link("/proc/thread-self").unwrap();
    let own = fs::canonicalize("/proc").unwrap().join(own);
    let mut switches = BTreeMap::new();
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let task = task.unwrap().path();
            if task == own {
                continue;
            }
            let status = fs::read_to_string(task.join("status")).unwrap();
            let count = status
                .lines()
                .filter_map(|line| line.split_once("ctxt_switches:"))
                .map(|(_, count)| count.trim().parse::<u64>().unwrap())
                .sum();
            switches.insert(task.display().to_string(), count);
        }
    }
    switches
}

#[test]
fn an_idle_pool_never_wakes() {
    alone("an_idle_pool_never_wakes", LIMIT, async {
        let pool = Pool::builder(workers())
            .processes(2)
            .own_arbiter()
            .wait_all()
            .start()
            .await
            .unwrap();
        // What it has done leaves no timer behind: tasks, a cancelled one, a map given up.
        assert_eq!(pool.map((0..1000).map(Echo)).await.unwrap().len(), 1000);
        let waiting = pool.submit(Wait);
        status_is(&pool, "it is with a worker", |status| status.in_flight == 1).await;
        waiting.cancel();
        assert!(waiting.await.is_err());
        let mut map = pool.map((0..).map(Echo));
        assert_eq!(measure::next(&mut map).await.unwrap().unwrap(), 0);
        drop(map);
        let status = pool.status().await;
        let mut pids = vec![std::process::id()];
        pids.extend(status.slots.iter().map(|slot| slot.pid.unwrap()));
        // This thread's arbiter rests too: it waits here and not in its runtime.
        let limit = Instant::now() + Duration::from_secs(20);
        let mut before = switches(&pids);
        loop {
            thread::sleep(Duration::from_millis(200));
            let now = switches(&pids);
            if now == before {
                break;
            }
            assert!(
                Instant::now() < limit,
                "it never rests: {before:?}, then {now:?}"
            );
            before = now;
        }
        // An interval is what is measured here, so it has to pass.
        thread::sleep(Duration::from_secs(3));
        assert_eq!(switches(&pids), before, "somebody woke");
        assert!(before.len() >= 2 + 2 * 2, "{before:?}");
        assert_clean(&pool);
        pool.drain(Duration::from_secs(10)).await;
    });
}
