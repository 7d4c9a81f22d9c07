//! The exact bytes of everything that two processes say to each other.
//!
//! They change only together with `PROTOCOL`, by which a worker and a host of different builds tell that they are. When a
//! test here fails, undo the change, or raise that number and put the bytes here that the failure shows.

use std::fmt::Debug;

use bytes::BytesMut;
use serde::{Serialize, de::DeserializeOwned};

use super::super::{
    ControlFromWorker, ControlToWorker, HostFrame, Offer, Outcome, PROTOCOL, StartConfig,
    TOKEN_BYTES, TimeLeft, Welcome, WorkerFrame, codec, frame_bytes, parse,
};
use crate::error::{CodecError, CodecSide, CodecStep, CodecValue, RemoteError};

pub(super) const TOKEN: [u8; TOKEN_BYTES] = *b"0123456789abcdefghijklmnopqrstuv";

/// The header has these bytes, behind their length and before the tail, and comes back from them.
#[track_caller]
pub(super) fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    header: &T,
    bytes: &[u8],
) {
    for tail in [&b""[..], b"tail"] {
        let expected = [bytes, tail].concat();
        let mut frame = BytesMut::from(&b"before"[..]);
        frame_bytes(header, tail, &mut frame).unwrap();
        let (length, frame) = frame.strip_prefix(b"before").unwrap().split_at(4);
        assert_eq!(frame, expected, "{header:?}");
        assert_eq!(length, [u8::try_from(expected.len()).unwrap(), 0, 0, 0]);
        assert_eq!(
            (&parse::<T>(frame).unwrap().0, parse::<T>(frame).unwrap().1),
            (header, tail)
        );
    }
}

/// Every variant has its number, and no number is without its bytes.
#[track_caller]
pub(super) fn complete<T>(values: &[(T, &[u8])], number: impl Fn(&T) -> usize, variants: usize) {
    let mut numbers: Vec<usize> = values.iter().map(|(value, _)| number(value)).collect();
    for ((_, bytes), number) in values.iter().zip(&numbers) {
        assert_eq!(usize::from(bytes[0]), *number);
    }
    numbers.dedup();
    assert_eq!(numbers, (0..variants).collect::<Vec<usize>>());
}

#[test]
fn host_frames() {
    let values: [(HostFrame, &[u8]); 7] = [
        (
            HostFrame::Welcome(Welcome {
                concurrency: 16,
                max_frame_bytes: 64 * 1024 * 1024,
                cancel_grace_ms: 1000,
                rest: 300,
                has_args: true,
                attachments: vec![1024],
                lag: true,
                spares: false,
            }),
            &[0, 16, 128, 128, 128, 32, 232, 7, 172, 2, 1, 1, 128, 8, 1, 0],
        ),
        (
            HostFrame::Task {
                ticket: 300,
                id: 301,
                attempt: 2,
                name: 3,
                attachments: vec![1024, 5],
                rest: 1,
                left: None,
            },
            &[1, 172, 2, 173, 2, 2, 3, 2, 128, 8, 5, 1, 0],
        ),
        (
            HostFrame::Task {
                ticket: 300,
                id: 301,
                attempt: 2,
                name: 3,
                attachments: Vec::new(),
                rest: 0,
                left: Some(TimeLeft {
                    total: None,
                    run: Some(300),
                }),
            },
            &[1, 172, 2, 173, 2, 2, 3, 0, 0, 1, 0, 1, 172, 2],
        ),
        (HostFrame::Part { ticket: 300 }, &[2, 172, 2]),
        (HostFrame::Credit { tasks: 16 }, &[3, 16]),
        (
            HostFrame::Tasks {
                ticket: 300,
                id: 301,
                attempt: 2,
                name: 3,
                tasks: 4,
                run: None,
            },
            &[4, 172, 2, 173, 2, 2, 3, 4, 0],
        ),
        (
            HostFrame::Tasks {
                ticket: 300,
                id: 301,
                attempt: 2,
                name: 3,
                tasks: 4,
                run: Some(300),
            },
            &[4, 172, 2, 173, 2, 2, 3, 4, 1, 172, 2],
        ),
    ];
    // A variant without its bytes above does not compile here.
    let number = |frame: &HostFrame| match frame {
        HostFrame::Welcome(_) => 0,
        HostFrame::Task { .. } => 1,
        HostFrame::Part { .. } => 2,
        HostFrame::Credit { .. } => 3,
        HostFrame::Tasks { .. } => 4,
    };
    complete(&values, number, 5);
    for (frame, bytes) in values {
        golden(&frame, bytes);
    }
}

