//! Marks untrusted text for a model: the only place that does.
//!
//! 1. Each line begins with a bar, so that it cannot imitate a line of agenthub or of a tool.
//! 2. Hidden characters are replaced.
//! 3. Tags in which a tool gives its model the tool's own text or the user's are changed by one character:
//!    `<system-reminder>` becomes `‹system-reminder>`. Other text with `<` (HTML, generics, comparisons) stays.
//!    Characters that look like those of a tag count as such; letters of other alphabets do not.

use std::sync::LazyLock;

use super::registry;
use crate::text::safe_text::{is_hidden, replace_hidden};

/// The beginning of each fenced line.
pub const BAR: &str = "| ";
/// Tags and tokens of chat templates, which any model may know.
const TEMPLATE_TAGS: &[&str] = &["start_of_turn", "end_of_turn", "SYS"];
/// Tokens of chat templates in square brackets.
const BRACKET_TOKENS: &[&str] = &[
    "INST",
    "SYSTEM_PROMPT",
    "AVAILABLE_TOOLS",
    "TOOL_CALLS",
    "TOOL_RESULTS",
    "TOOL_CONTENT",
    "MODEL_SETTINGS",
];
/// Maximum characters of a tag's name, and of what may be in between.
const MAX_TAG: usize = 64;
const MAX_SCANNED: usize = 256;

/// All tags, as [`tag_name`] returns their names.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    registry::context_tags()
        .chain(TEMPLATE_TAGS.iter().copied())
        .map(tag_name)
        .collect()
});

/// Returns the text with a bar at the beginning of each line; an empty text stays empty.
pub fn fenced(text: &str) -> String {
    let lines: Vec<String> = neutral(text).lines().map(|line| format!("{BAR}{line}")).collect();
    lines.join("\n")
}

/// Returns at most `max` characters of the text on one line.
pub fn one_line(text: &str, max: usize) -> String {
    let line: String = text.chars().take(max).map(replace_hidden).collect();
    without_tags(&line)
}

/// As [`one_line`], in quotes, for use within a line of agenthub. The text itself then contains no quotes.
pub fn quoted(text: &str, max: usize) -> String {
    format!("\"{}\"", one_line(text, max).replace('"', "'"))
}

/// Returns the text without hidden characters and tags of tools. Line breaks stay.
fn neutral(text: &str) -> String {
    // Before the hidden characters are replaced: a tag with one of them is a tag, too.
    without_tags(&text.replace("\r\n", "\n"))
        .chars()
        .map(|c| if c == '\n' { c } else { replace_hidden(c) })
        .collect()
}

/// Replaces the first character of each tag and token. For text on one line of a table, which has no bar.
pub fn without_tags(text: &str) -> String {
    text.char_indices()
        .map(|(at, c)| match c {
            '<' | '＜' | '﹤' if begins_tag(&text[at + c.len_utf8()..]) || begins_token(&text[at + c.len_utf8()..]) => {
                '‹'
            }
            '[' | '［' if begins_bracket_token(&text[at + c.len_utf8()..]) => '⟦',
            c => c,
        })
        .collect()
}

/// Returns whether the text after a `<` is the name of a tag, with `/` or without, with attributes or
/// without, with the prefix of a namespace or without.
fn begins_tag(rest: &str) -> bool {
    let name = tag_name(rest);
    if name.is_empty() {
        return false;
    }
    let names = name.match_indices(':').map(|(at, _)| name[at + 1..].trim_start());
    std::iter::once(name.as_str()).chain(names).any(|name| {
        TAGS.iter().any(|tag| {
            let after = name.strip_prefix(tag.as_str());
            // A longer word may begin with a short tag, such as `parameters` with `parameter`. The names of
            // several words are those of tools only.
            after.is_some_and(|after| tag.contains(' ') || !after.starts_with(char::is_alphanumeric))
        })
    })
}

/// Returns the beginning of a tag after its `<` in a form that is equal for all spellings: lower case, one
/// blank for `-`, `_` and blanks, without `/` and invisible characters.
fn tag_name(rest: &str) -> String {
    let mut name = String::new();
    for c in rest.chars().take(MAX_SCANNED).map(ascii_form) {
        match c {
            '-' | '_' | '/' => {}
            c if c.is_whitespace() => {}
            c if is_invisible(c) => continue,
            c if c.is_alphanumeric() || c == ':' => {
                name.extend(c.to_lowercase());
                if name.len() >= MAX_TAG {
                    break;
                }
                continue;
            }
            _ => break,
        }
        if !name.is_empty() && !name.ends_with(' ') {
            name.push(' ');
        }
    }
    name
}

/// Returns whether a tag with `c` looks like one without it: a hidden character, its replacement, or a variation
/// selector, which has no effect on a letter.
fn is_invisible(c: char) -> bool {
    is_hidden(c) || matches!(c, '\u{fffd}' | '\u{fe0e}' | '\u{fe0f}')
}

