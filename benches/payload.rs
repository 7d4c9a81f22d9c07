//! How many bytes a second go through two workers that give back what they get, against two sockets.
//!
//! The bare child has a whole message before it sends it back, as a task has, but always in the same buffer. Bytes count
//! in both directions. Two rows have the bytes in types that serde sees, which is what [`Blob`] is against. Run with `cargo bench --bench payload`, or `-- --quick`.

mod common;

use std::{cell::Cell, collections::VecDeque, io, time::Instant};

use actix_multiprocess::{Blob, NoError, Pool, Task, TaskContext, WorkerSpec};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

use common::{Args, Bar, Link, Outcome, Socket, Table, Unit};

/// A task that gives back what it gets.
#[derive(Serialize, Deserialize)]
struct Echo<T>(T);

/// What bytes are in.
trait Form:
    Serialize + for<'de> Deserialize<'de> + Clone + From<Vec<u8>> + AsRef<[u8]> + Send + 'static
{
    const NAME: &'static str;
}

impl<T: Form> Task for Echo<T> {
    const NAME: &'static str = T::NAME;
    type Output = T;
    type Error = NoError;
    type State = ();
    async fn run(self, _: TaskContext<()>) -> Result<T, NoError> {
        Ok(self.0)
    }
}

impl Form for Blob {
    const NAME: &'static str = "blob";
}

impl Form for Vec<u8> {
    const NAME: &'static str = "vec";
}

/// Bytes as serde has them, which `serde_bytes` and the feature `serde` of `bytes` lead to.
#[derive(Clone)]
struct SerdeBytes(Vec<u8>);

impl Form for SerdeBytes {
    const NAME: &'static str = "bytes";
}

impl From<Vec<u8>> for SerdeBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for SerdeBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for SerdeBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SerdeBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsVec;
        impl Visitor<'_> for AsVec {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_byte_buf(AsVec).map(Self)
    }
}

const WORKERS: usize = 2;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The bare side moves small messages so many bytes at a time.
const CHUNK: usize = 64 * KIB;

/// What a message is in.
#[derive(Clone, Copy)]
enum In {
    Blob,
    SerdeBytes,
    Vec,
}

/// Size of a message, what it is in, messages in flight per worker, bytes of a round, one way, and the share of the bare side that
/// is due.
const ROWS: [(&str, usize, In, usize, usize, Bar); 6] = [
    ("1 KiB", KIB, In::Blob, 16, 256 * MIB, Bar::AtLeast(0.6)),
    (
        "64 KiB",
        64 * KIB,
        In::Blob,
        8,
        512 * MIB,
        Bar::AtLeast(0.45),
    ),
    ("1 MiB", MIB, In::Blob, 4, 512 * MIB, Bar::AtLeast(0.6)),
    (
        "16 MiB",
        16 * MIB,
        In::Blob,
        2,
        512 * MIB,
        Bar::AtLeast(0.6),
    ),
    (
        "1 MiB as bytes of serde",
        MIB,
        In::SerdeBytes,
        4,
        256 * MIB,
        Bar::None,
    ),
    ("1 MiB as `Vec<u8>`", MIB, In::Vec, 4, 128 * MIB, Bar::None),
];

fn main() -> Outcome {
    let workers = WorkerSpec::new()
        .task::<Echo<Blob>>()
        .task::<Echo<SerdeBytes>>()
        .task::<Echo<Vec<u8>>>()
        .init();
    common::bare_child(serve)?;
    let args = Args::parse()?;
    println!("# payload: {} rounds, {WORKERS} workers", args.rounds);

    let system = actix::System::new();
    let runtime = common::runtime()?;
    let builder = Pool::builder(workers).processes(WORKERS).wait_all();
    let pool = system.block_on(builder.start())?;
    let (mut a, mut b) = runtime
        .block_on(async { Ok::<_, Box<dyn std::error::Error>>((Link::open()?, Link::open()?)) })?;

    let mut table = Table::default();
    // The first round only warms up.
    for round in 0..=args.rounds {
        for (name, size, held, depth, bytes, bar) in ROWS {
            let name = format!("echo of {name}, {depth} in flight per worker");
            if !args.wants(&name) {
                continue;
            }
            // A number of messages that both children share.
            let each = (bytes / size / WORKERS / args.amount(1, 8)).max(2);
            // A stream of this size has been going for a while: its first values find no buffers.
            let pool = &pool;
            let product = |messages| async move {
                match held {
                    In::Blob => echoes::<Blob>(pool, size, depth, messages).await,
                    In::SerdeBytes => echoes::<SerdeBytes>(pool, size, depth, messages).await,
                    In::Vec => echoes::<Vec<u8>>(pool, size, depth, messages).await,
                }
            };
            system.block_on(product(each * WORKERS / 4))?;
            let product = system.block_on(product(each * WORKERS))?;
            let bare = runtime.block_on(bare(&mut a.socket, &mut b.socket, size, depth, each))?;
            if round > 0 {
                table.add(&name, Unit::MegabytesPerSecond, bar, product, bare);
            }
        }
    }
    a.close()?;
    b.close()?;
    system.block_on(pool.stop());
    table.print();
    Ok(())
}

