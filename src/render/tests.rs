//! Expected trees, hostile texts, and limits.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::text::safe_text::is_hidden;

/// Renders a text without a limit of time, so that the result is the same on every machine.
fn tree(source: Source<'_>) -> Value {
    serde_json::to_value(render_within(source, Duration::MAX)).unwrap()
}

/// Returns the blocks of a message.
fn blocks(text: &str) -> Value {
    let tree = tree(Source::Message(text));
    assert_eq!(tree.get("plain"), None, "{text:.80}");
    tree["blocks"].clone()
}

/// Returns the parts of the first paragraph of a message.
fn inlines(text: &str) -> Value {
    blocks(text)[0]["children"].clone()
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn paragraph(words: &str) -> Value {
    json!({"type": "paragraph", "children": [text(words)]})
}

/// Calls `visit` with each string of a tree, and the name of its field.
fn visit_strings(value: &Value, name: &str, visit: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(name, text),
        Value::Array(items) => items.iter().for_each(|item| visit_strings(item, name, visit)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| visit_strings(value, name, visit)),
        _ => {}
    }
}

/// Returns the texts of a tree, one after the other.
fn shown_text(tree: &Value) -> String {
    let mut shown = String::new();
    visit_strings(tree, "", &mut |name, text| {
        if ["text", "alt", "key", "heading"].contains(&name) {
            shown.push_str(text);
        }
    });
    shown
}

/// Checks what holds for every tree: allowed addresses, no control or hidden characters.
fn assert_safe(tree: &Value) {
    visit_strings(tree, "", &mut |name, text| {
        let is_control = |c: char| c.is_control() && c != '\t' && c != '\n';
        assert!(!text.contains(is_control), "{name}: {text:?}");
        let is_hidden = |c: char| is_hidden(c) && !matches!(c, '\t' | '\n' | '\u{200c}' | '\u{200d}');
        assert!(!text.contains(is_hidden), "{name}: {text:?}");
        let lower = text.to_lowercase();
        match name {
            "href" => assert!(
                ["http://", "https://", "mailto:"]
                    .iter()
                    .any(|scheme| lower.starts_with(scheme))
                    && !text.contains(char::is_whitespace),
                "{text}"
            ),
            "src" => assert!(
                ["png", "jpeg", "gif", "webp"]
                    .iter()
                    .any(|kind| text.starts_with(&format!("data:image/{kind};base64,"))),
                "{text}"
            ),
            _ => {}
        }
    });
}

#[test]
fn markdown_blocks() {
    assert_eq!(
        blocks("# One *two*\n\nthree\nfour\n\n---\n\n> five\n>\n> > six"),
        json!([
            {"type": "heading", "level": 1, "children": [text("One "), {"type": "emphasis", "children": [text("two")]}]},
            {"type": "paragraph", "children": [text("three"), {"type": "break"}, text("four")]},
            {"type": "rule"},
            {"type": "quote", "blocks": [paragraph("five"), {"type": "quote", "blocks": [paragraph("six")]}]},
        ])
    );
}

#[test]
fn markdown_lists_and_tasks() {
    assert_eq!(
        blocks("3. a\n4. b\n   - [x] c\n   - [ ] d"),
        json!([{"type": "list", "ordered": true, "start": 3, "items": [
            {"blocks": [paragraph("a")]},
            {"blocks": [paragraph("b"), {"type": "list", "ordered": false, "start": 1, "items": [
                {"checked": true, "blocks": [paragraph("c")]},
                {"checked": false, "blocks": [paragraph("d")]},
            ]}]},
        ]}])
    );
    // Items that are paragraphs.
    assert_eq!(
        blocks("- [x] a\n\n- b")[0]["items"],
        json!([{"checked": true, "blocks": [paragraph("a")]}, {"blocks": [paragraph("b")]}])
    );
}

#[test]
fn markdown_tables() {
    assert_eq!(
        blocks("|a|b|c|\n|:-|:-:|-:|\n|`1`|**2**|\\||"),
        json!([{"type": "table", "alignments": ["left", "center", "right"], "rows": [
            [[text("a")], [text("b")], [text("c")]],
            [[{"type": "code", "text": "1"}], [{"type": "strong", "children": [text("2")]}], [text("|")]],
        ]}])
    );
}

