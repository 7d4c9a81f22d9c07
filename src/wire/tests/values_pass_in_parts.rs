//! Values come out of a byte stream as they went in, however it is cut, and large ones let others pass.

use std::{collections::HashMap, io::IoSlice};

use bytes::Bytes;

use super::super::{
    Assembly, FrameReader, FrameWriter, Outcome, PART_BYTES, Payload, Spares, WorkerFrame,
    writer::TURN_BYTES,
};
use crate::sched::model::{Random, Run};

const LIMIT: usize = 3 * 1024 * 1024;

/// More than any header here takes with its length.
const HEADER: usize = 64;

/// Bytes that differ from those around them, so that none can take the place of another.
fn noise(random: &mut Random, length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length);
    Bytes::from(bytes)
}

/// As often around a border of the format as anywhere.
fn length(random: &mut Random, longest: usize) -> usize {
    let border = [0, 1, 4 * 1024, 20 * 1024, PART_BYTES, 2 * PART_BYTES, LIMIT];
    let length = match random.below(8) {
        0..=2 => random.below(200),
        3 => random.below(10_000),
        4 => random.below(longest + 1),
        _ => random.pick(&border).unwrap() + random.below(3),
    };
    length.saturating_sub(random.below(3)).min(longest)
}

fn payload(random: &mut Random, longest: usize) -> Payload {
    let mut left = length(random, longest);
    let mut attachments = Vec::new();
    while random.odds(1, 2) {
        let bytes = length(random, left);
        attachments.push(noise(random, bytes));
        left -= bytes;
    }
    let body = noise(random, left);
    if attachments.is_empty() && random.odds(1, 2) {
        Payload::copied(&body)
    } else {
        Payload::new(body, attachments)
    }
}

fn lengths(payload: &Payload) -> Vec<u32> {
    let lengths = payload.attachments().iter().map(Bytes::len);
    lengths
        .map(|length| u32::try_from(length).unwrap())
        .collect()
}

/// Both ends of a connection, and the bytes between them.
struct Pipe {
    writer: FrameWriter<WorkerFrame>,
    reader: FrameReader,
    assembly: Assembly<Outcome>,
    /// Frames without a value, as they came.
    small: Vec<u64>,
    values: HashMap<u64, Payload>,
    /// How many bytes were read to where they belong at once.
    direct: usize,
}

impl Pipe {
    fn new() -> Self {
        Self {
            writer: FrameWriter::new(),
            reader: FrameReader::new(),
            assembly: Assembly::new(LIMIT, &Spares::swept()),
            small: Vec::new(),
            values: HashMap::new(),
            direct: 0,
        }
    }

    fn queue(&mut self, ticket: u64, payload: &Payload) {
        let attachments = lengths(payload);
        let header = |rest| WorkerFrame::Result {
            ticket,
            outcome: Outcome::Done,
            attachments,
            rest,
        };
        let part = WorkerFrame::Part { ticket };
        self.writer.value(header, part, payload).unwrap();
    }

    fn queue_small(&mut self, ticket: u64) {
        self.writer.frame(&WorkerFrame::Started { ticket }).unwrap();
    }

    /// Moves up to `most` bytes across, in reads of any size. Returns how many it were.
    fn write(&mut self, random: &mut Random, most: usize) -> usize {
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = self.writer.slices(&mut slices).unwrap();
        let mut bytes: Vec<u8> = Vec::new();
        for slice in &slices[..filled] {
            assert!(!slice.is_empty());
            let room = most - bytes.len();
            bytes.extend_from_slice(&slice[..room.min(slice.len())]);
        }
        self.writer.advance(bytes.len());
        let mut left = &bytes[..];
        while !left.is_empty() {
            let direct = self.assembly.is_open();
            let space = self.assembly.space(&mut self.reader);
            assert!(!space.is_empty(), "nowhere to read to");
            let most = space.len().min(left.len());
            let read = if random.odds(1, 2) {
                most
            } else {
                random.between(1, most)
            };
            space[..read].copy_from_slice(&left[..read]);
            self.direct += if direct { read } else { 0 };
            let whole = self.assembly.filled(read, &mut self.reader);
            if let Some((ticket, whole)) = whole.unwrap() {
                self.came(ticket, whole);
            }
            self.parse();
            left = &left[read..];
        }
        bytes.len()
    }

    fn parse(&mut self) {
        while let Some((header, tail)) = self.reader.frame().unwrap() {
            let bytes = tail.here().len() + tail.more;
            assert!(bytes <= PART_BYTES, "{bytes} bytes");
            let (ticket, whole) = match header {
                WorkerFrame::Started { ticket } => {
                    self.small.push(ticket);
                    continue;
                }
                WorkerFrame::Result {
                    ticket,
                    outcome,
                    attachments,
                    rest,
                } => {
                    let whole = self
                        .assembly
                        .first(ticket, outcome, attachments, rest, tail);
                    (ticket, whole.unwrap())
                }
                WorkerFrame::Part { ticket } => (ticket, self.assembly.part(ticket, tail).unwrap()),
                header => panic!("{header:?}"),
            };
            assert_eq!(self.assembly.contains(ticket), whole.is_none());
            if let Some(whole) = whole {
                self.came(ticket, whole);
            }
        }
        // What is large is read elsewhere.
        assert!(self.reader.capacity() <= 128 * 1024 + HEADER);
    }

