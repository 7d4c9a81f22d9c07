//! Large bytes that travel beside the encoded value instead of in it.
//!
//! Belongs here: `Blob`, and the lists through which one value's blobs reach its payload and come back from it.
//! Does not belong here: where in a frame attachments lie.
//! Invariant: a list is in force exactly while one value is encoded or decoded on this thread, also when that panics.
//!
//! While a value is encoded, a blob below 4 KiB is the enum variant 0 with its bytes, a larger one variant 1 with its
//! index among the attachments; as postcard has it, one byte plus length and bytes, or one byte plus the index. At
//! any other time, and so in any other format, a blob is ordinary bytes.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::Deref;
use std::thread::LocalKey;

use bytes::Bytes;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::{self, Serializer};
use serde::{Deserialize, Serialize};

/// From this many bytes on an attachment is cheaper than a copy: shorter frames are copied together anyway.
pub(super) const ATTACH_FROM: usize = 4 * 1024;

/// How many attachments a value may have: their lengths have to fit into the header of one frame, at up to 5 bytes each.
/// Blobs beyond that are sent as part of the value.
pub(super) const MAX_ATTACHMENTS: u32 = 50_000;

// How many blobs are in the list in force, `None` when none is in force. Apart from the lists because those need a
// destructor, whose bookkeeping the many values without blobs would pay for.
thread_local! {
    static COLLECTED: Cell<Option<u32>> = const { Cell::new(None) };
    static SUPPLIED: Cell<Option<u32>> = const { Cell::new(None) };
}

thread_local! {
    static COLLECTED_LIST: Cell<Vec<Bytes>> = const { Cell::new(Vec::new()) };
    static SUPPLIED_LIST: Cell<Vec<Bytes>> = const { Cell::new(Vec::new()) };
}

/// One of the two directions.
trait Lists {
    const COUNT: &'static LocalKey<Cell<Option<u32>>>;
    const LIST: &'static LocalKey<Cell<Vec<Bytes>>>;
}

struct Out;

impl Lists for Out {
    const COUNT: &'static LocalKey<Cell<Option<u32>>> = &COLLECTED;
    const LIST: &'static LocalKey<Cell<Vec<Bytes>>> = &COLLECTED_LIST;
}

struct In;

impl Lists for In {
    const COUNT: &'static LocalKey<Cell<Option<u32>>> = &SUPPLIED;
    const LIST: &'static LocalKey<Cell<Vec<Bytes>>> = &SUPPLIED_LIST;
}

/// Exchanges the list; that fails only while the thread's own locals are being dropped.
#[cold]
fn swap<L: Lists>(with: Vec<Bytes>) -> Vec<Bytes> {
    L::LIST
        .try_with(|list| list.replace(with))
        .unwrap_or_default()
}

/// Puts a list of a given length in force until it is dropped; the list is not touched where it is empty.
struct Scope<L: Lists>(PhantomData<L>);

impl<L: Lists> Scope<L> {
    #[inline]
    fn open(len: u32) -> Self {
        L::COUNT.with(|count| count.set(Some(len)));
        Self(PhantomData)
    }
}

impl<L: Lists> Drop for Scope<L> {
    #[inline]
    fn drop(&mut self) {
        if L::COUNT.replace(None) != Some(0) {
            swap::<L>(Vec::new());
        }
    }
}

/// The list of an encode or decode in the middle of which another one began, put back when dropped.
struct Aside<L: Lists> {
    count: Option<u32>,
    list: Vec<Bytes>,
    lists: PhantomData<L>,
}

impl<L: Lists> Aside<L> {
    #[inline]
    fn put() -> Option<Self> {
        L::COUNT.get().is_some().then(|| Self {
            count: L::COUNT.replace(None),
            list: swap::<L>(Vec::new()),
            lists: PhantomData,
        })
    }
}

impl<L: Lists> Drop for Aside<L> {
    fn drop(&mut self) {
        swap::<L>(mem::take(&mut self.list));
        L::COUNT.with(|count| count.set(self.count));
    }
}

/// Runs `encode` and returns what blobs attached meanwhile.
#[inline]
pub(super) fn collecting<R>(encode: impl FnOnce() -> R) -> (R, Vec<Bytes>) {
    let _aside = Aside::<Out>::put();
    let _scope = Scope::<Out>::open(0);
    let result = encode();
    match COLLECTED.get() {
        Some(0) => (result, Vec::new()),
        _ => (result, swap::<Out>(Vec::new())),
    }
}

