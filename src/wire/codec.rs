//! Values to bytes and back.
//!
//! Belongs here: everything that names postcard. Does not belong here: what is encoded, or how the bytes are framed.
//! Invariant: a value is decoded only from exactly its own bytes: none missing, none left over, within the limits.

use std::any::{TypeId, type_name};
use std::cell::RefCell;
use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::depth::Limited;
use super::draft::Draft;
use super::payload::Payload;
use super::{blob, json, limits};
use crate::error::{CodecError, CodecSide, CodecStep, CodecValue};

/// How many values of a type each thread of a debug build decodes again.
const CHECKED_VALUES: u8 = 8;

thread_local! {
    static CHECKED: RefCell<HashMap<TypeId, u8>> = RefCell::new(HashMap::new());
}

/// Why a value was not encoded or decoded, and whether the type as such is unfit for a format like postcard.
#[derive(Debug)]
struct Reason {
    text: String,
    unfit: bool,
}

impl Reason {
    fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            unfit: false,
        }
    }
}

impl From<postcard::Error> for Reason {
    fn from(error: postcard::Error) -> Self {
        use postcard::Error as E;
        let text = match error {
            E::WontImplement => {
                "its `Deserialize` asks the bytes for their type (`deserialize_any`)"
            }
            E::SerializeSeqLengthUnknown => "it serializes a map or sequence of unknown length",
            E::DeserializeUnexpectedEnd => "the bytes end too early",
            _ => &error.to_string(),
        };
        Self {
            text: text.to_owned(),
            unfit: matches!(
                error,
                E::WontImplement | E::NotYetImplemented | E::SerializeSeqLengthUnknown
            ),
        }
    }
}

/// Encodes a value; the error is the reason.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Payload, String> {
    try_encode(value).map_err(|reason| reason.text)
}

/// Decodes a value from all bytes of its payload; the error is the reason.
pub(crate) fn decode<T: DeserializeOwned>(payload: &Payload) -> Result<T, String> {
    try_decode(payload).map_err(|reason| reason.text)
}

/// Appends a frame header, which knows no attachments.
pub(crate) fn encode_header<T: Serialize>(header: &T, into: &mut BytesMut) -> Result<(), String> {
    let start = into.len();
    postcard::serialize_with_flavor(header, Append(into)).map_err(|error| {
        // Half a header must not stay before the next one.
        into.truncate(start);
        Reason::from(error).text
    })
}

/// Decodes a frame header and says how many bytes it took.
///
/// Without the limits of [`decode`]: header types do not recurse and hold no sequences of zero-sized elements.
pub(crate) fn decode_header<T: DeserializeOwned>(frame: &[u8]) -> Result<(T, usize), String> {
    match postcard::take_from_bytes(frame) {
        Ok((header, rest)) => Ok((header, frame.len() - rest.len())),
        Err(error) => Err(Reason::from(error).text),
    }
}

/// Encodes and, in debug builds, for the first 8 values of each type on each thread, decodes the bytes again where
/// they were made, so that a type that postcard cannot carry fails at its author and not in another process.
#[inline]
pub(crate) fn encode_checked<T: Serialize + DeserializeOwned + 'static>(
    value: &T,
    what: CodecValue,
    side: CodecSide,
) -> Result<Payload, CodecError> {
    if cfg!(debug_assertions) && check_is_due::<T>() {
        return encode_and_check(value, what, side);
    }
    try_encode(value).map_err(|reason| explain::<T>(what, side, CodecStep::Encode, reason))
}

fn encode_and_check<T: Serialize + DeserializeOwned + 'static>(
    value: &T,
    what: CodecValue,
    side: CodecSide,
) -> Result<Payload, CodecError> {
    let fail = |reason: Reason| explain::<T>(what, side, CodecStep::Encode, reason);
    let payload = try_encode(value).map_err(fail)?;
    try_decode::<T>(&payload).map_err(|mut reason| {
        let limits = [limits::TOO_DEEP, limits::TOO_MANY];
        let limit = limits.iter().any(|text| reason.text.starts_with(text));
        // Bytes that do not decode where they were made are nearly always an attribute that left out a field.
        reason.unfit |= !limit;
        reason.text.insert_str(0, "its bytes do not decode again: ");
        fail(reason)
    })?;
    Ok(payload)
}

