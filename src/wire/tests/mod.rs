//! What encoding promises to the rest of the crate and to the types of its users.
//!
//! Belongs here: one file per promise. Does not belong here: frames and sockets.
//! Invariant: each test can fail, and none needs another.

mod blobs_travel_uncopied;
mod debug_builds_check_types_where_they_are_encoded;
mod golden_bytes;
mod golden_handshakes;
mod hostile_bytes_fail_cleanly;
mod hostile_streams_fail_cleanly;
mod json_carries_what_postcard_cannot;
mod large_frames_may_lie;
mod large_values_are_written_one_by_one;
mod readers_begin_small;
mod tails_split_as_they_were_sent;
mod values_come_back_equal;
mod values_lead_to_where_they_were_read;
mod values_pass_in_parts;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Payload;
use super::codec::{decode, encode};

#[track_caller]
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) -> Payload {
    let payload = encode(&value).unwrap();
    assert_eq!(decode::<T>(&payload).unwrap(), value);
    payload
}
