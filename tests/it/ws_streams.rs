//! The extended form, with `streams`, `since` and `frames`: one cursor over all tables, checked
//! positions, and throttled streams. Slow clients are in `backpressure`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::MARKER_ROW;
use crate::support::writer::insert_messages;
use crate::support::{Client, Event, Received, TIMEOUT, TestHub};

#[track_caller]
fn connect_with_hello(hub: &TestHub, query: &str) -> (Client, Event) {
    let mut client = hub.connect(query);
    let hello = client.expect("hello");
    (client, hello)
}

/// The `seq` of a position, to compare it with the database.
#[track_caller]
fn seq_of(pos: &str) -> i64 {
    pos.split('.').nth(1).unwrap().parse().unwrap()
}

fn head(hub: &TestHub) -> i64 {
    hub.sql("SELECT coalesce(max(seq), 0) FROM changes").parse().unwrap()
}

#[test]
fn hello_comes_first_with_position_epoch_and_limits() {
    let hub = TestHub::with_args(&["--max-batch-size", "7", "--pong-wait", "12.5"]);
    hub.sql(&insert_messages("t", 1, 3));
    hub.wait_until_synced();
    for query in ["streams=tasks", "since=0", "frames=array", "streams="] {
        let (_, hello) = connect_with_hello(&hub, &format!("{query}&instance_id=me"));
        let mut keys: Vec<_> = hello.data.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["epoch", "instance_id", "limits", "pos", "version"], "{query}");
        assert_eq!(hello.text("version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(hello.text("instance_id"), "me");
        assert_eq!(
            hello.text("epoch"),
            hub.sql("SELECT value FROM hub WHERE key = 'epoch'")
        );
        let start = if query == "since=0" { 0 } else { head(&hub) };
        assert_eq!(seq_of(hello.text("pos")), start, "{query}: {hello:?}");
    }
    // A client without these parameters gets no hello.
    hub.connect("instance_id=me").assert_alive();
}

/// Each flag of `serve` is applied and shown.
#[test]
fn limits_are_set_by_flags() {
    let flags = [
        ("--max-batch-size", "7", "max_batch_size", json!(7)),
        ("--max-messages-per-second", "11", "max_messages_per_second", json!(11)),
        ("--max-lag-messages", "13", "max_lag_messages", json!(13)),
        ("--write-wait", "3.5", "write_wait_ms", json!(3500)),
        ("--pong-wait", "17", "pong_wait_ms", json!(17000)),
        ("--ping-period", "15", "ping_period_ms", json!(15000)),
        ("--max-message-size", "4096", "max_message_size", json!(4096)),
        ("--poll-interval", "0.25", "poll_interval_ms", json!(250)),
        ("--max-events-per-second", "23", "max_events_per_second", json!(23)),
        ("--telemetry-per-second", "5", "telemetry_per_second", json!(5)),
        ("--thread-states-per-second", "6", "thread_states_per_second", json!(6)),
        ("--array-frames-per-second", "9", "array_frames_per_second", json!(9)),
        ("--max-connections", "19", "max_connections", json!(19)),
    ];
    let args: Vec<&str> = flags.iter().flat_map(|(flag, value, _, _)| [*flag, *value]).collect();
    let hub = TestHub::with_args(&args);
    let (_, hello) = connect_with_hello(&hub, "streams=");
    let status = hub.status();
    assert_eq!(hello.data["limits"], status["limits"]);
    for (flag, _, name, expected) in &flags {
        assert_eq!(&status["limits"][name], expected, "{flag}");
    }
    assert_eq!(
        status["limits"].as_object().unwrap().len(),
        flags.len(),
        "each limit has a flag"
    );
    let defaults = TestHub::start().status()["limits"].clone();
    for (name, expected) in [
        ("max_batch_size", 50),
        ("max_messages_per_second", 100),
        ("max_lag_messages", 1000),
        ("write_wait_ms", 10_000),
        ("pong_wait_ms", 60_000),
        ("ping_period_ms", 54_000),
        ("max_message_size", 10_240),
        ("poll_interval_ms", 500),
        ("max_events_per_second", 100),
        ("telemetry_per_second", 4),
        ("thread_states_per_second", 10),
        ("array_frames_per_second", 20),
        ("max_connections", 1024),
    ] {
        assert_eq!(defaults[name], json!(expected), "{name}");
    }
}

#[test]
fn clients_get_only_the_requested_streams() {
    let hub = TestHub::start();
    let names = ["messages", "inbox", "telemetry", "tasks", "threads"];
    let mut clients: Vec<_> = names
        .iter()
        .map(|name| connect_with_hello(&hub, &format!("streams={name}")).0)
        .collect();
    let mut none = connect_with_hello(&hub, "streams=").0;
    let mut default = connect_with_hello(&hub, "frames=array").0;
    hub.sql(
        "INSERT INTO messages(thread_id, from_id) VALUES('t', 'a');
         INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b');
         INSERT INTO telemetry(instance_id) VALUES('i');
         INSERT INTO task_stream(task_id, stream_type) VALUES('k', 'text');",
    );
    for (client, kind) in
        clients
            .iter_mut()
            .zip(["message", "inbox_message", "telemetry", "task_stream", "thread_state"])
    {
        assert!(client.expect(kind).pos.is_some());
    }
    for kind in ["inbox_message", "telemetry", "task_stream"] {
        assert!(default.expect(kind).pos.is_some());
    }
    // The next event of each client is a pong, so it has received no other stream. The state of the
    // thread after its first message follows its creation within 100 ms and is read first.
    let last = clients[4].receive(TIMEOUT);
    assert!(
        matches!(&last, Some(Received::Event(e)) if e.kind == "thread_state" && e.number("last_seq") == 1),
        "{last:?}"
    );
    for client in clients.iter_mut().chain([&mut none, &mut default]) {
        client.assert_alive();
    }
    // A client with the stream of all messages cannot subscribe to a thread.
    clients[0].subscribe("t", 0);
    clients[0].expect_error("INVALID_SUBSCRIBE");
    // A client without it can.
    clients[1].subscribe("t", 0);
    assert_eq!(clients[1].expect("batch").seqs(), [1]);
}

#[test]
fn since_0_sends_all_rows_in_log_order() {
    let hub = TestHub::start();
    hub.sql(&mixed_rows(30));
    let (mut client, _) = connect_with_hello(&hub, "since=0&streams=messages,inbox,tasks");
    hub.sql(MARKER_ROW);
    let events = read_log(&mut client, &hub);
    let numbers: Vec<i64> = events.iter().map(|e| seq_of(e.pos.as_deref().unwrap())).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(received(&events), stored(&hub));
}

/// SQL for `rounds` times four rows of three tables.
fn mixed_rows(rounds: usize) -> String {
    let mut sql = String::from("BEGIN IMMEDIATE;");
    for i in 0..rounds {
        sql.push_str(&format!(
            "INSERT INTO messages(thread_id, from_id, content) VALUES('t{}', 'a', '{i}');
             INSERT INTO messages(thread_id, from_id, content) VALUES('t{}', 'b', 'x{i}');
             INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a', 'b', '{i}');
             INSERT INTO task_stream(task_id, stream_type, text) VALUES('k', 'text', '{i}');",
            i % 3,
            i % 3
        ));
    }
    sql.push_str("COMMIT;");
    sql
}

/// The rows in the database of the streams messages, inbox and tasks, in log order.
fn stored(hub: &TestHub) -> Vec<String> {
    let rows = hub.sql(
        "SELECT CASE tbl WHEN 'messages' THEN (SELECT thread_id || '#' || message_seq FROM messages WHERE n = row)
                         WHEN 'inbox_messages' THEN (SELECT 'mail ' || id FROM inbox_messages WHERE n = row)
                         ELSE 'task ' || row END
         FROM changes WHERE op = 'insert' AND tbl IN ('messages', 'inbox_messages', 'task_stream') ORDER BY seq",
    );
    rows.lines().map(str::to_owned).collect()
}

/// The rows in the events that a client received, in the form of [`stored`].
fn received(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .flat_map(|event| match event.kind.as_str() {
            "message" | "batch" => event
                .messages()
                .iter()
                .map(|m| format!("{}#{}", m["thread_id"].as_str().unwrap(), m["message_seq"]))
                .collect(),
            "inbox_message" => vec![format!("mail {}", event.text("id"))],
            "task_stream" => vec![format!("task {}", event.number("id"))],
            other => panic!("unexpected event {other}"),
        })
        .collect()
}

/// Receives events up to the last row of the log.
#[track_caller]
fn read_log(client: &mut Client, hub: &TestHub) -> Vec<Event> {
    let end = head(hub);
    let mut events: Vec<Event> = Vec::new();
    while events.last().is_none_or(|e| seq_of(e.pos.as_deref().unwrap()) < end) {
        events.push(client.next());
    }
    events
}

/// A client that reconnects at any moment gets every row exactly once.
#[test]
fn positions_resume_after_any_event_across_restarts() {
    let mut hub = TestHub::start();
    hub.sql(&mixed_rows(20));
    let mut pos = "0".to_owned();
    let mut events = Vec::new();
    let mut round = 0;
    // Each connection receives a few events. The hub is killed several times, and rows are written
    // while it is down.
    while seq_of(&format!(".{}", pos.split('.').nth(1).unwrap_or("0"))) < head(&hub) {
        let (mut client, hello) = connect_with_hello(&hub, &format!("since={pos}&streams=messages,inbox,tasks"));
        if pos != "0" {
            assert_eq!(hello.text("pos"), pos);
        }
        for _ in 0..7 {
            match client.receive(Duration::from_millis(300)) {
                Some(Received::Event(event)) => {
                    pos = event.pos.clone().unwrap();
                    events.push(event);
                }
                None => break,
                other => panic!("{other:?}"),
            }
        }
        round += 1;
        if round % 5 == 1 && round < 20 {
            hub.kill();
            hub.sql(&mixed_rows(3));
            hub.launch();
        }
    }
    assert_eq!(received(&events), stored(&hub));
}

/// A client whose position is not in the database would silently miss rows.
#[test]
fn closes_with_position_lost_if_the_database_lacks_the_position() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    hub.wait_until_synced();
    let (_, hello) = connect_with_hello(&hub, "streams=messages");
    let pos = hello.text("pos").to_owned();
    let parts: Vec<&str> = pos.split('.').collect();
    let (epoch, seq, tag) = (parts[0], parts[1], parts[2]);
    let other_tag = if tag == "1" { "2" } else { "1" };
    for wrong in [
        format!(
            "{}.{seq}.{tag}",
            epoch.replace(|c: char| c.is_ascii_digit(), "f").replace('a', "b") + "x"
        ),
        format!("{epoch}.{seq}.{other_tag}"),
        format!("{epoch}.{}.{tag}", head(&hub) + 1),
        format!("{epoch}.{}.{tag}", i64::MAX),
        format!("{epoch}.0.{tag}"),
        format!("{epoch}.1.{tag}"),
    ] {
        let (mut client, hello) = connect_with_hello(&hub, &format!("streams=messages&since={wrong}"));
        // The hello has the current epoch.
        assert_eq!(hello.text("epoch"), epoch, "{wrong}");
        client.expect_error("POSITION_LOST");
        assert_eq!(client.expect_close(), 4010, "{wrong}");
    }
    connect_with_hello(&hub, &format!("streams=messages&since={pos}"))
        .0
        .assert_alive();
}