#[test]
fn worker_frames() {
    let args = CodecError::new(
        CodecValue::InitArgs,
        CodecSide::Worker,
        CodecStep::Decode,
        "u8",
        "why",
    );
    let values: [(WorkerFrame, &[u8]); 14] = [
        (
            WorkerFrame::Offer(Offer {
                protocol: 1,
                pid: 4711,
                tasks: vec![("fib".to_owned(), 0), ("sum".to_owned(), 7)],
                inherited: vec!["3: x".to_owned()],
            }),
            b"\x00\x01\xe7\x24\x02\x03fib\x00\x03sum\x07\x01\x043: x",
        ),
        (WorkerFrame::Ready, &[1]),
        (WorkerFrame::Failed { init_args: None }, &[2, 0]),
        (
            WorkerFrame::Failed {
                init_args: Some(args.with_attribute_hint()),
            },
            b"\x02\x01\x03\x01\x01\x02u8\x03why\x01",
        ),
        (WorkerFrame::Started { ticket: 300 }, &[3, 172, 2]),
        (
            WorkerFrame::Result {
                ticket: 300,
                outcome: Outcome::Done,
                attachments: vec![1024],
                rest: 127,
            },
            &[4, 172, 2, 0, 1, 128, 8, 127],
        ),
        (WorkerFrame::Part { ticket: 300 }, &[5, 172, 2]),
        (
            WorkerFrame::Quiet {
                name: 3,
                quiet: true,
            },
            &[6, 3, 1],
        ),
        (WorkerFrame::Item { ticket: 300 }, &[7, 172, 2]),
        (
            WorkerFrame::Progress {
                ticket: 300,
                done: 1,
                total: 2,
            },
            &[8, 172, 2, 1, 2],
        ),
        (
            WorkerFrame::SlowPoll {
                name: 3,
                micros: 300,
                ended: true,
            },
            &[9, 3, 172, 2, 1],
        ),
        (WorkerFrame::Lag { micros: 300 }, &[10, 172, 2]),
        (
            WorkerFrame::Pace {
                name: 3,
                nanos: 300,
            },
            &[11, 3, 172, 2],
        ),
        (
            WorkerFrame::Results {
                ticket: 300,
                results: 2,
            },
            &[12, 172, 2, 2],
        ),
    ];
    let number = |frame: &WorkerFrame| match frame {
        WorkerFrame::Offer(_) => 0,
        WorkerFrame::Ready => 1,
        WorkerFrame::Failed { .. } => 2,
        WorkerFrame::Started { .. } => 3,
        WorkerFrame::Result { .. } => 4,
        WorkerFrame::Part { .. } => 5,
        WorkerFrame::Quiet { .. } => 6,
        WorkerFrame::Item { .. } => 7,
        WorkerFrame::Progress { .. } => 8,
        WorkerFrame::SlowPoll { .. } => 9,
        WorkerFrame::Lag { .. } => 10,
        WorkerFrame::Pace { .. } => 11,
        WorkerFrame::Results { .. } => 12,
    };
    complete(&values, number, 13);
    for (frame, bytes) in values {
        golden(&frame, bytes);
    }
}

