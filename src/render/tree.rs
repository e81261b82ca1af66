//! The nodes that text is rendered to. `PROTOCOL.md` documents their JSON.
//!
//! Every string in a tree was passed through `clean`: it contains no control characters except tabs and
//! line feeds, and no hidden characters.

use serde::Serialize;

/// A rendered text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rendered {
    /// The content, in order; empty if `plain` is set.
    pub blocks: Vec<Block>,
    /// The reason why the text has no tree. Show it as plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain: Option<PlainReason>,
}

impl Rendered {
    pub(super) fn plain(reason: PlainReason) -> Self {
        Self {
            blocks: Vec::new(),
            plain: Some(reason),
        }
    }
}

impl From<Vec<Block>> for Rendered {
    fn from(blocks: Vec<Block>) -> Self {
        Self { blocks, plain: None }
    }
}

/// Why a text has no tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlainReason {
    /// The text exceeds [`super::MAX_BYTES`], or its tree [`super::MAX_NODES`].
    TooLong,
    /// Rendering took longer than [`super::MAX_TIME`].
    TooSlow,
}

/// A block of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are documented in PROTOCOL.md")]
pub enum Block {
    Paragraph {
        children: Vec<Inline>,
    },
    Heading {
        level: u8,
        children: Vec<Inline>,
    },
    List {
        ordered: bool,
        start: u64,
        items: Vec<ListItem>,
    },
    Quote {
        blocks: Vec<Block>,
    },
    Code(Code),
    Table {
        alignments: Vec<Alignment>,
        /// The first row has the headings.
        rows: Vec<Vec<Vec<Inline>>>,
    },
    Rule,
    Json {
        value: JsonValue,
    },
    Diff {
        files: Vec<DiffFile>,
    },
    Terminal {
        lines: Vec<Vec<TerminalSpan>>,
    },
}

/// An item of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ListItem {
    /// Whether a task is done; `None` if the item is no task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<bool>,
    /// The content.
    pub blocks: Vec<Block>,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are documented in PROTOCOL.md")]
pub enum Inline {
    Text {
        text: String,
    },
    Strong {
        children: Vec<Inline>,
    },
    Emphasis {
        children: Vec<Inline>,
    },
    Strike {
        children: Vec<Inline>,
    },
    Code {
        text: String,
    },
    Link {
        /// An address with one of the schemes http, https and mailto.
        href: String,
        children: Vec<Inline>,
    },
    Image {
        /// A `data:` address of a PNG, JPEG, GIF or WebP image.
        src: String,
        alt: String,
    },
    Break,
}

/// A block of source code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Code {
    /// The language as the text names it; empty if unknown.
    pub language: String,
    /// The file that contains the code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The number of the first line in that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_line: Option<u64>,
    /// The lines, without their ends.
    pub lines: Vec<Vec<CodeSpan>>,
}

/// A part of a line of code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CodeSpan {
    /// What the text is.
    #[serde(skip_serializing_if = "TokenClass::is_plain")]
    pub class: TokenClass,
    /// The text.
    pub text: String,
}

/// What a part of code is. Themes assign the colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say what they are")]
pub enum TokenClass {
    #[default]
    Plain,
    Keyword,
    String,
    Comment,
    Number,
    Type,
    Function,
    Property,
    Constant,
    Operator,
    Inserted,
    Deleted,
}

impl TokenClass {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// The alignment of a column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say what they are")]
pub enum Alignment {
    None,
    Left,
    Center,
    Right,
}

/// A JSON value. Keys keep their order, and numbers their digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are documented in PROTOCOL.md")]
pub enum JsonValue {
    Object {
        entries: Vec<JsonEntry>,
    },
    Array {
        items: Vec<JsonValue>,
    },
    String {
        text: String,
    },
    Number {
        text: String,
    },
    /// `true`, `false` or `null`.
    Literal {
        text: String,
    },
    /// A value nested too deeply, as its JSON.
    Raw {
        text: String,
    },
}

/// A key of a JSON object, with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JsonEntry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: JsonValue,
}

/// The changes of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DiffFile {
    /// The path before the change; empty for a new file.
    pub old_path: String,
    /// The path after the change; empty for a deleted file.
    pub new_path: String,
    /// Lines about the file, such as its mode.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The changes, in order.
    pub hunks: Vec<DiffHunk>,
}

/// Consecutive lines of a diff.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DiffHunk {
    /// What the diff says about the place, such as the name of the function.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub heading: String,
    /// The lines.
    pub lines: Vec<DiffLine>,
}

/// One line of a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffLine {
    /// What happens to the line.
    pub kind: DiffLineKind,
    /// The number in the old file, if the line is in it and its number is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<u64>,
    /// As `old`, in the new file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<u64>,
    /// The text, without the sign and the line's end.
    pub text: String,
}

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say what they are")]
pub enum DiffLineKind {
    Context,
    Added,
    Removed,
    /// A remark of the diff, not a line of a file.
    Note,
}

/// A part of a line of terminal output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TerminalSpan {
    /// The text.
    pub text: String,
    /// The colour of the text: a name such as `red` or `bright_red`, or `#rrggbb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// The colour behind the text, as `color`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<String>,
    /// Any of `bold`, `dim`, `italic`, `underline`, `strike`, `inverse`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub styles: Vec<&'static str>,
}
