//! Everything that reads bytes of others, for fuzzing.
//!
//! Belongs here: one way into each decoder, used as its owner does. Does not belong here: what it is fed.
//! Invariant: whatever the bytes, `decode` returns, and holds little more than they are.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{CodecError, RemoteError},
    wire::{
        Assembly, Blob, ControlFromWorker, ControlToWorker, FrameReader, Hello, HostFrame, Json,
        Offer, Outcome, Payload, Spares, StartConfig, Welcome, WorkerFrame, captured, codec, parse,
        run,
    },
};

/// As much as a value may have here.
const MOST: usize = 1024 * 1024;

/// Something that decodes.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decoder {
    /// What a host reads of a worker's tasks.
    HostData,
    /// What it reads beside them.
    HostControl,
    /// What a worker reads of its tasks.
    WorkerData,
    /// What it reads beside them.
    WorkerControl,
    /// What both read before.
    Handshake,
    /// The values of users.
    Values,
    /// A file.
    Capture,
}

impl Decoder {
    /// All of them, with the names of their corpora.
    #[doc(hidden)]
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::HostData, "host_data"),
        (Self::HostControl, "host_control"),
        (Self::WorkerData, "worker_data"),
        (Self::WorkerControl, "worker_control"),
        (Self::Handshake, "handshake"),
        (Self::Values, "values"),
        (Self::Capture, "capture"),
    ];
}

/// Decodes bytes, whatever they are.
#[doc(hidden)]
pub fn decode(decoder: Decoder, bytes: &[u8]) {
    match decoder {
        Decoder::HostData => {
            let mut assembly = Assembly::new(MOST, &Spares::swept());
            frames(bytes, |frame| host_data(frame, &mut assembly));
        }
        Decoder::HostControl => frames(bytes, |frame| {
            again::<ControlFromWorker>(frame);
            true
        }),
        Decoder::WorkerData => {
            let mut assembly = Assembly::new(MOST, &Spares::swept());
            frames(bytes, |frame| worker_data(frame, &mut assembly));
        }
        Decoder::WorkerControl => frames(bytes, |frame| {
            again::<ControlToWorker>(frame);
            true
        }),
        Decoder::Handshake => handshake(bytes),
        Decoder::Values => values(bytes),
        Decoder::Capture => {
            if let Ok((captured, payload)) = captured::from_bytes(Bytes::copy_from_slice(bytes)) {
                assert!(payload.len() <= bytes.len());
                let again = captured::to_bytes(&captured, &payload).unwrap_or_default();
                assert_eq!(
                    captured::from_bytes(again.into()).map(|(again, _)| again),
                    Ok(captured)
                );
            }
        }
    }
}

/// Reads frames from bytes that come in pieces, whose length is the first of them, until one is refused.
fn frames(bytes: &[u8], mut take: impl FnMut(&[u8]) -> bool) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let mut reader = FrameReader::new();
    for piece in bytes.chunks(usize::from(*piece) + 1) {
        let mut rest = piece;
        while !rest.is_empty() {
            let space = reader.space();
            let read = space.len().min(rest.len());
            let (now, later) = rest.split_at(read);
            if let Some(space) = space.get_mut(..read) {
                space.copy_from_slice(now);
            }
            reader.filled(read);
            rest = later;
            loop {
                match reader.next() {
                    Ok(Some(frame)) if take(frame) => {}
                    Ok(None) => break,
                    _ => return,
                }
            }
        }
    }
}

/// What can be read can be written, and read again as the same.
fn again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(frame: &[u8]) -> Option<T> {
    let (header, _): (T, _) = parse(frame).ok()?;
    let mut bytes = bytes::BytesMut::new();
    codec::encode_header(&header, &mut bytes).ok()?;
    let back = codec::decode_header::<T>(&bytes);
    assert_eq!(back.ok().map(|(back, _)| back).as_ref(), Some(&header));
    Some(header)
}

