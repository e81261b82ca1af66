//! Splits SQL text into tokens and statements, without running it.

/// Returns the words, literals, quoted names and single characters of `sql`, without comments and blanks.
pub(super) fn tokens(sql: &str) -> Tokens<'_> {
    Tokens { sql, at: 0 }
}

/// Returns the statements of `sql`, each with its semicolon. The last one may be incomplete.
///
/// SQLite copies the rest of the text each time it prepares the first statement of it, so a long text is
/// run statement by statement.
pub(super) fn statements(sql: &str) -> Statements<'_> {
    Statements(tokens(sql))
}

#[derive(Debug, Clone)]
pub(super) struct Tokens<'a> {
    sql: &'a str,
    /// The end of the last token.
    at: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Statements<'a>(Tokens<'a>);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii();
        while let Some(&first) = self.sql.as_bytes().get(self.at) {
            let rest = &self.sql[self.at..];
            let length_to =
                |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
            let (length, is_token) = match first {
                _ if first.is_ascii_whitespace() => (1, false),
                _ if rest.starts_with("--") => (length_to("\n", 2), false),
                _ if rest.starts_with("/*") => (length_to("*/", 2), false),
                b'\'' | b'"' | b'`' => {
                    // A doubled quote does not end the literal.
                    let quote = &rest[..1];
                    let mut length = length_to(quote, 1);
                    while rest[length..].starts_with(quote) {
                        length = length_to(quote, length + 1);
                    }
                    (length, true)
                }
                b'[' => (length_to("]", 1), true),
                _ if is_word(first) => (rest.bytes().take_while(|byte| is_word(*byte)).count(), true),
                _ => (1, true),
            };
            self.at += length;
            if is_token {
                return Some(&rest[..length]);
            }
        }
        None
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let Tokens { sql, at: begin } = self.0;
        let (mut count, mut is_create, mut is_trigger) = (0, false, false);
        let mut last = [""; 2];
        while let Some(token) = self.0.next() {
            count += 1;
            let is = |word: &str| token.eq_ignore_ascii_case(word);
            match count {
                1 => is_create = is("CREATE"),
                // CREATE TRIGGER, CREATE TEMP TRIGGER
                2 | 3 => is_trigger |= is_create && is("TRIGGER"),
                _ => {}
            }
            // The body of a trigger has semicolons, too, and ends with one and END.
            let is_end = !is_trigger || last[0] == ";" && last[1].eq_ignore_ascii_case("END");
            if token == ";" && is_end {
                return Some(&sql[begin..self.0.at]);
            }
            last = [last[1], token];
        }
        (count > 0).then(|| &sql[begin..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_any_text_into_tokens() {
        let tokens = |sql| tokens(sql).collect::<Vec<_>>();
        assert_eq!(
            tokens("SELECT x''--c\n,\"a\"\"b\" /*'*/[c d]||'it''s'`é`ü1.5e3"),
            [
                "SELECT",
                "x",
                "''",
                ",",
                "\"a\"\"b\"",
                "[c d]",
                "|",
                "|",
                "'it''s'",
                "`é`",
                "ü1",
                ".",
                "5e3"
            ]
        );
        for unfinished in ["'a", "\"", "[x", "/*", "--", "'a''"] {
            assert!(tokens(unfinished).len() <= 1, "{unfinished}");
        }
        assert_eq!(tokens("'a''"), ["'a''"]);
        assert_eq!(tokens("\u{a0}x"), ["\u{a0}x"]);
    }

    #[test]
    fn splits_text_into_statements() {
        let statements = |sql| statements(sql).map(str::trim).collect::<Vec<_>>();
        let trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN ';' END; SELECT 2; END;";
        let sql = format!(
            "BEGIN; INSERT INTO a VALUES('x;y','it''s;'); -- a;b\n{trigger}\nCREATE TABLE \"trigger;\"(x); COMMIT"
        );
        assert_eq!(
            statements(&sql),
            [
                "BEGIN;",
                "INSERT INTO a VALUES('x;y','it''s;');",
                &format!("-- a;b\n{trigger}"),
                "CREATE TABLE \"trigger;\"(x);",
                "COMMIT"
            ]
        );
        assert_eq!(statements(" -- nothing\n"), Vec::<&str>::new());
    }
}
