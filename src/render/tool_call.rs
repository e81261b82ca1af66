//! How the input and the output of tools' calls are rendered. [`FORMS`] is the only place that names tools.

use std::path::Path;

use serde_json::Value;

use super::budget::Budget;
use super::tree::{Block, Code, Inline, PlainReason};
use super::{clean, diff, highlight, markdown, structured, terminal};
use crate::text::{lenient_json, shell};

/// What a tool does, as far as its text is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Runs a command: the input is shell code, the output is what the command prints.
    Command,
    /// Replaces text in a file: the input is a diff.
    Edit,
    /// Applies a patch.
    Patch,
    /// Writes a file: the input is its content.
    Write,
    /// Reads a file: the input is its path, the output is its content.
    Read,
    /// Answers in prose: the input is an address, a question or a prompt, the output is Markdown.
    Prose,
    /// Any other: the input is JSON, the output is text.
    Other,
}

/// The names of tools with a form, in lower case.
const FORMS: [(Form, &[&str]); 6] = [
    (
        Form::Command,
        &[
            "bash",
            "command_execution",
            "exec_command",
            "execute",
            "local_shell",
            "run_shell_command",
            "run_terminal_cmd",
            "shell",
            "terminal",
        ],
    ),
    (
        Form::Edit,
        &[
            "edit",
            "edit_file",
            "multiedit",
            "replace",
            "search_replace",
            "str_replace",
            "str_replace_editor",
            "strreplace",
            "strreplacefile",
        ],
    ),
    (Form::Patch, &["apply_patch", "applypatch", "patch"]),
    (
        Form::Write,
        &["create", "create_file", "write", "write_file", "writefile"],
    ),
    (Form::Read, &["read", "read_file", "readfile", "view"]),
    (
        Form::Prose,
        &[
            "agent",
            "fetch",
            "google_web_search",
            "task",
            "web_fetch",
            "web_search",
            "webfetch",
            "websearch",
        ],
    ),
];

/// Names of the fields that inputs have, in the tools of all vendors.
const PATH: &[&str] = &[
    "file_path",
    "filePath",
    "path",
    "absolute_path",
    "notebook_path",
    "filename",
];
const OLD: &[&str] = &["old_string", "oldString", "old_str", "old"];
const NEW: &[&str] = &["new_string", "newString", "new_str", "new"];
const EDITS: &[&str] = &["edits", "edit"];
const CONTENT: &[&str] = &["content", "file_text", "contents"];
const COMMAND: &[&str] = &["command", "cmd", "script"];
const PATCH: &[&str] = &["input", "patch", "patchText", "diff"];
const URL: &[&str] = &["url", "uri"];
const PROMPT: &[&str] = &["prompt", "query", "question"];
const TITLE: &[&str] = &["description", "title"];
/// Maximum length of a value that is shown beside others on one line, in bytes.
const MAX_SHORT: usize = 200;

fn form(tool: &str) -> Form {
    let name = tool.to_ascii_lowercase();
    let found = FORMS.iter().find(|(_, names)| names.contains(&name.as_str()));
    found.map_or(Form::Other, |(form, _)| *form)
}

/// Returns the first of these fields that is text.
fn field(input: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| input[*name].as_str()).map(str::to_owned)
}

/// Returns the command of an input. A list of arguments with a shell is that shell's command.
fn command(input: &Value) -> Option<String> {
    let given = COMMAND
        .iter()
        .map(|name| &input[*name])
        .find(|value| !value.is_null())?;
    if let Some(command) = given.as_str() {
        return Some(command.to_owned());
    }
    let arguments: Option<Vec<&str>> = given.as_array()?.iter().map(Value::as_str).collect();
    let arguments = arguments?;
    Some(match arguments[..] {
        [shell, "-c" | "-lc", command] if is_shell(shell) => command.to_owned(),
        _ => {
            let words: Vec<String> = arguments.iter().map(|word| shell::quote(Path::new(word))).collect();
            words.join(" ")
        }
    })
}

fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    ["sh", "bash", "zsh", "dash", "fish", "ksh"].contains(&name)
}

