//! The name that a command acts as: an agent's shell never speaks as the person.

use std::process::Command;

use super::run_and_ingest::Sandbox;
use crate::hooks::{context, event};
use crate::support::TestHub;
use crate::support::command::{command_as, fails, run, run_as};
use crate::support::hub::AGENTHUB;
use crate::support::writer::script;

/// Variables that mark the shells of agent tools.
const MARKERS: [&str; 12] = [
    "AGENTHUB_TASK",
    "CLAUDECODE",
    "CLAUDE_CODE_SESSION_ID",
    "GEMINI_CLI",
    "OPENCODE",
    "QWEN_CODE",
    "CURSOR_AGENT",
    "COPILOT_AGENT_SESSION_ID",
    "CODEX_SANDBOX",
    "CODEX_THREAD_ID",
    "CODEX_SESSION_ID",
    "CODEX_MANAGED_BY_NPM",
];

/// A hub with a question to the person, number 1.
fn with_question() -> TestHub {
    let hub = TestHub::not_started(&[]);
    run_as(&hub, "planner", &["send", "human", "May I push?"]);
    hub
}

/// Asserts that the command was refused with a usage error that names `reason`, and that the question has no
/// answer.
#[track_caller]
fn assert_refused(hub: &TestHub, mut command: Command, reason: &str) {
    let output = command.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(output.stdout.is_empty());
    assert!(message.contains(reason) && message.lines().count() == 1, "{message}");
    assert_eq!(hub.sql("SELECT n, status FROM inbox_messages"), "1|unread");
    assert_eq!(hub.sql("SELECT count(*) FROM receipts"), "0");
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "0");
}

#[test]
fn no_command_acts_as_the_person_in_an_agents_shell() {
    let hub = with_question();
    for marker in MARKERS {
        let mut command = hub.command(&["reply", "1", "yes", "--from", "human"]);
        command.env(marker, "1");
        assert_refused(&hub, command, marker);
    }
    for args in [
        &["reply", "1", "yes", "--from"][..],
        &["ack", "1", "--as"],
        &["read", "1", "--as"],
        &["send", "planner", "yes", "--from"],
        &["ask", "planner", "ready?", "--from"],
        &["post", "t", "yes", "--from"],
        &["inbox", "--claim", "--as"],
    ] {
        for name in ["human", "Human", " HUMAN ", "hu\u{200b}man"] {
            let mut command = hub.command(args);
            command.arg(name).env("CLAUDECODE", "1");
            assert_refused(&hub, command, "a terminal of their own");
            // A name for an agent is one, too.
            let mut command = command_as(&hub, "planner", args);
            command.arg(name);
            assert_refused(&hub, command, "AGENTHUB_AGENT is set");
        }
    }
    for name in ["human", " Human"] {
        let mut command = hub.command(&["reply", "1", "yes"]);
        command.env("AGENTHUB_AGENT", name).env("GEMINI_CLI", "1");
        assert_refused(&hub, command, "GEMINI_CLI");
    }
}

/// The ancestors of a process are known on Linux only.
#[cfg(target_os = "linux")]
#[test]
fn removed_variable_of_an_agents_shell_is_found_in_its_ancestors() {
    let hub = with_question();
    for line in [
        "env -u CLAUDECODE \"$0\" reply 1 yes --from human; exit $?",
        "env -i AGENTHUB_DB=\"$AGENTHUB_DB\" \"$0\" reply 1 yes --from human; exit $?",
        "env -i AGENTHUB_DB=\"$AGENTHUB_DB\" sh -c '\"$0\" reply 1 yes --from human; exit $?' \"$0\"; exit $?",
        "unset CLAUDECODE; setsid -w \"$0\" reply 1 yes --from human; exit $?",
    ] {
        let mut command = shell(&hub, line);
        command.env("CLAUDECODE", "1");
        assert_refused(&hub, command, "CLAUDECODE is set for process ");
    }
    let mut command = shell(&hub, "env -u AGENTHUB_AGENT \"$0\" reply 1 yes --from human; exit $?");
    command.env("AGENTHUB_AGENT", "planner");
    assert_refused(&hub, command, "AGENTHUB_AGENT is set for process ");
    // In a terminal, with a session of its own.
    let mut command = shell(
        &hub,
        "env -u CLAUDECODE python3 -c 'import os, pty, sys; \
         sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' \"$0\" reply 1 yes --from human; exit $?",
    );
    command.env("CLAUDECODE", "1");
    let output = command.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.code() == Some(2) && shown.contains("CLAUDECODE is set for process "),
        "{shown}"
    );
    assert_eq!(hub.sql("SELECT n, status FROM inbox_messages"), "1|unread");
}

