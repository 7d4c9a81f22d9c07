//! What the memory of a pool's processes may come to.
//!
//! `ACTIX_MP_MEMORY_ITEMS=20000000` in a release build is the long form of the endless map.
#![cfg(target_os = "linux")]

mod common;
mod measure;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use actix_multiprocess::{
    Blob, NoError, Output, Pool, PoolBuilder, Rejected, Stdio, Submit, Task, TaskContext,
    TaskError, TaskHandle, WorkerSpec, testing::assert_clean, worker_entry,
};
use common::{signal, status_is};
use measure::{MIB, Peak, all_settled, alone, footprint, next, setting};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const LIMIT: Duration = Duration::from_secs(120);

/// What the host may need beyond what is counted.
const SLACK: usize = 32 * MIB;

/// The bytes of a small budget of results.
const BUDGET: usize = 64 * MIB;

const PROCESSES: usize = 2;
const CONCURRENCY: usize = 8;

#[derive(Serialize, Deserialize)]
struct Double(u64);

impl Task for Double {
    const NAME: &'static str = "double";
    type Output = u64;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<u64, NoError> {
        Ok(self.0 * 2)
    }
}

/// Tells the host that a task has started.
async fn started(port: u16, pid: u32) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_u32(pid).await.unwrap();
    stream
}

/// Tells the host that a task has started, and waits until it closes the connection.
async fn hold(port: Option<u16>, pid: u32) {
    if let Some(port) = port {
        let _ = started(port, pid).await.read_u8().await;
    }
}

/// Returns so many bytes, once the host lets it.
#[derive(Default, Serialize, Deserialize)]
struct Make {
    bytes: usize,
    /// Where the host holds it back.
    hold: Option<u16>,
    /// Never ends once it has started, and never awaits.
    spin: bool,
    /// What its input weighs.
    input: Blob,
}

impl Task for Make {
    const NAME: &'static str = "make";
    type Output = Blob;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<Blob, NoError> {
        if self.spin {
            let _stream = started(self.hold.unwrap(), cx.worker().pid).await;
            loop {
                std::hint::spin_loop();
            }
        }
        hold(self.hold, cx.worker().pid).await;
        Ok(Blob::from(vec![7; self.bytes]))
    }
}

/// Returns its number, once the host lets it.
#[derive(Serialize, Deserialize)]
struct Small(u64, Option<u16>);

impl Task for Small {
    const NAME: &'static str = "small";
    type Output = u64;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<u64, NoError> {
        hold(self.1, cx.worker().pid).await;
        Ok(self.0)
    }
}

/// Panics with a message of so many bytes.
#[derive(Serialize, Deserialize)]
struct Fail(usize);

impl Task for Fail {
    const NAME: &'static str = "fail";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        std::panic::panic_any("x".repeat(self.0));
    }
}

worker_entry!(
    WorkerSpec::new()
        .task::<Double>()
        .task::<Make>()
        .task::<Small>()
        .task::<Fail>()
);

fn mebibyte() -> Make {
    Make {
        bytes: MIB,
        ..Make::default()
    }
}

/// Holds tasks back and sees them start.
struct Gate {
    listener: TcpListener,
    port: u16,
}

impl Gate {
    async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    fn held(&self, bytes: usize) -> Make {
        Make {
            bytes,
            hold: Some(self.port),
            ..Make::default()
        }
    }

    /// Waits until a task has started. It goes on when the connection is dropped.
    async fn started(&self) -> (TcpStream, u32) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let pid = stream.read_u32().await.unwrap();
        (stream, pid)
    }
}

fn builder() -> PoolBuilder {
    Pool::builder(workers())
        .processes(PROCESSES)
        .concurrency(CONCURRENCY)
        .queue_limit(4096)
        .wait_all()
}

async fn small() -> Pool {
    builder().result_bytes(BUDGET).start().await.unwrap()
}

/// What may be with the workers at once, in bytes.
const IN_FLIGHT: usize = PROCESSES * CONCURRENCY * MIB;

/// Waits until nothing more comes by itself, but for `held` tasks.
async fn quiet(pool: &Pool, held: usize) {
    status_is(pool, "nothing moves", |status| status.in_flight == held).await;
}

