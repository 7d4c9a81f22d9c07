//! What has to be so on every platform, tried with as little as an emulated one can run.
//!
//! Whether a process lives is told by a connection from it to the test, which no platform keeps open for the dead.

use std::{
    env,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use actix_multiprocess::{
    NoError, Pool, PoolBuilder, Task, TaskContext, TaskError, WorkerSpec, worker_entry,
};
use serde::{Deserialize, Serialize};

/// Longer than anything here takes, even when the machine is busy and emulates another.
const WATCHDOG: Duration = Duration::from_secs(60);

const GRACE: Duration = Duration::from_millis(500);

/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(5);

/// In the environment of a host: where its workers connect to.
const WATCHER: &str = "ANY_PLATFORM_WATCHER";

/// Returns the process it runs in.
#[derive(Serialize, Deserialize)]
struct WhoAreYou;

impl Task for WhoAreYou {
    const NAME: &'static str = "who are you";
    type Output = u32;
    type Error = NoError;
    type State = ();
    async fn run(self, cx: TaskContext<()>) -> Result<u32, NoError> {
        Ok(cx.worker().pid)
    }
}

/// Connects to the test and then does not end.
#[derive(Serialize, Deserialize)]
struct Stay {
    watcher: SocketAddr,
    /// Never lets go of the event loop.
    spin: bool,
}

impl Task for Stay {
    const NAME: &'static str = "stay";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        // Open for as long as this process lives.
        std::mem::forget(present(self.watcher));
        if self.spin {
            loop {
                std::hint::spin_loop();
            }
        }
        std::future::pending().await
    }
}

/// Takes its process along.
#[derive(Serialize, Deserialize)]
struct Abort;

impl Task for Abort {
    const NAME: &'static str = "abort";
    type Output = ();
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<(), NoError> {
        std::process::abort()
    }
}

worker_entry!(
    WorkerSpec::new()
        .task::<WhoAreYou>()
        .task::<Stay>()
        .task::<Abort>()
);

fn present(watcher: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(watcher).expect("the test");
    stream.write_all(b"!").expect("the test");
    stream
}

#[track_caller]
fn run<T>(test: impl Future<Output = T>) -> T {
    actix::System::new().block_on(async {
        tokio::time::timeout(WATCHDOG, test)
            .await
            .expect("the watchdog: the test hangs")
    })
}

/// Elsewhere than on the event loop, which the pool needs meanwhile.
async fn aside<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(wait).await.expect("no panic")
}

fn builder(processes: usize) -> PoolBuilder {
    let pool = Pool::builder(workers()).processes(processes);
    pool.concurrency(1).grace(GRACE).wait_all()
}

fn watch() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let watcher = listener.local_addr().expect("a port");
    (listener, watcher)
}

/// The next process that presents itself.
fn next(listener: &TcpListener) -> TcpStream {
    let (mut process, _) = listener.accept().expect("a process");
    process.set_read_timeout(Some(WATCHDOG)).expect("a limit");
    process.read_exact(&mut [0]).expect("a process");
    process
}

/// Waits for the end of a process that has presented itself.
#[track_caller]
fn gone(mut process: TcpStream) {
    match process.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        lives => panic!("it lives: {lives:?}"),
    }
}

#[test]
fn killed_worker_is_replaced() {
    run(async {
        let (listener, watcher) = watch();
        let pool = builder(1).start().await.expect("a pool");
        let first = pool.submit(WhoAreYou).await.expect("a process");
        assert_ne!(first, std::process::id());
        let stays = pool.submit(Stay {
            watcher,
            spin: true,
        });
        let worker = aside(move || next(&listener)).await;
        let slot = pool.status().await.slots[0].slot;
        assert!(pool.kill(slot).await, "there is a worker to kill");
        let lost = stays.await.expect_err("its worker was killed");
        assert!(matches!(lost, TaskError::WorkerLost(_)), "{lost:?}");
        aside(|| gone(worker)).await;
        let second = pool.submit(WhoAreYou).await.expect("a process");
        assert_ne!(second, first);
        pool.stop().await;
    });
}

#[test]
fn crashed_worker_is_replaced() {
    run(async {
        let pool = builder(1).start().await.expect("a pool");
        let first = pool.submit(WhoAreYou).await.expect("a process");
        let lost = pool.submit(Abort).await.expect_err("its worker aborts");
        assert!(matches!(lost, TaskError::WorkerLost(_)), "{lost:?}");
        let second = pool.submit(WhoAreYou).await.expect("a process");
        assert_ne!(second, first);
        pool.stop().await;
    });
}

/// Two workers at work, one of them in a loop that never awaits.
async fn at_work(pool: &Pool) -> [TcpStream; 2] {
    let (listener, watcher) = watch();
    for spin in [true, false] {
        pool.submit(Stay { watcher, spin }).detach();
    }
    aside(move || [next(&listener), next(&listener)]).await
}

#[test]
fn workers_of_a_stopped_pool_end() {
    run(async {
        let pool = builder(2).start().await.expect("a pool");
        let workers = at_work(&pool).await;
        pool.stop().await;
        aside(|| workers.into_iter().for_each(gone)).await;
    });
}

#[test]
fn workers_end_with_the_system_of_their_host() {
    let (_pool, workers) = run(async {
        let pool = builder(2).start().await.expect("a pool");
        let workers = at_work(&pool).await;
        (pool, workers)
    });
    workers.into_iter().for_each(gone);
}

/// The host, when this binary is run as one: its workers wait, one of them in a loop, until it is killed.
#[test]
fn host_process() {
    let Ok(watcher) = env::var(WATCHER) else {
        return;
    };
    let watcher = watcher.parse().expect("an address");
    run(async {
        let pool = builder(2).start().await.expect("a pool");
        for spin in [true, false] {
            pool.submit(Stay { watcher, spin }).detach();
        }
        std::future::pending().await
    })
}

#[test]
fn workers_of_a_killed_host_end_within_the_grace() {
    let (listener, watcher) = watch();
    let mut host = Command::new(env::current_exe().expect("this program"))
        .args(["host_process", "--exact", "--nocapture"])
        .env(WATCHER, watcher.to_string())
        .stdin(Stdio::null())
        .spawn()
        .expect("a host");
    let workers = [next(&listener), next(&listener)];
    let killed = Instant::now();
    // On no platform is there anything that it could still do then.
    host.kill().expect("the host");
    host.wait().expect("the host");
    workers.into_iter().for_each(gone);
    let took = killed.elapsed();
    assert!(took < GRACE + SLACK, "the workers lived on for {took:?}");
}
