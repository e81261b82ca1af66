//! What commands do: which rows they write, who the caller is, and how long they wait.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::TestHub;
use crate::support::command::{
    command_as, fails, follow, has_open, keys, run, run_as, run_json, run_json_as, wait_until_open,
};
use crate::support::eventually::{TIMEOUT, wait_for, wait_up_to};
use crate::support::person::run_as_person;
use crate::support::writer::{Process, insert_messages};

#[test]
fn path_token_schema_and_open_print_what_scripts_need() {
    let mut hub = TestHub::not_started(&[]);
    let db = hub.db().to_str().unwrap().to_owned();
    assert_eq!(run(&hub, &["path"]), format!("{db}\n"));
    assert!(Path::new(&db).exists());
    assert_eq!(run_json(&hub, &["path"]), json!({"path": db}));
    let token = run(&hub, &["token"]);
    assert_eq!(token.trim_end().len(), 64);
    assert_eq!(run_json(&hub, &["token"]), json!({"token": token.trim_end()}));
    let rotated = run(&hub, &["token", "--rotate"]);
    assert_ne!(rotated, token);
    assert_eq!(run(&hub, &["token"]), rotated);
    let schema = run_json(&hub, &["schema"]);
    assert_eq!(schema["version"], json!(5));
    assert_eq!(
        format!("{}\n", schema["sql"].as_str().unwrap().trim_end()),
        run(&hub, &["schema"])
    );
    let message = fails(&hub, &["open", "--json"], 4);
    assert!(message.contains(&db) && message.contains("agenthub serve"), "{message}");
    hub.launch();
    assert_eq!(hub.token(), rotated.trim_end());
    assert_eq!(run_json(&hub, &["open"]), json!({"url": hub.first_line()}));
}

#[test]
fn status_works_with_and_without_a_hub() {
    let mut hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    let status = run_json(&hub, &["status"]);
    assert_eq!(keys(&status), ["counts", "db", "growth", "hub"]);
    assert_eq!(status["hub"], Value::Null);
    assert!(run(&hub, &["status"]).contains("agenthub serve"));
    hub.launch();
    hub.sql(&insert_messages("t", 1, 3));
    let status = run_json(&hub, &["status"]);
    assert_eq!(status["counts"]["messages"], 3);
    assert_eq!(status["hub"]["pid"], json!(hub.pid().as_raw_nonzero().get()));
    assert_eq!(status["hub"]["status"]["state"], "ok");
    let text = run(&hub, &["status"]);
    assert!(
        text.contains(&format!(":{}", hub.port())) && text.contains("3 messages"),
        "{text}"
    );
    // After a crash the record is stale.
    hub.kill();
    assert_eq!(run_json(&hub, &["status"])["hub"], Value::Null);
}

#[test]
fn identical_posts_at_the_same_time_succeed_and_write_one_row() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    for round in 0..15 {
        let id = round.to_string();
        let args = ["post", "t", "x", "--id", &id];
        let start = |_| {
            let mut command = hub.command(&args);
            command.stdout(Stdio::null());
            Process::start(command)
        };
        let processes: Vec<_> = (0..4).map(start).collect();
        for mut process in processes {
            assert!(process.0.wait().unwrap().success(), "round {round}");
        }
    }
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "15");
}

#[test]
fn post_writes_a_message() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["post", "build", "hello"]);
    let message = [
        "post",
        "build",
        "tests are green",
        "--from",
        "planner",
        "--kind",
        "result",
    ];
    let row = run_json(
        &hub,
        &[
            &message[..],
            &["--subject", "S", "--to", "human", "--reply-to", "r", "--id", "m1"],
        ]
        .concat(),
    );
    for (name, value) in [
        ("id", json!("m1")),
        ("thread_id", json!("build")),
        ("message_seq", json!(2)),
        ("from_type", json!("agent")),
        ("from_id", json!("planner")),
        ("to_type", json!("human")),
        ("to_id", json!("human")),
        ("kind", json!("result")),
        ("subject", json!("S")),
        ("content", json!("tests are green")),
        ("reply_to", json!("r")),
    ] {
        assert_eq!(row[name], value, "{name}");
    }
    assert_eq!(
        hub.sql("SELECT from_type || ' ' || from_id FROM messages WHERE message_seq = 1"),
        "human human"
    );
    // The same id and content again has no effect; other content with that id is an error.
    let again = run(&hub, &[&message[..], &["--id", "m1"]].concat());
    assert_eq!(again, "build #2\n");
    fails(&hub, &["post", "build", "other", "--from", "planner", "--id", "m1"], 1);
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "2");
}

