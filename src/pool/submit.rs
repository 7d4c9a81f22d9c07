//! One task on its way to a pool.
//!
//! Belongs here: the value with its options. Does not belong here: waiting for its outcome.

use std::{fmt, hash::Hash, time::Duration};

use crate::{
    error::{CodecError, CodecSide, CodecValue, TaskError},
    supervisor::SubmitTask,
    task::{Key, Priority, Task, Terms, TimeLimits},
    wire::{Payload, Run, codec},
};

/// A task to be run, with options. The message to send to a pool's address.
///
/// [`Submit::new`] encodes the task, so that the caller's thread pays for it; a clone shares the bytes. One that is made by
/// `into` is encoded when it is cloned or submitted. A value that cannot be encoded settles as [`TaskError::Codec`].
///
/// What comes back is decoded where a [`TaskHandle`](crate::TaskHandle) or [`Map`](crate::Map) is polled. Only the answer to a message
/// is decoded by the pool: on its arbiter, or on the [thread](crate::PoolBuilder::io_arbiters) that the worker's socket has. So large
/// values are better submitted than sent.
///
/// # Examples
///
/// ```no_run
/// # use actix_multiprocess::{Pool, Submit, Task};
/// # async fn f<T: Task>(pool: Pool, task: T) -> Result<(), Box<dyn std::error::Error>> where T::Error: std::error::Error {
/// let output = pool.addr().send(Submit::new(task).idempotent()).await??;
/// # Ok(()) }
/// ```
#[must_use = "a task that is not submitted does not run"]
pub struct Submit<T> {
    input: Input<T>,
    terms: Terms,
    limits: TimeLimits,
}

/// The value of a task.
enum Input<T> {
    /// A map has many of them encoded in one place.
    Value(T),
    Encoded(Result<Payload, Box<CodecError>>),
}

impl<T: Task> Input<T> {
    fn encoded(&self) -> Result<Payload, Box<CodecError>> {
        match self {
            Self::Value(task) => encode(task),
            Self::Encoded(encoded) => encoded.clone(),
        }
    }
}

fn encode<T: Task>(task: &T) -> Result<Payload, Box<CodecError>> {
    codec::encode_checked(task, CodecValue::Input, CodecSide::Host).map_err(Box::new)
}

impl<T: Task> Submit<T> {
    /// Encodes a task.
    pub fn new(task: T) -> Self {
        Self::of(Input::Encoded(encode(&task)))
    }

    fn of(input: Input<T>) -> Self {
        Self {
            input,
            terms: Terms {
                idempotent: T::IDEMPOTENT,
                exclusive: T::EXCLUSIVE,
                ..Terms::default()
            },
            limits: TimeLimits::default(),
        }
    }

    /// Allows the task to run again when the worker that had started it was lost. Default: [`Task::IDEMPOTENT`].
    pub fn idempotent(mut self) -> Self {
        self.terms.idempotent = true;
        self
    }

    /// Runs the task alone in its worker. Default: [`Task::EXCLUSIVE`].
    pub fn exclusive(mut self) -> Self {
        self.terms.exclusive = true;
        self
    }

