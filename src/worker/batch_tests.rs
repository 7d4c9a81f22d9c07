//! Tasks that come together end as if each had come alone, whatever their neighbours do and whatever is asked meanwhile.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    ipc::Stream,
    sched::model::Random,
    spec::WorkerSpec,
    task::{Board, Slot, Task, TaskContext, WorkerInfo},
    wire::{
        FrameReader, HostFrame, Outcome, RUN_VALUES, Run, Welcome, WorkerFrame, codec, frame_bytes,
    },
    worker::{
        Origin, ServeEnd, serve,
        session_tests::{LINEAGE, read},
    },
};

thread_local! {
    static RAN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static RUNNING: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// What an item does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Does {
    Returns,
    Fails,
    Panics,
    Waits,
    /// It cannot be decoded.
    Nonsense,
    /// What it returns is too long to share a frame.
    Long,
}

#[derive(Serialize, Deserialize)]
struct Item(Does);

/// Counts those that run at once, and their most.
struct Runs;

impl Runs {
    fn begin() -> Self {
        let (now, most) = RUNNING.get();
        RUNNING.set((now + 1, most.max(now + 1)));
        Self
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let (now, most) = RUNNING.get();
        RUNNING.set((now - 1, most));
    }
}

impl Task for Item {
    const NAME: &'static str = "item";
    type Output = String;
    type Error = u64;
    type State = ();

    async fn run(self, cx: TaskContext<()>) -> Result<String, u64> {
        RAN.with_borrow_mut(|ran| ran.push(cx.id().get()));
        let _runs = Runs::begin();
        match self.0 {
            Does::Returns | Does::Nonsense => {}
            Does::Long => return Ok("long".repeat(2000)),
            Does::Fails => return Err(cx.id().get()),
            Does::Panics => panic!("item {}", cx.id().get()),
            Does::Waits if cx.id().get().is_multiple_of(3) => sleep(Duration::from_millis(1)).await,
            Does::Waits => {
                for _ in 0..cx.id().get() % 3 {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(cx.id().get().to_string())
    }
}

/// A connection to a worker that runs items.
struct Host {
    stream: Stream,
    reader: FrameReader,
    board: Arc<Board>,
    ended: BTreeMap<u64, Outcome>,
    started: Vec<u64>,
    quiet: bool,
}

impl Host {
    async fn send(&self, frame: &HostFrame, tail: &[u8]) {
        let mut out = BytesMut::new();
        frame_bytes(frame, tail, &mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    async fn hear(&mut self) -> bool {
        let mut ready = false;
        for frame in read(&self.stream, &mut self.reader).await {
            match frame {
                WorkerFrame::Ready => ready = true,
                WorkerFrame::Quiet { quiet, .. } => self.quiet = quiet,
                WorkerFrame::Started { ticket } => self.started.push(ticket),
                WorkerFrame::Result {
                    ticket, outcome, ..
                } => {
                    let before = self.ended.insert(ticket, outcome);
                    assert_eq!(before, None, "{ticket} has ended twice");
                }
                WorkerFrame::Offer(_) | WorkerFrame::Pace { .. } | WorkerFrame::SlowPoll { .. } => {
                }
                frame => panic!("{frame:?}"),
            }
        }
        ready
    }

    async fn run(&self, first: u64, items: &[Does]) {
        let mut run = Run::default();
        for does in items {
            let mut input = codec::encode(&Item(*does)).unwrap().body().to_vec();
            if *does == Does::Nonsense {
                input.push(0);
            }
            run.push(|| (), &input);
        }
        let (tasks, tail) = run
            .seal(|(), tasks, bytes| (tasks, bytes.to_vec()))
            .unwrap();
        let frame = HostFrame::Tasks {
            ticket: first,
            id: first,
            attempt: 1,
            name: 0,
            tasks,
            run: None,
        };
        self.send(&frame, &tail).await;
    }
}

async fn together(random: &mut Random) {
    RAN.take();
    RUNNING.take();
    let concurrency = [1, 2, 16][random.below(3)];
    let (stream, worker) = Stream::memory();
    let board = Arc::new(Board::new(Instant::now()));
    let program = WorkerSpec::new().task::<Item>().into_program();
    let serving = tokio::task::spawn_local(serve(
        Arc::new(program),
        worker,
        Arc::clone(&board),
        Origin {
            worker: WorkerInfo::new(Slot::new(0), 0, 1),
            lineage: LINEAGE,
            kin: Box::new(|_, _| Rc::new(())),
            inherited: Vec::new(),
            setup: Ok(()),
        },
    ));
    let mut host = Host {
        stream,
        reader: FrameReader::new(),
        board,
        ended: BTreeMap::new(),
        started: Vec::new(),
        quiet: false,
    };
    let welcome = HostFrame::Welcome(Welcome {
        concurrency,
        max_frame_bytes: 1 << 24,
        cancel_grace_ms: 10_000,
        rest: 0,
        has_args: false,
        attachments: Vec::new(),
        lag: false,
        spares: true,
    });
    host.send(&welcome, &[]).await;
    while !host.hear().await {}
    // Until nothing is announced any more.
    let mut first = 1;
    while !host.quiet || host.ended.len() as u64 + 1 < first {
        if host.ended.len() as u64 + 1 == first {
            host.run(first, &[Does::Returns; 10]).await;
            first += 10;
        }
        host.hear().await;
    }
    RAN.take();
    RUNNING.take();

    let count = random.between(2, RUN_VALUES as usize);
    let quick = random.odds(1, 2);
    let items = Vec::from_iter((0..count).map(|_| {
        if quick && !random.odds(1, 20) {
            return Does::Returns;
        }
        random
            .pick(&[
                Does::Returns,
                Does::Fails,
                Does::Panics,
                Does::Waits,
                Does::Nonsense,
                Does::Long,
            ])
            .unwrap()
    }));
    let tickets = first..first + count as u64;
    let (mut given_back, mut cancelled) = (Vec::new(), Vec::new());
    for ticket in tickets.clone() {
        if random.odds(1, 30) {
            assert!(host.board.revoke(ticket));
            given_back.push(ticket);
        } else if random.odds(1, 30) {
            (host.board).ask(|requests| requests.cancelled.insert(ticket));
            cancelled.push(ticket);
        }
    }
    host.started.clear();
    let before = host.ended.len();
    host.run(first, &items).await;
    while host.ended.len() < before + count - given_back.len() {
        host.hear().await;
    }

    let ran = RAN.take();
    let mut expected = Vec::new();
    for (ticket, does) in tickets.zip(&items) {
        let outcome = host.ended.get(&ticket);
        if given_back.contains(&ticket) {
            assert_eq!(outcome, None, "{ticket}");
            continue;
        }
        if cancelled.contains(&ticket) {
            let refused = Outcome::Cancelled { started: false };
            assert_eq!(outcome, Some(&refused), "{ticket}");
            continue;
        }
        if *does != Does::Nonsense {
            expected.push(ticket);
        }
        let due = match does {
            Does::Returns | Does::Long | Does::Waits => Outcome::Done,
            Does::Fails => Outcome::Failed { transient: false },
            Does::Panics => Outcome::Panicked,
            Does::Nonsense => Outcome::Codec,
        };
        assert_eq!(outcome, Some(&due), "{ticket} {does:?}");
        if *does == Does::Waits && ticket.is_multiple_of(3) {
            assert!(host.started.contains(&ticket), "{ticket} was pending");
        }
    }
    assert_eq!(ran, expected, "in their order, each once");
    let (now, most) = RUNNING.get();
    assert!(now == 0 && most <= concurrency, "{most} of {concurrency}");
    host.board.requests(|requests| {
        assert!(requests.revoked.is_empty() && requests.cancelled.is_empty());
    });
    assert!(host.board.is_calm());
    host.board.ask(|requests| requests.exit = true);
    while poll_fn(|cx| host.stream.poll_read(cx, host.reader.space()))
        .await
        .is_ok_and(|bytes| bytes > 0)
    {}
    assert_eq!(serving.await.unwrap(), ServeEnd::Exit);
}

#[test]
fn whatever_they_do_each_ends_as_if_alone() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Those of the items are meant.
        if !info.to_string().contains("item ") {
            before(info);
        }
    }));
    for seed in 1..=60 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        actix_rt::System::new().block_on(together(&mut random));
    }
}

