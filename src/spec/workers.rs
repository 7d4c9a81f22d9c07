//! The proof that a program's workers were initialised.
//!
//! Belongs here: telling a worker process from the host. Does not belong here: what a worker then does.

use std::{ffi::OsString, fmt, marker::PhantomData, sync::Arc, time::Instant};

use crate::{
    config::{Launcher, Output},
    error::ConfigError,
    spec::{WorkerSpec, nested::Nested},
    supervisor::{Launch, Processes, TaskTable},
    worker::{self, Program, SENTINEL},
};

/// Proof that `init()` was called in this process and that it is the host: what [`Pool::builder`](crate::Pool::builder)
/// asks for.
///
/// Cheap to clone; several pools may be built from one. `A` is what the workers' initializer takes.
#[must_use = "a pool is built from it, with `Pool::builder(workers)`"]
pub struct Workers<A = ()> {
    shared: Arc<Shared>,
    /// Those of a pool in a worker.
    nested: Option<Nested>,
    args: PhantomData<fn(A)>,
}

#[derive(Debug)]
struct Shared {
    name: &'static str,
    table: Arc<TaskTable>,
    launcher: Arc<dyn Launch>,
    problem: Option<ConfigError>,
}

impl Workers {
    /// Initializes several kinds of worker in one program: each gets its own typed `Workers`.
    ///
    /// In a worker process this becomes the worker of that name and never returns.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use actix_multiprocess::{Workers, WorkerSpec};
    /// let (thumbs, mail) = Workers::init((
    ///     WorkerSpec::named("thumbs"),
    ///     WorkerSpec::named("mail").state(|| async { Ok(String::new()) }),
    /// ));
    /// ```
    pub fn init<I: InitSpecs>(specs: I) -> I::Workers {
        specs.init_all()
    }
}

impl<A> Workers<A> {
    /// The same, whose tasks have to have ended by then.
    pub(super) fn until(mut self, until: Option<Instant>) -> Self {
        if let Some(nested) = &mut self.nested {
            nested.until = until;
        }
        self
    }

    /// What nobody has described.
    pub(super) fn unknown() -> Self {
        Self {
            shared: Arc::new(Shared {
                name: "",
                table: Arc::default(),
                launcher: Arc::new(processes("", Vec::new(), Output::Inherit)),
                problem: Some(ConfigError::Contradiction {
                    message: "it is not known of what kind this worker is".to_owned(),
                }),
            }),
            nested: None,
            args: PhantomData,
        }
    }

    /// Becomes the worker if this process was started as this one.
    pub(crate) fn enter_or(program: Program) -> Self {
        enter_if_named(program, None)
    }

    pub(crate) fn with_launcher(program: &Program, launcher: Arc<dyn Launch>) -> Self {
        Self {
            shared: Arc::new(Shared {
                name: program.name,
                problem: problem(program),
                table: Arc::new(TaskTable::new(
                    program
                        .tasks
                        .iter()
                        .map(|task| (task.name, task.version))
                        .collect(),
                )),
                launcher,
            }),
            nested: None,
            args: PhantomData,
        }
    }

    /// The same, for a pool in a worker.
    pub(super) fn nested(self, nested: Nested) -> Self {
        Self {
            nested: Some(nested),
            ..self
        }
    }

    /// The same, started in another way.
    #[cfg(feature = "test-util")]
    pub(crate) fn launched_by(self, by: impl FnOnce(Arc<dyn Launch>) -> Arc<dyn Launch>) -> Self {
        let Shared {
            name,
            table,
            launcher,
            problem,
        } = &*self.shared;
        Self {
            shared: Arc::new(Shared {
                name,
                table: Arc::clone(table),
                launcher: by(Arc::clone(launcher)),
                problem: problem.clone(),
            }),
            nested: self.nested.clone(),
            args: PhantomData,
        }
    }

    pub(crate) fn table(&self) -> Arc<TaskTable> {
        Arc::clone(&self.shared.table)
    }

    pub(crate) fn launcher(&self) -> Arc<dyn Launch> {
        Arc::clone(&self.shared.launcher)
    }

    pub(crate) fn problem(&self) -> Option<ConfigError> {
        let nested = self.nested.as_ref().and_then(Nested::problem);
        nested.or_else(|| self.shared.problem.clone())
    }

    /// What a pool of them takes from the task that has it, if that is in a worker.
    pub(crate) fn nesting(&self) -> Option<&Nested> {
        self.nested.as_ref()
    }

    /// Whether its workers are processes.
    pub(crate) fn connects(&self) -> bool {
        self.shared.launcher.connects()
    }

