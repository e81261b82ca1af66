//! `PROTOCOL.md` is run: its SQL is given to the `sqlite3` shell, what its client says is
//! sent, and every frame it shows is the frame that comes.

use std::collections::BTreeSet;

use serde_json::{Deserializer, Value};

use crate::support::{Client, TestHub};

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

/// What differs every time, by its name in the JSON.
const CHANGING: [&str; 5] = ["timestamp", "pos", "epoch", "updated_at", "version"];

/// A fenced block: its language, and what is in it.
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

fn values(text: &str) -> Vec<Value> {
    Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|e| panic!("{e} in {text}"))
}

/// The frame without what differs every time: only that it is there is kept.
fn steady(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields {
                *field = if CHANGING.contains(&name.as_str()) {
                    Value::Null
                } else {
                    steady(field.take())
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = steady(item.take())),
        _ => {}
    }
    value
}

/// Without this the documentation and the hub drift apart.
#[test]
fn every_frame_of_the_documentation_is_what_the_hub_sends() {
    let hub = TestHub::start();
    let mut client: Option<Client> = None;
    let (mut pos, mut shown) = (String::new(), 0);
    for (language, body) in blocks(PROTOCOL) {
        match language.as_str() {
            "http" => {
                let query = body.strip_prefix("GET /ws?").unwrap().replace("$POS", &pos);
                client = Some(hub.connect(&query));
            }
            "sql" => {
                hub.sql(&body);
            }
            "json client" => {
                for event in values(&body) {
                    client.as_mut().unwrap().send_text(&event.to_string());
                }
            }
            "json server" => {
                // Several events in one frame, or each in its own: they are compared one by one.
                let expected = values(&body).into_iter().flat_map(|value| match value {
                    Value::Array(events) => events,
                    event => vec![event],
                });
                for expected in expected {
                    let event = client.as_mut().unwrap().next();
                    pos = event.pos.clone().unwrap_or(pos);
                    assert_eq!(steady(event.raw), steady(expected), "at {body}");
                    shown += 1;
                }
            }
            other => panic!("a block nobody runs: {other:?}"),
        }
    }
    assert!(shown > 15, "only {shown} frames are shown");
}

/// Without this `agenthub schema --wire` would print something else than what is tested.
#[test]
fn the_command_prints_it() {
    let output = TestHub::not_started(&[]).agenthub(&["schema", "--wire"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), PROTOCOL.trim_end());
}

/// Without this a route could come or go and nobody outside would know.
#[test]
fn every_route_is_in_the_documentation() {
    let documented: BTreeSet<String> = PROTOCOL
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['?', '`']).next())
        .filter(|first| first.contains(" /"))
        .map(str::to_owned)
        .collect();
    let page = |path: &str| path == "/" || path.contains('.');
    let routes: BTreeSet<String> = agenthub::server::routes()
        .filter(|(_, path)| !page(path))
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    assert_eq!(documented, routes);
}
