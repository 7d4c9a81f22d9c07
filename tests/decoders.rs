//! Every decoder of both sides: whatever it is given, it neither panics nor takes more memory than it may.
//!
//! With what fuzzing begins with, and has found (`fuzz/`), and with random bytes and random changes of those.

use std::{fs, path::Path};

use actix_multiprocess::testing::decoders::{Decoder, decode};
use proptest::{prelude::*, sample};

/// What is known of a decoder; nothing in the package, which has no `fuzz`.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let read = |path| fs::read(path).expect("a file of the corpus");
    files.into_iter().map(read).collect()
}

/// One change of bytes.
#[derive(Debug, Clone)]
enum Change {
    Set(sample::Index, u8),
    Cut(sample::Index),
    Double(sample::Index),
    Insert(sample::Index, Vec<u8>),
    Remove(sample::Index, sample::Index),
}

impl Change {
    fn make(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let all = bytes.len();
        match self {
            Self::Set(at, byte) => bytes[at.index(all)] = byte,
            Self::Cut(at) => bytes.truncate(at.index(all)),
            Self::Double(from) => bytes.extend_from_within(from.index(all)..),
            Self::Insert(at, more) => {
                let at = at.index(all);
                bytes.splice(at..at, more);
            }
            Self::Remove(one, other) => {
                let (one, other) = (one.index(all), other.index(all));
                bytes.drain(one.min(other)..one.max(other));
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        at().prop_map(Change::Cut),
        at().prop_map(Change::Double),
        (at(), prop::collection::vec(any::<u8>(), 1..12))
            .prop_map(|(at, more)| Change::Insert(at, more)),
        (at(), at()).prop_map(|(one, other)| Change::Remove(one, other)),
    ]
}

#[test]
fn what_fuzzing_knows_is_decoded() {
    let mut known = 0;
    for (decoder, name) in Decoder::ALL {
        for bytes in corpus(name) {
            known += 1;
            decode(decoder, &bytes);
            // And each beginning of it, as a connection that ends.
            for length in 0..bytes.len().min(2000) {
                decode(decoder, &bytes[..length]);
            }
        }
    }
    assert!(known > 20 || !Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").is_dir());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_bytes_are_decoded(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (decoder, _) in Decoder::ALL {
            decode(decoder, &bytes);
        }
    }

    #[test]
    fn what_is_nearly_right_is_decoded(
        which in any::<sample::Index>(),
        changes in prop::collection::vec(change(), 1..8),
    ) {
        for (decoder, name) in Decoder::ALL {
            let mut known = corpus(name);
            if known.is_empty() {
                continue;
            }
            let mut bytes = known.swap_remove(which.index(known.len()));
            for change in changes.clone() {
                change.make(&mut bytes);
            }
            decode(decoder, &bytes);
        }
    }
}
