//! The bytes of one encoded value.
//!
//! Belongs here: body and attachments, and how they lie in a frame's tail. Does not belong here: what the bytes mean.
//! Invariant: all but a few bytes are shared, never copied, from the encoder to the socket and from there to the decoder.

use std::{fmt, iter};

use bytes::Bytes;

use crate::wire::run;

/// So many bytes take no more room where they are than a reference to them elsewhere.
const INLINE: usize = 23;

/// The serde bytes. Most values are small, and a task has four of them on its way: none of those is allocated.
#[derive(Clone)]
enum Body {
    Inline {
        len: u8,
        bytes: [u8; INLINE],
    },
    Shared(Bytes),
    /// Several values, in the form in which they share a frame.
    Run {
        values: u32,
        bytes: Bytes,
    },
}

impl Body {
    fn copied(from: &[u8]) -> Self {
        let mut bytes = [0; INLINE];
        match (u8::try_from(from.len()), bytes.get_mut(..from.len())) {
            (Ok(len), Some(place)) => {
                place.copy_from_slice(from);
                Self::Inline { len, bytes }
            }
            _ => Self::Shared(Bytes::copy_from_slice(from)),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Shared(bytes) | Self::Run { bytes, .. } => bytes,
        }
    }

    /// One value is no run any more.
    fn run(values: u32, bytes: Bytes) -> Self {
        match run::first(&bytes) {
            Some((value, _)) if values == 1 => Self::copied(value),
            _ => Self::Run { values, bytes },
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Shared(Bytes::new())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes().len())
    }
}

/// An encoded value: the serde bytes, and beside them the large buffers that serde only saw the index of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payload {
    body: Body,
    attachments: Vec<Bytes>,
}

impl Payload {
    pub(crate) fn new(body: Bytes, attachments: Vec<Bytes>) -> Self {
        Self {
            body: Body::Shared(body),
            attachments,
        }
    }

    /// Copies a body from where it cannot stay.
    pub(crate) fn copied(body: &[u8], attachments: Vec<Bytes>) -> Self {
        Self {
            body: Body::copied(body),
            attachments,
        }
    }

    /// Several values, as a [`Run`](crate::wire::Run) has them.
    pub(crate) fn run(values: u32, bytes: Bytes) -> Self {
        Self {
            body: Body::run(values, bytes),
            attachments: Vec::new(),
        }
    }

    /// Keeps so many of several values and returns the others.
    pub(crate) fn split_run(&mut self, at: u32) -> Self {
        let Body::Run { values, bytes } = &mut self.body else {
            return Self::default();
        };
        let kept = run::length(bytes, at);
        let rest = Self::run(values.saturating_sub(at), bytes.split_off(kept));
        self.body = Body::run(at, std::mem::take(bytes));
        rest
    }

    /// Counts all bytes, those of the attachments too.
    pub(crate) fn len(&self) -> usize {
        self.chunks().map(<[u8]>::len).sum()
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.body.bytes()
    }

    pub(crate) fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Yields the body, then each attachment: the order in which they travel.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        iter::once(self.body()).chain(self.attachments.iter().map(Bytes::as_ref))
    }

    /// The same, to be kept.
    pub(crate) fn shared_chunks(&self) -> impl Iterator<Item = Bytes> {
        let body = match &self.body {
            Body::Inline { .. } => Bytes::copy_from_slice(self.body()),
            Body::Shared(bytes) | Body::Run { bytes, .. } => bytes.clone(),
        };
        iter::once(body).chain(self.attachments.iter().cloned())
    }

    /// Cuts a received tail into body and attachments.
    ///
    /// `lens` are the lengths of the attachments, the body is what is left in front. `None` when they do not fit.
    pub(crate) fn split(tail: Bytes, lens: &[u32]) -> Option<Self> {
        // A header of zeros would turn one byte each into a `Bytes` each. The encoder attaches nothing below 1 KiB,
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
