//! A service with two pools, which restarts the one that gives up: `cargo run --example supervision_tree`; with
//! `-- incurable` what made it give up does not go away.
//!
//! What to look at: a pool restarts its workers by itself. When that is of no use (here their state cannot be made, as
//! with a database that is down), it tells its owner, because it was built with `OnExhausted::Escalate`: it settles what
//! it has, ends, and says so in a `PoolEvent`. The owner, an actor, knows more: here it waits, gives that pool a new
//! beginning and leaves the other alone, and after three of them it gives up itself. The two pools have two specs with
//! states of their own. The program checks what its callers see; if that is not as it should be, the status is 1.
use std::{error::Error, fs, path::PathBuf, process::ExitCode, rc::Rc, time::Duration};

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture,
    clock::sleep, fut::ActorFutureExt,
};
use actix_multiprocess::{
    CloseReason, NoError, OnExhausted, Pool, PoolEvent, RemoteError, Restart, StartError,
    Subscribe, Task, TaskContext, WorkerSpec, Workers,
};
use serde::{Deserialize, Serialize};

/// Looks a word up in what its workers have read when they started.
#[derive(Serialize, Deserialize)]
struct Translate(String);

impl Task for Translate {
    const NAME: &'static str = "translate";
    type Output = Option<String>;
    type Error = NoError;
    type State = Rc<Vec<(String, String)>>;

    async fn run(self, cx: TaskContext<Self::State>) -> Result<Option<String>, NoError> {
        let mut words = cx.state().iter();
        Ok(words
            .find(|(word, _)| *word == self.0)
            .map(|(_, translation)| translation.clone()))
    }
}

/// Adds up, from where its workers begin.
#[derive(Serialize, Deserialize)]
struct Sum(u64);

impl Task for Sum {
    const NAME: &'static str = "sum";
    type Output = (u64, u32);
    type Error = NoError;
    type State = Rc<u64>;

    async fn run(self, cx: TaskContext<Rc<u64>>) -> Result<(u64, u32), NoError> {
        Ok((**cx.state() + self.0, cx.worker().pid))
    }
}

async fn read(file: PathBuf) -> Result<Vec<(String, String)>, RemoteError> {
    let text = fs::read_to_string(file)?;
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect())
}

/// Owns both pools.
struct Service {
    dictionary: Workers<PathBuf>,
    file: PathBuf,
    words: Pool,
    sums: Pool,
    beginnings: u32,
}

async fn start_words(dictionary: Workers<PathBuf>, file: PathBuf) -> Result<Pool, StartError> {
    let (soon, later) = (Duration::from_millis(10), Duration::from_millis(50));
    Pool::builder(dictionary)
        .init_args(file)
        .processes(1)
        .restart(Restart::default().budget(3).backoff(soon, later))
        .on_exhausted(OnExhausted::Escalate)
        .start()
        .await
}

impl Actor for Service {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.words
            .addr()
            .do_send(Subscribe(ctx.address().recipient()));
    }
}

impl Handler<PoolEvent> for Service {
    type Result = ();

    fn handle(&mut self, event: PoolEvent, ctx: &mut Context<Self>) {
        if let PoolEvent::Closed {
            reason: CloseReason::Escalated,
        } = event
        {
            println!("the pool of words has given up");
            self.begin_anew(ctx);
        }
    }
}

impl Service {
    fn begin_anew(&mut self, ctx: &mut Context<Self>) {
        self.beginnings += 1;
        if self.beginnings > 3 {
            println!("so does the service");
            ctx.stop();
            return;
        }
        let (dictionary, file) = (self.dictionary.clone(), self.file.clone());
        let begin = async move {
            sleep(Duration::from_millis(100)).await;
            start_words(dictionary, file).await
        };
        ctx.spawn(
            begin
                .into_actor(self)
                .map(|started, service, ctx| match started {
                    Ok(words) => {
                        println!("the pool of words is there again");
                        words.addr().do_send(Subscribe(ctx.address().recipient()));
                        service.words = words;
                    }
                    Err(error) => {
                        println!("not yet: {error}");
                        service.begin_anew(ctx);
                    }
                }),
        );
    }
}

/// Asks for a translation, and for a sum with the process that made it.
#[derive(Message)]
#[rtype(result = "(Option<String>, Option<u32>)")]
struct Ask;

impl Handler<Ask> for Service {
    type Result = ResponseFuture<(Option<String>, Option<u32>)>;

    fn handle(&mut self, _: Ask, _: &mut Context<Self>) -> Self::Result {
        let word = self.words.submit(Translate("one".to_owned()));
        let sum = self.sums.submit(Sum(2));
        Box::pin(async move {
            let sum = sum.await.ok().filter(|(sum, _)| *sum == 42);
            (word.await.ok().flatten(), sum.map(|(_, pid)| pid))
        })
    }
}

/// Ends the worker of the pool of words, as a crash would.
#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Crash> for Service {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> Self::Result {
        let words = self.words.clone();
        Box::pin(async move {
            for slot in words.status().await.slots {
                words.kill(slot.slot).await;
            }
        })
    }
}

/// Asks again until there is a translation, as long as the service lives.
async fn translated(service: &Addr<Service>) -> Result<(String, Option<u32>), String> {
    loop {
        match service.send(Ask).await {
            Ok((Some(word), sums)) => return Ok((word, sums)),
            Ok((None, None)) => return Err("the other pool was harmed".to_owned()),
            Ok((None, Some(_))) => sleep(Duration::from_millis(10)).await,
            Err(_) => return Err("the service has given up".to_owned()),
        }
    }
}

async fn check(service: &Addr<Service>, file: PathBuf, incurable: bool) -> Result<(), String> {
    let (_, calculator) = translated(service).await?;
    fs::remove_file(&file).map_err(|error| error.to_string())?;
    service
        .send(Crash)
        .await
        .map_err(|error| error.to_string())?;
    // Until it is there again, the other pool answers as if nothing were.
    while let Ok((Some(_), _)) = service.send(Ask).await {
        sleep(Duration::from_millis(10)).await;
    }
    if !incurable {
        fs::write(&file, "one uno\n").map_err(|error| error.to_string())?;
    }
    match translated(service).await? {
        (word, _) if word != "uno" => Err(format!("an old translation: {word}")),
        (_, same) if same != calculator => Err("the other pool was restarted, too".to_owned()),
        _ => Ok(()),
    }
}

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (dictionary, calculators) = Workers::init((
        WorkerSpec::named("dictionary")
            .state_with(|file: PathBuf| async move { read(file).await })
            .task::<Translate>(),
        WorkerSpec::named("calculators")
            .state(|| async { Ok(40_u64) })
            .task::<Sum>(),
    ));
    let incurable = std::env::args().nth(1).as_deref() == Some("incurable");
    let file = std::env::temp_dir().join(format!("words-{}", std::process::id()));
    fs::write(&file, "one eins\n")?;
    let service = Service {
        words: start_words(dictionary.clone(), file.clone()).await?,
        sums: Pool::builder(calculators).processes(1).start().await?,
        dictionary,
        file: file.clone(),
        beginnings: 0,
    }
    .start();
    let checked = check(&service, file.clone(), incurable).await;
    // It is not there where it could not be made again.
    let _ = fs::remove_file(file);
    match checked {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(problem) => {
            eprintln!("{problem}");
            Ok(ExitCode::FAILURE)
        }
    }
}
