//! `agenthub run` and `agenthub ingest`, with scripts that print recorded streams of the tools.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::support::writer::LockHolder;
use super::support::{TestHub, wait_for};

/// Returns the path of a recorded stream.
pub(super) fn stream(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/streams")
        .join(name)
}

/// A database without a hub, and a folder for scripts that is first on `PATH`.
pub(super) struct Sandbox {
    pub(super) hub: TestHub,
}

impl Sandbox {
    pub(super) fn new() -> Self {
        let hub = TestHub::not_started(&[]);
        fs::create_dir(hub.folder().join("bin")).unwrap();
        Self { hub }
    }

    /// Creates a shell script with this name in that folder.
    pub(super) fn program(&self, name: &str, script: &str) {
        let path = self.hub.folder().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.hub.command(args);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.hub.folder().join("bin").display()));
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs `agenthub` with this input.
    pub(super) fn run_with_input(&self, args: &[&str], input: &[u8]) -> Output {
        output_with_input(self.command(args), input)
    }

    pub(super) fn sql(&self, sql: &str) -> String {
        self.hub.sql(sql)
    }
}

pub(super) fn output_with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading its input.
    drop(child.stdin.take().unwrap().write_all(input));
    child.wait_with_output().unwrap()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(super) const LAST_STATUS: &str =
    "SELECT status FROM task_stream WHERE stream_type = 'status' ORDER BY id DESC LIMIT 1";

#[test]
fn run_passes_output_through_and_records_it() {
    let sandbox = Sandbox::new();
    let recorded = fs::read(stream("claude.jsonl")).unwrap();
    sandbox.program(
        "claude",
        &format!(
            "printf '%s\\n' \"$@\" > args; test -z \"$CLAUDE_CODE_SESSION_ID\" || exit 1; test \"$AGENTHUB_TASK_VENDOR\" = claude || exit 1; echo \"$AGENTHUB_TASK\" > task; cat > stdin; cat '{}'; printf 'no line break'; exit 7",
            stream("claude.jsonl").display()
        ),
    );
    let mut command = sandbox.command(&["run", "--", "claude", "-p", "fix the test"]);
    command.env("CLAUDE_CODE_SESSION_ID", "of the agent that runs this command");
    let output = output_with_input(command, b"typed\n");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, [&recorded[..], b"no line break"].concat());
    assert_eq!(stderr(&output), "");
    let read = |name: &str| fs::read_to_string(sandbox.hub.folder().join(name)).unwrap();
    assert_eq!(
        read("args"),
        "--output-format\nstream-json\n--verbose\n-p\nfix the test\n"
    );
    assert_eq!(read("stdin"), "typed\n");
    assert_eq!(
        sandbox.sql("SELECT DISTINCT task_id FROM task_stream"),
        read("task").trim_end()
    );
    assert_eq!(
        sandbox.sql("SELECT DISTINCT directive FROM task_stream WHERE directive <> ''"),
        "fix the test"
    );
    assert_eq!(
        sandbox.sql("SELECT id, status, workspace FROM agents"),
        "claude-0f6c1c1e|error|/home/ada/api",
        "the exit code overrides the result"
    );
    assert_eq!(
        sandbox.sql(
            "SELECT count(*), count(DISTINCT call_id) FROM task_stream WHERE stream_type IN ('tool_use', 'tool_result')"
        ),
        "6|3"
    );
    assert_eq!(
        sandbox.sql("SELECT sum(tokens_in), sum(tokens_out), round(sum(cost), 4) FROM task_stream"),
        sandbox.sql("SELECT tokens_in, tokens_out, cost FROM telemetry ORDER BY id DESC LIMIT 1")
    );
}