/// Fills the budget with results that nobody takes.
async fn fill(pool: &Pool, budget: usize) -> Vec<TaskHandle<Make>> {
    let handles: Vec<_> = (0..budget / MIB + 1)
        .map(|_| pool.submit(mebibyte()))
        .collect();
    quiet(pool, 0).await;
    assert!(pool.status().await.result_bytes > budget);
    handles
}

async fn end(pool: &Pool) {
    assert_clean(pool);
    pool.drain(Duration::from_secs(10)).await;
}

#[test]
fn an_endless_map_does_not_grow() {
    let default = if cfg!(debug_assertions) {
        200_000
    } else {
        2_000_000
    };
    let items = setting("ACTIX_MP_MEMORY_ITEMS", default);
    let early = (items / 10).min(1_000_000);
    alone(
        "an_endless_map_does_not_grow",
        Duration::from_secs(60) + Duration::from_micros(50) * u32::try_from(items).unwrap(),
        async move {
            let pool = builder().concurrency(64).start().await.unwrap();
            let mut map = pool.map((0..).map(Double)).window(512);
            let mut before = Vec::new();
            for index in 0..items {
                if index == early {
                    before = footprint(&pool).await;
                }
                assert_eq!(next(&mut map).await.unwrap().unwrap(), index * 2);
            }
            let after = footprint(&pool).await;
            eprintln!("bytes at {early} items: {before:?}; at {items}: {after:?}");
            for (before, after) in before.into_iter().zip(after) {
                assert!(
                    after.abs_diff(before) < 2 * MIB,
                    "{before} bytes at {early} items, {after} at {items}"
                );
            }
            drop(map);
            status_is(&pool, "the map's rest ends", |status| {
                status.slots.iter().all(|slot| slot.in_flight == 0)
            })
            .await;
            end(&pool).await;
        },
    );
}

#[test]
fn a_slow_consumer_of_a_map_is_not_run_over() {
    alone("a_slow_consumer_of_a_map_is_not_run_over", LIMIT, async {
        let pool = small().await;
        let peak = Peak::new();
        let mut map = pool.map((0..400).map(|_| mebibyte())).window(2000);
        let mut taken = 0;
        while let Some(result) = next(&mut map).await {
            assert_eq!(result.unwrap().len(), MIB);
            taken += 1;
            // All that was sent has come: no consumer is slower.
            quiet(&pool, 0).await;
        }
        assert_eq!(taken, 400);
        peak.assert_below("a slow consumer", BUDGET + IN_FLIGHT + SLACK);
        end(&pool).await;
    });
}

#[test]
fn results_behind_a_slow_first_item_are_bounded() {
    alone(
        "results_behind_a_slow_first_item_are_bounded",
        LIMIT,
        async {
            let pool = small().await;
            let gate = Gate::new().await;
            let peak = Peak::new();
            let items: Vec<_> = std::iter::once(gate.held(MIB))
                .chain((1..2000).map(|_| mebibyte()))
                .collect();
            let mut map = pool.map(items).window(2000);
            let first = {
                let mut first = std::pin::pin!(next(&mut map));
                let held = tokio::select! {
                    _ = &mut first => panic!("the first item is held"),
                    (held, _) = gate.started() => held,
                };
                tokio::select! {
                    _ = &mut first => panic!("the first item is held"),
                    () = quiet(&pool, 1) => {}
                }
                let status = pool.status().await;
                assert!(status.result_bytes > BUDGET, "{status:?}");
                drop(held);
                first.await
            };
            assert_eq!(first.unwrap().unwrap().len(), MIB);
            for _ in 1..2000 {
                assert_eq!(next(&mut map).await.unwrap().unwrap().len(), MIB);
            }
            assert!(next(&mut map).await.is_none());
            peak.assert_below("behind a slow first item", BUDGET + IN_FLIGHT + SLACK);
            end(&pool).await;
        },
    );
}

