//! Runs `PROTOCOL.md`: its SQL goes to the `sqlite3` shell, its client events are sent to a
//! hub, and every frame it shows is compared with the frame the hub sends.

use std::collections::BTreeSet;

use serde_json::{Deserializer, Value};

use crate::support::{Client, TestHub};

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

/// JSON fields whose values differ between runs.
const VOLATILE_FIELDS: [&str; 5] = ["timestamp", "pos", "epoch", "updated_at", "version"];

/// Returns the info string and the body of every fenced code block.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language.to_owned(), body.join("\n")));
        }
    }
    blocks
}

/// Parses a sequence of JSON values.
fn json_values(text: &str) -> Vec<Value> {
    Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|e| panic!("{e} in {text}"))
}

/// Replaces the values of [`VOLATILE_FIELDS`] by null, so that only their presence is compared.
fn without_volatile_values(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields {
                *field = if VOLATILE_FIELDS.contains(&name.as_str()) {
                    Value::Null
                } else {
                    without_volatile_values(field.take())
                };
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| *item = without_volatile_values(item.take())),
        _ => {}
    }
    value
}

/// `PROTOCOL.md` must describe the frames as the hub sends them.
#[test]
fn documented_frames_match_the_frames_the_hub_sends() {
    let mut hub = TestHub::start();
    let mut client: Option<Client> = None;
    let (mut pos, mut compared) = (String::new(), 0);
    for (language, body) in blocks(PROTOCOL) {
        match language.as_str() {
            "http" => {
                let query = body.strip_prefix("GET /ws?").unwrap().replace("$POS", &pos);
                client = Some(hub.connect(&query));
            }
            "sql" => {
                hub.sql(&body);
                if body.contains("DELETE") {
                    // The hub still has the row in memory.
                    hub.stop();
                    hub.launch();
                }
            }
            "json client" => {
                for event in json_values(&body) {
                    client.as_mut().unwrap().send_text(&event.to_string());
                }
            }
            "json server" => {
                // How events are grouped into frames depends on timing, so events are compared one by one.
                let expected = json_values(&body).into_iter().flat_map(|value| match value {
                    Value::Array(events) => events,
                    event => vec![event],
                });
                for expected in expected {
                    let event = client.as_mut().unwrap().next();
                    pos = event.pos.clone().unwrap_or(pos);
                    assert_eq!(
                        without_volatile_values(event.raw),
                        without_volatile_values(expected),
                        "at {body}"
                    );
                    compared += 1;
                }
            }
            // Compared in the tests of their routes.
            "json http" => {}
            other => panic!("unsupported code block: {other:?}"),
        }
    }
    assert!(compared > 15, "only {compared} frames compared");
}

#[test]
fn schema_wire_prints_the_document() {
    let output = TestHub::not_started(&[]).agenthub(&["schema", "--wire"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), PROTOCOL.trim_end());
}

/// A route must not be added or removed without its documentation.
#[test]
fn documented_routes_match_the_route_table() {
    let documented: BTreeSet<String> = PROTOCOL
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['?', '`']).next())
        .filter(|first| first.contains(" /"))
        .map(str::to_owned)
        .collect();
    let is_dashboard_file = |path: &str| path == "/" || path.contains('.');
    let routes: BTreeSet<String> = agenthub::server::routes()
        .filter(|(_, path)| !is_dashboard_file(path))
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    assert_eq!(documented, routes);
}
