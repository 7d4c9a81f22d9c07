//! One file: a chain of tasks, each taking the hash on from where the last one left it.

use std::{ffi::OsString, time::Duration};

use actix::clock::sleep;
use actix_multiprocess::{Pool, Rejected, RemoteError, Submit, TaskError};

use crate::{
    line::Digest,
    range::{Change, HashRange, Step},
};

/// How often in a row a range may take its worker with it before the file is given up.
const LOSSES: u32 = 10_000;

/// How often a file may be replaced by another while it is read.
const REPLACED: u32 = 10;

/// Hashes a file. `progress` is told of bytes as they are read.
///
/// # Errors
/// Says why there is no digest, for people.
pub(crate) async fn hash(
    pool: &Pool,
    path: &OsString,
    mut progress: impl FnMut(u64),
) -> Result<(Digest, Option<Change>), String> {
    let mut replaced = 0;
    let mut so_far = None;
    loop {
        match range(
            pool,
            HashRange {
                path: path.clone(),
                progress: so_far.take(),
            },
        )
        .await?
        {
            Step::More {
                read,
                progress: next,
            } => {
                progress(read);
                so_far = Some(next);
            }
            Step::Done {
                read,
                digest,
                change,
            } => {
                progress(read);
                return Ok((digest, change));
            }
            Step::Replaced if replaced < REPLACED => replaced += 1,
            Step::Replaced => return Err("is replaced by another file again and again".to_owned()),
        }
    }
}

async fn range(pool: &Pool, range: HashRange) -> Result<Step, String> {
    // Encoded once, however often it is sent.
    let range = Submit::new(range);
    let mut losses = 0;
    loop {
        match pool.submit(range.clone()).await {
            Ok(step) => return Ok(step),
            Err(TaskError::Failed(error)) => return Err(error.to_string()),
            // The pool has run it again by itself, `max_attempts` times; this is what is left if even that is not enough.
            Err(TaskError::WorkerLost(_)) if losses < LOSSES => losses += 1,
            Err(error) if error.is_transient() && losses < LOSSES => {
                losses += 1;
                sleep(pause(&error)).await;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn pause(error: &TaskError<RemoteError>) -> Duration {
    match error {
        TaskError::Rejected(Rejected::Unavailable { retry_after }) => *retry_after,
        _ => Duration::from_millis(10),
    }
}
