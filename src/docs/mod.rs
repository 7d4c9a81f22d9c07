//! Guides: more than belongs to any one name.
//!
//! Belongs here: text for whoever uses the crate. Does not belong here: code.

#[doc = include_str!("tuning.md")]
pub mod tuning {}