/// A shell can replace itself, and the variables that its tool has set, by the command. The tool stays an
/// ancestor.
#[cfg(target_os = "linux")]
#[test]
fn program_of_a_tool_among_the_ancestors_is_found() {
    let hub = with_question();
    let tool = hub.folder().join("claude");
    std::fs::copy("/bin/sh", &tool).unwrap();
    let as_tool = |line: &str| {
        let mut command = Command::new(&tool);
        command
            .args(["-c", line, AGENTHUB])
            .arg(script("in_terminal.py"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("AGENTHUB_DB", hub.db());
        command.output().unwrap()
    };
    let in_terminal = "sh -c 'exec env -i PATH=\"$PATH\" AGENTHUB_DB=\"$AGENTHUB_DB\" python3 \"$2\" \"$1\" reply 1 yes' \
         sh \"$0\" \"$1\"; exit $?";
    let replied = as_tool(in_terminal);
    assert!(replied.status.success(), "{replied:?}");
    assert_eq!(
        hub.sql("SELECT from_agent LIKE 'claude-%', proof FROM inbox_messages WHERE n = 2"),
        "1|"
    );
    let refused = as_tool("\"$0\" reply 1 yes --from human; exit $?");
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(message.contains("claude (process "), "{message}");
}

/// Any program can write these rows.
#[test]
fn no_row_makes_an_agents_shell_the_person() {
    let hub = with_question();
    hub.sql(
        "INSERT INTO agents(id, label) VALUES('human', 'me');
         INSERT INTO sessions(id, agent) VALUES('claude-s1', 'human')",
    );
    let mut command = hub.command(&["post", "t", "x", "--from", "me"]);
    command.env("CLAUDECODE", "1");
    assert!(command.output().unwrap().status.success());
    let mut command = hub.command(&["post", "t", "x"]);
    command.env("CLAUDE_CODE_SESSION_ID", "s1");
    assert!(command.output().unwrap().status.success());
    assert_eq!(hub.sql("SELECT from_id FROM messages ORDER BY n"), "me\nclaude-s1");
}

/// A label is chosen by an agent: it takes no name that a later one is given.
#[test]
fn label_takes_no_assigned_name() {
    let hub = TestHub::not_started(&[]);
    run_as(&hub, "mallory", &["post", "t", "x"]);
    run_as(&hub, "mallory", &["rename", "planner"]);
    run_as(&hub, "planner", &["send", "mallory", "hi"]);
    assert_eq!(hub.sql("SELECT from_agent FROM inbox_messages"), "planner");
    assert!(!run_as(&hub, "planner", &["inbox"]).contains("hi"));
    run(&hub, &["send", "human", "hi", "--from", "planner"]);
    assert_eq!(hub.sql("SELECT from_agent FROM inbox_messages WHERE n = 2"), "planner");
}

#[test]
fn names_of_others_in_an_error_cannot_control_the_terminal() {
    let hub = TestHub::not_started(&[]);
    for agent in ["claude-a\u{1b}[2Jb", "claude-c"] {
        run_as(&hub, agent, &["post", "t", "x"]);
    }
    let long = "l".repeat(5000);
    hub.sql(&format!(
        "UPDATE agents SET label = char(27) || '[2J{long}' WHERE n = 2"
    ));
    let message = fails(&hub, &["send", "claude-", "hi", "--from", "planner"], 1);
    assert!(
        message.contains("claude-a\u{fffd}[2Jb") && message.contains("\"claude-c\""),
        "{message}"
    );
    assert!(
        !message.trim_end().contains(char::is_control) && message.chars().count() < 400,
        "{message}"
    );
}

/// The commands that agents may run without asking create no file, and leave an empty one alone.
#[test]
fn commands_in_an_agents_shell_create_no_database() {
    let hub = TestHub::not_started(&[]);
    let empty = hub.folder().join("empty.py");
    std::fs::write(&empty, "").unwrap();
    let missing = hub.folder().join("new/hub.db");
    for (db, args) in [
        (&empty, &["inbox"][..]),
        (&empty, &["agents"]),
        (&empty, &["send", "human", "hi"]),
        (&missing, &["send", "human", "hi"]),
        (&missing, &["post", "t", "x"]),
    ] {
        let mut command = Command::new(AGENTHUB);
        command.args(args).arg("--db").arg(db).env("CLAUDECODE", "1");
        let output = command.output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}: {message}");
        assert!(
            message.contains("there is no database at") && message.contains("CLAUDECODE"),
            "{message}"
        );
        assert_eq!(std::fs::metadata(&empty).unwrap().len(), 0, "{args:?}");
        assert!(!missing.parent().unwrap().exists(), "{args:?}");
    }
}

/// A line of a shell that starts `agenthub` as `$0`.
fn shell(hub: &TestHub, line: &str) -> Command {
    let own = hub.command(&[]);
    let mut command = Command::new("sh");
    command.args(["-c", line, AGENTHUB]).env_clear();
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(hub.folder());
    command
}

#[test]
fn agents_shell_without_a_session_has_a_name_that_stays() {
    let hub = TestHub::not_started(&[]);
    let of = |marker: &'static str| {
        let mut command = hub.command(&["post", "t", "x"]);
        command.env(marker, "1");
        command
    };
    for (marker, tool) in [
        ("GEMINI_CLI", "gemini"),
        ("OPENCODE", "opencode"),
        ("QWEN_CODE", "qwen"),
        ("CURSOR_AGENT", "cursor"),
        ("CLAUDECODE", "claude"),
        ("COPILOT_CLI", "copilot"),
    ] {
        assert!(of(marker).output().unwrap().status.success());
        let mut in_shell = shell(&hub, "\"$0\" post t x; exit $?");
        in_shell.env(marker, "1");
        assert!(in_shell.output().unwrap().status.success());
        let names = hub.sql("SELECT from_type, from_id FROM messages ORDER BY n DESC LIMIT 2");
        let name = if cfg!(target_os = "linux") {
            // The process that started the shell.
            format!("agent|{tool}-{}", std::process::id())
        } else {
            format!("agent|{tool}")
        };
        assert_eq!(names, format!("{name}\n{name}"));
    }
    let mut named = of("GEMINI_CLI");
    named.env("AGENTHUB_AGENT", "planner");
    assert!(named.output().unwrap().status.success());
    let mut given = of("GEMINI_CLI");
    given.args(["--from", "reviewer"]);
    assert!(given.output().unwrap().status.success());
    assert_eq!(
        hub.sql("SELECT from_id FROM messages ORDER BY n DESC LIMIT 2"),
        "reviewer\nplanner"
    );
    assert_eq!(
        hub.sql("SELECT count(*) FROM messages WHERE from_id LIKE '%human%'"),
        "0"
    );
}

