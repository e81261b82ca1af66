//! A text of a row: any text has a tree or a reason why it has none. The tree has no control characters, no hidden
//! characters and no address with another scheme.
//!
//! Input: a byte that selects the kind of text, then the text.

#![no_main]

use agenthub::render::{MAX_NODES, Source, render};
use agenthub::text::safe_text::is_hidden;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Checks every string of a tree and counts its objects.
fn check(value: &Value, name: &str) -> usize {
    match value {
        Value::String(text) => {
            let is_allowed = |c: char| !is_hidden(c) || matches!(c, '\t' | '\n' | '\u{200c}' | '\u{200d}');
            assert!(text.chars().all(is_allowed), "{name}: {text:?}");
            let lower = text.to_lowercase();
            match name {
                "href" => assert!(
                    ["http://", "https://", "mailto:"]
                        .iter()
                        .any(|scheme| lower.starts_with(scheme)),
                    "{text}"
                ),
                "src" => assert!(text.starts_with("data:image/"), "{text}"),
                _ => {}
            }
            0
        }
        Value::Array(items) => items.iter().map(|item| check(item, name)).sum(),
        Value::Object(fields) => 1 + fields.iter().map(|(name, value)| check(value, name)).sum::<usize>(),
        _ => 0,
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((selector, text)) = data.split_first() else {
        return;
    };
    let text = &*String::from_utf8_lossy(text);
    const TOOLS: [&str; 6] = ["Bash", "Edit", "Write", "Read", "apply_patch", "Task"];
    let tool = TOOLS[usize::from(*selector / 4) % TOOLS.len()];
    let source = match selector % 4 {
        0 => Source::Message(text),
        1 => Source::Terminal(text),
        2 => Source::ToolInput { tool, input: text },
        _ => Source::ToolOutput {
            tool,
            input: text,
            output: text,
        },
    };
    let rendered = render(source);
    assert!(rendered.plain.is_none() || rendered.blocks.is_empty());
    let nodes = check(&serde_json::to_value(&rendered).unwrap(), "");
    // An entry of a JSON object is an object besides its value, as are files and hunks besides their lines.
    assert!(nodes < 3 * MAX_NODES, "{nodes} nodes");
});
