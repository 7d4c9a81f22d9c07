//! How soon a task knows that nobody wants it any more.
#![cfg(target_os = "linux")]

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::common::{self, put, seen};
use actix_multiprocess::{KillPolicy, NoError, Pool, Task, TaskContext, WorkerSpec, worker_entry};
use serde::{Deserialize, Serialize};

worker_entry!(WorkerSpec::new().task::<Notes>());

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum How {
    /// Asks in a loop that never awaits.
    Asks,
    /// Waits for it.
    Listens,
    /// Waits for it beside another task that has the loop most of the time.
    ListensBesideWork,
    /// Has the loop for 2 ms at a time.
    Works,
}

/// Takes note of when it heard.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Notes(PathBuf, String, How);

impl Task for Notes {
    const NAME: &'static str = "notes";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<(), NoError> {
        put(&self.0, &self.1, "started");
        match self.2 {
            How::Asks => while !cx.is_cancelled() {},
            How::Listens | How::ListensBesideWork => cx.cancelled().await,
            How::Works => loop {
                let until = std::time::Instant::now() + Duration::from_millis(2);
                while std::time::Instant::now() < until {}
                tokio::task::yield_now().await;
            },
        }
        std::fs::write(self.0.join(&self.1), now().as_nanos().to_string())
            .expect("a file of the test");
        put(&self.0, &self.1, "heard");
        Ok(())
    }
}

/// The same in host and worker.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock that is set")
}

/// How long it took each of some tasks to hear that their handles were dropped.
async fn latencies(pool: &Pool, dir: &Path, how: How) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for round in 0..21 {
        let name = format!("{how:?}{round}");
        let handle = pool.submit(Notes(dir.to_owned(), name.clone(), how));
        seen(dir, &name, "started").await;
        let dropped = now();
        drop(handle);
        seen(dir, &name, "heard").await;
        let heard = std::fs::read_to_string(dir.join(&name)).expect("a time");
        let heard = Duration::from_nanos(heard.parse().expect("a number"));
        latencies.push(heard.saturating_sub(dropped));
    }
    latencies.sort();
    latencies
}

#[test]
fn a_task_hears_of_its_dropped_handle_at_once() {
    common::run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = Pool::builder(workers())
            .processes(1)
            .concurrency(2)
            // On a machine that does much else it may hear late, but it is to hear.
            .kill(KillPolicy::Never)
            .start()
            .await
            .expect("a pool");
        let mut work = None;
        for how in [How::Asks, How::Listens, How::ListensBesideWork] {
            if how == How::ListensBesideWork {
                work = Some(pool.submit(Notes(dir.path().to_owned(), "work".into(), How::Works)));
                seen(dir.path(), "work", "started").await;
            }
            let latencies = latencies(&pool, dir.path(), how).await;
            let (median, worst) = (latencies[10], latencies[20]);
            println!("{how:?}: {median:?}, at worst {worst:?}");
            // 10 ms are promised, for a machine that does nothing else.
            assert!(
                median < Duration::from_millis(100),
                "{how:?}: {latencies:?}"
            );
            assert!(worst < Duration::from_secs(1), "{how:?}: {latencies:?}");
        }
        drop(work);
        pool.stop().await;
    });
}
