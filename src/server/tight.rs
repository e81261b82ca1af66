//! The page's files as they travel: without comments, without spaces nothing needs, and with
//! short names for what a module keeps to itself.
//!
//! For: a page that is written for people and stays within its bytes without a bundler or any
//! tool. Works on files of our own, of which it takes for granted what a formatter sees to:
//! each statement ends with `;`. `tests/page/same.mjs` compares the syntax trees of what is
//! written and what is served, variable by variable.
//! Not for: moving or leaving out any code, or files of other people.

mod names;
mod style;
mod tokens;

use tokens::Token;

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
    // For each bracket that is open, what the statement in it declares with.
    let mut declares = vec![declaration(&tokens)];
    let mut words = names::shortened(&tokens).into_iter().enumerate();
    while let Some((at, word)) = words.next() {
        // The last statement before a brace needs no end.
        if word == "}" && out.ends_with(';') {
            out.pop();
        }
        let both = out.chars().next_back().zip(word.chars().next());
        if both.is_some_and(|(last, next)| parted(last, next)) {
            out.push(' ');
        }
        out.push_str(&word);
        if tokens[at].closes() {
            declares.pop();
        }
        if tokens[at].opens() {
            declares.push(declaration(&tokens[at + 1..]));
        }
        if word == ";"
            && let Some(before) = declares.last_mut()
        {
            let next = declaration(&tokens[at + 1..]);
            // Declarations that follow one another are one.
            if !next.is_empty() && *before == next {
                out.pop();
                out.push(',');
                words.nth(next.len() - 1);
            }
            *before = next;
        }
    }
    out
}

/// `const` or `let`, or either after `export`, if these tokens begin so.
fn declaration<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let declares = |at: usize| tokens.get(at).is_some_and(|t| matches!(t.text, "const" | "let"));
    match tokens.first() {
        _ if declares(0) => &tokens[..1],
        Some(first) if first.text == "export" && declares(1) => &tokens[..2],
        _ => &[],
    }
}

/// Whether a space between these two means something.
fn parted(last: char, next: char) -> bool {
    (tokens::is_word(last) && tokens::is_word(next)) || (last == next && "+-/".contains(last))
}

#[cfg(test)]
mod tests {
    use super::tight;

    #[test]
    fn declarations_that_follow_one_another_are_one() {
        let page = "export const a = 1;\nexport const b = x => { let c; let d = x; return c; };\nconst e = 2;\nf();\nconst g = 3;\n";
        assert_eq!(
            tight("/a.js", page),
            "export const a=1,b=x=>{let c,d=x;return c};const e=2;f();const g=3;"
        );
    }

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