#[test]
fn outcomes() {
    let values: [(Outcome, &[u8]); 7] = [
        (Outcome::Done, &[0]),
        (Outcome::Failed { transient: true }, &[1, 1]),
        (Outcome::Panicked, &[2]),
        (Outcome::Cancelled { started: false }, &[3, 0]),
        (Outcome::Cancelled { started: true }, &[3, 1]),
        (Outcome::Codec, &[4]),
        (Outcome::Expired, &[5]),
    ];
    let number = |outcome: &Outcome| match outcome {
        Outcome::Done => 0,
        Outcome::Failed { .. } => 1,
        Outcome::Panicked => 2,
        Outcome::Cancelled { .. } => 3,
        Outcome::Codec => 4,
        Outcome::Expired => 5,
    };
    complete(&values, number, 6);
    for (outcome, bytes) in values {
        golden(&outcome, bytes);
    }
}

#[test]
fn control_frames_to_a_worker() {
    let values: [(ControlToWorker, &[u8]); 4] = [
        (ControlToWorker::Cancel { ticket: 300 }, &[0, 172, 2]),
        (ControlToWorker::Revoke { ticket: 300 }, &[1, 172, 2]),
        (ControlToWorker::Ping { nonce: 1 }, &[2, 1]),
        (ControlToWorker::Exit, &[3]),
    ];
    let number = |frame: &ControlToWorker| match frame {
        ControlToWorker::Cancel { .. } => 0,
        ControlToWorker::Revoke { .. } => 1,
        ControlToWorker::Ping { .. } => 2,
        ControlToWorker::Exit => 3,
    };
    complete(&values, number, 4);
    for (frame, bytes) in values {
        golden(&frame, bytes);
    }
}

#[test]
fn control_frames_from_a_worker() {
    let values: [(ControlFromWorker, &[u8]); 6] = [
        (
            ControlFromWorker::Pong {
                nonce: 1,
                running: None,
            },
            &[0, 1, 0],
        ),
        (
            ControlFromWorker::Pong {
                nonce: 1,
                running: Some((300, 100_000)),
            },
            &[0, 1, 1, 172, 2, 160, 141, 6],
        ),
        (
            ControlFromWorker::Revoked {
                ticket: 300,
                given_back: true,
            },
            &[1, 172, 2, 1],
        ),
        (ControlFromWorker::Signalled { signal: 15 }, &[2, 30]),
        (ControlFromWorker::Signalled { signal: -1 }, &[2, 1]),
        (
            ControlFromWorker::LastWords {
                ticket: Some(300),
                panic: RemoteError::panic("boom".to_owned(), Some("a.rs:1".to_owned()), None),
            },
            b"\x03\x01\xac\x02\x05panic\x04boom\x00\x01\x06a.rs:1\x00\x00\x00",
        ),
    ];
    let number = |frame: &ControlFromWorker| match frame {
        ControlFromWorker::Pong { .. } => 0,
        ControlFromWorker::Revoked { .. } => 1,
        ControlFromWorker::Signalled { .. } => 2,
        ControlFromWorker::LastWords { .. } => 3,
    };
    complete(&values, number, 4);
    for (frame, bytes) in values {
        golden(&frame, bytes);
    }
}

#[test]
fn these_are_the_bytes_of_protocol_1() {
    assert_eq!(PROTOCOL, 1);
}

#[test]
fn half_a_header_and_unknown_variants_are_errors() {
    assert!(parse::<HostFrame>(&[]).is_err());
    assert!(parse::<HostFrame>(&[1, 172, 2, 173]).is_err());
    assert!(parse::<HostFrame>(&[4]).is_err());
    assert!(parse::<WorkerFrame>(&[11]).is_err());
    assert!(parse::<ControlToWorker>(&[4]).is_err());
    assert!(parse::<ControlFromWorker>(&[4]).is_err());
    assert!(codec::decode_header::<StartConfig>(&TOKEN).is_err());
}
