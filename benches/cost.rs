//! Tasks whose instructions can be counted: the pool, its session and its worker on one thread, and nothing left to chance.
//!
//! Not a measurement by itself: `benches/cost` runs it twice under callgrind, with different numbers of batches, and what
//! differs is what the batches cost. Every batch is awaited to its end, so each finds the pool as the one before found it.
//! What is called from here is in functions of its own that are never inlined, so that a profile tells asking from taking.
//! Run by hand it says how many tasks it ran: `cargo bench --features test-util --bench cost -- map 16 100`.

use std::{
    error::Error,
    future::{IntoFuture, poll_fn},
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use actix_multiprocess::{
    NoError, Pool, Task, TaskContext, TaskError, TaskHandle, WorkerSpec, testing,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Noop([u8; 8]);

impl Task for Noop {
    const NAME: &'static str = "noop";
    type Output = [u8; 8];
    // Or it would neither wait in a worker nor share a frame with others.
    const IDEMPOTENT: bool = true;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<[u8; 8], NoError> {
        Ok(self.0)
    }
}

/// Batches before the counted ones: by then buffers are as large as they become, and the pool knows how quick the tasks are.
const WARM_UP: u64 = 64;

#[derive(Debug, Clone, Copy)]
enum How {
    Submit,
    Map,
}

/// What a run is asked for.
struct Args {
    how: How,
    size: u64,
    batches: u64,
}

impl Args {
    /// Reads `submit|map`, the tasks of a batch, and the number of batches. What cargo adds is passed over, and what is not
    /// said is little.
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut words = std::env::args()
            .skip(1)
            .filter(|word| !word.starts_with('-'));
        let how = match words.next().as_deref() {
            None | Some("submit") => How::Submit,
            Some("map") => How::Map,
            Some(other) => return Err(format!("{other}: neither submit nor map").into()),
        };
        let mut number = |usual| words.next().map_or(Ok(usual), |word| word.parse());
        Ok(Self {
            how,
            size: number(16)?,
            batches: number(10)?,
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Args { how, size, batches } = Args::parse()?;
    let workers = testing::in_process(WorkerSpec::new().task::<Noop>());
    actix::System::new().block_on(async {
        let pool = Pool::builder(workers).processes(1).start().await?;
        let mut handles = Vec::new();
        for first in (0..WARM_UP + batches).map(|batch| batch * size) {
            let numbers = first..first + size;
            match how {
                How::Submit => {
                    submit(&pool, numbers, &mut handles);
                    for handle in handles.drain(..) {
                        let mut handle = Some(handle);
                        black_box(poll_fn(|cx| take(&mut handle, cx)).await?);
                    }
                }
                How::Map => {
                    let items = numbers.map(noop);
                    let mut map = pin!(pool.map(items).into_future());
                    let outputs = poll_fn(|cx| poll_map(map.as_mut(), cx)).await?;
                    black_box(outputs);
                }
            }
        }
        testing::assert_clean(&pool);
        pool.stop().await;
        println!("{} tasks", batches * size);
        Ok(())
    })
}

fn noop(number: u64) -> Noop {
    Noop(number.to_le_bytes())
}

/// The caller's side of single tasks.
#[inline(never)]
fn submit(pool: &Pool, numbers: std::ops::Range<u64>, handles: &mut Vec<TaskHandle<Noop>>) {
    handles.extend(numbers.map(|number| pool.submit(noop(number))));
}

/// Looks for one outcome. A handle that has given it goes here, too, with all that it holds.
#[inline(never)]
fn take(
    place: &mut Option<TaskHandle<Noop>>,
    cx: &mut Context<'_>,
) -> Poll<Result<[u8; 8], TaskError<NoError>>> {
    let Some(handle) = place else {
        return Poll::Pending;
    };
    let polled = Pin::new(handle).poll(cx);
    if polled.is_ready() {
        *place = None;
    }
    polled
}

/// Both for a map, which does them in turn.
#[inline(never)]
fn poll_map<F: Future>(map: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    map.poll(cx)
}
