//! The agents' own tools: `agenthub run`, `agenthub ingest` and `agenthub hook`, driven by
//! fixture programs that print what the vendors' programs print.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::support::{TestHub, within};

/// A recorded stream.
fn stream(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/streams")
        .join(name)
}

/// A file without a hub, and a folder `bin` for fixture programs, first on the path.
struct Bench {
    hub: TestHub,
}

impl Bench {
    fn new() -> Self {
        let hub = TestHub::asleep(&[]);
        fs::create_dir(hub.folder().join("bin")).unwrap();
        Self { hub }
    }

    /// A program of this name, in the language of the shell.
    fn program(&self, name: &str, script: &str) {
        let path = self.hub.folder().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.hub.command(args);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.hub.folder().join("bin").display()));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// `agenthub` with this on stdin.
    fn feed(&self, args: &[&str], input: &[u8]) -> Output {
        feed(self.command(args), input)
    }

    fn sql(&self, sql: &str) -> String {
        self.hub.sql(sql)
    }
}

fn feed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without having read everything.
    drop(child.stdin.take().unwrap().write_all(input));
    child.wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const LAST_STATUS: &str = "SELECT status FROM task_stream WHERE stream_type = 'status' ORDER BY id DESC LIMIT 1";

#[test]
fn a_run_passes_everything_through_and_becomes_rows() {
    let bench = Bench::new();
    let recorded = fs::read(stream("claude.jsonl")).unwrap();
    bench.program(
        "claude",
        &format!(
            "printf '%s\\n' \"$@\" > args; test -z \"$CLAUDE_CODE_SESSION_ID\" || exit 1; echo \"$AGENTHUB_TASK\" > task; cat > stdin; cat '{}'; printf 'no line break'; exit 7",
            stream("claude.jsonl").display()
        ),
    );
    let mut command = bench.command(&["run", "--", "claude", "-p", "fix the test"]);
    command.env("CLAUDE_CODE_SESSION_ID", "of the agent that starts this one");
    let output = feed(command, b"typed\n");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, [&recorded[..], b"no line break"].concat());
    assert_eq!(stderr(&output), "");
    let read = |name: &str| fs::read_to_string(bench.hub.folder().join(name)).unwrap();
    assert_eq!(
        read("args"),
        "--output-format\nstream-json\n--verbose\n-p\nfix the test\n"
    );
    assert_eq!(read("stdin"), "typed\n");
    assert_eq!(
        bench.sql("SELECT DISTINCT task_id FROM task_stream"),
        read("task").trim_end()
    );
    assert_eq!(
        bench.sql("SELECT DISTINCT directive FROM task_stream WHERE directive <> ''"),
        "fix the test"
    );
    assert_eq!(
        bench.sql("SELECT id, status, workspace FROM agents"),
        "claude-0f6c1c1e|error|/home/ada/api",
        "the exit code has the last word"
    );
    assert_eq!(
        bench.sql(
            "SELECT count(*), count(DISTINCT call_id) FROM task_stream WHERE stream_type IN ('tool_use', 'tool_result')"
        ),
        "6|3"
    );
    assert_eq!(
        bench.sql("SELECT sum(tokens_in), sum(tokens_out), round(sum(cost), 4) FROM task_stream"),
        bench.sql("SELECT tokens_in, tokens_out, cost FROM telemetry ORDER BY id DESC LIMIT 1")
    );
}

