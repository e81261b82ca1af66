//! Parses JSON of agent tools, which may contain unpaired surrogate escapes. HTTP and WebSocket
//! requests are parsed strictly, without this module.

use serde_json::Value;

/// Parses `bytes`, with U+FFFD for invalid UTF-8 and for unpaired surrogate escapes. Programs that
/// truncate text in the middle of a character write such escapes, which JSON does not allow. A byte order
/// mark at the beginning is skipped.
pub fn parse(bytes: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str(text)
        .ok()
        .or_else(|| serde_json::from_str(&replace_unpaired_surrogates(text)?).ok())
}

/// Returns the JSON text with `\ufffd` for each unpaired surrogate escape; `None` if there is none.
pub fn replace_unpaired_surrogates(text: &str) -> Option<String> {
    let unit = |at: usize| {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (mut out, mut at, mut replaced) = (String::with_capacity(text.len()), 0, false);
    while let Some(escape) = text[at..].find('\\').map(|found| at + found) {
        out.push_str(&text[at..escape]);
        let len = match (unit(escape), unit(escape + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str("\\ufffd");
                replaced = true;
                at = escape + 6;
                continue;
            }
            // The backslash and the character after it, which may be another backslash.
            _ => 1 + text[escape + 1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&text[escape..escape + len]);
        at = escape + len;
    }
    out.push_str(&text[at..]);
    replaced.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::{parse, replace_unpaired_surrogates};

    #[test]
    fn replaces_unpaired_surrogate_escapes() {
        for (given, expected) in [
            (r#""ab\ud83d""#, "ab\u{fffd}"),
            (r#""\ude00 \ud83d\ude00 \ud83d\n""#, "\u{fffd} \u{1f600} \u{fffd}\n"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\\ud83d \"é\" \ud83d\\""#, "\\ud83d \"é\" \u{fffd}\\"),
        ] {
            assert_eq!(parse(given.as_bytes()).unwrap(), expected, "{given}");
        }
        assert_eq!(replace_unpaired_surrogates(r#"{"a":"\u00e9\ud83d\ude00\\"}"#), None);
        assert_eq!(replace_unpaired_surrogates("\\"), None);
        assert_eq!(parse(b"{\"a\": \\ud83d"), None);
        assert_eq!(parse("\u{feff}[1]".as_bytes()).unwrap(), serde_json::json!([1]));
    }
}
