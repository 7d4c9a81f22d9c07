//! Workers that are another program than their host.
//!
//! ```text
//! cargo build --examples
//! cargo run --example separate_worker                      # the worker program is the file beside this one
//! cargo run --example separate_worker -- FILE              # or this one
//! ```
//!
//! What to look at:
//!
//! - `tasks.rs`: what both programs are built from. The task's code is in both, but what it works with is its worker's state.
//! - `worker.rs`: the other program. It brings the state; `init()` is all that it does.
//! - here: the host never makes the state. It registers the task all the same, for its name and version.
//!
//! A worker program of another version of the protocol or of a task is refused before it gets a task, by name. One that
//! is replaced on disk while the host runs reaches the workers that start from then on, and stops none that runs.

mod tasks;

use std::{
    env::{args_os, consts::EXE_SUFFIX, current_exe},
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use actix_multiprocess::{Launcher, Pool, RemoteError, WorkerSpec};

use crate::tasks::{CountWords, Engine};

const TEXTS: [(&str, usize); 3] = [("", 0), ("one", 1), ("two  words,\nand more", 4)];

#[actix::main]
async fn main() -> ExitCode {
    let program = args_os().nth(1).map(PathBuf::from);
    match run(program).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(program: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    // Before anything else here, too: this program would be a worker if it were named as one.
    let workers = WorkerSpec::new()
        .state(|| async {
            Err::<Engine, _>(RemoteError::msg("only the worker program has an engine"))
        })
        .task::<CountWords>()
        .init();

    let program = match program {
        Some(program) => program,
        // An absolute path: a bare name would be looked for in PATH.
        None => current_exe()?.with_file_name(format!("separate_worker_program{EXE_SUFFIX}")),
    };
    if !program.exists() {
        return Err(format!("{program:?} is missing: run `cargo build --examples` first").into());
    }
    let pool = Pool::builder(workers)
        .processes(2)
        .launcher(Launcher::program(&program))
        .start()
        .await?;
    for (text, expected) in TEXTS {
        let counted = pool.submit(CountWords(text.to_owned())).await?;
        println!(
            "{:?} has {} words, says {}",
            text, counted.words, counted.program
        );
        if counted.words != expected {
            return Err(format!("not {expected} words in {text:?}").into());
        }
        if Path::new(&counted.program).canonicalize()? != program.canonicalize()? {
            return Err(format!("{program:?} was to count, not {:?}", counted.program).into());
        }
    }
    pool.stop().await;
    Ok(())
}
