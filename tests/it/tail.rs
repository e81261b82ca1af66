//! `agenthub tail`: follows a thread or all activity.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::command::{follow, run, wait_until_watching};
use crate::support::writer::{Process, insert_messages};
use crate::support::{TestHub, wait_for};

#[test]
fn starts_with_the_messages_that_pruning_has_left() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, created_at) SELECT 't', 'a', 1000 FROM json_each('[1,2,3,4,5,6]');
         INSERT INTO messages(thread_id, from_id) VALUES('t', 'a'), ('t', 'a')",
    );
    run(&hub, &["prune", "--older-than", "1d"]);
    let (_process, mut lines) = follow(&hub, &["tail", "t"]);
    for kept in ["t #7 a", "t #8 a"] {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(kept), "{line}");
    }
}

#[test]
fn follows_a_thread_with_and_without_a_hub() {
    let mut hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    hub.sql(&insert_messages("t", 1, 15));
    for with_hub in [false, true] {
        if with_hub {
            hub.launch();
        }
        let last: i64 = hub.sql("SELECT last_seq FROM threads WHERE id = 't'").parse().unwrap();
        let (mut process, mut lines) = follow(&hub, &["tail", "t", "--json"]);
        let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
        let batch = next();
        assert_eq!(batch["type"], "batch");
        let seqs: Vec<i64> = batch["data"]["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["message_seq"].as_i64().unwrap())
            .collect();
        assert!(seqs.iter().copied().eq(last - 9..=last), "{seqs:?}");
        hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('other', 'a')");
        hub.sql(&insert_messages("t", last + 1, 1));
        let message = next();
        assert_eq!(
            (&message["type"], &message["data"]["message_seq"]),
            (&json!("message"), &json!(last + 1))
        );
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&process.0),
            rustix::process::Signal::INT,
        )
        .unwrap();
        assert!(process.0.wait().unwrap().success());
    }
    // Without --json: one line per message, starting after a number.
    let (_process, mut lines) = follow(&hub, &["tail", "t", "--from-seq", "14"]);
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("t #15 writer") && line.contains("text 15"), "{line}");
    assert!(lines.next().unwrap().unwrap().contains("#16"));
}

#[test]
fn follows_all_activity_from_now_on() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    let (process, mut lines) = follow(&hub, &["tail", "--json"]);
    wait_until_watching(&hub, &process);
    let mut seen = Vec::new();
    // The test cannot see when the command reads first, so it writes until events of all kinds have arrived.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                hub.sql("INSERT INTO task_stream(task_id, stream_type) VALUES('k', 'text')");
                hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b')");
                hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')");
            }
        });
        while seen.len() < 3 {
            let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            let kind = event["type"].as_str().unwrap().to_owned();
            assert!(event["pos"].is_string(), "{event}");
            if !seen.contains(&kind) {
                seen.push(kind);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    seen.sort();
    assert_eq!(seen, ["inbox_message", "message", "task_stream"]);
}

/// As in `agenthub tail | head`.
#[test]
fn a_closed_pipe_ends_the_command_with_code_0() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    hub.sql(&insert_messages("t", 1, 2));
    let mut command = hub.command(&["tail", "t", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(command);
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    let status = wait_for("the command to exit", || {
        hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')");
        process.0.try_wait().unwrap()
    });
    assert!(status.success(), "{status}");
}
