//! From the walk to the lines: many files at once, in bounded memory.
//!
//! Four bounds: [`NAMES`] of each folder on the way are held, [`FOUND`] paths wait to be started, [`TASKS_PER_PROCESS`] files a process are being hashed, and no file
//! is started while [`HELD_BACK`] bytes of lines wait for a line before them. The file they wait for always is among
//! those being hashed, so that last bound ends by itself.

use std::{ffi::OsString, future::poll_fn, io, task::Poll};

use actix_multiprocess::Pool;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    args::Args,
    file,
    line::Digest,
    output::Output,
    range::Change,
    walk::{Found, Walks},
};

/// Enough that a worker never waits for the host, also when files are small.
pub(crate) const TASKS_PER_PROCESS: usize = 16;

/// How many names of one folder are held; a larger one is read several times.
const NAMES: usize = 1 << 16;

/// How many paths the walk may be ahead.
const FOUND: usize = 1024;

/// How many bytes of finished lines may wait.
const HELD_BACK: usize = 64 << 20;

/// Hashes all files and writes their lines.
///
/// # Errors
/// Says that stdout takes no more. What is wrong with a file goes to `output` instead.
pub(crate) async fn run(pool: &Pool, args: Args, output: &mut Output) -> io::Result<()> {
    let (found, mut paths) = mpsc::channel(FOUND);
    let at_once = args.processes.saturating_mul(TASKS_PER_PROCESS);
    let walk = spawn_blocking(move || {
        for path in Walks::new(args.roots, args.skip, NAMES) {
            // Nobody listens any more once stdout is gone.
            if found.blocking_send(path).is_err() {
                break;
            }
        }
    });

    let bar = output.bar();
    let mut index = 0;
    let mut running = FuturesUnordered::new();
    loop {
        let room = running.len() < at_once && output.held_back() < HELD_BACK;
        match next(&mut running, &mut paths, room, output).await? {
            Event::Finished((index, path, hashed)) => output.finish(index, &path, hashed)?,
            Event::Found(Ok(path)) => {
                let bar = bar.clone();
                running.push(async move {
                    let hashed = file::hash(pool, &path, |read| bar.inc(read)).await;
                    (index, path, hashed)
                });
                index += 1;
            }
            Event::Found(Err((path, error))) => output.trouble(&path, error),
            Event::End => break,
        }
    }
    output.flush()?;
    walk.await.map_err(io::Error::other)
}

/// A file's place among those found, its path, and what it came to.
type Finished = (u64, OsString, Result<(Digest, Option<Change>), String>);

enum Event {
    Finished(Finished),
    Found(Found),
    End,
}

/// Waits for a file to finish or, if there is room for it, to be found.
async fn next<F: Future<Output = Finished>>(
    running: &mut FuturesUnordered<F>,
    paths: &mut mpsc::Receiver<Found>,
    room: bool,
    output: &mut Output,
) -> io::Result<Event> {
    poll_fn(|cx| {
        if let Poll::Ready(Some(done)) = running.poll_next_unpin(cx) {
            return Poll::Ready(Ok(Event::Finished(done)));
        }
        if room {
            match paths.poll_recv(cx) {
                Poll::Ready(Some(found)) => return Poll::Ready(Ok(Event::Found(found))),
                Poll::Ready(None) if running.is_empty() => return Poll::Ready(Ok(Event::End)),
                _ => {}
            }
        }
        // About to wait: who reads along gets all there is.
        match output.flush() {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    })
    .await
}
