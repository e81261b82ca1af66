//! The database is replaced, restored, overwritten, or loses its WAL while clients are connected.
//!
//! Positions in the old database are invalid then. Every client gets `POSITION_LOST`; no client
//! continues with rows of another history.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::writer::{insert_messages, sqlite3};
use crate::support::{Client, TestHub, wait_for};

/// Maximum time until the hub reports a replaced database to its clients. The documented time is one second; the
/// rest is for a busy machine.
const MAX_DETECTION_TIME: Duration = Duration::from_secs(3);

/// Connects a client of the compatible form that subscribes to a thread, one that streams all
/// messages, and one that receives arrays. Returns when all have the messages up to `last`.
#[track_caller]
fn clients(hub: &TestHub, last: i64) -> [Client; 3] {
    let mut compat = hub.connect("instance_id=compat");
    compat.subscribe("t", 0);
    let mut stream = hub.connect("streams=messages&since=0");
    let mut array = hub.connect("streams=messages&since=0&frames=array");
    for client in [&mut compat, &mut stream, &mut array] {
        assert_eq!(client.messages_until(last).len(), usize::try_from(last).unwrap());
    }
    [compat, stream, array]
}

#[track_caller]
fn expect_position_lost(clients: [Client; 3]) {
    for (mut client, name) in clients.into_iter().zip(["compat", "stream", "array"]) {
        let error = client.expect("error");
        assert_eq!(error.text("code"), "POSITION_LOST", "{name}: {error:?}");
        assert_eq!(client.expect_close(), 4010, "{name}");
    }
}

/// Copies the database with `agenthub backup`.
#[track_caller]
fn backup(hub: &TestHub) -> PathBuf {
    let copy = hub.folder().join("backup.db");
    assert!(hub.agenthub(&["backup", copy.to_str().unwrap()]).status.success());
    copy
}

/// Moves `file` over the database, and deletes the WAL of the old one.
fn replace_database(file: &Path, hub: &TestHub) {
    for suffix in ["-wal", "-shm"] {
        drop(fs::remove_file(hub.folder().join(format!("hub.db{suffix}"))));
    }
    fs::rename(file, hub.db()).unwrap();
}

/// Returns the position of a client that has received all changes.
#[track_caller]
fn position(hub: &TestHub) -> String {
    let mut client = hub.connect("streams=messages,inbox&since=0");
    client.expect("hello");
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a', 'b', 'mark')");
    loop {
        let event = client.next();
        if event.kind == "inbox_message" && event.text("title") == "mark" {
            let head: i64 = hub.sql("SELECT max(seq) FROM changes").parse().unwrap();
            let pos = event.pos.unwrap();
            if pos.split('.').nth(1).unwrap().parse() == Ok(head) {
                return pos;
            }
        }
    }
}

/// Checks that a client cannot resume at `pos`.
#[track_caller]
fn assert_position_lost(hub: &TestHub, pos: &str) {
    let mut client = hub.connect(&format!("streams=messages&since={pos}"));
    client.expect("hello");
    client.expect_error("POSITION_LOST");
    assert_eq!(client.expect_close(), 4010);
}

/// Creates another database next to the hub's.
#[track_caller]
fn create_other_database(hub: &TestHub) -> PathBuf {
    let other = hub.folder().join("other.db");
    let output = hub.agenthub(&["path", "--db", other.to_str().unwrap()]);
    assert!(output.status.success());
    other
}