/// The flag, then `AGENTHUB_AGENT`, then the session of the agent tool, then the person.
#[test]
fn the_caller_is_named_by_flag_environment_or_session() {
    let hub = TestHub::not_started(&[]);
    for (variables, flag, expected) in [
        (vec![("AGENTHUB_AGENT", "reviewer")], "--from", "flag"),
        (vec![("AGENTHUB_AGENT", "reviewer")], "--as", "flag"),
        (
            vec![("AGENTHUB_AGENT", "reviewer"), ("CLAUDE_CODE_SESSION_ID", "12345678-9")],
            "",
            "reviewer",
        ),
        (vec![("CLAUDE_CODE_SESSION_ID", "12345678-9abc")], "", "claude-12345678"),
        (vec![("CODEX_THREAD_ID", "abcdefgh-9abc")], "", "codex-abcdefgh"),
        (vec![("AGENTHUB_AGENT", "")], "", "human"),
        // A tool started by `agenthub run`, and another tool started by that tool.
        (
            vec![
                ("AGENTHUB_AGENT", "planner"),
                ("AGENTHUB_TASK_VENDOR", "claude"),
                ("CLAUDE_CODE_SESSION_ID", "12345678-9abc"),
            ],
            "",
            "planner",
        ),
        (
            vec![
                ("AGENTHUB_AGENT", "planner"),
                ("AGENTHUB_TASK_VENDOR", "claude"),
                ("CLAUDE_CODE_SESSION_ID", "12345678-9abc"),
                ("CODEX_THREAD_ID", "abcdefgh-9abc"),
            ],
            "",
            "codex-abcdefgh",
        ),
    ] {
        let mut args = vec!["post", "who", "x", "--json"];
        if !flag.is_empty() {
            args.extend([flag, "flag"]);
        }
        let output = hub.command(&args).envs(variables).output().unwrap();
        let row: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(row["from_id"], expected);
    }
}

