//! The command line.

use std::{num::ParseIntError, str::FromStr, time::Duration};

use crate::thumbnail::Settings;

pub(crate) const USAGE: &str = "\
usage: service [options]
  --listen ADDRESS    where to listen; port 0 is any that is free (127.0.0.1:8080)
  --processes N       worker processes (as many as CPUs)
  --concurrency N     images at once in one process (2)
  --queue-limit N     images that may wait for a process (128)
  --timeout MS        how long an image may take in all, in milliseconds (30000)
  --check             listen on a free port, ask for thumbnails, and see whether the answers are right
for tests of this program:
  --hold FILE         images take until FILE exists
  --wrong             thumbnails are too small by a pixel, which --check has to notice";

pub(crate) enum Command {
    Serve(Args),
    Help,
}

pub(crate) struct Args {
    pub(crate) listen: String,
    pub(crate) processes: Option<usize>,
    pub(crate) concurrency: usize,
    pub(crate) queue_limit: usize,
    pub(crate) timeout: Duration,
    pub(crate) check: bool,
    pub(crate) settings: Settings,
}

/// # Errors
/// Says what cannot be understood.
pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut listen = None;
    let mut args = Args {
        listen: String::new(),
        processes: None,
        concurrency: 2,
        queue_limit: 128,
        timeout: Duration::from_secs(30),
        check: false,
        settings: Settings::default(),
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} of what?"));
        match word.as_str() {
            "--listen" => listen = Some(value()?),
            "--processes" => args.processes = Some(number(&value()?)?),
            "--concurrency" => args.concurrency = number(&value()?)?,
            "--queue-limit" => args.queue_limit = number(&value()?)?,
            "--timeout" => args.timeout = Duration::from_millis(number(&value()?)?),
            "--hold" => args.settings.hold = Some(value()?.into()),
            "--wrong" => args.settings.wrong = true,
            "--check" => args.check = true,
            "--help" | "-h" => return Ok(Command::Help),
            other => return Err(format!("{other:?} is not known")),
        }
    }
    let default = if args.check {
        "127.0.0.1:0"
    } else {
        "127.0.0.1:8080"
    };
    args.listen = listen.unwrap_or_else(|| default.to_owned());
    Ok(Command::Serve(args))
}

fn number<N: FromStr<Err = ParseIntError>>(word: &str) -> Result<N, String> {
    N::from_str(word).map_err(|error| format!("{word:?}: {error}"))
}
