//! The words for a task that was not taken.
//!
//! Belongs here: one golden text for each reason.
//! Does not belong here: what the reasons mean for submitting again (`task`).
//! Invariant: each text names the knob to turn or the thing to do.

use std::time::Duration;

use crate::error::Rejected;

#[track_caller]
fn check(reason: Rejected, text: &str) {
    assert_eq!(reason.to_string(), text);
}

#[test]
fn full_queue_says_which_limit_was_hit() {
    let full = |waiting, bytes| Rejected::QueueFull {
        waiting,
        limit: 4096,
        bytes,
        bytes_limit: 1000,
    };
    check(
        full(4096, 10),
        "the queue is full: 4096 of 4096 tasks wait; \
         submit later, set `when_full` to wait, or raise `queue_limit`",
    );
    check(
        full(7, 990),
        "the queue is full: no room for its bytes, 990 of 1000 bytes are taken; \
         submit later, set `when_full` to wait, or raise `queue_bytes`",
    );
    check(
        full(4096, 1000),
        "the queue is full: 4096 of 4096 tasks wait and 1000 of 1000 bytes are taken; \
         submit later, set `when_full` to wait, or raise `queue_limit` and `queue_bytes`",
    );
}

#[test]
fn too_large_task_is_told_to_pass_a_path() {
    check(
        Rejected::TooLarge {
            bytes: 70_000_000,
            limit: 67_108_864,
        },
        "the task takes 70000000 bytes, over the 67108864 of `max_frame_bytes`; \
         pass a large file as its path, or raise `max_frame_bytes`",
    );
}

#[test]
fn closed_pool_says_the_task_never_ran() {
    check(
        Rejected::Closed,
        "the pool is draining, stopped or gone, so the task never ran; \
         submit it to a pool that is open",
    );
}

#[test]
fn open_circuit_says_when_to_come_back() {
    check(
        Rejected::Unavailable {
            retry_after: Duration::new(1, 500_123_456),
        },
        "no worker is ready and the restart budget is spent; submit again in 1.5s, \
         and see the pool's `status()` for why its workers end",
    );
}

#[test]
fn unknown_task_lists_the_near_names() {
    check(
        Rejected::UnknownTask {
            name: "resize",
            near: Vec::new(),
        },
        "task `resize` is not registered in the `WorkerSpec`; \
         call `.task::<..>()` with its type before `.init()`",
    );
    check(
        Rejected::UnknownTask {
            name: "resize",
            near: vec!["resized".to_owned(), "resizer".to_owned()],
        },
        "task `resize` is not registered in the `WorkerSpec`; \
         call `.task::<..>()` with its type before `.init()`; did you mean `resized` or `resizer`?",
    );
}
