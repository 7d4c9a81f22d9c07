//! Values that only a self-describing format can carry.
//!
//! Belongs here: `Json<T>` and what else needs serde_json. Does not belong here: the wire format itself.
//! Invariant: what serde_json carries from `T` to `T` goes through every other format too.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::ser::{self, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::depth::Limited;

/// A value that travels as a JSON text.
///
/// Tasks travel in a compact format that does not describe itself. `#[serde(flatten)]`, `#[serde(untagged)]`,
/// `#[serde(tag = ..)]`, `#[serde(skip_serializing_if = ..)]` and `serde_json::Value` need one that does: wrap such a
/// value, or the field that holds it, in `Json`. A [`Blob`](crate::Blob) inside still travels as bytes.
///
/// ```
/// use actix_multiprocess::Json;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Report {
///     id: u64,
///     details: Json<serde_json::Value>,
/// }
/// let report = Report { id: 1, details: Json(serde_json::json!({ "ok": true })) };
/// assert_eq!(report.details["ok"], true);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

impl<T> Json<T> {
    /// Returns the value.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(PhantomData))
    }
}

struct Text<T>(PhantomData<T>);

impl<T: DeserializeOwned> Visitor<'_> for Text<T> {
    type Value = Json<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Json<T>, E> {
        // serde_json limits recursion per text; ours in addition because a text may hold a text that holds a text.
        let mut json = serde_json::Deserializer::from_str(text);
        let value = T::deserialize(Limited::new(&mut json)).map_err(|fault| E::custom(fault.0))?;
        json.end().map_err(E::custom)?;
        Ok(Json(value))
    }
}

/// Asks a format that keeps the words of errors why `value` does not serialize, as far as it fails there too.
pub(super) fn why_not<T: Serialize + ?Sized>(value: &T) -> Option<String> {
    let error = serde_json::to_writer(io::sink(), value).err()?;
    // Others are JSON's own, such as map keys that are no strings.
    (error.classify() == Category::Data).then(|| error.to_string())
}