/// One whose context is still there has its own, and the next another one.
#[test]
fn a_context_that_was_kept_stays_that_of_its_task() {
    thread_local! {
        static KEPT: RefCell<Vec<TaskContext<()>>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Serialize, Deserialize)]
    struct Keeps;

    impl Task for Keeps {
        const NAME: &'static str = "item";
        type Output = ();
        type Error = ();
        type State = ();

        async fn run(self, cx: TaskContext<()>) -> Result<(), ()> {
            KEPT.with_borrow_mut(|kept| kept.push(cx));
            Ok(())
        }
    }

    let mut scope = Rc::new(crate::task::Scope::new(
        1,
        crate::task::TaskId::new(1),
        1,
        Rc::new(crate::task::WorkerEnv {
            worker: WorkerInfo::new(Slot::new(0), 0, 1),
            max_bytes: 1024,
            board: Arc::new(Board::new(Instant::now())),
            kin: Rc::new(()),
        }),
        None,
    ));
    for id in 2..5 {
        let context = TaskContext::new(Rc::clone(&scope), ());
        let run = Keeps.run(context);
        actix_rt::System::new().block_on(run).unwrap();
        scope.renew(id, crate::task::TaskId::new(id), 1, None);
    }
    let ids = KEPT.with_borrow(|kept| Vec::from_iter(kept.iter().map(|cx| cx.id().get())));
    assert_eq!(ids, [1, 2, 3]);
    // With nobody else it is used again, as good as new.
    let before = Rc::as_ptr(&scope);
    scope.listen(std::task::Waker::noop());
    scope.cancel();
    scope.renew(9, crate::task::TaskId::new(9), 2, Some(Instant::now()));
    assert_eq!(Rc::as_ptr(&scope), before);
    assert!(!scope.is_cancelled() && !scope.listens() && scope.until.is_some());
    assert_eq!((scope.ticket, scope.id.get(), scope.attempt), (9, 9, 2));
}