fn rate(size: usize, messages: usize, began: Instant) -> f64 {
    2.0 * (size * messages) as f64 / began.elapsed().as_secs_f64() / 1e6
}

async fn echoes<T: Form>(pool: &Pool, size: usize, depth: usize, messages: usize) -> Outcome<f64> {
    // A blob is shared by all tasks, as the bare side always sends the same buffer.
    let message = T::from(vec![7; size]);
    let began = Instant::now();
    let mut handles = VecDeque::new();
    for _ in 0..messages {
        if handles.len() == depth * WORKERS
            && let Some(oldest) = handles.pop_front()
        {
            check(&oldest.await?, size)?;
        }
        handles.push_back(pool.submit(Echo(message.clone())));
    }
    for handle in handles {
        check(&handle.await?, size)?;
    }
    Ok(rate(size, messages, began))
}

fn check<T: Form>(echo: &T, size: usize) -> Outcome {
    let bytes = echo.as_ref().len();
    if bytes == size {
        Ok(())
    } else {
        Err(format!("{bytes} bytes came back of {size}").into())
    }
}

/// `messages` to each child.
async fn bare(
    a: &mut Socket,
    b: &mut Socket,
    size: usize,
    depth: usize,
    messages: usize,
) -> Outcome<f64> {
    let began = Instant::now();
    tokio::try_join!(
        exchange(a, size, depth, messages),
        exchange(b, size, depth, messages)
    )?;
    Ok(rate(size, messages * WORKERS, began))
}

async fn exchange(
    socket: &mut Socket,
    size: usize,
    depth: usize,
    messages: usize,
) -> io::Result<()> {
    let head = [size as u64, messages as u64].map(u64::to_le_bytes);
    socket.write_all(head.as_flattened()).await?;
    let together = (CHUNK / size).max(1);
    let output = vec![7; together * size];
    let mut input = vec![0; output.len()];
    let received = Cell::new(0);
    let news = Notify::new();
    // At the same time, or both processes would end up writing to full sockets.
    let (mut reading, mut writing) = socket.split();
    let write = async {
        let mut sent = 0;
        while sent < messages {
            let room = depth - (sent - received.get() / size);
            let count = room.min(messages - sent).min(together);
            let Some(bytes) = output.get(..count * size).filter(|bytes| !bytes.is_empty()) else {
                news.notified().await;
                continue;
            };
            writing.write_all(bytes).await?;
            sent += count;
        }
        Ok(())
    };
    let read = async {
        while received.get() < messages * size {
            match reading.read(&mut input).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                bytes => received.set(received.get() + bytes),
            }
            news.notify_one();
        }
        Ok(())
    };
    tokio::try_join!(write, read).map(drop)
}

/// The bare child.
async fn serve(mut socket: Socket) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let size = usize::try_from(socket.read_u64_le().await?).map_err(io::Error::other)?;
        let messages = usize::try_from(socket.read_u64_le().await?).map_err(io::Error::other)?;
        buffer.resize(CHUNK.max(size), 0);
        let (mut echoed, mut held) = (0, 0);
        while echoed < messages * size {
            let due = messages * size - echoed;
            let space = buffer.get_mut(held..).unwrap_or_default();
            let space_len = space.len().min(due - held);
            let space = space.get_mut(..space_len).unwrap_or_default();
            match socket.read(space).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => held += bytes,
            }
            let whole = held / size * size;
            socket
                .write_all(buffer.get(..whole).unwrap_or_default())
                .await?;
            buffer.copy_within(whole..held, 0);
            echoed += whole;
            held -= whole;
        }
    }
}
