//! Names in Unicode: the composed and the decomposed form of a letter are the same name in commands, over HTTP
//! and in tools. Rows that a program has written with SQL keep the form it used.

use serde_json::{Value, json};

use crate::support::TestHub;
use crate::support::command::{command_as, follow, run, run_as, run_json};

/// `é` in one character, and as a letter with an accent.
const COMPOSED: &str = "caf\u{e9}";
const DECOMPOSED: &str = "cafe\u{301}";

/// Asserts that no text column of the tables has the decomposed form.
#[track_caller]
fn assert_composed(hub: &TestHub) {
    let dump = hub.sql(".dump");
    assert!(dump.contains(COMPOSED));
    for line in dump.lines() {
        assert!(!line.contains(DECOMPOSED), "{line}");
    }
}

#[test]
fn commands_compose_names() {
    let hub = TestHub::not_started(&[]);
    run(
        &hub,
        &["post", DECOMPOSED, "one", "--from", DECOMPOSED, "--to", DECOMPOSED],
    );
    run_as(&hub, DECOMPOSED, &["post", COMPOSED, "two"]);
    run(&hub, &["send", DECOMPOSED, "three", "--from", "boss"]);
    run_as(&hub, DECOMPOSED, &["send", "boss", "four"]);
    run(&hub, &["read", "1", "--as", DECOMPOSED]);
    assert_eq!(run_json(&hub, &["threads"])[0]["last_seq"], 2);
    for name in [COMPOSED, DECOMPOSED] {
        let mail = run_json(&hub, &["inbox", name]);
        assert_eq!(
            (mail.as_array().unwrap().len(), &mail[0]["payload"]),
            (1, &json!("three"))
        );
        assert_eq!(run_json(&hub, &["inbox", "boss", "--from", name])[0]["payload"], "four");
        let (_tail, mut lines) = follow(&hub, &["tail", name]);
        assert!(lines.next().unwrap().unwrap().contains("one"));
    }
    assert_eq!(
        hub.sql("SELECT reader, state FROM receipts"),
        format!("{COMPOSED}|seen")
    );
    let asked = command_as(&hub, DECOMPOSED, &["ask", DECOMPOSED, "x", "--wait", "0"])
        .output()
        .unwrap();
    assert_eq!(asked.status.code(), Some(2), "an agent cannot ask itself: {asked:?}");
    hub.agenthub(&["inbox", &format!("{DECOMPOSED}s"), "--wait", "0"]);
    assert_composed(&hub);
}

#[test]
fn http_composes_names() {
    let hub = TestHub::start();
    let path = "/api/threads/cafe%CC%81";
    for (path, body) in [
        (
            &*format!("{path}/messages"),
            json!({"from_id": DECOMPOSED, "to_id": DECOMPOSED, "content": "one"}),
        ),
        (
            "/api/threads",
            json!({"id": format!("{DECOMPOSED}s"), "created_by_id": DECOMPOSED}),
        ),
        (
            "/api/inbox",
            json!({"from_agent": DECOMPOSED, "to_inbox": DECOMPOSED, "payload": "two"}),
        ),
        ("/api/telemetry", json!({"instance_id": "run", "agent_id": DECOMPOSED})),
        (
            "/api/tasks/k/events",
            json!({"stream_type": "text", "agent_id": DECOMPOSED, "text": "x"}),
        ),
    ] {
        let response = hub.send("POST", path, &body.to_string());
        assert!(matches!(response.status, 200 | 201), "{path}: {}", response.body);
    }
    let claim = json!({"owner": DECOMPOSED, "lease_sec": 60}).to_string();
    assert_eq!(
        hub.send("POST", "/api/inbox/1/claim", &claim).json()["claimed_by"],
        COMPOSED
    );
    let read = json!({"status": "read", "reader": DECOMPOSED}).to_string();
    assert_eq!(hub.send("PATCH", "/api/inbox/1", &read).json()["status"], "read");
    assert_eq!(hub.send("PATCH", path, r#"{"title": "t"}"#).json()["id"], COMPOSED);
    assert_eq!(hub.get(path).json()["id"], COMPOSED);
    assert_eq!(hub.get(&format!("{path}/messages")).items()[0]["content"], "one");
    assert_eq!(
        hub.get("/api/inbox?inbox=cafe%CC%81&from=cafe%CC%81").items()[0]["payload"],
        "two"
    );
    assert_composed(&hub);
}

/// A program that writes SQL may use either form. Its rows are found by the form it used.
#[test]
fn rows_of_other_programs_keep_their_names() {
    let hub = TestHub::start();
    hub.sql(&format!(
        "INSERT INTO messages(thread_id, from_id, content) VALUES('{DECOMPOSED}', '{DECOMPOSED}', 'as written');
         INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('{DECOMPOSED}', '{DECOMPOSED}', 'as written');"
    ));
    let path = "/api/threads/cafe%CC%81";
    assert_eq!(hub.get(path).json()["id"], DECOMPOSED);
    assert_eq!(hub.get(&format!("{path}/messages")).items()[0]["from_id"], DECOMPOSED);
    assert_eq!(
        hub.get("/api/inbox?inbox=cafe%CC%81").items()[0]["to_inbox"],
        DECOMPOSED
    );
    assert_eq!(run_json(&hub, &["inbox", DECOMPOSED])[0]["payload"], "as written");
    let (_tail, mut lines) = follow(&hub, &["tail", DECOMPOSED]);
    assert!(lines.next().unwrap().unwrap().contains("as written"));
    let names: Vec<Value> = hub
        .get("/api/agents")
        .items()
        .iter()
        .map(|agent| agent["id"].clone())
        .collect();
    assert_eq!(names, [DECOMPOSED]);
}