#[test]
fn detects_another_database_at_its_path_within_3_s_exclusive() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let other = create_other_database(&hub);
    sqlite3(&other, &insert_messages("t", 1, 7));
    sqlite3(&other, "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = WAL");
    let old = position(&hub);
    let all = clients(&hub, 5);
    let begun = Instant::now();
    replace_database(&other, &hub);
    expect_position_lost(all);
    assert!(begun.elapsed() < MAX_DETECTION_TIME, "{:?}", begun.elapsed());
    assert_position_lost(&hub, &old);
    // The hub serves and writes the new database.
    let mut compat = hub.connect("instance_id=compat");
    compat.subscribe("t", -1);
    assert_eq!(compat.expect("batch").seqs(), [1, 2, 3, 4, 5, 6, 7]);
    hub.sql(&insert_messages("t", 8, 1));
    assert_eq!(compat.expect("message").seqs(), [8]);
    let posted = hub.send(
        "POST",
        "/api/threads/t/messages",
        r#"{"from_id":"tester","content":"hello"}"#,
    );
    assert_eq!((posted.status, &posted.json()["message_seq"]), (201, &json!(9)));
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "9");
    assert_eq!(hub.status()["state"], "ok");
}

#[test]
fn detects_a_restore_into_the_open_database() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let copy = backup(&hub);
    hub.sql(&insert_messages("t", 6, 5));
    let old = position(&hub);
    let all = clients(&hub, 10);
    hub.sql(&format!(".restore '{}'", copy.display()));
    expect_position_lost(all);
    assert_position_lost(&hub, &old);
    // The thread continues where the backup ended, without rows of the lost history.
    let mut compat = hub.connect("");
    compat.subscribe("t", 10);
    assert_eq!(compat.expect_error("POSITION_LOST").number("first_seq"), 1);
    hub.sql("INSERT INTO messages(id, thread_id, from_id) VALUES('other', 't', 'a')");
    compat.subscribe("t", 0);
    let batch = compat.expect("batch");
    assert_eq!(batch.seqs(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(batch.messages()[5]["id"], "other");
    assert_position_lost(&hub, &old);
}

/// Rows written directly after a restore can have the numbers of lost rows. Only the tags differ.
#[test]
fn detects_a_restore_after_new_rows_reuse_the_lost_numbers() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let copy = backup(&hub);
    hub.sql(&insert_messages("t", 6, 5));
    let all = clients(&hub, 10);
    // In one process, so that the hub may see only the final state.
    hub.sql(&format!(
        ".restore '{}'\n{}",
        copy.display(),
        insert_messages("t", 6, 9)
    ));
    for mut client in all {
        client.expect_error("POSITION_LOST");
        assert_eq!(client.expect_close(), 4010);
    }
}

#[test]
fn detects_an_older_copy_restored_while_the_hub_was_stopped() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let early = position(&hub);
    assert!(hub.stop().0.success());
    let old = fs::read(hub.db()).unwrap();
    hub.launch();
    hub.sql("INSERT INTO messages(id, thread_id, from_id) VALUES('lost', 't', 'a')");
    let late = position(&hub);
    assert!(hub.stop().0.success());
    assert!(
        !hub.folder().join("hub.db-wal").exists(),
        "the WAL was not checkpointed"
    );
    fs::write(hub.db(), &old).unwrap();
    hub.launch();
    assert_position_lost(&hub, &late);
    // Also after new rows reuse the numbers.
    hub.sql("INSERT INTO messages(id, thread_id, from_id) VALUES('new', 't', 'a')");
    let now = position(&hub);
    assert!(now.split('.').nth(1) >= late.split('.').nth(1));
    assert_position_lost(&hub, &late);
    // A position that both histories share is valid and continues in the new one.
    let mut client = hub.connect(&format!("streams=messages&since={early}"));
    client.expect("hello");
    let message = client.expect("message");
    assert_eq!((message.text("id"), message.number("message_seq")), ("new", 6));
    // The compatible form detects it by the id of the last message.
    let mut compat = hub.connect("");
    compat.send(
        "subscribe",
        &json!({"thread_id": "t", "from_seq": 6, "from_id": "lost"}),
    );
    compat.expect_error("POSITION_LOST");
}

/// Moves all rows from the WAL to the database file, so that a plain copy of it is complete.
fn checkpoint(hub: &TestHub) {
    wait_for("a complete checkpoint", || {
        sqlite3(hub.db(), "PRAGMA wal_checkpoint(TRUNCATE)")
            .starts_with("0|")
            .then_some(())
    });
}

