//! Streams that are cut off, lie about lengths or are noise: refused before anything is allocated for what they claim.

use bytes::{Bytes, BytesMut};

use super::super::{
    Assembly, AssemblyError, FRAME_BYTES, FrameReader, Payload, Spares, Tail, WorkerFrame,
    frame_bytes, reader::FrameError,
};
use crate::sched::model::Run;

const LIMIT: usize = 1024 * 1024;

/// Lets a reader read these bytes.
fn read(reader: &mut FrameReader, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = reader.space();
        let read = space.len().min(bytes.len());
        space[..read].copy_from_slice(&bytes[..read]);
        reader.filled(read);
        bytes = &bytes[read..];
    }
}

#[test]
fn a_frame_that_is_cut_off_is_none_and_known_as_begun() {
    let whole = [&5_u32.to_le_bytes()[..], b"frame"].concat();
    for length in 0..whole.len() {
        let mut reader = FrameReader::new();
        read(&mut reader, &whole[..length]);
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(reader.is_partial(), length > 0);
        read(&mut reader, &whole[length..]);
        assert_eq!(reader.next(), Ok(Some(&b"frame"[..])));
        assert!(!reader.is_partial());
    }
}

#[test]
fn a_frame_that_is_too_long_is_refused_at_its_length() {
    for claimed in [FRAME_BYTES + 1, u32::MAX as usize] {
        let mut reader = FrameReader::new();
        let before = reader.capacity();
        let length = u32::try_from(claimed).unwrap();
        read(&mut reader, &length.to_le_bytes());
        assert_eq!(reader.next(), Err(FrameError { claimed }));
        assert_eq!(reader.next(), Err(FrameError { claimed }));
        assert_eq!(reader.capacity(), before);
        // Not even if somebody read on.
        let _ = reader.space();
        assert!(reader.capacity() <= FRAME_BYTES + 4);
    }
    let mut reader = FrameReader::new();
    read(
        &mut reader,
        &u32::try_from(FRAME_BYTES).unwrap().to_le_bytes(),
    );
    read(&mut reader, &vec![7; FRAME_BYTES]);
    assert_eq!(reader.next(), Ok(Some(&vec![7; FRAME_BYTES][..])));
}

#[test]
fn a_value_beyond_the_limit_is_refused_at_its_first_frame() {
    let mut assembly = Assembly::new(LIMIT, &Spares::swept());
    for rest in [LIMIT as u64 - 3, 1 << 40, u64::MAX] {
        let bytes = rest.saturating_add(4);
        let found = assembly.first(1, (), Vec::new(), rest, &b"tail"[..]);
        let limit = LIMIT;
        assert_eq!(found.unwrap_err(), AssemblyError::TooLarge { bytes, limit });
        assert!(!assembly.contains(1));
        assert_eq!(assembly.reserved(), 0);
    }
    let mut small = Assembly::new(3, &Spares::swept());
    let (bytes, limit) = (4, 3);
    let found = small.first(1, (), Vec::new(), 0, &b"tail"[..]);
    assert_eq!(found.unwrap_err(), AssemblyError::TooLarge { bytes, limit });
}

#[test]
fn parts_that_nobody_announced_and_parts_without_bytes_are_refused() {
    let mut assembly = Assembly::<()>::new(LIMIT, &Spares::swept());
    let unannounced = AssemblyError::Unannounced { ticket: 1 };
    assert_eq!(assembly.part(1, &b"tail"[..]).unwrap_err(), unannounced);
    assert!(
        assembly
            .first(1, (), Vec::new(), 4, &b""[..])
            .unwrap()
            .is_none()
    );
    // A part without bytes would let a peer talk for ever.
    let overrun = AssemblyError::Overrun { ticket: 1 };
    assert_eq!(assembly.part(1, &b""[..]).unwrap_err(), overrun);
    assert_eq!(assembly.part(1, &b"tails"[..]).unwrap_err(), overrun);
    assert_eq!(
        assembly.first(1, (), Vec::new(), 4, &b""[..]).unwrap_err(),
        overrun
    );
}

#[test]
fn attachments_that_do_not_fit_their_value_are_refused() {
    let mut assembly = Assembly::new(LIMIT, &Spares::swept());
    let found = assembly.first(1, (), vec![5], 0, &b"tail"[..]);
    assert_eq!(found.unwrap_err(), AssemblyError::Lengths);
    assert!(
        assembly
            .first(2, (), vec![9], 4, &b"tail"[..])
            .unwrap()
            .is_none()
    );
    assert_eq!(
        assembly.part(2, &b"more"[..]).unwrap_err(),
        AssemblyError::Lengths
    );
    assert!(!assembly.contains(2));
}

#[test]
fn a_part_that_has_begun_is_no_longer_than_what_is_due() {
    let tail = |here: &'static [u8; 4], more| {
        let mut tail = Tail::from(&here[..]);
        tail.more = more;
        tail
    };
    let mut assembly = Assembly::new(LIMIT, &Spares::swept());
    let mut reader = FrameReader::new();
    let limit = LIMIT;
    let found = assembly.first(1, (), Vec::new(), 1, tail(b"tail", LIMIT - 4));
    let bytes = LIMIT as u64 + 1;
    assert_eq!(found.unwrap_err(), AssemblyError::TooLarge { bytes, limit });
    let begun = assembly.first(1, (), Vec::new(), 9, tail(b"tail", 1));
    assert!(begun.unwrap().is_none() && assembly.is_open());
    assert_eq!(assembly.space(&mut reader).len(), 1);
    assert!(assembly.filled(1, &mut reader).unwrap().is_none() && !assembly.is_open());
    let found = assembly.part(1, tail(b"tail", 6));
    assert_eq!(found.unwrap_err(), AssemblyError::Overrun { ticket: 1 });
    assert!(!assembly.is_open());
    assert!(assembly.part(1, tail(b"tail", 5)).unwrap().is_none());
    assembly.space(&mut reader).copy_from_slice(b"tails");
    assert!(assembly.filled(3, &mut reader).unwrap().is_none());
    assert_eq!(assembly.space(&mut reader), b"ls");
    let (ticket, (_, payload)) = assembly.filled(2, &mut reader).unwrap().unwrap();
    assert_eq!((ticket, payload.body().len()), (1, 14));
    assert_eq!(payload.body()[5..], b"tailtails"[..]);
}

