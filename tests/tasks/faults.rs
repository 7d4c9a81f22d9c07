//! What a pool does when its connections break, stutter, repeat themselves or fall silent.
#![cfg(target_os = "linux")]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::common::{self, Act, End, has, seen, status_is};
use actix_multiprocess::{
    Blob, NoError, Pool, PoolBuilder, Recycle, Restart, SlotState, SlotStatus, StartError, Started,
    Submit, Task, TaskContext, TaskError, WorkerSpec, WorkerStartError, Workers,
    testing::{Connection, Fault, PassingFrame, Way, assert_clean, faulty, in_process},
    worker_entry,
};
use serde::{Deserialize, Serialize};

worker_entry!(WorkerSpec::new().task::<Act>().task::<Mirror>());

/// Returns what it is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mirror(Blob);

impl Task for Mirror {
    const NAME: &'static str = "mirror";
    type Output = Blob;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<Blob, NoError> {
        Ok(self.0)
    }
}

/// How often tasks were polled for the first time, by their numbers. Workers in memory share it with their test.
static STARTS: Mutex<Option<HashMap<u64, u32>>> = Mutex::new(None);

fn starts<R>(look: impl FnOnce(&mut HashMap<u64, u32>) -> R) -> R {
    let mut starts = STARTS.lock().unwrap_or_else(PoisonError::into_inner);
    look(starts.get_or_insert_default())
}

/// Doubles a number, after a while or at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Double {
    number: u64,
    wait: bool,
}

impl Task for Double {
    const NAME: &'static str = "double";
    type Output = u64;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<u64, NoError> {
        starts(|starts| *starts.entry(self.number).or_default() += 1);
        if self.wait {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(2 * self.number)
    }
}

/// Goes on for a while after it was cancelled, so that its host asks after it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stubborn;

impl Task for Stubborn {
    const NAME: &'static str = "stubborn";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<(), NoError> {
        cx.cancelled().await;
        tokio::time::sleep(Duration::from_millis(220)).await;
        Ok(())
    }
}

fn in_memory() -> Workers {
    let spec = WorkerSpec::new().task::<Double>().task::<Mirror>();
    in_process(spec.task::<Stubborn>())
}

fn quick(workers: Workers) -> PoolBuilder {
    let restart = Restart::default()
        .budget(None)
        .backoff(Duration::from_millis(1), Duration::from_millis(5));
    Pool::builder(workers)
        .processes(2)
        .concurrency(4)
        .restart(restart)
        .start_timeout(Duration::from_millis(300))
        .cancel_grace(Duration::from_millis(250))
        .grace(Duration::from_millis(50))
}

/// Something happens to one frame of the first worker of each slot, and is counted.
fn once(
    connection: Connection,
    way: Way,
    nth: u64,
    fault: Fault,
    hits: &Arc<AtomicU32>,
) -> impl Fn(&PassingFrame) -> Option<Fault> + Send + Sync + 'static {
    let hits = Arc::clone(hits);
    move |frame| {
        let is_it = frame.worker.generation == 0
            && (frame.connection, frame.way, frame.nth) == (connection, way, nth);
        is_it.then(|| {
            hits.fetch_add(1, Ordering::Relaxed);
            fault
        })
    }
}