/// The dashboard handles bursts of rows in few frames.
#[test]
fn array_frames_are_throttled_and_carry_many_events() {
    let hub = TestHub::start();
    let (mut client, _) = connect_with_hello(&hub, "frames=array&streams=messages,inbox,tasks");
    let started = Instant::now();
    for _ in 0..10 {
        hub.sql(&mixed_rows(40));
    }
    hub.sql(MARKER_ROW);
    let events = read_log(&mut client, &hub);
    assert_eq!(received(&events), stored(&hub));
    assert!(
        events.iter().all(|event| event.kind != "batch"),
        "array frames contain single messages"
    );
    // At most 20 frames a second; the first is not delayed.
    let limit = 20.0 * started.elapsed().as_secs_f64() + 2.0;
    assert!(
        (client.frames as f64) <= limit,
        "{} frames in {:?}",
        client.frames,
        started.elapsed()
    );
    assert!(client.frames < events.len() / 10, "{} frames", client.frames);
}

/// A client can resume after any batch.
#[test]
fn streamed_batches_have_one_thread_and_the_position_of_their_last_message() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("a", 1, 120));
    hub.sql(&insert_messages("b", 1, 3));
    hub.sql(&insert_messages("a", 121, 1));
    let (mut client, _) = connect_with_hello(&hub, "since=0&streams=messages");
    let mut seqs: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let end = head(&hub);
    loop {
        let event = client.next();
        let messages = event.messages();
        assert!(messages.len() <= 50, "{}", messages.len());
        let last = messages.last().unwrap();
        let thread = last["thread_id"].as_str().unwrap();
        assert!(messages.iter().all(|m| m["thread_id"] == *thread));
        if event.kind == "batch" {
            assert_eq!(event.text("thread_id"), thread);
        }
        seqs.entry(thread.to_owned()).or_default().extend(event.seqs());
        let last_seq: i64 = hub
            .sql(&format!(
                "SELECT seq FROM changes c JOIN messages m ON m.n = c.row WHERE tbl = 'messages' AND m.thread_id = '{thread}' \
                 AND m.message_seq = {}",
                last["message_seq"]
            ))
            .parse()
            .unwrap();
        assert_eq!(seq_of(event.pos.as_deref().unwrap()), last_seq);
        if last_seq == end {
            break;
        }
    }
    assert!(seqs["a"].iter().copied().eq(1..=121), "{seqs:?}");
    assert_eq!(seqs["b"], [1, 2, 3]);
}