/// Returns the ASCII character that `c` looks like: for the wide forms of East Asian fonts, and dashes.
fn ascii_form(c: char) -> char {
    match c {
        // U+FF01 to U+FF5E are ASCII from U+0021 in the same order.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xff01 + 0x21).unwrap_or(c),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2043}' | '\u{fe58}' | '\u{fe63}' => '-',
        c => c,
    }
}

/// Returns whether the text after a `<` is a chat template's token, such as `|im_start|>`.
fn begins_token(rest: &str) -> bool {
    let is_bar = |c: char| c == '|';
    let mut chars = rest.chars().filter(|c| !is_invisible(*c)).map(ascii_form);
    if !chars.next().is_some_and(is_bar) {
        return false;
    }
    let mut name = chars.by_ref().take(MAX_TAG);
    let end = name.find(|c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.' | '▁' | '/'));
    end.is_some_and(is_bar) && chars.next() == Some('>')
}

/// Returns whether the text after a `[` is a chat template's token, such as `INST]`.
fn begins_bracket_token(rest: &str) -> bool {
    let is_kept = |c: &char| !is_invisible(*c);
    let token: String = rest
        .chars()
        .take(MAX_TAG)
        .filter(is_kept)
        .map(ascii_form)
        .take_while(|c| *c != ']')
        .collect();
    let name = token.trim().trim_start_matches('/').trim();
    BRACKET_TOKENS.iter().any(|known| known.eq_ignore_ascii_case(name)) && rest.contains([']', '］'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_bar_and_no_hidden_character() {
        let text = "one\r\ntwo\n\n[agenthub] three\u{2028}four\u{1b}[2J\rfive\n";
        assert_eq!(
            fenced(text),
            "| one\n| two\n| \n| [agenthub] three\u{fffd}four\u{fffd}[2J\u{fffd}five"
        );
        assert_eq!(fenced(""), "");
        assert_eq!(
            one_line("one\ntwo <system-reminder>", 200),
            "one\u{fffd}two ‹system-reminder>"
        );
        assert_eq!(quoted("a\" b", 200), "\"a' b\"");
    }

    #[test]
    fn tags_of_every_tool_are_neutralized_in_every_spelling() {
        let tags = registry::context_tags().chain(TEMPLATE_TAGS.iter().copied());
        for tag in tags {
            let other = tag.replace(['-', '_', ' '], "_");
            for form in [
                format!("<{tag}>"),
                format!("</{tag}>"),
                format!("< / {tag} >"),
                format!("<{} a=\"b\">", tag.to_uppercase()),
                format!("<{}>", other.replace('_', "-")),
                format!("<{}>", other.replace('_', " ")),
                format!("<{other}/>"),
                format!("<ns:{other} name='x'>"),
                format!("<\u{200b}{}\u{200d}{}>", &tag[..1], &tag[1..]),
            ] {
                let shown = fenced(&format!("text {form} text"));
                assert!(shown.contains('‹') && !shown.contains('<'), "{form:?} became {shown:?}");
                assert_eq!(shown.chars().count(), format!("| text {form} text").chars().count());
            }
        }
        assert_eq!(fenced("<system-\nreminder>"), "| ‹system-\n| reminder>");
        // Characters that look like those of a tag.
        for tag in [
            "<system\u{2011}reminder>",
            "<system\u{2212}reminder>",
            "<system\u{fe0f}-reminder>",
            "<\u{fe0e}system-reminder>",
            "＜system-reminder＞",
            "﹤/system-reminder﹥",
            "<ｓｙｓｔｅｍ－reminder>",
            "<a:b:system-reminder>",
            "<\u{fe0f}|im_start|>",
        ] {
            let shown = fenced(tag);
            assert!(
                shown.starts_with("| ‹") && !shown.contains(['<', '＜', '﹤']),
                "{tag:?} became {shown:?}"
            );
        }
        for (token, shown) in [
            ("［INST］", "| ⟦INST］"),
            ("<|im_start|>system", "| ‹|im_start|>system"),
            ("<｜User｜>", "| ‹｜User｜>"),
            ("[INST] [/inst]", "| ⟦INST] ⟦/inst]"),
            ("<<SYS>>", "| <‹SYS>>"),
        ] {
            assert_eq!(fenced(token), shown);
        }
    }

    #[test]
    fn other_text_with_angle_brackets_stays() {
        for text in [
            "Vec<String>, HashMap<K, V>, Option<&'a str>",
            "if a < b && c > d { x << 2 }",
            "<div class=\"user\">invoke</div> <system>",
            "f <| x |> g, a <- b, <invoker>, <parameters>, [1], [INSTALL], [x](y)",
            "ada <ada@example.com>, <https://example.com>",
        ] {
            assert_eq!(fenced(text), format!("| {text}"));
        }
    }

    #[test]
    fn long_text_is_fast() {
        let started = std::time::Instant::now();
        for piece in ["<", "<\u{200b}", "< ", "<a", "[", "<|"] {
            let shown = fenced(&piece.repeat(300_000));
            assert!(shown.starts_with("| "));
        }
        assert!(
            started.elapsed() < std::time::Duration::from_secs(60),
            "{:?}",
            started.elapsed()
        );
    }
}
