//! What callers get back: values as a call would give them, errors with all that is known of them.
#![cfg(target_os = "linux")]

use std::{num::ParseIntError, rc::Rc};

use actix_multiprocess::{
    NoError, Pool, Process, Rejected, RemoteError, Submit, Task, TaskContext, TaskError,
    WorkerSpec, testing::assert_clean, worker_entry,
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::process_support::{run, task};

fn double(value: u32) -> u32 {
    value * 2
}

task! {
    Double { value: u32 } -> u32, |this, _cx| double(this.value)
}

task! {
    DoubleAll { values: Vec<u32> } -> Vec<u32>, |this, _cx| {
        this.values.into_iter().map(double).collect()
    }
}

task! {
    /// As a function of three arguments.
    Fill { what: char, times: usize, end: String } -> String, |this, _cx| {
        this.what.to_string().repeat(this.times) + &this.end
    }
}

task! {
    Parse { text: String } -> u32, |this, _cx| this.text.parse().map_err(BadWidth)?
}

#[derive(Debug)]
struct BadWidth(ParseIntError);

impl std::fmt::Display for BadWidth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the width is no number")
    }
}

impl std::error::Error for BadWidth {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// What the initializer made of its argument.
#[derive(Serialize, Deserialize)]
struct Given;

impl Task for Given {
    const NAME: &'static str = "given";
    type Output = u32;
    type Error = NoError;
    type State = Rc<u32>;

    async fn run(self, cx: TaskContext<Rc<u32>>) -> Result<u32, NoError> {
        Ok(**cx.state())
    }
}

worker_entry!(
    WorkerSpec::new()
        .state_with(|number: u32| async move { Ok(number) })
        .task::<Double>()
        .task::<DoubleAll>()
        .task::<Fill>()
        .task::<Parse>()
        .task::<Given>(),
    u32
);

async fn start() -> Pool {
    let pool = Pool::builder(workers())
        .init_args(10)
        .processes(2)
        .wait_all();
    pool.start().await.expect("a pool")
}

#[test]
fn one_task_and_a_map_give_what_calls_would() {
    run(async {
        let pool = start().await;
        assert_eq!(pool.status().await.slots.len(), 2);
        let value = pool.submit(Double { value: 21 }).await;
        assert_eq!(value.expect("a value"), 42);
        let values = pool.map((0..100).map(|value| Double { value })).await;
        let expected: Vec<u32> = (0..100).map(double).collect();
        assert_eq!(values.expect("values"), expected);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_map_is_awaited_whole_or_taken_one_by_one() {
    run(async {
        let pool = start().await;
        let doubles = || (0..10).map(|value| Double { value: 2 * value });
        let expected: Vec<u32> = (0..10).map(|value| 4 * value).collect();
        assert_eq!(pool.map(doubles()).await.expect("values"), expected);
        let mut taken = Vec::new();
        let mut map = pool.map(doubles());
        while let Some(value) = map.next().await {
            taken.push(value.expect("a value"));
        }
        assert_eq!(taken, expected);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn several_arguments_are_the_fields_of_a_task() {
    run(async {
        let pool = start().await;
        let fill = |what, times| Fill {
            what,
            times,
            end: "!".to_owned(),
        };
        let filled = pool.map([fill('a', 3), fill('b', 0), fill('c', 1)]).await;
        assert_eq!(filled.expect("texts"), ["aaa!", "!", "c!"]);
        // And a list of them is a field, too.
        let values: Vec<u32> = (0..10).collect();
        let expected: Vec<u32> = (0..10).map(double).collect();
        let lists = pool
            .map((0..5).map(|_| DoubleAll {
                values: values.clone(),
            }))
            .await;
        assert_eq!(lists.expect("lists"), vec![expected; 5]);
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn an_error_comes_with_its_type_text_causes_place_worker_and_task() {
    run(async {
        let pool = start().await;
        let text = "wide".to_owned();
        let parsing = pool.submit(Parse { text });
        let id = parsing.id();
        let error = match parsing.await {
            Err(TaskError::Failed(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error.kind(), "tasks::results::BadWidth");
        assert_eq!(error.message(), "the width is no number");
        assert!(error.chain().eq(["invalid digit found in string"]));
        let all = format!("{error:#}");
        assert_eq!(all, "the width is no number: invalid digit found in string");
        let place = error.location().expect("a place");
        assert!(place.starts_with("tests/tasks/results.rs:"), "{place}");
        assert!(id.is_some() && error.task() == id, "{:?}", error.task());
        let pids = pool.status().await.slots.into_iter().map(|slot| slot.pid);
        let pid = error.worker().map(|worker| worker.pid);
        assert!(pids.into_iter().any(|of_slot| of_slot == pid));
        assert_clean(&pool);
        pool.stop().await;
    });
}

#[test]
fn a_closed_pool_refuses_submits_maps_and_messages() {
    run(async {
        let pool = start().await;
        pool.stop().await;
        let closed = |error: &TaskError<RemoteError>| {
            matches!(error, TaskError::Rejected(Rejected::Closed)) && error.never_ran()
        };
        let double = || Double { value: 1 };
        let error = pool.submit(double()).await.expect_err("a submit");
        assert!(closed(&error), "{error:?}");
        let failed = pool.map([double(), double()]).await.expect_err("a map");
        assert!(failed.index == 0 && closed(&failed.error), "{failed:?}");
        let mut map = pool.map([double()]);
        let error = map.next().await.expect("an outcome").expect_err("an item");
        assert!(closed(&error), "{error:?}");
        let answer = pool.addr().send(Submit::new(double())).await;
        // The actor has gone, or says so.
        assert!(answer.is_err() || answer.is_ok_and(|outcome| outcome.is_err_and(|e| closed(&e))));
        assert_clean(&pool);
    });
}

#[test]
fn the_initializers_argument_reaches_the_tasks_of_pools_and_processes() {
    run(async {
        let pool = start().await;
        assert_eq!(pool.submit(Given).await.expect("a number"), 10);
        pool.stop().await;
        let process = Process::builder(&workers()).init_args(11).spawn(Given);
        assert_eq!(process.expect("a process").await.expect("a number"), 11);
    });
}
