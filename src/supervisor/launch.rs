//! Starting a worker process.
//!
//! Belongs here: the command line, the environment, standard streams. Does not belong here: connecting, waiting.
//! Invariant: nothing secret is on the command line or in the environment; the token goes through standard input.

use std::{
    ffi::OsString,
    fmt, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio as ProcessStdio},
    sync::Arc,
};

use bytes::BytesMut;

use crate::{
    config::{Launcher, Output, Stdio},
    error::WorkerStartError,
    ipc::Stream,
    supervisor::{
        WorkerProcess,
        child::OsProcess,
        lines::Listeners,
        relay::Relay,
        streams::{Streams, stdio},
    },
    task::WorkerInfo,
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
    /// Who hears of what it writes.
    pub(crate) listeners: Listeners,
    /// Which thread counts of this process are not its user's, as in its lineage.
    pub(crate) counted: u16,
}

/// A started worker.
pub(crate) struct Launched {
    pub(crate) process: Box<dyn WorkerProcess>,
    /// The worker's, which under a wrapper that forks is not that of the process.
    pub(crate) pid: u32,
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

    /// Where the standard output of workers goes, as far as the pool leaves that open.
    fn stdout(&self, wanted: &Stdio) -> Output {
        wanted.stdout.unwrap_or(Output::Inherit)
    }

    /// Whether the process that is started is the worker.
    fn knows_pids(&self) -> bool {
        true
    }

    /// Starts them in this way instead; `None` where there are no processes.
    fn with(&self, launcher: Launcher) -> Option<Arc<dyn Launch>>;

    fn launch(&self, order: LaunchOrder) -> Result<Launched, WorkerStartError>;

    /// The authenticated connections of a worker, data and control, come by here: tests put something in between.
    fn connected(&self, _: WorkerInfo, data: Stream, control: Stream) -> (Stream, Stream) {
        (data, control)
    }
}

/// Executes the host's own program again, or another one.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    /// Arguments without which the own program would not come to its `init()`: those of a test harness.
    pub(crate) own_args: Vec<OsString>,
    /// Where standard output of the own program goes unless the pool says otherwise.
    pub(crate) own_stdout: Output,
    /// What makes a process a worker.
    pub(crate) sentinel: OsString,
    pub(crate) launcher: Launcher,
}

/// The own program's file, also when it was replaced or its name was taken by another meanwhile.
fn own_image() -> io::Result<PathBuf> {
    let named = std::env::current_exe()?;
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        // Not by `self`, which for a wrapper is the wrapper; nor by the own number, which in a namespace may be another's there.
        let own = std::fs::read_link("/proc/self");
        let own = own.unwrap_or_else(|_| std::process::id().to_string().into());
        let running = Path::new("/proc").join(own).join("exe");
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

impl Processes {
    /// The program of the workers.
    fn program(&self) -> io::Result<PathBuf> {
        match &self.launcher.program {
            None => own_image(),
            // A bare name is looked for in PATH. Any other must not depend on the worker's directory.
            Some(path) if path.components().count() > 1 => std::path::absolute(path),
            Some(path) => Ok(path.clone()),
        }
    }

    fn command(&self, program: &Path, order: &LaunchOrder) -> Command {
        let launcher = &self.launcher;
        let mut command = match launcher.wrapper.split_first() {
            None => Command::new(program),
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(program);
                command
            }
        };
        if launcher.program.is_none() {
            command.args(&self.own_args);
        }
        command
            .args(&launcher.args)
            .arg(&self.sentinel)
            .stdin(ProcessStdio::piped())
            .stdout(stdio(self.stdout(&order.stdio)))
            .stderr(stdio(order.stdio.stderr));
        if let Some(directory) = &launcher.current_dir {
            command.current_dir(directory);
        }
        if launcher.env_clear {
            command.env_clear();
        }
        let share = order.config.lineage.cpus.to_string();
        for (variable, _) in self.counted(order.counted) {
            command.env(variable, &share);
        }
        for (name, value) in &launcher.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            command.process_group(0);
            if let (Some(title), true) = (&launcher.title, launcher.wrapper.is_empty()) {
                command.arg0(title);
            }
        }
        command
    }

    /// The thread counts that the user leaves to the pool, each with its bit. `inherited` are those of this process's own host.
    fn counted(&self, inherited: u16) -> impl Iterator<Item = (&'static str, u16)> + '_ {
        let bits = (0..).map(|index| 1 << index);
        let counts = THREAD_COUNTS.into_iter().zip(bits);
        counts.filter(move |(variable, bit)| {
            let launcher = &self.launcher;
            let given =
                !launcher.env_clear && inherited & bit == 0 && std::env::var_os(variable).is_some();
            !given && !launcher.env.iter().any(|(name, _)| name == variable)
        })
    }

    /// A file that is not there may be one of several.
    fn explain(&self, error: &io::Error) -> String {
        match &self.launcher.current_dir {
            Some(directory) if error.kind() == io::ErrorKind::NotFound && !directory.is_dir() => {
                format!("its working directory {} is not there", directory.display())
            }
            _ => error.to_string(),
        }
    }
}

