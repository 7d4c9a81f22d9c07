//! What a pool puts up with from its tasks: how long they may take, and how often they may run.
//!
//! Belongs here: those settings, as methods of the builder. Does not belong here: what they may be, what they bring about.

use std::time::Duration;

use crate::{
    config::{KillPolicy, Retry},
    pool::{Capture, PoolBuilder},
};

impl<A> PoolBuilder<A> {
    /// Sets how long a task may take in all, from its being accepted: its deadline. Default: no limit.
    ///
    /// Its caller is told then ([`TaskError::TimedOut`](crate::TaskError::TimedOut)), whatever the task does; if it runs it is
    /// ended as a cancelled one is. Of the limits of a submission, of its name and of the pool the first that is set counts,
    /// in this order.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.config.timeout = Some(limit);
        self
    }

    /// Sets how long a task may wait for its first start, from its being accepted. Default: no limit.
    ///
    /// One that is over it does not run. If it was sent already its worker is asked for it; one that has started by then
    /// goes on.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.config.queue_timeout = Some(limit);
        self
    }

    /// Sets how long a task may run, from the start of each run as its worker tells it. Default: no limit.
    ///
    /// One that is over it is ended as a cancelled one is, and its caller told within `cancel_grace`; a task that listens to
    /// its token and returns meanwhile has its result.
    ///
    /// The start of a quick item of a map is not told, so that it costs no more than without a limit. Should it hold the event
    /// loop of its worker from its start on, that may be noticed by a quarter of the limit, at least 5 ms, late.
    pub fn run_timeout(mut self, limit: Duration) -> Self {
        self.config.run_timeout = Some(limit);
        self
    }

    /// Sets whose end may go as far as killing its worker. Default: [`KillPolicy::OnTimeout`].
    ///
    /// The others in a worker that is killed for one of them are not to blame: idempotent ones run again, no attempt
    /// spent; the rest settles as [`WorkerLost`](crate::TaskError::WorkerLost) with 0 suspects. Those that had not started
    /// are given back first. If the event loop is not what the one holds, they have 5 s to end, and the worker gets
    /// no new ones.
    pub fn kill(mut self, policy: KillPolicy) -> Self {
        self.config.kill = policy;
        self
    }

    /// Sets how often a worker that has tasks is asked for a sign of life. Default: 1 s. One that has none is left alone.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.config.heartbeat = interval;
        self
    }

    /// Sets after how long a worker has stalled that has tasks and does not go on: whose event loop is held by one poll, or
    /// that does not answer. Default: 10 s. It is told as [`PoolEvent::WorkerStalled`](crate::PoolEvent::WorkerStalled), at most
    /// a [`heartbeat`](Self::heartbeat) late.
    ///
    /// A task that awaits something, computes in [`TaskContext::block`](crate::TaskContext::block), or has a large value on its
    /// way, stalls nobody.
    pub fn stalled_after(mut self, limit: Duration) -> Self {
        self.config.stalled_after = limit;
        self
    }

    /// Sets whether a worker that has stalled is killed. Default: no.
    ///
    /// The task whose poll it was settles as [`WorkerLost`](crate::TaskError::WorkerLost) with
    /// [`LossCause::Stalled`](crate::LossCause::Stalled) and 1 suspect; one that is idempotent runs again, alone, and is given up
    /// when it stalls there, too. The others in that worker are not to blame: see [`kill`](Self::kill). If the worker did not
    /// answer at all, whatever it had started is a suspect.
    pub fn kill_stalled(mut self, kill: bool) -> Self {
        self.config.kill_stalled = kill;
        self
    }

    /// Sets how often an idempotent task may start whose workers are lost. Default: 3. At least 1.
    ///
    /// A task that may have killed its worker runs again alone, in a worker beside those of the slots that there is for as long as
    /// there are such tasks, one after the other ([`Slot::is_quarantine`](crate::Slot::is_quarantine)). The one that kills that,
    /// too, is not tried again: [`CrashReport::poisoned`](crate::CrashReport::poisoned). Where the worker was killed by a SIGKILL
    /// that the pool has not sent, its tasks run again beside others first, once.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.config.max_attempts = attempts;
        self
    }

    /// Sets where the inputs of tasks that may have killed their worker are kept. Default: nowhere.
    pub fn capture(mut self, capture: Capture) -> Self {
        self.capture = Some(capture);
        self
    }

    /// Sets how idempotent tasks run again for other reasons: those whose own error may go away. Default: [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.config.retry = retry;
        self
    }
}