/// The dashboard shows current totals of a process that reports a thousand times a second.
#[test]
fn telemetry_is_throttled_to_the_latest_of_each_instance() {
    let hub = TestHub::start();
    let mut compatible = hub.connect("");
    let (mut client, _) = connect_with_hello(&hub, "streams=telemetry");
    let started = Instant::now();
    for step in 0..10 {
        let mut sql = String::from("BEGIN IMMEDIATE;");
        for i in 1..=50 {
            let turns = step * 50 + i;
            sql.push_str(&format!(
                "INSERT INTO telemetry(instance_id, turns) VALUES('one', {turns}), ('two', {});",
                -turns
            ));
        }
        hub.sql(&format!("{sql}COMMIT;"));
    }
    for client in [&mut compatible, &mut client] {
        let mut turns: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        while turns
            .values()
            .filter(|t| t.last().is_some_and(|n| n.abs() == 500))
            .count()
            < 2
        {
            let event = client.expect("telemetry");
            turns
                .entry(event.text("instance_id").to_owned())
                .or_default()
                .push(event.number("turns").abs());
        }
        let limit = 4.0 * started.elapsed().as_secs_f64() + 2.0;
        for (instance, turns) in turns {
            assert!(turns.is_sorted_by(|a, b| a < b), "{instance}: {turns:?}");
            assert!(
                (turns.len() as f64) <= limit,
                "{instance}: {turns:?} in {:?}",
                started.elapsed()
            );
        }
        client.assert_alive();
    }
}

