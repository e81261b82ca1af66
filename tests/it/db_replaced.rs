//! The file is another one than before: replaced, restored, rolled back. Nobody's position
//! counts then, everybody is told, and nothing is skipped in silence.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::writer::{insert_messages, sqlite3};
use crate::support::{Client, TestHub, gate, within};

/// The promise is a second; the rest is for a busy machine.
const NOTICED: Duration = Duration::from_secs(3);

/// A client of the seed that follows a thread, one that follows everything, and one that
/// takes arrays: all have everything the file has.
#[track_caller]
fn clients(hub: &TestHub, last: i64) -> [Client; 3] {
    let mut seed = hub.connect("instance_id=seed");
    seed.subscribe("t", 0);
    let mut stream = hub.connect("streams=messages&since=0");
    let mut array = hub.connect("streams=messages&since=0&frames=array");
    for client in [&mut seed, &mut stream, &mut array] {
        assert_eq!(client.messages_until(last).len(), usize::try_from(last).unwrap());
    }
    [seed, stream, array]
}

#[track_caller]
fn all_hear_that_their_position_is_lost(clients: [Client; 3], since: Instant) {
    for (mut client, name) in clients.into_iter().zip(["seed", "stream", "array"]) {
        let error = client.expect("error");
        assert_eq!(error.text("code"), "POSITION_LOST", "{name}: {error:?}");
        assert_eq!(client.expect_close(), 4010, "{name}");
        assert!(since.elapsed() < NOTICED, "{name}: {:?}", since.elapsed());
    }
}

/// A copy of the file as our own command makes one.
#[track_caller]
fn backup(hub: &TestHub) -> PathBuf {
    let copy = hub.folder().join("backup.db");
    assert!(hub.agenthub(&["backup", copy.to_str().unwrap()]).status.success());
    copy
}

/// Puts `file` where the database is, as `mv` does, and takes away what belonged to the old.
fn put_in_place(file: &Path, hub: &TestHub) {
    for suffix in ["-wal", "-shm"] {
        drop(fs::remove_file(hub.folder().join(format!("hub.db{suffix}"))));
    }
    fs::rename(file, hub.db()).unwrap();
}

/// The position a client has when it has everything.
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

#[track_caller]
fn is_lost(hub: &TestHub, pos: &str) {
    let mut client = hub.connect(&format!("streams=messages&since={pos}"));
    client.expect("hello");
    client.expect_error("POSITION_LOST");
    assert_eq!(client.expect_close(), 4010);
}

/// A file of its own beside the hub's.
#[track_caller]
fn another(hub: &TestHub) -> PathBuf {
    let other = hub.folder().join("other.db");
    let made = hub.agenthub(&["path", "--db", other.to_str().unwrap()]);
    assert!(made.status.success());
    other
}

/// Without it a hub would go on showing a file that is not there any more.
#[test]
fn another_file_in_its_place_is_noticed() {
    let _alone = gate::alone();
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let other = another(&hub);
    sqlite3(&other, &insert_messages("t", 1, 7));
    sqlite3(&other, "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = WAL");
    let old = position(&hub);
    let all = clients(&hub, 5);
    let begun = Instant::now();
    put_in_place(&other, &hub);
    all_hear_that_their_position_is_lost(all, begun);
    is_lost(&hub, &old);
    // The new file is served, and written to.
    let mut seed = hub.connect("instance_id=seed");
    seed.subscribe("t", -1);
    assert_eq!(seed.expect("batch").seqs(), [1, 2, 3, 4, 5, 6, 7]);
    hub.sql(&insert_messages("t", 8, 1));
    assert_eq!(seed.expect("message").seqs(), [8]);
    let posted = hub.send("POST", "/api/threads/t/messages", r#"{"content":"hello"}"#);
    assert_eq!((posted.status, &posted.json()["message_seq"]), (201, &json!(9)));
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "9");
    assert_eq!(hub.status()["state"], "ok");
}

