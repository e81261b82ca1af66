//! Throttle, flow control and backpressure: whoever is slow, silent or too loud gets what is
//! its due, costs little, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::eventually::within_time;
use crate::support::writer::{self, Process, insert_messages, python, script};
use crate::support::{Client, Received, TIMEOUT, TestHub, gate, within};

/// A row that follows those a test is about, for a client that listens to the inbox.
const LAST_ROW: &str = "INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('test', 'nobody', 'last row');";

#[track_caller]
fn greeted(hub: &TestHub, query: &str) -> Client {
    let mut client = hub.connect(query);
    client.expect("hello");
    client
}

/// Connections that the hub has closed with this code.
#[track_caller]
fn closed_with(hub: &TestHub, code: u16) -> bool {
    let line = format!("agenthub_disconnects_total{{code=\"{code}\"}} ");
    hub.get("/metrics")
        .body
        .lines()
        .any(|l| l.starts_with(&line) && !l.ends_with(" 0"))
}

/// Without it a storm of messages would be a storm of frames, or messages be dropped.
#[test]
fn what_exceeds_the_rate_travels_in_batches() {
    let hub = TestHub::start();
    let mut subscriber = hub.connect("");
    subscriber.subscribe("t", 0);
    subscriber.expect("batch");
    let mut streamer = greeted(&hub, "streams=messages");
    let begun = Instant::now();
    // One by one: each is a commit of its own, and a frame of its own while the burst lasts.
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
        let most = 100.0 + 100.0 * begun.elapsed().as_secs_f64() + 2.0;
        assert!(
            f64::from(frames) <= most,
            "{name}: {frames} frames in {:?}",
            begun.elapsed()
        );
        assert!(batches > 0, "{name}");
    }
}

/// Without it a client that acknowledges, and then cannot keep up, would be sent everything
/// all the same; or be stopped for ever.
#[test]
fn a_client_that_does_not_acknowledge_is_paused_and_goes_on() {
    let hub = TestHub::with_args(&["--max-messages-per-second", "0"]);
    // The hub has heard the ack before there is more than it may send.
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
    // Nothing more comes, and it is said once.
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
    // Mail came through all the while, and one who never acknowledges is not asked to.
    hub.sql(LAST_ROW);
    let mut other = hub.connect("");
    other.subscribe("t", 0);
    assert_eq!(other.messages_until(2005).len(), 2005);
}

/// Without it a client gone wild would take the hub's time from everybody.
#[test]
fn a_client_that_says_too_much_is_limited_and_then_cut_off() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    for _ in 0..400 {
        client.send_text(r#"{"type":"ping"}"#);
    }
    let (mut pongs, mut refused) = (0, 0);
    while pongs + refused < 400 {
        let event = client.next();
        match event.kind.as_str() {
            "pong" => pongs += 1,
            _ => {
                assert_eq!(event.text("code"), "RATE_LIMITED", "{event:?}");
                assert_eq!(event.data["temporary"], json!(true));
                refused += 1;
            }
        }
    }
    assert!(pongs >= 200 && refused > 0, "{pongs} pongs, {refused} refusals");
    // After a pause it is welcome again.
    within("a pong", || {
        client.send_text(r#"{"type":"ping"}"#);
        (client.next().kind == "pong").then_some(())
    });
    // One that goes on and on is not.
    for _ in 0..2000 {
        client.try_send("ping", &json!({}));
    }
    assert_eq!(client.expect_close(), 4013);
}

/// Without it one client that does not read would cost the others their rows, or the hub
/// its memory.
#[test]
fn a_client_that_does_not_read_is_given_up_and_the_others_do_not_notice() {
    let hub = TestHub::with_args(&["--write-wait", "1", "--max-messages-per-second", "0"]);
    let mut frozen = greeted(&hub, "streams=messages");
    let mut live = greeted(&hub, "streams=messages");
    let before = resident_kib(&hub);
    // 60 MB: more than the system keeps for a socket.
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
    within("the frozen client's end", || {
        (hub.status()["clients"] == json!(1) && closed_with(&hub, 4008)).then_some(())
    });
    // It gets what was on its way, in order, and then the end.
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

/// The memory the hub's process has in use.
fn resident_kib(hub: &TestHub) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.pid().as_raw_nonzero())).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Without it a slow client would be sent what it cannot take, or hold up a fast one.
#[test]
fn a_slow_and_a_fast_client_both_have_everything() {
    let hub = TestHub::with_args(&["--max-messages-per-second", "0"]);
    let (mut fast, mut slow) = (hub.connect("instance_id=fast"), hub.connect("instance_id=slow"));
    for client in [&mut fast, &mut slow] {
        client.subscribe("t", 0);
        client.expect("batch");
    }
    let mut slow_seqs = Vec::new();
    // Far more than the live tail holds, while the slow one reads one frame to the fast one's all.
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

/// Without it a client that catches up with a thread while others write to it would never
/// get anything, or be told that its place is lost.
#[test]
fn a_late_subscriber_catches_up_with_a_thread_that_goes_on() {
    let hub = TestHub::with_args(&["--max-messages-per-second", "0", "--max-lag-messages", "200"]);
    hub.sql(&insert_messages("t", 1, 20_000));
    hub.wait_until_synced();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 0..250 {
                writer::sqlite3(hub.db(), &insert_messages("t", 20_001 + i * 3, 3));
            }
        });
        let mut late = 0;
        while !writer.is_finished() {
            late += 1;
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
        assert!(late > 0);
    });
}

