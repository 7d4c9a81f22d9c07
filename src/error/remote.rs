//! An error that happened in another process.
//!
//! Belongs here: taking any error or panic apart into texts, carrying them, showing them again.
//! Does not belong here: the enums callers match on, or how bytes travel.
//! Invariant: however it was made, also from the bytes of a hostile worker, it holds at most about 108 KiB.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::panic::Location;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::task::{TaskId, WorkerInfo};

use super::chain::{self, Link, Source};
use super::text::Capped;

type Kind = Capped<256>;
type Message = Capped<{ 8 * 1024 }>;
type Place = Capped<1024>;
type Trace = Capped<{ 64 * 1024 }>;

/// Any error of a task, carried from the process where it happened to the one that asked.
///
/// It takes `?` from every [`std::error::Error`] and keeps its texts: message, sources, place, and a backtrace if
/// `RUST_BACKTRACE` is set in the worker. Like `anyhow::Error` it is no `std::error::Error` itself, which is what lets
/// `?` convert into it; it derefs to one whose [`source`](std::error::Error::source) walks the chain.
///
/// `Display` shows the message, `{:#}` the message and its sources, `Debug` their place too, and
/// [`report`](Self::report) everything. What is longer than 8 KiB (message), 16 sources of 2 KiB, 256 bytes (kind),
/// 1 KiB (location) or 64 KiB (backtrace) is cut, with a mark.
///
/// # Examples
///
/// ```
/// use actix_multiprocess::RemoteError;
///
/// fn parse(text: &str) -> Result<u32, RemoteError> {
///     let number: u32 = text.parse()?;
///     if number == 0 {
///         return Err(RemoteError::msg("a width of 0 pixels"));
///     }
///     Ok(number)
/// }
///
/// let error = parse("ten").err().ok_or("parsed")?;
/// assert_eq!(error.kind(), "core::num::error::ParseIntError");
/// assert_eq!(error.to_string(), "invalid digit found in string");
/// # Ok::<(), &str>(())
/// ```
// One pointer wide, because it travels in the `Err` of every result.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteError(Box<Remote>);

#[derive(Clone, PartialEq, Eq)]
struct Remote {
    kind: Kind,
    head: Link<Message>,
    location: Option<Place>,
    backtrace: Option<Trace>,
    worker: Option<WorkerInfo>,
    task: Option<TaskId>,
}

impl RemoteError {
    /// Creates one from the name of its kind and a message, with the caller's place as its location.
    #[track_caller]
    #[must_use]
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::made(
            Kind::new(&kind.into()),
            Message::new(&message.into()),
            Vec::new(),
        )
    }

    /// Creates one of kind `error` from a message, with the caller's place as its location.
    #[track_caller]
    #[must_use]
    pub fn msg(message: impl fmt::Display) -> Self {
        Self::made(Kind::new("error"), Message::of(&message), Vec::new())
    }

    /// Creates the one of a panic, from what the panic hook saw.
    pub(crate) fn panic(
        message: String,
        location: Option<String>,
        backtrace: Option<String>,
    ) -> Self {
        Self(Box::new(Remote {
            kind: Kind::new("panic"),
            head: Link::new(Message::new(&message), Vec::new()),
            location: location.as_deref().map(Place::new),
            backtrace: backtrace.as_deref().map(Trace::new),
            worker: None,
            task: None,
        }))
    }

    /// Fills in where it happened, unless that is known.
    ///
    /// An error that a task passes on from a pool of its own keeps the worker it really happened in.
    pub(crate) fn at(mut self, worker: WorkerInfo, task: TaskId) -> Self {
        self.happened_at(worker, task);
        self
    }

    /// The same where it is.
    pub(crate) fn happened_at(&mut self, worker: WorkerInfo, task: TaskId) {
        self.0.worker.get_or_insert(worker);
        self.0.task.get_or_insert(task);
    }

    #[track_caller]
    fn made(kind: Kind, message: Message, sources: Vec<Source>) -> Self {
        let backtrace = Backtrace::capture();
        Self(Box::new(Remote {
            kind,
            head: Link::new(message, sources),
            location: Some(Place::of(Location::caller())),
            backtrace: (backtrace.status() == BacktraceStatus::Captured)
                .then(|| Trace::of(&backtrace)),
            worker: None,
            task: None,
        }))
    }

    /// Returns the type name of the error, or `panic`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.kind.as_str()
    }

    /// Returns the text of the error itself, without its sources.
    #[must_use]
    pub fn message(&self) -> &str {
        self.0.head.text()
    }

    /// Returns the texts of its sources, the outermost first; the message is not among them.
    pub fn chain(&self) -> impl Iterator<Item = &str> {
        self.0.head.sources()
    }

    /// Returns `file:line:column` of the `?` that converted it, or of the panic.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_ref().map(Capped::as_str)
    }

    /// Returns its backtrace, if the worker ran with `RUST_BACKTRACE` set.
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        self.0.backtrace.as_ref().map(Capped::as_str)
    }

    /// Returns the worker it happened in.
    #[must_use]
    pub fn worker(&self) -> Option<WorkerInfo> {
        self.0.worker
    }

    /// Returns the task it happened in.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        self.0.task
    }

    /// Returns everything that is known, on many lines, for a log or a bug report.
    pub fn report(&self) -> impl fmt::Display {
        Report(self)
    }
}

