//! Load: many writers and many clients, while the hub is killed and restarted. The rows that each client
//! received are compared with the database.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::eventually::wait_up_to;
use crate::support::external_client::{ExternalClient, Library};
use crate::support::writer::{self, Process, insert_messages, python, script};
use crate::support::{Client, Received, TestHub};

const THREADS: usize = 10;
const CLIENTS: usize = 20;
const WRITERS: usize = 8;
/// Rows per second of all writers together.
const RATE: usize = 1000;
/// Seconds that the writers write.
const SECONDS: u64 = 21;
/// Faults, and the second at which each happens: the hub is killed twice, and a client process is
/// stopped for ten seconds.
const FAULTS: [(u64, Fault); 4] = [
    (4, Fault::KillHub),
    (6, Fault::StopClient),
    (16, Fault::ContinueClient),
    (17, Fault::KillHub),
];

enum Fault {
    KillHub,
    StopClient,
    ContinueClient,
}

/// State shared by the test and its client threads.
struct Shared {
    port: u16,
    token: String,
    started: Instant,
    /// The writers have ended; a client that has all rows returns.
    writers_ended: AtomicBool,
}

/// `message_seq` and id of each received message.
type Log = Vec<(i64, String)>;

/// Receives one thread to its end. Reconnects when the hub is killed.
fn receive_thread(shared: &Shared, name: &str, thread: &str, acks: bool, expected: impl Fn() -> usize) -> Log {
    let mut log: Log = Vec::new();
    loop {
        let Ok(mut client) = Client::try_connect(shared.port, &shared.token, &format!("instance_id={name}")) else {
            // The hub is restarting.
            thread::park_timeout(Duration::from_millis(20));
            continue;
        };
        client.try_send("subscribe", &json!({"thread_id": thread, "from_seq": log.len()}));
        loop {
            match client.receive(Duration::from_millis(100)) {
                Some(Received::Event(event)) if matches!(event.kind.as_str(), "message" | "batch") => {
                    for message in event.messages() {
                        assert_eq!(message["thread_id"], *thread, "{name}");
                        let seq = message["message_seq"].as_i64().unwrap();
                        assert_eq!(
                            seq,
                            i64::try_from(log.len()).unwrap() + 1,
                            "{name}: missing or repeated message"
                        );
                        log.push((seq, message["id"].as_str().unwrap().to_owned()));
                    }
                    if acks {
                        client.try_send("ack", &json!({"thread_id": thread, "ack_seq": log.len()}));
                    }
                }
                Some(Received::Event(event)) => panic!("{name}: {event:?}"),
                Some(Received::Close(code, reason)) => panic!("{name}: closed with {code} {reason}"),
                Some(Received::Gone) => break,
                None if shared.writers_ended.load(Ordering::Acquire) && log.len() >= expected() => return log,
                None => {}
            }
        }
    }
}

/// Receives all threads as one stream. Reconnects with its position when the hub is killed.
fn receive_stream(shared: &Shared, expected: impl Fn() -> usize) -> Vec<String> {
    let (mut log, mut pos) = (Vec::new(), "0".to_owned());
    loop {
        let query = format!("streams=messages&frames=array&since={pos}");
        let Ok(mut client) = Client::try_connect(shared.port, &shared.token, &query) else {
            thread::park_timeout(Duration::from_millis(20));
            continue;
        };
        loop {
            match client.receive(Duration::from_millis(100)) {
                Some(Received::Event(event)) if event.kind == "hello" => {}
                Some(Received::Event(event)) => {
                    assert!(matches!(event.kind.as_str(), "message" | "batch"), "{event:?}");
                    log.extend(event.messages().iter().map(|m| m["id"].as_str().unwrap().to_owned()));
                    pos = event.pos.unwrap();
                }
                Some(Received::Close(code, reason)) => panic!("closed with {code} {reason}"),
                Some(Received::Gone) => break,
                None if shared.writers_ended.load(Ordering::Acquire) && log.len() >= expected() => return log,
                None => {}
            }
        }
    }
}