/// Renders the fields of an input without the first one of each list of names: what its block shows. They may change
/// what the call does, so that none is left out.
fn further_fields(fields: &Value, shown: &[&[&str]], budget: &mut Budget) -> Result<Vec<Block>, PlainReason> {
    let Some(fields) = fields.as_object() else {
        return Ok(Vec::new());
    };
    let mut rest = fields.clone();
    for names in shown {
        if let Some(name) = names.iter().find(|name| !fields.get(**name).is_none_or(Value::is_null)) {
            rest.remove(*name);
        }
    }
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let rest = Value::Object(rest);
    match described(&rest, budget)? {
        Some(blocks) => Ok(blocks),
        None => Ok(vec![other(&rest.to_string(), budget)?]),
    }
}

/// Renders the input of a call.
pub(super) fn input(tool: &str, text: &str, budget: &mut Budget) -> Result<Vec<Block>, PlainReason> {
    let form = form(tool);
    let fields = lenient_json::parse(text.as_bytes()).unwrap_or_default();
    let path = field(&fields, PATH).unwrap_or_default();
    let block = match form {
        Form::Read | Form::Prose => {
            if let Some(blocks) = described(&fields, budget)? {
                return Ok(blocks);
            }
            None
        }
        Form::Command => match command(&fields) {
            Some(command) => Some(Block::Code(highlight::code("bash", &command, budget)?)),
            None if !fields.is_object() => Some(Block::Code(highlight::code("bash", text, budget)?)),
            None => None,
        },
        Form::Edit => diff::compare(&path, &changes(&fields), budget)?,
        Form::Patch => diff::render(&field(&fields, PATCH).unwrap_or_else(|| text.to_owned()), budget)?,
        Form::Write => match field(&fields, CONTENT) {
            Some(content) => Some(Block::Code(highlight::file(&path, &content, budget)?)),
            None => None,
        },
        Form::Other => None,
    };
    let Some(block) = block else {
        return Ok(vec![other(text, budget)?]);
    };
    let shown: &[&[&str]] = match form {
        Form::Command => &[COMMAND],
        Form::Edit => &[PATH, EDITS, OLD, NEW],
        Form::Patch => &[PATCH],
        Form::Write => &[PATH, CONTENT],
        Form::Read | Form::Prose | Form::Other => return Ok(vec![block]),
    };
    let mut blocks = further_fields(&fields, shown, budget)?;
    blocks.push(block);
    Ok(blocks)
}

/// Renders an input of a few known fields: a title, a path or address with the short values beside it, and a prompt as
/// Markdown. `None` if it has no such field, or others that are no
/// short values.
fn described(fields: &Value, budget: &mut Budget) -> Result<Option<Vec<Block>>, PlainReason> {
    let Some(fields) = fields.as_object() else {
        return Ok(None);
    };
    let (mut title, mut subject, mut prompts, mut details) = (None, None, Vec::new(), String::new());
    for (name, value) in fields {
        budget.take()?;
        let is = |names: &[&str]| names.contains(&name.as_str());
        match value {
            Value::String(text) if is(TITLE) => title = Some(text),
            Value::String(text) if is(PATH) => subject = Some(Inline::Code { text: clean(text) }),
            Value::String(text) if is(URL) => subject = Some(link(text)),
            Value::String(text) if is(PROMPT) => prompts.push(text),
            Value::String(text) if text.len() <= MAX_SHORT && !text.contains('\n') => {
                details.push_str(&format!(" · {} {}", clean(name), clean(text)));
            }
            Value::Number(_) | Value::Bool(_) => details.push_str(&format!(" · {} {value}", clean(name))),
            _ => return Ok(None),
        }
    }
    if title.is_none() && subject.is_none() && prompts.is_empty() && details.is_empty() {
        return Ok(None);
    }
    let mut first = Vec::new();
    if let Some(title) = title {
        let text = clean(title);
        first.push(Inline::Strong {
            children: vec![Inline::Text { text }],
        });
    }
    if let Some(subject) = subject {
        if !first.is_empty() {
            first.push(Inline::Text { text: " ".to_owned() });
        }
        first.push(subject);
    }
    if !details.is_empty() {
        let text = if first.is_empty() {
            details.split_off(" · ".len())
        } else {
            details
        };
        first.push(Inline::Text { text });
    }
    let mut blocks = Vec::new();
    if !first.is_empty() {
        blocks.push(Block::Paragraph { children: first });
    }
    for prompt in prompts {
        blocks.append(&mut markdown::render(prompt, budget)?);
    }
    Ok(Some(blocks))
}