/// Runs some tasks of all kinds; returns how many did not end as they should.
async fn some_tasks(pool: &Pool, garbled: bool, stubborn: bool, once: &mut Vec<u64>) -> u32 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let stubborn = stubborn.then(|| pool.submit(Stubborn));
    if stubborn.is_some() {
        // One that has not started ends without being asked after.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut handles = Vec::new();
    for nth in 0..30 {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let task = Double {
            number,
            wait: nth % 3 == 0,
        };
        let submit = Submit::new(task);
        let handle = if nth % 2 == 0 {
            pool.submit(submit.idempotent())
        } else {
            once.push(number);
            pool.submit(submit)
        };
        let cancelled = nth % 7 == 3;
        if cancelled {
            handle.cancel();
        }
        handles.push((number, cancelled, handle));
    }
    if let Some(stubborn) = &stubborn {
        stubborn.cancel();
    }
    let mut odd = 0;
    if garbled {
        // What a peer has never read, nobody will answer.
        let limit = Instant::now() + Duration::from_millis(60);
        while Instant::now() < limit && !handles.iter().all(|(.., handle)| handle.is_settled()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        handles.iter().for_each(|(.., handle)| handle.cancel());
    }
    for (number, cancelled, handle) in handles {
        match handle.await {
            Ok(value) if value == 2 * number => {}
            Err(TaskError::Cancelled { .. }) if cancelled => {}
            Err(TaskError::WorkerLost(_)) => odd += 1,
            settled => {
                assert!(garbled, "{settled:?}");
                odd += 1;
            }
        }
    }
    if let Some(stubborn) = stubborn {
        let _ = stubborn.await;
    }
    odd
}

/// Every fault but falling silent, at every place: what comes is settled once, and the pool goes on.
#[track_caller]
fn everywhere(connection: Connection, way: Way, most: u64) {
    let answers = (connection, way) == (Connection::Control, Way::FromWorker);
    let faults = [
        Fault::Cut(0),
        Fault::Cut(3),
        Fault::Cut(6),
        Fault::Truncate(1),
        Fault::Truncate(3),
        Fault::Truncate(5),
        Fault::Delay(Duration::from_millis(5)),
        Fault::Duplicate,
        Fault::Throttle(20_000),
    ];
    common::run_for(Duration::from_secs(120), async {
        let mut hits = faults.map(|_| Arc::new(AtomicU32::new(0)));
        let cases = (1..=most).flat_map(|nth| (0..faults.len()).map(move |fault| (nth, fault)));
        for (nth, fault) in cases {
            let (fault, hits) = (faults[fault], &mut hits[fault]);
            let workers = faulty(in_memory(), once(connection, way, nth, fault, hits));
            let pool = match quick(workers).start().await {
                Ok(pool) => pool,
                // The first workers of both slots may fail, which is what a start says then.
                Err(StartError::Worker(_)) => continue,
                Err(error) => panic!("{error}"),
            };
            let garbled = matches!(fault, Fault::Truncate(_));
            let mut started_once = Vec::new();
            for _ in 0..2 {
                some_tasks(&pool, garbled, answers, &mut started_once).await;
            }
            if garbled {
                // A worker that waits for the rest of something knows nothing of it.
                let _ = pool.addr().send(Recycle).await;
            }
            status_is(&pool, "its workers serve", |status| {
                let ready = |slot: &&SlotStatus| slot.state == SlotState::Ready;
                status.slots.iter().filter(ready).count() == 2
            })
            .await;
            let odd = some_tasks(&pool, garbled, false, &mut started_once).await;
            assert!(odd == 0 || garbled, "{fault:?} at {nth}: {odd} tasks");
            assert_clean(&pool);
            pool.stop().await;
            for number in started_once {
                let starts = starts(|starts| starts.get(&number).copied().unwrap_or(0));
                assert!(
                    starts <= 1 || garbled,
                    "{fault:?} at {nth}: {starts} starts"
                );
            }
        }
        for (hits, fault) in hits.iter().zip(faults) {
            assert!(hits.load(Ordering::Relaxed) > 0, "{fault:?} never came");
        }
    });
}

#[test]
fn faults_in_tasks_on_their_way_out_settle_them_once() {
    everywhere(Connection::Data, Way::ToWorker, 8);
}

#[test]
fn faults_in_results_settle_their_tasks_once() {
    everywhere(Connection::Data, Way::FromWorker, 8);
}

#[test]
fn faults_in_requests_settle_their_tasks_once() {
    everywhere(Connection::Control, Way::ToWorker, 3);
}

#[test]
fn faults_in_answers_settle_their_tasks_once() {
    everywhere(Connection::Control, Way::FromWorker, 2);
}

/// Workers that are processes, with the plan of a test.
async fn processes(plan: impl Fn(&PassingFrame) -> Option<Fault> + Send + Sync + 'static) -> Pool {
    let pool = quick(faulty(workers(), plan)).start_timeout(Duration::from_secs(30));
    let pool = pool.processes(1).wait_all().start().await;
    pool.expect("a pool")
}

#[test]
fn without_a_fault_everything_passes_as_it_was() {
    common::run(async {
        let pool = processes(|_| None).await;
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|byte| (byte % 251) as u8).collect();
        for size in [0, 1, 5000, 300_000, 3_000_000] {
            let blob = Blob::from(bytes[..size].to_vec());
            let mirrored = pool.submit(Mirror(blob.clone())).await.expect("a mirror");
            assert_eq!(mirrored, blob);
        }
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_connection_that_breaks_in_the_middle_of_a_result_loses_its_task_and_its_worker_only() {
    common::run(async {
        let pool = processes(|frame| {
            let large = frame.way == Way::FromWorker && frame.bytes > 100_000;
            (large && frame.worker.generation == 0).then_some(Fault::Cut(50_000))
        })
        .await;
        let pid = pool.status().await.slots[0].pid.expect("a worker");
        let blob = Blob::from(vec![7; 200_000]);
        let dir = tempfile::tempdir().expect("a directory");
        let neighbour = pool.submit(Act::new(dir.path(), "neighbour", End::Wait));
        seen(dir.path(), "neighbour", "started").await;
        let mirrored = pool.submit(Mirror(blob.clone())).await;
        let Err(TaskError::WorkerLost(report)) = mirrored else {
            panic!("{mirrored:?}");
        };
        assert_eq!(report.pid(), Some(pid));
        assert!(matches!(neighbour.await, Err(TaskError::WorkerLost(_))));
        // The one that comes then breaks nothing.
        assert_eq!(
            pool.submit(Mirror(blob.clone())).await.expect("a mirror"),
            blob
        );
        pool.stop().await;
    });
}

#[test]
fn a_task_whose_start_may_have_been_lost_with_its_connection_does_not_run_twice() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        // Its start is the third frame, behind the offer and being ready.
        let pool = processes(|frame| {
            let start =
                (frame.connection, frame.way, frame.nth) == (Connection::Data, Way::FromWorker, 3);
            (start && frame.worker.generation == 0).then_some(Fault::Cut(0))
        })
        .await;
        let settled = pool.submit(Act::new(dir.path(), "once", End::Wait)).await;
        let Err(TaskError::WorkerLost(report)) = settled else {
            panic!("{settled:?}");
        };
        assert_eq!(report.started(), Started::Unknown);
        assert!(!has(dir.path(), "once", "start2"));
        pool.stop().await;
    });
}