/// Without it a restore into the running hub's file would leave clients in a history that
/// does not exist.
#[test]
fn a_restore_into_the_live_file_is_noticed() {
    let _alone = gate::alone();
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let copy = backup(&hub);
    hub.sql(&insert_messages("t", 6, 5));
    let old = position(&hub);
    let all = clients(&hub, 10);
    let begun = Instant::now();
    hub.sql(&format!(".restore '{}'", copy.display()));
    all_hear_that_their_position_is_lost(all, begun);
    is_lost(&hub, &old);
    // The thread goes on where the backup ended; nothing of the lost history comes back.
    let mut seed = hub.connect("");
    seed.subscribe("t", 10);
    assert_eq!(seed.expect_error("POSITION_LOST").number("first_seq"), 1);
    hub.sql("INSERT INTO messages(id, thread_id, from_id) VALUES('other', 't', 'a')");
    seed.subscribe("t", 0);
    let batch = seed.expect("batch");
    assert_eq!(batch.seqs(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(batch.messages()[5]["id"], "other");
    is_lost(&hub, &old);
}

/// Without it a restore that is followed by new rows at once would hide behind their
/// numbers: only the tags tell the two histories apart.
#[test]
fn a_restore_is_noticed_even_if_the_numbers_have_caught_up() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let copy = backup(&hub);
    hub.sql(&insert_messages("t", 6, 5));
    let all = clients(&hub, 10);
    // In one go: the hub may see neither the one nor the other by itself.
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

/// Without it a copy put back while nothing ran would be believed by clients that come back.
#[test]
fn an_older_copy_put_back_while_everything_was_stopped_is_noticed() {
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
        "the log was not moved into the database"
    );
    fs::write(hub.db(), &old).unwrap();
    hub.launch();
    is_lost(&hub, &late);
    // Also when the numbers are there again.
    hub.sql("INSERT INTO messages(id, thread_id, from_id) VALUES('new', 't', 'a')");
    let now = position(&hub);
    assert!(now.split('.').nth(1) >= late.split('.').nth(1));
    is_lost(&hub, &late);
    // What both histories share is still a position, and goes on in the new one.
    let mut client = hub.connect(&format!("streams=messages&since={early}"));
    client.expect("hello");
    let message = client.expect("message");
    assert_eq!((message.text("id"), message.number("message_seq")), ("new", 6));
    // A client of the seed that remembers the id is told as well.
    let mut seed = hub.connect("");
    seed.send(
        "subscribe",
        &json!({"thread_id": "t", "from_seq": 6, "from_id": "lost"}),
    );
    seed.expect_error("POSITION_LOST");
}

/// Everything in the database and nothing in its log, so that a copy is whole.
fn rest(hub: &TestHub) {
    within("everything in the database", || {
        sqlite3(hub.db(), "PRAGMA wal_checkpoint(TRUNCATE)")
            .starts_with("0|")
            .then_some(())
    });
}

/// Without it a file copied over the other, which stays the same file to the system, would
/// be believed to be the one whose pages are still in memory.
#[test]
fn a_copy_over_the_live_file_is_noticed() {
    let _alone = gate::alone();
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let other = another(&hub);
    sqlite3(&other, &insert_messages("t", 1, 5));
    sqlite3(&other, "PRAGMA wal_checkpoint(TRUNCATE)");
    let all = clients(&hub, 5);
    rest(&hub);
    let begun = Instant::now();
    fs::write(hub.db(), fs::read(&other).unwrap()).unwrap();
    all_hear_that_their_position_is_lost(all, begun);
    hub.sql(&insert_messages("t", 6, 1));
    let mut seed = hub.connect("");
    seed.subscribe("t", 0);
    assert_eq!(seed.expect("batch").seqs(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
}

/// Without it a file that was cut short would look well to the hub until somebody writes,
/// which nobody can.
#[test]
fn a_file_cut_short_is_named_and_goes_on_when_it_is_whole_again() {
    let _alone = gate::alone();
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let mut client = hub.connect("streams=messages&since=0");
    assert_eq!(client.messages_until(5).len(), 5);
    let mut last = 5;
    for bytes in [0, 3 * 4096] {
        rest(&hub);
        let whole = fs::read(hub.db()).unwrap();
        let begun = Instant::now();
        fs::OpenOptions::new()
            .write(true)
            .open(hub.db())
            .unwrap()
            .set_len(bytes)
            .unwrap();
        client.expect_error("STORE_UNAVAILABLE");
        assert!(begun.elapsed() < NOTICED, "{bytes} bytes: {:?}", begun.elapsed());
        assert_eq!(hub.status()["state"], "STORE_CORRUPT");
        fs::write(hub.db(), &whole).unwrap();
        within("the file to be well again", || {
            (hub.status()["state"] == "ok").then_some(())
        });
        // It is the same file as before: every position stands.
        last += 1;
        hub.sql(&insert_messages("t", last, 1));
        assert_eq!(client.expect("message").seqs(), [last]);
    }
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
}

/// Without it a hub whose write-ahead log was removed would go on in one that nobody else sees:
/// what it acknowledges would be lost, and what it moves into the database would damage it.
#[test]
fn a_log_that_is_taken_away_is_noticed_and_left() {
    let _alone = gate::alone();
    for taken in [&["-wal", "-shm"][..], &["-wal"], &["-shm"]] {
        let hub = TestHub::start();
        hub.sql(&insert_messages("t", 1, 5));
        let all = clients(&hub, 5);
        rest(&hub);
        let begun = Instant::now();
        for suffix in taken {
            fs::remove_file(hub.folder().join(format!("hub.db{suffix}"))).unwrap();
        }
        all_hear_that_their_position_is_lost(all, begun);
        within("the file to be well again", || {
            (hub.status()["state"] == "ok").then_some(())
        });
        hub.sql(&insert_messages("t", 6, 300));
        let posted = hub.send("POST", "/api/threads/t/messages", r#"{"content":"hello"}"#);
        assert_eq!(
            (posted.status, &posted.json()["message_seq"]),
            (201, &json!(306)),
            "{taken:?}"
        );
        assert_eq!(hub.sql("SELECT max(message_seq) FROM messages"), "306", "{taken:?}");
        assert_eq!(hub.sql("PRAGMA integrity_check"), "ok", "{taken:?}");
    }
}

/// Without it the restore that people make by hand would be undone by the hub.
#[test]
fn a_restore_by_hand_is_noticed_and_stays() {
    let _alone = gate::alone();
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let copy = backup(&hub);
    hub.sql(&insert_messages("t", 6, 5));
    let all = clients(&hub, 10);
    let begun = Instant::now();
    fs::write(hub.db(), fs::read(&copy).unwrap()).unwrap();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(hub.folder().join(format!("hub.db{suffix}"))).unwrap();
    }
    all_hear_that_their_position_is_lost(all, begun);
    let mut seed = hub.connect("");
    seed.subscribe("t", 0);
    assert_eq!(seed.expect("batch").seqs(), [1, 2, 3, 4, 5]);
    hub.sql(&insert_messages("t", 6, 1));
    assert_eq!(seed.expect("message").seqs(), [6]);
    assert_eq!(
        hub.sql("SELECT count(*) FROM messages; PRAGMA integrity_check"),
        "6\nok"
    );
}

/// Without it a file that was away for a moment would cost every client its position.
#[test]
fn a_file_that_comes_back_is_the_same_file() {
    let _alone = gate::alone();
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let [mut seed, mut stream, mut array] = clients(&hub, 5);
    let moved = |from: &str, to: &str| {
        for suffix in ["", "-wal", "-shm"] {
            let file = |name: &str| hub.folder().join(format!("{name}{suffix}"));
            fs::rename(file(from), file(to)).unwrap();
        }
    };
    moved("hub.db", "away.db");
    for client in [&mut seed, &mut stream, &mut array] {
        client.expect_error("STORE_UNAVAILABLE");
    }
    moved("away.db", "hub.db");
    within("the file to be well again", || {
        (hub.status()["state"] == "ok").then_some(())
    });
    hub.sql(&insert_messages("t", 6, 1));
    for client in [&mut seed, &mut stream, &mut array] {
        assert_eq!(client.expect("message").seqs(), [6]);
    }
}

/// Without it a client that was away for longer than rows are kept would go on as if nothing
/// had been between.
#[test]
fn what_was_pruned_before_a_client_had_it_is_a_lost_position() {
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
        // Everything kept is another matter: whoever asks for that is content with it.
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

/// The position of a client of this stream after so many events.
#[track_caller]
fn position_after(hub: &TestHub, stream: &str, events: usize) -> String {
    let mut client = hub.connect(&format!("streams={stream}&since=0"));
    client.expect("hello");
    (0..events).map(|_| client.next()).last().unwrap().pos.unwrap()
}

/// Without it whoever waits for mail would wait in a file that nobody writes to any more.
#[test]
fn a_wait_ends_when_the_file_is_another_one() {
    let hub = TestHub::not_started(&[]);
    assert!(hub.agenthub(&["path"]).status.success());
    let other = another(&hub);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| hub.agenthub(&["inbox", "planner", "--wait", "15"]));
        within("the one who waits", || {
            (hub.sql("SELECT count(*) FROM agents WHERE id = 'planner'") == "1").then_some(())
        });
        put_in_place(&other, &hub);
        let output = waiting.join().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("replaced while waiting"), "{said}");
    });
}