#[test]
fn markdown_code_has_token_classes() {
    assert_eq!(
        blocks("```rust\nfn main() {}\n// done\n```\n\n    plain\n"),
        json!([
            {"type": "code", "language": "rust", "lines": [
                [{"class": "keyword", "text": "fn"}, {"text": " "}, {"class": "function", "text": "main"}, {"text": "() {}"}],
                [{"class": "comment", "text": "// done"}],
            ]},
            {"type": "code", "language": "", "lines": [[{"text": "plain"}]]},
        ])
    );
    assert_eq!(
        blocks("~~~diff\n+a\n-b\n c\n~~~")[0]["lines"],
        json!([[{"class": "inserted", "text": "+a"}], [{"class": "deleted", "text": "-b"}], [{"text": " c"}]])
    );
    assert_eq!(
        blocks("```\n\u{1b}[31mred\u{1b}[0m\n```"),
        json!([{"type": "terminal", "lines": [[{"text": "red", "color": "red"}]]}])
    );
}

#[test]
fn markdown_links_show_what_they_lead_to() {
    let link = |href: &str, shown: &str| json!({"type": "link", "href": href, "children": [text(shown)]});
    assert_eq!(
        inlines("[a](https://b.test/c \"title\")"),
        json!([link("https://b.test/c", "a")])
    );
    assert_eq!(
        inlines("see https://b.test/a_b_c(d). <me@b.test>"),
        json!([
            text("see "),
            link("https://b.test/a_b_c(d)", "https://b.test/a_b_c(d)"),
            text(". "),
            link("mailto:me@b.test", "me@b.test")
        ])
    );
    assert_eq!(inlines("[a](./README.md)"), json!([text("a (./README.md)")]));
    assert_eq!(
        inlines("[a **b**](#c)"),
        json!([text("a "), {"type": "strong", "children": [text("b")]}, text(" (#c)")])
    );
    assert_eq!(
        inlines("[https://a.test](https://b.test)"),
        json!([link("https://b.test", "https://a.test")])
    );
    // Images are only shown if the text has their data.
    assert_eq!(
        inlines("![a](https://b.test/c.png)"),
        json!([link("https://b.test/c.png", "a")])
    );
    assert_eq!(
        inlines("[![a](https://b.test/c.png)](https://d.test)"),
        json!([link("https://d.test", "a")])
    );
    let data = "data:image/png;base64,iVBORw0KGgo=";
    assert_eq!(
        inlines(&format!("![a]({data})")),
        json!([{"type": "image", "src": data, "alt": "a"}])
    );
    assert_eq!(
        inlines("![a](data:image/svg+xml;base64,PHN2Zz4=)"),
        json!([text("a (data:image/svg+xml;base64,PHN2Zz4=)")])
    );
}

#[test]
fn html_stays_text() {
    assert_eq!(
        blocks("<b onclick=x>a</b> &lt;i&gt;\n\n<script>\nalert(1)\n</script>\n"),
        json!([
            paragraph("<b onclick=x>a</b> <i>"),
            {"type": "paragraph", "children": [text("<script>"), {"type": "break"}, text("alert(1)"), {"type": "break"}, text("</script>")]},
        ])
    );
}

#[test]
fn json_keeps_order_digits_and_repeated_keys() {
    let number = |digits: &str| json!({"type": "number", "text": digits});
    assert_eq!(
        blocks(" {\"b\":12345678901234567890123,\"a\":[true,\"<b>\\n\\ud83d\"],\"b\":1e400} "),
        json!([{"type": "json", "value": {"type": "object", "entries": [
            {"key": "b", "value": number("12345678901234567890123")},
            {"key": "a", "value": {"type": "array", "items": [
                {"type": "literal", "text": "true"}, {"type": "string", "text": "<b>\n\u{fffd}"},
            ]}},
            {"key": "b", "value": number("1e400")},
        ]}}])
    );
    for other in ["[a](https://b.test)", "{not json}", "\"text\"", "12", "[1] and more"] {
        assert_ne!(blocks(other)[0]["type"], "json", "{other}");
    }
    // What is nested too deeply is text.
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let tree = blocks(&deep);
    assert_eq!(tree[0]["type"], "json");
    assert!(shown_text(&tree).contains("[[1]]"), "{tree}");
}

