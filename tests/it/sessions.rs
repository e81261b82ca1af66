//! Sessions of agent tools: one agent per session and terminal, the same for hooks, shells and MCP servers; and sessions
//! that end without a hook. The tools are shells with the name of a tool's program.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use agenthub::integrations::hook_handler::{HookEnvironment, handle};
use agenthub::integrations::registry;
use agenthub::process::ProcessId;
use agenthub::protocol::now_ms;
use agenthub::store::{NetworkFs, Writer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::run_and_ingest::Sandbox;
use super::support::command::{command_as, fails, run, run_as};
use super::support::hub::AGENTHUB;
use super::support::writer::Process;
use super::support::{TestHub, wait_for};

/// Printed after the output of each command.
const END: &str = "--end--";

/// A process of a tool, which runs commands.
struct Tool {
    process: Process,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
}

impl Tool {
    #[track_caller]
    fn start(hub: &TestHub, program: &str) -> Self {
        Self::with(hub, program, &[], &[])
    }

    #[track_caller]
    fn with(hub: &TestHub, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(Self::program(hub, program));
        let own = hub.command(&[]);
        command
            .env_clear()
            .envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .envs(variables.iter().copied())
            .current_dir(hub.folder())
            .args(["-s", "--"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start(command);
        Self {
            input: process.0.stdin.take().unwrap(),
            output: BufReader::new(process.0.stdout.take().unwrap()).lines(),
            process,
            folder: hub.folder().to_owned(),
        }
    }

    /// Returns the path of a shell with this name.
    fn program(hub: &TestHub, name: &str) -> PathBuf {
        let path = hub.folder().join(name);
        if !path.exists() {
            fs::copy("/bin/sh", &path).unwrap();
        }
        path
    }

    fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Runs a line in the tool's own process, with `$A` for the program under test. Returns its output.
    #[track_caller]
    fn line(&mut self, line: &str) -> String {
        writeln!(self.input, "A={AGENTHUB}; {line}\necho; echo {END}").unwrap();
        let mut shown = String::new();
        loop {
            let line = self.output.next().expect("the tool has ended").unwrap();
            if line == END {
                return shown.trim().to_owned();
            }
            shown.push_str(&line);
            shown.push('\n');
        }
    }

    /// Runs a hook. Returns the text for the model.
    #[track_caller]
    fn hook(&mut self, word: &str, session: &str, event: &str, more: &Value) -> String {
        let mut input = json!({"session_id": session, "hook_event_name": event, "cwd": "/w"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let file = self.folder.join("input.json");
        fs::write(&file, input.to_string()).unwrap();
        let shown = self.line(&format!(
            "sh -c '\"$0\" hook {word} < \"$1\"; exit $?' \"$A\" {}",
            file.display()
        ));
        if shown.is_empty() {
            return shown;
        }
        let output: Value = serde_json::from_str(&shown).unwrap();
        output["hookSpecificOutput"]["additionalContext"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Returns the name as which a command in the tool's shell acts. `variables`: such as `A=1 B=2`.
    #[track_caller]
    fn name_in_shell(&mut self, variables: &str) -> String {
        let shown = self.line(&format!("{variables} sh -c '\"$0\" post t x --json; exit $?' \"$A\""));
        let row: Value = serde_json::from_str(&shown).unwrap();
        row["from_id"].as_str().unwrap().to_owned()
    }

    /// Returns the name of the agent that an MCP server of the tool serves.
    #[track_caller]
    fn name_in_mcp(&mut self, variables: &str) -> String {
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let messages = [
            json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_agents", "arguments": {}}}),
        ];
        let file = self.folder.join("calls.json");
        fs::write(&file, messages.map(|message| format!("{message}\n")).concat()).unwrap();
        let shown = self.line(&format!("{variables} \"$A\" mcp < {}", file.display()));
        let responses = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let response = responses.into_iter().find(|response| response["id"] == 1).unwrap();
        response["result"]["structuredContent"]["you"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Writes the file in which Claude Code records its session.
    fn write_session_file(&self, session: &str, status: &str) {
        let folder = self.folder.join(".claude/sessions");
        fs::create_dir_all(&folder).unwrap();
        let file = json!({"pid": self.pid(), "sessionId": session, "status": status, "statusUpdatedAt": now_ms() + 1});
        fs::write(folder.join(format!("{}.json", self.pid())), file.to_string()).unwrap();
    }

    fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }
}

const FIRST: &str = "11111111-0000-4000-8000-000000000001";
const SECOND: &str = "22222222-0000-4000-8000-000000000002";

fn start(source: &str) -> Value {
    json!({"source": source})
}

#[test]
fn session_after_clear_is_the_same_agent_everywhere() {
    let hub = TestHub::not_started(&[]);
    let mut claude = Tool::start(&hub, "claude");
    let greeting = claude.hook("claude-code", FIRST, "SessionStart", &start("startup"));
    assert!(greeting.contains("You are claude-11111111 "), "{greeting}");
    let prompt = json!({"prompt": "go", "permission_mode": "plan"});
    claude.hook("claude-code", FIRST, "UserPromptSubmit", &prompt);
    claude.hook("claude-code", FIRST, "Stop", &json!({"permission_mode": "plan"}));
    run_as(&hub, "boss", &["send", "claude-11111111", "before the clear"]);
    claude.hook("claude-code", FIRST, "SessionEnd", &json!({"reason": "clear"}));
    let greeting = claude.hook("claude-code", SECOND, "SessionStart", &start("clear"));
    assert!(
        greeting.contains("You are claude-11111111 ") && greeting.contains("| before the clear"),
        "{greeting}"
    );
    // Its input does not name the mode, which stays.
    let modes = hub.sql("SELECT group_concat(permission_mode) FROM sessions");
    assert_eq!(modes, "plan,plan");
    // The server was started before and has the first id in its environment, the shell the second one.
    let names = [
        claude.name_in_mcp(&format!("CLAUDE_CODE_SESSION_ID={FIRST}")),
        claude.name_in_shell(&format!("CLAUDE_CODE_SESSION_ID={SECOND}")),
        claude.name_in_shell(""),
    ];
    assert_eq!(names, ["claude-11111111"; 3]);
    // Another terminal is another agent.
    let mut other = Tool::start(&hub, "claude");
    let greeting = other.hook(
        "claude-code",
        SECOND.replace('2', "3").as_str(),
        "SessionStart",
        &start("clear"),
    );
    assert!(greeting.contains("You are claude-33333333 "), "{greeting}");
    assert_eq!(
        hub.sql("SELECT id, ended_at IS NULL FROM sessions WHERE agent = 'claude-11111111' ORDER BY id"),
        format!("claude-{FIRST}|0\nclaude-{SECOND}|1")
    );
}

/// While Claude Code continues a session, its server may have an id that is replaced afterwards.
#[test]
fn server_with_a_preliminary_session_agrees_with_the_hooks() {
    let hub = TestHub::not_started(&[]);
    let mut claude = Tool::start(&hub, "claude");
    claude.hook("claude-code", FIRST, "SessionStart", &start("resume"));
    let name = claude.name_in_mcp("CLAUDE_CODE_SESSION_ID=48f98cf1-0000-4000-8000-000000000003");
    assert_eq!(name, "claude-11111111");
}

#[test]
fn fork_is_another_agent_and_gets_no_mail_of_the_original() {
    let hub = TestHub::not_started(&[]);
    let mut original = Tool::start(&hub, "claude");
    original.hook("claude-code", FIRST, "SessionStart", &start("startup"));
    run_as(&hub, "boss", &["send", "claude-11111111", "for the original"]);
    let mut fork = Tool::with(&hub, "claude", &["--resume", FIRST, "--fork-session"], &[]);
    // Without the session's file, the fork is known from its first prompt on.
    assert_eq!(fork.hook("claude-code", FIRST, "SessionStart", &start("resume")), "");
    let greeting = fork.hook("claude-code", SECOND, "UserPromptSubmit", &json!({"prompt": "go"}));
    assert!(
        greeting.contains("You are claude-22222222 ") && !greeting.contains("for the original"),
        "{greeting}"
    );
    assert_eq!(
        fork.hook("claude-code", SECOND, "UserPromptSubmit", &json!({"prompt": "go"})),
        ""
    );
    assert_eq!(fork.name_in_shell(""), "claude-22222222");
    let mut fork = Tool::with(&hub, "claude", &["--resume", FIRST, "--fork-session"], &[]);
    fork.write_session_file("44444444-a", "busy");
    let greeting = fork.hook("claude-code", FIRST, "SessionStart", &start("resume"));
    assert!(
        greeting.contains("You are claude-44444444 ") && !greeting.contains("for the original"),
        "{greeting}"
    );
    let shown = original.hook("claude-code", FIRST, "UserPromptSubmit", &json!({"prompt": "go"}));
    assert!(shown.contains("| for the original"), "{shown}");
}

#[test]
fn innermost_tool_speaks() {
    let hub = TestHub::not_started(&[]);
    let mut claude = Tool::start(&hub, "claude");
    claude.hook("claude-code", FIRST, "SessionStart", &start("startup"));
    let outer = format!("CLAUDE_CODE_SESSION_ID={FIRST}");
    // A tool in a shell of the other one inherits its variable.
    let gemini = Tool::program(&hub, "gemini");
    let shown = claude.line(&format!(
        "{outer} GEMINI_CLI=1 {} -c '\"$0\" post t x --json; exit $?' \"$A\"",
        gemini.display()
    ));
    let row: Value = serde_json::from_str(&shown).unwrap();
    let name = row["from_id"].as_str().unwrap();
    assert!(name.starts_with("gemini-"), "{name}");
    assert_eq!(claude.name_in_shell(&outer), "claude-11111111");
}

#[test]
fn shells_and_servers_of_a_tool_without_session_agree() {
    let hub = TestHub::not_started(&[]);
    let mut gemini = Tool::start(&hub, "gemini");
    let name = format!("gemini-{}", gemini.pid());
    // Its settings contain a variable, which older versions do not expand.
    let literal = "AGENTHUB_AGENT='${AGENTHUB_AGENT:-}'";
    assert_eq!(gemini.name_in_mcp(literal), name);
    assert_eq!(gemini.name_in_mcp("AGENTHUB_AGENT="), name);
    assert_eq!(gemini.name_in_shell("GEMINI_CLI=1"), name);
    let mut named = Tool::with(&hub, "gemini", &[], &[("AGENTHUB_AGENT", "planner")]);
    assert_eq!(named.name_in_mcp(""), "planner");
    assert_eq!(named.name_in_shell("GEMINI_CLI=1"), "planner");
}

#[test]
fn environment_of_a_shared_daemon_names_nobody() {
    let hub = TestHub::not_started(&[]);
    let other = hub.folder().join("other.db");
    let variables = [
        ("AGENTHUB_AGENT", "planner"),
        ("AGENTHUB_DB", other.to_str().unwrap()),
        ("CLAUDE_CODE_SESSION_ID", FIRST),
    ];
    let mut daemon = Tool::with(&hub, "codex", &["app-server", "--listen", "unix://"], &variables);
    let home = hub.command(&["path"]).env_remove("AGENTHUB_DB").output().unwrap();
    let default = String::from_utf8(home.stdout).unwrap();
    assert_eq!(daemon.line("\"$A\" path"), default.trim());
    let greeting = daemon.hook("codex", SECOND, "SessionStart", &start("startup"));
    assert!(greeting.contains("You are codex-22222222 "), "{greeting}");
    // A subagent speaks as its parent.
    let ids = format!("CODEX_SESSION_ID={SECOND} CODEX_THREAD_ID=child");
    assert_eq!(daemon.name_in_shell(&ids), "codex-22222222");
    // A name that the command itself gives counts.
    assert_eq!(daemon.name_in_shell("AGENTHUB_AGENT=given"), "given");
    assert!(!other.exists());
}

#[test]
fn prompt_of_a_subagent_opens_no_turn() {
    let sandbox = Sandbox::new();
    let event = |more: &str| super::hooks::event("s", "UserPromptSubmit", more);
    sandbox.hook("codex", &event(r#""prompt":"go""#));
    sandbox.hook("codex", &event(r#""prompt":"look","agent_id":"child""#));
    assert_eq!(
        sandbox.sql("SELECT count(*) FROM task_stream WHERE stream_type = 'turn_start'"),
        "1"
    );
}

/// Starts a session in the middle of a turn.
fn working(hub: &TestHub) -> Tool {
    let mut claude = Tool::start(hub, "claude");
    claude.hook("claude-code", FIRST, "SessionStart", &start("startup"));
    claude.hook(
        "claude-code",
        FIRST,
        "UserPromptSubmit",
        &json!({"prompt": "long work"}),
    );
    assert_eq!(agent_status(hub), "running");
    claude
}

fn agent_status(hub: &TestHub) -> String {
    hub.sql("SELECT status FROM agents WHERE id = 'claude-11111111'")
}

fn task(hub: &TestHub) -> String {
    hub.sql(&format!(
        "SELECT status || '|' || (SELECT error_msg FROM task_stream WHERE stream_type = 'error' ORDER BY id DESC LIMIT 1) \
         FROM task_stream WHERE task_id = 'claude-{FIRST}' AND stream_type = 'status' ORDER BY id DESC LIMIT 1"
    ))
}

fn listed_status(hub: &TestHub) -> String {
    let agents: Value = serde_json::from_str(&run(hub, &["agents", "--json"])).unwrap();
    let agents = agents.as_array().unwrap();
    let agent = agents.iter().find(|agent| agent["id"] == "claude-11111111").unwrap();
    agent["status"].as_str().unwrap().to_owned()
}

#[test]
fn session_of_a_killed_tool_ends() {
    let hub = TestHub::start();
    let mut claude = working(&hub);
    claude.kill();
    wait_for("the end of the session", || {
        (agent_status(&hub) == "gone").then_some(())
    });
    assert_eq!(task(&hub), "failed|the process has ended");
    assert_eq!(hub.sql("SELECT count(*) FROM sessions WHERE ended_at IS NULL"), "0");
    assert_eq!(listed_status(&hub), "gone");
}

#[test]
fn listings_without_a_hub_show_that_a_tool_was_killed() {
    let hub = TestHub::not_started(&[]);
    let mut claude = working(&hub);
    assert_eq!(listed_status(&hub), "running");
    claude.kill();
    assert_eq!(listed_status(&hub), "gone");
    assert!(run(&hub, &["agents"]).contains("gone"));
    // The list does not write.
    assert_eq!(agent_status(&hub), "running");
    let mut other = Tool::start(&hub, "claude");
    let greeting = other.hook("claude-code", FIRST, "SessionStart", &start("resume"));
    assert!(greeting.contains("You are claude-11111111 "), "{greeting}");
    assert_eq!(listed_status(&hub), "idle");
}

#[test]
fn interrupted_turn_ends_without_a_hook() {
    let hub = TestHub::start();
    let mut claude = working(&hub);
    claude.write_session_file(FIRST, "idle");
    wait_for("the end of the turn", || (agent_status(&hub) == "idle").then_some(()));
    assert_eq!(task(&hub), "failed|the user has interrupted the turn");
    claude.hook("claude-code", FIRST, "UserPromptSubmit", &json!({"prompt": "again"}));
    assert_eq!(agent_status(&hub), "running");
    assert_eq!(hub.sql("SELECT max(turn_num) FROM task_stream"), "2");
}

#[test]
fn stop_with_background_tasks_is_not_the_end() {
    let hub = TestHub::not_started(&[]);
    let mut claude = working(&hub);
    let tasks = json!({"background_tasks": [{"id": "a"}]});
    claude.hook("claude-code", FIRST, "Stop", &tasks);
    assert_eq!(agent_status(&hub), "running");
    assert_eq!(
        hub.sql("SELECT status, text FROM task_stream WHERE stream_type = 'status' ORDER BY id DESC LIMIT 1"),
        "running|waits for 1 background task"
    );
    // It waits for a prompt all the time.
    claude.write_session_file(FIRST, "idle");
    assert_eq!(listed_status(&hub), "running");
    claude.hook("claude-code", FIRST, "Stop", &json!({"background_tasks": []}));
    assert_eq!(agent_status(&hub), "idle");
}

#[test]
fn codex_reports_interrupts_and_ends() {
    let hub = TestHub::not_started(&[]);
    let mut codex = Tool::start(&hub, "codex");
    codex.hook("codex", FIRST, "UserPromptSubmit", &json!({"prompt": "go"}));
    codex.hook("codex", FIRST, "Interrupt", &json!({}));
    assert_eq!(
        hub.sql("SELECT error_msg FROM task_stream WHERE stream_type = 'error'"),
        "the user has interrupted the turn"
    );
    assert_eq!(hub.sql("SELECT status FROM agents"), "idle");
    codex.hook("codex", FIRST, "SessionEnd", &json!({"reason": "other"}));
    assert_eq!(hub.sql("SELECT count(*) FROM sessions WHERE ended_at IS NULL"), "0");
}

#[test]
fn hooks_record_again_after_the_end_of_run() {
    let sandbox = Sandbox::new();
    let hub = &sandbox.hub;
    let claude = Tool::program(hub, "claude");
    let (ready, input) = (hub.folder().join("ready"), hub.folder().join("input.json"));
    let event = super::hooks::event(FIRST, "UserPromptSubmit", r#""prompt":"go""#);
    fs::write(&input, event).unwrap();
    // Hooks before and after the end of `run`, in a tool that outlives it.
    let script = format!(
        "echo '{{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"{FIRST}\"}}'; \
         \"$0\" hook claude-code < {input} > /dev/null; echo > {ready}; \
         while [ -e {ready} ]; do sleep 0.02; done; \"$0\" hook claude-code < {input} > /dev/null; echo > {ready}; exec sleep 60",
        input = input.display(),
        ready = ready.display()
    );
    let mut command = hub.command(&["run", "--format", "claude-stream-json", "--"]);
    command
        .arg(&claude)
        .args(["-c", &script, AGENTHUB])
        .stdout(Stdio::null());
    let mut run = Process::start(command);
    wait_for("the hook", || ready.exists().then_some(()));
    let tool = wait_for("the row of the run", || {
        hub.sql("SELECT pid FROM agents WHERE pid IS NOT NULL")
            .parse::<i32>()
            .ok()
    });
    let recorded = format!("SELECT count(*) FROM task_stream WHERE task_id = 'claude-{FIRST}'");
    assert_eq!(hub.sql(&recorded), "0");
    run.0.kill().unwrap();
    run.0.wait().unwrap();
    fs::remove_file(&ready).unwrap();
    wait_for("the hook", || ready.exists().then_some(()));
    assert_eq!(hub.sql(&recorded), "2");
    kill_process(Pid::from_raw(tool).unwrap(), Signal::KILL).unwrap();
    assert_eq!(
        hub.sql("SELECT count(*) FROM sessions WHERE id LIKE 'run-%' AND ended_at IS NULL"),
        "1",
        "the hub finds that the run has ended"
    );
}

#[test]
fn task_of_a_killed_run_fails() {
    let mut sandbox = Sandbox::new();
    sandbox.hub.launch();
    let hub = &sandbox.hub;
    let mut command = hub.command(&[
        "run",
        "--as",
        "planner",
        "--task",
        "build",
        "--format",
        "claude-stream-json",
        "--",
    ]);
    command.args(["sh", "-c", "exec sleep 60"]).stdout(Stdio::null());
    let mut run = Process::start(command);
    let tool: i32 = wait_for("the task", || {
        hub.sql("SELECT pid FROM sessions WHERE id = 'build/process'")
            .parse()
            .ok()
    });
    run.0.kill().unwrap();
    run.0.wait().unwrap();
    let status =
        "SELECT status FROM task_stream WHERE task_id = 'build' AND stream_type = 'status' ORDER BY id DESC LIMIT 1";
    wait_for("the end of the task", || (hub.sql(status) == "failed").then_some(()));
    // Its tool still runs.
    assert_eq!(hub.sql("SELECT status FROM agents WHERE id = 'planner'"), "running");
    kill_process(Pid::from_raw(tool).unwrap(), Signal::KILL).unwrap();
    wait_for("the end of the agent", || {
        (hub.sql("SELECT status FROM agents WHERE id = 'planner'") == "gone").then_some(())
    });
}

#[test]
fn agents_are_addressed_by_label_and_unique_beginning() {
    let hub = TestHub::not_started(&[]);
    for name in ["claude-11111111", "claude-22222222", "planner"] {
        run(&hub, &["post", "t", "x", "--from", name]);
    }
    assert_eq!(
        run_as(&hub, "claude-11111111", &["rename", "reviewer"]).trim(),
        "claude-11111111 is also reviewer"
    );
    for (typed, to) in [
        ("plan", "planner"),
        ("reviewer", "claude-11111111"),
        ("rev", "claude-11111111"),
        ("claude-2", "claude-22222222"),
    ] {
        let sent = run(&hub, &["send", typed, "hello"]);
        assert!(sent.trim().ends_with(&format!("→ {to}")), "{typed}: {sent}");
    }
    let message = fails(&hub, &["send", "claude-", "hello"], 1);
    assert!(
        message.contains("\"claude-11111111\" (\"reviewer\"), \"claude-22222222\""),
        "{message}"
    );
    assert!(run(&hub, &["inbox", "reviewer"]).contains("hello"));
    // The beginning of a name is another name for a sender, and with --new.
    run(&hub, &["post", "t", "y", "--from", "plan"]);
    run(&hub, &["post", "t", "z", "--from", "reviewer"]);
    assert_eq!(
        hub.sql("SELECT from_id FROM messages ORDER BY n DESC LIMIT 2"),
        "claude-11111111\nplan"
    );
    run(&hub, &["send", "claude-", "hello", "--new"]);
    assert_eq!(
        hub.sql("SELECT count(*) FROM inbox_messages WHERE to_inbox = 'claude-'"),
        "1"
    );
}

#[test]
fn label_is_shown_to_peers() {
    let sandbox = Sandbox::new();
    let hub = &sandbox.hub;
    run(hub, &["post", "t", "x", "--from", "claude-11111111"]);
    run(hub, &["rename", "the | reviewer", "--of", "claude-11111111"]);
    run(hub, &["send", "planner", "hello", "--new", "--from", "the | reviewer"]);
    let expected = "from \"claude-11111111\" (label \"the | reviewer\")";
    let shown = run(hub, &["inbox", "planner", "--fenced"]);
    assert!(shown.contains(expected), "{shown}");
    let shown = run(hub, &["read", "1", "--fenced", "--as", "planner"]);
    assert!(shown.contains(expected), "{shown}");
    let start = super::hooks::event("s", "SessionStart", "");
    let output = sandbox.hook("claude-code", &start);
    let shown = super::hooks::context(&output, "SessionStart");
    assert!(!shown.contains("You are planner (label"), "{shown}");
    run(hub, &["rename", "boss", "--of", "planner"]);
    run(hub, &["send", "boss", "again", "--from", "claude-11111111"]);
    let output = sandbox.hook("claude-code", &super::hooks::event("s2", "SessionStart", ""));
    let shown = super::hooks::context(&output, "SessionStart");
    assert!(
        shown.contains("You are planner (label \"boss\") ") && shown.contains(expected),
        "{shown}"
    );
    // A label is no proof of the person.
    hub.sql("UPDATE agents SET label = 'human' WHERE id = 'claude-11111111'");
    let shown = run(hub, &["inbox", "planner", "--fenced"]);
    assert!(!shown.contains("(label"), "{shown}");
}

/// A label stays with its terminal, if the session that had it has ended.
#[test]
fn label_passes_to_the_next_session_in_the_terminal() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    let writer = Writer::open(hub.db(), NetworkFs::Refuse).unwrap();
    let tool = registry::by_hook_word("claude-code").unwrap();
    let begin = |session: &str, terminal: &str, process: &ProcessId| {
        let input = json!({"session_id": session, "hook_event_name": "SessionStart", "source": "startup"});
        let environment = HookEnvironment {
            process: Some(process.clone()),
            terminal: Some(terminal.to_owned()),
            now: now_ms(),
            ..HookEnvironment::default()
        };
        handle(&writer, tool, &input, &environment).unwrap().unwrap().text
    };
    let mut waits = Command::new("cat");
    waits.stdin(Stdio::piped());
    let mut first = Process::start(waits);
    let (own, first_id) = (ProcessId::of(std::process::id()), ProcessId::of(first.0.id()));
    begin(FIRST, "tty1", &first_id);
    run(&hub, &["rename", "reviewer", "--of", "claude-11111111"]);
    // Another terminal, and the same one while the first session is open.
    assert!(!begin(SECOND, "tty2", &own).contains("reviewer"));
    assert!(!begin("33333333-a", "tty1", &own).contains("reviewer"));
    begin(FIRST, "tty1", &first_id);
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    let greeting = begin("44444444-a", "tty1", &own);
    assert!(greeting.contains("You are claude-44444444 (label"), "{greeting}");
    assert_eq!(
        hub.sql("SELECT id FROM agents WHERE label = 'reviewer'"),
        "claude-44444444"
    );
}

#[test]
fn labels_of_others_and_reserved_ones_are_refused() {
    let hub = TestHub::not_started(&[]);
    for name in ["one", "two"] {
        run(&hub, &["post", "t", "x", "--from", name]);
    }
    run(&hub, &["rename", "reviewer", "--of", "one"]);
    for (label, code) in [
        ("human", 2),
        (" ALL ", 2),
        ("hu\u{200b}man", 2),
        ("one", 1),
        ("reviewer", 1),
    ] {
        fails(&hub, &["rename", label, "--of", "two"], code);
    }
    fails(&hub, &["rename", "builder", "--of", "nobody"], 4);
    fails(&hub, &["rename", "builder"], 2);
    hub.sql("UPDATE agents SET status = 'gone' WHERE id = 'one'");
    run(&hub, &["rename", "reviewer", "--of", "two"]);
    assert_eq!(
        hub.sql("SELECT id, label FROM agents ORDER BY id"),
        "one|\ntwo|reviewer"
    );
    run(&hub, &["rename", "", "--of", "two"]);
    assert_eq!(hub.sql("SELECT count(*) FROM agents WHERE label <> ''"), "0");
}

#[test]
fn agent_changes_no_label_of_another_one() {
    let hub = TestHub::not_started(&[]);
    for name in ["amy", "bob"] {
        run(&hub, &["post", "t", "x", "--from", name]);
    }
    run(&hub, &["rename", "reviewer", "--of", "bob"]);
    for label in ["", "builder"] {
        let output = command_as(&hub, "amy", &["rename", label, "--of", "bob"])
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("leave out --of"), "{message}");
    }
    assert_eq!(hub.sql("SELECT label FROM agents WHERE id = 'bob'"), "reviewer");
    run_as(&hub, "amy", &["rename", "builder", "--of", "amy"]);
    hub.sql("UPDATE agents SET status = 'gone' WHERE id = 'bob'");
    run_as(&hub, "amy", &["rename", "", "--of", "bob"]);
    assert_eq!(hub.sql("SELECT label FROM agents ORDER BY id"), "builder");
}

#[test]
fn label_that_imitates_another_agent_is_not_shown() {
    let hub = TestHub::start();
    for name in ["mallory", "amy", "bob"] {
        run(&hub, &["send", "human", "x", "--from", name]);
    }
    run_as(&hub, "mallory", &["rename", "claude-e2"]);
    assert!(run(&hub, &["inbox", "--fenced"]).contains("(label \"claude-e2\")"));
    run(&hub, &["post", "t", "x", "--from", "bob"]);
    // An agent whose name is the label of another one begins.
    hub.sql("INSERT INTO agents(id) VALUES('claude-e2')");
    hub.sql("UPDATE agents SET label = 'twin' WHERE id IN ('amy', 'bob')");
    let shown = run(&hub, &["inbox", "--fenced"]);
    assert!(
        shown.contains("from \"mallory\"") && !shown.contains("(label"),
        "{shown}"
    );
    let listed = [
        serde_json::from_str::<Value>(&run(&hub, &["agents", "--json"])).unwrap(),
        hub.get("/api/agents").json()["items"].clone(),
    ];
    for listed in listed {
        let listed = listed.as_array().unwrap();
        assert_eq!(listed.len(), 4);
        assert!(listed.iter().all(|agent| agent["label"] == ""), "{listed:?}");
    }
}

#[test]
fn mail_to_a_label_goes_to_its_agent_and_creates_no_inbox() {
    let hub = TestHub::start();
    for name in ["claude-11111111", "planner"] {
        run(&hub, &["post", "t", "x", "--from", name]);
    }
    // An inbox that only has mail, with the name that becomes a label.
    run(&hub, &["send", "reviewer", "early", "--new"]);
    run_as(&hub, "claude-11111111", &["rename", "reviewer"]);
    let sent = run(&hub, &["send", "reviewer", "one", "--new"]);
    assert!(sent.contains("→ claude-11111111"), "{sent}");
    let sent = run(&hub, &["send", "reviewer", "two"]);
    assert!(sent.contains("→ claude-11111111"), "{sent}");
    let mail = json!({"from_agent": "planner", "to_inbox": "reviewer", "payload": "three"}).to_string();
    assert_eq!(
        hub.send("POST", "/api/inbox", &mail).json()["to_inbox"],
        "claude-11111111"
    );
    // The beginning of a name is another inbox for --new and HTTP, as is one that has mail.
    run(&hub, &["send", "plan", "four", "--new"]);
    assert!(run(&hub, &["send", "plan", "five"]).contains("→ plan\n"));
    let mail = json!({"from_agent": "planner", "to_inbox": "claude", "payload": "six"}).to_string();
    assert_eq!(hub.send("POST", "/api/inbox", &mail).json()["to_inbox"], "claude");
    // The name of an agent comes before the label of another one.
    hub.sql("UPDATE agents SET label = 'planner' WHERE id = 'claude-11111111'");
    assert!(run(&hub, &["send", "planner", "seven", "--new"]).contains("→ planner\n"));
    // A label of several agents names none of them, and no new inbox.
    hub.sql("UPDATE agents SET label = 'twin' WHERE id IN ('claude-11111111', 'planner')");
    let message = fails(&hub, &["send", "twin", "eight", "--new"], 1);
    assert!(message.contains("claude-11111111"), "{message}");
}

#[test]
fn run_and_ingest_refuse_the_label_of_an_agent_that_runs() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["post", "t", "x", "--from", "planner"]);
    run(&hub, &["rename", "reviewer", "--of", "planner"]);
    let format = ["--as", "reviewer", "--format", "claude-stream-json"];
    let recorded = [&["run"], &format[..], &["--", "true"]].concat();
    for args in [&recorded, &[&["ingest"], &format[..]].concat()] {
        let message = fails(&hub, args, 1);
        assert!(
            message.contains("reviewer is the label of the agent planner"),
            "{message}"
        );
    }
    assert_eq!(hub.sql("SELECT id FROM agents"), "planner");
    hub.sql("UPDATE agents SET status = 'gone'");
    run(&hub, &recorded);
}

#[test]
fn lists_find_mail_by_the_label_of_its_sender() {
    let hub = TestHub::not_started(&[]);
    for name in ["amy", "bob"] {
        run(&hub, &["send", "human", &format!("from {name}"), "--from", name]);
    }
    run(&hub, &["rename", "builder", "--of", "bob"]);
    for more in [&[][..], &["--wait", "5"], &["--claim"]] {
        let shown = run(&hub, &[&["inbox", "human", "--from", "builder"], more].concat());
        assert!(
            shown.contains("from bob") && !shown.contains("from amy"),
            "{more:?}: {shown}"
        );
    }
}

/// The last session in the terminal has ended, but its agent goes on in another one.
#[test]
fn label_stays_with_an_agent_that_runs_elsewhere() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    let writer = Writer::open(hub.db(), NetworkFs::Refuse).unwrap();
    let tool = registry::by_hook_word("claude-code").unwrap();
    let clock = Cell::new(now_ms());
    let send = |event: &str, session: &str, agent: Option<&str>, terminal: &str, process: u32| {
        clock.set(clock.get() + 1);
        let input = json!({"session_id": session, "hook_event_name": event, "source": "startup"});
        let environment = HookEnvironment {
            agent: agent.map(str::to_owned),
            process: Some(ProcessId::of(process)),
            terminal: Some(terminal.to_owned()),
            now: clock.get(),
            ..HookEnvironment::default()
        };
        handle(&writer, tool, &input, &environment).unwrap();
    };
    let sleeping = || {
        let mut waits = Command::new("cat");
        waits.stdin(Stdio::piped());
        Process::start(waits)
    };
    let (first, mut elsewhere) = (sleeping(), sleeping());
    let planner = Some("planner");
    send("SessionStart", SECOND, planner, "tty2", elsewhere.0.id());
    send("SessionStart", FIRST, planner, "tty1", first.0.id());
    run(&hub, &["rename", "reviewer", "--of", "planner"]);
    send("SessionEnd", FIRST, planner, "tty1", first.0.id());
    let labelled = || hub.sql("SELECT id FROM agents WHERE label = 'reviewer'");
    let own = std::process::id();
    send("SessionStart", "33333333-a", None, "tty1", own);
    assert_eq!(labelled(), "planner");
    send("SessionEnd", FIRST, planner, "tty1", first.0.id());
    elsewhere.0.kill().unwrap();
    elsewhere.0.wait().unwrap();
    send("SessionStart", "44444444-a", None, "tty1", own);
    assert_eq!(labelled(), "claude-44444444");
}
