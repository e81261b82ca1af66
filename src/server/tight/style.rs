//! A style sheet without comments and without spaces nothing needs.

/// The sheet, tightened.
pub(super) fn tight(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut space) = (text, false);
    while let Some(c) = rest.chars().next() {
        let len = match c {
            '/' if rest.starts_with("/*") => {
                rest = rest.split_once("*/").map_or("", |(_, after)| after);
                continue;
            }
            c if c.is_whitespace() => {
                space = true;
                rest = &rest[c.len_utf8()..];
                continue;
            }
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            c => c.len_utf8(),
        };
        if space && out.chars().next_back().is_some_and(|last| parted(last, c)) {
            out.push(' ');
        }
        space = false;
        // The last declaration before a brace needs no end.
        if c == '}' && out.ends_with(';') {
            out.pop();
        }
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    out
}

/// Whether a space between these two means something: before `:` or `(` it separates
/// selectors, and around `+` it belongs to a sum.
fn parted(last: char, next: char) -> bool {
    !"{};,:>".contains(last) && !"{};,>".contains(next)
}

#[cfg(test)]
mod tests {
    use super::tight;

    #[test]
    fn a_style_keeps_the_spaces_that_mean_something() {
        let style = "/* Look. */\n.a :hover > b,\nc { margin: calc(1px + 2px) 0; font: 1px \"A, B\" }\n@media (max-width: 9rem) {\n  i { x: y; }\n}\n";
        assert_eq!(
            tight(style),
            ".a :hover>b,c{margin:calc(1px + 2px) 0;font:1px \"A, B\"}@media (max-width:9rem){i{x:y}}"
        );
    }
}