    fn came(&mut self, ticket: u64, (outcome, payload): (Outcome, Payload)) {
        assert!(!self.assembly.contains(ticket));
        assert_eq!(outcome, Outcome::Done);
        assert!(self.values.insert(ticket, payload).is_none());
    }
}

#[track_caller]
fn assert_equal(found: &Payload, expected: &Payload) {
    // Not by `assert_eq`, which would print megabytes.
    assert!(found.body() == expected.body());
    assert!(found.attachments() == expected.attachments());
}

#[test]
fn values_come_back_equal_and_small_frames_in_their_order() {
    let mut run = Run::new();
    let mut direct = 0;
    // These are heavy: a thousandth of the events is as much work as elsewhere.
    while run.goes_on() {
        let mut pipe = Pipe::new();
        // Where none comes in parts, several are read at once.
        let (longest, weight) = [(LIMIT, 1000), (30_000, 50)][run.random.below(2)];
        let mut sent = HashMap::new();
        let mut marks = Vec::new();
        let mut next = 0;
        let count = run.random.between(1, 30);
        while next < count as u64 || !pipe.writer.is_empty() {
            if next < count as u64 && run.random.odds(1, 3) {
                next += 1;
                if run.random.odds(1, 2) {
                    let payload = payload(&mut run.random, longest);
                    run.note_many((next, payload.len()), weight);
                    pipe.queue(next, &payload);
                    sent.insert(next, payload);
                } else {
                    run.note_many((next, 0), weight);
                    pipe.queue_small(next);
                    marks.push((next, pipe.writer.mark()));
                }
            } else {
                let most = [10, 5000, 100_000, LIMIT][run.random.below(4)];
                let most = run.random.between(1, most);
                pipe.write(&mut run.random, most);
            }
            // What is said to be written is: the start of a task waits for that.
            let written = pipe.writer.written();
            let arrived = marks.iter().take_while(|(_, mark)| *mark <= written);
            let arrived: Vec<u64> = arrived.map(|(ticket, _)| *ticket).collect();
            assert_eq!(pipe.small, arrived);
            // What it led to is read into again.
            if run.random.odds(1, 4) {
                let mut came: Vec<u64> = pipe.values.keys().copied().collect();
                came.sort_unstable();
                if let Some(gone) = run.random.pick(&came) {
                    assert_equal(&pipe.values[&gone], &sent[&gone]);
                    pipe.values.remove(&gone);
                    sent.remove(&gone);
                }
            }
        }
        assert!(!pipe.reader.is_partial() && !pipe.assembly.is_open());
        assert_eq!((pipe.writer.pending(), pipe.small.len()), (0, marks.len()));
        assert_eq!(pipe.values.len(), sent.len());
        for (ticket, payload) in &sent {
            assert_equal(&pipe.values[ticket], payload);
        }
        direct += pipe.direct;
    }
    assert!(direct > 0);
}

#[test]
fn a_small_frame_behind_three_mebibytes_waits_for_one_part_at_most() {
    let mut random = Random::new(1);
    let value = Payload::new(noise(&mut random, LIMIT), Vec::new());
    for _ in 0..20 {
        let mut pipe = Pipe::new();
        pipe.queue(1, &value);
        // At its beginning, between two parts, and anywhere in one but the last, behind which there is nothing of it.
        let anywhere = random.below(LIMIT - PART_BYTES - HEADER);
        let mut before = [0, PART_BYTES + 6, anywhere][random.below(3)];
        while before > 0 {
            before -= pipe.write(&mut random, before);
        }
        pipe.queue_small(2);
        let mut waited = 0;
        while pipe.small.is_empty() {
            let most = random.between(1, 1000);
            waited += pipe.write(&mut random, most);
        }
        assert!(waited < PART_BYTES + HEADER + 1000, "{waited} bytes");
        assert!(pipe.values.is_empty());
        while !pipe.writer.is_empty() {
            pipe.write(&mut random, LIMIT);
        }
        assert_equal(&pipe.values[&1], &value);
    }
}

#[test]
fn two_large_values_take_turns() {
    let mut random = Random::new(2);
    let mut pipe = Pipe::new();
    let long = Payload::new(noise(&mut random, LIMIT), Vec::new());
    let short = Payload::new(noise(&mut random, 2 * PART_BYTES), Vec::new());
    pipe.queue(1, &long);
    pipe.queue(2, &short);
    let mut written = 0;
    while !pipe.values.contains_key(&2) {
        written += pipe.write(&mut random, 1000);
    }
    let first_turn = PART_BYTES + TURN_BYTES;
    assert!(written < first_turn + short.len() + 1000, "{written} bytes");
    assert!(!pipe.values.contains_key(&1));
}

#[test]
fn values_no_longer_than_a_turn_come_one_after_the_other() {
    let mut random = Random::new(3);
    let mut pipe = Pipe::new();
    for length in [TURN_BYTES, TURN_BYTES + PART_BYTES, 2 * PART_BYTES] {
        let first = pipe.values.len() as u64;
        let value = Payload::new(noise(&mut random, length), Vec::new());
        for ticket in first..first + 4 {
            pipe.queue(ticket, &value);
        }
        while !pipe.writer.is_empty() {
            pipe.write(&mut random, 10_000);
            let reserved = pipe.assembly.reserved();
            assert!(
                reserved <= length,
                "{reserved} bytes for values of {length}"
            );
        }
        assert_equal(&pipe.values[&(first + 3)], &value);
    }
}
