//! Both sides of a connection cut what they write alike, however much they have at hand.

use std::io::IoSlice;

use bytes::Bytes;

use super::super::{FrameWriter, Outcome, Payload, WorkerFrame};

/// Queues values of this size, and returns how many bytes each write has.
fn writes(values: usize, size: usize) -> Vec<usize> {
    let mut writer = FrameWriter::new();
    for ticket in 0..values as u64 {
        let value = Payload::new(Bytes::from(vec![7; size]), Vec::new());
        let header = |rest| WorkerFrame::Result {
            ticket,
            outcome: Outcome::Done,
            attachments: Vec::new(),
            rest,
        };
        let part = WorkerFrame::Part { ticket };
        writer.value(header, part, &value).unwrap();
    }
    let mut writes = Vec::new();
    while !writer.is_empty() {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = writer.slices(&mut slices).unwrap();
        let bytes = slices[..filled].iter().map(|slice| slice.len()).sum();
        writer.advance(bytes);
        writes.push(bytes);
    }
    writes
}

#[test]
fn eight_at_hand_are_written_as_eight_one_at_a_time() {
    const SIZE: usize = 64 * 1024;
    let alone = writes(1, SIZE);
    assert!(alone.len() == 1 && alone[0] > SIZE, "{alone:?}");
    let together = writes(8, SIZE);
    assert_eq!(together.len(), 8);
    let heads = |bytes: &usize| bytes - SIZE;
    assert!(
        together.iter().map(heads).all(|head| head < 64),
        "{together:?}"
    );
}

#[test]
fn smaller_ones_share_a_write() {
    let writes = writes(64, 8 * 1024);
    assert!(
        writes.len() <= 9 && writes.iter().all(|bytes| *bytes < 80 * 1024),
        "{writes:?}"
    );
}
