//! Starting a worker process.
//!
//! Belongs here: the command line, the environment, standard streams. Does not belong here: connecting, waiting.
//! Invariant: nothing secret is on the command line or in the environment; the token goes through standard input.

use std::{
    ffi::OsString,
    fmt, io,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio as ProcessStdio},
};

use bytes::BytesMut;

use crate::{
    error::WorkerStartError,
    supervisor::{Output, Stdio, WorkerProcess, child::OsProcess, relay::Relay},
    wire::{StartConfig, codec},
};

/// Variables by which libraries size their thread pools when nobody tells them.
const THREAD_COUNTS: [&str; 9] = [
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
];

/// What a launcher is asked for.
#[derive(Debug)]
pub(crate) struct LaunchOrder {
    pub(crate) config: StartConfig,
    pub(crate) stdio: Stdio,
    pub(crate) processes: u32,
}

/// A started worker.
pub(crate) struct Launched {
    pub(crate) process: Box<dyn WorkerProcess>,
    pub(crate) stdout: Option<Relay>,
    pub(crate) stderr: Option<Relay>,
    /// Data and control, when they are there without connecting.
    pub(crate) streams: Option<(crate::ipc::Stream, crate::ipc::Stream)>,
}

/// Starts workers.
pub(crate) trait Launch: Send + Sync + fmt::Debug {
    /// Whether workers connect to an endpoint.
    fn connects(&self) -> bool {
        true
    }

    fn launch(&self, order: LaunchOrder) -> Result<Launched, WorkerStartError>;
}

/// Executes the host's own program again.
#[derive(Debug, Clone)]
pub(crate) struct OwnImage {
    pub(crate) args: Vec<OsString>,
    /// Unless the pool says otherwise.
    pub(crate) stdout: Output,
}

impl OwnImage {
    /// The program file, also when it was replaced or its name was taken by another meanwhile.
    fn program() -> io::Result<PathBuf> {
        let named = std::env::current_exe()?;
        #[cfg(target_os = "linux")]
        {
            use std::os::unix::fs::MetadataExt;
            let running = PathBuf::from("/proc/self/exe");
            let same = match (std::fs::metadata(&named), std::fs::metadata(&running)) {
                (Ok(named), Ok(running)) => {
                    named.dev() == running.dev() && named.ino() == running.ino()
                }
                // Without /proc the name is all there is.
                (Ok(_), Err(_)) => true,
                _ => false,
            };
            if !same {
                return Ok(running);
            }
        }
        Ok(named)
    }
}

impl Launch for OwnImage {
    fn launch(&self, order: LaunchOrder) -> Result<Launched, WorkerStartError> {
        let failed = |program: &str, error: io::Error| WorkerStartError::Spawn {
            program: program.to_owned(),
            message: error.to_string(),
        };
        let program = Self::program().map_err(|error| failed("the own program", error))?;
        let shown = program.display().to_string();
        let stdout = order.stdio.stdout.unwrap_or(self.stdout);
        let mut command = Command::new(&program);
        command
            .args(&self.args)
            .stdin(ProcessStdio::piped())
            .stdout(stdio(stdout))
            .stderr(stdio(order.stdio.stderr));
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let share = (cpus / order.processes.max(1) as usize).max(1).to_string();
        for variable in THREAD_COUNTS {
            if std::env::var_os(variable).is_none() {
                command.env(variable, &share);
            }
        }
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            command.process_group(0);
        }
        let mut config = BytesMut::new();
        codec::encode_header(&order.config, &mut config)
            .map_err(|error| failed(&shown, io::Error::other(error)))?;
        spawn(command, &config).map_err(|error| failed(&shown, error))
    }
}

fn stdio(output: Output) -> ProcessStdio {
    match output {
        Output::Inherit => ProcessStdio::inherit(),
        Output::Null => ProcessStdio::null(),
        Output::Relay => ProcessStdio::piped(),
    }
}

#[cfg(target_os = "linux")]
fn spawn(mut command: Command, config: &[u8]) -> io::Result<Launched> {
    let mut child = command.spawn()?;
    send_config(child.stdin.take(), config);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut process = OsProcess::new(child)?;
    let pipes = (|| Ok((stdout.map(pipe).transpose()?, stderr.map(pipe).transpose()?)))();
    let (stdout, stderr) = pipes.inspect_err(|_: &io::Error| {
        // Out of descriptors, say: nobody would wait for it.
        process.kill_now(std::time::Duration::from_secs(1));
    })?;
    Ok(Launched {
        stdout: stdout.map(|pipe| Relay::new(pipe, io::stdout())),
        stderr: stderr.map(|pipe| Relay::new(pipe, io::stderr())),
        process: Box::new(process),
        streams: None,
    })
}

#[cfg(target_os = "linux")]
fn pipe(end: impl Into<std::os::fd::OwnedFd>) -> io::Result<tokio::net::unix::pipe::Receiver> {
    tokio::net::unix::pipe::Receiver::from_owned_fd(end.into())
}

/// Fits into any pipe's buffer, so this does not block. A worker that has ended already tells by its exit.
#[cfg(target_os = "linux")]
fn send_config(stdin: Option<std::process::ChildStdin>, config: &[u8]) {
    if let Some(mut stdin) = stdin {
        let length = u32::try_from(config.len()).unwrap_or(u32::MAX);
        let _ = stdin
            .write_all(&length.to_le_bytes())
            .and_then(|()| stdin.write_all(config));
    }
}

#[cfg(not(target_os = "linux"))]
fn spawn(command: Command, config: &[u8]) -> io::Result<Launched> {
    let mut child = tokio::process::Command::from(command).spawn()?;
    if let Some(stdin) = child.stdin.take() {
        let length = u32::try_from(config.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(config);
        send_config(stdin, &bytes)?;
    }
    Ok(Launched {
        stdout: child
            .stdout
            .take()
            .map(|pipe| Relay::new(pipe, io::stdout())),
        stderr: child
            .stderr
            .take()
            .map(|pipe| Relay::new(pipe, io::stderr())),
        process: Box::new(OsProcess::new(child)?),
        streams: None,
    })
}

#[cfg(all(unix, not(target_os = "linux")))]
fn send_config(stdin: tokio::process::ChildStdin, bytes: &[u8]) -> io::Result<()> {
    let mut stdin = std::fs::File::from(stdin.into_owned_fd()?);
    let _ = stdin.write_all(bytes);
    Ok(())
}

#[cfg(windows)]
fn send_config(stdin: tokio::process::ChildStdin, bytes: &[u8]) -> io::Result<()> {
    let mut stdin = std::fs::File::from(stdin.into_owned_handle()?);
    let _ = stdin.write_all(bytes);
    Ok(())
}