#[test]
fn unified_diffs_have_line_numbers() {
    let diff = "diff --git a/src/a.rs b/src/b.rs\nsimilarity index 90%\nindex 1..2 100644\n--- a/src/a.rs\n+++ b/src/b.rs\n\
        @@ -9,3 +9,3 @@ fn main() {\n same\n--- old\n+++ new\n last\n\\ No newline at end of file\n\
        diff --git a/new b/new\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+one\n";
    let note = json!({"kind": "note", "text": "No newline at end of file"});
    assert_eq!(
        blocks(diff),
        json!([{"type": "diff", "files": [
            {"old_path": "src/a.rs", "new_path": "src/b.rs", "notes": ["similarity index 90%"], "hunks": [
                {"heading": "fn main() {", "lines": [
                    {"kind": "context", "old": 9, "new": 9, "text": "same"},
                    {"kind": "removed", "old": 10, "text": "-- old"},
                    {"kind": "added", "new": 10, "text": "++ new"},
                    {"kind": "context", "old": 11, "new": 11, "text": "last"},
                    note,
                ]},
            ]},
            {"old_path": "", "new_path": "new", "hunks": [{"lines": [{"kind": "added", "new": 1, "text": "one"}]}]},
        ]}])
    );
    let plain = "--- a.txt\t2026-01-01\n+++ a.txt\t2026-01-02\n@@ -1 +1 @@\n-a\n+b\n";
    assert_eq!(blocks(plain)[0]["files"][0]["old_path"], "a.txt");
    assert_eq!(blocks(&format!("Look:\n\n```diff\n{plain}```"))[1]["type"], "diff");
    // A list is no diff.
    assert_eq!(blocks("--- a\n- b")[0]["type"], "paragraph");
}

#[test]
fn patches_have_files_and_lines() {
    let patch = "*** Begin Patch\n*** Update File: a.rs\n@@ fn main\n same\n-old\n+new\n*** Add File: b.rs\n+one\n*** Delete File: c.rs\n*** End Patch\n";
    let input = json!({"input": patch}).to_string();
    let line = |kind: &str, text: &str| json!({"kind": kind, "text": text});
    let expected = json!([{"type": "diff", "files": [
        {"old_path": "a.rs", "new_path": "a.rs", "hunks": [
            {"heading": "fn main", "lines": [line("context", "same"), line("removed", "old"), line("added", "new")]},
        ]},
        {"old_path": "", "new_path": "b.rs", "hunks": [{"lines": [line("added", "one")]}]},
        {"old_path": "c.rs", "new_path": "", "hunks": []},
    ]}]);
    assert_eq!(blocks(patch), expected);
    for input in [input.as_str(), patch] {
        let tree = tree(Source::ToolInput {
            tool: "apply_patch",
            input,
        });
        assert_eq!(tree["blocks"], expected);
    }
}

#[test]
fn terminal_output_has_styles_and_no_escapes() {
    let lines = |text: &str| tree(Source::Terminal(text))["blocks"][0]["lines"].clone();
    assert_eq!(
        lines(
            "a\u{1b}[1;31mb\u{1b}[0m\r\n\u{1b}[38;5;9mc\u{1b}[38;5;196md\u{1b}[48;2;1;2;3me\u{1b}[38:2::4:5:6mf\u{1b}[mg\n"
        ),
        json!([
            [{"text": "a"}, {"text": "b", "color": "red", "styles": ["bold"]}],
            [
                {"text": "c", "color": "bright_red"}, {"text": "d", "color": "#ff0000"},
                {"text": "e", "color": "#ff0000", "background": "#010203"},
                {"text": "f", "color": "#040506", "background": "#010203"}, {"text": "g"},
            ],
        ])
    );
    assert_eq!(
        lines("\u{1b}[2;3;4;7;9mx\u{1b}[22;23;24;27;29my"),
        json!([[{"text": "x", "styles": ["dim", "italic", "underline", "strike", "inverse"]}, {"text": "y"}]])
    );
    for (printed, shown) in [
        ("10%\r20%\r100%", "100%"),
        ("downloading\r\u{1b}[Kdone", "done"),
        ("\u{1b}[2K\rab\u{8}c", "ac"),
        ("a\tb", "a       b"),
        ("\u{1b}]8;;https://evil.test\u{1b}\\link\u{1b}]8;;\u{7}", "link"),
        ("\u{1b}]0;title\u{7}x\u{1b}[2J\u{1b}[1;1Hy\u{1b}c", "xy"),
        ("\u{1b}[8mhidden\u{1b}[28m", "hidden"),
        ("\u{202e}x", "⟨202e⟩x"),
    ] {
        assert_eq!(lines(printed), json!([[{"text": shown}]]), "{printed:?}");
    }
    // A sequence without an end does not hide the following lines.
    assert_eq!(lines("\u{1b}]0;a\nb"), json!([[], [{"text": "b"}]]));
}