/// Not every message of a burst sends a `thread_state`.
#[test]
fn thread_states_are_throttled_to_the_latest() {
    let hub = TestHub::start();
    let (mut client, _) = connect_with_hello(&hub, "streams=threads");
    let started = Instant::now();
    for step in 0..10 {
        hub.sql(&insert_messages("t", step * 40 + 1, 40));
    }
    let mut last = 0;
    let mut states = 0;
    while last < 400 {
        let state = client.expect("thread_state");
        assert!(state.number("last_seq") >= last, "{state:?} after {last}");
        last = state.number("last_seq");
        states += 1;
    }
    let limit = 10.0 * started.elapsed().as_secs_f64() + 2.0;
    assert!(f64::from(states) <= limit, "{states} states in {:?}", started.elapsed());
    hub.sql("UPDATE threads SET title = 'new' WHERE id = 't';");
    // A throttled state with the old title may arrive first.
    loop {
        let state = client.expect("thread_state");
        assert_eq!(state.number("last_seq"), 400);
        if state.text("title") == "new" {
            break;
        }
    }
}

/// A throttled value is not lost when the connection ends before it is sent.
#[test]
fn throttled_values_arrive_after_a_reconnect() {
    let hub = TestHub::start();
    let (mut client, _) = connect_with_hello(&hub, "streams=telemetry,inbox");
    hub.sql(
        "BEGIN IMMEDIATE;
         INSERT INTO telemetry(instance_id, turns) VALUES('i', 1);
         INSERT INTO telemetry(instance_id, turns) VALUES('i', 2);
         INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b');
         COMMIT;",
    );
    assert_eq!(client.expect("telemetry").number("turns"), 1);
    // The second total is throttled for 250 ms. The inbox message is sent before it.
    let mail = client.expect("inbox_message");
    drop(client);
    let pos = mail.pos.unwrap();
    let (mut client, _) = connect_with_hello(&hub, &format!("streams=telemetry,inbox&since={pos}"));
    assert_eq!(client.expect("telemetry").number("turns"), 2);
    client.assert_alive();
}