#[test]
fn small_results_behind_a_slow_first_item_are_bounded() {
    const ITEMS: u64 = 2_000_000;
    alone(
        "small_results_behind_a_slow_first_item_are_bounded",
        LIMIT,
        async {
            let pool = builder()
                .concurrency(64)
                .queue_limit(1024)
                .result_bytes(BUDGET / 4)
                .start()
                .await
                .unwrap();
            let gate = Gate::new().await;
            let peak = Peak::new();
            let held = std::iter::once(Submit::new(Small(0, Some(gate.port))));
            let items = held.chain((1..ITEMS).map(|index| Submit::new(Small(index, None))));
            let mut map = pool.map(items).window(usize::MAX);
            let first = {
                let mut first = std::pin::pin!(next(&mut map));
                let held = tokio::select! {
                    _ = &mut first => panic!("the first item is held"),
                    (held, _) = gate.started() => held,
                };
                tokio::select! {
                    _ = &mut first => panic!("the first item is held"),
                    () = status_is(&pool, "the limit is reached", |status| {
                        status.result_bytes > BUDGET / 4 && status.in_flight == 1
                    }) => {}
                }
                drop(held);
                first.await
            };
            peak.assert_below("small results", BUDGET / 4 + SLACK);
            assert_eq!(first.unwrap().unwrap(), 0);
            for index in 1..100_000 {
                assert_eq!(next(&mut map).await.unwrap().unwrap(), index);
            }
            peak.assert_below("small results", BUDGET / 4 + SLACK);
            drop(map);
            status_is(&pool, "the map's rest ends", |status| {
                status.slots.iter().all(|slot| slot.in_flight == 0)
            })
            .await;
            end(&pool).await;
        },
    );
}

async fn unawaited(pool: Pool, budget: usize) {
    let peak = Peak::new();
    let handles: Vec<_> = (0..2000).map(|_| pool.submit(mebibyte())).collect();
    quiet(&pool, 0).await;
    let status = pool.status().await;
    assert!(status.result_bytes > budget, "{status:?}");
    assert!(status.queued > 0, "{status:?}");
    for handle in handles {
        assert_eq!(handle.await.unwrap().len(), MIB);
    }
    peak.assert_below("handles nobody awaits", budget + IN_FLIGHT + SLACK);
    end(&pool).await;
}

#[test]
fn results_of_handles_that_nobody_awaits_are_bounded() {
    alone(
        "results_of_handles_that_nobody_awaits_are_bounded",
        LIMIT,
        async { unawaited(small().await, BUDGET).await },
    );
}

#[test]
fn the_default_budget_of_results_holds() {
    alone("the_default_budget_of_results_holds", LIMIT, async {
        let pool = builder().start().await.unwrap();
        unawaited(pool, 256 * MIB).await;
    });
}

#[test]
fn panics_that_nobody_awaits_are_bounded() {
    alone("panics_that_nobody_awaits_are_bounded", LIMIT, async {
        let builder = builder().result_bytes(MIB);
        let pool = builder
            .stdio(Stdio::default().stderr(Output::Null))
            .start()
            .await
            .unwrap();
        let handles: Vec<_> = (0..1000).map(|_| pool.submit(Fail(8000))).collect();
        quiet(&pool, 0).await;
        let status = pool.status().await;
        assert!(status.result_bytes > MIB, "{status:?}");
        assert!(status.queued > 800, "{status:?}");
        for handle in handles {
            let Err(TaskError::Panicked(error)) = handle.await else {
                panic!("it did not panic");
            };
            assert_eq!(error.message().len(), 8000);
        }
        end(&pool).await;
    });
}

#[test]
fn a_submit_awaited_in_a_loop_over_a_map_with_untaken_results_settles() {
    alone(
        "a_submit_awaited_in_a_loop_over_a_map_with_untaken_results_settles",
        LIMIT,
        async {
            let pool = builder().start().await.unwrap();
            let mut map = pool.map((0..300).map(|_| mebibyte())).window(300);
            let mut taken = 0;
            while let Some(result) = next(&mut map).await {
                assert_eq!(result.unwrap().len(), MIB);
                taken += 1;
                if taken == 1 {
                    quiet(&pool, 0).await;
                    let status = pool.status().await;
                    assert!(status.result_bytes > 256 * MIB, "{status:?}");
                    assert!(status.queued > 0, "{status:?}");
                }
                if taken < 10 {
                    assert_eq!(pool.submit(Double(taken)).await.unwrap(), taken * 2);
                }
            }
            assert_eq!(taken, 300);
            end(&pool).await;
        },
    );
}