/// Returns all strings of a tree one after the other.
fn text_of(tree: &Value) -> String {
    match tree {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text_of).collect(),
        Value::Object(fields) => {
            let is_text = |name: &&String| !["type", "class", "language"].contains(&name.as_str());
            fields
                .keys()
                .filter(is_text)
                .map(|name| text_of(&fields[name]))
                .collect()
        }
        _ => String::new(),
    }
}

#[test]
fn a_message_that_begins_like_a_diff_keeps_its_text() {
    for text in [
        "*** Begin Patch notes for the release\nthe second line",
        "*** Begin Patch\nwords\n*** words too\nindex of words",
        "diff --git words\nindex of words\n*** words too",
    ] {
        let shown = text_of(&tree(Source::Message(text))["blocks"]);
        for word in text
            .split_whitespace()
            .filter(|word| word.starts_with(char::is_alphabetic))
        {
            let is_marker = ["Begin", "Patch", "diff"].contains(&word);
            assert!(is_marker || shown.contains(word), "{word} of {text:?} in {shown:?}");
        }
    }
}

#[test]
fn each_tool_has_its_form() {
    let input = |tool: &str, input: &Value| {
        tree(Source::ToolInput {
            tool,
            input: &input.to_string(),
        })["blocks"]
            .clone()
    };
    let output =
        |tool: &str, input: &str, output: &str| tree(Source::ToolOutput { tool, input, output })["blocks"].clone();
    let command = json!([{"type": "code", "language": "bash", "lines": [[{"class": "function", "text": "echo"}, {"text": " hi"}]]}]);
    assert_eq!(input("Bash", &json!({"command": "echo hi"})), command);
    assert_eq!(
        input("shell", &json!({"command": ["/bin/bash", "-lc", "echo hi"]})),
        command
    );
    // Nothing that changes what runs is hidden.
    for (fields, texts) in [
        (
            json!({"command": "ls", "cwd": "/etc", "timeout": 5}),
            vec!["cwd /etc · timeout 5", "ls"],
        ),
        (json!({"command": ["sudo", "-c", "rm x"]}), vec!["sudo -c 'rm x'"]),
        (json!({"command": ["rm", "a b", ""]}), vec!["rm 'a b' ''"]),
        (json!({"command": "ls", "cmd": "rm x"}), vec!["cmd rm x", "ls"]),
        (json!({"command": "ls", "env": {"A": "b"}}), vec!["env", "A", "b", "ls"]),
        (json!({"command": ["ls", 5]}), vec!["command", "ls", "5"]),
    ] {
        let shown = text_of(&input("shell", &fields));
        let mut rest = shown.as_str();
        for text in texts {
            let at = rest.find(text).unwrap_or_else(|| panic!("{text} in {shown}"));
            rest = &rest[at + text.len()..];
        }
    }
    let write = json!({"path": "b.py", "content": "x", "mode": "append"});
    assert!(text_of(&input("write_file", &write)).contains("mode append"));
    let line = |kind: &str, text: &str| json!({"kind": kind, "text": text});
    let edit = json!({"file_path": "a.rs", "old_string": "one\ntwo", "new_string": "one\n2"});
    let diff = json!([{"type": "diff", "files": [{"old_path": "a.rs", "new_path": "a.rs", "hunks": [
        {"lines": [line("context", "one"), line("removed", "two"), line("added", "2")]},
    ]}]}]);
    assert_eq!(input("Edit", &edit), diff);
    assert_eq!(input("MultiEdit", &json!({"file_path": "a.rs", "edits": [edit]})), diff);
    let change = json!({"old": "one\ntwo", "new": "one\n2"});
    assert_eq!(input("StrReplaceFile", &json!({"path": "a.rs", "edit": change})), diff);
    assert_eq!(
        input("write_file", &json!({"path": "b.py", "content": "x = 1\n"}))[0],
        json!({"type": "code", "language": "python", "path": "b.py", "lines": [
            [{"text": "x "}, {"class": "operator", "text": "="}, {"text": " "}, {"class": "number", "text": "1"}],
        ]})
    );
    assert_eq!(
        output("Read", "{\"file_path\":\"/c/d.rs\"}", "     7→let x;\n     8→\n")[0],
        json!({"type": "code", "language": "rust", "path": "/c/d.rs", "first_line": 7, "lines": [
            [{"class": "keyword", "text": "let"}, {"text": " x;"}], [],
        ]})
    );
    assert_eq!(output("Read", "", "x")[0]["type"], "code");
    assert_eq!(
        output("Bash", "", "\u{1b}[32mok\u{1b}[0m")[0]["lines"][0][0]["color"],
        "green"
    );
    assert_eq!(output("Task", "", "# Done")[0]["type"], "heading");
    assert_eq!(output("mcp__x__y", "", "{\"a\":1}")[0]["type"], "json");
    assert_eq!(output("Grep", "", "# not a heading")[0]["type"], "terminal");
    assert_eq!(input("mcp__x__y", &json!({"a": 1}))[0]["type"], "json");
    assert_eq!(
        input("Read", &json!({"file_path": "/c/d.rs", "limit": 5, "offset": 7})),
        json!([{"type": "paragraph", "children": [
            {"type": "code", "text": "/c/d.rs"}, text(" · limit 5 · offset 7"),
        ]}])
    );
    let address = "https://docs.test/a";
    assert_eq!(
        input("WebFetch", &json!({"url": address, "prompt": "- why"})),
        json!([
            {"type": "paragraph", "children": [{"type": "link", "href": address, "children": [text(address)]}]},
            {"type": "list", "ordered": false, "start": 1, "items": [
                {"blocks": [{"type": "paragraph", "children": [text("why")]}]},
            ]},
        ])
    );
    assert_eq!(
        input("WebFetch", &json!({"url": "javascript:x"})),
        json!([{"type": "paragraph", "children": [text("javascript:x")]}])
    );
    assert_eq!(
        input("Task", &json!({"description": "Look", "subagent_type": "reviewer"})),
        json!([{"type": "paragraph", "children": [
            {"type": "strong", "children": [text("Look")]}, text(" · subagent_type reviewer"),
        ]}])
    );
    assert_eq!(
        input("Task", &json!({"prompt": "a", "files": ["b"]}))[0]["type"],
        "json"
    );
    // Fields that are missing, of another type, or no JSON at all.
    for tool in ["Bash", "Edit", "Write", "Read", "apply_patch", "Task", "x"] {
        for given in [
            json!({}),
            json!({"command": 1, "old_string": [], "content": null}),
            json!("text"),
            json!(null),
        ] {
            assert_eq!(input(tool, &given).as_array().unwrap().len(), 1, "{tool} {given}");
        }
    }
}

