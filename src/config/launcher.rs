//! How worker processes are started.
//!
//! Belongs here: the program, its arguments and what it finds around it. Does not belong here: starting it.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
};

/// How worker processes are started: which program, with what arguments and environment, where, and by whom.
///
/// By default a worker is the host's own program once more, with the host's environment and working directory. A worker
/// inherits no descriptor that is close-on-exec, as all are that Rust opens.
///
/// # Examples
///
/// Workers at a lower priority, without the host's secrets:
///
/// ```no_run
/// use actix_multiprocess::{Launcher, Pool, WorkerSpec};
///
/// # async fn start() -> Result<(), actix_multiprocess::StartError> {
/// let workers = WorkerSpec::new().init();
/// let launcher = Launcher::own_image()
///     .env_clear()
///     .env("LANG", "C.UTF-8")
///     .wrapper("nice", ["-n", "5"]);
/// let pool = Pool::builder(workers).launcher(launcher).start().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use = "give it to `.launcher(..)`"]
pub struct Launcher {
    /// `None` is the host's own.
    pub(crate) program: Option<PathBuf>,
    pub(crate) args: Vec<OsString>,
    /// What is set, or with `None` removed, in this order.
    pub(crate) env: Vec<(OsString, Option<OsString>)>,
    pub(crate) env_clear: bool,
    pub(crate) current_dir: Option<PathBuf>,
    /// A program with its arguments, or nothing.
    pub(crate) wrapper: Vec<OsString>,
    /// What the list of processes shows for the program, where the platform allows.
    pub(crate) title: Option<OsString>,
}

impl Default for Launcher {
    fn default() -> Self {
        Self::own_image()
    }
}

impl Launcher {
    /// Starts the host's own program again: the default.
    ///
    /// Where the operating system tells (Linux), it is the file that the host runs from, whatever has taken its name
    /// since: an upgrade of the program on disk does not reach the workers of a host that runs.
    pub fn own_image() -> Self {
        Self {
            program: None,
            args: Vec::new(),
            env: Vec::new(),
            env_clear: false,
            current_dir: None,
            wrapper: Vec::new(),
            title: None,
        }
    }

    /// Starts another program, which has to call [`WorkerSpec::init`](crate::WorkerSpec::init) for a spec of the same
    /// name as the host's, and to offer at least its tasks.
    ///
    /// A relative path with a directory in it is one from the host's working directory; a bare name is looked for in
    /// `PATH`. The file is looked at whenever a worker starts. One that was replaced by a version whose protocol or tasks
    /// do not fit is refused then, and the workers that run go on.
    pub fn program(path: impl Into<PathBuf>) -> Self {
        Self {
            program: Some(path.into()),
            ..Self::own_image()
        }
    }

    /// Adds an argument. Workers see it in `std::env::args`, before the one that makes them workers.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.args.push(argument.as_ref().to_owned());
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let value = Some(value.as_ref().to_owned());
        self.env.push((name.as_ref().to_owned(), value));
        self
    }

    /// Removes a variable of the environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), None));
        self
    }

    /// Gives workers nothing of the host's environment: only what [`env`](Self::env) sets, and the variables by which
    /// libraries size their thread pools.
    pub fn env_clear(mut self) -> Self {
        self.env_clear = true;
        self
    }

    /// Sets the working directory of workers. Default: the host's, as it is when a worker starts.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(directory.into());
        self
    }

    /// Has workers started by another program, such as `nice`, `taskset`, `prlimit`, `bwrap` or `strace`: it gets these
    /// arguments, and after them the program of the workers with theirs.
    ///
    /// It has to hand standard input on, and to end when the worker does. A worker is then known by its secret token
    /// alone and not by its process id, which a wrapper that forks does not know beforehand. When a worker is to be
    /// killed, the wrapper's process group is; what the wrapper has put into another group or session ends by itself
    /// after the pool's `grace`.
    pub fn wrapper<I>(mut self, program: impl AsRef<OsStr>, arguments: I) -> Self
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        self.wrapper = vec![program.as_ref().to_owned()];
        let arguments = arguments.into_iter();
        self.wrapper
            .extend(arguments.map(|argument| argument.as_ref().to_owned()));
        self
    }
}

impl fmt::Debug for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values of variables are often secrets.
        let env: Vec<&OsString> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Launcher")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &env)
            .field("env_clear", &self.env_clear)
            .field("current_dir", &self.current_dir)
            .field("wrapper", &self.wrapper)
            .finish()
    }
}