/// A copy over the database keeps its inode, and SQLite still has pages of the old one in memory.
#[test]
fn detects_a_copy_over_the_open_database() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let other = create_other_database(&hub);
    sqlite3(&other, &insert_messages("t", 1, 5));
    sqlite3(&other, "PRAGMA wal_checkpoint(TRUNCATE)");
    let all = clients(&hub, 5);
    checkpoint(&hub);
    fs::write(hub.db(), fs::read(&other).unwrap()).unwrap();
    expect_position_lost(all);
    hub.sql(&insert_messages("t", 6, 1));
    let mut compat = hub.connect("");
    compat.subscribe("t", 0);
    assert_eq!(compat.expect("batch").seqs(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
}

/// The hub must detect a truncated database although no process can write to it.
#[test]
fn reports_a_truncated_database_until_it_is_complete_again() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let mut client = hub.connect("streams=messages&since=0");
    assert_eq!(client.messages_until(5).len(), 5);
    let mut last = 5;
    for bytes in [0, 3 * 4096] {
        checkpoint(&hub);
        let whole = fs::read(hub.db()).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(hub.db())
            .unwrap()
            .set_len(bytes)
            .unwrap();
        client.expect_error("STORE_UNAVAILABLE");
        assert_eq!(hub.status()["state"], "STORE_CORRUPT");
        fs::write(hub.db(), &whole).unwrap();
        wait_for("the database to work again", || {
            (hub.status()["state"] == "ok").then_some(())
        });
        // It is the same database as before, so every position is still valid.
        last += 1;
        hub.sql(&insert_messages("t", last, 1));
        assert_eq!(client.expect("message").seqs(), [last]);
    }
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
}

/// A hub that kept using a deleted WAL would lose the rows it acknowledges, and its checkpoints would
/// damage the database.
#[test]
fn stops_using_a_deleted_wal() {
    for deleted in [&["-wal", "-shm"][..], &["-wal"], &["-shm"]] {
        let hub = TestHub::start();
        hub.sql(&insert_messages("t", 1, 5));
        let all = clients(&hub, 5);
        checkpoint(&hub);
        for suffix in deleted {
            fs::remove_file(hub.folder().join(format!("hub.db{suffix}"))).unwrap();
        }
        expect_position_lost(all);
        wait_for("the database to work again", || {
            (hub.status()["state"] == "ok").then_some(())
        });
        hub.sql(&insert_messages("t", 6, 300));
        let posted = hub.send(
            "POST",
            "/api/threads/t/messages",
            r#"{"from_id":"tester","content":"hello"}"#,
        );
        assert_eq!(
            (posted.status, &posted.json()["message_seq"]),
            (201, &json!(306)),
            "{deleted:?}"
        );
        assert_eq!(hub.sql("SELECT max(message_seq) FROM messages"), "306", "{deleted:?}");
        assert_eq!(hub.sql("PRAGMA integrity_check"), "ok", "{deleted:?}");
    }
}

/// The hub must not undo a restore with plain file commands.
#[test]
fn detects_and_keeps_a_manual_restore() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let copy = backup(&hub);
    hub.sql(&insert_messages("t", 6, 5));
    let all = clients(&hub, 10);
    fs::write(hub.db(), fs::read(&copy).unwrap()).unwrap();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(hub.folder().join(format!("hub.db{suffix}"))).unwrap();
    }
    expect_position_lost(all);
    let mut compat = hub.connect("");
    compat.subscribe("t", 0);
    assert_eq!(compat.expect("batch").seqs(), [1, 2, 3, 4, 5]);
    hub.sql(&insert_messages("t", 6, 1));
    assert_eq!(compat.expect("message").seqs(), [6]);
    assert_eq!(
        hub.sql("SELECT count(*) FROM messages; PRAGMA integrity_check"),
        "6\nok"
    );
}

