//! Makes untrusted text safe to display to a user or a model.
//!
//! Text from a row may contain control characters that move a terminal's cursor, direction
//! marks that reorder a line (Unicode Technical Report 36, "bidirectional text spoofing"), or
//! characters without a glyph that hide content. This module is the only list of them.

use std::fmt::Write as _;

/// Returns whether `c` is displayed as nothing, or changes how its neighbours are displayed.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, grapheme joiner, Arabic letter mark.
            '\u{ad}' | '\u{34f}' | '\u{61c}'
            // Fillers: Hangul, Khmer vowels, Mongolian selectors, Braille blank.
            | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
            // Zero-width characters, direction marks, line and paragraph separators, invisible operators.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            // Variation selectors, except 15 and 16, which choose between text and emoji.
            | '\u{fe00}'..='\u{fe0d}'
            // Interlinear annotations and tags.
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Replaces hidden characters with `\u{…}` escapes, and tabs with spaces.
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(' '),
            c if is_hidden(c) => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Replaces hidden characters of JSON text with `\uXXXX` escapes, which JSON itself requires only
/// for controls below U+0020. Line breaks stay. The result parses to the same value.
pub fn escape_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns `c`, a space for a tab, or U+FFFD for any other hidden character: the length of a
/// text in characters stays the same.
pub fn replace_hidden(c: char) -> char {
    match c {
        '\t' => ' ',
        c if is_hidden(c) => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_terminal_sequences_and_hidden_characters() {
        for (hostile, shown) in [
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("a\rb", "a\\u{d}b"),
            ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{3164}\u{2800}\u{115f}", "\\u{3164}\\u{2800}\\u{115f}"),
            ("tab\tbed", "tab bed"),
            ("plain ünïcode 漢字 🙂 ❤\u{fe0f}", "plain ünïcode 漢字 🙂 ❤\u{fe0f}"),
        ] {
            assert_eq!(escape(hostile), shown);
        }
    }

    #[test]
    fn escaped_json_parses_to_the_same_value() {
        let text = "a\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\u{e0041}\u{3164}\n漢";
        let shown = escape_json(&serde_json::to_string_pretty(&[text]).unwrap());
        assert!(!shown.chars().any(|c| c != '\n' && is_hidden(c)), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [text]);
    }

    #[test]
    fn replaces_hidden_characters_one_for_one() {
        let replaced: String = "a\tb\u{1b}\u{2800}c".chars().map(replace_hidden).collect();
        assert_eq!(replaced, "a b\u{fffd}\u{fffd}c");
    }
}