fn host_data(frame: &[u8], assembly: &mut Assembly<Outcome>) -> bool {
    let Some(header) = again::<WorkerFrame>(frame) else {
        return false;
    };
    let tail = parse::<WorkerFrame>(frame).map_or(&[][..], |(_, tail)| tail);
    let whole = match header {
        WorkerFrame::Result {
            ticket,
            outcome,
            attachments,
            rest,
        } => assembly.first(ticket, outcome, attachments, rest, tail),
        WorkerFrame::Part { ticket } => assembly.part(ticket, tail),
        WorkerFrame::Results { results, .. } => return run_of_values(tail, results),
        WorkerFrame::Failed { .. } => {
            let error: Result<RemoteError, _> = codec::decode(&Payload::copied(tail));
            drop(error);
            return true;
        }
        _ => return true,
    };
    match whole {
        Ok(None) => true,
        Ok(Some((Outcome::Panicked, payload))) => codec::decode::<RemoteError>(&payload).is_ok(),
        Ok(Some((Outcome::Codec, payload))) => codec::decode::<CodecError>(&payload).is_ok(),
        Ok(Some((_, payload))) => {
            user_values(&payload);
            true
        }
        Err(_) => false,
    }
}

fn worker_data(frame: &[u8], assembly: &mut Assembly<()>) -> bool {
    let Some(header) = again::<HostFrame>(frame) else {
        return false;
    };
    let tail = parse::<HostFrame>(frame).map_or(&[][..], |(_, tail)| tail);
    let whole = match header {
        HostFrame::Welcome(welcome) => {
            assembly.first(0, (), welcome.attachments, welcome.rest, tail)
        }
        HostFrame::Task {
            ticket,
            attachments,
            rest,
            ..
        } => assembly.first(ticket, (), attachments, rest, tail),
        HostFrame::Part { ticket } => assembly.part(ticket, tail),
        HostFrame::Tasks { tasks, .. } => return run_of_values(tail, tasks),
        HostFrame::Credit { .. } => return true,
    };
    match whole {
        Ok(None) => true,
        Ok(Some(((), payload))) => {
            user_values(&payload);
            true
        }
        Err(_) => false,
    }
}

/// Values that share a frame.
fn run_of_values(tail: &[u8], count: u32) -> bool {
    let Ok(values) = run::values(tail, count) else {
        return false;
    };
    for value in values {
        user_values(&Payload::copied(value));
    }
    true
}

fn handshake(bytes: &[u8]) {
    if let Some(hello) = bytes.first_chunk().and_then(Hello::from_bytes) {
        assert_eq!(bytes.first_chunk(), Some(&hello.to_bytes()));
    }
    again::<StartConfig>(bytes);
    again::<Welcome>(bytes);
    // It keeps less than it was told.
    let _ = parse::<Offer>(bytes);
}

fn values(bytes: &[u8]) {
    // Some of it beside what serde sees, as the first byte says.
    let (kept, bytes) = bytes.split_first().map_or((0, bytes), |(a, b)| (*a, b));
    let tail = Bytes::copy_from_slice(bytes);
    let attached = u32::try_from(bytes.len()).unwrap_or(0) * u32::from(kept) / 256;
    for lengths in [&[][..], &[attached][..], &[attached / 2, attached / 3][..]] {
        if let Some(payload) = Payload::split(tail.clone(), lengths) {
            user_values(&payload);
        }
    }
}

/// A type of each kind that there is to decode.
#[derive(Debug, Serialize, Deserialize)]
enum Kinds {
    Unit,
    Numbers(u8, i16, u32, i64, u128, f32, f64, bool, char),
    Texts {
        text: String,
        maybe: Option<Box<Kinds>>,
    },
    Lists(Vec<Kinds>, Vec<()>, Vec<u8>, [u16; 3]),
    Maps(HashMap<u8, String>, BTreeMap<String, Kinds>),
    Blobs(Blob, Vec<Blob>),
    Json(Json<serde_json::Value>),
    Result(Result<String, RemoteError>),
}

fn user_values(payload: &Payload) {
    drop(codec::decode::<Kinds>(payload));
    drop(codec::decode::<Vec<Kinds>>(payload));
    drop(codec::decode::<Json<serde_json::Value>>(payload));
    drop(codec::decode::<RemoteError>(payload));
    drop(codec::decode::<CodecError>(payload));
}
