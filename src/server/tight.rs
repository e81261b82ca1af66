//! The page's files as they travel: without comments, without spaces nothing needs, and with
//! short names for what a module keeps to itself.
//!
//! For: a page that is written for people and stays within its bytes without a bundler or any
//! tool. Works on files of our own, of which it takes for granted what a formatter sees to:
//! each statement ends with `;`.
//! Not for: moving or leaving out any code, or files of other people.

mod names;
mod style;
mod tokens;

/// The file at `path`, tightened.
pub(super) fn tight(path: &str, text: &str) -> String {
    match path.rsplit_once('.') {
        Some((_, "js")) => script(text),
        Some((_, "css")) => style::tight(text),
        _ => text.lines().map(|line| format!("{}\n", line.trim())).collect(),
    }
}

fn script(text: &str) -> String {
    let tokens = tokens::tokens(text);
    let mut out = String::with_capacity(text.len());
    for word in names::shortened(&tokens) {
        // The last statement before a brace needs no end.
        if word == "}" && out.ends_with(';') {
            out.pop();
        }
        if out
            .chars()
            .next_back()
            .zip(word.chars().next())
            .is_some_and(|(last, next)| parted(last, next))
        {
            out.push(' ');
        }
        out.push_str(&word);
    }
    out
}

/// Whether a space between these two means something.
fn parted(last: char, next: char) -> bool {
    (tokens::is_word(last) && tokens::is_word(next)) || (last == next && "+-/".contains(last))
}

#[cfg(test)]
mod tests {
    use super::tight;

    #[test]
    fn code_loses_comments_and_spaces_and_nothing_else() {
        let page = "// Head.\n\nimport { f } from './f.js';\n/* long\n   story */\nif (f) { // why\n    \
                    f(/[/ '] = /g.x, 1 + +f, f++ + --f / 2, `a  ${f( `${f} , b` )} /* c */`);\n}\nreturn f\n  ? 'x, y'\n  : 'c d' in f;\n";
        assert_eq!(
            tight("/a.js", page),
            "import{f}from'./f.js';if(f){f(/[/ '] = /g.x,1+ +f,f++ +--f/2,`a  ${f(`${f} , b`)} /* c */`)}return f?'x, y':'c d'in f;"
        );
    }
}
