//! Throttling, flow control and backpressure: a client that is slow, does not read or sends too much
//! costs the hub little memory and does not affect other clients.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::MARKER_ROW;
use crate::support::eventually::wait_up_to;
use crate::support::writer::{self, Process, insert_messages, python, script};
use crate::support::{Client, Received, TIMEOUT, TestHub, wait_for};

#[track_caller]
fn connect_with_hello(hub: &TestHub, query: &str) -> Client {
    let mut client = hub.connect(query);
    client.expect("hello");
    client
}

/// Whether the hub has closed a connection with this code.
#[track_caller]
fn closed_with(hub: &TestHub, code: u16) -> bool {
    let line = format!("agenthub_disconnects_total{{code=\"{code}\"}} ");
    hub.get("/metrics")
        .body
        .lines()
        .any(|l| l.starts_with(&line) && !l.ends_with(" 0"))
}

/// Above the rate limit messages are sent in batches, and none is dropped.
#[test]
fn messages_above_the_rate_limit_are_batched() {
    let hub = TestHub::start();
    let mut subscriber = hub.connect("");
    subscriber.subscribe("t", 0);
    subscriber.expect("batch");
    let mut streamer = connect_with_hello(&hub, "streams=messages");
    let started = Instant::now();
    // Each message is a commit of its own, and a frame of its own until the burst is used up.
    let mut sql = "PRAGMA synchronous = OFF;".to_owned();
    for i in 0..1500 {
        sql.push_str(&format!(
            "INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', '{i}');"
        ));
    }
    hub.sql(&sql);
    for (client, name) in [(&mut subscriber, "subscriber"), (&mut streamer, "streamer")] {
        let mut seqs = Vec::new();
        let (mut frames, mut batches) = (0, 0);
        while seqs.last() != Some(&1500) {
            let event = client.next();
            assert!(event.kind != "error", "{name}: {event:?}");
            frames += 1;
            batches += usize::from(event.kind == "batch");
            seqs.extend(event.seqs());
        }
        assert!(seqs.iter().copied().eq(1..=1500), "{name}: {seqs:?}");
        let limit = 100.0 + 100.0 * started.elapsed().as_secs_f64() + 2.0;
        assert!(
            f64::from(frames) <= limit,
            "{name}: {frames} frames in {:?}",
            started.elapsed()
        );
        assert!(batches > 0, "{name}");
    }
}

/// A client that acknowledges messages is paused when it lags, and continues after its next acks.
#[test]
fn pauses_a_subscription_that_lags_behind_its_acks() {
    let hub = TestHub::with_args(&["--max-messages-per-second", "0"]);
    // The hub must handle the first ack before there are more messages than it may send.
    hub.sql(&insert_messages("t", 1, 10));
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    let mut seqs = client.expect("batch").seqs();
    client.ack("t", 10);
    client.assert_alive();
    hub.sql(&insert_messages("t", 11, 1990));
    let lagging = loop {
        let event = client.next();
        if event.kind == "error" {
            break event;
        }
        seqs.extend(event.seqs());
    };
    assert_eq!((lagging.text("code"), lagging.text("thread_id")), ("LAGGING", "t"));
    assert_eq!(lagging.data["temporary"], json!(true));
    let sent = *seqs.last().unwrap();
    assert_eq!(sent, 1010);
    // No more messages are sent, and the error is sent once.
    client.assert_alive();
    hub.sql(&insert_messages("t", 2001, 5));
    client.ack("t", sent - 501);
    client.assert_alive();
    client.ack("t", sent - 500);
    let mut last = sent;
    while last < sent + 500 {
        let event = client.expect("batch");
        seqs.extend(event.seqs());
        last = *seqs.last().unwrap();
    }
    assert_eq!(last, sent + 500);
    client.expect_error("LAGGING");
    client.ack("t", last);
    seqs.extend(
        client
            .messages_until(2005)
            .iter()
            .map(|m| m["message_seq"].as_i64().unwrap()),
    );
    assert!(seqs.iter().copied().eq(1..=2005), "{seqs:?}");
    // A client that never acknowledges is not paused.
    hub.sql(MARKER_ROW);
    let mut other = hub.connect("");
    other.subscribe("t", 0);
    assert_eq!(other.messages_until(2005).len(), 2005);
}

