//! What the workers of a chaos run do, and what may come of it.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use actix_multiprocess::{
    RemoteError, Started, Submit, Task, TaskContext, TaskError, WorkerInfo, WorkerSpec,
};
use serde::{Deserialize, Serialize};

use crate::{common::burn, random::Random};

/// How long the tasks that never end may run.
pub(crate) const RUN: Duration = Duration::from_millis(400);

/// How long any may take in all.
const TOTAL: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Deed {
    Compute,
    Sleep,
    Fail,
    /// Fails the first time, with an error that may go away.
    Busy,
    Panic,
    Abort,
    Spin,
    Wait,
    /// Writes more to standard error than a pipe holds.
    Flood,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Toil {
    pub(crate) index: u64,
    pub(crate) micros: u64,
    pub(crate) deed: Deed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Trouble {
    Failed,
    Busy,
}

/// Where workers write down what they start.
pub(crate) struct Journal(fs::File);

pub(crate) fn spec() -> WorkerSpec<Journal, PathBuf> {
    WorkerSpec::new()
        .state_with(|dir: PathBuf| async move {
            let open = |name| {
                fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(dir.join(name))
            };
            let mut inits = open("inits")?;
            inits.write_all(b".")?;
            // Whoever writes the third, the sixth, and so on, or is that late.
            if inits.metadata()?.len() % 3 == 0 {
                return Err(RemoteError::new("chaos", "every third time"));
            }
            Ok(Journal(open("starts")?))
        })
        .task::<Toil>()
}

impl Toil {
    pub(crate) fn new(index: u64, random: &mut Random) -> Self {
        let deed = match random.below(10_000) {
            0..=4999 => Deed::Compute,
            5000..=9499 => Deed::Sleep,
            9500..=9799 => Deed::Fail,
            9800..=9899 => Deed::Busy,
            9900..=9959 => Deed::Panic,
            9960..=9969 => Deed::Abort,
            9970..=9971 => Deed::Spin,
            9972..=9974 => Deed::Wait,
            _ => Deed::Flood,
        };
        let micros = random.below(if deed == Deed::Compute { 300 } else { 2000 });
        Self {
            index,
            micros,
            deed,
        }
    }

    pub(crate) fn submit(&self, idempotent: bool) -> Submit<Self> {
        let submit = Submit::new(self.clone()).timeout(TOTAL).run_timeout(RUN);
        if idempotent {
            submit.idempotent()
        } else {
            submit
        }
    }

    /// The one right result.
    fn answer(&self) -> u64 {
        self.index.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.micros
    }

    /// What became of it, in a word; or that it makes no sense.
    pub(crate) fn judge(
        &self,
        idempotent: bool,
        cancelled: bool,
        settled: Result<u64, TaskError<Trouble>>,
    ) -> Result<&'static str, String> {
        let deed = self.deed;
        let word = match &settled {
            Ok(answer) if *answer == self.answer() => "done",
            Err(TaskError::Failed(Trouble::Failed)) if deed == Deed::Fail => "failed",
            Err(TaskError::Failed(Trouble::Busy)) if deed == Deed::Busy => "failed",
            Err(TaskError::Panicked(_)) if deed == Deed::Panic => "panicked",
            Err(TaskError::Cancelled { .. }) if cancelled => "cancelled",
            Err(TaskError::TimedOut(_)) => "timed out",
            Err(TaskError::WorkerLost(report)) if report.started() != Started::No => {
                match (idempotent, report.poisoned(), report.suspects()) {
                    (true, true, 1) => "poisoned",
                    (true, true, _) => return Err(format!("{self:?}: {report}")),
                    _ => "lost",
                }
            }
            _ => return Err(format!("{self:?}, idempotent {idempotent}: {settled:?}")),
        };
        Ok(word)
    }
}

impl Task for Toil {
    const NAME: &'static str = "toil";
    type Output = u64;
    type Error = Trouble;
    type State = Rc<Journal>;

    async fn run(self, cx: TaskContext<Rc<Journal>>) -> Result<u64, Trouble> {
        // One write at the end of a file is never torn or overwritten.
        let line = [self.index, cx.id().get(), life(&cx.worker())];
        let line: Vec<u8> = line.into_iter().flat_map(u64::to_le_bytes).collect();
        (&cx.state().0).write_all(&line).expect("the journal");
        let time = Duration::from_micros(self.micros);
        match self.deed {
            Deed::Compute => burn(time),
            Deed::Sleep => tokio::time::sleep(time).await,
            Deed::Fail => return Err(Trouble::Failed),
            Deed::Busy if cx.attempt() == 1 => return Err(Trouble::Busy),
            Deed::Busy => {}
            Deed::Panic => panic!("as told"),
            Deed::Abort => std::process::abort(),
            Deed::Spin => loop {
                std::hint::spin_loop();
            },
            Deed::Wait => std::future::pending().await,
            Deed::Flood => {
                // Nobody may be there to read it, which is the point.
                let _ = std::io::stderr().write_all(&[b'.'; 100_000]);
            }
        }
        Ok(self.answer())
    }

    fn is_transient(error: &Trouble) -> bool {
        *error == Trouble::Busy
    }
}

/// Names a worker process for good, as its number does not.
pub(crate) fn life(worker: &WorkerInfo) -> u64 {
    u64::from(worker.slot.index()) << 32 | u64::from(worker.generation)
}

/// The starts of each task, as the workers wrote them down: its id, and in which of their lives it was.
pub(crate) fn starts(dir: &Path) -> HashMap<u64, Vec<(u64, u64)>> {
    let mut starts: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
    let journal = fs::read(dir.join("starts")).expect("the journal");
    for line in journal.chunks_exact(24) {
        let [index, id, life] = [0, 8, 16].map(|at| {
            let number = line[at..at + 8].try_into().expect("8 bytes");
            u64::from_le_bytes(number)
        });
        starts.entry(index).or_default().push((id, life));
    }
    starts
}
