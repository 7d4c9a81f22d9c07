//! Starting a pool: where it runs, and until when its start is waited for.
//!
//! Belongs here: arbiters, threads, the first worker. Does not belong here: settings.
//! Invariant: nothing is left of a pool whose start failed or was given up.

use std::sync::Arc;

use actix::{Actor, Addr};
use actix_rt::{Arbiter, ArbiterHandle, System};
use tokio::sync::oneshot;

use crate::{
    error::{ConfigError, StartError},
    ipc::SocketPlace,
    pool::{HasInitArgs, Pool, PoolBuilder},
    sched::changing_at_once,
    supervisor::{
        PoolCore, PoolSupervisor,
        actor::Home,
        descriptors,
        descriptors::{Demand, QUARANTINE},
    },
    worker::SENTINEL,
};

impl<A> PoolBuilder<A> {
    /// Starts the pool on the current arbiter, or on its own with [`own_arbiter`](Self::own_arbiter), and waits until
    /// the first worker is ready, or all are with [`wait_all`](Self::wait_all).
    ///
    /// # Errors
    ///
    /// [`StartError::Config`] names a bad value; [`StartError::NoArbiter`] says that the thread runs no actix `System`;
    /// [`StartError::Worker`] is the first cause when the first attempt of every slot has failed, or of so many that the rest are not
    /// tried.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends what was started.
    pub async fn start(self) -> Result<Pool, StartError>
    where
        A: HasInitArgs,
    {
        if self.own_arbiter {
            return self.start_apart().await;
        }
        if Arbiter::try_current().is_none() {
            return Err(StartError::NoArbiter);
        }
        let mut prepared = self.prepare()?;
        let addr = prepared.actor(Home::Shared).start();
        prepared.started(addr).await
    }

    /// Starts the pool on another arbiter, and waits as [`start`](Self::start) does. Works from any thread and runtime.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); [`StartError::Closed`] when that arbiter has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends what was started.
    pub async fn start_on(self, arbiter: &ArbiterHandle) -> Result<Pool, StartError>
    where
        A: HasInitArgs,
    {
        self.prepare()?.start_on(arbiter, Home::Shared).await
    }

    async fn start_apart(self) -> Result<Pool, StartError> {
        let mut prepared = self.prepare()?;
        if System::try_current().is_some() {
            let arbiter = Arbiter::new();
            return prepared.start_on(&arbiter.handle(), Home::OwnArbiter).await;
        }
        let (sender, receiver) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        let actor = prepared.actor(Home::OwnSystem(ended_sender));
        std::thread::Builder::new()
            .name("pool".to_owned())
            .spawn(move || {
                System::new().block_on(async move {
                    // Nobody to tell when `start` was dropped; the address goes, and with it the pool.
                    let _ = sender.send(actor.start());
                    // Ends with an error: the sender is dropped with the actor.
                    let _ = ended.await;
                });
            })
            .map_err(|error| StartError::System {
                message: format!("no thread for the pool: {error}"),
            })?;
        let addr = receiver.await.map_err(|_| StartError::Closed)?;
        prepared.started(addr).await
    }

    /// Returns the pool's actor, for `actix::Supervisor`.
    ///
    /// With [`OnExhausted::Escalate`](crate::OnExhausted::Escalate) it ends when its restart budget is spent and no worker is
    /// ready, all that it has settled: what had not started as [`Rejected::Closed`](crate::Rejected::Closed), the rest as
    /// lost. Its supervisor then begins it anew, with a new budget, behind the same address: every `Addr`, `Recipient` and
    /// [`Pool`] taken before works after. In between, submits are refused as
    /// [`Rejected::Unavailable`](crate::Rejected::Unavailable).
    ///
    /// A pool that was stopped or drained stays so. [`wait_all`](Self::wait_all) and [`own_arbiter`](Self::own_arbiter)
    /// mean nothing here: nobody waits for its start, and it lives where its supervisor is started.
    ///
    /// # Errors
    ///
    /// [`StartError::Config`] names a bad value; [`StartError::NoSocket`] says that there is no place for sockets.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use actix_multiprocess::{OnExhausted, Pool, Workers};
    /// # async fn f(workers: Workers) -> Result<(), Box<dyn std::error::Error>> {
    /// let supervisor = Pool::builder(workers)
    ///     .on_exhausted(OnExhausted::Escalate)
    ///     .into_supervised()?;
    /// let addr = actix::Supervisor::start(|_| supervisor);
    /// let pool = Pool::from_addr(&addr).await?;
    /// # Ok(()) }
    /// ```
    pub fn into_supervised(self) -> Result<PoolSupervisor, StartError>
    where
        A: HasInitArgs,
    {
        Ok(self.prepare()?.actor(Home::Supervised))
    }