#[test]
fn an_awaited_task_that_lost_its_worker_runs_again_above_the_limit() {
    alone(
        "an_awaited_task_that_lost_its_worker_runs_again_above_the_limit",
        LIMIT,
        async {
            let pool = small().await;
            let gate = Gate::new().await;
            let untaken = fill(&pool, BUDGET).await;
            let task = Submit::new(gate.held(1)).idempotent();
            // Polled when it is woken and not before: it must not have to ask again.
            let awaited = actix::spawn(pool.submit(task));
            for _ in 0..2 {
                let (_held, pid) = gate.started().await;
                signal(pid, Signal::SIGKILL);
            }
            let (held, _) = gate.started().await;
            drop(held);
            assert_eq!(awaited.await.unwrap().unwrap().len(), 1);
            drop(untaken);
            end(&pool).await;
        },
    );
}

#[test]
fn an_awaited_task_that_was_given_back_runs_elsewhere_above_the_limit() {
    alone(
        "an_awaited_task_that_was_given_back_runs_elsewhere_above_the_limit",
        LIMIT,
        async {
            let pool = builder()
                .processes(1)
                .result_bytes(BUDGET)
                .start()
                .await
                .unwrap();
            let gate = Gate::new().await;
            let untaken = fill(&pool, BUDGET).await;
            let holder = pool.submit(Make {
                spin: true,
                ..gate.held(1)
            });
            let id = holder.id().unwrap();
            let holder = actix::spawn(holder);
            gate.started().await;
            let awaited = actix::spawn(pool.submit(Double(21)));
            status_is(&pool, "both are with the worker", |status| {
                status.in_flight == 2
            })
            .await;
            // Its worker has to die for it, but not with the other one in it.
            pool.cancel(id);
            assert_eq!(awaited.await.unwrap().unwrap(), 42);
            assert!(holder.await.unwrap().is_err());
            drop(untaken);
            end(&pool).await;
        },
    );
}

#[test]
fn actors_and_detached_tasks_are_served_above_the_limit() {
    alone(
        "actors_and_detached_tasks_are_served_above_the_limit",
        LIMIT,
        async {
            let pool = small().await;
            let gate = Gate::new().await;
            let untaken = fill(&pool, BUDGET).await;
            let sent = pool.addr().send(Submit::new(Double(21))).await.unwrap();
            assert_eq!(sent.unwrap(), 42);
            pool.addr().do_send(Submit::new(gate.held(1)));
            gate.started().await;
            pool.submit(gate.held(1)).detach();
            gate.started().await;
            quiet(&pool, 0).await;
            drop(untaken);
            end(&pool).await;
        },
    );
}

#[test]
fn many_awaited_tasks_above_the_limit_cost_no_more_each_than_few() {
    alone(
        "many_awaited_tasks_above_the_limit_cost_no_more_each_than_few",
        LIMIT,
        async {
            let pool = builder()
                .queue_limit(1_000_000)
                .result_bytes(BUDGET)
                .start()
                .await
                .unwrap();
            let gate = Gate::new().await;
            let untaken = fill(&pool, BUDGET).await;
            let mut held = Vec::new();
            for _ in 0..PROCESSES * CONCURRENCY {
                let task = actix::spawn(pool.submit(gate.held(1)));
                held.push((gate.started().await, task));
            }
            let mut handles: Vec<_> = (0..100_000)
                .map(|index| pool.submit(Double(index)))
                .collect();
            let began = Instant::now();
            poll_fn(|cx| {
                for handle in &mut handles {
                    assert!(Pin::new(handle).poll(cx).is_pending());
                }
                Poll::Ready(())
            })
            .await;
            let took = began.elapsed();
            eprintln!("awaiting 100000 tasks took {took:?}");
            // 0.4 s in a debug build; a minute when each was looked for among those before it.
            assert!(took < Duration::from_secs(4), "{took:?}");
            for (gate, task) in held {
                drop(gate);
                assert_eq!(task.await.unwrap().unwrap().len(), 1);
            }
            for (index, handle) in (0..).zip(handles) {
                assert_eq!(handle.await.unwrap(), index * 2);
            }
            drop(untaken);
            end(&pool).await;
        },
    );
}

