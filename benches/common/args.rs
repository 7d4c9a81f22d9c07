//! The command line of a benchmark, and running a part of it on one CPU.

use std::process::Stdio;

use super::{Outcome, command};

/// What a benchmark was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Args {
    /// A run of seconds that shows that everything works; its figures are rough.
    pub(crate) quick: bool,
    /// Also what takes many minutes or gigabytes.
    pub(crate) huge: bool,
    pub(crate) rounds: usize,
    /// The part that a re-execution of the benchmark is to do.
    pub(crate) part: Option<String>,
    /// Parts of the names of the wanted rows.
    filters: Vec<String>,
}

impl Args {
    /// Reads `--quick`, `--huge`, `--rounds N`, `--part NAME` and parts of names. What cargo adds is accepted.
    pub(crate) fn parse() -> Outcome<Self> {
        let mut quick = false;
        let mut huge = false;
        let mut rounds = None;
        let mut part = None;
        let mut filters = Vec::new();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--bench" | "--full" => {}
                "--quick" => quick = true,
                "--huge" => huge = true,
                "--rounds" => {
                    rounds = Some(words.next().ok_or("--rounds takes a number")?.parse()?)
                }
                "--part" => part = words.next(),
                // Cargo hands flags to every benchmark alike.
                flag if flag.starts_with('-') => eprintln!("not known here, ignored: {flag}"),
                _ => filters.push(word),
            }
        }
        if cfg!(debug_assertions) {
            eprintln!(
                "a debug build, as `cargo test` makes it: a quick run, whose figures mean nothing"
            );
            quick = true;
        }
        let rounds = rounds.unwrap_or(if quick { 5 } else { 9 });
        if rounds == 0 {
            return Err("--rounds takes at least 1".into());
        }
        Ok(Self {
            quick,
            huge,
            rounds,
            part,
            filters,
        })
    }

    /// Whether a row is to be measured: all are, unless parts of names were given.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| row.contains(filter))
    }

    /// One of two amounts.
    pub(crate) fn amount(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// Runs this benchmark again for one part, with all its processes on one CPU. Returns false where that cannot be done.
///
/// On two idle CPUs a round trip is mostly the time in which sleeping CPUs wake; on one it is what the software costs.
pub(crate) fn reexecute_on_one_cpu(args: &Args, part: &str) -> Outcome<bool> {
    let works = std::process::Command::new("taskset")
        .args(["-c", "0", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !works.is_ok_and(|status| status.success()) {
        return Ok(false);
    }
    let own = command()?;
    let status = std::process::Command::new("taskset")
        .args(["-c", "0"])
        .arg(own.get_program())
        .args(["--part", part, "--rounds", &args.rounds.to_string()])
        .arg(if args.quick { "--quick" } else { "--full" })
        .status()?;
    if status.success() {
        Ok(true)
    } else {
        Err(format!("the part {part} ended with {status}").into())
    }
}
