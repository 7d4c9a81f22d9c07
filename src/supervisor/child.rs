//! A worker's process: waiting for its end, and ending it.
//!
//! Belongs here: signals and reaping, per platform. Does not belong here: when to do so, starting processes.
//! Invariants: only own processes are waited for; what a worker left in its process group is killed before the worker
//! is reaped, while its process id cannot name anybody else.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use crate::observe::ExitStatus;

/// A process, or what stands for one in tests.
pub(crate) trait WorkerProcess {
    fn pid(&self) -> u32;

    /// Waits for the end.
    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<ExitStatus>;

    /// Asks the process group to end.
    fn terminate(&mut self);

    /// Ends the process group.
    fn kill(&mut self);

    /// It has been asked to end in good order: unless it has to be killed nobody will ask what it took.
    fn leaves(&mut self) {}

    /// The time that it had on CPUs. Known once it has ended, where the system tells.
    fn cpu_time(&self) -> Option<Duration> {
        None
    }

    /// Ends the process group and waits for the end, without a runtime, for at most `limit`.
    fn kill_now(&mut self, limit: Duration);
}

#[cfg(target_os = "linux")]
pub(crate) use linux::OsProcess;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::OsProcess;

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        os::{fd::OwnedFd, unix::process::ExitStatusExt},
        process::Child,
        task::{Context, Poll, ready},
        time::{Duration, Instant},
    };

    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
    };
    use tokio::io::unix::AsyncFd;

    use super::{ExitStatus, WorkerProcess};
    use crate::supervisor::meter;

    /// A child process watched through a pidfd: no signal handler, and nobody else's children.
    #[derive(Debug)]
    pub(crate) struct OsProcess {
        child: Child,
        /// `None` when the process had gone before it could be watched.
        watched: Option<AsyncFd<OwnedFd>>,
        exited: Option<ExitStatus>,
        cpu_time: Option<Duration>,
        leaves: bool,
    }

    impl OsProcess {
        pub(crate) fn new(child: Child) -> std::io::Result<Self> {
            let pid = pid(&child);
            let watched = match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
                Some(Ok(pidfd)) => match Self::watch(pidfd) {
                    Ok(watched) => Some(watched),
                    Err(error) => {
                        let mut child = child;
                        let _ = child.kill();
                        let _ = child.wait();
                        return Err(error);
                    }
                },
                // With SIGCHLD ignored the system reaps, and may have done so already.
                Some(Err(rustix::io::Errno::SRCH)) | None => None,
                Some(Err(error)) => {
                    let mut child = child;
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(std::io::Error::new(
                        std::io::Error::from(error).kind(),
                        format!("pidfd_open failed ({error}); Linux 5.3 or newer is needed"),
                    ));
                }
            };
            Ok(Self {
                child,
                watched,
                exited: None,
                cpu_time: None,
                leaves: false,
            })
        }

        #[expect(
            deprecated,
            reason = "the unsoundness is that of descriptors that change; an OwnedFd does not, and the replacement is unsafe"
        )]
        fn watch(pidfd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
            AsyncFd::new(pidfd)
        }

        /// The process is a zombie, or gone: kills what is left of its group, then reaps it.
        fn reap(&mut self) -> ExitStatus {
            self.signal_group(Signal::KILL);
            if !self.leaves {
                // Nobody remembers it once it is reaped.
                self.cpu_time = meter::cpu_time(self.child.id());
            }
            let exit = match self.child.try_wait() {
                Ok(Some(status)) => ExitStatus {
                    code: status.code(),
                    signal: status.signal(),
                },
                // Reaped by the system, because SIGCHLD is ignored, or by a foreign waitpid(-1).
                Ok(None) | Err(_) => ExitStatus::default(),
            };
            self.exited = Some(exit);
            exit
        }

        fn signal_group(&self, signal: Signal) {
            if self.exited.is_none()
                && let Some(group) = pid(&self.child)
            {
                // Fails when nobody is left, which is what is wanted.
                let _ = kill_process_group(group, signal);
            }
        }
    }

    fn pid(child: &Child) -> Option<Pid> {
        i32::try_from(child.id()).ok().and_then(Pid::from_raw)
    }

    impl WorkerProcess for OsProcess {
        fn pid(&self) -> u32 {
            self.child.id()
        }

        fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<ExitStatus> {
            if let Some(exit) = self.exited {
                return Poll::Ready(exit);
            }
            if let Some(watched) = &self.watched {
                // An error means that there is no reactor any more; then only `kill_now` is left.
                let _ = ready!(watched.poll_read_ready(cx));
            }
            Poll::Ready(self.reap())
        }

        fn terminate(&mut self) {
            self.signal_group(Signal::TERM);
        }

        fn leaves(&mut self) {
            self.leaves = true;
        }

        fn kill(&mut self) {
            self.leaves = false;
            self.signal_group(Signal::KILL);
            // By itself, too: it may have moved to another group.
            if self.exited.is_none()
                && let Some(watched) = &self.watched
            {
                let _ = pidfd_send_signal(watched.get_ref(), Signal::KILL);
            }
        }

        fn cpu_time(&self) -> Option<Duration> {
            self.cpu_time
        }

        fn kill_now(&mut self, limit: Duration) {
            if self.exited.is_some() {
                return;
            }
            self.kill();
            if let Some(watched) = &self.watched {
                let until = Instant::now() + limit;
                loop {
                    let left = until.saturating_duration_since(Instant::now());
                    let left = Timespec {
                        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                        tv_nsec: left.subsec_nanos().into(),
                    };
                    let mut fds = [PollFd::new(watched.get_ref(), PollFlags::IN)];
                    match poll(&mut fds, Some(&left)) {
                        Err(rustix::io::Errno::INTR) => {}
                        // Not even SIGKILL ends what hangs in the kernel: waiting on would hang the host with it.
                        Ok(0) | Err(_) => return,
                        Ok(_) => break,
                    }
                }
            }
            self.reap();
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll},
        time::{Duration, Instant},
    };

    use tokio::process::Child;

    use super::{ExitStatus, WorkerProcess};

    /// A child process watched by tokio.
    #[derive(Debug)]
    pub(crate) struct OsProcess {
        child: Child,
        pid: u32,
        exited: Option<ExitStatus>,
    }

    impl OsProcess {
        pub(crate) fn new(child: Child) -> std::io::Result<Self> {
            let pid = child.id().unwrap_or(0);
            Ok(Self {
                child,
                pid,
                exited: None,
            })
        }

        fn note(&mut self, status: std::io::Result<std::process::ExitStatus>) -> ExitStatus {
            self.kill_group();
            let exit = status.map_or_else(
                |_| ExitStatus::default(),
                |status| ExitStatus {
                    code: status.code(),
                    #[cfg(unix)]
                    signal: std::os::unix::process::ExitStatusExt::signal(&status),
                    #[cfg(not(unix))]
                    signal: None,
                },
            );
            self.exited = Some(exit);
            exit
        }

        #[cfg(unix)]
        fn signal_group(&self, signal: rustix::process::Signal) {
            let group = i32::try_from(self.pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            if let Some(group) = group {
                let _ = rustix::process::kill_process_group(group, signal);
            }
        }

        #[cfg(unix)]
        fn kill_group(&self) {
            self.signal_group(rustix::process::Signal::KILL);
        }

        #[cfg(not(unix))]
        fn kill_group(&self) {}
    }

    impl WorkerProcess for OsProcess {
        fn pid(&self) -> u32 {
            self.pid
        }

        fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<ExitStatus> {
            if let Some(exit) = self.exited {
                return Poll::Ready(exit);
            }
            // Waiting is cancel safe: what it registered stays registered.
            let status = std::task::ready!(pin!(self.child.wait()).poll(cx));
            Poll::Ready(self.note(status))
        }

        fn terminate(&mut self) {
            #[cfg(unix)]
            self.signal_group(rustix::process::Signal::TERM);
        }

        fn kill(&mut self) {
            if self.exited.is_none() {
                self.kill_group();
                let _ = self.child.start_kill();
            }
        }

        fn kill_now(&mut self, limit: Duration) {
            if self.exited.is_some() {
                return;
            }
            self.kill();
            let until = Instant::now() + limit;
            // Without a runtime there is nothing to be woken by, and the end is microseconds away.
            while Instant::now() < until {
                if let Ok(Some(status)) = self.child.try_wait() {
                    self.note(Ok(status));
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
