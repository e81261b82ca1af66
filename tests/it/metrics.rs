//! Every number of `/metrics` moves with what it counts.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::writer::{LockHolder, insert_messages};
use crate::support::{TestHub, within};

/// All samples by name and labels.
fn samples(hub: &TestHub) -> BTreeMap<String, f64> {
    let page = hub.get("/metrics").body;
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.strip_prefix("agenthub_").unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Waits until a number is what it should be.
#[track_caller]
fn shows(hub: &TestHub, name: &str, is: impl Fn(f64) -> bool) {
    within(name, || {
        is(samples(hub).get(name).copied().unwrap_or(0.0)).then_some(())
    });
}

/// Without it a graph would be a flat line while everything burns.
#[test]
fn every_number_moves_with_what_it_counts() {
    let hub = TestHub::start();
    let before = samples(&hub);
    let grown = |name: &str| {
        let before = before.get(name).copied().unwrap_or(0.0);
        shows(&hub, name, |now| now > before);
    };
    let mut client = hub.connect("streams=messages");
    client.expect("hello");
    for i in 0..20 {
        hub.sql(&insert_messages("t", 1 + i * 20, 20));
    }
    client.messages_until(400);
    for name in ["file_bytes", "wal_bytes", "commit_to_send_seconds_count", "wal_frames"] {
        grown(name);
    }
    // Which of the looks after a commit finds it is a matter of luck: on a busy machine hardly
    // ever the first.
    let wakes = |part: &str| -> f64 {
        let now = samples(&hub);
        let such = now
            .iter()
            .filter(|(name, _)| name.starts_with("wakes_total{") && name.contains(part));
        such.map(|(_, count)| count).sum()
    };
    assert!(wakes("result=\"hit\"") >= 1.0 && wakes("source=\"event\"") >= 1.0);
    within("a wake by the hub's own write", || {
        hub.send("POST", "/api/threads/t/messages", r#"{"content":"x"}"#);
        (wakes("source=\"own\"") >= 1.0).then_some(())
    });
    grown("wakes_total{source=\"timer\",result=\"empty\"}");
    // What cannot be read.
    hub.sql(
        "INSERT INTO telemetry(instance_id, model) VALUES('i', CAST(x'ff' AS TEXT));
         INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', CAST(x'ff' AS TEXT));",
    );
    grown("rows_rejected_total{table=\"telemetry\"}");
    grown("rows_degraded_total");
    // Who is not let in, by reason.
    crate::support::http::request(hub.port(), "GET", "/", &[("Host", "evil.test")], "");
    crate::support::http::request(
        hub.port(),
        "GET",
        "/api/status",
        &[("Host", format!("127.0.0.1:{}", hub.port()))],
        "",
    );
    grown("refused_total{reason=\"FORBIDDEN\"}");
    grown("refused_total{reason=\"UNAUTHORIZED\"}");
    // Why clients go.
    let mut large = hub.connect("");
    large.send("subscribe", &json!({"thread_id": "x".repeat(20_000)}));
    assert_eq!(large.expect_close(), 1009);
    grown("disconnects_total{code=\"1009\"}");
    // A lock that is held while the hub wants to write; and the end of it.
    let holder = LockHolder::take(hub.db(), "BEGIN IMMEDIATE");
    within("a write that fails", || {
        let answer = hub.send("POST", "/api/threads/t/messages", r#"{"content":"x"}"#);
        (answer.status == 503).then_some(())
    });
    assert_eq!(samples(&hub)["store_ready"].to_bits(), 0.0_f64.to_bits());
    holder.release();
    grown("recoveries_total");
    shows(&hub, "store_ready", |ready| ready > 0.5);
    // Another file in its place.
    let copy = hub.folder().join("copy.db");
    assert!(hub.agenthub(&["backup", copy.to_str().unwrap()]).status.success());
    std::fs::rename(&copy, hub.db()).unwrap();
    grown("replacements_total");
    assert_eq!(client.expect_close(), 4010);
    grown("disconnects_total{code=\"4010\"}");
}