#[test]
fn run_does_not_inherit_the_name_of_the_agent_that_started_it() {
    let sandbox = Sandbox::new();
    sandbox.program(
        "codex",
        &format!(
            "echo \"<$AGENTHUB_AGENT>\" >> names; cat '{}'",
            stream("codex.jsonl").display()
        ),
    );
    let agent_variables = [("AGENTHUB_TASK", "run-1"), ("CLAUDE_CODE_SESSION_ID", "s")];
    let start = |given: &[&str], around: &[(&str, &str)]| {
        let args = [&["run"], given, &["--", "codex", "exec", "x"]].concat();
        let mut command = sandbox.command(&args);
        command.env("AGENTHUB_AGENT", "planner").envs(around.iter().copied());
        assert!(command.output().unwrap().status.success());
        sandbox.sql("SELECT agent_id FROM task_stream ORDER BY id DESC LIMIT 1")
    };
    assert_eq!(start(&[], &[]), "planner");
    for variable in &agent_variables {
        assert!(start(&[], &[*variable]).starts_with("codex-"));
    }
    assert_eq!(start(&["--as", "worker"], &agent_variables), "worker");
    assert_eq!(
        fs::read_to_string(sandbox.hub.folder().join("names")).unwrap(),
        "<planner>\n<>\n<>\n<worker>\n"
    );
}

#[test]
fn every_tool_ends_with_its_status_and_exit_code() {
    let sandbox = Sandbox::new();
    for (command, name, code, status) in [
        (&["codex", "exec", "go"][..], "codex.jsonl", 0, "completed"),
        (&["codex", "exec", "go"], "codex-failed.jsonl", 1, "failed"),
        (&["codex", "exec", "go"], "codex-truncated.jsonl", 0, "failed"),
        (&["gemini", "-p", "go"], "gemini.jsonl", 0, "completed"),
        (&["gemini", "-p", "go"], "gemini-error.jsonl", 53, "failed"),
        (&["claude", "-p", "go"], "claude-broken.jsonl", 0, "failed"),
        (&["cursor-agent", "-p", "go"], "cursor.jsonl", 0, "completed"),
    ] {
        sandbox.program(command[0], &format!("cat '{}'; exit {code}", stream(name).display()));
        let output = sandbox.run(&[&["run", "--as", "tester", "--"], command].concat());
        assert_eq!(output.status.code(), Some(code), "{name}: {}", stderr(&output));
        assert_eq!(output.stdout, fs::read(stream(name)).unwrap(), "{name}");
        assert_eq!(sandbox.sql(LAST_STATUS), status, "{name}");
    }
    assert_eq!(sandbox.sql("SELECT group_concat(id) FROM agents"), "tester");
    // Codex counts per thread: two runs of the same thread do not add up.
    assert_eq!(
        sandbox.sql("SELECT max(tokens_in) FROM telemetry WHERE model IS NULL AND agent_id = 'tester'"),
        "30000"
    );
}

#[test]
fn rows_are_written_while_the_program_runs() {
    let sandbox = Sandbox::new();
    sandbox.program(
        "codex",
        "echo '{\"type\":\"thread.started\",\"thread_id\":\"abcdefgh-1\"}'; echo '{\"type\":\"turn.started\"}'; read -r line",
    );
    let mut command = sandbox.command(&["run", "--", "codex", "exec", "wait"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the turn's row", || {
        let db = sandbox.hub.db();
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
    // `read` fails at the end of its input.
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(sandbox.sql(LAST_STATUS), "failed");
}

/// Returns the command with default signal handling, however the tests were started.
fn with_default_signals(original: &Command) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,QUIT,TERM,USR1,USR2");
    command.arg(original.get_program()).args(original.get_args());
    for (name, value) in original.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(folder) = original.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

#[test]
fn signals_are_forwarded_and_end_the_task() {
    let sandbox = Sandbox::new();
    let started = "echo '{\"type\":\"thread.started\",\"thread_id\":\"s\"}'";
    for (trap, signal, code, reason) in [
        ("", Signal::TERM, 143, "ended by signal 15"),
        ("", Signal::INT, 130, "ended by signal 2"),
        ("", Signal::HUP, 129, "ended by signal 1"),
        ("", Signal::QUIT, 131, "ended by signal 3"),
        ("", Signal::USR1, 138, "ended by signal 10"),
        ("trap 'exit 9' TERM", Signal::TERM, 9, "exited with code 9"),
    ] {
        // The trap is set once the first line has been printed.
        sandbox.program("codex", &format!("{trap}\n{started}\nwhile :; do :; done"));
        let mut command = with_default_signals(&sandbox.command(&["run", "--", "codex", "exec", "x"]));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = wait_for("the process to exit", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(code), "{status}");
        let error = "SELECT error_msg FROM task_stream WHERE stream_type = 'error' ORDER BY id DESC LIMIT 1";
        assert_eq!(sandbox.sql(error), reason);
        assert_eq!(sandbox.sql(LAST_STATUS), "failed");
    }
    // The program is killed by a signal that was not forwarded.
    sandbox.program("codex", &format!("{started}; kill -9 $$"));
    assert_eq!(
        sandbox.run(&["run", "--", "codex", "exec", "x"]).status.code(),
        Some(137)
    );
    assert_eq!(sandbox.sql(LAST_STATUS), "failed");
}

#[test]
fn run_works_without_database_and_home() {
    let sandbox = Sandbox::new();
    sandbox.program("codex", &format!("cat '{}'", stream("codex.jsonl").display()));
    let recorded = fs::read(stream("codex.jsonl")).unwrap();
    fs::write(
        sandbox.hub.folder().join("other.db"),
        "not a database, but long enough to be examined",
    )
    .unwrap();
    let cases: [(&str, Option<&str>); 3] = [
        ("AGENTHUB_DB", Some("/proc/nowhere/hub.db")),
        ("AGENTHUB_DB", Some("other.db")),
        ("HOME", None),
    ];
    for (name, value) in cases {
        let mut command = sandbox.command(&["run", "--", "codex", "exec", "x"]);
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove("AGENTHUB_DB").env("HOME", "/proc/nowhere"),
        };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stdout, recorded);
        let error = stderr(&output);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("agenthub: cannot record this run: "), "{error}");
    }
}

