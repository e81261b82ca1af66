//! What a person typed, in FTS5's words and in our own.
//!
//! For: nothing typed having a meaning but its words, and showing where they were found.
//! Not for: finding them (`search`).

use crate::error::{Code, Error, Result};

/// Words of a search at most.
const MAX_WORDS: usize = 32;
/// Characters of a snippet, and of them those before the word found.
const SNIPPET: (usize, usize) = (160, 48);

/// What was asked for, in FTS5's words and in our own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) expression: String,
    /// What to look for when showing where it was found, lower case.
    words: Vec<Vec<char>>,
}

impl Query {
    /// Reads what a person typed. Every word goes to FTS5 in quotes, where nothing has a
    /// meaning but the quote itself.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (mut wanted, mut unwanted, mut words) = (Vec::new(), Vec::new(), Vec::new());
        for (word, is_phrase) in split(text).into_iter().take(MAX_WORDS) {
            let absent = !is_phrase && word.starts_with('-');
            let starts = !is_phrase && word.ends_with('*');
            if !word.chars().any(char::is_alphanumeric) {
                continue;
            }
            let bare = word.trim_start_matches('-').trim_end_matches('*');
            let quoted = format!("\"{}\"{}", bare.replace('"', "\"\""), if starts { "*" } else { "" });
            if absent {
                unwanted.push(quoted);
            } else {
                words.push(bare.chars().map(lower).collect());
                wanted.push(quoted);
            }
        }
        if wanted.is_empty() {
            return Err(Error::new(
                Code::Invalid,
                "there is no word to search for; give at least one",
            ));
        }
        let mut expression = wanted.join(" AND ");
        if !unwanted.is_empty() {
            expression = format!("({expression}) NOT ({})", unwanted.join(" OR "));
        }
        Ok(Self { expression, words })
    }

    /// The part of `text` around the first word found, in one line.
    pub(super) fn snippet(&self, text: &str) -> String {
        let (length, before) = SNIPPET;
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
        let start = if shown.len() <= length {
            0
        } else {
            found.saturating_sub(before)
        };
        let end = shown.len().min(start + length);
        let mut snippet = String::new();
        snippet.extend((start > 0).then_some('…'));
        snippet.extend(&shown[start..end]);
        snippet.extend((end < shown.len()).then_some('…'));
        snippet
    }
}

/// One character for one: positions stay what they are.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Words, and phrases in quotes, with whether they are phrases.
fn split(text: &str) -> Vec<(String, bool)> {
    let text = text.replace('\0', " ");
    let mut parts = Vec::new();
    for (i, piece) in text.split('"').enumerate() {
        // Every second piece stands between quotes; an open quote reaches to the end.
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
        Query::parse(text).ok().map(|q| q.expression)
    }

    #[test]
    fn nothing_typed_has_a_meaning_to_fts5_but_words() {
        for (typed, asked) in [
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
            assert_eq!(expression(typed).as_deref(), asked, "{typed:?}");
        }
    }

    #[test]
    fn a_snippet_shows_the_word() {
        let text = format!("{} needle {}", "hay ".repeat(100), "straw ".repeat(100));
        let snippet = Query::parse("NEEDLE").unwrap().snippet(&text);
        assert!(
            snippet.contains("needle") && snippet.chars().count() <= 162,
            "{snippet}"
        );
        assert!(snippet.starts_with('…') && snippet.ends_with('…'));
    }
}
