//! The bytes of one encoded value.
//!
//! Belongs here: body and attachments, and how they lie in a frame's tail. Does not belong here: what the bytes mean.
//! Invariant: the bytes are shared, never copied, from the encoder to the socket and from the socket to the decoder.

use std::iter;

use bytes::Bytes;

/// An encoded value: the serde bytes, and beside them the large buffers that serde only saw the index of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payload {
    body: Bytes,
    attachments: Vec<Bytes>,
}

impl Payload {
    pub(crate) fn new(body: Bytes, attachments: Vec<Bytes>) -> Self {
        Self { body, attachments }
    }

    /// Counts all bytes, those of the attachments too.
    pub(crate) fn len(&self) -> usize {
        self.chunks().map(Bytes::len).sum()
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Yields the body, then each attachment: the order in which they travel.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        iter::once(&self.body).chain(&self.attachments)
    }

    /// Cuts a received tail into body and attachments.
    ///
    /// `lens` are the lengths of the attachments, the body is what is left in front. `None` when they do not fit.
    pub(crate) fn split(tail: Bytes, lens: &[u32]) -> Option<Self> {
        if lens.is_empty() {
            return Some(Self {
                body: tail,
                attachments: Vec::new(),
            });
        }
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
        Some(Self {
            body,
            attachments: attachments.collect(),
        })
    }
}