#[test]
fn text_from_stdin_loses_only_its_last_line_break() {
    let hub = TestHub::not_started(&[]);
    let mut command = hub.command(&["post", "stdin", "-", "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Process::start(command);
    let mut stdin = child.0.stdin.take().unwrap();
    stdin.write_all("two\nlines ünïcode\n\n".as_bytes()).unwrap();
    drop(stdin);
    let mut line = String::new();
    let mut stdout = BufReader::new(child.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let row: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(row["content"], "two\nlines ünïcode\n");
}

#[test]
fn send_refuses_unknown_names_and_suggests_similar_ones() {
    let hub = TestHub::not_started(&[]);
    for name in ["planner", "bob"] {
        run(&hub, &["post", "t", "x", "--from", name]);
    }
    for (typed, meant) in [
        ("plannr", "planner"),
        ("plnaner", "planner"),
        ("bbo", "bob"),
        ("hum", "human"),
        ("All", "all"),
    ] {
        let message = fails(&hub, &["send", typed, "hello"], 4);
        assert!(
            message.contains(typed) && message.contains(&format!("did you mean {meant}")) && message.contains("--new"),
            "{message}"
        );
    }
    let message = fails(&hub, &["send", "somebody else", "hello"], 4);
    assert!(
        !message.contains("did you mean") && message.contains("--new"),
        "{message}"
    );
    assert_eq!(hub.sql("SELECT count(*) FROM inbox_messages"), "0");
    run(&hub, &["send", "newcomer", "welcome", "--new", "--title", "T"]);
    assert_eq!(hub.sql("SELECT to_inbox, title FROM inbox_messages"), "newcomer|T");
}

#[test]
fn send_writes_mail_with_its_first_line_as_title() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    run_as(&hub, "planner", &["inbox"]);
    let rows = run_json_as(
        &hub,
        "reviewer",
        &[
            "send",
            "planner",
            "First line\nand more",
            "--type",
            "request",
            "--priority",
            "urgent",
            "--correlation",
            "c",
        ],
    );
    assert_eq!(rows.as_array().unwrap().len(), 1);
    for (name, value) in [
        ("from_agent", "reviewer"),
        ("to_inbox", "planner"),
        ("title", "First line"),
        ("payload", "First line\nand more"),
        ("message_type", "request"),
        ("priority", "urgent"),
        ("correlation_id", "c"),
        ("status", "unread"),
    ] {
        assert_eq!(rows[0][name], value, "{name}");
    }
    run(&hub, &["send", "human", &"ä".repeat(100)]);
    assert_eq!(
        hub.sql("SELECT length(title) FROM inbox_messages WHERE to_inbox = 'human'"),
        "80"
    );
}

#[test]
fn send_to_all_writes_one_row_for_everyone() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    for name in ["planner", "reviewer"] {
        run_as(&hub, name, &["inbox"]);
    }
    let rows = run_json_as(&hub, "planner", &["send", "all", "hello"]);
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(rows[0]["to_inbox"], "all");
    assert_eq!(hub.sql("SELECT to_inbox, payload FROM inbox_messages"), "all|hello");
    let unread = |name: &str| {
        let rows = run_json_as(&hub, name, &["inbox", "--unread"]);
        rows.as_array().unwrap().len()
    };
    // An agent that appears later does not get it; nor does its sender.
    assert_eq!(["planner", "reviewer", "newcomer", "human"].map(unread), [0, 1, 0, 1]);
    run_as(&hub, "reviewer", &["send", "all", "again"]);
    assert_eq!(["planner", "newcomer", "human"].map(unread), [1, 1, 2]);
    // The person has read what the person sends, not what another program sends in the person's name.
    run_as_person(&hub, &["send", "all", "from the person"]);
    run(&hub, &["send", "all", "not from the person", "--from", "human"]);
    let of_human = run_json(&hub, &["inbox"]);
    let statuses: Vec<_> = of_human.as_array().unwrap().iter().map(|row| &row["status"]).collect();
    assert_eq!(statuses[..2], [&json!("unread"), &json!("read")]);
    assert_eq!(unread("reviewer"), 3);
    // The first mail to all needs no other agent.
    let empty = TestHub::not_started(&[]);
    run_as(&empty, "planner", &["send", "all", "anyone?"]);
    assert_eq!(run_json(&empty, &["inbox"]).as_array().unwrap().len(), 1);
}

#[test]
fn unread_mail_is_listed_by_priority_with_the_number_of_the_rest() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    run_as(&hub, "planner", &["inbox"]);
    hub.sql(
        "WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM i WHERE n < 60)
         INSERT INTO inbox_messages(from_agent, to_inbox, title) SELECT 'boss', 'planner', 'note ' || n FROM i",
    );
    run(&hub, &["send", "planner", "look", "--priority", "action"]);
    run(&hub, &["send", "all", "STOP", "--priority", "urgent"]);
    let titles = |args: &[&str]| -> Vec<String> {
        let output = run_as(&hub, "planner", &[&["inbox", "--json"], args].concat());
        let rows = serde_json::Deserializer::from_str(&output).into_iter::<Value>();
        let rows = rows.flat_map(|rows| match rows.unwrap() {
            Value::Array(rows) => rows,
            row => vec![row],
        });
        rows.map(|row| row["title"].as_str().unwrap().to_owned()).collect()
    };
    for args in [&["--unread", "--limit", "3"][..], &["--wait", "9", "--limit", "3"]] {
        assert_eq!(titles(args), ["STOP", "look", "note 1"], "{args:?}");
    }
    assert_eq!(titles(&["--limit", "2"]), ["STOP", "look"], "newest first");
    assert_eq!(titles(&["--claim", "--limit", "2"]), ["look", "note 1"]);
    let list = |args: &[&str]| run_as(&hub, "planner", &[&["inbox"], args].concat());
    assert!(
        list(&["--unread"])
            .ends_with("\n12 more messages wait; list up to N with --limit N, or read or ack these first\n")
    );
    assert!(list(&["--unread", "--fenced", "--limit", "61"]).contains("\n1 more message waits; "));
    for args in [&["--unread", "--limit", "62"][..], &["--limit", "9"]] {
        let all = list(args);
        assert!(!all.contains("more message"), "{all}");
    }
}

