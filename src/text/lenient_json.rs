//! JSON as other programs write it.
//!
//! For: input of the agents' tools, which may be a little wrong.
//! Not for: what this program writes, or what its own clients send over HTTP.

use serde_json::Value;

/// The JSON in `bytes`. Programs that cut a text in the middle of a character write half of a
/// surrogate pair, which is no JSON; here it is a character nobody knows.
pub fn lenient(bytes: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&text)
        .ok()
        .or_else(|| serde_json::from_str(&paired(&text)?).ok())
}

/// The JSON text with `\ufffd` for each escape that is half a surrogate pair; `None` without one.
pub fn paired(text: &str) -> Option<String> {
    let unit = |at: usize| {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (mut out, mut at, mut mended) = (String::with_capacity(text.len()), 0, false);
    while let Some(escape) = text[at..].find('\\').map(|found| at + found) {
        out.push_str(&text[at..escape]);
        let len = match (unit(escape), unit(escape + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str("\\ufffd");
                mended = true;
                at = escape + 6;
                continue;
            }
            // The escape and what it escapes, which may be a backslash.
            _ => 1 + text[escape + 1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&text[escape..escape + len]);
        at = escape + len;
    }
    out.push_str(&text[at..]);
    mended.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::{lenient, paired};

    #[test]
    fn half_a_pair_is_a_character_nobody_knows() {
        for (given, expected) in [
            (r#""ab\ud83d""#, "ab\u{fffd}"),
            (r#""\ude00 \ud83d\ude00 \ud83d\n""#, "\u{fffd} \u{1f600} \u{fffd}\n"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\\ud83d \"é\" \ud83d\\""#, "\\ud83d \"é\" \u{fffd}\\"),
        ] {
            assert_eq!(lenient(given.as_bytes()).unwrap(), expected, "{given}");
        }
        assert_eq!(paired(r#"{"a":"\u00e9\ud83d\ude00\\"}"#), None);
        assert_eq!(paired("\\"), None);
        assert_eq!(lenient(b"{\"a\": \\ud83d"), None);
    }
}
