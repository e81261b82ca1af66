//! The page's files as they travel: without comments and without spaces nothing needs.
//!
//! For: a page that is written for people and stays within its bytes without a bundler or
//! any tool. Works line by line, on files of our own: statements end with `;`, and what
//! is between backticks has no backticks in it.
//! Not for: renaming or reordering anything, or code of other people.

/// What is between quotes, or in a regular expression, stays as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Code,
    /// Until this character.
    Quote(char),
    /// A regular expression, or the `[…]` of one.
    Regex,
    Class,
    Comment,
}

/// The languages, and where a space means nothing in them: after, before, and at the end
/// of a line.
struct Rules {
    after: &'static str,
    before: &'static str,
    ends: &'static str,
    scripted: bool,
}

const SCRIPT: Rules = Rules {
    after: "{}()[],;:=<>?&|!",
    before: "{}()[],;:=<>?&|",
    ends: "{}()[,;",
    scripted: true,
};
/// A space before `:` or `(` separates selectors, and around `+` belongs to a sum.
const STYLE: Rules = Rules {
    after: "{};,:>",
    before: "{};,>",
    ends: "{};,",
    scripted: false,
};
/// After one of these a slash begins a regular expression; after others it divides.
const BEFORE_REGEX: &str = "(,=:[!&|?{};>";

/// The file at `path`, tightened.
pub(super) fn tight(path: &str, text: &str) -> String {
    let rules = match path.rsplit_once('.') {
        Some((_, "js")) => SCRIPT,
        Some((_, "css")) => STYLE,
        _ => return text.lines().map(|line| format!("{}\n", line.trim())).collect(),
    };
    let (mut out, mut state) = (String::with_capacity(text.len()), In::Code);
    for line in text.lines() {
        rules.line(line.trim(), &mut state, &mut out);
        if !out.is_empty() && !out.ends_with('\n') && !out.ends_with(|c| rules.ends.contains(c)) {
            out.push('\n');
        }
    }
    out
}

impl Rules {
    fn line(&self, line: &str, state: &mut In, out: &mut String) {
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match *state {
                In::Comment => {
                    if c == '*' && chars.next_if_eq(&'/').is_some() {
                        *state = In::Code;
                    }
                    continue;
                }
                In::Code => match (c, chars.peek()) {
                    ('/', Some('/')) if self.scripted => break,
                    ('/', Some('*')) => {
                        *state = In::Comment;
                        continue;
                    }
                    (' ', next) => {
                        let after = out.ends_with(|last| last == '\n' || self.after.contains(last));
                        if after || next.is_none_or(|next| *next == ' ' || self.before.contains(*next)) {
                            continue;
                        }
                    }
                    ('\'' | '"' | '`', _) => *state = In::Quote(c),
                    ('/', _) if self.scripted && out.ends_with(|last| BEFORE_REGEX.contains(last)) => {
                        *state = In::Regex
                    }
                    // The last statement before a brace needs no end.
                    ('}', _) if out.ends_with(';') => {
                        out.pop();
                    }
                    _ => {}
                },
                In::Quote(end) if c == end => *state = In::Code,
                In::Regex if c == '/' => *state = In::Code,
                In::Regex if c == '[' => *state = In::Class,
                In::Class if c == ']' => *state = In::Regex,
                _ => {}
            }
            out.push(c);
            if c == '\\' && *state != In::Code {
                out.extend(chars.next());
            }
        }
        // A space before a comment that was cut.
        while out.ends_with(' ') {
            out.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::tight;

    #[test]
    fn code_loses_comments_and_spaces_and_nothing_else() {
        let page = "// Head.\n\nconst a = { b: 'x, y' }; // why\n  if (a) {\n    f(a, /[/ '] = /g, 1 + +n);\n  }\n/* long\n   story */\nreturn `${a} , b`;\n";
        assert_eq!(
            tight("/a.js", page),
            "const a={b:'x, y'};if(a){f(a,/[/ '] = /g,1 + +n)}return `${a} , b`;"
        );
    }

    #[test]
    fn a_style_keeps_the_spaces_that_mean_something() {
        let style = "/* Look. */\n.a :hover > b, c { margin: calc(1px + 2px) 0; font: 1px \"A, B\" }\n@media (max-width: 9rem) {\n  i { x: y }\n}\n";
        assert_eq!(
            tight("/a.css", style),
            ".a :hover>b,c{margin:calc(1px + 2px) 0;font:1px \"A, B\"}@media (max-width:9rem){i{x:y}}"
        );
    }
}
