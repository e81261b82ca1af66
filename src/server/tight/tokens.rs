//! The tokens of a JavaScript module.
//!
//! For: telling names from what only looks like them.
//! Not for: what any of it means; but for `++` and `--` a sign is one character, whatever it
//! is a part of.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word,
    /// A number, a string, a regular expression, or what stands in a template around its
    /// `${…}`, with the signs at both ends.
    Text,
    /// One character, or `++` or `--`.
    Sign,
}

/// One token, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
}

impl Token<'_> {
    /// Whether something begins that has an end of its own.
    pub(super) fn opens(&self) -> bool {
        matches!(self.text, "(" | "[" | "{") || (self.kind == Kind::Text && self.text.ends_with("${"))
    }

    pub(super) fn closes(&self) -> bool {
        matches!(self.text, ")" | "]" | "}") || (self.kind == Kind::Text && self.text.starts_with('}'))
    }
}

/// Whether names and numbers are made of it.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

/// All of them; comments are none.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found: Vec<Token<'_>> = Vec::new();
    // For each template that is open, the braces that are open in its `${…}`.
    let mut templates: Vec<usize> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let comment = match rest.get(..2) {
            Some("//") => rest.find('\n'),
            Some("/*") => rest.find("*/").map(|end| end + 2),
            _ if c.is_whitespace() => Some(c.len_utf8()),
            _ => Some(0),
        };
        if comment != Some(0) {
            rest = &rest[comment.unwrap_or(rest.len())..];
            continue;
        }
        let ends_a_hole = c == '}' && templates.last() == Some(&0);
        let (kind, len) = match c {
            '\'' | '"' => (Kind::Text, quoted(rest, |rest| rest.starts_with(c).then_some(1))),
            '`' | '}' if c == '`' || ends_a_hole => {
                if ends_a_hole {
                    templates.pop();
                }
                let len = quoted(rest, |rest| match rest.as_bytes() {
                    [b'`', ..] => Some(1),
                    [b'$', b'{', ..] => Some(2),
                    _ => None,
                });
                if rest[..len].ends_with("${") {
                    templates.push(0);
                }
                (Kind::Text, len)
            }
            '/' if found.last().is_none_or(before_regex) => (Kind::Text, regex(rest)),
            c if c.is_ascii_digit() => (Kind::Text, word(rest, |c| is_word(c) || c == '.')),
            c if is_word(c) => (Kind::Word, word(rest, is_word)),
            _ if rest.starts_with("++") || rest.starts_with("--") => (Kind::Sign, 2),
            c => (Kind::Sign, c.len_utf8()),
        };
        if let (Kind::Sign, Some(open)) = (kind, templates.last_mut()) {
            match c {
                '{' => *open += 1,
                '}' => *open -= 1,
                _ => {}
            }
        }
        let (text, after) = rest.split_at(len);
        found.push(Token { kind, text });
        rest = after;
    }
    found
}

/// After this a slash begins a regular expression; after others it divides.
fn before_regex(last: &Token<'_>) -> bool {
    match last.kind {
        Kind::Word => last.text == "return",
        Kind::Text => last.text.ends_with("${"),
        Kind::Sign => !matches!(last.text, ")" | "]" | "}" | "++" | "--"),
    }
}

/// The bytes at the start that belong to a word.
fn word(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !belongs(c)).unwrap_or(rest.len())
}

/// The bytes of what begins with one sign and goes on until `end` says how long its end is.
fn quoted(rest: &str, end: impl Fn(&str) -> Option<usize>) -> usize {
    let mut at = 1;
    while let Some(c) = rest[at..].chars().next() {
        if let Some(len) = end(&rest[at..]) {
            return at + len;
        }
        at += c.len_utf8();
        if c == '\\' {
            at += rest[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    at
}

/// The bytes of a regular expression with its flags. In `[…]` a slash is one like others.
fn regex(rest: &str) -> usize {
    let class = std::cell::Cell::new(false);
    let body = quoted(rest, |rest| match rest.as_bytes()[0] {
        b'[' => {
            class.set(true);
            None
        }
        b']' => {
            class.set(false);
            None
        }
        b'/' if !class.get() => Some(1),
        _ => None,
    });
    body + word(&rest[body..], is_word)
}

#[cfg(test)]
mod tests {
    use super::{Kind, tokens};

    #[test]
    fn what_is_in_quotes_is_one_token() {
        let found: Vec<_> = tokens(r"a = `x${ {b: `}`} }y` / 2.5e3 + c?.d(/[/\]']\/ /gu, 'it\'s // 1'); // e")
            .iter()
            .map(|t| (t.kind, t.text))
            .filter(|(kind, _)| *kind != Kind::Sign)
            .collect();
        let (word, text) = (Kind::Word, Kind::Text);
        assert_eq!(
            found,
            [
                (word, "a"),
                (text, "`x${"),
                (word, "b"),
                (text, "`}`"),
                (text, "}y`"),
                (text, "2.5e3"),
                (word, "c"),
                (word, "d"),
                (text, r"/[/\]']\/ /gu"),
                (text, r"'it\'s // 1'"),
            ]
        );
    }
}
