//! The sender's field in the body of a POST. It may be absent: then the route names the person, if the
//! request has the person's secret.

use serde::{Deserialize, Deserializer};

/// Reads the field; null means the same as an absent field, the empty name.
pub(super) fn empty_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
