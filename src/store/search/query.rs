//! Parses a search text into an FTS5 expression, and makes the snippets of its results.

use crate::error::{Code, Error, Result};

/// Maximum number of words in a search.
const MAX_WORDS: usize = 32;
/// Maximum length of a snippet, in characters.
const SNIPPET_LENGTH: usize = 160;
/// Characters of a snippet before the matched word.
const SNIPPET_BEFORE: usize = 48;

/// A parsed search text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SearchQuery {
    /// The FTS5 expression.
    pub(super) expression: String,
    /// The searched words and phrases in lower case, to find them for the snippet.
    words: Vec<Vec<char>>,
}

impl SearchQuery {
    /// Parses a search text. Every word is quoted, so that FTS5 interprets no operators in it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (mut required, mut excluded, mut words) = (Vec::new(), Vec::new(), Vec::new());
        for (word, is_phrase) in split(text).into_iter().take(MAX_WORDS) {
            let is_excluded = !is_phrase && word.starts_with('-');
            let is_prefix = !is_phrase && word.ends_with('*');
            if !word.chars().any(char::is_alphanumeric) {
                continue;
            }
            let bare = word.trim_start_matches('-').trim_end_matches('*');
            let quoted = format!("\"{}\"{}", bare.replace('"', "\"\""), if is_prefix { "*" } else { "" });
            if is_excluded {
                excluded.push(quoted);
            } else {
                words.push(bare.chars().map(lower).collect());
                required.push(quoted);
            }
        }
        if required.is_empty() {
            return Err(Error::new(Code::Invalid, "the search has no words; give at least one"));
        }
        let mut expression = required.join(" AND ");
        if !excluded.is_empty() {
            expression = format!("({expression}) NOT ({})", excluded.join(" OR "));
        }
        Ok(Self { expression, words })
    }

    /// Returns the part of `text` around the first matched word, as one line.
    pub(super) fn snippet(&self, text: &str) -> String {
        let shown: Vec<char> = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
        let lowered: Vec<char> = shown.iter().copied().map(lower).collect();
        let found = self
            .words
            .iter()
            .filter_map(|word| {
                lowered
                    .windows(word.len().max(1))
                    .position(|window| window == word.as_slice())
            })
            .min()
            .unwrap_or(0);
        let start = if shown.len() <= SNIPPET_LENGTH {
            0
        } else {
            found.saturating_sub(SNIPPET_BEFORE)
        };
        let end = shown.len().min(start + SNIPPET_LENGTH);
        let mut snippet = String::new();
        snippet.extend((start > 0).then_some('…'));
        snippet.extend(&shown[start..end]);
        snippet.extend((end < shown.len()).then_some('…'));
        snippet
    }
}

/// Lower-cases to exactly one character, so that positions do not change.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Splits a text into words and quoted phrases; `true` marks a phrase.
fn split(text: &str) -> Vec<(String, bool)> {
    let text = text.replace('\0', " ");
    let mut parts = Vec::new();
    for (i, piece) in text.split('"').enumerate() {
        // Every second piece is inside quotes; an open quote extends to the end.
        if i % 2 == 1 {
            parts.push((piece.trim().to_owned(), true));
        } else {
            parts.extend(piece.split_whitespace().map(|word| (word.to_owned(), false)));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(text: &str) -> Option<String> {
        SearchQuery::parse(text).ok().map(|q| q.expression)
    }

    #[test]
    fn quotes_every_word_for_fts5() {
        for (typed, expected) in [
            ("tests green", Some("\"tests\" AND \"green\"")),
            ("\"tests are\" gre*", Some("\"tests are\" AND \"gre\"*")),
            ("tests -red", Some("(\"tests\") NOT (\"red\")")),
            ("a OR b) NEAR(", Some("\"a\" AND \"OR\" AND \"b)\" AND \"NEAR(\"")),
            ("title:x ^y {z}", Some("\"title:x\" AND \"^y\" AND \"{z}\"")),
            ("open \"quote", Some("\"open\" AND \"quote\"")),
            ("\0", None),
            (" \"\" * - ", None),
            ("-only", None),
        ] {
            assert_eq!(expression(typed).as_deref(), expected, "{typed:?}");
        }
    }

    #[test]
    fn snippet_contains_the_matched_word() {
        let text = format!("{} needle {}", "hay ".repeat(100), "straw ".repeat(100));
        let snippet = SearchQuery::parse("NEEDLE").unwrap().snippet(&text);
        assert!(
            snippet.contains("needle") && snippet.chars().count() <= 162,
            "{snippet}"
        );
        assert!(snippet.starts_with('…') && snippet.ends_with('…'));
    }
}
