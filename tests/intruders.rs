//! Strangers at a worker's socket are refused and reported, and the worker gets ready all the same.
//!
//! The worker of slot 1 is held in its setup hook: its control connection is made, its data connection is not, and so its
//! socket is there. Strangers of the worker's own process come from that hook, because any other process is refused for
//! its pid before its bytes are looked at.
#![cfg(unix)]

mod common_hostile;

use std::{
    future::Future,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_multiprocess::{
    NoError, Pool, PoolEvent, SlotState, Task, TaskContext, WorkerSpec, Workers, worker_entry,
};
use common_hostile::{Events, Scratch, block_until, eventually, put, refusal, socket, within};
use serde::{Deserialize, Serialize};

const SOON: Duration = Duration::from_secs(20);

#[derive(Serialize, Deserialize)]
struct Where;

impl Task for Where {
    const NAME: &'static str = "where";
    type Output = u32;
    type Error = NoError;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<u32, NoError> {
        Ok(cx.worker().slot.index())
    }
}

/// What a worker says first on a connection.
fn hello(channel: u8, token: u8) -> Vec<u8> {
    [b"actix-mp".as_slice(), &[channel], &[token; 32]].concat()
}

/// Describes workers the second of which waits in its setup hook for `go`, and first lets in an intruder.
fn spec(case: &'static str, intrude: fn(&Path) -> Option<UnixStream>) -> WorkerSpec {
    WorkerSpec::new()
        .setup(move |worker| {
            if worker.slot.index() != 1 || worker.generation != 0 {
                return;
            }
            let dir = Scratch::place(std::os::unix::process::parent_id(), case);
            block_until(|| dir.join("listening").exists());
            let kept = socket(&dir, "w1.0").and_then(|socket| intrude(&socket));
            put(&dir, "held");
            block_until(|| dir.join("go").exists());
            drop(kept);
        })
        .task::<Where>()
}

/// A pool whose second worker is held.
struct Held {
    pool: Pool,
    events: Events,
    dir: Scratch,
    socket: PathBuf,
}

impl Held {
    async fn start(case: &str, workers: Workers) -> Self {
        let dir = Scratch::named(case);
        let pool = Pool::builder(workers)
            .processes(2)
            .socket_dir(dir.path())
            .start()
            .await
            .expect("the first worker gets ready");
        let events = Events::of(&pool).await;
        let socket = socket(dir.path(), "w1.0").expect("the socket of the second worker");
        put(dir.path(), "listening");
        eventually("the worker is held", || dir.path().join("held").exists()).await;
        Self {
            pool,
            events,
            dir,
            socket,
        }
    }

    /// Waits until an intruder was refused for such a reason.
    async fn refused(&mut self, reason: &str) {
        let found = self.events.next(SOON, "refusal", refusal).await;
        assert!(
            found.contains(reason),
            "refused for another reason: {found}"
        );
    }

    /// Lets the worker go on; it is the first in its slot, and both serve.
    async fn serves(self) {
        assert_eq!(self.state().await, SlotState::Starting);
        put(self.dir.path(), "go");
        self.served().await;
    }

    async fn served(mut self) {
        self.ready().await;
        let mut slots = [self.pool.submit(Where).await.unwrap(), self.other().await];
        slots.sort_unstable();
        assert_eq!(slots, [0, 1]);
        for event in self.events.take() {
            assert!(
                !matches!(event, PoolEvent::WorkerLost { .. }),
                "a worker was lost: {event:?}"
            );
        }
        let report = within(SOON, "stop", self.pool.stop()).await;
        assert_eq!(report.killed, 0);
    }

    /// Waits until the worker is ready that was held, and not one that replaces it.
    async fn ready(&mut self) {
        let ready = |event: &PoolEvent| match event {
            PoolEvent::WorkerReady { worker, .. } => Some(*worker),
            _ => None,
        };
        let worker = self.events.next(SOON, "ready worker", ready).await;
        assert_eq!((worker.slot.index(), worker.generation), (1, 0));
    }

    /// Equals take turns.
    async fn other(&self) -> u32 {
        self.pool.submit(Where).await.unwrap()
    }

    async fn state(&self) -> SlotState {
        self.pool.status().await.slots[1].state
    }
}

fn run(test: impl Future<Output = ()>) {
    actix::System::new().block_on(within(Duration::from_secs(60), "the test", test));
}

/// One stranger out of the worker's own process that says `$bytes`; with `$keep` it says nothing more and stays.
macro_rules! intruder {
    ($case:ident says $bytes:expr, keeps $keep:literal, is refused for $reason:literal) => {
        mod $case {
            use super::*;

            worker_entry!(spec(stringify!($case), |socket| {
                let mut stranger = UnixStream::connect(socket).ok()?;
                stranger.write_all(&$bytes).ok()?;
                $keep.then_some(stranger)
            }));

            #[test]
            fn is_refused_and_the_worker_gets_ready() {
                run(async {
                    let mut held = Held::start(stringify!($case), workers()).await;
                    held.refused($reason).await;
                    held.serves().await;
                });
            }
        }
    };
}

intruder!(a_stranger_without_a_word says [], keeps false, is refused for "did not say who it is");
intruder!(half_a_hello says hello(0, 7)[..20], keeps false, is refused for "did not say who it is");
intruder!(half_a_hello_for_ever says hello(0, 7)[..40], keeps true, is refused for "within 10s");
intruder!(a_wrong_token_for_data says hello(0, 7), keeps true, is refused for "token is wrong");
intruder!(a_wrong_token_for_control says hello(1, 7), keeps true, is refused for "token is wrong");
intruder!(an_empty_token says hello(0, 0), keeps true, is refused for "token is wrong");
intruder!(an_unknown_channel says hello(2, 7), keeps true, is refused for "does not speak");
intruder!(garbage says [0xA5; 4096], keeps true, is refused for "does not speak");
intruder!(a_frame_of_4_gib says [0xFF; 64], keeps true, is refused for "does not speak");

mod a_slow_stranger {
    use super::*;

    worker_entry!(spec("slow", |socket| {
        let mut stranger = UnixStream::connect(socket).ok()?;
        stranger.write_all(b"actix").ok()?;
        // It outlives the hook.
        std::mem::forget(stranger);
        None
    }));

    #[test]
    fn is_overtaken_by_the_worker() {
        run(async {
            let mut held = Held::start("slow", workers()).await;
            put(held.dir.path(), "go");
            held.refused("came after the worker").await;
            held.served().await;
        });
    }
}

mod another_process {
    use super::*;

    worker_entry!(spec("other", |_| None));

    /// Also with words that the worker's own process would get further with.
    #[test]
    fn is_refused_for_its_pid() {
        run(async {
            let mut held = Held::start("other", workers()).await;
            let own = format!("process {}", std::process::id());
            for words in [&[][..], &hello(0, 7), &[0xA5; 4096], &[0xFF; 64]] {
                let mut stranger = UnixStream::connect(&held.socket).unwrap();
                // It may be refused before it has said this.
                let _ = stranger.write_all(words);
                held.refused(&own).await;
                stranger.set_read_timeout(Some(SOON)).unwrap();
                let answer = stranger.read(&mut [0; 16]);
                assert!(
                    matches!(&answer, Ok(0))
                        || answer.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
                    "it was answered, or left waiting"
                );
            }
            held.serves().await;
        });
    }
}

mod a_crowd {
    use super::*;

    worker_entry!(spec("crowd", |_| None));

    /// How many connections to this socket the system knows of, accepted or not.
    fn connections(socket: &Path) -> usize {
        let known = std::fs::read_to_string("/proc/net/unix").unwrap();
        let path = socket.to_str().unwrap();
        known.lines().filter(|line| line.ends_with(path)).count()
    }

    /// More of them than may be about to say who they are, and the worker is the last in the line.
    #[test]
    #[cfg(target_os = "linux")]
    fn does_not_keep_the_worker_out() {
        run(async {
            let mut held = Held::start("crowd", workers()).await;
            // From here on nobody is accepted, because this thread is the pool's.
            let crowd: Vec<_> = (0..100)
                .map(|_| UnixStream::connect(&held.socket).unwrap())
                .collect();
            let before = connections(&held.socket);
            assert!(before > 100);
            put(held.dir.path(), "go");
            block_until(|| connections(&held.socket) > before);
            for _ in &crowd {
                held.refused("").await;
            }
            held.served().await;
        });
    }
}

mod an_endless_crowd {
    use super::*;

    worker_entry!(spec("endless", |_| None));

    /// Set when the test is over, however it ends.
    #[derive(Default)]
    struct Over(Arc<AtomicBool>);

    impl Drop for Over {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn does_not_keep_the_worker_out() {
        run(async {
            let mut held = Held::start("endless", workers()).await;
            let over = Over::default();
            for _ in 0..2 {
                let (socket, over) = (held.socket.clone(), Arc::clone(&over.0));
                // Not joined: a socket on which nobody listens any more may keep it in `connect`.
                std::thread::spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let _ = UnixStream::connect(&socket);
                    }
                });
            }
            for _ in 0..200 {
                held.refused("").await;
            }
            held.serves().await;
        });
    }
}

mod a_latecomer {
    use super::*;

    worker_entry!(spec("late", |_| None));

    #[test]
    fn finds_no_socket() {
        run(async {
            let mut held = Held::start("late", workers()).await;
            assert!(held.socket.exists());
            put(held.dir.path(), "go");
            held.ready().await;
            assert!(UnixStream::connect(&held.socket).is_err());
            assert!(!held.socket.exists(), "the socket stays in the file system");
            held.pool.stop().await;
        });
    }
}
