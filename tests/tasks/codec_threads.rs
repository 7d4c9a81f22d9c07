//! On whose thread values are encoded and decoded: the callers', so that the pool's has time for its workers.
#![cfg(unix)]

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    ops::Range,
    sync::Mutex,
    thread::{self, ThreadId},
};

use actix_multiprocess::{
    NoError, Pool, Submit, Task, TaskContext, WorkerSpec, testing::assert_clean, worker_entry,
};
use futures_util::{StreamExt as _, future::join_all};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::common::run;

worker_entry!(WorkerSpec::new().task::<Ask>());

/// Notes in this process on which threads it is encoded and decoded.
#[derive(Debug, PartialEq)]
struct Noted(u64);

/// An answer is this far from what asked for it.
const ANSWER: u64 = 1_000_000;

#[derive(Debug, Default, Clone)]
struct Threads {
    encoded: HashSet<ThreadId>,
    decoded: HashSet<ThreadId>,
}

/// By value; no two tests have the same.
static THREADS: Mutex<Option<HashMap<u64, Threads>>> = Mutex::new(None);

fn note(value: u64, note: impl FnOnce(&mut Threads)) {
    let mut all = THREADS.lock().unwrap();
    note(all.get_or_insert_default().entry(value).or_default());
}

fn encoded(values: Range<u64>) -> HashSet<ThreadId> {
    let all = THREADS.lock().unwrap();
    let of = |value| all.as_ref().unwrap()[&value].encoded.clone();
    values.flat_map(of).collect()
}

/// The answers to these.
fn decoded(values: Range<u64>) -> HashSet<ThreadId> {
    let all = THREADS.lock().unwrap();
    let of = |value| all.as_ref().unwrap()[&(value + ANSWER)].decoded.clone();
    values.flat_map(of).collect()
}

impl Serialize for Noted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        note(self.0, |threads| {
            threads.encoded.insert(thread::current().id());
        });
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Noted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u64::deserialize(deserializer)?;
        note(value, |threads| {
            threads.decoded.insert(thread::current().id());
        });
        Ok(Self(value))
    }
}

#[derive(Serialize, Deserialize)]
struct Ask(Noted);

impl Task for Ask {
    const NAME: &'static str = "ask";
    const IDEMPOTENT: bool = true;
    type Output = Noted;
    type Error = NoError;
    type State = ();

    async fn run(self, _: TaskContext<()>) -> Result<Noted, NoError> {
        Ok(Noted(self.0.0 + ANSWER))
    }
}

fn ask(value: u64) -> Ask {
    Ask(Noted(value))
}

/// Does something on a thread of its own, which is that of no pool. Returns which.
async fn elsewhere<T: Send + 'static, F: Future<Output = T>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> (T, ThreadId) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let result = runtime.block_on(work());
        let _ = sender.send((result, thread::current().id()));
    });
    let result = receiver.await.unwrap();
    thread.join().unwrap();
    result
}

/// A caller, somebody who waits for its tasks, and an arbiter for the pool; with threads for sockets there are others.
async fn check(io_arbiters: usize, from: u64) {
    let pool = Pool::builder(workers())
        .processes(2)
        .own_arbiter()
        .io_arbiters(io_arbiters)
        .start()
        .await
        .unwrap();

    // Handles.
    let values = from..from + 200;
    let (asked, submits) = (values.clone(), pool.clone());
    let (handles, caller) = elsewhere(move || async move {
        asked
            .map(|value| submits.submit(ask(value)))
            .collect::<Vec<_>>()
    })
    .await;
    let (answers, waiter) = elsewhere(|| join_all(handles)).await;
    for (value, answer) in values.clone().zip(answers) {
        assert_eq!(answer.unwrap(), Noted(value + ANSWER));
    }
    assert_eq!(encoded(values.clone()), HashSet::from([caller]));
    assert_eq!(decoded(values), HashSet::from([waiter]));

    // A map does both where it is polled.
    let values = from + 1000..from + 2000;
    let map = pool.map(values.clone().map(ask));
    let (answers, waiter) = elsewhere(|| map.collect::<Vec<_>>()).await;
    for (value, answer) in values.clone().zip(answers) {
        assert_eq!(answer.unwrap(), Noted(value + ANSWER));
    }
    assert_eq!(encoded(values.clone()), HashSet::from([waiter]));
    assert_eq!(decoded(values), HashSet::from([waiter]));

    // An actor's answer is a value, so that the actor has to decode it.
    let values = from + 3000..from + 3200;
    let asked = values.clone();
    let (messages, caller) = elsewhere(|| async move {
        asked
            .map(|value| Submit::new(ask(value)))
            .collect::<Vec<_>>()
    })
    .await;
    let answers = messages
        .into_iter()
        .map(|message| pool.addr().send(message));
    for (value, answer) in values.clone().zip(join_all(answers).await) {
        assert_eq!(answer.unwrap().unwrap(), Noted(value + ANSWER));
    }
    assert_eq!(encoded(values.clone()), HashSet::from([caller]));
    let arbiters = decoded(values);
    // Where sockets have threads of their own, those are the pool's arbiters, too.
    assert!((1..=io_arbiters.max(1)).contains(&arbiters.len()));
    assert!(!arbiters.contains(&thread::current().id()) && !arbiters.contains(&caller));

    assert_clean(&pool);
    pool.stop().await;
}

#[test]
fn callers_encode_and_whoever_waits_decodes() {
    run(check(0, 0));
}

#[test]
fn threads_for_sockets_decode_only_for_actors() {
    run(check(2, 100_000));
}