/// Appends an encoded value and, elsewhere, what is to be attached; else as [`encode_checked`]. An error leaves anything behind.
///
/// What it returns is small, as that of [`decode_bytes_checked`]: with small values, moving it around takes as long as the rest.
#[inline]
pub(crate) fn append_checked<T: Serialize + DeserializeOwned + 'static>(
    value: &T,
    what: CodecValue,
    side: CodecSide,
    to: &mut Vec<u8>,
    attach: &mut Vec<Bytes>,
) -> Result<(), Box<CodecError>> {
    if cfg!(debug_assertions) && check_is_due::<T>() {
        let payload = encode_and_check(value, what, side)?;
        to.extend_from_slice(payload.body());
        attach.extend_from_slice(payload.attachments());
        return Ok(());
    }
    let (result, attachments) =
        blob::collecting(|| postcard::serialize_with_flavor(value, Append(to)));
    if !attachments.is_empty() {
        *attach = attachments;
    }
    result.map_err(|error| {
        let reason = why_not(value, error);
        Box::new(explain::<T>(what, side, CodecStep::Encode, reason))
    })
}

/// Decodes, naming in the error what it was and where.
#[inline]
pub(crate) fn decode_checked<T: DeserializeOwned>(
    payload: &Payload,
    what: CodecValue,
    side: CodecSide,
) -> Result<T, CodecError> {
    try_decode(payload).map_err(|reason| explain::<T>(what, side, CodecStep::Decode, reason))
}

/// The same for a value that is nothing but its bytes.
#[inline]
pub(crate) fn decode_bytes_checked<T: DeserializeOwned>(
    bytes: &[u8],
    what: CodecValue,
    side: CodecSide,
) -> Result<T, Box<CodecError>> {
    try_decode_parts(bytes, &[])
        .map_err(|reason| Box::new(explain::<T>(what, side, CodecStep::Decode, reason)))
}

#[cold]
fn explain<T>(what: CodecValue, side: CodecSide, step: CodecStep, reason: Reason) -> CodecError {
    let error = CodecError::new(what, side, step, type_name::<T>(), reason.text);
    if reason.unfit {
        error.with_attribute_hint()
    } else {
        error
    }
}

fn check_is_due<T: 'static>() -> bool {
    let due = CHECKED.try_with(|checked| {
        let mut checked = checked.try_borrow_mut().ok()?;
        let count = checked.entry(TypeId::of::<T>()).or_default();
        let due = *count < CHECKED_VALUES;
        *count += u8::from(due);
        Some(due)
    });
    due.ok().flatten().unwrap_or(false)
}

#[inline]
fn try_encode<T: Serialize + ?Sized>(value: &T) -> Result<Payload, Reason> {
    let mut draft = Draft::default();
    let (result, attachments) =
        blob::collecting(|| postcard::serialize_with_flavor(value, Append(&mut draft)));
    match result {
        Ok(()) => Ok(draft.into_payload(attachments)),
        Err(error) => Err(why_not(value, error)),
    }
}

#[cold]
fn why_not<T: Serialize + ?Sized>(value: &T, error: postcard::Error) -> Reason {
    match error {
        // postcard drops the words of custom errors. This runs `Serialize` again, but only of a value that failed;
        // collecting, because blobs would be written out number by number.
        postcard::Error::SerdeSerCustom => {
            let (words, _) = blob::collecting(|| json::why_not(value));
            Reason::new(words.unwrap_or_else(|| error.to_string()))
        }
        error => error.into(),
    }
}

#[inline]
fn try_decode<T: DeserializeOwned>(payload: &Payload) -> Result<T, Reason> {
    try_decode_parts(payload.body(), payload.attachments())
}

#[inline]
fn try_decode_parts<T: DeserializeOwned>(body: &[u8], attachments: &[Bytes]) -> Result<T, Reason> {
    blob::supplying(attachments, || {
        limits::budgeted(body.len(), || {
            let mut bytes = postcard::Deserializer::from_bytes(body);
            let value =
                T::deserialize(Limited::new(&mut bytes)).map_err(|fault| match fault.0 {
                    error @ postcard::Error::SerdeDeCustom => {
                        Reason::new(limits::take_reason().unwrap_or_else(|| error.to_string()))
                    }
                    error => error.into(),
                })?;
            match bytes.finalize()?.len() {
                0 => Ok(value),
                left => Err(Reason::new(format!("{left} bytes are left over"))),
            }
        })
    })
}

/// Lets postcard append to a buffer of ours.
struct Append<'a, B>(&'a mut B);

impl<B: Buffer> Flavor for Append<'_, B> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push_byte(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.push_bytes(bytes);
        Ok(())
    }

    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Takes whatever is encoded.
trait Buffer {
    fn push_byte(&mut self, byte: u8);
    fn push_bytes(&mut self, bytes: &[u8]);
}

impl Buffer for Draft {
    #[inline]
    fn push_byte(&mut self, byte: u8) {
        self.push(byte);
    }

    #[inline]
    fn push_bytes(&mut self, bytes: &[u8]) {
        self.extend(bytes);
    }
}

impl Buffer for Vec<u8> {
    #[inline]
    fn push_byte(&mut self, byte: u8) {
        self.push(byte);
    }

    #[inline]
    fn push_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Buffer for BytesMut {
    #[inline]
    fn push_byte(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    #[inline]
    fn push_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
