//! `/metrics`: every metric changes with what it measures.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::writer::{LockHolder, insert_messages};
use crate::support::{TestHub, wait_for};

/// Returns all samples by name and labels.
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

/// Waits until the value of a metric fulfils a condition.
#[track_caller]
fn wait_for_value(hub: &TestHub, name: &str, is: impl Fn(f64) -> bool) {
    wait_for(name, || {
        is(samples(hub).get(name).copied().unwrap_or(0.0)).then_some(())
    });
}

#[test]
fn every_metric_changes_with_what_it_measures() {
    let hub = TestHub::start();
    let before = samples(&hub);
    let wait_for_increase = |name: &str| {
        let before = before.get(name).copied().unwrap_or(0.0);
        wait_for_value(&hub, name, |now| now > before);
    };
    let mut client = hub.connect("streams=messages");
    client.expect("hello");
    for i in 0..20 {
        hub.sql(&insert_messages("t", 1 + i * 20, 20));
    }
    client.messages_until(400);
    for name in ["file_bytes", "wal_bytes", "commit_to_send_seconds_count", "wal_frames"] {
        wait_for_increase(name);
    }
    // Which read after a commit finds the row depends on timing: on a busy machine rarely the first.
    let wakes = |part: &str| -> f64 {
        let now = samples(&hub);
        let such = now
            .iter()
            .filter(|(name, _)| name.starts_with("wakes_total{") && name.contains(part));
        such.map(|(_, count)| count).sum()
    };
    assert!(wakes("result=\"hit\"") >= 1.0 && wakes("source=\"event\"") >= 1.0);
    wait_for("a wake by the hub's own write", || {
        hub.send(
            "POST",
            "/api/threads/t/messages",
            r#"{"from_id":"tester","content":"x"}"#,
        );
        (wakes("source=\"own\"") >= 1.0).then_some(())
    });
    wait_for_increase("wakes_total{source=\"timer\",result=\"empty\"}");
    // Rows with invalid values.
    hub.sql(
        "INSERT INTO telemetry(instance_id, model) VALUES('i', CAST(x'ff' AS TEXT));
         INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', CAST(x'ff' AS TEXT));",
    );
    wait_for_increase("rows_rejected_total{table=\"telemetry\"}");
    wait_for_increase("rows_degraded_total");
    // Refused requests, by reason.
    crate::support::http::request(hub.port(), "GET", "/", &[("Host", "evil.test")], "");
    crate::support::http::request(
        hub.port(),
        "GET",
        "/api/status",
        &[("Host", format!("127.0.0.1:{}", hub.port()))],
        "",
    );
    wait_for_increase("refused_total{reason=\"FORBIDDEN\"}");
    wait_for_increase("refused_total{reason=\"UNAUTHORIZED\"}");
    // Closed connections, by close code.
    let mut large = hub.connect("");
    large.send("subscribe", &json!({"thread_id": "x".repeat(20_000)}));
    assert_eq!(large.expect_close(), 1009);
    wait_for_increase("disconnects_total{code=\"1009\"}");
    // Another process holds the write lock while the hub writes, then releases it.
    let holder = LockHolder::take(hub.db(), "BEGIN IMMEDIATE");
    wait_for("a write that fails", || {
        let response = hub.send(
            "POST",
            "/api/threads/t/messages",
            r#"{"from_id":"tester","content":"x"}"#,
        );
        (response.status == 503).then_some(())
    });
    assert_eq!(samples(&hub)["store_ready"].to_bits(), 0.0_f64.to_bits());
    holder.release();
    wait_for_increase("recoveries_total");
    wait_for_value(&hub, "store_ready", |ready| ready > 0.5);
    // Another file replaces the database.
    let copy = hub.folder().join("copy.db");
    assert!(hub.agenthub(&["backup", copy.to_str().unwrap()]).status.success());
    std::fs::rename(&copy, hub.db()).unwrap();
    wait_for_increase("replacements_total");
    assert_eq!(client.expect_close(), 4010);
    wait_for_increase("disconnects_total{code=\"4010\"}");
}