/// Under load and across crashes, every client receives each row once and in order.
#[test]
fn every_client_receives_exactly_the_stored_rows_across_two_kills_exclusive() {
    let mut hub = TestHub::start();
    let db = hub.db().to_owned();
    let threads: Vec<String> = (0..THREADS).map(|i| format!("thread-{i}")).collect();
    let acked = |i: usize| sibling_file(&db, &format!("acked-{i}"));
    let mut writers: Vec<Process> = (0..WRITERS)
        .map(|i| {
            let mut command = python();
            command
                .arg(script("writer.py"))
                .arg(&db)
                .args([&format!("writer-{i}"), &threads.join(","), &SECONDS.to_string()])
                .arg((RATE / WRITERS).to_string())
                .stdout(File::create(acked(i)).unwrap());
            Process::start(command)
        })
        .collect();
    let shared = Shared {
        port: hub.port(),
        token: hub.token().to_owned(),
        started: Instant::now(),
        writers_ended: AtomicBool::new(false),
    };
    let stopped = ExternalClient::start(&hub, Library::Python, "stopped.log");
    let count = |sql: &str| writer::sqlite3(&db, sql).parse().unwrap();

    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|i| {
                let (shared, thread, count) = (&shared, &threads[i % THREADS], &count);
                let expected = move || count(&format!("SELECT last_seq FROM threads WHERE id = '{thread}'"));
                scope.spawn(move || receive_thread(shared, &format!("client-{i}"), thread, i % 3 == 0, expected))
            })
            .collect();
        let streamer = scope.spawn(|| receive_stream(&shared, || count("SELECT count(*) FROM messages")));

        for (second, fault) in FAULTS {
            let at = Duration::from_secs(second);
            wait_up_to(Duration::from_secs(60), "the time of the fault", || {
                (shared.started.elapsed() >= at).then_some(())
            });
            match fault {
                Fault::KillHub => hub.crash_and_restart(),
                Fault::StopClient => stopped.signal(Signal::STOP),
                Fault::ContinueClient => stopped.signal(Signal::CONT),
            }
        }
        for writer in &mut writers {
            let status = wait_up_to(Duration::from_secs(60), "a writer to end", || {
                writer.0.try_wait().unwrap()
            });
            assert!(status.success());
        }
        shared.writers_ended.store(true, Ordering::Release);

        let stored_rows = |thread: &str| -> Log {
            writer::sqlite3(
                &db,
                &format!("SELECT message_seq, id FROM messages WHERE thread_id = '{thread}' ORDER BY message_seq"),
            )
            .lines()
            .map(|line| line.split_once('|').unwrap())
            .map(|(seq, id)| (seq.parse().unwrap(), id.to_owned()))
            .collect()
        };
        for (i, client) in clients.into_iter().enumerate() {
            let log = client.join().unwrap();
            assert!(
                log == stored_rows(&threads[i % THREADS]),
                "client {i} received other rows than the database has"
            );
        }
        let in_order = writer::sqlite3(
            &db,
            "SELECT m.id FROM changes c JOIN messages m ON m.n = c.row WHERE tbl = 'messages' AND op = 'insert' ORDER BY seq",
        );
        assert!(
            streamer.join().unwrap().iter().map(String::as_str).eq(in_order.lines()),
            "the stream client received other rows than the database has"
        );
        let rows: Vec<String> = in_order.lines().map(str::to_owned).collect();
        wait_up_to(
            Duration::from_secs(60),
            "the stopped client to receive all rows",
            || (stopped.histories()[0].len() >= rows.len()).then_some(()),
        );
        assert!(
            stopped.histories() == [rows],
            "the stopped client received other rows than the database has"
        );

        // Each row whose insert succeeded is stored exactly once.
        let stored: HashSet<&str> = in_order.lines().collect();
        let mut written = 0;
        for i in 0..WRITERS {
            for id in std::fs::read_to_string(acked(i)).unwrap().lines().skip(1) {
                assert!(stored.contains(id), "{id} was committed and is missing");
                written += 1;
            }
        }
        assert_eq!(stored.len(), written);
        let expected = RATE * usize::try_from(SECONDS).unwrap();
        assert!(
            written >= expected / 2,
            "{written} of {expected} rows are not enough load"
        );
        assert_eq!(writer::sqlite3(&db, "PRAGMA integrity_check"), "ok");
    });
    assert!(!hub.log().contains("ERROR"), "{}", hub.log());
}

/// A file in the folder of the database.
fn sibling_file(db: &std::path::Path, name: &str) -> std::path::PathBuf {
    db.with_file_name(name)
}

/// Messages older than those in the hub's memory come from the database.
#[test]
fn a_late_subscriber_gets_all_of_a_hundred_thousand_messages_heavy() {
    let hub = TestHub::with_args(&["--max-messages-per-second", "0"]);
    hub.sql(&insert_messages("t", 1, 100_000));
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    let mut next = 1;
    loop {
        let batch = client.expect("batch");
        for seq in batch.seqs() {
            assert_eq!(seq, next);
            next += 1;
        }
        if batch.data["has_more"] == json!(false) {
            break;
        }
    }
    assert_eq!(next, 100_001);
    // Then it continues live.
    hub.sql(&insert_messages("t", 100_001, 1));
    assert_eq!(client.expect("message").seqs(), [100_001]);
}

#[test]
fn rows_written_while_the_hub_is_down_are_delivered() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    let mut client = hub.connect("streams=messages,inbox&since=0");
    client.expect("hello");
    let messages = client.messages_until(3);
    assert_eq!(messages.len(), 3);
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a', 'b', 'mark')");
    let pos = client.expect("inbox_message").pos.unwrap();
    hub.kill();
    hub.sql(&insert_messages("t", 4, 3));
    hub.sql("UPDATE inbox_messages SET status = 'read' WHERE title = 'mark'");
    hub.launch();
    let mut client = hub.connect(&format!("streams=messages,inbox&since={pos}"));
    client.expect("hello");
    let seqs: Vec<i64> = client
        .messages_until(6)
        .iter()
        .map(|m| m["message_seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, [4, 5, 6]);
    assert_eq!(client.expect("inbox_message").text("status"), "read");
    let mut compatible = hub.connect("");
    compatible.subscribe("t", 3);
    assert_eq!(compatible.expect("batch").seqs(), [4, 5, 6]);
}

#[test]
fn three_hundred_clients_all_receive_a_row() {
    let hub = TestHub::start();
    let mut clients: Vec<Client> = (0..300).map(|i| hub.connect(&format!("instance_id=c{i}"))).collect();
    clients.iter_mut().for_each(Client::assert_alive);
    assert_eq!(hub.status()["clients"], json!(300));
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a', 'b', 'to all')");
    for client in &mut clients {
        assert_eq!(client.expect("inbox_message").text("title"), "to all");
    }
}
