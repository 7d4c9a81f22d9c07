//! The bytes of one encoded value.
//!
//! Belongs here: body and attachments, and how they lie in a frame's tail. Does not belong here: what the bytes mean.
//! Invariant: all but a few bytes are shared, never copied, from the encoder to the socket and from there to the decoder.

use std::{fmt, iter, sync::Arc};

use bytes::Bytes;

use crate::wire::{copy, run};

/// So many bytes take no more room where they are than a reference to them elsewhere.
pub(super) const INLINE: usize = 22;

/// So many are copied rather than shared with whoever reads or writes them.
const COPIED: usize = 4 * 1024;

/// An encoded value: the serde bytes, and beside them the large buffers that serde only saw the index of.
///
/// Most values are small, and a task has four of them on its way: none of those is allocated, and each is moved several times.
#[derive(Clone)]
pub(crate) enum Payload {
    Inline {
        len: u8,
        bytes: [u8; INLINE],
    },
    Copied(Arc<[u8]>),
    Shared(Box<Shared>),
    /// Several values, in the form in which they share a frame.
    Run(Box<Several>),
}

#[derive(Clone)]
pub(crate) struct Shared {
    body: Bytes,
    attachments: Vec<Bytes>,
}

#[derive(Clone)]
pub(crate) struct Several {
    values: u32,
    bytes: Bytes,
}

impl Default for Payload {
    fn default() -> Self {
        Self::Inline {
            len: 0,
            bytes: [0; INLINE],
        }
    }
}

impl Payload {
    pub(crate) fn new(body: Bytes, attachments: Vec<Bytes>) -> Self {
        Self::Shared(Box::new(Shared { body, attachments }))
    }

    /// Copies a body from where it cannot stay.
    #[inline]
    pub(crate) fn copied(from: &[u8]) -> Self {
        let mut bytes = [0; INLINE];
        match (u8::try_from(from.len()), bytes.get_mut(..from.len())) {
            (Ok(len), Some(place)) => {
                place.copy_from_slice(from);
                Self::Inline { len, bytes }
            }
            _ if from.len() <= COPIED => Self::Copied(Arc::from(from)),
            _ => Self::new(copy::copied(from), Vec::new()),
        }
    }

    /// Several values, as a [`Run`](crate::wire::Run) has them. One is no run any more.
    pub(crate) fn run(values: u32, bytes: Bytes) -> Self {
        match run::first(&bytes) {
            Some((value, _)) if values == 1 => Self::copied(value),
            _ => Self::Run(Box::new(Several { values, bytes })),
        }
    }

    /// Keeps so many of several values and returns the others.
    pub(crate) fn split_run(&mut self, at: u32) -> Self {
        let Self::Run(run) = self else {
            return Self::default();
        };
        let kept = run::length(&run.bytes, at);
        let rest = Self::run(run.values.saturating_sub(at), run.bytes.split_off(kept));
        *self = Self::run(at, std::mem::take(&mut run.bytes));
        rest
    }

    /// Counts all bytes, those of the attachments too.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let attached = self.attachments().iter().map(Bytes::len);
        self.body().len() + attached.sum::<usize>()
    }

    #[inline]
    pub(crate) fn body(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Copied(bytes) => bytes,
            Self::Shared(shared) => &shared.body,
            Self::Run(run) => &run.bytes,
        }
    }

    #[inline]
    pub(crate) fn attachments(&self) -> &[Bytes] {
        match self {
            Self::Shared(shared) => &shared.attachments,
            _ => &[],
        }
    }

    /// Yields the body, then each attachment: the order in which they travel.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        iter::once(self.body()).chain(self.attachments().iter().map(Bytes::as_ref))
    }

    /// The same, to be kept.
    pub(crate) fn shared_chunks(&self) -> impl Iterator<Item = Bytes> {
        let body = match self {
            Self::Inline { .. } | Self::Copied(_) => Bytes::copy_from_slice(self.body()),
            Self::Shared(shared) => shared.body.clone(),
            Self::Run(run) => run.bytes.clone(),
        };
        iter::once(body).chain(self.attachments().iter().cloned())
    }

    /// Cuts a received tail into body and attachments.
    ///
    /// `lens` are the lengths of the attachments, the body is what is left in front. `None` when they do not fit.
    pub(crate) fn split(tail: Bytes, lens: &[u32]) -> Option<Self> {
        // A header of zeros would turn one byte each into a `Bytes` each. The encoder attaches nothing below 4 KiB,
        // so honest tails stay far under this.
        if lens.len() > 1024 + tail.len() / 1024 {
            return None;
        }
        let attached = lens.iter().try_fold(0_usize, |sum, &len| {
            sum.checked_add(usize::try_from(len).ok()?)
        })?;
        let mut rest = tail;
        let body = rest.split_to(rest.len().checked_sub(attached)?);
        // The casts were checked above, and the sum fits, so that no cut is beyond the end.
        let attachments = lens.iter().map(|&len| rest.split_to(len as usize));
        Some(Self::new(body, attachments.collect()))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attached = self.attachments().len();
        write!(f, "{} bytes, {attached} attachments", self.body().len())
    }
}
