//! Runs the cases, each in a process of its own: as much of libtest as `cargo test` and `cargo nextest` use.

use std::{
    fs::File,
    process::{Command, ExitCode, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    CASE, DIR,
    cases::{Case, all},
    common_hostile::Scratch,
};

/// The watchdog of one case. A case that waits for the host's 10 s takes 11.
const LIMIT: Duration = Duration::from_secs(60);

/// Options of libtest that have a value, which is no filter.
const WITH_VALUE: [&str; 6] = [
    "--format",
    "--skip",
    "--test-threads",
    "--color",
    "--logfile",
    "-Z",
];

pub(crate) fn run(args: &[String]) -> ExitCode {
    let (mut filters, mut skipped, mut flags) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--skip" => skipped.extend(rest.next()),
            option if WITH_VALUE.contains(&option) => {
                rest.next();
            }
            flag if flag.starts_with('-') => flags.push(flag),
            _ => filters.push(arg),
        }
    }
    let exact = flags.contains(&"--exact");
    let matches = |name: &str, filter: &str| {
        if exact {
            name == filter
        } else {
            name.contains(filter)
        }
    };
    // None is ignored, so with `--ignored` there is none.
    let chosen: Vec<Case> = all()
        .into_iter()
        .filter(|case| {
            filters.is_empty() || filters.iter().any(|filter| matches(case.name, filter))
        })
        .filter(|case| !skipped.iter().any(|filter| matches(case.name, filter)))
        .filter(|_| !flags.contains(&"--ignored"))
        .collect();
    if flags.contains(&"--list") {
        for case in &chosen {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let failed = Mutex::new(Vec::new());
    let check = |case: &Case| match one(case) {
        Ok(took) => println!("ok {} ({took:.1?})", case.name),
        Err(output) => {
            println!("FAILED {}\n{output}", case.name);
            failed.lock().expect("no panic here").push(case.name);
        }
    };
    // Those that only wait for the host's patience to end wait together; of the others two at a time.
    let (waiting, quick): (Vec<_>, Vec<_>) = chosen.iter().partition(|case| case.waits);
    let quick = Mutex::new(quick.into_iter());
    std::thread::scope(|scope| {
        for case in waiting {
            scope.spawn(|| check(case));
        }
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = quick.lock().expect("no panic here").next();
                    let Some(case) = next else { return };
                    check(case);
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic here");
    println!("{} cases, {} failed {failed:?}", chosen.len(), failed.len());
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one case and returns how long it took, or what its process said.
fn one(case: &Case) -> Result<Duration, String> {
    let scratch = Scratch::new();
    let said = scratch.path().join("output");
    let began = Instant::now();
    let verdict = (|| -> std::io::Result<Result<(), String>> {
        let output = File::create(&said)?;
        let mut host = Command::new(std::env::current_exe()?)
            .env(CASE, case.name)
            .env(DIR, scratch.path())
            // Symbols of a debug build are tens of megabytes.
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        loop {
            match host.try_wait()? {
                Some(status) if status.success() => return Ok(Ok(())),
                Some(status) => return Ok(Err(status.to_string())),
                None if began.elapsed() > LIMIT => {
                    host.kill()?;
                    host.wait()?;
                    return Ok(Err(format!("the watchdog: not over after {LIMIT:?}")));
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    })();
    let error = match verdict {
        Ok(Ok(())) => return Ok(began.elapsed()),
        Ok(Err(status)) => status,
        Err(error) => error.to_string(),
    };
    let output = std::fs::read(&said).unwrap_or_default();
    // A case may be about a flood of output.
    let shown = &output[output.len().saturating_sub(16 * 1024)..];
    Err(format!("{error}\n{}", String::from_utf8_lossy(shown)))
}