#[test]
fn inbox_lists_mail_and_marks_nothing() {
    let hub = TestHub::not_started(&[]);
    for i in 1..=3 {
        run_as(&hub, &format!("agent{i}"), &["send", "human", &format!("mail {i}")]);
    }
    hub.sql("UPDATE inbox_messages SET status = 'read' WHERE n = 2");
    let titles = |args: &[&str]| -> Vec<String> {
        run_json(&hub, &[&["inbox"], args].concat())
            .as_array()
            .unwrap()
            .iter()
            .map(|mail| mail["title"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(titles(&[]), ["mail 3", "mail 2", "mail 1"]);
    assert_eq!(titles(&["human", "--unread"]), ["mail 1", "mail 3"]);
    assert_eq!(titles(&["--from", "agent1"]), ["mail 1"]);
    assert_eq!(titles(&["--limit", "1"]), ["mail 3"]);
    assert_eq!(
        hub.sql("SELECT group_concat(status) FROM (SELECT status FROM inbox_messages ORDER BY n)"),
        "unread,read,unread"
    );
    // An agent that lists its inbox can be sent mail from then on.
    run(&hub, &["inbox", "--as", "newcomer"]);
    run(&hub, &["send", "newcomer", "hello"]);
    assert_eq!(titles(&["newcomer"]), ["hello"]);
}

/// A process that waits for mail makes its inbox known to `send`.
#[test]
fn send_knows_the_inboxes_that_a_process_waits_for() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    for (inbox, args) in [
        ("jobs", &["inbox", "jobs", "--wait", "20"][..]),
        ("tasks", &["inbox", "tasks", "--as", "worker", "--wait", "20"]),
        (
            "builds",
            &["inbox", "builds", "--as", "worker", "--claim", "--wait", "20"],
        ),
    ] {
        let (mut waiting, mut lines) = follow(&hub, args);
        let is_known = format!("SELECT count(*) FROM agents WHERE id = '{inbox}'");
        wait_for("the inbox", || (hub.sql(&is_known) == "1").then_some(()));
        run(&hub, &["send", inbox, "at last", "--from", "boss"]);
        assert!(lines.any(|line| line.unwrap().contains("at last")), "{inbox}");
        assert!(waiting.0.wait().unwrap().success());
    }
    assert_eq!(
        hub.sql("SELECT group_concat(id) FROM (SELECT id FROM agents WHERE id <> 'boss' ORDER BY n)"),
        "jobs,tasks,worker,builds"
    );
}

/// The number that `send` and `reply` print names the mail in all other commands.
#[test]
fn send_and_reply_print_the_number_of_the_mail() {
    let hub = TestHub::not_started(&[]);
    let number = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    let sent = run_as(&hub, "coder", &["send", "reviewer", "ready?", "--new"]);
    assert_eq!(sent, "#1 → reviewer\n");
    assert!(run_as(&hub, "reviewer", &["read", &number(&sent)]).contains("ready?"));
    let replied = run_as(&hub, "reviewer", &["reply", &number(&sent), "yes"]);
    assert_eq!(replied, "#2 → coder\n");
    for command in ["read", "trace", "ack"] {
        assert!(run(&hub, &[command, &number(&replied)]).contains("#2"), "{command}");
    }
    assert_eq!(run(&hub, &["send", "all", "news"]), "#3 → all\n");
}

/// Text of a program in another encoding is kept as well as it can be, as in rows of other programs.
#[test]
fn text_that_is_not_utf_8_is_repaired() {
    let hub = TestHub::not_started(&[]);
    let latin1 = hub.folder().join("latin1");
    std::fs::write(&latin1, b"caf\xe9\n").unwrap();
    let commands = [
        &["post", "t", "-"][..],
        &["send", "planner", "-", "--new"],
        &["reply", "1", "-"],
    ];
    for args in commands {
        let mut command = hub.command(args);
        let output = command.stdin(std::fs::File::open(&latin1).unwrap()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
    for args in commands {
        let args: Vec<OsString> = args
            .iter()
            .map(|arg| match *arg {
                "-" => OsString::from_vec(b"caf\xe9".to_vec()),
                other => other.into(),
            })
            .collect();
        let output = hub.command(&[]).args(&args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
    let rows = "SELECT content FROM messages UNION ALL SELECT payload FROM inbox_messages";
    assert_eq!(hub.sql(rows), ["caf\u{fffd}"; 6].join("\n"));
}

#[test]
fn counts_of_one_are_singular() {
    let hub = TestHub::not_started(&[]);
    hub.agenthub(&["post", "t", "x", "--from", "a"]);
    hub.sql("INSERT INTO task_stream(task_id, stream_type, text, agent_id) VALUES('k', 'text', 'x', 'a')");
    let status = run(&hub, &["status"]);
    assert!(
        status.contains("1 thread, 1 message, 0 mail, 0 telemetry, 1 task event, 1 agent\n"),
        "{status}"
    );
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, status, created_at) VALUES('a', 'human', 'read', 1000), ('a', 'human', 'read', 1000)");
    let pruned = run(&hub, &["prune", "--older-than", "1d", "--dry-run"]);
    assert!(pruned.contains("0 messages, 1 mail"), "{pruned}");
    let copy = hub.folder().join("copy.db");
    assert!(run(&hub, &["backup", copy.to_str().unwrap()]).contains(" changes)"));
    let new = TestHub::not_started(&[]);
    new.agenthub(&["path"]);
    new.sql("INSERT INTO threads(id) VALUES('t')");
    assert!(run(&new, &["backup", copy.to_str().unwrap(), "--force"]).contains(", 1 change)"));
}

#[test]
fn ack_acknowledges_all_it_can_and_reports_the_rest() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["send", "planner", "one", "--new"]);
    run(&hub, &["send", "planner", "two"]);
    let output = command_as(&hub, "planner", &["ack", "1", "99", "2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let acknowledged = String::from_utf8(output.stdout).unwrap();
    assert_eq!(acknowledged.lines().count(), 2, "{acknowledged}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("99"));
    assert_eq!(run_json_as(&hub, "planner", &["inbox", "--unread"]), json!([]));
}

#[test]
fn claimed_mail_belongs_to_one_agent() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["send", "deploy", "ship it", "--new"]);
    let claimed = run_json_as(&hub, "w1", &["inbox", "deploy", "--claim", "--lease", "100"]);
    assert_eq!((&claimed[0]["n"], &claimed[0]["claimed_by"]), (&json!(1), &json!("w1")));
    assert_eq!(run_json_as(&hub, "w2", &["inbox", "deploy", "--claim"]), json!([]));
    assert!(run_as(&hub, "w2", &["inbox", "deploy"]).contains("claimed by w1"));
    let refused = command_as(&hub, "w2", &["ack", "1"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("w1"));
    run_as(&hub, "w1", &["ack", "1"]);
    assert_eq!(hub.sql("SELECT status FROM inbox_messages"), "read");
}

#[test]
fn prune_deletes_only_old_rows() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    hub.sql("INSERT INTO messages(thread_id, from_id, created_at) VALUES('t', 'a', 1000), ('t', 'a', 1000)");
    run(&hub, &["post", "t", "new"]);
    let dry_run = run_json(&hub, &["prune", "--older-than", "30d", "--dry-run"]);
    assert_eq!(
        (&dry_run["dry_run"], &dry_run["pruned"]["messages"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "3");
    let done = run_json(&hub, &["prune", "--older-than", "30d"]);
    assert_eq!(
        (&done["dry_run"], &done["pruned"]["messages"]),
        (&json!(false), &json!(2))
    );
    assert_eq!(run(&hub, &["prune", "--older-than", "30d"]).lines().count(), 1);
}

#[test]
fn prune_deletes_agents_that_were_not_seen_for_the_given_time() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    let days_ago = "CAST(strftime('%s', 'now') AS INTEGER) * 1000 - 86400000 *";
    hub.sql(&format!(
        "INSERT INTO agents(id, last_active_at) VALUES('100 days', {days_ago} 100), ('lister', {days_ago} 100),
         ('50 days', {days_ago} 50), ('new', {days_ago} 0);
         INSERT INTO subscriptions(instance_id, thread_id, subscribed_at) VALUES('100 days', 't', 1000), ('new', 't', 1000);"
    ));
    // An agent that only lists its inbox is in use.
    run(&hub, &["inbox", "--as", "lister"]);
    let output = run(&hub, &["prune", "--older-than", "30d"]);
    assert!(output.contains("1 agent, 1 subscription, 0 deliveries"), "{output}");
    let agents = || hub.sql("SELECT group_concat(id) FROM (SELECT id FROM agents ORDER BY n)");
    assert_eq!(agents(), "lister,50 days,new");
    let pruned = run_json(&hub, &["prune", "--older-than", "30d", "--agents-unseen", "40d"]);
    assert_eq!(pruned["pruned"]["agents"], 1, "{pruned}");
    assert_eq!(agents(), "lister,new");
}

#[test]
fn inbox_waits_for_mail_with_and_without_a_hub() {
    let mut hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    for with_hub in [false, true] {
        if with_hub {
            hub.launch();
        }
        let (mut process, mut lines) = follow(&hub, &["inbox", "--as", "worker", "--wait", "20", "--json"]);
        wait_until_open(&process, "hub.db-shm");
        // Mail for another inbox does not end the wait.
        hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'another')");
        hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a', 'worker', 'at last')");
        let row: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(row["title"], "at last");
        assert!(process.0.wait().unwrap().success());
        assert!(lines.next().is_none());
        // Mail that has already arrived ends the wait at once.
        let begun = Instant::now();
        assert!(run(&hub, &["inbox", "worker", "--wait", "20"]).contains("at last"));
        assert!(begun.elapsed() < Duration::from_secs(10));
        hub.sql("UPDATE inbox_messages SET status = 'read'");
    }
    let begun = Instant::now();
    let message = fails(&hub, &["inbox", "--as", "worker", "--wait", "0.3"], 124);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(message.contains("0.3"), "{message}");
    fails(&hub, &["inbox", "--as", "worker", "--wait", "0"], 124);
}

/// Measures for 15 agents how long `inbox --wait` runs after its mail was written. Returns the times
/// in ascending order.
fn wait_times(hub: &TestHub, round: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for i in 0..15 {
        let name = format!("w{round}-{i}");
        let mut command = command_as(hub, &name, &["inbox", "--wait", "20", "--json"]);
        command.stdout(Stdio::piped());
        let mut waiting = Process::start(command);
        // The agent's row is written a moment before the wait begins.
        wait_for("the waiting agent", || {
            hub.sql("SELECT id FROM agents")
                .lines()
                .any(|id| id == name)
                .then_some(())
        });
        thread::park_timeout(Duration::from_millis(5));
        hub.sql(&format!(
            "INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('a', '{name}', 'x')"
        ));
        let written = Instant::now();
        assert!(waiting.0.wait().unwrap().success());
        times.push(written.elapsed());
    }
    times.sort_unstable();
    times
}

#[test]
fn inbox_wait_ends_within_20_ms_of_the_row_exclusive() {
    for mut hub in [TestHub::not_started(&[]), TestHub::start()] {
        run(&hub, &["path"]);
        // The p90 of the best round. On a busy machine some rounds are slow; waits that end by the timer are slow in
        // every round.
        let mut rounds = Vec::new();
        wait_up_to(6 * TIMEOUT, "a round of short waits", || {
            rounds.push(wait_times(&hub, rounds.len()));
            let best = rounds.iter().map(|times| times[13]).min();
            assert!(rounds.len() < 5 || best < Some(Duration::from_millis(20)), "{rounds:?}");
            best.filter(|p90| *p90 < Duration::from_millis(20))
        });
        hub.kill();
    }
}

/// A process with a file system watch ends late, and a process that polls takes time of a core.
#[test]
#[cfg(target_os = "linux")]
fn only_a_long_wait_watches_the_file_system_heavy() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    let (mut process, mut lines) = follow(&hub, &["inbox", "--as", "worker", "--wait", "60", "--json"]);
    wait_until_open(&process, "hub.db-shm");
    assert!(!has_open(&process, "inotify"));
    wait_until_open(&process, "inotify");
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a', 'worker', 'at last')");
    assert!(lines.next().unwrap().unwrap().contains("at last"));
    assert!(process.0.wait().unwrap().success());
}

#[test]
fn ask_waits_for_the_answer_and_acknowledges_it() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    run_as(&hub, "planner", &["inbox"]);
    let mut command = command_as(&hub, "planner", &["ask", "human", "Deploy?", "--wait", "20"]);
    let asking = thread::spawn(move || command.output().unwrap());
    let question = wait_for("the question", || {
        run_json(&hub, &["inbox", "--unread"])
            .get(0)
            .map(|mail| mail["n"].to_string())
    });
    // Other mail from the same person is no answer.
    run_as_person(&hub, &["send", "planner", "hello"]);
    // A program that calls itself human does not answer for the person.
    run(&hub, &["reply", &question, "no", "--from", "human"]);
    run_as_person(&hub, &["reply", &question, "yes\nat noon"]);
    let Output { status, stdout, .. } = asking.join().unwrap();
    assert!(status.success());
    assert_eq!(String::from_utf8(stdout).unwrap(), "yes\nat noon\n");
    let unread = run_json_as(&hub, "planner", &["inbox", "--unread"]);
    let unread: Vec<_> = unread.as_array().unwrap().iter().collect();
    assert_eq!(unread.len(), 2);
    assert_eq!(
        (&unread[0]["payload"], &unread[0]["verified"]),
        (&json!("hello"), &json!(true))
    );
    assert_eq!(
        (&unread[1]["payload"], &unread[1]["verified"]),
        (&json!("no"), &Value::Null)
    );
}

/// The question stays in the inbox, and stderr names the command that shows a later answer.
#[test]
fn ask_times_out_with_exit_code_124() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    run_as(&hub, "tester", &["inbox"]);
    let output = command_as(&hub, "planner", &["ask", "tester", "still there?", "--wait", "0"])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(124), 0));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("#1") && message.contains("agenthub inbox planner"),
        "{message}"
    );
    assert_eq!(hub.sql("SELECT to_inbox, status FROM inbox_messages"), "tester|unread");
}

#[test]
fn mail_to_all_is_unread_for_each_agent_until_it_reads_it() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    for name in ["planner", "tester"] {
        run_as(&hub, name, &["inbox"]);
    }
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('boss', 'all', 'party')");
    let unread = |name: &str| {
        run_json_as(&hub, name, &["inbox", "--unread"])
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((unread("planner"), unread("tester"), unread("human")), (1, 1, 1));
    run_as(&hub, "planner", &["read", "1"]);
    run(&hub, &["ack", "1"]);
    assert_eq!((unread("planner"), unread("tester"), unread("human")), (0, 1, 0));
    assert_eq!(run_json_as(&hub, "planner", &["inbox"]).as_array().unwrap().len(), 1);
    // No agent can claim it for itself.
    assert_eq!(run_json_as(&hub, "tester", &["inbox", "--claim"]), json!([]));
}
