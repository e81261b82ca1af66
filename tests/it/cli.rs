//! The command line: what each command prints, for people and for programs, and how it ends.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdout, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::writer::{Process, insert_messages};
use crate::support::{TIMEOUT, TestHub, within};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs a command that must succeed and returns what it printed.
#[track_caller]
pub(super) fn run(hub: &TestHub, args: &[&str]) -> String {
    let output = hub.agenthub(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

#[track_caller]
fn run_json(hub: &TestHub, args: &[&str]) -> Value {
    let text = run(hub, args);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Runs a command that must fail, with one line on stderr and nothing on stdout.
#[track_caller]
pub(super) fn fails(hub: &TestHub, args: &[&str], code: i32) -> String {
    let output = hub.agenthub(args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert_eq!(stdout(&output), "", "{args:?}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    let parts: Vec<_> = said.trim_end().split(": ").collect();
    assert!(parts.windows(2).all(|two| two[0] != two[1]), "said twice: {said}");
    said
}

fn keys(value: &Value) -> String {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Without it a script could not find the file, the token, the schema or the page.
#[test]
fn path_token_schema_and_open() {
    let mut hub = TestHub::not_started(&[]);
    let db = hub.db().to_str().unwrap().to_owned();
    assert_eq!(run(&hub, &["path"]), format!("{db}\n"));
    assert_eq!(run_json(&hub, &["path", "--json"]), json!({"path": db}));
    let token = run(&hub, &["token"]);
    assert_eq!(token.trim_end().len(), 64);
    assert_eq!(run_json(&hub, &["token", "--json"]), json!({"token": token.trim_end()}));
    let rotated = run(&hub, &["token", "--rotate"]);
    assert_ne!(rotated, token);
    assert_eq!(run(&hub, &["token"]), rotated);
    let schema = run_json(&hub, &["schema", "--json"]);
    assert_eq!((keys(&schema).as_str(), &schema["version"]), ("sql version", &json!(1)));
    assert_eq!(
        format!("{}\n", schema["sql"].as_str().unwrap().trim_end()),
        run(&hub, &["schema"])
    );
    let said = fails(&hub, &["open", "--json"], 4);
    assert!(said.contains("agenthub serve"), "{said}");
    hub.launch();
    assert_eq!(hub.token(), rotated.trim_end());
    assert_eq!(run_json(&hub, &["open", "--json"]), json!({"url": hub.first_line()}));
}

/// Without it nobody could tell from a terminal whether the hub runs, and how the file is.
#[test]
fn status_with_and_without_a_hub() {
    let mut hub = TestHub::not_started(&[]);
    let status = run_json(&hub, &["status", "--json"]);
    assert_eq!(
        (keys(&status).as_str(), &status["hub"]),
        ("counts db hub", &Value::Null)
    );
    assert!(run(&hub, &["status"]).contains("not running (agenthub serve)"));
    hub.launch();
    hub.sql(&insert_messages("t", 1, 3));
    let status = run_json(&hub, &["status", "--json"]);
    assert_eq!(status["counts"]["messages"], 3);
    assert_eq!(status["hub"]["pid"], json!(hub.pid().as_raw_nonzero().get()));
    assert_eq!(status["hub"]["status"]["state"], "ok");
    let text = run(&hub, &["status"]);
    assert!(text.contains("all well") && text.contains("3 messages"), "{text}");
    // After a crash the record is stale; that is no hub.
    hub.kill();
    assert_eq!(run_json(&hub, &["status", "--json"])["hub"], Value::Null);
}

/// Without it the same message could be written twice, or the second be an error, if two
/// processes send it at once.
#[test]
fn the_same_at_once_is_written_once() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    for round in 0..15 {
        let id = round.to_string();
        let args = ["post", "t", "x", "--id", &id];
        let start = |_| hub.command(&args).stdout(Stdio::null()).spawn().unwrap();
        let all: Vec<_> = (0..4).map(start).collect();
        for mut one in all {
            assert!(one.wait().unwrap().success(), "round {round}");
        }
    }
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "15");
}

/// Without it a shell script could not speak in a thread.
#[test]
fn post_writes_a_message() {
    let hub = TestHub::not_started(&[]);
    assert_eq!(run(&hub, &["post", "build", "hello"]), "build #1\n");
    let row = run_json(
        &hub,
        &[
            "post",
            "build",
            "tests are green",
            "--from",
            "planner",
            "--kind",
            "result",
            "--subject",
            "S",
            "--to",
            "human",
            "--reply-to",
            "r",
            "--id",
            "m1",
            "--json",
        ],
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
    // The same again is written once; other words under the same id are an error.
    assert_eq!(
        run(
            &hub,
            &[
                "post",
                "build",
                "tests are green",
                "--from",
                "planner",
                "--kind",
                "result",
                "--id",
                "m1"
            ]
        ),
        "build #2\n"
    );
    fails(&hub, &["post", "build", "other", "--from", "planner", "--id", "m1"], 1);
    fails(&hub, &["post", "", "x"], 2);
    fails(&hub, &["post", "build"], 2);
    assert_eq!(
        hub.sql("SELECT from_type || ' ' || from_id FROM messages WHERE message_seq = 1"),
        "human human"
    );
    // Who speaks: the flag, then the variable, then the tool's session, then the person.
    for (variables, expected) in [
        (
            vec![("AGENTHUB_AGENT", "reviewer"), ("CLAUDE_CODE_SESSION_ID", "12345678-9")],
            "reviewer",
        ),
        (vec![("CLAUDE_CODE_SESSION_ID", "12345678-9abc")], "claude-12345678"),
        (vec![("CODEX_THREAD_ID", "abcdefgh-9abc")], "codex-abcdefgh"),
        (vec![("AGENTHUB_AGENT", "")], "human"),
        // Whom `run` has started, and another tool that this one has started in turn.
        (
            vec![
                ("AGENTHUB_AGENT", "planner"),
                ("AGENTHUB_TASK_VENDOR", "claude"),
                ("CLAUDE_CODE_SESSION_ID", "12345678-9abc"),
            ],
            "planner",
        ),
        (
            vec![
                ("AGENTHUB_AGENT", "planner"),
                ("AGENTHUB_TASK_VENDOR", "claude"),
                ("CLAUDE_CODE_SESSION_ID", "12345678-9abc"),
                ("CODEX_THREAD_ID", "abcdefgh-9abc"),
            ],
            "codex-abcdefgh",
        ),
    ] {
        let output = hub
            .command(&["post", "who", "x", "--json"])
            .envs(variables)
            .output()
            .unwrap();
        let row: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(row["from_id"], expected);
    }
    // The text from stdin, as it is but for the last line break.
    let mut command = hub.command(&["post", "stdin", "-", "--json"]);
    let mut child = Process::start({
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    });
    child
        .0
        .stdin
        .take()
        .unwrap()
        .write_all("two\nlines ünïcode\n".as_bytes())
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&line).unwrap()["content"],
        "two\nlines ünïcode"
    );
}

/// Without it mail would go to names nobody has, and be waited for in vain.
#[test]
fn send_knows_who_is_there() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["post", "t", "x", "--from", "planner"]);
    run(&hub, &["post", "t", "x", "--from", "reviewer"]);
    let said = fails(&hub, &["send", "plannr", "hello"], 4);
    assert!(
        said.contains("did you mean planner?") && said.contains("--new"),
        "{said}"
    );
    let said = fails(&hub, &["send", "somebody else", "hello"], 4);
    assert!(!said.contains("did you mean") && said.contains("--new"), "{said}");
    let rows = run_json(
        &hub,
        &[
            "send",
            "planner",
            "First line\nand more",
            "--from",
            "reviewer",
            "--type",
            "request",
            "--priority",
            "urgent",
            "--correlation",
            "c",
            "--json",
        ],
    );
    assert_eq!(rows.as_array().unwrap().len(), 1);
    let row = &rows[0];
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
        assert_eq!(row[name], value, "{name}");
    }
    let printed = run(&hub, &["send", "human", &"ä".repeat(100)]);
    assert!(
        printed.starts_with("msg_") && printed.ends_with(" → human\n"),
        "{printed}"
    );
    assert_eq!(
        hub.sql("SELECT length(title) FROM inbox_messages WHERE to_inbox = 'human'"),
        "80"
    );
    run(&hub, &["send", "newcomer", "welcome", "--new", "--title", "T"]);
    // One row for everybody else.
    let rows = run_json(&hub, &["send", "all", "hear", "--as", "planner", "--json"]);
    let mut to: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["to_inbox"].as_str().unwrap())
        .collect();
    to.sort_unstable();
    assert_eq!(to, ["reviewer"]);
    fails(&hub, &["send", "", "x", "--new"], 2);
}

