//! JSON objects and arrays as trees.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::budget::{Budget, MAX_DEPTH};
use super::clean;
use super::tree::{Block, JsonEntry, JsonValue, PlainReason};
use crate::text::lenient_json::replace_unpaired_surrogates;

/// Renders a text that is one JSON object or array; `None` if it is not.
pub(super) fn render(text: &str, budget: &mut Budget) -> Result<Option<Block>, PlainReason> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        return Ok(None);
    }
    let repaired = replace_unpaired_surrogates(text);
    let text = repaired.as_deref().unwrap_or(text);
    let Ok(raw) = serde_json::from_str::<&RawValue>(text) else {
        return Ok(None);
    };
    Ok(Some(Block::Json {
        value: value(raw, 0, budget)?,
    }))
}

/// Each level is parsed again for the next one: the time is the text's size times its depth, which is limited.
fn value(raw: &RawValue, depth: usize, budget: &mut Budget) -> Result<JsonValue, PlainReason> {
    budget.take()?;
    let text = raw.get();
    let as_text = || JsonValue::Raw { text: clean(text) };
    Ok(match text.as_bytes().first() {
        Some(b'{' | b'[') if depth >= MAX_DEPTH => as_text(),
        Some(b'{') => match serde_json::from_str::<Entries<'_>>(text) {
            Ok(Entries(entries)) => {
                let entries = entries.into_iter().map(|(key, raw)| {
                    Ok(JsonEntry {
                        key: clean(&key),
                        value: value(raw, depth + 1, budget)?,
                    })
                });
                JsonValue::Object {
                    entries: entries.collect::<Result<_, _>>()?,
                }
            }
            Err(_) => as_text(),
        },
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(items) => {
                let items = items.into_iter().map(|raw| value(raw, depth + 1, budget));
                JsonValue::Array {
                    items: items.collect::<Result<_, _>>()?,
                }
            }
            Err(_) => as_text(),
        },
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(text) => JsonValue::String { text: clean(&text) },
            Err(_) => as_text(),
        },
        Some(b't' | b'f' | b'n') => JsonValue::Literal { text: text.to_owned() },
        _ => JsonValue::Number { text: text.to_owned() },
    })
}

/// The entries of an object, in order and with repeated keys.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(EntryVisitor).map(Entries)
    }
}
