//! What a connection has in memory while little comes, and that it is no hindrance when much does.

use super::super::FrameReader;

/// Frames of a task that does nothing.
const SMALL: usize = 10;

fn frames(count: usize) -> Vec<u8> {
    let frame = [
        &u32::try_from(SMALL).unwrap().to_le_bytes()[..],
        &[7; SMALL],
    ]
    .concat();
    frame.repeat(count)
}

/// Lets a reader read once. Returns how many bytes.
fn read_once(reader: &mut FrameReader, bytes: &[u8]) -> usize {
    let space = reader.space();
    let read = space.len().min(bytes.len());
    space[..read].copy_from_slice(&bytes[..read]);
    reader.filled(read);
    read
}

#[test]
fn a_word_now_and_then_takes_no_more_than_a_page() {
    let mut reader = FrameReader::new();
    for _ in 0..10_000 {
        read_once(&mut reader, &frames(3));
        for _ in 0..3 {
            assert_eq!(reader.next(), Ok(Some(&[7; SMALL][..])));
        }
        assert_eq!(reader.next(), Ok(None));
    }
    assert_eq!(reader.capacity(), 4096);
}

#[test]
fn what_comes_in_bulk_is_read_in_bulk_from_the_second_time_on() {
    let bytes = frames(100_000);
    let (mut reader, mut read, mut reads, mut seen) = (FrameReader::new(), 0, 0, 0);
    while read < bytes.len() {
        read += read_once(&mut reader, &bytes[read..]);
        reads += 1;
        // However the frames fall, and what is left of the last one.
        while let Some(frame) = reader.next().unwrap() {
            assert_eq!(frame, [7; SMALL]);
            seen += 1;
        }
    }
    assert_eq!(seen, 100_000);
    assert!(reads <= 2 + bytes.len() / (64 * 1024 - 14), "{reads}");
    assert_eq!(reader.capacity(), 64 * 1024);
}
