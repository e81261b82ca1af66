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

/// The two languages that are tightened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Script,
    Style,
}

/// After one of these a slash begins a regular expression; after others it divides.
const BEFORE_REGEX: &str = "(,=:[!&|?{};>";

/// The file at `path`, tightened.
pub(super) fn tight(path: &str, text: &str) -> String {
    let language = match path.rsplit_once('.') {
        Some((_, "js")) => Language::Script,
        Some((_, "css")) => Language::Style,
        _ => return text.lines().map(|line| format!("{}\n", line.trim())).collect(),
    };
    let (mut out, mut state) = (String::with_capacity(text.len()), In::Code);
    for line in text.lines().map(str::trim) {
        if out.ends_with('\n') && line.starts_with(|c| language.goes_on_with(c)) {
            out.pop();
        }
        language.line(line, &mut state, &mut out);
        if !out.is_empty() && !out.ends_with(|c| language.ends_with(c)) {
            out.push('\n');
        }
    }
    out
}

impl Language {
    /// Whether a space between these two means something.
    fn parts(self, last: char, next: char) -> bool {
        let word = |c: char| c.is_alphanumeric() || "_$".contains(c);
        match self {
            Self::Script => (word(last) && word(next)) || (last == next && "+-/".contains(last)),
            // A space before `:` or `(` separates selectors, and around `+` belongs to a sum.
            Self::Style => !"{};,:>".contains(last) && !"{};,>".contains(next),
        }
    }

    /// Whether a line that begins so goes on with the one before.
    fn goes_on_with(self, first: char) -> bool {
        self == Self::Script && "?:.&|+".contains(first)
    }

    /// Whether after this the next line may follow at once.
    fn ends_with(self, last: char) -> bool {
        match self {
            Self::Script => "{}()[,;=>\n".contains(last),
            Self::Style => "{};,\n".contains(last),
        }
    }

    fn line(self, line: &str, state: &mut In, out: &mut String) {
        let scripted = self == Self::Script;
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
                    ('/', Some('/')) if scripted => break,
                    ('/', Some('*')) => {
                        *state = In::Comment;
                        continue;
                    }
                    (' ', next) => match (out.chars().next_back(), next) {
                        (Some(last), Some(next)) if self.parts(last, *next) => {}
                        _ => continue,
                    },
                    ('\'' | '"' | '`', _) => *state = In::Quote(c),
                    ('/', _) if scripted && out.ends_with(|last| BEFORE_REGEX.contains(last)) => *state = In::Regex,
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
        let page = "// Head.\n\nconst a = { b: 'x, y' }; // why\n  if (a) {\n    f(a, /[/ '] = /g, 1 + +n);\n  }\n/* long\n   story */\nconst s = a\n  ? `${a} , b`\n  : 'c d' in of;\n";
        assert_eq!(
            tight("/a.js", page),
            "const a={b:'x, y'};if(a){f(a,/[/ '] = /g,1+ +n)}const s=a?`${a} , b`:'c d'in of;"
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
