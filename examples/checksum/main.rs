//! SHA-256 of every regular file below some folders, as `sha256sum` prints it, hashed in worker processes.
//!
//! ```text
//! cargo run --release --example checksum                             # this repository, without target and .git
//! cargo run --release --example checksum -- DIR.. > SUMS             # then: sha256sum --check --quiet SUMS
//! cargo run --release --example checksum -- --kill-every 5 DIR       # the same output, from workers that are being killed
//! cargo run --release --example checksum -- --self-test              # against the real sha256sum
//! ```
//!
//! What to look at:
//!
//! - `range.rs`: the task. It takes the state of a hash and returns it 1 MiB further on, so it may run any number of
//!   times, and a worker that dies takes no more than a few milliseconds of work with it.
//! - `file.rs`: a file is a chain of such tasks, and what is done about a lost worker.
//! - `pipeline.rs`: many files at once in bounded memory, from the walk to the lines in order.
//! - `walk.rs`: all paths in byte order, out of a tree of any size.
//! - `kill.rs`: SIGKILL for busy workers, found through `pool.status()`.
//!
//! Prints what `find DIR.. -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum` would: names of any bytes, symbolic
//! links not followed, whatever is no regular file left out. What cannot be read is named on stderr, the rest is done,
//! and the exit status is 1. A file that grows meanwhile is hashed up to the size it had when it was first opened, and
//! named; one that is otherwise written to meanwhile is named and gets no line, since it never was what was read.

mod args;
mod file;
mod kill;
mod line;
mod order;
mod output;
mod pipeline;
mod platform;
mod range;
mod self_test;
mod walk;

use std::{
    cell::{Cell, RefCell},
    error::Error,
    io::ErrorKind,
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use actix_multiprocess::{Pool, Restart, WorkerSpec, Workers};

use crate::{
    args::{Args, Command},
    output::Output,
    range::{HashRange, ReadBuffer},
};

#[actix::main]
async fn main() -> ExitCode {
    // A worker process runs the same program, and its `init` never returns: nothing may come before it.
    let workers = WorkerSpec::new()
        .state(|| async { Ok(RefCell::new(ReadBuffer::default())) })
        .task::<HashRange>()
        .init();

    let done = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Hash(args)) => hash(workers, args).await,
        Ok(Command::SelfTest) => self_test::run().map(|()| ExitCode::SUCCESS),
        Ok(Command::Help) => {
            println!("{}", args::USAGE);
            Ok(ExitCode::SUCCESS)
        }
        Err(message) => Err(format!("{message}\n{}", args::USAGE).into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("checksum: {error}");
        ExitCode::from(2)
    })
}

async fn hash(workers: Workers, args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let pool = Pool::builder(workers)
        .processes(args.processes)
        .concurrency(pipeline::TASKS_PER_PROCESS)
        // Losing workers is what this program is for: no number of deaths is a reason to give up, or to wait.
        .max_attempts(u32::MAX)
        .restart(
            Restart::default()
                .budget(None)
                .backoff(Duration::from_millis(1), Duration::from_secs(1)),
        )
        .start()
        .await?;

    let hits = Rc::new(Cell::new(0));
    let killer = args
        .kill_every
        .map(|every| actix::spawn(kill::busy_workers(pool.clone(), every, Rc::clone(&hits))));

    let mut output = Output::new();
    let written = pipeline::run(&pool, args, &mut output).await;

    let complete = output.finish_all();
    if let Some(killer) = killer {
        killer.abort();
        eprintln!("kills_that_hit {}", hits.get());
    }
    pool.stop().await;
    match written {
        // `checksum | head`: whoever read has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::FAILURE),
        Err(error) => Err(format!("cannot write to stdout: {error}").into()),
        Ok(()) if complete => Ok(ExitCode::SUCCESS),
        Ok(()) => Ok(ExitCode::FAILURE),
    }
}
