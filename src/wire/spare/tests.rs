//! Which buffers are kept, and until when.
//!
//! Belongs here: the rules of keeping. Does not belong here: what is read into them, and who sweeps.
//! Invariant: each test can fail, and none needs another.

use super::*;

const LARGE: usize = 1024 * 1024;

fn value(spares: &Spares, bytes: usize) -> Bytes {
    let mut buffer = spares.take(bytes);
    buffer.clear();
    buffer.resize(bytes, 7);
    spares.lend(buffer, bytes)
}

/// One that nothing was read into.
fn untouched(spares: &Spares, bytes: usize) -> Bytes {
    spares.lend(spares.take(bytes), 0)
}

#[test]
fn the_next_value_has_the_buffer_of_one_that_has_gone() {
    let spares = Spares::swept();
    let mut first = value(&spares, LARGE);
    let place = first.as_ptr();
    let part = first.split_to(LARGE / 2);
    drop(first);
    // Somebody still has a part of it.
    assert_ne!(value(&spares, LARGE).as_ptr(), place);
    assert_eq!(part[..], [7; LARGE / 2]);
    drop(part);
    let second = value(&spares, LARGE - 1000);
    assert_eq!(second.as_ptr(), place);
    assert_eq!(second.len(), LARGE - 1000);
    // A value may outlive its connection.
    drop(spares);
    assert_eq!(second[LARGE - 1001], 7);
}

#[test]
fn no_value_has_a_buffer_that_is_much_too_large_or_too_small() {
    let spares = Spares::swept();
    drop(value(&spares, LARGE));
    for bytes in [LARGE / 2, LARGE + 1] {
        assert_eq!(spares.take(bytes).capacity(), bytes);
    }
    assert_eq!(spares.kept(), LARGE);
}

#[test]
fn no_more_are_kept_than_their_limits_allow() {
    let spares = Spares::swept();
    let come_and_go = |bytes| {
        let values: Vec<_> = (0..2 * KEPT).map(|_| untouched(&spares, bytes)).collect();
        drop(values);
    };
    come_and_go(KEPT_BYTES / 8 * 3);
    assert_eq!(spares.kept(), KEPT_BYTES / 8 * 6);
    // What is of no use any more goes first.
    come_and_go(SPARE_FROM);
    assert_eq!(spares.kept(), KEPT * SPARE_FROM);
    drop(value(&spares, SPARE_FROM - 1));
    drop(untouched(&spares, KEPT_BYTES + 1));
    assert_eq!(spares.kept(), KEPT * SPARE_FROM);
}

#[test]
fn what_was_not_wanted_for_a_while_goes_while_others_are_in_use() {
    let spares = Spares::swept();
    drop(value(&spares, LARGE));
    for kept in [LARGE + SPARE_FROM, SPARE_FROM, SPARE_FROM] {
        drop(value(&spares, SPARE_FROM));
        spares.sweep();
        assert_eq!(spares.kept(), kept);
    }
    assert!(spares.shelf.is_open());
    spares.sweep();
    assert_eq!(spares.kept(), 0);
    assert!(!spares.shelf.is_open());
}

#[test]
fn nothing_is_kept_when_none_was_taken_between_two_sweeps() {
    let spares = Spares::swept();
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(spares.poll_open(&mut cx).is_pending());
        let (early, late) = (value(&spares, LARGE), value(&spares, LARGE));
        assert!(spares.poll_open(&mut cx).is_ready());
        drop(early);
        spares.sweep();
        assert_eq!(spares.kept(), LARGE);
        spares.sweep();
        assert_eq!(spares.kept(), 0);
        // Comes when no other is expected.
        drop(late);
        assert_eq!(spares.kept(), 0);
    }
}

#[test]
fn nothing_is_kept_where_nobody_sweeps() {
    let never = Spares::default();
    let value_of_its_own = value(&never, LARGE);
    assert!(
        value_of_its_own.try_into_mut().is_ok(),
        "its buffer is not its own"
    );
    assert_eq!(never.kept(), 0);
    let spares = Spares::swept();
    let (early, late) = (value(&spares, LARGE), value(&spares, LARGE));
    drop(early);
    assert_eq!(spares.kept(), LARGE);
    spares.close();
    assert_eq!(spares.kept(), 0);
    drop(late);
    drop(value(&spares, LARGE));
    assert_eq!(spares.kept(), 0);
}