#[test]
fn keeps_positions_when_a_moved_database_comes_back() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let [mut compat, mut stream, mut array] = clients(&hub, 5);
    let moved = |from: &str, to: &str| {
        for suffix in ["", "-wal", "-shm"] {
            let file = |name: &str| hub.folder().join(format!("{name}{suffix}"));
            fs::rename(file(from), file(to)).unwrap();
        }
    };
    moved("hub.db", "away.db");
    for client in [&mut compat, &mut stream, &mut array] {
        client.expect_error("STORE_UNAVAILABLE");
    }
    moved("away.db", "hub.db");
    wait_for("the database to work again", || {
        (hub.status()["state"] == "ok").then_some(())
    });
    hub.sql(&insert_messages("t", 6, 1));
    for client in [&mut compat, &mut stream, &mut array] {
        assert_eq!(client.expect("message").seqs(), [6]);
    }
}

/// A client that resumes after its next rows were pruned must not continue as if it had them.
#[test]
fn rejects_a_position_whose_next_rows_were_pruned() {
    let rows = [
        (
            "messages",
            "INSERT INTO messages(thread_id, from_id, created_at) VALUES('t', 'a', 1000)",
        ),
        (
            "inbox",
            "INSERT INTO inbox_messages(from_agent, to_inbox, status, created_at) VALUES('a', 'b', 'read', 1000)",
        ),
        (
            "tasks",
            "INSERT INTO task_stream(task_id, stream_type, created_at) VALUES('k', 'text', 1000)",
        ),
    ];
    for (stream, old) in rows {
        let mut hub = TestHub::start();
        let query = format!("streams={stream}");
        let old = format!("{old};");
        hub.sql(&old);
        let pos = position_after(&hub, stream, 1);
        hub.stop();
        hub.sql(&old.repeat(3));
        hub.sql(&insert_messages("new", 1, 1));
        hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b')");
        hub.sql("INSERT INTO task_stream(task_id, stream_type) VALUES('new', 'text')");
        assert!(hub.agenthub(&["prune", "--older-than", "1d"]).status.success());
        hub.launch();
        let mut client = hub.connect(&format!("{query}&since={pos}"));
        client.expect("hello");
        client.expect_error("POSITION_LOST");
        assert_eq!(client.expect_close(), 4010, "{stream}");
        // since=0 asks for all rows that are kept, so it always works.
        let mut client = hub.connect(&format!("{query}&since=0"));
        client.expect("hello");
        let kind = client.next().kind;
        assert!(
            ["message", "inbox_message", "task_stream"].contains(&kind.as_str()),
            "{kind}"
        );
        client.assert_alive();
    }
}

/// Returns the position of a client of this stream after `events` events.
#[track_caller]
fn position_after(hub: &TestHub, stream: &str, events: usize) -> String {
    let mut client = hub.connect(&format!("streams={stream}&since=0"));
    client.expect("hello");
    (0..events).map(|_| client.next()).last().unwrap().pos.unwrap()
}

#[test]
fn waiting_for_mail_ends_when_the_database_is_replaced() {
    let hub = TestHub::not_started(&[]);
    assert!(hub.agenthub(&["path"]).status.success());
    let other = create_other_database(&hub);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| hub.agenthub(&["inbox", "planner", "--wait", "15"]));
        wait_for("the waiting command", || {
            (hub.sql("SELECT count(*) FROM agents WHERE id = 'planner'") == "1").then_some(())
        });
        replace_database(&other, &hub);
        let output = waiting.join().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("replaced while waiting"), "{stderr}");
    });
}

#[test]
fn does_not_store_acks_in_another_database() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let other = create_other_database(&hub);
    sqlite3(&other, &insert_messages("t", 1, 5));
    sqlite3(&other, "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = WAL");
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", 0);
    client.expect("batch");
    replace_database(&other, &hub);
    client.ack("t", 4);
    client.until("error");
    assert_eq!(client.expect_close(), 4010);
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", -1);
    assert_eq!(client.expect("batch").seqs(), [1, 2, 3, 4, 5]);
}