#[test]
fn a_map_begun_above_the_limit_goes_on_one_at_a_time() {
    alone(
        "a_map_begun_above_the_limit_goes_on_one_at_a_time",
        LIMIT,
        async {
            let pool = small().await;
            let gate = Gate::new().await;
            let untaken = fill(&pool, BUDGET).await;
            for ordered in [true, false] {
                let mut map = pool.map((0..20).map(|_| gate.held(1)));
                let mut unordered = pool.map((0..20).map(|_| gate.held(1))).unordered();
                for _ in 0..20 {
                    let mut result = std::pin::pin!(async {
                        if ordered {
                            next(&mut map).await.unwrap()
                        } else {
                            next(&mut unordered).await.unwrap().1
                        }
                    });
                    let (held, _) = tokio::select! {
                        _ = &mut result => panic!("it is held"),
                        started = gate.started() => started,
                    };
                    let status = pool.status().await;
                    assert_eq!((status.in_flight, status.queued), (1, 0), "{status:?}");
                    drop(held);
                    assert_eq!(result.await.unwrap().len(), 1);
                }
            }
            drop(untaken);
            end(&pool).await;
        },
    );
}

#[test]
fn an_unordered_map_waiting_above_the_limit_does_not_get_all_at_once() {
    alone(
        "an_unordered_map_waiting_above_the_limit_does_not_get_all_at_once",
        LIMIT,
        async {
            let pool = small().await;
            let gate = Gate::new().await;
            let peak = Peak::new();
            let mut untaken: Vec<_> = (0..50).map(|_| pool.submit(mebibyte())).collect();
            quiet(&pool, 0).await;
            // The result that crosses the limit comes when all workers are taken and the map waits.
            untaken.push(pool.submit(gate.held(BUDGET - 45 * MIB)));
            let (last, _) = gate.started().await;
            let taken = PROCESSES * CONCURRENCY - 1;
            let held = (0..taken).map(|_| gate.held(0));
            let mut map = pool
                .map(held.chain((0..400).map(|_| mebibyte())))
                .window(400)
                .unordered();
            let first = {
                let mut first = std::pin::pin!(next(&mut map));
                let mut held = Vec::new();
                while held.len() < taken {
                    tokio::select! {
                        _ = &mut first => panic!("the first items are held"),
                        started = gate.started() => held.push(started),
                    }
                }
                drop(last);
                let first = first.await;
                quiet(&pool, taken).await;
                first
            };
            assert_eq!(first.unwrap().1.unwrap().len(), MIB);
            let status = pool.status().await;
            assert!(status.queued > 300, "{status:?}");
            peak.assert_below("an unordered map", BUDGET + IN_FLIGHT + SLACK);
            drop((untaken, map));
            end(&pool).await;
        },
    );
}

#[test]
fn taking_results_lets_waiting_tasks_go() {
    alone("taking_results_lets_waiting_tasks_go", LIMIT, async {
        let pool = small().await;
        let mut untaken = fill(&pool, BUDGET).await;
        let waiting = pool.submit(Double(1));
        let mut map = pool.map((0..1000).map(Double)).window(1000);
        assert_eq!(next(&mut map).await.unwrap().unwrap(), 0);
        quiet(&pool, 0).await;
        assert!(!waiting.is_settled());
        while !waiting.is_settled() {
            let result = untaken.pop().expect("the gate stayed closed").await;
            assert_eq!(result.unwrap().len(), MIB);
            quiet(&pool, 0).await;
        }
        // Far above half: taking a little is enough.
        assert!(untaken.len() > BUDGET / MIB / 2, "{}", untaken.len());
        for index in 1..1000 {
            assert_eq!(next(&mut map).await.unwrap().unwrap(), index * 2);
        }
        drop((untaken, waiting));
        end(&pool).await;
    });
}