#[test]
fn hidden_characters_are_marked_except_in_emoji_and_joining_scripts() {
    let family = "👩\u{200d}👩\u{200d}👧 می\u{200c}خواهم";
    assert_eq!(inlines(family), json!([text(family)]));
    assert_eq!(
        inlines("a\u{200d}b \u{202e}c\u{200b}"),
        json!([text("a⟨200d⟩b ⟨202e⟩c⟨200b⟩")])
    );
    assert_eq!(inlines("a\u{1b}[31mb\u{1b}[0m"), json!([text("ab")]));
    assert_eq!(inlines("`\u{2066}x`"), json!([{"type": "code", "text": "⟨2066⟩x"}]));
}

/// Addresses that run code or load something, in forms that a careless check accepts.
const UNSAFE_ADDRESSES: &[&str] = &[
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](java\tscript:alert(1))",
    "[a](javascript&colon;alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](\\javascript:alert(1))",
    "[a]( javascript:alert(1))",
    "[a](<java\u{0}script:alert(1)>)",
    "[a](\u{1}javascript:alert(1))",
    "[a](vbscript:x)",
    "[a](data:text/html,<script>alert(1)</script>)",
    "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "[a](//evil.test)",
    "[a](file:///etc/passwd)",
    "[a](blob:x)",
    "<javascript:alert(1)>",
    "[a][b]\n\n[b]: javascript:alert(1)",
    "![a](javascript:alert(1))",
    "![a](data:image/svg+xml,<svg onload=alert(1)>)",
    "![a](data:image/png,<script>)",
    "![a](data:image/png;base64,x\" onerror=\"alert(1))",
];