#[test]
fn a_large_frame_without_a_value_is_waited_for() {
    let mut reader = FrameReader::new();
    let mut bytes = BytesMut::new();
    let header = WorkerFrame::Results {
        ticket: 1,
        results: 2,
    };
    frame_bytes(&header, &[7; FRAME_BYTES / 2], &mut bytes).unwrap();
    let (last, before) = bytes.split_last().unwrap();
    read(&mut reader, before);
    assert!(reader.frame::<WorkerFrame>().unwrap().is_none());
    read(&mut reader, &[*last]);
    let (found, tail) = reader.frame::<WorkerFrame>().unwrap().unwrap();
    assert_eq!((found, tail.more), (header, 0));
    assert_eq!(tail.here(), [7; FRAME_BYTES / 2]);
}

#[test]
fn noise_never_takes_more_than_a_frame() {
    let mut run = Run::new();
    while run.goes_on() {
        let mut reader = FrameReader::new();
        // Lengths that are small, about right, or nonsense.
        let high = [0, 0, 1, 8, 9, 255][run.random.below(6)];
        for _ in 0..run.random.between(1, 300) {
            let length = run.random.between(1, 3000);
            let mut bytes: Vec<u8> = (0..length).map(|_| run.random.next() as u8).collect();
            for byte in bytes.iter_mut().skip(3).step_by(4) {
                *byte = 0;
            }
            for byte in bytes.iter_mut().skip(2).step_by(4) {
                *byte = high.min(*byte);
            }
            run.note_many((high, length), length);
            read(&mut reader, &bytes);
            let mut refused = false;
            loop {
                match reader.next() {
                    Ok(Some(frame)) => assert!(frame.len() <= FRAME_BYTES),
                    Ok(None) => break,
                    Err(FrameError { claimed }) => {
                        assert!(claimed > FRAME_BYTES);
                        refused = true;
                        break;
                    }
                }
            }
            // Bytes that were read behind whole frames may have needed room, once.
            assert!(reader.capacity() <= FRAME_BYTES + 4 + 64 * 1024);
            if refused {
                break;
            }
        }
    }
}

/// What a naive assembly would hold: the bytes so far and how many they will be.
type Partials = Vec<(u64, Vec<u8>, usize, Vec<u32>)>;

#[test]
fn any_order_of_first_frames_and_parts_is_put_together_or_refused() {
    let mut run = Run::new();
    while run.goes_on() {
        let mut assembly = Assembly::new(LIMIT, &Spares::swept());
        let mut partials = Partials::new();
        for _ in 0..run.random.between(1, 100) {
            let random = &mut run.random;
            let ticket = random.below(4) as u64;
            let tail = vec![random.next() as u8; random.below(20)];
            let rest = random.below(40) as u64;
            let lengths = vec![u32::try_from(random.below(20)).unwrap(); random.below(3)];
            let first = random.odds(1, 4);
            run.note((ticket, first, tail.len(), rest));
            let at = partials.iter().position(|partial| partial.0 == ticket);
            let (found, whole) = if first {
                let found = assembly.first(ticket, (), lengths.clone(), rest, &tail[..]);
                if at.is_some() {
                    assert_eq!(found.unwrap_err(), AssemblyError::Overrun { ticket });
                    break;
                } else if rest == 0 {
                    (found, Some((tail, lengths)))
                } else {
                    let total = tail.len() + usize::try_from(rest).unwrap();
                    partials.push((ticket, tail, total, lengths));
                    (found, None)
                }
            } else {
                let found = assembly.part(ticket, &tail[..]);
                let Some(at) = at else {
                    assert_eq!(found.unwrap_err(), AssemblyError::Unannounced { ticket });
                    continue;
                };
                let (_, bytes, total, _) = &mut partials[at];
                if tail.is_empty() || bytes.len() + tail.len() > *total {
                    assert_eq!(found.unwrap_err(), AssemblyError::Overrun { ticket });
                    break;
                }
                bytes.extend_from_slice(&tail);
                if bytes.len() < *total {
                    (found, None)
                } else {
                    let (_, bytes, _, lengths) = partials.remove(at);
                    (found, Some((bytes, lengths)))
                }
            };
            let expected =
                whole.map(|(bytes, lengths)| Payload::split(Bytes::from(bytes), &lengths));
            match (found, expected) {
                (Ok(None), None) => {}
                (Ok(Some(((), found))), Some(Some(expected))) => {
                    assert_eq!(found.body(), expected.body());
                    assert_eq!(found.attachments(), expected.attachments());
                }
                (Err(AssemblyError::Lengths), Some(None)) => {}
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
            assert!(
                assembly.reserved()
                    <= partials
                        .iter()
                        .map(|partial| partial.2.max(64))
                        .sum::<usize>()
            );
        }
    }
}