/// Without it a hook or a script could not read its mail.
#[test]
fn inbox_lists_without_marking() {
    let hub = TestHub::not_started(&[]);
    assert_eq!(run(&hub, &["inbox"]), "no mail\n");
    assert_eq!(run_json(&hub, &["inbox", "--json"]), json!([]));
    for i in 1..=3 {
        run(
            &hub,
            &["send", "human", &format!("letter {i}"), "--from", &format!("agent{i}")],
        );
    }
    hub.sql("UPDATE inbox_messages SET status = 'read' WHERE n = 2");
    let titles = |args: &[&str]| -> Vec<String> {
        let mut all = vec!["inbox", "--json"];
        all.extend(args);
        run_json(&hub, &all)
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["title"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(titles(&[]), ["letter 3", "letter 2", "letter 1"]);
    assert_eq!(titles(&["human", "--unread"]), ["letter 3", "letter 1"]);
    assert_eq!(titles(&["--from", "agent1"]), ["letter 1"]);
    assert_eq!(titles(&["--limit", "1"]), ["letter 3"]);
    assert_eq!(
        hub.sql("SELECT group_concat(status) FROM (SELECT status FROM inbox_messages ORDER BY n)"),
        "unread,read,unread"
    );
    let table = run(&hub, &["inbox"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(
        table.starts_with("ID") && table.contains("letter 2") && table.contains("#2"),
        "{table}"
    );
    // Whoever looks into an inbox can be written to from then on.
    run(&hub, &["inbox", "--as", "newcomer"]);
    run(&hub, &["send", "newcomer", "hello"]);
    assert_eq!(titles(&["newcomer"]), ["hello"]);
    fails(&hub, &["inbox", "--limit", "0"], 2);
    fails(&hub, &["inbox", "--wait", "-1"], 2);
}

/// What an agent writes must not reach the terminal as a command.
#[test]
fn hostile_text_is_made_visible() {
    let hub = TestHub::not_started(&[]);
    hub.agenthub(&["path"]);
    hub.sql(
        "INSERT INTO inbox_messages(from_agent, to_inbox, title, payload) \
         VALUES('ev' || char(27) || ']0;x' || char(7), 'human', char(27) || '[2J' || char(8238) || 'x', 'p');",
    );
    let table = run(&hub, &["inbox"]);
    assert!(
        !table.contains('\u{1b}') && !table.contains('\u{202e}') && !table.contains('\u{7}'),
        "{table:?}"
    );
    assert!(table.contains("\\u{1b}"), "{table}");
    let json = run(&hub, &["inbox", "--json"]);
    assert!(!json.contains('\u{1b}'), "{json:?}");
}

/// Starts a command whose lines are read as they come.
#[track_caller]
pub(super) fn follow(hub: &TestHub, args: &[&str]) -> (Process, Lines<BufReader<ChildStdout>>) {
    let mut command = hub.command(args);
    command.stdout(Stdio::piped());
    let mut process = Process::start(command);
    let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    (process, lines)
}

/// Waits until another process has the file open: from then on it looks.
#[track_caller]
pub(super) fn wait_until_open(hub: &TestHub, process: &Process) {
    let fds = format!("/proc/{}/fd", process.0.id());
    if !std::path::Path::new("/proc/self/fd").exists() {
        return;
    }
    within("the command to open the file", || {
        let open = std::fs::read_dir(&fds)
            .ok()?
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.to_string_lossy().contains("inotify")));
        open.then_some(())
    });
    assert!(hub.db().exists());
}

/// Without it an agent would have to poll, or would miss what came before it looked.
#[test]
fn inbox_waits_for_mail_with_a_hub_and_without() {
    let mut hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    for with_hub in [false, true] {
        if with_hub {
            hub.launch();
        }
        let (mut process, mut lines) = follow(&hub, &["inbox", "--as", "worker", "--wait", "20", "--json"]);
        wait_until_open(&hub, &process);
        // Not for it: no reason to end.
        hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'somebody else')");
        hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a', 'worker', 'at last')");
        let written = Instant::now();
        let row: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(row["title"], "at last");
        assert!(written.elapsed() < TIMEOUT / 4, "{:?}", written.elapsed());
        assert!(process.0.wait().unwrap().success());
        assert!(lines.next().is_none());
        // What is there already is no reason to wait.
        let begun = Instant::now();
        assert!(run(&hub, &["inbox", "worker", "--wait", "20"]).contains("at last"));
        assert!(begun.elapsed() < Duration::from_secs(10));
        hub.sql("UPDATE inbox_messages SET status = 'read'");
    }
    let begun = Instant::now();
    fails(&hub, &["inbox", "--as", "worker", "--wait", "0.3"], 124);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    fails(&hub, &["inbox", "--as", "worker", "--wait", "0"], 124);
}
