//! Which worker gets a task: keys, routings of one's own, and those that do what they must not.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::common::{self, Act, End, event, events, has, put, seen, signal, status_is};
use actix_multiprocess::{
    NoError, Pool, PoolBuilder, PoolEvent, Priority, RoundRobin, Routing, Slot, SlotState, Submit,
    Task, TaskContext, TaskHandle, TaskId, TaskMeta, WorkerInfo, WorkerLoad, WorkerSpec,
    testing::assert_clean, worker_entry,
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

/// Says where it ran.
#[derive(Clone, Serialize, Deserialize)]
struct Where;

impl Task for Where {
    const NAME: &'static str = "where";
    type Output = WorkerInfo;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<WorkerInfo, NoError> {
        tokio::task::yield_now().await;
        Ok(cx.worker())
    }
}

worker_entry!(WorkerSpec::new().task::<Act>().task::<Where>());

fn builder(processes: usize) -> PoolBuilder {
    Pool::builder(workers()).processes(processes).wait_all()
}

async fn keyed(pool: &Pool, key: &str) -> WorkerInfo {
    pool.submit(Submit::new(Where).key(key)).await.unwrap()
}

#[test]
fn a_key_stays_with_its_worker_until_that_ends() {
    common::run(async {
        let pool = builder(4).start().await.unwrap();
        let mut events = events(&pool).await;
        let mut homes = BTreeSet::new();
        for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let home = keyed(&pool, key).await;
            homes.insert(home.slot);
            let many: Vec<_> = (0..50)
                .map(|_| pool.submit(Submit::new(Where).key(key)))
                .collect();
            for task in many {
                assert_eq!(task.await.unwrap(), home);
            }
        }
        assert!(homes.len() > 1, "all keys met: {homes:?}");
        let before = keyed(&pool, "a").await;
        signal(before.pid, Signal::SIGKILL);
        event(&mut events, |event| {
            matches!(event, PoolEvent::WorkerLost { .. }).then_some(())
        })
        .await;
        let after = keyed(&pool, "a").await;
        assert_ne!(after.pid, before.pid);
        for _ in 0..20 {
            assert_eq!(keyed(&pool, "a").await, after);
        }
        // One that retires gives its keys away as well. One that is starting would not be replaced.
        status_is(&pool, "all take tasks", |status| {
            let mut slots = status.slots.iter();
            slots.all(|slot| slot.state == SlotState::Ready)
        })
        .await;
        let slots = pool.status().await.slots;
        let old: Vec<_> = slots.iter().map(|slot| slot.pid).collect();
        pool.recycle();
        status_is(&pool, "all are new", |status| {
            let mut slots = status.slots.iter();
            slots.all(|slot| {
                slot.pid.is_some() && !old.contains(&slot.pid) && slot.retiring.is_empty()
            })
        })
        .await;
        let replaced = keyed(&pool, "a").await;
        assert!(replaced.pid != after.pid && replaced.generation > 0);
        assert_eq!(keyed(&pool, "a").await, replaced);
        pool.stop().await;
        assert_clean(&pool);
    });
}

#[test]
fn a_new_key_goes_to_the_less_loaded_worker() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(2).concurrency(4).start().await.unwrap();
        let act = |name: &str| Act::new(dir.path(), name, End::Ok).gated();
        // All on one worker.
        let held = ["a", "b", "c"].map(|name| pool.submit(Submit::new(act(name)).key("held")));
        for name in ["a", "b", "c"] {
            seen(dir.path(), name, "started").await;
        }
        let home = keyed(&pool, "held").await;
        for key in 0..20 {
            let other = pool.submit(Submit::new(Where).key(key)).await.unwrap();
            assert_ne!(other.slot, home.slot);
        }
        for name in ["a", "b", "c"] {
            put(dir.path(), name, "go");
        }
        for task in held {
            task.await.unwrap();
        }
        pool.stop().await;
        assert_clean(&pool);
    });
}

