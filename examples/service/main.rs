//! Thumbnails over HTTP, made in worker processes: a pool inside an actix-web service.
//!
//! ```text
//! cargo run --release --features actix-web --example service         # on 127.0.0.1:8080; --help for more
//! curl --data-binary @photo.jpg http://127.0.0.1:8080/thumbnail > small.png
//! cargo run --features actix-web --example service -- --check        # asks itself, and looks at the answers
//! ```
//!
//! What to look at:
//!
//! - `server.rs`: `?` in a handler. What the pool or the task has to say becomes an answer: 422 for what is no image, 413
//!   for too large a one, 503 with `Retry-After` when the queue is full, 504 when it took too long, 500 when the worker was lost.
//! - `thumbnail.rs`: the task, how it ends early when nobody waits for it, and why it does not run twice.
//! - `check.rs`: what `--check` asks, and what the answers have to be.
//!
//! # A client that hangs up
//!
//! When actix-web drops a handler, it drops the `TaskHandle` in it, and that cancels the task in its worker. It drops one
//! when the connection ends; by default, though, not when the client has merely closed its own direction (a FIN), because
//! HTTP/1 lets a client do so and still wait for its answer (`h1_allow_half_closed`, on by default). Hardly any client
//! does; all that hang up look the same, until an answer is written to them and comes back as a reset. By then the work is
//! done. So half-closed connections are not allowed here: whoever closes is gone. A reset ends a connection either way.
//!
//! # The order of stopping
//!
//! SIGTERM or SIGINT, to this process or to its group:
//!
//! 1. Workers leave signals to their host, and actix-web's own handlers are off (`disable_signals`): on SIGTERM they would
//!    stop the server and nobody the pool, and on SIGINT they would drop every request.
//! 2. The server stops first, gracefully. Its socket closes, so that new connections are refused, and idle ones are closed.
//!    Requests that have begun go on, also those whose image is still on its way: the pool is open and takes them.
//!    Drained first, it would answer those with 503. After 5 s (`shutdown_timeout`) the rest is dropped, which cancels
//!    its tasks.
//! 3. The pool stops. Nobody waits for anything any more, so this only ends the workers: at once, or within 2 s for those
//!    that do not want to (1 s each: `cancel_grace`, `grace`), and 2 s more that a pool allows itself at most.
//! 4. The process ends with status 0, at the latest 9 s after the signal.

mod args;
mod check;
mod sample;
mod server;
mod thumbnail;

use std::{error::Error, process::ExitCode, time::Duration};

use actix_multiprocess::{Pool, WorkerSpec, Workers};

use crate::{
    args::{Args, Command},
    thumbnail::{Settings, Thumbnail},
};

#[actix_web::main]
async fn main() -> ExitCode {
    // A worker process runs the same program, and its `init` never returns: nothing may come before it.
    let workers = WorkerSpec::new()
        .state_with(|settings: Settings| async move { Ok(settings) })
        .task::<Thumbnail>()
        .init();

    let done = match args::parse(std::env::args().skip(1)) {
        Ok(Command::Serve(args)) => serve(workers, args).await,
        Ok(Command::Help) => {
            println!("{}", args::USAGE);
            Ok(())
        }
        Err(message) => Err(format!("{message}\n{}", args::USAGE).into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("service: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(workers: Workers<Settings>, args: Args) -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder(workers).init_args(args.settings);
    let pool = match args.processes {
        Some(count) => pool.processes(count),
        None => pool,
    };
    let pool = pool
        .concurrency(args.concurrency)
        // Whoever is far behind in a queue has gone before it is his turn: better to tell him at once.
        .queue_limit(args.queue_limit)
        // And nobody waits for longer than this for an image: 504.
        .timeout(args.timeout)
        .grace(Duration::from_secs(1))
        .start()
        .await?;

    // Before anybody knows that the service is there, and could want it to stop.
    let signal = server::signal()?;
    let (server, address) = server::bind(&pool, &args.listen)?;
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    println!("listening on http://{address}");

    let checked = if args.check {
        check::run(&format!("http://{address}")).await
    } else {
        signal.await;
        Ok(())
    };

    // The order is explained above.
    handle.stop(true).await;
    let report = pool.stop().await;
    serving.await??;
    let counts = pool.status().await.counts;
    println!(
        "stopped: {} accepted, {} done, {} failed, {} cancelled, {} timed out, {} lost; {} workers killed",
        counts.accepted,
        counts.done,
        counts.failed,
        counts.cancelled,
        counts.timed_out,
        counts.lost,
        report.killed
    );
    checked
}