    /// Sets how long the task may take in all, from its being accepted. Default: the pool's for its name
    /// ([`PoolBuilder::timeout`](crate::PoolBuilder::timeout)).
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limits.total = Some(limit);
        self
    }

    /// Sets how long the task may wait for its first start. Default: the pool's for its name
    /// ([`PoolBuilder::queue_timeout`](crate::PoolBuilder::queue_timeout)).
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.limits.queue = Some(limit);
        self
    }

    /// Sets how long the task may run, each time that it is started. Default: the pool's for its name
    /// ([`PoolBuilder::run_timeout`](crate::PoolBuilder::run_timeout)).
    pub fn run_timeout(mut self, limit: Duration) -> Self {
        self.limits.run = Some(limit);
        self
    }

    /// Sets who goes first among tasks that wait. Default: [`Priority::Normal`].
    pub fn priority(mut self, priority: Priority) -> Self {
        self.terms.priority = priority;
        self
    }

    /// Has the task run in the same worker as others with an equal key, one that was given the key before: for caches,
    /// sessions and whatever else a worker keeps. Default: none.
    ///
    /// A new key goes to the less loaded of two workers that its hash names among those that are ready, and stays there until
    /// that worker retires or ends; then it goes to another. So a burst of new keys is better sent to a pool whose
    /// workers are all ready ([`wait_all`](crate::PoolBuilder::wait_all)). Its tasks wait for that worker, those of one
    /// name in their order, while others may pass them on their way to other workers. A pool remembers a key for as long as
    /// its worker serves, which takes some 50 bytes: with keys without end, such as sessions, let workers be replaced now
    /// and then ([`max_age`](crate::PoolBuilder::max_age)). Not kept over a restart of the host. The pool's
    /// [`Routing`](crate::Routing) is not asked.
    ///
    /// It is no lock: as many tasks of a key run at once as the worker's `concurrency` allows, and while a worker that
    /// retires still has some, others run where the key has gone.
    pub fn key(mut self, key: impl Hash) -> Self {
        self.terms.key = Some(Key::of(key));
        self
    }

    /// Allows the task to be sent to a worker that has as many tasks as it runs at once, and to wait there, if all that the
    /// worker has takes no longer than 200 µs by what tasks of those names have taken. Default: only if it is idempotent.
    ///
    /// It saves waking a process for each handful of quick tasks, which is most of what those cost. It is a few hundred tasks of
    /// a microsecond and none that take longer; `concurrency` says how many run at once as before. When a worker dies, those that
    /// had surely not started go to another, no attempt spent; but it may have ended some dozens of which it has not said so,
    /// and what is not idempotent of these is lost. No task waits in a worker if the pool limits memory, has a
    /// [`Routing`](crate::Routing) of its own, or the task is exclusive or has a key.
    pub fn read_ahead(mut self, allowed: bool) -> Self {
        self.terms.read_ahead = Some(allowed);
        self
    }

    /// On which terms it may be one with others, and how long it may run, if there is nothing of its own about it but its input.
    #[inline]
    pub(super) fn shares(&self) -> Option<(Terms, Option<Duration>)> {
        let Terms { exclusive, key, .. } = self.terms;
        let own =
            exclusive || key.is_some() || !self.limits.is_run_only() || !self.terms.is_sent_ahead();
        (!own).then_some((self.terms, self.limits.run))
    }

    /// Has its input one of others, or keeps it if that is not fit for it. Returns whether it is one of them.
    #[inline]
    pub(super) fn join<H>(&mut self, run: &mut Run<H>, head: impl FnOnce() -> H) -> bool {
        let joined = run.encode(head, |to, attach| match &self.input {
            Input::Value(task) => {
                codec::append_checked(task, CodecValue::Input, CodecSide::Host, to, attach)
            }
            Input::Encoded(encoded) => {
                let payload = encoded.as_ref().map_err(Clone::clone)?;
                to.extend_from_slice(payload.body());
                attach.extend_from_slice(payload.attachments());
                Ok(())
            }
        });
        let Some(alone) = joined.transpose() else {
            return true;
        };
        self.input = Input::Encoded(alone.map(|payload| *payload));
        false
    }

    /// So many of one name, whose input is a run.
    pub(super) fn run_of(
        (terms, run): (Terms, Option<Duration>),
        input: Payload,
        tasks: u32,
    ) -> SubmitTask {
        SubmitTask {
            name: T::NAME,
            payload: Ok(input),
            terms,
            limits: TimeLimits {
                run,
                ..TimeLimits::default()
            },
            tasks,
        }
    }

    pub(super) fn into_task(self) -> SubmitTask {
        SubmitTask {
            name: T::NAME,
            payload: match self.input {
                Input::Value(task) => encode(&task),
                Input::Encoded(encoded) => encoded,
            },
            terms: self.terms,
            limits: self.limits,
            tasks: 1,
        }
    }
}

impl<T: Task> From<T> for Submit<T> {
    #[inline]
    fn from(task: T) -> Self {
        Self::of(Input::Value(task))
    }
}

impl<T: Task> Clone for Submit<T> {
    fn clone(&self) -> Self {
        Self {
            input: Input::Encoded(self.input.encoded()),
            terms: self.terms,
            limits: self.limits,
        }
    }
}

impl<T: Task> fmt::Debug for Submit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit")
            .field("name", &T::NAME)
            .field("bytes", &self.input.encoded().as_ref().map(Payload::len))
            .field("idempotent", &self.terms.idempotent)
            .field("exclusive", &self.terms.exclusive)
            .field("priority", &self.terms.priority)
            .field("key", &self.terms.key.is_some())
            .field("read_ahead", &self.terms.is_sent_ahead())
            .field("timeout", &self.limits.total)
            .field("queue_timeout", &self.limits.queue)
            .field("run_timeout", &self.limits.run)
            .finish()
    }
}

impl<T: Task> actix::Message for Submit<T> {
    type Result = Result<T::Output, TaskError<T::Error>>;
}