/// An agent with SQL can add entries to the change log. They neither repeat rows nor end streams.
#[test]
fn forged_entries_of_the_change_log_are_harmless() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b')");
    hub.sql("INSERT INTO task_stream(task_id, stream_type) VALUES('k', 'text')");
    hub.wait_until_synced();
    let query = "streams=messages,inbox,tasks";
    let (mut live, hello) = connect_with_hello(&hub, query);
    let mut compat = hub.connect("");
    compat.subscribe("t", 3);
    compat.expect("batch");
    let forged = [
        "'messages', 1, 'insert'",
        "'messages', 3, 'insert'",
        "'messages', 99, 'insert'",
        "'inbox_messages', 1, 'insert'",
        "'inbox_messages', 77, 'insert'",
        "'task_stream', 1, 'insert'",
        "'task_stream', 55, 'insert'",
        "'messages', 2.5, 'insert'",
        "x'00', 'x', NULL",
    ];
    for entry in forged {
        hub.sql(&format!("INSERT INTO changes(tbl, row, op) VALUES({entry})"));
    }
    hub.sql(&insert_messages("t", 4, 1));
    assert_eq!(live.expect("message").seqs(), [4]);
    assert_eq!(compat.expect("message").seqs(), [4]);
    assert_eq!(hub.status()["rejected_counts"]["changes"], forged.len());
    // Clients that read the entries from the database.
    hub.stop();
    hub.launch();
    let pos = hello.text("pos");
    let (mut resumed, _) = connect_with_hello(&hub, &format!("{query}&since={pos}"));
    assert_eq!(resumed.expect("message").seqs(), [4]);
    resumed.assert_alive();
    let (mut all, _) = connect_with_hello(&hub, &format!("{query}&since=0"));
    assert_eq!(all.expect("batch").seqs(), [1, 2, 3]);
    all.expect("inbox_message");
    all.expect("task_stream");
    assert_eq!(all.expect("message").seqs(), [4]);
    all.assert_alive();
}
