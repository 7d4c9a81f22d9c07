//! What workers write comes line by line to whoever has subscribed.
#![cfg(target_os = "linux")]

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::common::{self, event};
use actix::{Actor, Context, Handler};
use actix_multiprocess::{
    NoError, Output, OutputStream, Pool, PoolBuilder, PoolEvent, Stdio, Subscribe, Task,
    TaskContext, TaskError, WorkerInfo, WorkerSpec, worker_entry,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;

worker_entry!(WorkerSpec::new().task::<Say>());

/// Writes bytes to standard error, and so many times; then ends its worker, if it is to.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Say {
    to_stdout: bool,
    bytes: Vec<u8>,
    times: u32,
    ends: bool,
}

impl Say {
    fn new(bytes: &[u8]) -> Self {
        Self {
            to_stdout: false,
            bytes: bytes.to_vec(),
            times: 1,
            ends: false,
        }
    }
}

impl Task for Say {
    const NAME: &'static str = "say";
    type Output = WorkerInfo;
    type Error = NoError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<WorkerInfo, NoError> {
        for _ in 0..self.times {
            if self.to_stdout {
                let mut out = std::io::stdout().lock();
                out.write_all(&self.bytes)
                    .and_then(|()| out.flush())
                    .expect("an output");
            } else {
                std::io::stderr().write_all(&self.bytes).expect("an output");
            }
        }
        if self.ends {
            std::process::exit(3);
        }
        Ok(cx.worker())
    }
}

fn builder() -> PoolBuilder {
    let stdio = Stdio::default().stdout(Output::Lines).stderr(Output::Lines);
    Pool::builder(workers()).processes(1).stdio(stdio)
}

async fn line(events: &mut UnboundedReceiver<PoolEvent>) -> (WorkerInfo, OutputStream, String) {
    event(events, |event| match event {
        PoolEvent::Output {
            worker,
            stream,
            line,
        } => Some((*worker, *stream, line.clone())),
        _ => None,
    })
    .await
}

/// The next of standard error that is none of the test harness's.
async fn said(events: &mut UnboundedReceiver<PoolEvent>) -> String {
    loop {
        let (_, stream, line) = line(events).await;
        if stream == OutputStream::Stderr {
            return line;
        }
    }
}

#[test]
fn lines_come_with_their_worker_and_stream() {
    common::run(async {
        let pool = builder().start().await.unwrap();
        let mut events = common::events(&pool).await;
        let worker = pool
            .submit(Say::new(b"one\ntwo\r\n\nno \xff end"))
            .await
            .unwrap();
        for expected in ["one", "two", ""] {
            let (from, stream, line) = loop {
                let next = line(&mut events).await;
                if next.1 == OutputStream::Stderr {
                    break next;
                }
            };
            assert_eq!((from, stream), (worker, OutputStream::Stderr));
            assert_eq!(line, expected);
        }
        // Not before its end has come.
        let mut stdout = Say::new(b"\n@out\n");
        stdout.to_stdout = true;
        pool.submit(stdout).await.unwrap();
        while line(&mut events).await.1 != OutputStream::Stdout {}
        pool.submit(Say::new(b"ing\n")).await.unwrap();
        assert_eq!(said(&mut events).await, "no \u{fffd} ending");
    });
}

#[test]
fn a_line_without_end_comes_in_parts_and_the_last_with_the_worker() {
    common::run(async {
        let pool = builder().start().await.unwrap();
        let mut events = common::events(&pool).await;
        let mut long = Say::new(&[b'x'; 10_000]);
        long.ends = true;
        match pool.submit(long).await {
            Err(TaskError::WorkerLost(report)) => {
                assert_eq!(report.stderr_tail().len(), 8 * 1024);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(said(&mut events).await, "x".repeat(8192));
        assert_eq!(said(&mut events).await, "x".repeat(10_000 - 8192));
    });
}

/// A subscriber that takes nothing before it is let go, and counts what it has taken then.
struct Stuck {
    goes: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
}

impl Actor for Stuck {
    type Context = Context<Self>;
}

impl Handler<PoolEvent> for Stuck {
    type Result = ();

    fn handle(&mut self, _: PoolEvent, _: &mut Context<Self>) {
        while !self.goes.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_listener_that_is_stuck_holds_nobody_back_for_long() {
    common::run(async {
        let pool = builder().start().await.unwrap();
        let elsewhere = actix_rt::Arbiter::new();
        let (goes, taken) = (Arc::default(), Arc::default());
        let stuck = Stuck {
            goes: Arc::clone(&goes),
            taken: Arc::clone(&taken),
        };
        let stuck = Stuck::start_in_arbiter(&elsewhere.handle(), |_| stuck);
        let subscribe = Subscribe(stuck.recipient());
        pool.addr().send(subscribe).await.unwrap();
        let mut flood = Say::new(&[b"y".repeat(99), b"\n".to_vec()].concat());
        flood.times = 20_000;
        let began = Instant::now();
        pool.submit(flood).await.unwrap();
        let mut events = common::events(&pool).await;
        pool.submit(Say::new(b"still there\n")).await.unwrap();
        while said(&mut events).await != "still there" {}
        let took = began.elapsed();
        assert!(took < Duration::from_secs(4), "{took:?}");
        pool.stop().await;
        goes.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        // What its mailbox has room for, and what the pool tells whatever room there is.
        let taken = taken.load(Ordering::Relaxed);
        assert!((10..100).contains(&taken), "{taken}");
        elsewhere.stop();
    });
}