#[test]
fn names_that_imitate_human_are_human_outside_an_agents_shell() {
    let hub = TestHub::not_started(&[]);
    run_as(&hub, "planner", &["send", " HUMAN ", "for you"]);
    assert_eq!(hub.sql("SELECT to_inbox FROM inbox_messages"), "human");
    assert!(run(&hub, &["inbox", "Human"]).contains("for you"));
    run(&hub, &["post", "t", "x", "--from", " Human", "--to", "HUMAN"]);
    assert_eq!(
        hub.sql("SELECT from_type, from_id, to_type, to_id FROM messages"),
        "human|human|human|human"
    );
    let mut named = hub.command(&["post", "t", "x"]);
    named.env("AGENTHUB_AGENT", "HUMAN");
    assert!(named.output().unwrap().status.success());
    assert_eq!(hub.sql("SELECT from_id FROM messages WHERE message_seq = 2"), "human");
    fails(&hub, &["ask", "Human", "me?", "--from", "human"], 2);
    for args in [
        &["run", "--as", "Human", "--", "true"][..],
        &["ingest", "--format", "claude-stream-json", "--as", "human"],
    ] {
        let message = fails(&hub, args, 2);
        assert!(message.contains("reserved for the person"), "{message}");
    }
}

#[test]
fn mcp_server_refuses_every_spelling_of_human() {
    let hub = TestHub::not_started(&[]);
    for name in ["human", "Human", " human", "HUMAN\u{200b}"] {
        let output = hub.command(&["mcp"]).env("AGENTHUB_AGENT", name).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name:?}");
    }
}

#[test]
fn hook_ignores_the_name_human_and_uses_the_sessions_name() {
    for name in ["human", "Human "] {
        let sandbox = Sandbox::new();
        let input = event("12345678-abcd", "SessionStart", r#""source":"startup""#);
        let answer = sandbox.hook_with("claude-code", &input, &[("AGENTHUB_AGENT", name)]);
        let greeting = context(&answer, "SessionStart");
        assert!(greeting.contains("You are claude-12345678 "), "{greeting}");
        assert_eq!(sandbox.sql("SELECT id FROM agents"), "claude-12345678");
    }
}