#[test]
fn locked_database_does_not_delay_the_program() {
    let sandbox = Sandbox::new();
    sandbox.run(&["path"]);
    sandbox.program(
        "codex",
        &format!("cat '{}'; echo done > done", stream("codex.jsonl").display()),
    );
    let holder = LockHolder::take(sandbox.hub.db(), "BEGIN IMMEDIATE");
    let mut command = sandbox.command(&["run", "--", "codex", "exec", "x"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    wait_for("the program to exit", || {
        sandbox.hub.folder().join("done").exists().then_some(())
    });
    assert!(child.try_wait().unwrap().is_none(), "its rows are not written yet");
    holder.release();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.sql(LAST_STATUS), "completed");
}

#[test]
fn refuses_commands_that_cannot_be_recorded() {
    let sandbox = Sandbox::new();
    for (args, code, hint) in [
        (&["claude"][..], 2, "agenthub init"),
        (&["claude", "-p", "x", "--output-format", "text"], 2, "leave it out"),
        (
            &["my-agent"],
            2,
            "unsupported program \"my-agent\"; supported: claude, codex, gemini, cursor-agent, opencode, qwen, copilot, kimi, or pass --format",
        ),
        (&["/nowhere/claude", "-p", "x"], 127, "cannot find"),
        (&["/dev/null/claude", "-p", "x"], 126, "cannot start"),
    ] {
        let output = sandbox.run(&[&["run", "--"], args].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(hint), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn closed_stdout_ends_the_program() {
    let sandbox = Sandbox::new();
    sandbox.program(
        "codex",
        "while :; do echo '{\"type\":\"turn.started\"}' || exit 3; done",
    );
    let mut command = sandbox.command(&["run", "--", "codex", "exec", "x"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = wait_for("the process to exit", || child.try_wait().unwrap());
    assert!(matches!(status.code(), Some(3 | 141)), "{status}");
    assert_eq!(sandbox.sql(LAST_STATUS), "failed");
}

#[test]
fn process_that_keeps_the_pipe_open_does_not_delay_the_end() {
    let sandbox = Sandbox::new();
    let pid_file = sandbox.hub.folder().join("pid");
    sandbox.program(
        "codex",
        &format!(
            "cat '{}'; sleep 30 & echo $! >'{}'",
            stream("codex.jsonl").display(),
            pid_file.display()
        ),
    );
    let begun = std::time::Instant::now();
    let mut command = sandbox.command(&["run", "--", "codex", "exec", "x"]);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    assert!(begun.elapsed().as_secs() < 20);
    assert_eq!(sandbox.sql(LAST_STATUS), "completed");
    let pid = fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn long_line_passes_through_and_is_truncated_in_its_row() {
    let sandbox = Sandbox::new();
    sandbox.program(
        "codex",
        "printf '{\"type\":\"item.completed\",\"item\":{\"id\":\"i\",\"type\":\"agent_message\",\"text\":\"'; \
         head -c 10485760 /dev/zero | tr '\\0' y; printf '\"}}\\n'",
    );
    let output = sandbox.run(&["run", "--", "codex", "exec", "x"]);
    assert!(output.stdout.len() > 10 << 20 && output.stdout.ends_with(b"yy\"}}\n"));
    let length: i64 = sandbox
        .sql("SELECT length(text) FROM task_stream WHERE stream_type = 'text'")
        .parse()
        .unwrap();
    assert!((1 << 16..1 << 20).contains(&length), "{length}");
}

#[test]
fn ingest_records_streams_from_stdin() {
    let sandbox = Sandbox::new();
    for (format, name, status) in [
        ("claude-stream-json", "claude.jsonl", "completed"),
        ("codex-json", "codex-truncated.jsonl", "failed"),
        ("gemini-json", "gemini.jsonl", "completed"),
    ] {
        let output = sandbox.run_with_input(
            &["ingest", "--format", format, "--task", name],
            &fs::read(stream(name)).unwrap(),
        );
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
        assert_eq!(sandbox.sql(LAST_STATUS), status, "{name}");
    }
    assert_eq!(sandbox.sql("SELECT count(DISTINCT task_id) FROM task_stream"), "3");
    let mut command = sandbox.command(&["ingest", "--format", "codex-json"]);
    command.env("AGENTHUB_DB", "/proc/nowhere/hub.db");
    let line = b"{\"type\":\"turn.started\"}\n";
    assert_eq!(output_with_input(command, line).status.code(), Some(3));
}

#[test]
fn ingest_records_nothing_of_input_that_is_no_stream() {
    let sandbox = Sandbox::new();
    let whole = fs::read_to_string(stream("claude.jsonl")).unwrap();
    let utf16: Vec<u8> = std::iter::once(0xfeff)
        .chain(whole.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let array = format!("[{}]", whole.trim_end().replace('\n', ","));
    let rollout =
        "{\"timestamp\":\"2026-11-22T10:00:00.000Z\",\"type\":\"response_item\",\"payload\":{\"type\":\"message\"}}\n";
    let codex = fs::read(stream("codex.jsonl")).unwrap();
    for (format, input, reason) in [
        ("claude-stream-json", utf16.as_slice(), "UTF-16"),
        ("claude-stream-json", array.as_bytes(), "one JSON array"),
        ("claude-stream-json", b"", "it is empty"),
        ("claude-stream-json", b"hello\n", "none of its lines"),
        ("codex-json", rollout.as_bytes(), "codex exec --json"),
        ("gemini-json", &codex, "use --format codex-json"),
    ] {
        let output = sandbox.run_with_input(&["ingest", "--format", format], input);
        assert_eq!(output.status.code(), Some(1), "{reason}");
        let said = stderr(&output);
        assert!(said.contains("nothing is recorded") && said.contains(reason), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(!sandbox.hub.db().exists(), "no task is left");
}

#[test]
fn recording_taken_in_twice_has_the_totals_of_one() {
    let totals = "SELECT turns, tokens_in, tokens_out, cost FROM telemetry ORDER BY id DESC LIMIT 1";
    for (format, name, expected) in [
        ("claude-stream-json", "claude-woken.jsonl", "2|83187|1825|0.1"),
        ("codex-json", "codex.jsonl", "2|30000|150|"),
        ("gemini-json", "gemini-thoughts.jsonl", "1|11744|615|"),
        ("cursor-json", "cursor-siblings.jsonl", "5|12983|96|"),
    ] {
        let sandbox = Sandbox::new();
        for time in 1..=2 {
            let output = sandbox.run_with_input(&["ingest", "--format", format], &fs::read(stream(name)).unwrap());
            assert!(output.status.success(), "{}", stderr(&output));
            assert_eq!(sandbox.sql(totals), expected, "{name}, time {time}");
        }
        // Totals of a session never decrease: a smaller number would count as a reset, and the rest again.
        let decreases = "SELECT count(*) FROM (SELECT tokens_in < lag(tokens_in) OVER (ORDER BY id) AS less FROM telemetry) \
                         WHERE less";
        assert_eq!(sandbox.sql(decreases), "0", "{name}");
    }
}

#[test]
fn usage_of_a_resumed_codex_thread_is_counted_per_turn() {
    let sandbox = Sandbox::new();
    let turn = |tokens_in: i64, tokens_out: i64| {
        format!(
            "{{\"type\":\"thread.started\",\"thread_id\":\"t\"}}\n{{\"type\":\"turn.started\"}}\n\
             {{\"type\":\"turn.completed\",\"usage\":{{\"input_tokens\":{tokens_in},\"output_tokens\":{tokens_out}}}}}\n"
        )
    };
    // The third one is the first one again.
    for (name, input) in [("a", turn(6000, 270)), ("b", turn(10_000, 350)), ("c", turn(6000, 270))] {
        sandbox.run_with_input(&["ingest", "--format", "codex-json", "--task", name], input.as_bytes());
    }
    let turns = "SELECT group_concat(task_id || ' ' || tokens_in || ' ' || tokens_out, ', ') FROM task_stream \
                 WHERE stream_type = 'turn_end'";
    assert_eq!(sandbox.sql(turns), "a 6000 270, b 4000 80, c 6000 270");
    assert_eq!(
        sandbox.sql("SELECT turns, tokens_in, tokens_out FROM telemetry ORDER BY id DESC LIMIT 1"),
        "2|10000|350"
    );
}

#[test]
fn run_says_that_the_output_was_not_understood() {
    let sandbox = Sandbox::new();
    sandbox.program("codex", "echo plain text; exit 4");
    let output = sandbox.run(&["run", "codex", "exec", "hi"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(output.stdout, b"plain text\n");
    let said = stderr(&output);
    assert!(said.contains("only the exit code is recorded"), "{said}");
    assert_eq!(sandbox.sql(LAST_STATUS), "failed");
}

#[test]
fn signal_ends_ingest_and_its_task() {
    let sandbox = Sandbox::new();
    let args = ["ingest", "--format", "codex-json", "--as", "tester"];
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let mut command = with_default_signals(&sandbox.command(&args));
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let before = turns(&sandbox);
        stdin.write_all(b"{\"type\":\"turn.started\"}\n").unwrap();
        wait_for("the turn's row", || (turns(&sandbox) > before).then_some(()));
        kill_process(Pid::from_child(&child), signal).unwrap();
        // The writer of the stream keeps stdin open: ingest waits for it only briefly.
        let status = wait_for("the process to exit", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(128 + signal.as_raw()), "{status}");
        assert_eq!(sandbox.sql(LAST_STATUS), "failed");
        let reason =
            sandbox.sql("SELECT error_msg FROM task_stream WHERE stream_type = 'error' ORDER BY id DESC LIMIT 1");
        assert_eq!(reason, format!("ended by signal {}", signal.as_raw()));
        assert_eq!(sandbox.sql("SELECT status FROM agents"), "error");
    }
}

/// Returns the number of recorded turns.
fn turns(sandbox: &Sandbox) -> usize {
    if !sandbox.hub.db().exists() {
        return 0;
    }
    let sql = "SELECT id FROM task_stream WHERE stream_type = 'turn_start'";
    let found = super::support::writer::try_sqlite3(sandbox.hub.db(), sql);
    found.stdout.split(|b| *b == b'\n').count() - 1
}

#[test]
fn ignored_signals_stay_ignored() {
    let sandbox = Sandbox::new();
    let original = with_default_signals(&sandbox.command(&["ingest", "--format", "codex-json"]));
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    command
        .arg("env")
        .args(original.get_args().map(|arg| match arg.to_str() {
            Some(arg) if arg.starts_with("--default-signal") => "--".as_ref(),
            _ => arg,
        }));
    command.envs(original.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(sandbox.hub.folder());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"type\":\"turn.started\"}\n").unwrap();
    wait_for("the turn's row", || (turns(&sandbox) > 0).then_some(()));
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    let whole = b"{\"type\":\"turn.completed\",\"usage\":{}}\n";
    stdin.write_all(whole).unwrap();
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.sql(LAST_STATUS), "completed");
}
