//! Reads fields of tools' JSON, with a default for a missing field or one of another type.

use serde_json::Value;

/// Upper bound of a number: a larger number of tokens or milliseconds is an error of the tool.
const MAX_NUMBER: i64 = 1_000_000_000_000_000;

/// Returns the string at `key`, or "".
pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Returns the number at `key` between 0 and [`MAX_NUMBER`], or 0.
pub(super) fn number(value: &Value, key: &str) -> i64 {
    let n = &value[key];
    #[expect(clippy::cast_possible_truncation, reason = "a float is cut to its whole part")]
    n.as_i64()
        .or_else(|| n.as_f64().map(|x| x as i64))
        .unwrap_or(0)
        .clamp(0, MAX_NUMBER)
}

/// Returns a text that is a string, an array of `{"text": …}` blocks, null, or any other JSON.
pub(super) fn joined_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            texts.join("\n")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
