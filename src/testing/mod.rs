//! For tests of programs that use this crate. Feature `test-util`.
//!
//! Belongs here: workers in test binaries and in memory, and what a test wants to assert about a pool.
//! Does not belong here: anything a program in production would call.

#[doc(hidden)]
pub mod decoders;
mod faults;
mod in_process;

use std::ffi::OsString;

use crate::{
    pool::Pool,
    spec::{self, WorkerSpec, Workers},
    task::FaultPoint,
};

pub use crate::ipc::{Connection, Fault, PassingFrame, Way};
pub use faults::faulty;
pub use in_process::in_process;

/// Becomes a worker if this process was started as one. What [`worker_entry!`](crate::worker_entry) expands to.
#[doc(hidden)]
pub fn enter<S: 'static, A>(spec: WorkerSpec<S, A>, module: &str) -> Workers<A> {
    let entry = match module.split_once("::") {
        Some((_, path)) => format!("{path}::worker_entry"),
        None => "worker_entry".to_owned(),
    };
    let args: Vec<OsString> = [&entry, "--exact", "--nocapture", "--test-threads=1"]
        .map(OsString::from)
        .into();
    spec::enter_if_named(spec.into_program(), Some(args))
}

/// Makes a test binary able to be its own worker.
///
/// Expands to a test named `worker_entry`, which is the worker when the pool runs this binary again and passes at once
/// otherwise, and to `fn workers() -> Workers`. For workers whose initializer takes an argument, name its type:
/// `worker_entry!(spec(), Args)`.
///
/// # Examples
///
/// ```
/// # use actix_multiprocess::{worker_entry, WorkerSpec};
/// worker_entry!(WorkerSpec::new());
/// ```
#[macro_export]
macro_rules! worker_entry {
    ($spec:expr) => {
        $crate::worker_entry!($spec, ());
    };
    ($spec:expr, $args:ty) => {
        /// The worker, when this binary is run as one.
        #[test]
        fn worker_entry() {
            let _ = workers();
        }

        /// The workers of this test binary.
        fn workers() -> $crate::Workers<$args> {
            $crate::testing::enter($spec, ::std::module_path!())
        }
    };
}

/// Asserts that a pool has nothing left: no task waiting or running, no result untaken, every task settled.
///
/// # Panics
///
/// When there is something left, with what it is.
#[track_caller]
pub fn assert_clean(pool: &Pool) {
    let status = pool.core().status();
    assert_eq!(status.queued, 0, "tasks wait: {status:?}");
    assert_eq!(status.in_flight, 0, "tasks run: {status:?}");
    assert_eq!(status.bytes, 0, "bytes are counted of no task: {status:?}");
    assert_eq!(
        status.counts.accepted,
        status.counts.settled(),
        "not every task has settled: {status:?}"
    );
    assert_eq!(
        status.result_bytes, 0,
        "results are settled and not taken: {status:?}"
    );
}

/// Where [`panic_once`] makes a pool panic.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum PanicIn {
    /// The handler of `Submit`.
    SubmitHandler,
    /// A handler of a process proxy.
    ProxyHandler,
    /// The session of a worker.
    Session,
}

/// Makes a pool panic once, at the next time that it comes by the place.
#[doc(hidden)]
pub fn panic_once(pool: &Pool, place: PanicIn) {
    pool.core().fault.set(match place {
        PanicIn::SubmitHandler => FaultPoint::SubmitHandler,
        PanicIn::ProxyHandler => FaultPoint::ProxyHandler,
        PanicIn::Session => FaultPoint::Session,
    });
}
