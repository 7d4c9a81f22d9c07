//! A value is where it was read, unless a copy of it is cheaper or keeps less.

use bytes::Bytes;

use super::super::{
    Assembly, FrameReader, FrameWriter, Outcome, PART_BYTES, Payload, Spares, WorkerFrame,
};

const LIMIT: usize = 4 * 1024 * 1024;

/// No attachment begins with the same bytes as its neighbours.
fn value(seed: usize, length: usize) -> Payload {
    let bytes = (0..length).map(|at| (at / 7 + seed * 31) as u8);
    Payload::new(Bytes::from_static(b"ab"), vec![bytes.collect()])
}

/// A connection on which as much is read at once as there is room for.
struct Reads {
    reader: FrameReader,
    assembly: Assembly<Outcome>,
    /// So many bytes came through the reader's buffer.
    through: usize,
    /// The values that are kept, with what they should be.
    kept: Vec<(Payload, Payload)>,
}

impl Reads {
    fn new(spares: &Spares) -> Self {
        Self {
            reader: FrameReader::new(),
            assembly: Assembly::new(LIMIT, spares),
            through: 0,
            kept: Vec::new(),
        }
    }

    /// As after some traffic.
    fn warm(spares: &Spares) -> Self {
        let mut reads = Self::new(spares);
        while reads.reader.capacity() < 64 * 1024 {
            reads.values(&[100; 200]);
        }
        reads
    }

    /// Values of these lengths, a small frame behind each. Returns of how many of them nothing was copied.
    fn values(&mut self, lengths: &[usize]) -> usize {
        let mut writer = FrameWriter::new();
        let sent: Vec<Payload> = (0..)
            .zip(lengths)
            .map(|(seed, &length)| value(seed, length))
            .collect();
        for (ticket, (&length, value)) in (0..).zip(lengths.iter().zip(&sent)) {
            let header = |rest| WorkerFrame::Result {
                ticket,
                outcome: Outcome::Done,
                attachments: vec![u32::try_from(length).unwrap()],
                rest,
            };
            let part = WorkerFrame::Part { ticket };
            writer.value(header, part, value).unwrap();
            writer.frame(&WorkerFrame::Started { ticket }).unwrap();
        }
        let mut bytes = Vec::new();
        while !writer.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 4];
            let filled = writer.slices(&mut slices).unwrap();
            let before = bytes.len();
            for slice in &slices[..filled] {
                bytes.extend_from_slice(slice);
            }
            writer.advance(bytes.len() - before);
        }
        let (shared, values, small) = self.read(&bytes);
        assert_eq!((values.len(), small), (sent.len(), sent.len()));
        for (ticket, value) in values {
            self.kept.push((value, sent[ticket as usize].clone()));
        }
        shared
    }

    fn read(&mut self, mut left: &[u8]) -> (usize, Vec<(u64, Payload)>, usize) {
        let (mut shared, mut values, mut small) = (0, Vec::new(), 0);
        while !left.is_empty() {
            let direct = self.assembly.is_open();
            let space = self.assembly.space(&mut self.reader);
            let read = space.len().min(left.len());
            space[..read].copy_from_slice(&left[..read]);
            self.through += if direct { 0 } else { read };
            let whole = self.assembly.filled(read, &mut self.reader).unwrap();
            values.extend(whole.map(|(ticket, (_, value))| (ticket, value)));
            left = &left[read..];
            while let Some((header, tail)) = self.reader.frame().unwrap() {
                let place = tail.here().as_ptr();
                let (ticket, whole) = match header {
                    WorkerFrame::Result {
                        ticket,
                        outcome,
                        attachments,
                        rest,
                    } => {
                        let assembly = &mut self.assembly;
                        let first = assembly.first(ticket, outcome, attachments, rest, tail);
                        (ticket, first.unwrap())
                    }
                    WorkerFrame::Part { ticket } => {
                        (ticket, self.assembly.part(ticket, tail).unwrap())
                    }
                    _ => {
                        small += 1;
                        continue;
                    }
                };
                if let Some((_, value)) = whole {
                    shared += usize::from(value.body().as_ptr() == place);
                    values.push((ticket, value));
                }
            }
        }
        (shared, values, small)
    }

    /// Whatever was read since, they are as they came.
    fn check(&self) {
        for (came, sent) in &self.kept {
            // Not by `assert_eq`, which would print megabytes.
            assert!(came.body() == sent.body());
            assert!(came.attachments() == sent.attachments());
        }
    }
}

#[test]
fn what_fills_half_a_buffer_shares_it() {
    let mut reads = Reads::warm(&Spares::swept());
    assert_eq!(reads.values(&[7000; 8]), 8);
    // What is not whole goes on in the next one; the last came alone.
    assert_eq!(reads.values(&[7000; 100]), 99);
    assert_eq!(reads.values(&[60_000]), 1);
    assert_eq!(reads.values(&[20_000, 100, 20_000, 5000]), 3);
    // A frame that is larger than the buffer makes it as large.
    assert_eq!(reads.values(&[100_000]), 1);
    assert_eq!(reads.values(&[60_000]), 1);
    reads.check();
}

#[test]
fn what_comes_alone_to_a_large_buffer_is_copied() {
    let mut reads = Reads::warm(&Spares::swept());
    assert_eq!(reads.values(&[20_000]), 0);
    assert_eq!(reads.values(&[100_000]), 1);
    assert_eq!(reads.values(&[40_000]), 0);
    reads.check();
}

#[test]
fn what_would_keep_much_more_than_itself_is_copied() {
    let mut reads = Reads::warm(&Spares::swept());
    // Nothing below 4 KiB, and no less than a sixteenth of the buffer.
    assert_eq!(reads.values(&[4000; 14]), 0);
    assert_eq!(reads.values(&[4100; 14]), 14);
    reads.values(&[120_000]);
    assert_eq!(reads.values(&[7000; 16]), 0);
    assert_eq!(reads.values(&[8000; 14]), 14);
    reads.check();
    // Whatever the buffer.
    assert_eq!(Reads::new(&Spares::swept()).values(&[1000; 3]), 0);
}

#[test]
fn nothing_shares_a_buffer_that_would_not_come_back() {
    let mut reads = Reads::warm(&Spares::default());
    assert_eq!(reads.values(&[60_000]), 0);
    assert_eq!(reads.values(&[7000; 8]), 0);
    reads.check();
}

#[test]
fn a_buffer_comes_back_when_no_value_leads_to_it_any_more() {
    let spares = Spares::swept();
    let mut reads = Reads::warm(&spares);
    assert_eq!(reads.values(&[20_000, 20_000, 20_000]), 3);
    // The reader needs another one, and the values this.
    reads.values(&[100]);
    assert_eq!(spares.kept(), 0);
    reads.check();
    reads.kept.clear();
    assert_eq!(spares.kept(), 64 * 1024);
}

#[test]
fn little_of_a_value_in_parts_is_read_anywhere_else() {
    let mut reads = Reads::warm(&Spares::swept());
    let before = reads.through;
    let parts = 12;
    reads.values(&[parts * PART_BYTES]);
    let through = reads.through - before;
    // What came with the first header, and a page for each part.
    let most = 64 * 1024 + parts * 4096;
    assert!(through <= most, "{through} bytes");
    reads.check();
}