/// A client that floods the hub must not slow down other clients.
#[test]
fn limits_the_events_of_a_client_and_then_disconnects_it() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    for _ in 0..400 {
        client.send_text(r#"{"type":"ping"}"#);
    }
    let (mut pongs, mut rejected) = (0, 0);
    while pongs + rejected < 400 {
        let event = client.next();
        match event.kind.as_str() {
            "pong" => pongs += 1,
            _ => {
                assert_eq!(event.text("code"), "RATE_LIMITED", "{event:?}");
                assert_eq!(event.data["temporary"], json!(true));
                rejected += 1;
            }
        }
    }
    assert!(pongs >= 200 && rejected > 0, "{pongs} pongs, {rejected} rejections");
    // After a pause its events are accepted again.
    wait_for("a pong", || {
        client.send_text(r#"{"type":"ping"}"#);
        (client.next().kind == "pong").then_some(())
    });
    // A client that continues is disconnected.
    for _ in 0..2000 {
        client.try_send("ping", &json!({}));
    }
    assert_eq!(client.expect_close(), 4013);
}

#[test]
fn disconnects_a_client_that_does_not_read_without_affecting_others() {
    let hub = TestHub::with_args(&["--write-wait", "1", "--max-messages-per-second", "0"]);
    let mut frozen = connect_with_hello(&hub, "streams=messages");
    let mut live = connect_with_hello(&hub, "streams=messages");
    let before = resident_kib(&hub);
    // 60 MB: more than the kernel's socket buffers hold.
    for round in 0..30 {
        hub.sql(
            "INSERT INTO messages(thread_id, from_id, content) WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
             FROM k WHERE i < 4) SELECT 't', 'a', printf('%.*c', 500000, 'x') FROM k;",
        );
        let messages = live.messages_until((round + 1) * 4);
        assert_eq!(messages.len(), 4);
    }
    let grown = resident_kib(&hub).saturating_sub(before);
    assert!(grown < 48 * 1024, "{grown} KiB more");
    wait_for("the frozen connection to close", || {
        (hub.status()["clients"] == json!(1) && closed_with(&hub, 4008)).then_some(())
    });
    // It still receives what was in the socket buffers, in order, and then the end of the stream.
    let mut seqs = Vec::new();
    while let Some(Received::Event(event)) = frozen.receive(TIMEOUT) {
        seqs.extend(event.seqs());
    }
    assert!(
        seqs.iter().copied().eq(1..=i64::try_from(seqs.len()).unwrap()),
        "{seqs:?}"
    );
    assert!(seqs.len() < 120);
    live.assert_alive();
}

/// Resident memory of the hub's process; 0 where there is no `/proc`.
fn resident_kib(hub: &TestHub) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.pid().as_raw_nonzero())).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[test]
fn slow_and_fast_clients_both_receive_all_messages() {
    let hub = TestHub::with_args(&["--max-messages-per-second", "0"]);
    let (mut fast, mut slow) = (hub.connect("instance_id=fast"), hub.connect("instance_id=slow"));
    for client in [&mut fast, &mut slow] {
        client.subscribe("t", 0);
        client.expect("batch");
    }
    let mut slow_seqs = Vec::new();
    // Far more than the recent changes in memory. The slow client reads one frame for each 500
    // messages of the fast one.
    for round in 0..10 {
        hub.sql(&insert_messages("t", round * 500 + 1, 500));
        let last = (round + 1) * 500;
        let seqs = fast.messages_until(last);
        assert_eq!(seqs.len(), 500, "round {round}");
        slow_seqs.extend(slow.next().seqs());
    }
    while slow_seqs.last() != Some(&5000) {
        slow_seqs.extend(slow.next().seqs());
    }
    assert!(slow_seqs.iter().copied().eq(1..=5000), "{slow_seqs:?}");
}

#[test]
fn a_late_subscriber_catches_up_while_messages_are_written() {
    let hub = TestHub::with_args(&["--max-messages-per-second", "0", "--max-lag-messages", "200"]);
    hub.sql(&insert_messages("t", 1, 20_000));
    hub.wait_until_synced();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 0..250 {
                writer::sqlite3(hub.db(), &insert_messages("t", 20_001 + i * 3, 3));
            }
        });
        let mut subscribers = 0;
        while !writer.is_finished() {
            subscribers += 1;
            let mut client = hub.connect("");
            client.subscribe("t", 0);
            let mut seqs = Vec::new();
            while seqs.len() < 20_000 {
                let event = client.next();
                assert!(event.kind != "error", "after {:?}: {event:?}", seqs.last());
                seqs.extend(event.seqs());
            }
            assert!(seqs.iter().copied().eq(1..=i64::try_from(seqs.len()).unwrap()));
        }
        assert!(subscribers > 0);
    });
}