impl Launch for Processes {
    fn stdout(&self, wanted: &Stdio) -> Output {
        let default = match self.launcher.program {
            None => self.own_stdout,
            Some(_) => Output::Inherit,
        };
        wanted.stdout.unwrap_or(default)
    }

    fn knows_pids(&self) -> bool {
        self.launcher.wrapper.is_empty()
    }

    fn with(&self, launcher: Launcher) -> Option<Arc<dyn Launch>> {
        Some(Arc::new(Self {
            launcher,
            ..self.clone()
        }))
    }

    fn launch(&self, mut order: LaunchOrder) -> Result<Launched, WorkerStartError> {
        let counted = self.counted(order.counted);
        order.config.lineage.counted = counted.fold(0, |all, (_, bit)| all | bit);
        let failed = |program: &str, message: String| WorkerStartError::Spawn {
            program: program.to_owned(),
            message,
        };
        let program =
            (self.program()).map_err(|error| failed("the workers' program", error.to_string()))?;
        let command = self.command(&program, &order);
        let shown = command.get_program().to_string_lossy().into_owned();
        let mut config = BytesMut::new();
        codec::encode_header(&order.config, &mut config)
            .map_err(|error| failed(&shown, error.to_string()))?;
        let streams = Streams {
            stdout: self.stdout(&order.stdio),
            stderr: order.stdio.stderr,
            listeners: order.listeners,
        };
        spawn(command, &config, &streams).map_err(|error| failed(&shown, self.explain(&error)))
    }
}

#[cfg(target_os = "linux")]
fn spawn(mut command: Command, config: &[u8], streams: &Streams) -> io::Result<Launched> {
    let mut child = command.spawn()?;
    send_config(child.stdin.take(), config);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut process = OsProcess::new(child)?;
    let pipes = (|| Ok((stdout.map(pipe).transpose()?, stderr.map(pipe).transpose()?)))();
    let (stdout, stderr) = pipes.inspect_err(|_: &io::Error| {
        // Out of descriptors, say: nobody would wait for it.
        process.kill_now(std::time::Duration::from_secs(1));
    })?;
    let pid = process.pid();
    Ok(Launched {
        stdout: stdout.map(|pipe| streams.stdout(pipe, pid)),
        stderr: stderr.map(|pipe| streams.stderr(pipe, pid)),
        pid,
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
fn spawn(command: Command, config: &[u8], streams: &Streams) -> io::Result<Launched> {
    let mut child = tokio::process::Command::from(command).spawn()?;
    if let Some(stdin) = child.stdin.take() {
        let length = u32::try_from(config.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(config);
        send_config(stdin, &bytes)?;
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let process = OsProcess::new(child)?;
    let pid = process.pid();
    Ok(Launched {
        stdout: stdout.map(|pipe| streams.stdout(pipe, pid)),
        stderr: stderr.map(|pipe| streams.stderr(pipe, pid)),
        pid,
        process: Box::new(process),
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
