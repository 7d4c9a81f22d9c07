//! A worker that has tasks and does not go on is told, and killed where it is to be.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use crate::common::{self, Act, End, event, events, has, put, seen};
use actix_multiprocess::{
    Blob, LossCause, Pool, PoolBuilder, PoolEvent, Started, Submit, Task, TaskContext, TaskError,
    WorkerSpec,
    testing::{Connection, Fault, Way, faulty},
    worker_entry,
};
use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;

worker_entry!(WorkerSpec::new().task::<Act>().task::<Mirror>());

/// Comes back as it went.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mirror(Blob);

impl Task for Mirror {
    const NAME: &'static str = "mirror";
    type Output = Blob;
    type Error = actix_multiprocess::NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<Blob, actix_multiprocess::NoError> {
        Ok(self.0)
    }
}

const MS: Duration = Duration::from_millis(1);

/// One worker, whose stalls are told after 300 ms and 50 more at the most.
fn builder() -> PoolBuilder {
    Pool::builder(workers())
        .processes(1)
        .concurrency(4)
        .heartbeat(50 * MS)
        .stalled_after(300 * MS)
}

/// The name of the task that holds the loop, if one does, and for how long.
fn stall(event: &PoolEvent) -> Option<(Option<&'static str>, Duration)> {
    match event {
        PoolEvent::WorkerStalled { task, lasted, .. } => Some((*task, *lasted)),
        _ => None,
    }
}

fn stalls_until_now(events: &mut UnboundedReceiver<PoolEvent>) -> usize {
    std::iter::from_fn(|| events.try_recv().ok())
        .filter(|event| stall(event).is_some())
        .count()
}

#[test]
fn a_task_that_holds_its_loop_is_named_once_with_the_age_of_its_poll() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder().start().await.unwrap();
        let mut events = events(&pool).await;
        let began = Instant::now();
        let holder = pool.submit(Act::new(dir.path(), "holder", End::Hold));
        let (task, lasted) = event(&mut events, stall).await;
        assert_eq!(task, Some("act"));
        assert!(lasted >= 300 * MS && lasted <= began.elapsed());
        assert!(began.elapsed() < 1500 * MS, "{:?}", began.elapsed());
        // As long again, which is when it would be said a second time.
        tokio::time::sleep(400 * MS).await;
        put(dir.path(), "holder", "go");
        assert!(holder.await.is_ok());
        assert_eq!(stalls_until_now(&mut events), 0);
        // The next poll of that length is another.
        let again = pool.submit(Act::new(dir.path(), "again", End::Burn(500)));
        assert_eq!(event(&mut events, stall).await.0, Some("act"));
        assert!(again.await.is_ok());
        assert_eq!(pool.status().await.slots[0].restarts, 0);
        pool.stop().await;
    });
}

#[test]
fn a_stopped_worker_is_told_each_time_that_it_is_stopped() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder().start().await.unwrap();
        let pid = pool.status().await.slots[0].pid.unwrap();
        let mut events = events(&pool).await;
        let waits = pool.submit(Act::new(dir.path(), "waits", End::Ok).gated());
        seen(dir.path(), "waits", "started").await;
        for nth in 1..=2 {
            common::signal(pid, SIGSTOP);
            let (task, lasted) = event(&mut events, stall).await;
            assert_eq!(task, None);
            assert!(lasted >= 300 * MS, "{lasted:?}");
            // What it is sent meanwhile does not make it another stall.
            let behind = pool.submit(Mirror(Blob::from(vec![nth])));
            tokio::time::sleep(500 * MS).await;
            common::signal(pid, SIGCONT);
            assert_eq!(behind.await.unwrap(), Blob::from(vec![nth]));
            assert_eq!(stalls_until_now(&mut events), 0);
        }
        put(dir.path(), "waits", "go");
        assert!(waits.await.is_ok());
        pool.stop().await;
    });
}

#[test]
fn a_poll_that_was_stopped_with_its_worker_has_not_held_it() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder().start().await.unwrap();
        let pid = pool.status().await.slots[0].pid.unwrap();
        let mut events = events(&pool).await;
        // One poll, shorter than a stall.
        let burns = pool.submit(Act::new(dir.path(), "burns", End::Burn(200)));
        seen(dir.path(), "burns", "started").await;
        common::signal(pid, SIGSTOP);
        assert_eq!(event(&mut events, stall).await.0, None);
        common::signal(pid, SIGCONT);
        assert!(burns.await.is_ok());
        pool.stop().await;
        assert_eq!(stalls_until_now(&mut events), 0);
    });
}

#[test]
fn whoever_waits_or_blocks_elsewhere_stalls_nobody() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder().kill_stalled(true).start().await.unwrap();
        let mut events = events(&pool).await;
        let waits = pool.submit(Act::new(dir.path(), "waits", End::Ok).gated());
        let blocks = pool.submit(Act::new(dir.path(), "blocks", End::Block));
        seen(dir.path(), "blocks", "started").await;
        tokio::time::sleep(800 * MS).await;
        put(dir.path(), "waits", "go");
        put(dir.path(), "blocks", "unblock");
        assert!(waits.await.is_ok() && blocks.await.is_ok());
        assert_eq!(stalls_until_now(&mut events), 0);
        pool.stop().await;
    });
}