fn link(address: &str) -> Inline {
    let text = clean(address);
    match markdown::safe_address(address) {
        Some(href) => Inline::Link {
            href,
            children: vec![Inline::Text { text }],
        },
        None => Inline::Text { text },
    }
}

/// Returns the replacements of an edit, which may have several.
fn changes(fields: &Value) -> Vec<(String, String)> {
    let edits = EDITS.iter().find_map(|name| match &fields[*name] {
        Value::Array(edits) => Some(edits.as_slice()),
        edit @ Value::Object(_) => Some(std::slice::from_ref(edit)),
        _ => None,
    });
    let edits = edits.unwrap_or(std::slice::from_ref(fields));
    let changes = edits.iter().filter_map(|edit| {
        let (old, new) = (field(edit, OLD), field(edit, NEW));
        (old.is_some() || new.is_some()).then(|| (old.unwrap_or_default(), new.unwrap_or_default()))
    });
    changes.collect()
}

/// Renders the output of a call. `input` is the call's input, empty if it is unknown.
pub(super) fn output(tool: &str, input: &str, text: &str, budget: &mut Budget) -> Result<Vec<Block>, PlainReason> {
    match form(tool) {
        Form::Command => Ok(vec![terminal::render(text, budget)?]),
        Form::Read if !terminal::has_escapes(text) => {
            let fields = lenient_json::parse(input.as_bytes()).unwrap_or_default();
            let path = field(&fields, PATH).unwrap_or_default();
            Ok(vec![Block::Code(file(&path, text, budget)?)])
        }
        Form::Prose => match structured(text, budget)? {
            Some(block) => Ok(vec![block]),
            None => markdown::render(text, budget),
        },
        _ => Ok(vec![other(text, budget)?]),
    }
}

/// Renders a text of any kind: JSON, a diff, or what a program prints.
fn other(text: &str, budget: &mut Budget) -> Result<Block, PlainReason> {
    match structured(text, budget)? {
        Some(block) => Ok(block),
        None => terminal::render(text, budget),
    }
}

/// Renders the content of a file, whose lines a tool may have numbered.
fn file(path: &str, text: &str, budget: &mut Budget) -> Result<Code, PlainReason> {
    match without_line_numbers(text) {
        Some((first_line, text)) => Ok(Code {
            first_line: Some(first_line),
            ..highlight::file(path, &text, budget)?
        }),
        None => highlight::file(path, text, budget),
    }
}

/// Returns the number of the first line and the text without the numbers, if each line begins with its number and
/// an arrow, a tab or a bar.
fn without_line_numbers(text: &str) -> Option<(u64, String)> {
    let (mut first, mut plain) = (None, String::with_capacity(text.len()));
    for (i, line) in text.trim_end_matches('\n').split('\n').enumerate() {
        let line = line.trim_start_matches(' ');
        let digits = line.find(|c: char| !c.is_ascii_digit())?;
        let (number, rest) = line.split_at(digits);
        let rest = ["→", "\t", "| "].iter().find_map(|mark| rest.strip_prefix(mark))?;
        let first = *first.get_or_insert(number.parse::<u64>().ok()?);
        if number.parse() != Ok(first.checked_add(i as u64)?) {
            return None;
        }
        plain.push_str(rest);
        plain.push('\n');
    }
    Some((first?, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_form() {
        let mut names: Vec<&str> = FORMS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.iter().all(|name| *name == name.to_lowercase()));
    }

    #[test]
    fn removes_line_numbers_only_if_every_line_has_one() {
        assert_eq!(without_line_numbers("  9→a\n 10→\n"), Some((9, "a\n\n".to_owned())));
        assert_eq!(without_line_numbers("1\ta\n2\tb"), Some((1, "a\nb\n".to_owned())));
        for text in ["1→a\nb", "1→a\n3→c", "1 apple", ""] {
            assert_eq!(without_line_numbers(text), None, "{text}");
        }
    }
}
