//! A damaged database: the hub reports it until a check of the whole file has passed.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::writer::insert_messages;
use crate::support::{TestHub, wait_for};

/// Time during which the hub must keep reporting the damage: longer than the time between two checks of a
/// small database, and between two probes.
const STAYS: Duration = Duration::from_secs(4);
const PAGE: usize = 4096;

/// Posts a message, which must succeed.
#[track_caller]
fn post(hub: &TestHub, thread: &str) {
    let path = format!("/api/threads/{thread}/messages");
    let response = hub.send("POST", &path, r#"{"from_id":"tester","content":"x"}"#);
    assert_eq!(response.status, 201, "{response:?}");
}

/// Requires that the hub reports the damage although it can read and write.
#[track_caller]
fn assert_reported_despite_writes(hub: &TestHub) {
    let begun = Instant::now();
    while begun.elapsed() < STAYS {
        post(hub, "other");
        let ready = hub.get("/readyz");
        assert_eq!(ready.status, 503, "{}", hub.log());
        assert_eq!(ready.json()["reasons"][0]["code"], "STORE_CORRUPT");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let status: Value = hub.status();
    assert_eq!(
        (&status["state"], &status["trouble"]["code"]),
        (&"STORE_CORRUPT".into(), &"STORE_CORRUPT".into())
    );
    assert_eq!(hub.log().matches("STORE_CORRUPT").count(), 1, "{}", hub.log());
}

#[track_caller]
fn assert_ready_again(hub: &TestHub) {
    wait_for("the hub to be ready", || {
        (hub.get("/readyz").status == 200).then_some(())
    });
    assert_eq!(hub.status()["state"], "ok");
    hub.wait_for_log("is not damaged any more");
}

#[test]
fn a_damaged_page_is_reported_until_a_check_has_passed() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 500));
    wait_for("the whole log in the file", || {
        (hub.sql("PRAGMA wal_checkpoint(TRUNCATE)") == "0|0|0").then_some(())
    });
    // A page that only this thread needs. Other rows can still be read and written.
    let content = fs::read(hub.db()).unwrap();
    // No index contains this text.
    let pages: Vec<usize> = content
        .chunks(PAGE)
        .enumerate()
        .filter(|(_, page)| page.windows(8).any(|bytes| bytes == b"text 250"))
        .map(|(number, _)| number * PAGE)
        .collect();
    assert!(!pages.is_empty());
    let file = OpenOptions::new().write(true).open(hub.db()).unwrap();
    let write = |bytes: &[u8], offset: usize| file.write_all_at(bytes, u64::try_from(offset).unwrap()).unwrap();
    for &offset in &pages {
        write(&[0x5a; PAGE], offset);
    }
    let response = hub.get("/api/threads/t/messages?limit=1000");
    assert_eq!((response.status, response.code()), (500, "STORE_CORRUPT".into()));
    assert_reported_despite_writes(&hub);
    for &offset in &pages {
        write(&content[offset..offset + PAGE], offset);
    }
    assert_ready_again(&hub);
    assert_eq!(hub.get("/api/threads/t/messages?limit=1000").items().len(), 500);
}

#[test]
fn a_dropped_table_is_reported_until_it_is_there_again() {
    let hub = TestHub::start();
    let schema = hub.sql("SELECT sql || ';' FROM sqlite_master WHERE tbl_name = 'receipts' AND sql IS NOT NULL");
    hub.sql("DROP TABLE receipts");
    assert_eq!(hub.get("/readyz").status, 503);
    assert_reported_despite_writes(&hub);
    hub.wait_for_log("the table receipts is missing");
    hub.sql(&schema);
    assert_ready_again(&hub);
}