#[test]
fn tasks_wait_for_the_worker_of_their_key_and_others_pass_them() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(2).concurrency(1).start().await.unwrap();
        let act = |name: &str| Submit::new(Act::new(dir.path(), name, End::Ok).gated()).key(7);
        let first = pool.submit(act("first"));
        seen(dir.path(), "first", "started").await;
        let (second, third) = (pool.submit(act("second")), pool.submit(act("third")));
        // There is a worker that has nothing to do, and it is not theirs.
        let mut others = BTreeSet::new();
        for _ in 0..20 {
            others.insert(pool.submit(Where).await.unwrap().slot);
        }
        assert_eq!(others.len(), 1);
        assert!(!has(dir.path(), "second", "started"));
        put(dir.path(), "first", "go");
        seen(dir.path(), "second", "started").await;
        assert!(!has(dir.path(), "third", "started"));
        put(dir.path(), "second", "go");
        put(dir.path(), "third", "go");
        let mut slots = BTreeSet::new();
        for task in [first, second, third] {
            let done = task.await.unwrap();
            slots.insert(done.split_once(" in ").unwrap().1.to_owned());
        }
        assert_eq!(slots.len(), 1);
        pool.stop().await;
        assert_clean(&pool);
    });
}

#[test]
fn tasks_that_wait_for_a_worker_go_elsewhere_when_it_retires() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(1).concurrency(1).start().await.unwrap();
        let act = |name: &str| Submit::new(Act::new(dir.path(), name, End::Ok).gated()).key(7);
        let first = pool.submit(act("first"));
        seen(dir.path(), "first", "started").await;
        let second = pool.submit(act("second"));
        put(dir.path(), "second", "go");
        pool.recycle();
        // The one that retires is not done yet, and nothing else happens in this pool.
        second.await.unwrap();
        put(dir.path(), "first", "go");
        first.await.unwrap();
        pool.stop().await;
        assert_clean(&pool);
    });
}

/// Else a key whose worker is never empty would keep its exclusive task waiting for ever.
#[test]
fn a_worker_is_kept_free_for_an_exclusive_task_of_its_key() {
    common::run(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = builder(1).concurrency(2).start().await.unwrap();
        let act = |name: &str| Act::new(dir.path(), name, End::Ok).gated();
        let first = pool.submit(act("first"));
        seen(dir.path(), "first", "started").await;
        let alone = pool.submit(Submit::new(act("alone")).key(1).exclusive());
        let last = pool.submit(Submit::new(act("last")).priority(Priority::High));
        put(dir.path(), "first", "go");
        seen(dir.path(), "alone", "started").await;
        assert!(!has(dir.path(), "last", "started"));
        put(dir.path(), "alone", "go");
        put(dir.path(), "last", "go");
        for task in [first, alone, last] {
            task.await.unwrap();
        }
        pool.stop().await;
        assert_clean(&pool);
    });
}

#[test]
fn workers_take_turns() {
    common::run(async {
        let pool = builder(3)
            .routing(RoundRobin::default())
            .start()
            .await
            .unwrap();
        let mut slots = Vec::new();
        for _ in 0..9 {
            slots.push(pool.submit(Where).await.unwrap().slot.index());
        }
        assert_eq!(slots, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        pool.stop().await;
        assert_clean(&pool);
    });
}

/// What a routing was asked, and what it was told of the end.
#[derive(Debug, Default)]
struct Seen {
    picked: Vec<(TaskId, Slot)>,
    settled: Vec<(TaskId, Slot)>,
}

struct Last(Arc<Mutex<Seen>>);

impl Routing for Last {
    fn pick(&mut self, task: &TaskMeta, workers: &[WorkerLoad]) -> Option<Slot> {
        assert_eq!((task.name, task.exclusive), ("where", false));
        assert!(
            workers
                .iter()
                .all(|worker| worker.running < worker.capacity)
        );
        let slot = workers.last()?.slot;
        self.0.lock().unwrap().picked.push((task.id, slot));
        Some(slot)
    }

    fn settled(&mut self, task: &TaskMeta, slot: Slot) {
        self.0.lock().unwrap().settled.push((task.id, slot));
    }
}

#[test]
fn a_routing_is_asked_and_told_once_for_each_task() {
    common::run(async {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let routing = Last(Arc::clone(&seen));
        let pool = builder(2)
            .concurrency(2)
            .routing(routing)
            .start()
            .await
            .unwrap();
        let tasks: Vec<_> = (0..20).map(|_| pool.submit(Where)).collect();
        for task in tasks {
            task.await.unwrap();
        }
        // It is not asked about a key.
        keyed(&pool, "key").await;
        pool.stop().await;
        let mut seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen.picked.len(), 20);
        assert_eq!(seen.picked[0].1.index(), 1);
        seen.picked.sort_unstable();
        seen.settled.sort_unstable();
        assert_eq!(seen.picked, seen.settled);
    });
}