    /// Starts the pool on the current arbiter and waits for nothing.
    pub(super) fn start_now(self) -> Result<Pool, StartError> {
        if Arbiter::try_current().is_none() {
            return Err(StartError::NoArbiter);
        }
        let mut prepared = self.prepare()?;
        let addr = prepared.actor(Home::Shared).start();
        let core = prepared.core;
        Ok(Pool { addr, core })
    }

    fn prepare(self) -> Result<Prepared, StartError> {
        let worker = std::env::args_os().any(|argument| {
            argument
                .to_str()
                .is_some_and(|argument| argument.starts_with(SENTINEL))
        });
        if worker && self.workers.nesting().is_none() && self.workers.connects() {
            return Err(ConfigError::Contradiction {
                message: "this process was started as a worker, but no WorkerSpec of that name was initialised before a pool was started; call `init()` first in main".to_owned(),
            }
            .into());
        }
        let socket_dir = self.config.socket_dir.clone();
        let wait_all = self.wait_all;
        let (config, routing) = self.check()?;
        if config.launcher.connects() {
            let processes = config.processes as usize;
            let replacing = if config.one_life {
                0
            } else {
                changing_at_once(processes) + QUARANTINE
            };
            let threads = config.knobs.io_arbiters.min(processes);
            descriptors::check(Demand {
                workers: processes,
                replacing,
                threads,
                new_threads: threads,
            })?;
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| StartError::System {
            message: format!("no random name: {error}"),
        })?;
        let random = format!("{:016x}", u64::from_le_bytes(random));
        let place = SocketPlace::find(
            socket_dir.as_deref(),
            !config.launcher.knows_pids(),
            &random,
        )
        .map_err(|error| StartError::NoSocket {
            message: error.to_string(),
        })?;
        let core = PoolCore::new(config, routing);
        let (waiter, started) = oneshot::channel();
        core.control.await_start(wait_all, waiter);
        Ok(Prepared {
            place: Some(place),
            core,
            started,
        })
    }
}

/// A pool whose actor has yet to be started.
struct Prepared {
    place: Option<SocketPlace>,
    core: Arc<PoolCore>,
    started: oneshot::Receiver<Result<(), StartError>>,
}

impl Prepared {
    fn actor(&mut self, home: Home) -> PoolSupervisor {
        let place = self
            .place
            .take()
            .unwrap_or_else(|| SocketPlace::Namespace(String::new()));
        PoolSupervisor::new(Arc::clone(&self.core), place, home)
    }

    async fn start_on(mut self, arbiter: &ArbiterHandle, home: Home) -> Result<Pool, StartError> {
        let (sender, receiver) = oneshot::channel();
        let actor = self.actor(home);
        arbiter.spawn(async move {
            // Nobody to tell when `start` was dropped; the address goes, and with it the pool.
            let _ = sender.send(actor.start());
        });
        let addr = receiver.await.map_err(|_| StartError::Closed)?;
        self.started(addr).await
    }

    async fn started(self, addr: Addr<PoolSupervisor>) -> Result<Pool, StartError> {
        let pool = Pool {
            addr,
            core: self.core,
        };
        match self.started.await {
            Ok(Ok(())) => Ok(pool),
            Ok(Err(error)) => {
                // Nothing is left behind when the caller hears of it.
                pool.stop().await;
                Err(error)
            }
            Err(_) => Err(StartError::Closed),
        }
    }
}
