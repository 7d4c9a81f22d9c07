//! Knobs from variables of an environment.
//!
//! Belongs here: which variable is which knob. Does not belong here: the environment; how a value is read.
//! Invariant: an unknown variable with the prefix is refused, because it is a misspelt one that would do nothing.

use std::{collections::BTreeMap, ffi::OsString};

use serde::{
    Deserialize, Deserializer,
    de::{IntoDeserializer, Visitor, value},
    forward_to_deserialize_any,
};

use crate::{config::PoolConfig, error::ConfigError};

/// Knobs that have knobs in them.
const GROUPS: [&str; 4] = ["limits", "restart", "retry", "stdio"];

/// Those of one task name. The name comes before them in a variable, in lower case.
const OF_A_TASK: [&str; 4] = ["max_running", "queue_timeout", "run_timeout", "timeout"];

/// What the environment says of one knob or of a group of them.
#[derive(Debug, Clone)]
enum Setting {
    Text(String),
    Group(BTreeMap<String, Setting>),
}

type Settings = BTreeMap<String, Setting>;

impl PoolConfig {
    /// Takes the knobs from those of these variables that begin with the prefix and `_`.
    pub(crate) fn from_variables(
        prefix: &str,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut all = Settings::new();
        for (variable, value) in variables {
            let Some(knob) = variable
                .to_str()
                .and_then(|variable| variable.strip_prefix(prefix)?.strip_prefix('_'))
            else {
                continue;
            };
            let knob = knob.to_ascii_lowercase();
            let refused = |message: String| ConfigError::Environment {
                variable: variable.to_string_lossy().into_owned(),
                message,
            };
            let text = value
                .to_str()
                .ok_or_else(|| refused("it is no UTF-8".to_owned()))?;
            if text.is_empty() {
                continue;
            }
            let text = text.to_owned();
            // Each alone first, so that what is wrong is known to be with this one.
            let mut alone = Settings::new();
            put(&mut alone, &knob, text.clone());
            Self::deserialize(Setting::Group(alone)).map_err(|error| refused(error.to_string()))?;
            put(&mut all, &knob, text);
        }
        Self::deserialize(Setting::Group(all)).map_err(|error| ConfigError::Environment {
            variable: format!("{prefix}_*"),
            message: error.to_string(),
        })
    }
}

/// The group of this name in these settings.
fn group<'a>(settings: &'a mut Settings, name: &str) -> Option<&'a mut Settings> {
    let empty = || Setting::Group(Settings::new());
    match settings.entry(name.to_owned()).or_insert_with(empty) {
        Setting::Group(group) => Some(group),
        Setting::Text(_) => None,
    }
}

fn put(settings: &mut Settings, knob: &str, text: String) {
    let of_a_task = OF_A_TASK.into_iter().find_map(|option| {
        let task = knob.strip_prefix("tasks_")?.strip_suffix(option)?;
        Some((task.strip_suffix('_')?, option))
    });
    if let Some((task, option)) = of_a_task {
        let tasks = group(settings, "tasks");
        if let Some(task) = tasks.and_then(|tasks| group(tasks, task)) {
            task.insert(option.to_owned(), Setting::Text(text));
        }
        return;
    }
    let inner = GROUPS.into_iter().find_map(|name| {
        let inner = knob.strip_prefix(name)?.strip_prefix('_')?;
        Some((name, inner))
    });
    match inner {
        None => {
            settings.insert(knob.to_owned(), Setting::Text(text));
        }
        Some((name, inner)) => {
            if let Some(group) = group(settings, name) {
                group.insert(inner.to_owned(), Setting::Text(text));
            }
        }
    }
}

impl<'de> IntoDeserializer<'de, value::Error> for Setting {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Setting {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        match self {
            Self::Text(text) => visitor.visit_string(text),
            Self::Group(group) => {
                value::MapDeserializer::new(group.into_iter()).deserialize_any(visitor)
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        match self {
            Self::Text(text) => text
                .into_deserializer()
                .deserialize_enum(name, variants, visitor),
            Self::Group(_) => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