/// Without it acks for one file would be stored in another.
#[test]
fn acks_do_not_move_into_another_file() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let other = another(&hub);
    sqlite3(&other, &insert_messages("t", 1, 5));
    sqlite3(&other, "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = WAL");
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", 0);
    client.expect("batch");
    put_in_place(&other, &hub);
    client.ack("t", 4);
    client.until("error");
    assert_eq!(client.expect_close(), 4010);
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", -1);
    assert_eq!(client.expect("batch").seqs(), [1, 2, 3, 4, 5]);
}

/// Without it what is posted in the moment after the file was removed would be answered as
/// stored, and be gone.
#[test]
fn nothing_is_acknowledged_into_a_file_that_was_removed() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    fs::remove_file(hub.db()).unwrap();
    let mut acknowledged = Vec::new();
    for i in 0..20 {
        let message = json!({"id": format!("m-{i}."), "from_id": "a", "content": "x"});
        let answer = hub.send("POST", "/api/threads/t/messages", &message.to_string());
        if answer.status < 300 {
            acknowledged.push(message["id"].as_str().unwrap().to_owned());
        }
    }
    within("a new file in its place", || {
        (hub.db().exists() && hub.status()["state"] == "ok").then_some(())
    });
    let there = hub.sql("SELECT id FROM messages");
    for id in acknowledged {
        assert!(there.contains(&id), "{id} was acknowledged and is not there: {there:?}");
    }
}

/// Without it a copy moved over the file by hand would be mixed with the old one's log.
#[test]
fn a_copy_moved_over_the_file_is_that_copy() {
    let _alone = gate::alone();
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 2000));
    let copy = backup(&hub);
    hub.sql(&insert_messages("t", 2001, 4000));
    // In one file, with a log that has rows of its own.
    within("the log in the file", || {
        (hub.sql("PRAGMA wal_checkpoint(TRUNCATE)") == "0|0|0").then_some(())
    });
    hub.sql(&insert_messages("t", 6001, 5));
    let (all, begun) = (clients(&hub, 6005), Instant::now());
    fs::rename(&copy, hub.db()).unwrap();
    all_hear_that_their_position_is_lost(all, begun);
    let count = || hub.get("/api/threads/t").json()["last_seq"].as_i64();
    assert_eq!(count(), Some(2000));
    hub.sql(&insert_messages("t", 2001, 1));
    within("the next row", || (count() == Some(2001)).then_some(()));
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
    assert_eq!(hub.status()["state"], "ok");
    let (status, _) = hub.stop();
    assert!(status.success());
    assert_eq!(
        hub.sql("PRAGMA integrity_check; SELECT count(*) FROM messages"),
        "ok\n2001"
    );
}