/// Runs `decode` where blobs find `attachments`.
#[inline]
pub(super) fn supplying<R>(attachments: &[Bytes], decode: impl FnOnce() -> R) -> R {
    // More than can be counted cannot be referred to either.
    let len = u32::try_from(attachments.len()).unwrap_or(u32::MAX);
    let _aside = Aside::<In>::put();
    let _scope = Scope::<In>::open(len);
    if len > 0 {
        swap::<In>(attachments.to_vec());
    }
    decode()
}

/// Adds to the list that is being collected and returns the index.
fn attach(bytes: &Bytes) -> Option<u32> {
    let index = COLLECTED.get()?;
    let count = index.checked_add(1)?;
    COLLECTED_LIST
        .try_with(|list| {
            let mut blobs = list.take();
            blobs.push(bytes.clone());
            list.set(blobs);
        })
        .ok()?;
    COLLECTED.with(|collected| collected.set(Some(count)));
    Some(index)
}

/// Returns what the list that is supplied has at `index`.
fn attached(index: u32) -> Option<Bytes> {
    let at = usize::try_from(index).ok()?;
    if index >= SUPPLIED.get()? {
        return None;
    }
    SUPPLIED_LIST
        .try_with(|list| {
            let blobs = list.take();
            let found = blobs.get(at).cloned();
            list.set(blobs);
            found
        })
        .ok()?
}

/// Bytes that are sent as they are: serde does not see them, and sending and receiving do not copy them.
///
/// Use it for buffers from about 1 KiB on: `Vec<u8>` is serialized byte by byte, and what serde has for bytes (`serde_bytes`, `Bytes` with its
/// feature `serde`) is copied once on each side. Echoes of 1 MiB: 9.5 GB/s, 0.26 and 4.7
/// ([how it was measured](crate::docs::tuning#what-a-task-costs)). Below 4 KiB a blob is copied as a whole; from
/// there on it is written from where it is. What comes is shared with what it was read to, but for up to 64 KiB at the front of a
/// message of more than 128 KiB, and for a message that came alone to a buffer more than twice its size: those are copied once.
/// So is every message of up to 128 KiB in a worker of a pool that limits their memory.
///
/// A received blob keeps alive what it was read to: its own message, or several that came at once, in up to 128 KiB and sixteen
/// times the blob's size. Copy what you keep of them for long. When all are dropped, that serves the next large message, or goes
/// back to the system soon. In every other format, outside of this crate, a blob is plain bytes.
///
/// ```
/// use actix_multiprocess::Blob;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Resize { image: Blob, width: u32 }
///
/// let task = Resize { image: Blob::from(vec![0; 1 << 20]), width: 640 };
/// assert_eq!(task.image.len(), 1 << 20);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob(pub Bytes);

impl Blob {
    /// Returns the bytes, shared and not copied.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&'static [u8]> for Blob {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Bytes::from_static(bytes))
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// How a blob travels in an encoded value; `P` is [`PlainRef`] on the way out and [`Plain`] on the way in.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Blob")]
enum Form<P> {
    #[serde(rename = "inline")]
    Inline(P),
    #[serde(rename = "attached")]
    Attached(u32),
}

/// Bytes as every format knows them.
struct Plain(Bytes);

/// [`Plain`] without a clone, because the first clone of a `Bytes` may allocate.
struct PlainRef<'a>(&'a [u8]);

impl Serialize for PlainRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(PlainVisitor).map(Plain)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(attached) = COLLECTED.get() else {
            return serializer.serialize_bytes(&self.0);
        };
        let form = if self.0.len() < ATTACH_FROM || attached >= MAX_ATTACHMENTS {
            Form::Inline(PlainRef(&self.0))
        } else {
            let index = attach(&self.0);
            Form::Attached(
                index.ok_or_else(|| ser::Error::custom("no more blobs can be attached"))?,
            )
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if SUPPLIED.get().is_none() {
            return Plain::deserialize(deserializer).map(|Plain(bytes)| Blob(bytes));
        }
        match Form::deserialize(deserializer)? {
            Form::Inline(Plain(bytes)) => Ok(Blob(bytes)),
            Form::Attached(index) => attached(index)
                .map(Blob)
                .ok_or_else(|| de::Error::custom(format_args!("there is no attachment {index}"))),
        }
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bytes, A::Error> {
        // A claim, not a promise: at most 4 KiB of it is believed before there are bytes to show for it.
        let mut bytes = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(4096));
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}