enum Bad {
    Panics,
    PanicsWhenSettled,
    PanicsWhenDropped,
    NamesAnother,
    /// The first worker, also when it is not there or has no room.
    NamesTheFirst,
    /// Has a handle of the pool when it panics.
    PanicsWithHandle(Arc<Mutex<Option<TaskHandle<Where>>>>),
    /// The pool that it is the routing of.
    Uses(Arc<Mutex<Option<Pool>>>),
}

struct Misbehaves(Bad, Arc<AtomicU32>);

impl Routing for Misbehaves {
    fn pick(&mut self, _: &TaskMeta, workers: &[WorkerLoad]) -> Option<Slot> {
        self.1.fetch_add(1, Ordering::Relaxed);
        match &self.0 {
            Bad::Panics => panic!("as told"),
            Bad::NamesAnother | Bad::PanicsWhenDropped => {
                // Full by now, or not there.
                let mut none = workers.iter().map(|worker| worker.slot);
                let named: Slot = serde_json::from_value(9.into()).unwrap();
                assert!(none.all(|slot| slot != named));
                Some(named)
            }
            Bad::Uses(pool) => {
                let pool = pool.lock().unwrap().clone();
                if let Some(pool) = pool {
                    drop(pool.submit(Where));
                }
                Some(workers[0].slot)
            }
            Bad::NamesTheFirst => Some(serde_json::from_value(0.into()).unwrap()),
            Bad::PanicsWithHandle(handle) => {
                let handle = handle.lock().unwrap().take();
                assert!(handle.is_none(), "as told");
                Some(workers[0].slot)
            }
            Bad::PanicsWhenSettled => Some(workers[0].slot),
        }
    }

    fn settled(&mut self, _: &TaskMeta, _: Slot) {
        if let Bad::PanicsWhenSettled = self.0 {
            panic!("as told");
        }
    }
}

impl Drop for Misbehaves {
    fn drop(&mut self) {
        if let Bad::PanicsWhenDropped = self.0 {
            panic!("as told");
        }
    }
}

async fn replaced(bad: Bad, reason: &str) {
    let own = match &bad {
        Bad::Uses(own) => Some(Arc::clone(own)),
        _ => None,
    };
    let kept = match &bad {
        Bad::PanicsWithHandle(kept) => Some(Arc::clone(kept)),
        _ => None,
    };
    let calls = Arc::new(AtomicU32::new(0));
    let routing = Misbehaves(bad, Arc::clone(&calls));
    let pool = builder(2).routing(routing).start().await.unwrap();
    if let Some(own) = own {
        *own.lock().unwrap() = Some(pool.clone());
    }
    let mut events = events(&pool).await;
    if let Some(kept) = kept {
        let handle = pool.submit(Where);
        *kept.lock().unwrap() = Some(handle);
    }
    let many: Vec<_> = (0..100).map(|_| pool.submit(Where)).collect();
    for task in many {
        task.await.unwrap();
    }
    let said = event(&mut events, |event| match event {
        PoolEvent::RoutingReplaced { reason } => Some(reason.clone()),
        _ => None,
    })
    .await;
    assert!(said.contains(reason), "{said}");
    let calls_before = calls.load(Ordering::Relaxed);
    pool.submit(Where).await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), calls_before, "asked again");
    pool.stop().await;
    assert_clean(&pool);
    while let Ok(event) = events.try_recv() {
        assert!(
            !matches!(event, PoolEvent::RoutingReplaced { .. }),
            "said twice"
        );
        assert!(!matches!(event, PoolEvent::WorkerLost { .. }), "{event:?}");
    }
}

#[test]
fn a_routing_that_does_what_it_must_not_is_replaced_and_the_pool_lives() {
    common::run(async {
        replaced(Bad::Panics, "it panicked: as told").await;
        let kept = Arc::new(Mutex::new(None));
        replaced(Bad::PanicsWithHandle(kept), "it panicked: as told").await;
        replaced(Bad::PanicsWhenSettled, "it panicked: as told").await;
        replaced(
            Bad::NamesAnother,
            "it named slot 9, which it was not offered",
        )
        .await;
        replaced(
            Bad::NamesTheFirst,
            "it named slot 0, which it was not offered",
        )
        .await;
        replaced(Bad::PanicsWhenDropped, "it named slot 9").await;
        let own = Arc::new(Mutex::new(None));
        replaced(Bad::Uses(Arc::clone(&own)), "a routing has used a pool").await;
        drop(own.lock().unwrap().take());
    });
}