/// What was said is on its way yet when the worker, and with it the other direction, has ended.
#[test]
fn a_task_whose_start_is_late_and_outlived_its_worker_does_not_run_twice() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = processes(|frame| {
            let start =
                (frame.connection, frame.way, frame.nth) == (Connection::Data, Way::FromWorker, 3);
            let late = Fault::Delay(Duration::from_secs(5));
            (start && frame.worker.generation == 0).then_some(late)
        })
        .await;
        let pid = pool.status().await.slots[0].pid.expect("a worker");
        let once = pool.submit(Act::new(dir.path(), "once", End::Wait));
        seen(dir.path(), "once", "started").await;
        common::signal(pid, nix::sys::signal::Signal::SIGSTOP);
        // More than the connection holds: it is being written when its worker ends.
        let other = pool.submit(Mirror(Blob::from(vec![0; 8 << 20])));
        common::status_is(&pool, "it is being written", |status| {
            status.slots[0].in_flight == 2
        })
        .await;
        common::signal(pid, nix::sys::signal::Signal::SIGKILL);
        let settled = once.await;
        let Err(TaskError::WorkerLost(report)) = settled else {
            panic!("{settled:?}");
        };
        assert_eq!(report.started(), Started::Unknown);
        assert!(!has(dir.path(), "once", "start2"));
        drop(other);
        pool.stop().await;
    });
}