/// A client that stops reading is disconnected even if nothing more is written.
#[test]
fn write_wait_starts_at_the_blocked_write() {
    let hub = TestHub::with_args(&["--write-wait", "1", "--max-messages-per-second", "0"]);
    // More than the kernel's socket buffers hold.
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, content) WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
         FROM k WHERE i < 40) SELECT 't', 'a', printf('%.*c', 500000, 'x') FROM k;",
    );
    hub.wait_until_synced();
    let frozen = hub.connect("streams=messages&since=0");
    // This times out before the next ping, which is sent after 54 s.
    wait_for("the frozen connection to close", || {
        closed_with(&hub, 4008).then_some(())
    });
    drop(frozen);
}

/// The hub keeps no queue for a client that does not read.
#[test]
#[cfg(target_os = "linux")]
fn twenty_frozen_clients_use_bounded_memory_exclusive() {
    const FROZEN: u64 = 20;
    // The frozen clients do not answer pings either, so both timeouts are long.
    let hub = TestHub::with_args(&[
        "--write-wait",
        "3600",
        "--pong-wait",
        "3600",
        "--max-messages-per-second",
        "0",
    ]);
    let mut live = connect_with_hello(&hub, "streams=messages");
    let frozen: Vec<Client> = (0..FROZEN)
        .map(|_| connect_with_hello(&hub, "streams=messages"))
        .collect();
    let before = resident_kib(&hub);
    // 60 MB in all, half of it outside the content column.
    for round in 1..=30 {
        hub.sql(
            "INSERT INTO messages(thread_id, from_id, to_id, content) WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
             FROM k WHERE i < 100) SELECT 't', 'a', printf('%.*c', 10000, 'y'), printf('%.*c', 10000, 'x') FROM k;",
        );
        assert_eq!(live.messages_until(round * 100).len(), 100);
    }
    let grown = resident_kib(&hub).saturating_sub(before);
    // 8 MiB for the shared recent changes, 8 MiB for the rest, and 1 MiB for each frozen client.
    let limit = (8 + 8 + FROZEN) * 1024;
    assert!(
        grown < limit,
        "{grown} KiB more for {FROZEN} frozen clients; the limit is {limit}"
    );
    assert_eq!(hub.status()["clients"], json!(FROZEN + 1));
    drop(frozen);
}

/// A client that reads few frames receives all rows, because many rows fit into one batch.
#[test]
fn ten_frames_per_second_carry_a_thousand_rows_per_second_heavy() {
    const SECONDS: usize = 4;
    // The client reads rarely and answers pings late.
    let hub = TestHub::with_args(&["--pong-wait", "3600"]);
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    let mut command = python();
    command
        .arg(script("writer.py"))
        .arg(hub.db())
        .args(["w", "t", &SECONDS.to_string(), "1000"])
        .stdout(std::process::Stdio::null());
    let mut writer = Process::start(command);
    let (started, mut frames, mut ids) = (Instant::now(), 0, Vec::new());
    let mut written = None;
    while written.is_none_or(|rows| ids.len() < rows) {
        // The client reads one frame every 100 ms: this waits for a time, not for a condition.
        let next_read = started + Duration::from_millis(100) * frames;
        wait_up_to(TIMEOUT, "the next read", || (Instant::now() >= next_read).then_some(()));
        frames += 1;
        for message in client.next().messages() {
            assert_eq!(message["message_seq"], ids.len() + 1);
            ids.push(message["id"].as_str().unwrap().to_owned());
        }
        if written.is_none() && writer.0.try_wait().unwrap().is_some() {
            written = hub.sql("SELECT count(*) FROM messages").parse().ok();
        }
    }
    assert!(ids.len() >= 500 * SECONDS, "{} rows", ids.len());
    let stored = hub.sql("SELECT id FROM messages ORDER BY message_seq");
    assert!(ids.iter().map(String::as_str).eq(stored.lines()));
}