/// Without it a client that stopped reading on a quiet hub would be kept until the next ping.
#[test]
fn write_wait_counts_from_the_write_and_not_from_the_next_event() {
    let hub = TestHub::with_args(&["--write-wait", "1", "--max-messages-per-second", "0"]);
    // More than the system keeps for a socket.
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, content) WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
         FROM k WHERE i < 40) SELECT 't', 'a', printf('%.*c', 500000, 'x') FROM k;",
    );
    hub.wait_until_synced();
    let frozen = hub.connect("streams=messages&since=0");
    let begun = Instant::now();
    within("the frozen client's end", || closed_with(&hub, 4008).then_some(()));
    // The next ping would be after 54 s.
    assert!(begun.elapsed() < TIMEOUT, "{:?}", begun.elapsed());
    drop(frozen);
}

/// Without it each client that does not read would keep what it missed in the hub's memory.
#[test]
#[cfg(target_os = "linux")]
fn twenty_frozen_clients_cost_no_more_than_they_may() {
    const FROZEN: u64 = 20;
    let _alone = gate::alone();
    // Those that do not read answer no ping either.
    let hub = TestHub::with_args(&[
        "--write-wait",
        "3600",
        "--pong-wait",
        "3600",
        "--max-messages-per-second",
        "0",
    ]);
    let mut live = greeted(&hub, "streams=messages");
    let frozen: Vec<Client> = (0..FROZEN).map(|_| greeted(&hub, "streams=messages")).collect();
    let before = resident_kib(&hub);
    // 60 MB in all, in columns that are not the content as well.
    for round in 1..=30 {
        hub.sql(
            "INSERT INTO messages(thread_id, from_id, to_id, content) WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
             FROM k WHERE i < 100) SELECT 't', 'a', printf('%.*c', 10000, 'y'), printf('%.*c', 10000, 'x') FROM k;",
        );
        assert_eq!(live.messages_until(round * 100).len(), 100);
    }
    let grown = resident_kib(&hub).saturating_sub(before);
    // The live tail is 8 MiB and there once; the rest is theirs.
    let most = (8 + 8 + FROZEN) * 1024;
    assert!(grown < most, "{grown} KiB more for {FROZEN} frozen clients, not {most}");
    assert_eq!(hub.status()["clients"], json!(FROZEN + 1));
    drop(frozen);
}

/// Without it a client that reads slower than agents write would lose rows, or its connection.
#[test]
fn ten_frames_a_second_are_enough_for_a_thousand_rows_a_second() {
    const SECONDS: usize = 4;
    let _alone = gate::alone();
    // It reads seldom, and so answers pings late.
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
    let (begun, mut frames, mut ids) = (Instant::now(), 0, Vec::new());
    let mut written = None;
    while written.is_none_or(|rows| ids.len() < rows) {
        // Its pace is what this is about; there is no condition to wait for.
        let turn = begun + Duration::from_millis(100) * frames;
        within_time(TIMEOUT, "its turn", || (Instant::now() >= turn).then_some(()));
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
    let file = hub.sql("SELECT id FROM messages ORDER BY message_seq");
    assert!(ids.iter().map(String::as_str).eq(file.lines()));
}
