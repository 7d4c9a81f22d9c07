//! Workers whose connections are not what they should be.
//!
//! Belongs here: putting faults between a pool and any workers, processes or not. Does not belong here: what a fault does.

use std::{fmt, sync::Arc};

use crate::{
    config::{Launcher, Output, Stdio},
    error::WorkerStartError,
    ipc::{Connection, Fault, FaultPlan, FaultyStream, PassingFrame, Stream},
    spec::Workers,
    supervisor::{Launch, LaunchOrder, Launched},
    task::WorkerInfo,
};

/// Has every frame between a pool and these workers pass by `plan`, which says what happens to it; `None` is nothing.
///
/// For workers that are processes as for those of [`in_process`](super::in_process). The plan is asked once for each frame,
/// in the order of each connection and direction, on the pool's arbiter. A plan that draws its faults from a seed can be
/// repeated as far as the frames can; one that names frames by [`PassingFrame::nth`] always.
///
/// Costs a copy of each frame and a task for each connection: not for measuring speed. Not seen on it: how a pool
/// distinguishes the bytes that a dead process has left from those that are on their way, for there are such here.
///
/// # Examples
///
/// ```
/// use actix_multiprocess::{
///     Workers, WorkerSpec,
///     testing::{Connection, Fault, Way, faulty, in_process},
/// };
///
/// let workers: Workers = in_process(WorkerSpec::new());
/// // The fifth frame of each worker ends half-way, and its connection with it.
/// let workers = faulty(workers, |frame| {
///     let is_it = frame.connection == Connection::Data && frame.way == Way::FromWorker && frame.nth == 5;
///     is_it.then_some(Fault::Cut(frame.bytes / 2))
/// });
/// ```
pub fn faulty<A>(
    workers: Workers<A>,
    plan: impl Fn(&PassingFrame) -> Option<Fault> + Send + Sync + 'static,
) -> Workers<A> {
    let plan: FaultPlan = Arc::new(plan);
    workers.launched_by(|launcher| Arc::new(Faulty { launcher, plan }))
}

struct Faulty {
    launcher: Arc<dyn Launch>,
    plan: FaultPlan,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faulty").field(&self.launcher).finish()
    }
}

impl Launch for Faulty {
    fn connects(&self) -> bool {
        self.launcher.connects()
    }

    fn stdout(&self, wanted: &Stdio) -> Output {
        self.launcher.stdout(wanted)
    }

    fn knows_pids(&self) -> bool {
        self.launcher.knows_pids()
    }

    fn with(&self, launcher: Launcher) -> Option<Arc<dyn Launch>> {
        let launcher = self.launcher.with(launcher)?;
        let plan = Arc::clone(&self.plan);
        Some(Arc::new(Self { launcher, plan }))
    }

    fn launch(&self, order: LaunchOrder) -> Result<Launched, WorkerStartError> {
        self.launcher.launch(order)
    }

    fn connected(&self, worker: WorkerInfo, data: Stream, control: Stream) -> (Stream, Stream) {
        let (data, control) = self.launcher.connected(worker, data, control);
        let faulty =
            |stream, connection| FaultyStream::between(stream, &self.plan, worker, connection);
        (
            faulty(data, Connection::Data),
            faulty(control, Connection::Control),
        )
    }
}
