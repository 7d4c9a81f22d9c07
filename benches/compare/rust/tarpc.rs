//! The workloads on tarpc, over a socket to each of two processes. It is no pool: the pool is these few lines.

mod common;

use std::{
    future::Future,
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    process::{Child, Command},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use common::{
    AT_ONCE, Args, Arrivals, Crash, OF_SETS, Outcome, PATIENCE, RoundTrips, SETS, Sizing, WORKERS,
    cannot, say,
};
use futures_util::{StreamExt, future::join_all};
use serde::{Deserialize, Serialize};
use tarpc::{client, context, server, server::Channel};
use tokio::{
    net::UnixStream,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// As many tasks of a worker's at once as in the pools with event loops in their workers.
const CONCURRENCY: usize = 16;

#[tarpc::service]
trait Work {
    async fn noop(number: u64) -> u64;
    async fn echo(bytes: Bytes) -> Bytes;
    async fn nap(time: Duration) -> u32;
    async fn burn(time: Duration);
    async fn sleeps(sleeps: Vec<i64>);
}

#[derive(Clone)]
struct Worker;

impl Work for Worker {
    async fn noop(self, _: context::Context, number: u64) -> u64 {
        number
    }
    async fn echo(self, _: context::Context, bytes: Bytes) -> Bytes {
        bytes
    }
    async fn nap(self, _: context::Context, time: Duration) -> u32 {
        sleep(time).await;
        std::process::id()
    }
    async fn burn(self, _: context::Context, time: Duration) {
        common::burn(time);
    }
    async fn sleeps(self, _: context::Context, sleeps: Vec<i64>) {
        for millis in sleeps {
            let time = Duration::from_millis(millis.unsigned_abs());
            match millis {
                0 => tokio::task::yield_now().await,
                1.. => sleep(time).await,
                ..0 => std::thread::sleep(time),
            }
        }
    }
}

/// The fastest of the formats that tarpc was seen with.
#[derive(Default)]
struct Postcard;

impl<T: Serialize> tokio_serde::Serializer<T> for Postcard {
    type Error = io::Error;
    fn serialize(self: Pin<&mut Self>, item: &T) -> io::Result<Bytes> {
        let bytes = postcard::to_stdvec(item).map_err(io::Error::other)?;
        Ok(bytes.into())
    }
}

impl<T: for<'a> Deserialize<'a>> tokio_serde::Deserializer<T> for Postcard {
    type Error = io::Error;
    fn deserialize(self: Pin<&mut Self>, source: &BytesMut) -> io::Result<T> {
        postcard::from_bytes(source).map_err(io::Error::other)
    }
}

fn framed(stream: UnixStream) -> Framed<UnixStream, LengthDelimitedCodec> {
    LengthDelimitedCodec::builder()
        .max_frame_length(64 << 20)
        .new_framed(stream)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    if std::env::args().nth(1).as_deref() == Some("--worker") {
        return work().await;
    }
    let args = Args::parse()?;
    match args.workload.as_str() {
        "start" => {
            let created = Instant::now();
            let pool = Workers::start(WORKERS)?;
            pool.clients[0].noop(context(), 1).await?;
            return common::say_start(created);
        }
        "workers" => {
            for count in args.sizes() {
                let pool = ready(count).await?;
                let rate = outstanding(&pool, args.seconds(), 1024).await;
                say(&format!("workers/{count}"), 1e6 / rate);
            }
            return Ok(());
        }
        "sets" => return sets().await,
        "map" => {
            cannot("map", "tarpc: has no map, being a library for remote calls");
            return Ok(());
        }
        _ => {}
    }
    let pool = ready(WORKERS).await?;
    match args.workload.as_str() {
        "roundtrip" => {
            let mut times = RoundTrips::new(args.seconds());
            while times.go_on() {
                let began = Instant::now();
                pool.clients[0].noop(context(), 1).await?;
                times.add(began);
            }
            times.say();
        }
        "outstanding" => {
            for window in args.sizes() {
                let rate = outstanding(&pool, args.seconds(), window).await;
                say(&format!("outstanding/{window}"), rate);
            }
        }
        "echo" => {
            let sizes: Vec<_> = args.sizes().collect();
            for pair in sizes.chunks_exact(2) {
                let (size, window) = (pair[0], pair[1]);
                let bytes = Bytes::from(vec![7; size]);
                let rate = rate(&pool, args.seconds(), window, async |client| {
                    let back = client.echo(context(), bytes.clone()).await;
                    assert_eq!(back.map(|back| back.len()).ok(), Some(size));
                })
                .await;
                say(&format!("echo/{size}"), 2.0 * size as f64 * rate / 1e6);
            }
        }
        "queued" => {
            for tasks in args.sizes() {
                let began = Instant::now();
                let calls: Vec<_> = (0..tasks as u64)
                    .map(|number| {
                        let client = pool.client(number as usize);
                        tokio::spawn(async move { client.noop(context(), number).await })
                    })
                    .collect();
                for call in calls {
                    call.await??;
                }
                let micros = began.elapsed().as_secs_f64() * 1e6 / tasks as f64;
                say(&format!("queued/{tasks}"), micros);
            }
        }
        "idle" => {
            // Not on the runtime's thread: whatever has to run while the pool is idle may.
            let pids: Vec<_> = pool.children.iter().map(Child::id).collect();
            tokio::task::spawn_blocking(|| common::idle(pids).map_err(|error| error.to_string()))
                .await??;
        }
        "cpu" => {
            let (tasks, time) = args.tasks()?;
            let began = Instant::now();
            let calls = (0..tasks).map(|number| pool.client(number));
            let calls = calls.map(async |client| client.burn(context(), time).await);
            for end in join_all(calls).await {
                end?;
            }
            say("cpu", began.elapsed().as_secs_f64());
        }
        "mix" => mix(&pool, Arrivals::new(&args)?).await?,
        "crash" => {
            let (tasks, nap) = args.tasks()?;
            crash(&pool, tasks, nap).await?;
        }
        other => return Err(format!("no workload {other}").into()),
    }
    Ok(())
}

/// What a worker does: its socket is its standard input.
async fn work() -> Outcome {
    let stream = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    let stream = framed(UnixStream::from_std(stream)?);
    server::BaseChannel::with_defaults(tarpc::serde_transport::new(stream, Postcard))
        .execute(Worker.serve())
        .for_each(async |call| drop(tokio::spawn(call)))
        .await;
    Ok(())
}

struct Workers {
    clients: Vec<WorkClient>,
    children: Vec<Child>,
}

impl Workers {
    fn start(count: usize) -> Outcome<Self> {
        let mut workers = Self {
            clients: Vec::new(),
            children: Vec::new(),
        };
        for _ in 0..count {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--worker").stdin(OwnedFd::from(theirs));
            workers.children.push(command.spawn()?);
            let stream = framed(UnixStream::from_std(ours)?);
            let transport = tarpc::serde_transport::new(stream, Postcard);
            let client = WorkClient::new(client::Config::default(), transport);
            workers.clients.push(client.spawn());
        }
        Ok(workers)
    }

    fn client(&self, number: usize) -> WorkClient {
        self.clients[number % self.clients.len()].clone()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn ready(count: usize) -> Outcome<Workers> {
    let workers = Workers::start(count)?;
    for client in &workers.clients {
        client.noop(context(), 1).await?;
    }
    Ok(workers)
}

/// Its own deadline is shorter than some of the workloads.
fn context() -> context::Context {
    let mut context = context::current();
    context.deadline = Instant::now() + Duration::from_secs(600);
    context
}

async fn outstanding(pool: &Workers, seconds: f64, window: usize) -> f64 {
    rate(pool, seconds, window, async |client| {
        client.noop(context(), 1).await.expect("a result");
    })
    .await
}

/// Calls a second of so many callers, each with one call at a time.
async fn rate<F: Future<Output = ()>>(
    pool: &Workers,
    seconds: f64,
    window: usize,
    call: impl Fn(WorkClient) -> F,
) -> f64 {
    let mut sizing = Sizing::new(seconds, window.max(100));
    while let Some(calls) = sizing.begin() {
        let left = std::cell::Cell::new(calls);
        join_all((0..window).map(async |number| {
            while left.get() > 0 {
                left.set(left.get() - 1);
                call(pool.client(number)).await;
            }
        }))
        .await;
        sizing.end();
    }
    sizing.rate()
}

async fn mix(pool: &Workers, mut arrivals: Arrivals) -> Outcome {
    let (mut noops, mut computing, mut number) = (Vec::new(), Vec::new(), 0);
    while arrivals.go_on() {
        while let Some(is_noop) = arrivals.next() {
            let (client, began, each) = (pool.client(number), Instant::now(), arrivals.each);
            number += 1;
            if is_noop {
                noops.push(tokio::spawn(async move {
                    let end = client.noop(context(), 1).await;
                    end.map(|_| began.elapsed().as_secs_f64() * 1e3)
                }));
            } else {
                computing.push(tokio::spawn(
                    async move { client.burn(context(), each).await },
                ));
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    let mut millis = Vec::new();
    for noop in noops {
        millis.push(noop.await??);
    }
    for computed in computing {
        computed.await??;
    }
    common::say_mix(millis);
    Ok(())
}

async fn sets() -> Outcome {
    let began = Instant::now();
    for (sleeps, scale) in SETS {
        for at_once in AT_ONCE {
            let pool = Workers::start(OF_SETS)?;
            let rooms: Vec<_> = (0..OF_SETS).map(|_| Semaphore::new(at_once)).collect();
            let calls = (0..scale * at_once).map(async |number| {
                let _room = rooms[number % OF_SETS].acquire().await;
                let client = pool.client(number);
                client.sleeps(context(), sleeps.to_vec()).await
            });
            for end in join_all(calls).await {
                end?;
            }
        }
    }
    say("sets", began.elapsed().as_secs_f64());
    Ok(())
}

async fn crash(pool: &Workers, tasks: usize, nap: Duration) -> Outcome {
    let rooms: Vec<_> = pool
        .clients
        .iter()
        .map(|_| Arc::new(Semaphore::new(CONCURRENCY)))
        .collect();
    let calls: Vec<_> = (0..tasks)
        .map(|number| {
            let (client, room) = (pool.client(number), rooms[number % rooms.len()].clone());
            tokio::spawn(async move {
                let _room = room.acquire().await;
                timeout(PATIENCE, client.nap(context(), nap)).await
            })
        })
        .collect();
    sleep(nap / 2).await;
    common::kill(pool.children[0].id())?;
    let mut crash = Crash::default();
    for call in calls {
        match call.await? {
            Ok(Ok(_)) => crash.result(Duration::ZERO, false),
            Ok(Err(_)) => crash.error(),
            Err(_) => crash.unanswered(),
        }
    }
    let why = "tarpc: starts no processes; all calls to the one that died fail from then on";
    crash.say("crash", nap, why);
    Ok(())
}
