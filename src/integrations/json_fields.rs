//! Reads fields of tools' JSON, with a default for a missing field or one of another type.

use serde_json::Value;

use crate::text::quantity;

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

/// Returns the content of a tool's result: as [`joined_text`], and each block without text is described, so that a
/// result with an image is not shown as empty.
pub(super) fn result_text(content: &Value) -> String {
    match content {
        Value::Array(blocks) => {
            let texts: Vec<String> = blocks.iter().map(block_text).collect();
            texts.join("\n")
        }
        Value::Object(_) if has_data(content) => block_text(content),
        other => joined_text(other),
    }
}

/// Returns whether a block has binary data, in base64.
fn has_data(block: &Value) -> bool {
    data_of(block).is_some()
}

/// Returns the media type and the base64 text of a block: `{source: {media_type, data}}`, `{mimeType, data}` or
/// `{resource: {mimeType, blob}}`.
fn data_of(block: &Value) -> Option<(&str, &str)> {
    for holder in [&block["source"], &block["resource"], block] {
        let data = holder["data"].as_str().or_else(|| holder["blob"].as_str());
        if let Some(data) = data {
            let media = holder["media_type"].as_str().or_else(|| holder["mimeType"].as_str());
            return Some((media.unwrap_or(text(block, "type")), data));
        }
    }
    None
}

fn block_text(block: &Value) -> String {
    if let Some(text) = block.as_str().or_else(|| block["text"].as_str()) {
        return text.to_owned();
    }
    if let Some((media, data)) = data_of(block) {
        let padding = data.bytes().rev().take_while(|byte| *byte == b'=').count();
        let bytes = (data.len() / 4 * 3).saturating_sub(padding);
        return format!(
            "[{media}, {}]",
            quantity::bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
        );
    }
    if let Some(text) = block["resource"]["text"].as_str() {
        return text.to_owned();
    }
    let place = ["url", "uri"].into_iter().find_map(|key| {
        let place = block[key].as_str().or_else(|| block["source"][key].as_str())?;
        let title = block["title"].as_str().or_else(|| block["name"].as_str());
        Some(title.map_or_else(|| place.to_owned(), |title| format!("{title} {place}")))
    });
    place.unwrap_or_else(|| block.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn result_without_text_is_described() {
        let image = "A".repeat(16_796) + "AA==";
        for (content, shown) in [
            (
                json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}}]),
                "[image/png, 12.3 KiB]",
            ),
            (
                json!([{"type": "text", "text": "two"}, {"type": "audio", "mimeType": "audio/wav", "data": "AAAA"}]),
                "two\n[audio/wav, 3 B]",
            ),
            (
                json!({"type": "image", "mimeType": "image/png", "data": "AAA="}),
                "[image/png, 2 B]",
            ),
            (
                json!([{"type": "resource", "resource": {"uri": "file:///a", "text": "content"}}]),
                "content",
            ),
            (
                json!([{"type": "resource_link", "name": "a", "uri": "file:///a"}]),
                "a file:///a",
            ),
            (
                json!([{"type": "web_search_result", "title": "T", "url": "https://e.test"}]),
                "T https://e.test",
            ),
            (
                json!([{"type": "tool_reference", "tool_name": "x"}]),
                r#"{"tool_name":"x","type":"tool_reference"}"#,
            ),
            (json!(["plain"]), "plain"),
            (json!("text"), "text"),
            (json!(null), ""),
            (json!([]), ""),
        ] {
            assert_eq!(result_text(&content), shown, "{content}");
        }
    }
}