#[test]
fn acknowledges_no_message_written_to_a_deleted_database() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    fs::remove_file(hub.db()).unwrap();
    let mut acknowledged = Vec::new();
    for i in 0..20 {
        let message = json!({"id": format!("m-{i}."), "from_id": "a", "content": "x"});
        let response = hub.send("POST", "/api/threads/t/messages", &message.to_string());
        if response.status < 300 {
            acknowledged.push(message["id"].as_str().unwrap().to_owned());
        }
    }
    wait_for("a new file in its place", || {
        (hub.db().exists() && hub.status()["state"] == "ok").then_some(())
    });
    let stored = hub.sql("SELECT id FROM messages");
    for id in acknowledged {
        assert!(
            stored.contains(&id),
            "{id} was acknowledged but is not stored: {stored:?}"
        );
    }
}

/// The WAL of the old database must not be applied to the copy.
#[test]
fn serves_a_copy_moved_over_the_database_without_its_old_wal() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 2000));
    let copy = backup(&hub);
    hub.sql(&insert_messages("t", 2001, 4000));
    // Then the WAL contains only the rows that follow.
    wait_for("a complete checkpoint", || {
        (hub.sql("PRAGMA wal_checkpoint(TRUNCATE)") == "0|0|0").then_some(())
    });
    hub.sql(&insert_messages("t", 6001, 5));
    let all = clients(&hub, 6005);
    fs::rename(&copy, hub.db()).unwrap();
    expect_position_lost(all);
    let count = || hub.get("/api/threads/t").json()["last_seq"].as_i64();
    assert_eq!(count(), Some(2000));
    hub.sql(&insert_messages("t", 2001, 1));
    wait_for("the next row", || (count() == Some(2001)).then_some(()));
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
    assert_eq!(hub.status()["state"], "ok");
    let (status, _) = hub.stop();
    assert!(status.success());
    assert_eq!(
        hub.sql("PRAGMA integrity_check; SELECT count(*) FROM messages"),
        "ok\n2001"
    );
}

/// Rows that `prune` removes while a client is still reading them must not be missing without notice.
#[test]
fn reports_rows_pruned_during_a_stream_as_a_gap() {
    let hub = TestHub::with_args(&["--max-messages-per-second", "5", "--max-lag-messages", "1"]);
    let rows = 3000;
    // A time in 1970: `prune` removes all of these messages.
    hub.sql(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO messages(thread_id, from_id, created_at) SELECT 't', 'a', 1000 FROM n"
    ));
    hub.sql(&insert_messages("t", rows + 1, 1));
    hub.wait_until_synced();
    let first_change = "SELECT seq FROM changes WHERE tbl = 'messages' AND row = 1";
    let first_change: i64 = hub.sql(first_change).parse().unwrap();
    let mut client = hub.connect("streams=messages&since=0");
    client.expect("hello");
    let mut next = 1;
    let first = client.expect("batch").seqs();
    assert_eq!(first[0], next);
    next += i64::try_from(first.len()).unwrap();
    assert!(hub.agenthub(&["prune", "--older-than", "1d"]).status.success());
    // The first changes are those of the thread and the agent.
    let offset = first_change - 1;
    let mut gaps = 0;
    while next <= rows + 1 {
        let event = client.next();
        if event.kind == "gap" {
            assert_eq!(event.number("from") - offset, next);
            next = event.number("to") - offset + 1;
            gaps += 1;
            continue;
        }
        for seq in event.seqs() {
            assert_eq!(seq, next, "a gap without notice");
            next += 1;
        }
    }
    // `prune` deletes in steps: a row between two of them may still be sent.
    assert!(gaps >= 1);
    client.assert_alive();
}
