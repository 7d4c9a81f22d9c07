//! Knobs as people write them.
//!
//! Belongs here: one way to write and to read each kind of value. Does not belong here: which knob has which.
//! Invariants: a number may also come as a text, because in the environment everything is one; a duration needs a unit.

use std::{fmt, marker::PhantomData, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IntoDeserializer, Unexpected, Visitor, value},
};

use crate::config::{Affinity, Output};

/// A form of a value, for `#[serde(with = "..")]`.
pub(super) trait Form: Sized {
    type Value;

    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Result<Self::Value, String>;

    fn from_number(_: u64) -> Option<Self::Value> {
        None
    }

    /// Of a number below zero.
    fn from_negative(_: i64) -> Option<Self::Value> {
        None
    }

    fn from_flag(_: bool) -> Option<Self::Value> {
        None
    }

    fn serialize<S: Serializer>(value: &Self::Value, to: S) -> Result<S::Ok, S::Error>;

    fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(Reader::<Self>(PhantomData))
    }
}

struct Reader<F>(PhantomData<F>);

impl<F: Form> Visitor<'_> for Reader<F> {
    type Value = F::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(F::EXPECTED)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<F::Value, E> {
        F::from_flag(flag).ok_or_else(|| E::invalid_type(Unexpected::Bool(flag), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<F::Value, E> {
        F::from_number(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<F::Value, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => F::from_negative(number)
                .ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<F::Value, E> {
        F::from_text(text.trim())
            .map_err(|why| E::custom(format_args!("{text:?} is not {}: {why}", F::EXPECTED)))
    }
}

/// A number.
pub(super) struct Count<N>(PhantomData<N>);

impl<N: TryFrom<u64> + Serialize> Form for Count<N> {
    type Value = N;

    const EXPECTED: &'static str = "a number";

    fn from_text(text: &str) -> Result<N, String> {
        let number: u64 = text
            .parse()
            .map_err(|error: std::num::ParseIntError| error.to_string())?;
        Self::from_number(number).ok_or_else(|| "it is too large".to_owned())
    }

    fn from_number(number: u64) -> Option<N> {
        N::try_from(number).ok()
    }

    fn serialize<S: Serializer>(value: &N, to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }
}

/// A number that may be below zero.
pub(super) struct Signed<N>(PhantomData<N>);

impl<N: TryFrom<i64> + Serialize> Form for Signed<N> {
    type Value = N;

    const EXPECTED: &'static str = "a number";

    fn from_text(text: &str) -> Result<N, String> {
        let number: i64 = text
            .parse()
            .map_err(|error: std::num::ParseIntError| error.to_string())?;
        Self::from_negative(number).ok_or_else(|| "it is too far from 0".to_owned())
    }

    fn from_number(number: u64) -> Option<N> {
        Self::from_negative(i64::try_from(number).ok()?)
    }

    fn from_negative(number: i64) -> Option<N> {
        N::try_from(number).ok()
    }

    fn serialize<S: Serializer>(value: &N, to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }
}

/// CPUs as the kernel writes a list of them, or a word.
pub(super) struct Cpus;

impl Form for Cpus {
    type Value = Affinity;

    const EXPECTED: &'static str = "CPUs such as \"0-3,8\", \"spread\" or \"inherit\"";

    fn from_text(text: &str) -> Result<Affinity, String> {
        match text {
            "inherit" => return Ok(Affinity::Inherit),
            "spread" => return Ok(Affinity::Spread),
            _ => {}
        }
        let number = |text: &str| {
            let number = text.trim().parse::<u16>();
            number.map_err(|error| format!("{text:?}: {error}"))
        };
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            cpus.extend(number(first)?..=number(last)?);
        }
        Ok(Affinity::Cpus(cpus))
    }

    fn from_number(number: u64) -> Option<Affinity> {
        let cpu = u16::try_from(number).ok()?;
        Some(Affinity::Cpus(vec![cpu]))
    }

    fn serialize<S: Serializer>(affinity: &Affinity, to: S) -> Result<S::Ok, S::Error> {
        match affinity {
            Affinity::Inherit => to.serialize_str("inherit"),
            Affinity::Spread => to.serialize_str("spread"),
            Affinity::Cpus(cpus) => {
                let cpus: Vec<String> = cpus.iter().map(u16::to_string).collect();
                to.serialize_str(&cpus.join(","))
            }
        }
    }
}

/// Bytes, a number or with a unit.
pub(super) struct Bytes;

impl Form for Bytes {
    type Value = usize;

    const EXPECTED: &'static str = "a number of bytes such as \"64MiB\"";

    fn from_text(text: &str) -> Result<usize, String> {
        let bytes: ByteSize = text.parse()?;
        Self::from_number(bytes.as_u64()).ok_or_else(|| "it is too large".to_owned())
    }

    fn from_number(number: u64) -> Option<usize> {
        usize::try_from(number).ok()
    }

    /// In the largest unit that keeps it exact.
    fn serialize<S: Serializer>(bytes: &usize, to: S) -> Result<S::Ok, S::Error> {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if *bytes != 0 && bytes.trailing_zeros() >= shift {
                return to.collect_str(&format_args!("{}{unit}", bytes >> shift));
            }
        }
        bytes.serialize(to)
    }
}

/// A duration with its unit.
pub(super) struct Span;

impl Form for Span {
    type Value = Duration;

    const EXPECTED: &'static str = "a duration such as \"5s\"";

    fn from_text(text: &str) -> Result<Duration, String> {
        humantime::parse_duration(text).map_err(|error| error.to_string())
    }

    fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*span))
    }
}

/// Yes or no.
pub(super) struct Flag;

impl Form for Flag {
    type Value = bool;

    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Result<bool, String> {
        text.parse()
            .map_err(|error: std::str::ParseBoolError| error.to_string())
    }

    fn from_flag(flag: bool) -> Option<bool> {
        Some(flag)
    }

    fn serialize<S: Serializer>(flag: &bool, to: S) -> Result<S::Ok, S::Error> {
        flag.serialize(to)
    }
}

/// A share of a hundred.
pub(super) struct Percent;

impl Form for Percent {
    type Value = u8;

    const EXPECTED: &'static str = "a percentage such as \"10%\"";

    fn from_text(text: &str) -> Result<u8, String> {
        let number = text
            .strip_suffix('%')
            .ok_or_else(|| "the % is missing".to_owned())?;
        let number: u64 = number
            .trim_end()
            .parse()
            .map_err(|error: std::num::ParseIntError| error.to_string())?;
        Self::from_number(number).ok_or_else(|| "it is more than 100".to_owned())
    }

    fn from_number(number: u64) -> Option<u8> {
        u8::try_from(number).ok().filter(|percent| *percent <= 100)
    }

    fn serialize<S: Serializer>(percent: &u8, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{percent}%"))
    }
}

/// A path.
pub(super) struct Path;

impl Form for Path {
    type Value = PathBuf;

    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Result<PathBuf, String> {
        Ok(text.into())
    }

    fn serialize<S: Serializer>(path: &PathBuf, to: S) -> Result<S::Ok, S::Error> {
        path.serialize(to)
    }
}

/// Where a stream goes.
pub(super) struct Stream;

impl Form for Stream {
    type Value = Output;

    const EXPECTED: &'static str = "an output";

    fn from_text(text: &str) -> Result<Output, String> {
        let text: value::StrDeserializer<'_, value::Error> = text.into_deserializer();
        Output::deserialize(text).map_err(|error| error.to_string())
    }

    fn serialize<S: Serializer>(output: &Output, to: S) -> Result<S::Ok, S::Error> {
        output.serialize(to)
    }
}
