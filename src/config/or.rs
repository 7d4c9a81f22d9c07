//! Knobs that may have no value, as people write them.
//!
//! Belongs here: the word for "none", by what that means. Does not belong here: how values are written.

use std::marker::PhantomData;

use serde::Serializer;

use crate::config::text::Form;

/// What stands for `None`.
pub(super) trait Word {
    const WORD: &'static str;
}

/// A value, or `None` by a word.
pub(super) struct Or<F, W>(PhantomData<(F, W)>);

/// What the crate finds out itself unless told.
pub(super) type Auto<F> = Or<F, AutoWord>;

/// A limit that there may be none of.
pub(super) type Limit<F> = Or<F, UnlimitedWord>;

/// What stays as it is in the host unless told.
pub(super) type Own<F> = Or<F, InheritWord>;

pub(super) struct AutoWord;
pub(super) struct UnlimitedWord;
pub(super) struct InheritWord;

impl Word for AutoWord {
    const WORD: &'static str = "auto";
}

impl Word for UnlimitedWord {
    const WORD: &'static str = "unlimited";
}

impl Word for InheritWord {
    const WORD: &'static str = "inherit";
}

impl<F: Form, W: Word> Form for Or<F, W> {
    type Value = Option<F::Value>;

    const EXPECTED: &'static str = F::EXPECTED;

    fn from_text(text: &str) -> Result<Option<F::Value>, String> {
        if text == W::WORD {
            return Ok(None);
        }
        match F::from_text(text) {
            Ok(value) => Ok(Some(value)),
            Err(why) => Err(format!("{why}; or write \"{}\"", W::WORD)),
        }
    }

    fn from_number(number: u64) -> Option<Option<F::Value>> {
        F::from_number(number).map(Some)
    }

    fn from_negative(number: i64) -> Option<Option<F::Value>> {
        F::from_negative(number).map(Some)
    }

    fn serialize<S: Serializer>(value: &Option<F::Value>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => F::serialize(value, to),
            None => to.serialize_str(W::WORD),
        }
    }
}
