//! Makes untrusted text safe to display to a user or a model.
//!
//! Text from a row may contain control characters that move a terminal's cursor, direction
//! marks that reorder a line (Unicode Technical Report 36, "bidirectional text spoofing"), or
//! characters without a glyph that hide content. This module is the only list of them.

use std::fmt::Write as _;

use unicode_normalization::char::is_combining_mark;

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

/// Returns whether a zero-width joiner or non-joiner is part of the writing next to `c`: of an emoji sequence, or
/// of a script whose letters join. Between Latin, Greek or Cyrillic letters, it has no use except to hide.
fn joins(c: char) -> bool {
    matches!(c,
        // Symbols and dingbats that are emoji, keycaps, variation selector 16, pictographs.
        '\u{20e3}' | '\u{2190}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}')
        || (('\u{590}'..='\u{1fff}').contains(&c) || c >= '\u{a800}')
            && !is_hidden(c)
            && (c.is_alphabetic() || is_combining_mark(c))
}

/// Calls `show` with each character, and whether it must be made visible: it is hidden, and no joiner between two
/// characters that it joins.
fn for_each_char(text: &str, mut show: impl FnMut(char, bool)) {
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let is_joiner = matches!(c, '\u{200c}' | '\u{200d}') && before.is_some_and(joins);
        show(
            c,
            is_hidden(c) && !(is_joiner && chars.peek().copied().is_some_and(joins)),
        );
        before = Some(c);
    }
}

/// Replaces hidden characters with `\u{…}` escapes, and tabs with spaces. Joiners within emoji and within scripts
/// that need them stay.
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for_each_char(text, |c, is_hidden| match c {
        '\t' => shown.push(' '),
        c if is_hidden => {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        }
        c => shown.push(c),
    });
    shown
}

/// As [`escape`], with the code points in brackets, such as ⟨202e⟩, as the page shows them. Tabs and line feeds
/// stay, and carriage returns are left out.
pub fn mark_hidden(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for_each_char(text, |c, is_hidden| match c {
        '\r' => {}
        '\t' | '\n' => shown.push(c),
        c if is_hidden => {
            let _ = write!(shown, "\u{27e8}{:04x}\u{27e9}", u32::from(c));
        }
        c => shown.push(c),
    });
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
            ("pay\u{200d}pal \u{200d}", "pay\\u{200d}pal \\u{200d}"),
            ("👩\u{200d}", "👩\\u{200d}"),
            ("👩\u{200d}\u{200d}💻", "👩\\u{200d}\\u{200d}💻"),
            // An emoji sequence, a Persian word, an Indic conjunct.
            ("👩🏽\u{200d}💻 🏳\u{fe0f}\u{200d}🌈", "👩🏽\u{200d}💻 🏳\u{fe0f}\u{200d}🌈"),
            ("می\u{200c}خواهم क\u{94d}\u{200d}ष", "می\u{200c}خواهم क\u{94d}\u{200d}ष"),
            ("plain ünïcode 漢字 🙂 ❤\u{fe0f}", "plain ünïcode 漢字 🙂 ❤\u{fe0f}"),
        ] {
            assert_eq!(escape(hostile), shown);
        }
    }

    #[test]
    fn marks_hidden_characters_and_keeps_lines() {
        assert_eq!(mark_hidden("a\tb\r\nc\u{202e}d\u{1b}[0m"), "a\tb\nc⟨202e⟩d⟨001b⟩[0m");
    }

    /// Parses `\xNN`, `\uNNNN` or `\u{N}` at the start of a JavaScript character class.
    fn next_class_char(class: &mut &str) -> char {
        let (digits, rest) = if let Some(braced) = class.strip_prefix("\\u{") {
            braced.split_once('}').unwrap()
        } else if let Some(rest) = class.strip_prefix("\\u") {
            rest.split_at(4)
        } else {
            class.strip_prefix("\\x").unwrap().split_at(2)
        };
        *class = rest;
        char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap()
    }

    #[test]
    fn the_page_marks_the_same_characters() {
        let script = include_str!("../../assets/dashboard/safe_text.js");
        let (_, after_name) = script.split_once("const HIDDEN =").unwrap();
        let (mut class, _) = after_name
            .trim_start()
            .strip_prefix("/[")
            .unwrap()
            .split_once("]/gu")
            .unwrap();
        let mut ranges = Vec::new();
        while !class.is_empty() {
            let start = next_class_char(&mut class);
            let end = match class.strip_prefix('-') {
                Some(rest) => {
                    class = rest;
                    next_class_char(&mut class)
                }
                None => start,
            };
            ranges.push(start..=end);
        }
        let differences: Vec<char> = ('\0'..=char::MAX)
            .filter(|c| !matches!(c, '\t' | '\n'))
            .filter(|c| ranges.iter().any(|range| range.contains(c)) != is_hidden(*c))
            .collect();
        assert_eq!(differences, []);
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
