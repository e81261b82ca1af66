//! Prints a rendered text (`render::tree`) on a terminal. The texts of a tree have no escape sequences; those printed here
//! are its styles.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use crate::render::tree::{
    Alignment, Block, CodeSpan, DiffFile, DiffLineKind, Inline, JsonValue, ListItem, TerminalSpan, TokenClass,
};

/// Width of a rule, in columns.
const RULE_WIDTH: usize = 40;
/// The widest cell of a table that others are aligned with, in columns.
const MAX_CELL: usize = 60;

const BOLD: &str = "1";
const DIM: &str = "2";
const ITALIC: &str = "3";
const UNDERLINE: &str = "4";
const STRIKE: &str = "9";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";
const MAGENTA: &str = "35";
const CYAN: &str = "36";

/// Whether styles are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Styles {
    Shown,
    Omitted,
}

impl Styles {
    /// Returns the text with the parameters of an SGR sequence. Each line has its own sequence.
    fn apply(self, parameters: &str, text: &str) -> String {
        if self == Self::Omitted || parameters.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        let lines = text.split('\n');
        let styled = lines.map(|line| format!("\u{1b}[{parameters}m{line}\u{1b}[0m"));
        styled.collect::<Vec<_>>().join("\n")
    }
}

/// Returns the lines of blocks, without line feeds.
pub(super) fn lines(blocks: &[Block], styles: Styles) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        if i > 0 {
            shown.push(String::new());
        }
        let text = block_text(block, styles);
        shown.extend(text.split('\n').map(|line| line.trim_end().to_owned()));
    }
    shown
}

