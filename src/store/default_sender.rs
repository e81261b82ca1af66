//! The default sender of a row that is written over HTTP: `human`.

use serde::{Deserialize, Deserializer};

use crate::config::HUMAN;

/// Returns the default of a sender's field.
pub(super) fn human() -> String {
    HUMAN.to_owned()
}

/// Reads a sender's field; null means the default, like an absent field.
pub(super) fn human_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(human))
}