impl<E: StdError + 'static> From<E> for RemoteError {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::made(
            Kind::new(std::any::type_name::<E>()),
            Message::of(&error),
            chain::of(&error),
        )
    }
}

impl Deref for RemoteError {
    type Target = dyn StdError + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &self.0.head
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())?;
        if f.alternate() {
            for source in self.chain() {
                write!(f, ": {source}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")?;
        match self.location() {
            Some(location) => write!(f, " (at {location})"),
            None => Ok(()),
        }
    }
}

struct Report<'a>(&'a RemoteError);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        f.write_str(error.message())?;
        for source in error.chain() {
            write!(f, "\n  caused by: {source}")?;
        }
        write!(f, "\n  kind: {}", error.kind())?;
        if let Some(location) = error.location() {
            write!(f, "\n  at: {location}")?;
        }
        if let Some(worker) = error.worker() {
            write!(f, "\n  in: {worker}")?;
        }
        if let Some(task) = error.task() {
            write!(f, "\n  of: {task}")?;
        }
        match error.backtrace() {
            Some(backtrace) => write!(f, "\n  backtrace:\n{}", backtrace.trim_end()),
            None => Ok(()),
        }
    }
}

/// What is sent: [`WireRef`] writes it and [`Wire`] reads it, so their fields stay in the same order.
#[derive(Serialize)]
#[serde(rename = "RemoteError")]
struct WireRef<'a> {
    kind: &'a str,
    message: &'a str,
    chain: Vec<&'a str>,
    location: Option<&'a str>,
    backtrace: Option<&'a str>,
    worker: Option<WorkerInfo>,
    task: Option<TaskId>,
}

#[derive(Deserialize)]
#[serde(rename = "RemoteError")]
struct Wire {
    kind: Kind,
    message: Message,
    #[serde(deserialize_with = "chain::read")]
    chain: Vec<Source>,
    location: Option<Place>,
    backtrace: Option<Trace>,
    worker: Option<WorkerInfo>,
    task: Option<TaskId>,
}

impl Serialize for RemoteError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WireRef {
            kind: self.kind(),
            message: self.message(),
            chain: self.chain().collect(),
            location: self.location(),
            backtrace: self.backtrace(),
            worker: self.worker(),
            task: self.task(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RemoteError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self(Box::new(Remote {
            kind: wire.kind,
            head: Link::new(wire.message, wire.chain),
            location: wire.location,
            backtrace: wire.backtrace,
            worker: wire.worker,
            task: wire.task,
        })))
    }
}
