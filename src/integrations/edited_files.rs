//! Which files a tool call edits, from its name and its input.

use serde_json::Value;

use super::registry;
use crate::text::lenient_json;

/// The fields in which inputs name the file.
const PATH_FIELDS: [&str; 6] = [
    "file_path",
    "filePath",
    "path",
    "notebook_path",
    "absolute_path",
    "file",
];
/// The lines of a patch that name a file.
const PATCH_LINES: [&str; 4] = [
    "*** Update File: ",
    "*** Add File: ",
    "*** Delete File: ",
    "*** Move to: ",
];
/// Maximum length of a path in bytes.
const MAX_PATH: usize = 4096;

/// Returns whether calls with this name edit files, in any of the tools.
pub fn is_edit(call: &str) -> bool {
    registry::ALL.iter().any(|tool| tool.edit_calls.contains(&call))
}

/// Returns the files that the call with this input edits, each once. Empty if the input names none, or was cut off.
pub fn edited_files(input: &str) -> Vec<String> {
    let mut files = match lenient_json::parse(input.as_bytes()) {
        Some(input) => files_in(&input),
        None => patched_files(input),
    };
    files.retain(|file| !file.is_empty() && file.len() <= MAX_PATH);
    files.sort_unstable();
    files.dedup();
    files
}

fn files_in(input: &Value) -> Vec<String> {
    // One tool has one call for everything that concerns a file.
    if input["command"] == "view" {
        return Vec::new();
    }
    if let Some(path) = PATH_FIELDS.iter().find_map(|&field| input[field].as_str()) {
        return vec![path.to_owned()];
    }
    match input {
        // A list of changes, each with its path, or an object with a key for each path.
        Value::Object(fields) if fields.contains_key("changes") => match &input["changes"] {
            Value::Object(changes) => changes.keys().cloned().collect(),
            Value::Array(changes) => changes.iter().flat_map(files_in).collect(),
            _ => Vec::new(),
        },
        // A patch is a text in one of the fields, or an argument of a command.
        Value::Object(fields) => fields.values().flat_map(files_in_patch).collect(),
        other => files_in_patch(other),
    }
}

fn files_in_patch(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => patched_files(text),
        Value::Array(values) => values
            .iter()
            .filter_map(Value::as_str)
            .flat_map(patched_files)
            .collect(),
        _ => Vec::new(),
    }
}

fn patched_files(patch: &str) -> Vec<String> {
    let file = |line: &str| {
        let file = PATCH_LINES.iter().find_map(|start| line.strip_prefix(start))?;
        Some(file.trim().to_owned())
    };
    patch.lines().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_files_in_the_inputs_of_the_tools() {
        let patch =
            "*** Begin Patch\\n*** Update File: src/a.rs\\n@@\\n-x\\n+y\\n*** Add File: b.txt\\n+z\\n*** End Patch";
        for (input, files) in [
            (
                r#"{"file_path":"/w/a.rs","old_string":"x"}"#.to_owned(),
                vec!["/w/a.rs"],
            ),
            (r#"{"filePath":"/w/a.rs"}"#.to_owned(), vec!["/w/a.rs"]),
            (
                r#"{"changes":[{"path":"b","kind":"add"},{"path":"a"},{"path":"a"}]}"#.to_owned(),
                vec!["a", "b"],
            ),
            (r#"{"changes":{"/w/a":{"add":{}}}}"#.to_owned(), vec!["/w/a"]),
            (format!(r#"{{"input":"{patch}"}}"#), vec!["b.txt", "src/a.rs"]),
            (
                format!(r#"{{"command":["apply_patch","{patch}"]}}"#),
                vec!["b.txt", "src/a.rs"],
            ),
            (patch.replace("\\n", "\n"), vec!["b.txt", "src/a.rs"]),
            (r#"{"file_path":""}"#.to_owned(), vec![]),
            (r#"{"command":"view","path":"/w/a.rs"}"#.to_owned(), vec![]),
            (r#"{"command":"create","path":"/w/a.rs"}"#.to_owned(), vec!["/w/a.rs"]),
            (r#"{"file_path":7}"#.to_owned(), vec![]),
            (r#"{"file_path":"/w/a.rs","old_str"#.to_owned(), vec![]),
            (format!(r#"{{"path":"{}"}}"#, "x".repeat(MAX_PATH + 1)), vec![]),
            ("7".to_owned(), vec![]),
            (String::new(), vec![]),
        ] {
            assert_eq!(edited_files(&input), files, "{input}");
        }
    }

    #[test]
    fn a_call_that_reads_is_no_edit() {
        assert!(is_edit("Edit") && is_edit("apply_patch") && is_edit("write_file"));
        assert!(!is_edit("Read") && !is_edit("Bash") && !is_edit(""));
    }
}