#[test]
fn every_vendor_ends_as_it_says() {
    let bench = Bench::new();
    for (command, name, code, status) in [
        (&["codex", "exec", "go"][..], "codex.jsonl", 0, "completed"),
        (&["codex", "exec", "go"], "codex-failed.jsonl", 1, "failed"),
        (&["codex", "exec", "go"], "codex-truncated.jsonl", 0, "failed"),
        (&["gemini", "-p", "go"], "gemini.jsonl", 0, "completed"),
        (&["gemini", "-p", "go"], "gemini-error.jsonl", 53, "failed"),
        (&["claude", "-p", "go"], "claude-broken.jsonl", 0, "failed"),
        (&["cursor-agent", "-p", "go"], "cursor.jsonl", 0, "completed"),
    ] {
        bench.program(command[0], &format!("cat '{}'; exit {code}", stream(name).display()));
        let output = bench.run(&[&["run", "--as", "tester", "--"], command].concat());
        assert_eq!(output.status.code(), Some(code), "{name}: {}", stderr(&output));
        assert_eq!(output.stdout, fs::read(stream(name)).unwrap(), "{name}");
        assert_eq!(bench.sql(LAST_STATUS), status, "{name}");
    }
    assert_eq!(bench.sql("SELECT group_concat(id) FROM agents"), "tester");
    // Codex counts its thread: two runs of it show the same total, not twice as much.
    assert_eq!(
        bench.sql("SELECT max(tokens_in) FROM telemetry WHERE model IS NULL AND agent_id = 'tester'"),
        "30000"
    );
}