/// Other texts that a renderer or a browser may take for markup.
const HOSTILE: &[&str] = &[
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "```\"><script>alert(1)</script>\nx\n```",
    "|<img src=x onerror=alert(1)>|\n|-|\n|[a](javascript:x)|",
    "{\"<img src=x onerror=alert(1)>\":\"</script>\"}",
    "diff --git a/<img src=x> b/<script>\n--- a/<img src=x onerror=y>\n+++ b/x\n@@ -1 +1 @@ <b>\n-<i>\n+\u{1b}]8;;javascript:x\u{7}y",
    "\u{1b}]8;;javascript:alert(1)\u{1b}\\x\u{1b}]8;;\u{1b}\\",
    "https://a.test/\u{202e}moc.elgoog",
    "[a](https://a.test/\u{200b}x)",
    "https://a.test\" onmouseover=\"x",
];

#[test]
fn hostile_texts_have_safe_trees() {
    for hostile in HOSTILE.iter().chain(UNSAFE_ADDRESSES) {
        let sources = [
            Source::Message(hostile),
            Source::Terminal(hostile),
            Source::ToolInput {
                tool: "Write",
                input: hostile,
            },
            Source::ToolOutput {
                tool: "Task",
                input: hostile,
                output: hostile,
            },
            Source::ToolOutput {
                tool: "Read",
                input: hostile,
                output: hostile,
            },
        ];
        for source in sources {
            assert_safe(&tree(source));
        }
    }
    for hostile in UNSAFE_ADDRESSES {
        let tree = tree(Source::Message(hostile)).to_string();
        assert!(
            !tree.contains("\"href\"") && !tree.contains("\"src\""),
            "{hostile}: {tree}"
        );
    }
}

#[test]
fn texts_over_a_limit_have_a_reason() {
    let plain = |text: &str| tree(Source::Message(text));
    assert_eq!(
        plain(&"a".repeat(MAX_BYTES + 1)),
        json!({"blocks": [], "plain": "too_long"})
    );
    assert_eq!(
        plain(&"a\n\n".repeat(MAX_NODES)),
        json!({"blocks": [], "plain": "too_long"})
    );
    assert_eq!(plain(&"a ".repeat(MAX_BYTES / 2)).get("plain"), None);
    let slow = render_within(Source::Message(&"a\n\n".repeat(1000)), Duration::ZERO);
    assert_eq!(slow, Rendered::plain(PlainReason::TooSlow));
    // A file with too many tokens has no classes, but lines.
    let many = "+".repeat(20) + &" a + b".repeat(20_000);
    let output = tree(Source::ToolOutput {
        tool: "Read",
        input: "{\"path\":\"a.rs\"}",
        output: &many,
    });
    assert_eq!(output["blocks"][0]["lines"], json!([[{"text": many}]]));
}

#[test]
fn deep_nesting_keeps_the_text_and_limits_the_tree() {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    for text in [
        format!("{}end", ">".repeat(500)),
        format!("{}end", "- ".repeat(500)),
        (0..40)
            .map(|i| format!("{}- {i}\n", "  ".repeat(i)))
            .collect::<String>()
            + &"  ".repeat(40)
            + "end",
        format!("{}end{}", "*a ".repeat(200), "*".repeat(200)),
    ] {
        let tree = tree(Source::Message(&text));
        assert!(shown_text(&tree).contains("end"), "{text:.40}");
        assert!(depth(&tree) < 120, "{}", depth(&tree));
    }
}

#[test]
fn items_that_are_nested_too_deeply_stay_apart() {
    let list: String = (0..30).map(|i| format!("{}- item{i}\n", "  ".repeat(i))).collect();
    let tree = tree(Source::Message(&list)).to_string();
    for i in 0..30 {
        let neighbours = format!("item{i}item{}", i + 1);
        assert!(
            tree.contains(&format!("item{i}")) && !tree.contains(&neighbours),
            "{tree}"
        );
    }
}

