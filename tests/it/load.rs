//! Many writers, many clients, and a hub that is killed in between: what everybody has in
//! the end is compared with the file, row by row.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::eventually::within_time;
use crate::support::external_client::{ExternalClient, Library};
use crate::support::writer::{self, Process, insert_messages, python, script};
use crate::support::{Client, Received, TestHub, gate};

const THREADS: usize = 10;
const CLIENTS: usize = 20;
const WRITERS: usize = 8;
/// Rows a second, all writers together.
const RATE: usize = 1000;
/// How long they write.
const SECONDS: u64 = 21;
/// What happens meanwhile, and when: the hub is killed twice, and a client's process is stopped
/// for ten seconds in between.
const TURNS: [(u64, Turn); 4] = [(4, Turn::Kill), (6, Turn::Stop), (16, Turn::Continue), (17, Turn::Kill)];

enum Turn {
    Kill,
    Stop,
    Continue,
}

/// What the clients and the test tell each other.
struct Stage {
    port: u16,
    token: String,
    begun: Instant,
    /// Nothing more is written: whoever has the file's rows may go.
    over: AtomicBool,
}

/// Messages as they came: number and id.
type Log = Vec<(i64, String)>;

/// Follows one thread to the end, whatever happens to the hub.
fn follow(stage: &Stage, name: &str, thread: &str, acks: bool, wanted: impl Fn() -> usize) -> Log {
    let mut log: Log = Vec::new();
    loop {
        let Ok(mut client) = Client::try_connect(stage.port, &stage.token, &format!("instance_id={name}")) else {
            // The hub is down. It comes back.
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
                            "{name}: a gap or a repetition"
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
                None if stage.over.load(Ordering::Acquire) && log.len() >= wanted() => return log,
                None => {}
            }
        }
    }
}

/// Follows all threads at once by the position, whatever happens to the hub.
fn stream(stage: &Stage, wanted: impl Fn() -> usize) -> Vec<String> {
    let (mut log, mut pos) = (Vec::new(), "0".to_owned());
    loop {
        let query = format!("streams=messages&frames=array&since={pos}");
        let Ok(mut client) = Client::try_connect(stage.port, &stage.token, &query) else {
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
                None if stage.over.load(Ordering::Acquire) && log.len() >= wanted() => return log,
                None => {}
            }
        }
    }
}

/// Without it rows would be lost, doubled or out of order just when it matters: under load,
/// and when something crashes.
#[test]
fn every_client_has_exactly_the_files_rows_across_two_kills() {
    let _alone = gate::alone();
    let mut hub = TestHub::start();
    let db = hub.db().to_owned();
    let threads: Vec<String> = (0..THREADS).map(|i| format!("thread-{i}")).collect();
    let acked = |i: usize| hub_file(&db, &format!("acked-{i}"));
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
    let stage = Stage {
        port: hub.port(),
        token: hub.token().to_owned(),
        begun: Instant::now(),
        over: AtomicBool::new(false),
    };
    let stopped = ExternalClient::start(&hub, Library::Python, "stopped.log");
    let count = |sql: &str| writer::sqlite3(&db, sql).parse().unwrap();

    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|i| {
                let (stage, thread, count) = (&stage, &threads[i % THREADS], &count);
                let wanted = move || count(&format!("SELECT last_seq FROM threads WHERE id = '{thread}'"));
                scope.spawn(move || follow(stage, &format!("client-{i}"), thread, i % 3 == 0, wanted))
            })
            .collect();
        let streamer = scope.spawn(|| stream(&stage, || count("SELECT count(*) FROM messages")));

        for (second, turn) in TURNS {
            let at = Duration::from_secs(second);
            within_time(Duration::from_secs(60), "the time of the turn", || {
                (stage.begun.elapsed() >= at).then_some(())
            });
            match turn {
                Turn::Kill => hub.crash_and_restart(),
                Turn::Stop => stopped.signal(Signal::STOP),
                Turn::Continue => stopped.signal(Signal::CONT),
            }
        }
        for writer in &mut writers {
            let status = within_time(Duration::from_secs(60), "the writer's end", || {
                writer.0.try_wait().unwrap()
            });
            assert!(status.success());
        }
        stage.over.store(true, Ordering::Release);

        let file = |thread: &str| -> Log {
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
                log == file(&threads[i % THREADS]),
                "client {i} has other rows than the file"
            );
        }
        let in_order = writer::sqlite3(
            &db,
            "SELECT m.id FROM changes c JOIN messages m ON m.n = c.row WHERE tbl = 'messages' AND op = 'insert' ORDER BY seq",
        );
        assert!(
            streamer.join().unwrap().iter().map(String::as_str).eq(in_order.lines()),
            "the streamer has other rows than the file"
        );
        let rows: Vec<String> = in_order.lines().map(str::to_owned).collect();
        within_time(
            Duration::from_secs(60),
            "the client that was stopped to have everything",
            || (stopped.histories()[0].len() >= rows.len()).then_some(()),
        );
        assert!(
            stopped.histories() == [rows],
            "the client that was stopped has other rows than the file"
        );

        // What was acknowledged to a writer is in the file, once.
        let stored: HashSet<&str> = in_order.lines().collect();
        let mut written = 0;
        for i in 0..WRITERS {
            for id in std::fs::read_to_string(acked(i)).unwrap().lines().skip(1) {
                assert!(stored.contains(id), "{id} was acknowledged and is not there");
                written += 1;
            }
        }
        assert_eq!(stored.len(), written);
        let expected = RATE * usize::try_from(SECONDS).unwrap();
        assert!(written >= expected / 2, "{written} rows are no storm of {expected}");
        assert_eq!(writer::sqlite3(&db, "PRAGMA integrity_check"), "ok");
    });
    assert!(!hub.log().contains("ERROR"), "{}", hub.log());
}

/// A file in the database's folder.
fn hub_file(db: &std::path::Path, name: &str) -> std::path::PathBuf {
    db.with_file_name(name)
}

/// Without it history would end where the hub's memory does.
#[test]
fn a_late_subscriber_gets_all_of_a_hundred_thousand_messages() {
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
    // And from then on live.
    hub.sql(&insert_messages("t", 100_001, 1));
    assert_eq!(client.expect("message").seqs(), [100_001]);
}

/// Without it what agents write while nobody serves would never be shown.
#[test]
fn rows_written_while_the_hub_was_down_arrive() {
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
    let mut seed = hub.connect("");
    seed.subscribe("t", 3);
    assert_eq!(seed.expect("batch").seqs(), [4, 5, 6]);
}

/// Without it many clients at a time would be too much for the hub, or one of them be
/// forgotten.
#[test]
fn three_hundred_clients_all_hear_one_row() {
    let hub = TestHub::start();
    let mut clients: Vec<Client> = (0..300).map(|i| hub.connect(&format!("instance_id=c{i}"))).collect();
    clients.iter_mut().for_each(Client::assert_alive);
    assert_eq!(hub.status()["clients"], json!(300));
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a', 'b', 'to all')");
    let heard = AtomicU16::new(0);
    for client in &mut clients {
        assert_eq!(client.expect("inbox_message").text("title"), "to all");
        heard.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(heard.into_inner(), 300);
}