#[test]
fn queue_bytes_bound_the_input_of_maps_and_submits() {
    const QUEUE: usize = 16 * MIB;
    alone(
        "queue_bytes_bound_the_input_of_maps_and_submits",
        LIMIT,
        async {
            let pool = builder().queue_bytes(QUEUE).start().await.unwrap();
            let gate = Gate::new().await;
            let heavy = |hold| Make {
                bytes: 1,
                hold,
                input: Blob::from(vec![7; MIB]),
                ..Make::default()
            };
            let peak = Peak::new();
            {
                let items = (0..200).map(|index| heavy((index == 0).then_some(gate.port)));
                let mut map = pool.map(items).window(200);
                let first = {
                    let mut first = std::pin::pin!(next(&mut map));
                    let (held, _) = tokio::select! {
                        _ = &mut first => panic!("it is held"),
                        started = gate.started() => started,
                    };
                    assert!(pool.status().await.bytes <= QUEUE);
                    drop(held);
                    first.await
                };
                assert_eq!(first.unwrap().unwrap().len(), 1);
                for _ in 1..200 {
                    assert_eq!(next(&mut map).await.unwrap().unwrap().len(), 1);
                    assert!(pool.status().await.bytes <= QUEUE);
                }
            }
            peak.assert_below("input of a map", QUEUE + 8 * MIB);
            let held: Vec<_> = (0..200)
                .map(|_| pool.submit(heavy(Some(gate.port))))
                .collect();
            let status = pool.status().await;
            assert!(status.bytes <= QUEUE, "{status:?}");
            assert!(status.bytes > QUEUE - 2 * MIB, "{status:?}");
            peak.assert_below("input of submits", QUEUE + 8 * MIB);
            let mut refused = 0;
            for mut handle in held {
                let refusal = tokio::select! {
                    biased;
                    result = &mut handle => result.unwrap_err(),
                    () = std::future::ready(()) => continue,
                };
                match refusal {
                    TaskError::Rejected(Rejected::QueueFull { bytes_limit, .. }) => {
                        assert_eq!(bytes_limit, QUEUE);
                        refused += 1;
                    }
                    other => panic!("{other}"),
                }
            }
            assert!(refused > 150, "{refused}");
            status_is(&pool, "the rest ends", |status| {
                status.slots.iter().all(|slot| slot.in_flight == 0)
            })
            .await;
            end(&pool).await;
        },
    );
}

#[test]
fn refused_submits_leave_nothing() {
    alone("refused_submits_leave_nothing", LIMIT, async {
        let pool = builder()
            .processes(1)
            .concurrency(1)
            .queue_limit(1)
            .start()
            .await
            .unwrap();
        let gate = Gate::new().await;
        let running = pool.submit(gate.held(1));
        let (held, _) = gate.started().await;
        let waiting = pool.submit(Double(1));
        let mut before = Vec::new();
        for index in 0..110_000 {
            if index == 10_000 {
                before = footprint(&pool).await;
            }
            let refused = pool.submit(Double(index));
            assert!(refused.id().is_none() && refused.is_settled());
            assert!(refused.await.is_err());
        }
        let after = footprint(&pool).await;
        for (before, after) in before.into_iter().zip(after) {
            assert!(
                after.saturating_sub(before) < MIB / 2,
                "{before} bytes, then {after}"
            );
        }
        drop(held);
        assert_eq!(running.await.unwrap().len(), 1);
        assert_eq!(waiting.await.unwrap(), 2);
        end(&pool).await;
    });
}

#[test]
fn floods_do_not_add_up() {
    const COUNT: u64 = if cfg!(debug_assertions) {
        40_000
    } else {
        1_000_000
    };
    alone("floods_do_not_add_up", LIMIT, async {
        let pool = builder().queue_limit(usize::MAX).start().await.unwrap();
        assert_eq!(pool.submit(Double(1)).await.unwrap(), 2);
        let peak = Peak::new();
        let mut first = None;
        for _ in 0..6 {
            for index in 0..COUNT {
                pool.submit(Double(index)).detach();
            }
            all_settled(&pool).await;
            // The allocator may keep all of it for the next flood, which needs no more.
            let took = peak.growth();
            let first = *first.get_or_insert(took);
            eprintln!("{COUNT} tasks took {} KiB", took / 1024);
            assert!(took < first + first / 4, "{first} bytes, then {took}");
        }
        end(&pool).await;
    });
}