/// The texts that are known to make Markdown parsers slow. The clock of the budget is only looked at between nodes,
/// so each step must be fast by itself.
#[test]
fn repeated_markup_takes_linear_time() {
    // Other tests run at the same time.
    let used = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    for piece in [
        "*",
        "**a",
        "_",
        "[",
        "](",
        "![",
        "[a](",
        ">",
        "> ",
        "`",
        "`a",
        "```\n",
        "~~",
        "- ",
        "1. ",
        "|",
        "|\n|-",
        "<",
        "<!--",
        "</",
        "&",
        "\\",
        "#",
        "a**b",
        "[^a]:",
        "\t",
        "{\"a\":",
        "[[",
        "\u{1b}[",
        "\u{1b}]",
        "\r",
        "@@ ",
        "https://",
        "http://a",
        "a\u{200d}",
    ] {
        let text = piece.repeat(MAX_BYTES / piece.len());
        for source in [
            Source::Message(&text),
            Source::Terminal(&text),
            Source::ToolOutput {
                tool: "Read",
                input: "{\"path\":\"a.js\"}",
                output: &text,
            },
        ] {
            let begun = used();
            let tree = render(source);
            // Without optimization; a quadratic step takes minutes.
            assert!(
                used() - begun < 3.0,
                "{piece:?}: {} s, {:?}",
                used() - begun,
                tree.plain
            );
        }
    }
}

/// Pieces of markup in any order reach more states than random characters.
fn markup() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "# ",
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "> ",
        "* ",
        "**",
        "_",
        "~~",
        "`",
        "```",
        "```rust\n",
        "|",
        "|-|",
        "[",
        "](",
        ")",
        "![",
        "<b>",
        "</b>",
        "&lt;",
        "\\",
        "http://a.test",
        "javascript:",
        "{\"a\":",
        "}",
        "\u{1b}[31m",
        "\u{1b}]8;;x",
        "\u{7}",
        "\u{8}",
        "\r",
        "\t",
        "\u{202e}",
        "\u{200d}",
        "👩",
        "é",
        "@@ -1 +1 @@\n",
        "--- a\n+++ b\n",
        "+x\n",
        "*** Begin Patch\n",
        "*** Add File: a\n",
        "[x] ",
        "    ",
        "a",
        "0",
    ]);
    prop_oneof![
        prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat()),
        "\\PC*",
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn any_text_has_a_safe_tree(text in markup(), other in markup()) {
        for tool in ["Bash", "Edit", "Write", "Read", "apply_patch", "Task", "x"] {
            assert_safe(&tree(Source::ToolInput { tool, input: &text }));
            let edit = json!({"old_string": text, "new_string": other, "content": text, "path": other}).to_string();
            assert_safe(&tree(Source::ToolInput { tool, input: &edit }));
            assert_safe(&tree(Source::ToolOutput { tool, input: &edit, output: &text }));
        }
        assert_safe(&tree(Source::Message(&text)));
        assert_safe(&tree(Source::Terminal(&text)));
        let lines = format!("--- a\n+++ b\n@@ -1 +1 @@\n{text}");
        assert_safe(&tree(Source::Message(&lines)));
    }

    #[test]
    fn words_are_neither_lost_nor_reordered(words in prop::collection::vec("[a-z]{3,8}", 1..30), marks in markup()) {
        // Definitions of links, tags of HTML and addresses are not shown as text.
        prop_assume!(!marks.contains(['[', '\u{1b}', '<', '\r', '\u{8}']) && !marks.contains(":") && !marks.contains("```"));
        let text = words.join(&format!(" {marks} "));
        let tree = tree(Source::Message(&text));
        prop_assume!(tree["blocks"][0]["type"] != "diff" && tree["blocks"][0]["type"] != "json");
        let shown = shown_text(&tree);
        let mut rest = shown.as_str();
        for word in &words {
            let found = rest.find(word.as_str());
            prop_assert!(found.is_some(), "{word} is missing in {shown:?} of {text:?}");
            rest = &rest[found.unwrap_or(0) + word.len()..];
        }
    }
}
