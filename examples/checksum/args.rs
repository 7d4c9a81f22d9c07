//! The command line.

use std::{ffi::OsString, num::NonZero, thread::available_parallelism, time::Duration};

pub(crate) const USAGE: &str = "\
usage: checksum [--processes N] [--kill-every MS] [--] [DIR..]
       checksum --self-test
  --processes N    worker processes (default: one per core)
  --kill-every MS  send SIGKILL to a random busy worker every MS milliseconds
  --self-test      compare with the real sha256sum on a tree of nasty names
  DIR              default: the current directory without target and .git";

/// What the default walk leaves out of the current directory.
const NOT_BY_DEFAULT: &[&str] = &["target", ".git"];

#[derive(Debug)]
pub(crate) enum Command {
    Hash(Args),
    SelfTest,
    Help,
}

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) roots: Vec<OsString>,
    /// Names to leave out directly below a root.
    pub(crate) skip: &'static [&'static str],
    pub(crate) processes: usize,
    pub(crate) kill_every: Option<Duration>,
}

pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut words = words;
    let mut roots = Vec::new();
    let mut processes = None;
    let mut kill_every = None;
    let mut options = true;
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--") if options => options = false,
            Some("--help" | "-h") if options => return Ok(Command::Help),
            Some("--self-test") if options => return Ok(Command::SelfTest),
            Some("--processes") if options => {
                processes = Some(number("--processes", words.next())?)
            }
            Some("--kill-every") if options => {
                kill_every = Some(number("--kill-every", words.next())?);
            }
            _ if options && word.as_encoded_bytes().starts_with(b"-") => {
                return Err(format!(
                    "unknown option {word:?}; a folder of that name goes after --"
                ));
            }
            _ => roots.push(word),
        }
    }
    let skip = if roots.is_empty() {
        NOT_BY_DEFAULT
    } else {
        &[]
    };
    if roots.is_empty() {
        roots.push(".".into());
    }
    Ok(Command::Hash(Args {
        roots,
        skip,
        processes: match processes {
            Some(count) => {
                usize::try_from(count).map_err(|error| format!("--processes: {error}"))?
            }
            None => available_parallelism().map_or(1, NonZero::get),
        },
        kill_every: kill_every.map(Duration::from_millis),
    }))
}

fn number(option: &str, value: Option<OsString>) -> Result<u64, String> {
    let value = value.ok_or_else(|| format!("{option} needs a number"))?;
    value
        .to_str()
        .and_then(|value| value.parse().ok())
        .filter(|&number| number > 0)
        .ok_or_else(|| format!("{option} needs a number above 0, not {value:?}"))
}