#[test]
fn a_worker_whose_control_connection_breaks_ends_and_is_followed() {
    common::run(async {
        let pool = processes(|frame| {
            let first = frame.connection == Connection::Control && frame.worker.generation == 0;
            first.then_some(Fault::Cut(0))
        })
        .await;
        let dir = tempfile::tempdir().expect("a directory");
        let neighbour = pool.submit(Act::new(dir.path(), "neighbour", End::Wait));
        let cancelled = pool.submit(Act::new(dir.path(), "cancelled", End::Wait));
        seen(dir.path(), "neighbour", "started").await;
        seen(dir.path(), "cancelled", "started").await;
        // The first frame of the connection.
        cancelled.cancel();
        let settled = cancelled.await;
        assert!(
            matches!(settled, Err(TaskError::Cancelled { started: true })),
            "{settled:?}"
        );
        let settled = neighbour.await;
        assert!(
            matches!(settled, Err(TaskError::WorkerLost(_))),
            "{settled:?}"
        );
        let blob = Blob::from(vec![1, 2, 3]);
        assert_eq!(
            pool.submit(Mirror(blob.clone())).await.expect("a mirror"),
            blob
        );
        pool.stop().await;
    });
}

#[test]
fn a_task_that_cannot_be_told_to_end_ends_with_its_worker() {
    common::run(async {
        let pool =
            processes(|frame| (frame.connection == Connection::Control).then_some(Fault::Wedge))
                .await;
        let pid = pool.status().await.slots[0].pid;
        let dir = tempfile::tempdir().expect("a directory");
        let handle = pool.submit(Act::new(dir.path(), "deaf", End::Wait));
        seen(dir.path(), "deaf", "started").await;
        handle.cancel();
        let settled = handle.await;
        assert!(
            matches!(settled, Err(TaskError::Cancelled { started: true })),
            "{settled:?}"
        );
        status_is(&pool, "another worker", |status| {
            let slot = &status.slots[0];
            slot.state == SlotState::Ready && slot.pid != pid
        })
        .await;
        pool.stop().await;
    });
}

#[test]
fn a_task_whose_results_no_longer_come_can_still_be_cancelled() {
    common::run(async {
        let pool = processes(|frame| {
            let result = (frame.connection, frame.way) == (Connection::Data, Way::FromWorker);
            (result && frame.nth > 2 && frame.worker.generation == 0).then_some(Fault::Wedge)
        })
        .await;
        let handle = pool.submit(Mirror(Blob::from(vec![1])));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!handle.is_settled());
        handle.cancel();
        let settled = handle.await;
        assert!(
            matches!(settled, Err(TaskError::Cancelled { started: true })),
            "{settled:?}"
        );
        let blob = Blob::from(vec![2]);
        assert_eq!(
            pool.submit(Mirror(blob.clone())).await.expect("a mirror"),
            blob
        );
        pool.stop().await;
    });
}

#[test]
fn what_is_slow_arrives_late_and_whole() {
    common::run(async {
        let pool = processes(|frame| match (frame.connection, frame.way, frame.nth) {
            (Connection::Data, Way::ToWorker, 2) => Some(Fault::Throttle(1_000_000)),
            (Connection::Data, Way::FromWorker, 3) => {
                Some(Fault::Delay(Duration::from_millis(150)))
            }
            _ => None,
        })
        .await;
        let began = Instant::now();
        let blob = Blob::from(vec![9; 200_000]);
        assert_eq!(
            pool.submit(Mirror(blob.clone())).await.expect("a mirror"),
            blob
        );
        let took = began.elapsed();
        // 200 ms one way and 150 the other.
        assert!(took >= Duration::from_millis(340), "{took:?}");
        pool.stop().await;
    });
}

#[test]
fn a_start_that_falls_silent_fails_in_time_and_says_where() {
    common::run(async {
        for (way, stage) in [(Way::FromWorker, "handshake"), (Way::ToWorker, "state")] {
            let workers = faulty(workers(), move |frame| {
                let is_it = (frame.connection, frame.way) == (Connection::Data, way);
                is_it.then_some(Fault::Wedge)
            });
            let pool = quick(workers).start_timeout(Duration::from_secs(1));
            let started = pool.start().await;
            let Err(StartError::Worker(WorkerStartError::TimedOut { stage: at, .. })) = started
            else {
                panic!("{started:?}");
            };
            assert!(at.contains(stage), "{at}");
        }
    });
}
