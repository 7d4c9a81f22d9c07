//! Frames that are read to where they belong, whatever they claim: put together or refused, within the limits.

use bytes::BytesMut;

use super::super::{Assembly, FRAME_BYTES, FrameReader, Outcome, Spares, WorkerFrame, frame_bytes};
use crate::sched::model::{Random, Run};

const LIMIT: usize = 1024 * 1024;

/// Reads as a session does. Returns false when it would end the worker.
fn take(reader: &mut FrameReader, assembly: &mut Assembly<()>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let space = assembly.space(reader);
        assert!(!space.is_empty(), "nowhere to read to");
        let read = space.len().min(bytes.len());
        space[..read].copy_from_slice(&bytes[..read]);
        bytes = &bytes[read..];
        if assembly.filled(read, reader).is_err() {
            return false;
        }
        loop {
            let taken = match reader.frame::<WorkerFrame>() {
                Ok(None) => break,
                Ok(Some((WorkerFrame::Part { ticket }, tail))) => assembly.part(ticket, tail),
                Ok(Some((WorkerFrame::Result { ticket, rest, .. }, tail))) => {
                    assembly.first(ticket, (), Vec::new(), rest, tail)
                }
                Ok(Some(_)) | Err(_) => return false,
            };
            if taken.is_err() {
                return false;
            }
        }
    }
    true
}

#[test]
fn large_frames_are_put_together_or_refused_whatever_they_claim() {
    let mut run = Run::new();
    // As heavy as those of values in parts.
    while run.goes_on() {
        let (mut reader, mut assembly) =
            (FrameReader::new(), Assembly::new(LIMIT, &Spares::swept()));
        let mut is_sound = true;
        for _ in 0..run.random.between(1, 20) {
            let random = &mut run.random;
            let length = |random: &mut Random| match random.below(4) {
                0 => random.below(200),
                1 => random.below(LIMIT + 1000),
                _ => random.between(120, 300) * 1024,
            };
            let ticket = random.below(3) as u64;
            let claimed = [length(random), random.below(8 * LIMIT)][random.below(2)];
            let rest = claimed as u64;
            let header = match random.below(8) {
                0 => WorkerFrame::Results { ticket, results: 2 },
                1..4 => WorkerFrame::Result {
                    ticket,
                    outcome: Outcome::Done,
                    attachments: Vec::new(),
                    rest,
                },
                _ => WorkerFrame::Part { ticket },
            };
            let tail = vec![7; length(random).min(FRAME_BYTES)];
            let mut bytes = BytesMut::new();
            frame_bytes(&header, &tail, &mut bytes).unwrap();
            let is_value = matches!(header, WorkerFrame::Result { .. });
            let refused = is_value && claimed + tail.len() > LIMIT;
            if random.odds(1, 10) {
                // What follows may be taken for a part of it.
                is_sound = false;
                bytes[random.below(3)] ^= random.next() as u8;
            }
            run.note_many((ticket, rest, bytes.len()), 1000);
            let mut rest = &bytes[..];
            let mut goes_on = true;
            while goes_on && !rest.is_empty() {
                let (now, later) = rest.split_at(run.random.between(1, rest.len()));
                goes_on = take(&mut reader, &mut assembly, now);
                rest = later;
            }
            assert!(
                !(goes_on && refused && is_sound),
                "{claimed} bytes and {}",
                tail.len()
            );
            assert!(reader.capacity() <= FRAME_BYTES + 4 + 64 * 1024);
            assert!(assembly.reserved() <= 3 * (LIMIT + LIMIT / 4));
            if !goes_on {
                break;
            }
        }
    }
}
