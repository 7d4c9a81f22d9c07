//! A task that holds its worker's event loop is named once, with how many others waited for it.
#![cfg(target_os = "linux")]

use std::time::Duration;

use crate::common::{self, Act, Beside, End, event, events};
use crate::process_support::Warnings;
use actix_multiprocess::{Pool, PoolEvent, Submit, WorkerSpec, worker_entry};
use tokio::sync::mpsc::UnboundedReceiver;

worker_entry!(WorkerSpec::new().task::<Act>().task::<Beside>());

async fn pool(concurrency: usize) -> Pool {
    let builder = Pool::builder(workers()).processes(1);
    builder.concurrency(concurrency).start().await.unwrap()
}

/// All that a pool has said of slow polls until now: of which task, and how many waited.
fn slow(events: &mut UnboundedReceiver<PoolEvent>) -> Vec<(&'static str, usize)> {
    let mut said = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let PoolEvent::SlowPoll {
            task,
            took,
            waiting,
            ..
        } = event
        {
            assert!(took >= Duration::from_millis(100), "{took:?}");
            said.push((task, waiting));
        }
    }
    said
}

#[test]
fn it_is_said_once_for_each_name_with_how_many_waited() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let log = Warnings::default();
        let lines = log.lines();
        // The pool is on this thread.
        let _log = tracing::subscriber::set_default(log);
        let pool = pool(4).await;
        let mut events = events(&pool).await;
        for _ in 0..2 {
            let burns = ["a", "b", "c", "d"].map(|name| Act::new(dir.path(), name, End::Burn(120)));
            pool.map(burns).await.unwrap();
        }
        let one = Act::new(dir.path(), "e", End::Burn(120));
        pool.submit(Beside(one.clone())).await.unwrap();
        assert_eq!(slow(&mut events), [("act", 3), ("beside", 0)]);
        // Nor by the worker that comes after it.
        let slot = pool.status().await.slots[0].slot;
        pool.kill(slot).await;
        event(&mut events, |event| {
            matches!(event, PoolEvent::WorkerReady { .. }).then_some(())
        })
        .await;
        pool.submit(one).await.unwrap();
        pool.stop().await;
        assert_eq!(slow(&mut events), []);
        let lines = lines.lock().unwrap();
        let said = |name: &str| {
            let said = lines.iter().filter(|line| line.contains("event loop"));
            said.filter(|line| line.contains(name)).count()
        };
        assert_eq!((said("\"act\""), said("\"beside\"")), (1, 1), "{lines:?}");
        let act = lines.iter().find(|line| line.contains("\"act\"")).unwrap();
        assert!(
            act.contains("waiting=3") && act.contains("`cx.block(..)`"),
            "{act}"
        );
    });
}

#[test]
fn nothing_is_said_where_nobody_could_wait() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let burn = || Act::new(dir.path(), "a", End::Burn(120));
        let alone = pool(1).await;
        let mut of_one = events(&alone).await;
        alone.map([burn(), burn()]).await.unwrap();
        alone.stop().await;
        assert_eq!(slow(&mut of_one), []);
        // What runs alone anyhow has heeded the advice.
        let pool = pool(4).await;
        let mut events = events(&pool).await;
        pool.submit(Submit::new(burn()).exclusive()).await.unwrap();
        // Part of it is on another thread, and the loop is free.
        let blocks = pool.submit(Beside(Act::new(dir.path(), "b", End::Block)));
        common::seen(dir.path(), "b", "started").await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        common::put(dir.path(), "b", "unblock");
        blocks.await.unwrap();
        assert_eq!(slow(&mut events), []);
        // One that is not exclusive is named later all the same.
        pool.submit(burn()).await.unwrap();
        assert_eq!(slow(&mut events), [("act", 0)]);
        pool.stop().await;
    });
}