fn block_text(block: &Block, styles: Styles) -> String {
    match block {
        Block::Paragraph { children } => inline_text(children, "", styles),
        Block::Heading { level, children } => {
            let marks = styles.apply(BOLD, &format!("{} ", "#".repeat(usize::from(*level))));
            marks + &inline_text(children, BOLD, styles)
        }
        Block::List { ordered, start, items } => {
            let numbers = *start..;
            let items = numbers.zip(items).map(|(number, item)| {
                let mark = if *ordered {
                    format!("{number}. ")
                } else {
                    "- ".to_owned()
                };
                list_item(&mark, item, styles)
            });
            items.collect::<Vec<_>>().join("\n")
        }
        Block::Quote { blocks } => {
            let mark = styles.apply(DIM, "│");
            let lines = lines(blocks, styles).into_iter().map(|line| format!("{mark} {line}"));
            lines.collect::<Vec<_>>().join("\n")
        }
        Block::Code(code) => {
            let title = Some(&code.path)
                .filter(|path| !path.is_empty())
                .map(|path| styles.apply(DIM, path));
            let lines = code
                .lines
                .iter()
                .map(|spans| format!("    {}", code_line(spans, styles)));
            title.into_iter().chain(lines).collect::<Vec<_>>().join("\n")
        }
        Block::Table { alignments, rows } => table(alignments, rows, styles),
        Block::Rule => styles.apply(DIM, &"─".repeat(RULE_WIDTH)),
        Block::Json { value } => json(value, "", styles),
        Block::Diff { files } => {
            let files = files.iter().map(|file| diff_file(file, styles));
            files.collect::<Vec<_>>().join("\n\n")
        }
        Block::Terminal { lines } => {
            let lines = lines
                .iter()
                .map(|spans| spans.iter().map(|span| terminal_span(span, styles)).collect::<String>());
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

fn list_item(mark: &str, item: &ListItem, styles: Styles) -> String {
    let check = match item.checked {
        Some(true) => "[x] ",
        Some(false) => "[ ] ",
        None => "",
    };
    // Blocks of an item follow each other without an empty line.
    let mut lines = item
        .blocks
        .iter()
        .flat_map(|block| lines(std::slice::from_ref(block), styles));
    let mut text = format!("{mark}{check}{}", lines.next().unwrap_or_default());
    for line in lines {
        let _ = write!(text, "\n{:indent$}{line}", "", indent = mark.len());
    }
    text
}

/// `outer` are the parameters of the styles around the inlines.
fn inline_text(inlines: &[Inline], outer: &str, styles: Styles) -> String {
    let nested = |parameter: &str| match outer {
        "" => parameter.to_owned(),
        outer => format!("{outer};{parameter}"),
    };
    let shown = inlines.iter().map(|inline| match inline {
        Inline::Text { text } => styles.apply(outer, text),
        Inline::Strong { children } => inline_text(children, &nested(BOLD), styles),
        Inline::Emphasis { children } => inline_text(children, &nested(ITALIC), styles),
        Inline::Strike { children } => inline_text(children, &nested(STRIKE), styles),
        Inline::Code { text } => styles.apply(&nested(CYAN), text),
        Inline::Link { href, children } => {
            let plain = inline_text(children, "", Styles::Omitted);
            let text = inline_text(children, &nested(UNDERLINE), styles);
            if plain == *href || format!("mailto:{plain}") == *href {
                text
            } else {
                format!("{text} <{href}>")
            }
        }
        Inline::Image { alt, .. } => styles.apply(&nested(DIM), &format!("[image: {alt}]")),
        Inline::Break => "\n".to_owned(),
    });
    shown.collect()
}

fn code_line(spans: &[CodeSpan], styles: Styles) -> String {
    let color = |class| match class {
        TokenClass::Plain | TokenClass::Operator => "",
        TokenClass::Keyword => MAGENTA,
        TokenClass::String | TokenClass::Inserted => GREEN,
        TokenClass::Comment => DIM,
        TokenClass::Number | TokenClass::Constant => YELLOW,
        TokenClass::Type | TokenClass::Property => CYAN,
        TokenClass::Function => BLUE,
        TokenClass::Deleted => RED,
    };
    spans
        .iter()
        .map(|span| styles.apply(color(span.class), &span.text))
        .collect()
}

fn table(alignments: &[Alignment], rows: &[Vec<Vec<Inline>>], styles: Styles) -> String {
    let text = |cell: &[Inline], styles| inline_text(cell, "", styles).replace('\n', " ");
    let width = |cell: &[Inline]| text(cell, Styles::Omitted).width();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| width(cell))
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| widest(column).unwrap_or(0).min(MAX_CELL))
        .collect();
    let lines = rows.iter().enumerate().map(|(i, row)| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let padding = widths[column].saturating_sub(width(cell));
            let left = match alignments.get(column) {
                Some(Alignment::Right) => padding,
                Some(Alignment::Center) => padding / 2,
                _ => 0,
            };
            let outer = if i == 0 { BOLD } else { "" };
            let shown = inline_text(cell, outer, styles).replace('\n', " ");
            format!("{:left$}{shown}{:right$}", "", "", right = padding - left)
        });
        cells.collect::<Vec<_>>().join("  ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn json(value: &JsonValue, indent: &str, styles: Styles) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let inner = format!("{indent}  ");
    let wrap = |[open, close]: [&str; 2], parts: Vec<String>| match parts.is_empty() {
        true => format!("{open}{close}"),
        false => format!("{open}\n{inner}{}\n{indent}{close}", parts.join(&format!(",\n{inner}"))),
    };
    match value {
        JsonValue::Object { entries } => {
            let parts = entries.iter().map(|entry| {
                let key = styles.apply(CYAN, &quoted(&entry.key));
                format!("{key}: {}", json(&entry.value, &inner, styles))
            });
            wrap(["{", "}"], parts.collect())
        }
        JsonValue::Array { items } => wrap(
            ["[", "]"],
            items.iter().map(|item| json(item, &inner, styles)).collect(),
        ),
        JsonValue::String { text } => styles.apply(GREEN, &quoted(text)),
        JsonValue::Number { text } | JsonValue::Literal { text } => styles.apply(YELLOW, text),
        JsonValue::Raw { text } => text.clone(),
    }
}

fn diff_file(file: &DiffFile, styles: Styles) -> String {
    let name = |path: &str| {
        if path.is_empty() {
            "/dev/null".to_owned()
        } else {
            path.to_owned()
        }
    };
    let mut lines = vec![
        styles.apply(BOLD, &format!("--- {}", name(&file.old_path))),
        styles.apply(BOLD, &format!("+++ {}", name(&file.new_path))),
    ];
    lines.extend(file.notes.iter().map(|note| styles.apply(DIM, note)));
    for hunk in &file.hunks {
        lines.push(styles.apply(CYAN, format!("@@ {}", hunk.heading).trim_end()));
        lines.extend(hunk.lines.iter().map(|line| {
            let (sign, color) = match line.kind {
                DiffLineKind::Context => (' ', ""),
                DiffLineKind::Added => ('+', GREEN),
                DiffLineKind::Removed => ('-', RED),
                DiffLineKind::Note => ('\\', DIM),
            };
            styles.apply(color, &format!("{sign}{}", line.text))
        }));
    }
    lines.join("\n")
}

/// Colours that are no names are left out: the terminal may not have them.
fn terminal_span(span: &TerminalSpan, styles: Styles) -> String {
    const NAMES: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
    let named = |color: &str| {
        let (base, name) = color.strip_prefix("bright_").map_or((30, color), |name| (90, name));
        let index = NAMES.iter().position(|known| *known == name)?;
        // Black text is invisible on most terminals.
        (index > 0).then(|| (base + index).to_string())
    };
    let color = span.color.as_deref().and_then(named);
    let attributes = span.styles.iter().map(|style| match *style {
        "bold" => BOLD,
        "dim" => DIM,
        "italic" => ITALIC,
        "underline" => UNDERLINE,
        "strike" => STRIKE,
        _ => "7",
    });
    let parameters: Vec<String> = attributes.map(str::to_owned).chain(color).collect();
    styles.apply(&parameters.join(";"), &span.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{Source, render};

    fn shown(text: &str, styles: Styles) -> String {
        lines(&render(Source::Message(text)).blocks, styles).join("\n")
    }

    #[test]
    fn prints_the_structure_without_styles() {
        for (text, expected) in [
            ("# A *b*\n\nc\nd", "# A b\n\nc\nd"),
            (
                "1. a\n   - [x] b\n   - [ ] c\n2. d",
                "1. a\n   - [x] b\n   - [ ] c\n2. d",
            ),
            ("> a\n>\n> b", "│ a\n│\n│ b"),
            ("|a|bb|\n|-|-:|\n|漢字|1|", "a     bb\n漢字   1"),
            (
                "[a](https://b.test) https://c.test",
                "a <https://b.test> https://c.test",
            ),
            ("```rust\nfn a() {}\n\n```", "    fn a() {}\n"),
            ("{\"a\":[1,{}]}", "{\n  \"a\": [\n    1,\n    {}\n  ]\n}"),
            ("--- a\n+++ a\n@@ -1 +1 @@\n-x\n+y", "--- a\n+++ a\n@@\n-x\n+y"),
        ] {
            assert_eq!(shown(text, Styles::Omitted), expected);
        }
    }

    #[test]
    fn every_line_has_its_own_styles_and_no_other_escape() {
        let text = "**a\nb** `c`\n\n```ansi\n\u{1b}[1;32mok\u{1b}[0m\u{1b}]0;title\u{7}\n```";
        assert_eq!(
            shown(text, Styles::Shown),
            "\u{1b}[1ma\u{1b}[0m\n\u{1b}[1mb\u{1b}[0m \u{1b}[36mc\u{1b}[0m\n\n\u{1b}[1;32mok\u{1b}[0m"
        );
        assert!(!shown(text, Styles::Omitted).contains('\u{1b}'));
    }
}
