//! `GET /api/rendered`, and the same trees on a terminal.

use serde_json::{Value, json};

use crate::support::TestHub;
use crate::support::writer;

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

fn rendered(hub: &TestHub, query: &str) -> Value {
    let response = hub.get(&format!("/api/rendered?{query}"));
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

#[test]
fn the_documented_example_is_the_response() {
    let (_, after) = PROTOCOL
        .split_once(
            "returns the texts of rows as trees, which a client shows without interpreting any text:\n\n```json http\n",
        )
        .expect("an example");
    let (example, _) = after.split_once("```").unwrap();
    let documented: Value = serde_json::from_str(example).unwrap();
    let hub = TestHub::start();
    hub.sql(
        "INSERT INTO messages(id, thread_id, from_id, content) VALUES
         ('m1', 't', 'a', 'tests are **green**'), ('m2', 't', 'a', hex(zeroblob(200000)))",
    );
    assert_eq!(rendered(&hub, "kind=message&id=m1&id=m2"), documented);
}

#[test]
fn rows_are_rendered_by_kind_and_column_in_the_order_of_the_request() {
    let hub = TestHub::start();
    hub.sql(
        "INSERT INTO inbox_messages(id, message_id, from_agent, to_inbox, payload) VALUES('i/1', 'msg_1', 'a', 'b', '# mail');
         INSERT INTO messages(id, thread_id, from_id, content) VALUES('a&b', 't', 'a', '{\"a\":1}'), ('c', 't', 'a', '');
         INSERT INTO task_stream(task_id, stream_type, tool_name, call_id, tool_input, tool_output, text, error_msg) VALUES
         ('k', 'tool_use', 'Read', 'c1', '{\"file_path\":\"a.rs\"}', NULL, NULL, NULL),
         ('k', 'tool_result', 'Read', 'c1', NULL, 'fn a() {}', NULL, NULL),
         ('k', 'tool_result', 'Bash', 'c2', '{\"command\":\"ls\"}', 'b', '*t*', 'failed')",
    );
    let types = |query: &str| -> Vec<(String, Vec<(String, String)>)> {
        let of_field =
            |(name, tree): (&String, &Value)| (name.clone(), tree["blocks"][0]["type"].as_str().unwrap().to_owned());
        let response = rendered(&hub, query);
        assert_eq!(response["next"], Value::Null);
        let items = response["items"].as_array().unwrap().iter();
        let of_item = |item: &Value| {
            let fields = item["fields"].as_object().unwrap();
            (
                item["id"].as_str().unwrap().to_owned(),
                fields.iter().map(of_field).collect(),
            )
        };
        items.map(of_item).collect()
    };
    let fields = |fields: &[(&str, &str)]| -> Vec<(String, String)> {
        fields
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned()))
            .collect()
    };
    let item = |id: &str, of: &[(&str, &str)]| (id.to_owned(), fields(of));
    assert_eq!(types("kind=inbox&id=i%2F1"), [item("i/1", &[("payload", "heading")])]);
    assert_eq!(
        types("kind=message&id=c&id=missing&id=a%26b"),
        [item("c", &[]), item("a&b", &[("content", "json")])]
    );
    assert_eq!(
        types("kind=event&id=3&id=2&id=1&id=x"),
        [
            item(
                "3",
                &[
                    ("error_msg", "terminal"),
                    ("text", "paragraph"),
                    ("tool_input", "code"),
                    ("tool_output", "terminal")
                ]
            ),
            item("2", &[("tool_output", "code")]),
            item("1", &[("tool_input", "paragraph")]),
        ]
    );
    // The result of the call is rendered as the file that the call names.
    let file = &rendered(&hub, "kind=event&id=2")["items"][0]["fields"]["tool_output"]["blocks"][0];
    assert_eq!((&file["language"], &file["path"]), (&json!("rust"), &json!("a.rs")));
}

#[test]
fn a_request_names_a_kind_and_at_most_100_ids() {
    let hub = TestHub::start();
    let many = |count: usize| format!("kind=message{}", "&id=x".repeat(count));
    for query in ["", "id=x", "kind=thread&id=x", "kind=message", &many(101)] {
        let response = hub.get(&format!("/api/rendered?{query}"));
        assert_eq!(
            (response.status, response.code().as_str()),
            (400, "INVALID"),
            "{query:.40}"
        );
    }
    assert_eq!(rendered(&hub, &many(100)), json!({"items": [], "next": null}));
}

#[test]
fn a_full_response_names_the_first_row_that_is_left() {
    let hub = TestHub::start();
    hub.sql(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 60)
         INSERT INTO messages(id, thread_id, from_id, content) SELECT 'm' || n, 't', 'a', hex(zeroblob(200000)) || n FROM n",
    );
    let mut left: Vec<String> = (1..=60).map(|n| format!("m{n}")).collect();
    let mut requests = 0;
    while !left.is_empty() {
        let response = rendered(&hub, &format!("kind=message&id={}", left.join("&id=")));
        let items = response["items"].as_array().unwrap();
        assert!(!items.is_empty() && response.to_string().len() < 9 << 20);
        let got: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!(got, left[..got.len()]);
        left.drain(..got.len());
        assert_eq!(response["next"].as_str(), left.first().map(String::as_str));
        requests += 1;
    }
    assert!((2..10).contains(&requests), "{requests} requests");
}

/// A Python program that runs its arguments in a pseudoterminal and prints what they print.
const TERMINAL: &str = "import os, pty, sys\n\
    seen = []\n\
    pid, fd = pty.fork()\n\
    if pid == 0: os.execv(sys.argv[1], sys.argv[1:])\n\
    while True:\n    \
        try: part = os.read(fd, 65536)\n    \
        except OSError: break\n    \
        if not part: break\n    \
        seen.append(part)\n\
    os.waitpid(pid, 0)\n\
    os.write(1, b''.join(seen))\n";

#[test]
fn read_renders_on_a_terminal_and_prints_the_text_elsewhere() {
    let hub = TestHub::start();
    hub.sql(
        "INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('a', 'human',
         '# Plan' || char(10) || char(10) || '**bold** [x](javascript:y) ' || char(27) || ']0;title' || char(7) || char(27) || '[2Jend')",
    );
    let in_a_terminal = |no_color: &str| {
        let mut command = writer::python();
        command
            .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_agenthub"), "read", "1"])
            .env("AGENTHUB_DB", hub.db())
            .env("NO_COLOR", no_color);
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
    };
    let shown = in_a_terminal("");
    assert!(
        shown
            .ends_with("\n\u{1b}[1m# \u{1b}[0m\u{1b}[1mPlan\u{1b}[0m\n\n\u{1b}[1mbold\u{1b}[0m x (javascript:y) end\n"),
        "{shown:?}"
    );
    let shown = in_a_terminal("1");
    assert!(shown.ends_with("\n# Plan\n\nbold x (javascript:y) end\n"), "{shown:?}");
    let piped = String::from_utf8(hub.agenthub(&["read", "1"]).stdout).unwrap();
    assert!(
        piped.ends_with("\n# Plan\n\n**bold** [x](javascript:y) \\u{1b}]0;title\\u{7}\\u{1b}[2Jend\n"),
        "{piped:?}"
    );
}
