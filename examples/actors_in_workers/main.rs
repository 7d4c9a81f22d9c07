//! Tasks that talk to an actor in their worker: `cargo run --example actors_in_workers`, or `-- 4` for four workers.
//!
//! What to look at: a worker is an actix `System`, so its state can be the address of an actor. The actor is started once,
//! before the first task, and outlives every task: what it has looked up for one, the next finds there. Tasks of a worker
//! run side by side and need no lock, because the actor handles one message after the other. Another worker has an actor
//! of its own, which knows nothing of this one. `check.rs` says whether that is what came back; if not, the status is 1.

mod check;

use std::{collections::HashMap, error::Error, process::ExitCode, rc::Rc, time::Duration};

use actix::{
    Actor, Addr, AtomicResponse, Context, Handler, Message, WrapFuture, clock::sleep,
    fut::ActorFutureExt,
};
use actix_multiprocess::{Pool, RemoteError, Task, TaskContext, WorkerSpec};
use serde::{Deserialize, Serialize};

use crate::check::{Answer, check};

/// More tasks than keys, so that every worker is asked for a key again.
const TASKS: u64 = 400;
const KEYS: u64 = 10;

/// Remembers what it once had to look up.
#[derive(Default)]
struct Cache {
    values: HashMap<u64, u64>,
}

impl Actor for Cache {
    type Context = Context<Self>;
}

/// Asks for the value of a key. Answers it, and whether it had to be looked up for this.
#[derive(Message)]
#[rtype(result = "(u64, bool)")]
struct Get(u64);

impl Handler<Get> for Cache {
    // It waits for one value before it handles the next message, so none is looked up twice. The tasks go on meanwhile.
    type Result = AtomicResponse<Self, (u64, bool)>;

    fn handle(&mut self, Get(key): Get, _: &mut Context<Self>) -> Self::Result {
        let known = self.values.get(&key).copied();
        let answer = async move {
            match known {
                Some(value) => (value, false),
                None => (look_up(key).await, true),
            }
        };
        AtomicResponse::new(Box::pin(answer.into_actor(self).map(
            move |answer, cache, _| {
                cache.values.insert(key, answer.0);
                answer
            },
        )))
    }
}

/// What would be a query, or a page to fetch.
async fn look_up(key: u64) -> u64 {
    sleep(Duration::from_millis(2)).await;
    key * key
}

#[derive(Serialize, Deserialize)]
struct Square(u64);

impl Task for Square {
    const NAME: &'static str = "square";
    type Output = Answer;
    type Error = RemoteError;
    type State = Rc<Addr<Cache>>;

    async fn run(self, cx: TaskContext<Rc<Addr<Cache>>>) -> Result<Answer, RemoteError> {
        let Self(key) = self;
        // Fails if the actor has ended: `?` makes that the task's error.
        let (value, looked_up) = cx.state().send(Get(key)).await?;
        let pid = cx.worker().pid;
        Ok(Answer {
            key,
            value,
            looked_up,
            pid,
        })
    }
}

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let workers = WorkerSpec::new()
        .state(|| async { Ok(Cache::default().start()) })
        .task::<Square>()
        .init();

    let processes = std::env::args().nth(1).map_or(Ok(2), |text| text.parse())?;
    let pool = Pool::builder(workers)
        .processes(processes)
        .wait_all()
        .start()
        .await?;
    let squares = (0..TASKS).map(|task| Square(task % KEYS));
    let answers = pool.map(squares).await?;
    pool.stop().await;

    match check(&answers) {
        Ok(summary) => {
            println!("{summary}");
            Ok(ExitCode::SUCCESS)
        }
        Err(problem) => {
            eprintln!("{problem}");
            Ok(ExitCode::FAILURE)
        }
    }
}