#[test]
fn rows_are_there_while_the_program_runs() {
    let bench = Bench::new();
    bench.program(
        "codex",
        "echo '{\"type\":\"thread.started\",\"thread_id\":\"abcdefgh-1\"}'; echo '{\"type\":\"turn.started\"}'; read -r line",
    );
    let mut command = bench.command(&["run", "--", "codex", "exec", "wait"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    within("the turn's row", || {
        let db = bench.hub.db();
        (db.exists() && {
            let found = super::support::writer::try_sqlite3(
                db,
                "SELECT agent_id FROM task_stream WHERE stream_type = 'turn_start'",
            );
            found.stdout == b"codex-abcdefgh\n"
        })
        .then_some(())
    });
    drop(child.stdin.take());
    // `read` at the end of its input fails.
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(bench.sql(LAST_STATUS), "failed");
}

#[test]
fn signals_reach_the_program_and_end_the_task() {
    let bench = Bench::new();
    let started = "echo '{\"type\":\"thread.started\",\"thread_id\":\"s\"}'";
    for (trap, signal, code, why) in [
        ("", Signal::TERM, 143, "signal 15 ended it"),
        ("", Signal::INT, 130, "signal 2 ended it"),
        ("", Signal::HUP, 129, "signal 1 ended it"),
        ("trap 'exit 9' TERM", Signal::TERM, 9, "it exited with code 9"),
    ] {
        // The signal comes when the first line has: the trap is set by then.
        bench.program("codex", &format!("{trap}\n{started}\nwhile :; do :; done"));
        let mut command = bench.command(&["run", "--", "codex", "exec", "x"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = within("the end", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(code), "{status}");
        let error = "SELECT error_msg FROM task_stream WHERE stream_type = 'error' ORDER BY id DESC LIMIT 1";
        assert_eq!(bench.sql(error), why);
        assert_eq!(bench.sql(LAST_STATUS), "failed");
    }
    // A program that dies by itself.
    bench.program("codex", &format!("{started}; kill -9 $$"));
    assert_eq!(bench.run(&["run", "--", "codex", "exec", "x"]).status.code(), Some(137));
    assert_eq!(bench.sql(LAST_STATUS), "failed");
}

#[test]
fn a_run_needs_no_file_and_no_home() {
    let bench = Bench::new();
    bench.program("codex", &format!("cat '{}'", stream("codex.jsonl").display()));
    let recorded = fs::read(stream("codex.jsonl")).unwrap();
    fs::write(
        bench.hub.folder().join("other.db"),
        "no database at all, but long enough to be looked at",
    )
    .unwrap();
    let cases: [(&str, Option<&str>); 3] = [
        ("AGENTHUB_DB", Some("/proc/nowhere/hub.db")),
        ("AGENTHUB_DB", Some("other.db")),
        ("HOME", None),
    ];
    for (name, value) in cases {
        let mut command = bench.command(&["run", "--", "codex", "exec", "x"]);
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove("AGENTHUB_DB").env("HOME", "/proc/nowhere"),
        };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stdout, recorded);
        let said = stderr(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("agenthub: cannot record this run: "), "{said}");
    }
}

#[test]
fn a_locked_file_holds_up_neither_the_program_nor_its_output() {
    let bench = Bench::new();
    bench.run(&["path"]);
    bench.program(
        "codex",
        &format!("cat '{}'; echo done > done", stream("codex.jsonl").display()),
    );
    let mut holder = Command::new("sqlite3");
    holder.arg(bench.hub.db()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = super::support::writer::Process::start(holder);
    let mut stdin = holder.0.stdin.take().unwrap();
    stdin.write_all(b"BEGIN IMMEDIATE; SELECT 'held';\n").unwrap();
    let mut held = [0; 4];
    holder.0.stdout.as_mut().unwrap().read_exact(&mut held).unwrap();
    let mut command = bench.command(&["run", "--", "codex", "exec", "x"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    within("the program's end", || {
        bench.hub.folder().join("done").exists().then_some(())
    });
    assert!(child.try_wait().unwrap().is_none(), "its rows still wait for the lock");
    stdin.write_all(b"ROLLBACK;\n.quit\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(bench.sql(LAST_STATUS), "completed");
}

#[test]
fn a_run_is_refused_where_it_could_tell_nothing() {
    let bench = Bench::new();
    for (args, code, hint) in [
        (&["claude"][..], 2, "agenthub init"),
        (&["claude", "-p", "x", "--output-format", "text"], 2, "leave it out"),
        (&["my-agent"], 2, "--format"),
        (&["/nowhere/claude", "-p", "x"], 127, "cannot find"),
        (&["/dev/null/claude", "-p", "x"], 126, "cannot start"),
    ] {
        let output = bench.run(&[&["run", "--"], args].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(hint), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_program_as_a_pipe_would() {
    let bench = Bench::new();
    bench.program(
        "codex",
        "while :; do echo '{\"type\":\"turn.started\"}' || exit 3; done",
    );
    let mut command = bench.command(&["run", "--", "codex", "exec", "x"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = within("the end", || child.try_wait().unwrap());
    assert!(matches!(status.code(), Some(3 | 141)), "{status}");
    assert_eq!(bench.sql(LAST_STATUS), "failed");
}

#[test]
fn a_child_that_outlives_the_program_holds_nobody_up() {
    let bench = Bench::new();
    let told = bench.hub.folder().join("outlives");
    bench.program(
        "codex",
        &format!(
            "cat '{}'; sleep 30 & echo $! >'{}'",
            stream("codex.jsonl").display(),
            told.display()
        ),
    );
    let begun = std::time::Instant::now();
    let mut command = bench.command(&["run", "--", "codex", "exec", "x"]);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    assert!(begun.elapsed().as_secs() < 20);
    assert_eq!(bench.sql(LAST_STATUS), "completed");
    let pid = fs::read_to_string(told).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn ten_megabytes_in_a_line_pass_through() {
    let bench = Bench::new();
    bench.program(
        "codex",
        "printf '{\"type\":\"item.completed\",\"item\":{\"id\":\"i\",\"type\":\"agent_message\",\"text\":\"'; \
         head -c 10485760 /dev/zero | tr '\\0' y; printf '\"}}\\n'",
    );
    let output = bench.run(&["run", "--", "codex", "exec", "x"]);
    assert!(output.stdout.len() > 10 << 20 && output.stdout.ends_with(b"yy\"}}\n"));
    let length: i64 = bench
        .sql("SELECT length(text) FROM task_stream WHERE stream_type = 'text'")
        .parse()
        .unwrap();
    assert!((1 << 16..1 << 20).contains(&length), "{length}");
}

#[test]
fn streams_are_ingested_from_stdin() {
    let bench = Bench::new();
    for (format, name, status) in [
        ("claude-stream-json", "claude.jsonl", "completed"),
        ("codex-json", "codex-truncated.jsonl", "failed"),
        ("gemini-json", "gemini.jsonl", "completed"),
    ] {
        let output = bench.feed(
            &["ingest", "--format", format, "--task", name],
            &fs::read(stream(name)).unwrap(),
        );
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
        assert_eq!(bench.sql(LAST_STATUS), status, "{name}");
    }
    assert_eq!(bench.sql("SELECT count(DISTINCT task_id) FROM task_stream"), "3");
    let mut command = bench.command(&["ingest", "--format", "codex-json"]);
    command.env("AGENTHUB_DB", "/proc/nowhere/hub.db");
    assert_eq!(feed(command, b"{}\n").status.code(), Some(3));
}

/// A hook's event, as its tool sends it.
fn event(session: &str, name: &str, more: &str) -> Vec<u8> {
    let comma = if more.is_empty() { "" } else { "," };
    format!("{{\"session_id\":\"{session}\",\"hook_event_name\":\"{name}\",\"cwd\":\"/home/ada/api\",\"transcript_path\":\"/t\"{comma}{more}}}")
        .into_bytes()
}

impl Bench {
    /// Runs a hook; it succeeds and says nothing on stderr, whatever else. What it prints, as JSON.
    #[track_caller]
    fn hook(&self, tool: &str, input: &[u8]) -> serde_json::Value {
        self.hook_with(tool, input, &[("AGENTHUB_AGENT", "planner")])
    }

    #[track_caller]
    fn hook_with(&self, tool: &str, input: &[u8], variables: &[(&str, &str)]) -> serde_json::Value {
        let mut command = self.command(&["hook", tool]);
        command.envs(variables.iter().copied());
        let output = feed(command, input);
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
        if output.stdout.is_empty() {
            return serde_json::Value::Null;
        }
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn send(&self, text: &str) {
        self.run(&["path"]);
        self.sql(&format!(
            "INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('reviewer', 'planner', '{text}')"
        ));
    }

    fn receipts(&self) -> String {
        self.sql("SELECT m.n, r.state, r.via FROM receipts r JOIN inbox_messages m USING(message_id) ORDER BY r.n")
    }
}

#[track_caller]
fn context<'a>(answer: &'a serde_json::Value, event: &str) -> &'a str {
    assert_eq!(answer["hookSpecificOutput"]["hookEventName"], event, "{answer}");
    assert_eq!(answer.as_object().unwrap().len(), 1);
    assert_eq!(answer["hookSpecificOutput"].as_object().unwrap().len(), 2);
    answer["hookSpecificOutput"]["additionalContext"].as_str().unwrap()
}

#[test]
fn a_session_of_claude_becomes_a_task() {
    let bench = Bench::new();
    let tool = r#""tool_name":"Bash","tool_input":{"command":"ls"},"tool_use_id":"toolu_1""#;
    for (name, more) in [
        (
            "SessionStart",
            r#""source":"startup","model":"claude-opus-4-8""#.to_owned(),
        ),
        ("UserPromptSubmit", r#""prompt":"fix the ünïcode test""#.to_owned()),
        ("PreToolUse", tool.to_owned()),
        ("PermissionRequest", tool.to_owned()),
        (
            "PostToolUse",
            format!(r#"{tool},"tool_response":{{"stdout":"a","stderr":""}},"duration_ms":2500"#),
        ),
        ("PreToolUse", tool.replace("toolu_1", "toolu_2")),
        (
            "PostToolUseFailure",
            format!(r#"{},"error":"exit code 1""#, tool.replace("toolu_1", "toolu_2")),
        ),
        ("PostToolBatch", r#""tool_calls":[]"#.to_owned()),
        (
            "Stop",
            r#""stop_hook_active":false,"last_assistant_message":"It is fixed.""#.to_owned(),
        ),
        ("UserPromptSubmit", r#""prompt":"thanks""#.to_owned()),
        ("SessionEnd", r#""reason":"other""#.to_owned()),
    ] {
        let answer = bench.hook_with(
            "claude-code",
            &event("12345678-abcd", name, &more),
            &[("CLAUDE_PID", "4242")],
        );
        assert!(answer.is_null(), "{name}: {answer}");
    }
    assert_eq!(
        bench.sql("SELECT group_concat(stream_type || coalesce(turn_num, ''), ' ') FROM task_stream"),
        "turn_start1 status1 tool_use1 status1 tool_result1 tool_use1 tool_result1 text1 turn_end1 status1 turn_start2 \
         status2 error2 status2"
    );
    assert_eq!(
        bench.sql("SELECT DISTINCT task_id, agent_id FROM task_stream"),
        "claude-12345678-abcd|claude-12345678"
    );
    assert_eq!(
        bench.sql("SELECT tool_output, duration_sec, error_msg FROM task_stream WHERE stream_type = 'tool_result'"),
        "a|2|\n||exit code 1"
    );
    assert_eq!(
        bench.sql("SELECT directive FROM task_stream WHERE turn_num = 1 AND directive <> ''"),
        "fix the ünïcode test"
    );
    assert_eq!(
        bench.sql("SELECT id, status, workspace, pid FROM agents"),
        "claude-12345678|idle|/home/ada/api|4242"
    );
    assert_eq!(bench.sql(LAST_STATUS), "failed", "the second turn was never finished");
}

#[test]
fn mail_is_put_before_the_model_once_at_the_documented_places() {
    let bench = Bench::new();
    bench.hook("claude-code", &event("s", "SessionStart", ""));
    bench.send("one");
    let answer = bench.hook("claude-code", &event("s", "UserPromptSubmit", r#""prompt":"go""#));
    let shown = context(&answer, "UserPromptSubmit");
    assert!(
        shown.contains("\n| one\n") && shown.contains("from reviewer") && shown.contains("not from the user"),
        "{shown}"
    );
    assert_eq!(bench.receipts(), "1|offered|claude-code UserPromptSubmit");

    // Tools that run beside the model's words prove nothing; the next batch does.
    bench.send("two");
    assert!(bench.hook("claude-code", &event("s", "PreToolUse", "")).is_null());
    assert_eq!(bench.sql("SELECT status FROM inbox_messages WHERE n = 1"), "unread");
    // A subagent is not who the mail is for.
    assert!(
        bench
            .hook("claude-code", &event("s", "PostToolBatch", r#""agent_id":"sub""#))
            .is_null()
    );
    let answer = bench.hook("claude-code", &event("s", "PostToolBatch", ""));
    assert!(context(&answer, "PostToolBatch").contains("| two"));
    assert!(!context(&answer, "PostToolBatch").contains("| one"));
    assert_eq!(bench.sql("SELECT n, status FROM inbox_messages"), "1|read\n2|unread");
    assert!(bench.hook("claude-code", &event("s", "PostToolBatch", "")).is_null());
    assert_eq!(bench.sql("SELECT n, status FROM inbox_messages"), "1|read\n2|read");

    // Codex: other places, the same mail.
    bench.send("three");
    let answer = bench.hook(
        "codex",
        &event("c", "PostToolUse", r#""tool_name":"shell","tool_response":"ok""#),
    );
    assert!(context(&answer, "PostToolUse").contains("| three"));
    assert!(bench.hook("codex", &event("c", "PreToolUse", "")).is_null());
    bench.send("four");
    let answer = bench.hook("codex", &event("c", "Stop", r#""stop_hook_active":false"#));
    assert_eq!(answer["decision"], "block");
    assert!(answer["reason"].as_str().unwrap().contains("| four"));
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
}

#[test]
fn what_a_session_missed_is_offered_to_the_next() {
    let bench = Bench::new();
    bench.send("one");
    let answer = bench.hook("claude-code", &event("s1", "UserPromptSubmit", ""));
    assert!(context(&answer, "UserPromptSubmit").contains("| one"));
    // That session died before the model spoke.
    let answer = bench.hook("claude-code", &event("s2", "SessionStart", ""));
    assert!(context(&answer, "SessionStart").contains("| one"));
    bench.hook("claude-code", &event("s2", "Stop", ""));
    assert!(bench.hook("claude-code", &event("s3", "SessionStart", "")).is_null());
}

#[test]
fn a_session_can_always_stop() {
    let bench = Bench::new();
    let stop = |more: &str| bench.hook("claude-code", &event("s", "Stop", more));
    bench.send("one");
    assert!(stop(r#""stop_hook_active":true"#).is_null(), "it was kept a moment ago");
    assert_eq!(bench.sql("SELECT count(*) FROM receipts"), "0", "and the mail waits");
    assert!(!stop("").is_null());
    assert!(stop("").is_null(), "the same mail is no reason twice");
    // Somebody who never stops writing does not keep anybody for ever.
    let kept = (0..20)
        .filter(|i| {
            bench.send(&format!("again {i}"));
            !stop(r#""stop_hook_active":false"#).is_null()
        })
        .count();
    assert_eq!(kept, 5, "with the first, as often an hour as is allowed");
    assert_eq!(bench.sql(LAST_STATUS), "completed");
    let answer = bench.hook("claude-code", &event("s", "UserPromptSubmit", ""));
    assert_eq!(
        context(&answer, "UserPromptSubmit").matches("--- message").count(),
        5,
        "no more at once"
    );
}

#[test]
fn a_run_is_recorded_once() {
    let bench = Bench::new();
    bench.send("one");
    let within_run = [("AGENTHUB_AGENT", "planner"), ("AGENTHUB_TASK", "run-1")];
    let answer = bench.hook_with("claude-code", &event("s", "UserPromptSubmit", ""), &within_run);
    assert!(context(&answer, "UserPromptSubmit").contains("| one"));
    assert_eq!(bench.sql("SELECT count(*) FROM task_stream"), "0");
}

#[test]
fn cursor_is_left_alone() {
    let bench = Bench::new();
    bench.send("one");
    let prompt = event("s", "UserPromptSubmit", "");
    for variables in [
        &[("CURSOR_VERSION", "3.2")][..],
        &[("CURSOR_VERSION", "3.2"), ("CLAUDE_CODE_SESSION_ID", "other")],
    ] {
        let all: Vec<_> = variables
            .iter()
            .copied()
            .chain([("AGENTHUB_AGENT", "planner")])
            .collect();
        assert!(bench.hook_with("claude-code", &prompt, &all).is_null());
    }
    assert!(
        bench
            .hook(
                "claude-code",
                &event("s", "UserPromptSubmit", r#""cursor_version":"3.2""#)
            )
            .is_null()
    );
    assert_eq!(bench.sql("SELECT count(*) FROM receipts"), "0");
    // Claude itself, in a terminal of Cursor's.
    let own = [
        ("CURSOR_VERSION", "3.2"),
        ("CLAUDE_CODE_SESSION_ID", "s"),
        ("AGENTHUB_AGENT", "planner"),
    ];
    assert!(!bench.hook_with("claude-code", &prompt, &own).is_null());
}

#[test]
fn a_hook_that_fails_is_silent() {
    let bench = Bench::new();
    bench.send("one");
    let good = event("s", "UserPromptSubmit", "");
    let silent = |mut command: Command, input: &[u8]| {
        command.env("AGENTHUB_AGENT", "planner");
        let output = feed(command, input);
        assert_eq!(
            (output.status.code(), output.stdout.len(), output.stderr.len()),
            (Some(0), 0, 0),
            "{output:?}"
        );
    };
    let hook = |tool: &str| bench.command(&["hook", tool]);
    let long = [
        b"{\"session_id\":\"s\",\"hook_event_name\":\"Stop\",\"x\":\"".as_slice(),
        &vec![b'x'; 33 << 20],
    ]
    .concat();
    for garbage in [
        &b""[..],
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b"{\"session_id\":7}",
        b"{\"session_id\":\"s\"}",
        &long,
    ] {
        silent(hook("claude-code"), garbage);
    }
    silent(hook("claude-code"), &event("s", "AnEventOfTomorrow", ""));
    silent(
        hook("claude-code"),
        &event(&"s".repeat(2 << 20), "UserPromptSubmit", ""),
    );
    silent(hook("gemini-of-tomorrow"), &good);
    silent(hook("--an-option-of-tomorrow"), &good);
    silent(bench.command(&["hook"]), &good);
    silent(
        bench.command(&["--db", "x", "hook", "claude-code", "more", "--help"]),
        b"{}",
    );
    for (name, value) in [
        ("AGENTHUB_DB", ""),
        ("AGENTHUB_DB", "/proc/nowhere/hub.db"),
        ("AGENTHUB_DB", "/dev/full"),
        ("AGENTHUB_LOG", "trace"),
    ] {
        let mut command = hook("claude-code");
        command.env(name, value);
        if name == "AGENTHUB_LOG" {
            command.env("AGENTHUB_DB", "/proc/nowhere/hub.db");
        }
        silent(command, &good);
    }
    let mut homeless = hook("claude-code");
    homeless.env_remove("AGENTHUB_DB").env("HOME", "/proc/nowhere");
    silent(homeless, &good);
    // A tool that does not read the answer.
    let mut deaf = hook("claude-code");
    deaf.env("AGENTHUB_AGENT", "planner");
    deaf.stdin(Stdio::piped())
        .stdout(fs::File::create("/dev/full").unwrap())
        .stderr(Stdio::piped());
    let mut child = deaf.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&good).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn a_hook_waits_for_the_lock_a_moment_and_no_longer() {
    let bench = Bench::new();
    bench.run(&["path"]);
    bench.send("one");
    let mut holder = Command::new("sqlite3");
    holder.arg(bench.hub.db()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = super::support::writer::Process::start(holder);
    let mut stdin = holder.0.stdin.take().unwrap();
    stdin.write_all(b"BEGIN IMMEDIATE; SELECT 'held';\n").unwrap();
    let mut held = [0; 4];
    holder.0.stdout.as_mut().unwrap().read_exact(&mut held).unwrap();
    let begun = std::time::Instant::now();
    assert!(bench.hook("claude-code", &event("s", "UserPromptSubmit", "")).is_null());
    let took = begun.elapsed();
    assert!((200..1500).contains(&took.as_millis()), "{took:?}");
    stdin.write_all(b"ROLLBACK;\n.quit\n").unwrap();
    within("the lock", || holder.0.try_wait().unwrap());
    let answer = bench.hook("claude-code", &event("s", "UserPromptSubmit", ""));
    assert!(
        context(&answer, "UserPromptSubmit").contains("| one"),
        "nothing was lost"
    );
}

#[test]
fn hooks_at_the_same_time_hand_mail_over_once() {
    let bench = Bench::new();
    bench.send("one");
    let answers: Vec<serde_json::Value> = std::thread::scope(|scope| {
        let input = event("s", "PostToolUse", "");
        let runs: Vec<_> = (0..6)
            .map(|_| {
                let (bench, input) = (&bench, input.clone());
                let mut command = bench.command(&["hook", "codex"]);
                command.env("AGENTHUB_AGENT", "planner");
                scope.spawn(move || feed(command, &input).stdout)
            })
            .collect();
        runs.into_iter()
            .map(|run| run.join().unwrap())
            .filter(|out| !out.is_empty())
            .map(|out| serde_json::from_slice(&out).unwrap())
            .collect()
    });
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(
        bench.sql("SELECT count(*) FROM task_stream WHERE stream_type = 'tool_result'"),
        "6"
    );
}

#[test]
fn a_full_disk_is_nobody_elses_business() {
    let bench = Bench::new();
    bench.send("one");
    bench.program("codex", &format!("cat '{}'", stream("codex.jsonl").display()));
    // Files may not grow: every write beyond the first kilobyte fails.
    let full = |args: &[&str]| {
        let mut command = Command::new("sh");
        let ours = bench.command(args);
        command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]);
        command.arg(ours.get_program()).args(ours.get_args()).env_clear();
        command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("AGENTHUB_AGENT", "planner").current_dir(bench.hub.folder());
        command
    };
    let output = feed(full(&["hook", "claude-code"]), &event("s", "UserPromptSubmit", ""));
    assert_eq!(
        (output.status.code(), output.stdout.len(), output.stderr.len()),
        (Some(0), 0, 0),
        "{output:?}"
    );
    let output = feed(full(&["run", "--", "codex", "exec", "x"]), b"");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, fs::read(stream("codex.jsonl")).unwrap());
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    // With room again, nothing is lost that was there before.
    let answer = bench.hook("claude-code", &event("s", "UserPromptSubmit", ""));
    assert!(context(&answer, "UserPromptSubmit").contains("| one"));
}
