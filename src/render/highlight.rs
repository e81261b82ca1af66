//! Source code with the classes of its tokens.

use hl_lite::{Kind, Lang};

use super::budget::Budget;
use super::clean;
use super::tree::{Code, CodeSpan, PlainReason, TokenClass};

/// Returns a block of code in the language with this name, which may be empty or unknown.
pub(super) fn code(language: &str, text: &str, budget: &mut Budget) -> Result<Code, PlainReason> {
    let lines = match language {
        "diff" | "patch" => plain_lines(text, diff_class, budget)?,
        _ => lines(Lang::from_slug(language), text, budget)?,
    };
    Ok(Code {
        language: clean(language),
        lines,
        ..Code::default()
    })
}

/// Returns the content of a file, whose name determines the language.
pub(super) fn file(path: &str, text: &str, budget: &mut Budget) -> Result<Code, PlainReason> {
    let language = Lang::from_path(path);
    Ok(Code {
        language: language.map_or_else(String::new, |language| language.slug().to_owned()),
        path: clean(path),
        first_line: None,
        lines: lines(language, text, budget)?,
    })
}

fn lines(language: Option<Lang>, text: &str, budget: &mut Budget) -> Result<Vec<Vec<CodeSpan>>, PlainReason> {
    let Some(language) = language else {
        return plain_lines(text, |_| TokenClass::Plain, budget);
    };
    // One lexer's pass is linear and takes about 1 ms per 100 KiB.
    let spans = hl_lite::highlight(language, text);
    // Code with too many tokens is shown without their classes.
    if spans.len() + text.len() / 80 > budget.nodes_left() / 2 {
        return plain_lines(text, |_| TokenClass::Plain, budget);
    }
    let mut lines = vec![Vec::new()];
    for span in spans {
        for (i, part) in span.text.split('\n').enumerate() {
            if i > 0 {
                lines.push(Vec::new());
            }
            budget.take()?;
            if !part.is_empty()
                && let Some(line) = lines.last_mut()
            {
                push(line, class(span.kind), &clean(part));
            }
        }
    }
    without_empty_end(&mut lines);
    Ok(lines)
}

/// Adds a part to a line. Several kinds of tokens have the same class.
fn push(line: &mut Vec<CodeSpan>, class: TokenClass, text: &str) {
    match line.last_mut() {
        Some(last) if last.class == class => last.text.push_str(text),
        _ => line.push(CodeSpan {
            class,
            text: text.to_owned(),
        }),
    }
}

/// Returns lines of one span each.
fn plain_lines(
    text: &str,
    class: impl Fn(&str) -> TokenClass,
    budget: &mut Budget,
) -> Result<Vec<Vec<CodeSpan>>, PlainReason> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        budget.take()?;
        lines.push(match line {
            "" => Vec::new(),
            line => vec![CodeSpan {
                class: class(line),
                text: clean(line),
            }],
        });
    }
    without_empty_end(&mut lines);
    Ok(lines)
}

/// Removes the empty line after the last line feed.
fn without_empty_end(lines: &mut Vec<Vec<CodeSpan>>) {
    lines.pop_if(|line| line.is_empty());
}

fn diff_class(line: &str) -> TokenClass {
    match line.as_bytes().first() {
        Some(b'+') => TokenClass::Inserted,
        Some(b'-') => TokenClass::Deleted,
        Some(b'@') => TokenClass::Comment,
        _ => TokenClass::Plain,
    }
}

fn class(kind: Kind) -> TokenClass {
    match kind {
        Kind::Plain | Kind::Punctuation => TokenClass::Plain,
        Kind::Keyword | Kind::Tag => TokenClass::Keyword,
        Kind::String => TokenClass::String,
        Kind::Comment => TokenClass::Comment,
        Kind::Number => TokenClass::Number,
        Kind::Type => TokenClass::Type,
        Kind::Function => TokenClass::Function,
        Kind::Attribute | Kind::Property => TokenClass::Property,
        Kind::Constant | Kind::Variable => TokenClass::Constant,
        Kind::Operator => TokenClass::Operator,
    }
}