#[test]
fn whoever_stalls_a_worker_is_to_blame_for_its_end_and_nobody_else() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder().kill_stalled(true).start().await.unwrap();
        let act = |name: &str, end| Act::new(dir.path(), name, end);
        // Of a name whose starts are not told any more, what is sent may have started for all that its host knows.
        let blobs = (0..200).map(|_| Mirror(Blob::from(vec![1])));
        pool.map(blobs).await.unwrap();
        let waits = pool.submit(act("waits", End::Ok).gated());
        let again = pool.submit(Submit::new(act("again", End::Ok).gated()).idempotent());
        for name in ["waits", "again"] {
            seen(dir.path(), name, "started").await;
        }
        let holder = pool.submit(act("holder", End::Hold));
        seen(dir.path(), "holder", "started").await;
        let behind = pool.submit(Mirror(Blob::from(vec![2])));
        let Err(TaskError::WorkerLost(report)) = holder.await else {
            panic!("it goes on");
        };
        assert_eq!(report.cause(), &LossCause::Stalled);
        assert_eq!((report.suspects(), report.started()), (1, Started::Yes));
        let text = report.to_string();
        assert!(
            text.contains(r#"one poll of task "act" (id 203)"#),
            "{text}"
        );
        let Err(TaskError::WorkerLost(report)) = waits.await else {
            panic!("its worker lives");
        };
        assert_eq!(
            (report.cause(), report.suspects()),
            (&LossCause::Stalled, 0)
        );
        assert!(behind.await.is_ok());
        put(dir.path(), "again", "go");
        assert!(again.await.is_ok());
        pool.stop().await;
    });
}

#[test]
fn one_that_may_run_again_does_so_alone_and_is_given_up_when_it_stalls_there_too() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder().kill_stalled(true).start().await.unwrap();
        let holder = Submit::new(Act::new(dir.path(), "holder", End::Hold)).idempotent();
        let Err(TaskError::WorkerLost(report)) = pool.submit(holder).await else {
            panic!("it goes on");
        };
        assert!(
            report.poisoned() && report.slot().is_quarantine(),
            "{report}"
        );
        assert_eq!(
            (report.cause(), report.suspects()),
            (&LossCause::Stalled, 1)
        );
        assert!(has(dir.path(), "holder", "start2") && !has(dir.path(), "holder", "start3"));
        pool.stop().await;
    });
}

#[test]
fn a_stopped_worker_is_killed_and_followed() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder().kill_stalled(true).start().await.unwrap();
        let pid = pool.status().await.slots[0].pid.unwrap();
        let waits = pool.submit(Act::new(dir.path(), "waits", End::Wait));
        seen(dir.path(), "waits", "started").await;
        common::signal(pid, SIGSTOP);
        let Err(TaskError::WorkerLost(report)) = waits.await else {
            panic!("it goes on");
        };
        assert_eq!(
            (report.cause(), report.suspects()),
            (&LossCause::Stalled, 1)
        );
        let blob = Blob::from(vec![1]);
        assert_eq!(pool.submit(Mirror(blob.clone())).await.unwrap(), blob);
        pool.stop().await;
    });
}

#[test]
fn a_value_that_is_long_on_its_way_is_no_stall_and_can_be_cancelled() {
    common::run(async {
        let slow = faulty(workers(), |frame| {
            let first = (frame.connection, frame.nth) == (Connection::Data, 3);
            let to_worker = frame.way == Way::ToWorker && frame.nth == 2;
            (first || frame.connection == Connection::Data && to_worker)
                .then_some(Fault::Throttle(1 << 20))
        });
        let pool = Pool::builder(slow)
            .processes(1)
            .heartbeat(50 * MS)
            .stalled_after(300 * MS)
            .kill_stalled(true);
        let pool = pool.start().await.unwrap();
        let mut events = events(&pool).await;
        let blob = Blob::from(vec![7; 1 << 20]);
        let began = Instant::now();
        assert_eq!(pool.submit(Mirror(blob.clone())).await.unwrap(), blob);
        // One second each way.
        assert!(began.elapsed() > 1500 * MS, "{:?}", began.elapsed());
        assert_eq!(stalls_until_now(&mut events), 0);
        // 64 s each way, and it is in the middle of the first.
        let long = pool.submit(Mirror(Blob::from(vec![7; 63 << 20])));
        tokio::time::sleep(500 * MS).await;
        let cancelled = Instant::now();
        long.cancel();
        let settled = long.await;
        assert!(
            matches!(settled, Err(TaskError::Cancelled { .. })),
            "{settled:?}"
        );
        assert!(cancelled.elapsed() < 1500 * MS, "{:?}", cancelled.elapsed());
        pool.stop().await;
    });
}