    /// The same, its arguments to be given in another way.
    pub(crate) fn erased(self) -> Workers<()> {
        Workers {
            shared: self.shared,
            nested: self.nested,
            args: PhantomData,
        }
    }
}

/// Says what is wrong with a description, for the pool to refuse.
fn problem(program: &Program) -> Option<ConfigError> {
    let twice = program
        .tasks
        .iter()
        .zip(program.tasks.iter().skip(1))
        .find(|(a, b)| a.name == b.name);
    let message = if let Some((task, _)) = twice {
        format!(
            "two tasks of worker `{}` are named `{}`; task names are unique in a worker",
            program.name, task.name
        )
    } else if program.tasks.len() > usize::from(u16::MAX) {
        format!(
            "worker `{}` has {} tasks; at most {} are possible",
            program.name,
            program.tasks.len(),
            u16::MAX
        )
    } else {
        return None;
    };
    Some(ConfigError::Contradiction { message })
}

/// The name in the argument that makes a process a worker.
pub(crate) fn worker_name() -> Option<String> {
    std::env::args_os().find_map(|argument| {
        argument
            .to_str()
            .and_then(|argument| argument.strip_prefix(SENTINEL))
            .map(str::to_owned)
    })
}

fn processes(name: &str, own_args: Vec<OsString>, own_stdout: Output) -> Processes {
    Processes {
        own_args,
        own_stdout,
        sentinel: format!("{SENTINEL}{name}").into(),
        launcher: Launcher::own_image(),
    }
}

/// The arguments with which this worker has come to its `init()`, as others of its kind will.
fn own_args() -> Vec<OsString> {
    let is_sentinel = |argument: &OsString| {
        (argument.to_str()).is_some_and(|argument| argument.starts_with(SENTINEL))
    };
    let args = std::env::args_os().skip(1);
    args.filter(|argument| !is_sentinel(argument)).collect()
}

/// Becomes a worker if this process was started as that one; else says how to start it. `args` are for a test binary.
pub(crate) fn enter_if_named<A>(program: Program, args: Option<Vec<OsString>>) -> Workers<A> {
    let is_worker = worker_name().is_some_and(|name| name == program.name);
    let own_stdout = if args.is_some() {
        // What a test harness prints about itself is no output of the worker.
        Output::Null
    } else {
        Output::Inherit
    };
    if is_worker {
        let launcher = processes(program.name, own_args(), own_stdout);
        let kin: Workers = Workers::with_launcher(&program, Arc::new(launcher));
        worker::enter(Arc::new(program), kin.into_kin());
    }
    let launcher = processes(program.name, args.unwrap_or_default(), own_stdout);
    Workers::with_launcher(&program, Arc::new(launcher))
}

impl<A> Clone for Workers<A> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            nested: self.nested.clone(),
            args: PhantomData,
        }
    }
}

impl<A> fmt::Debug for Workers<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("name", &self.shared.name)
            .field("tasks", &self.shared.table.iter().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A tuple of [`WorkerSpec`]s. Implemented by this crate only.
pub trait InitSpecs: sealed::Sealed {
    /// A tuple of their [`Workers`].
    type Workers;

    #[doc(hidden)]
    fn init_all(self) -> Self::Workers;
}

mod sealed {
    #[expect(
        unnameable_types,
        reason = "what cannot be named cannot be implemented"
    )]
    pub trait Sealed {}
}

macro_rules! init_specs {
    ($($state:ident $args:ident $spec:ident),+) => {
        impl<$($state: 'static, $args),+> sealed::Sealed for ($(WorkerSpec<$state, $args>,)+) {}

        impl<$($state: 'static, $args),+> InitSpecs for ($(WorkerSpec<$state, $args>,)+) {
            type Workers = ($(Workers<$args>,)+);

            fn init_all(self) -> Self::Workers {
                let ($($spec,)+) = self;
                ($(Workers::<$args>::enter_or($spec.into_program()),)+)
            }
        }
    };
}

init_specs!(S1 A1 spec1);
init_specs!(S1 A1 spec1, S2 A2 spec2);
init_specs!(S1 A1 spec1, S2 A2 spec2, S3 A3 spec3);
init_specs!(S1 A1 spec1, S2 A2 spec2, S3 A3 spec3, S4 A4 spec4);
init_specs!(S1 A1 spec1, S2 A2 spec2, S3 A3 spec3, S4 A4 spec4, S5 A5 spec5);
init_specs!(S1 A1 spec1, S2 A2 spec2, S3 A3 spec3, S4 A4 spec4, S5 A5 spec5, S6 A6 spec6);
