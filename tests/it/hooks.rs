//! `agenthub hook`, with the input that agent tools give their hooks.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::run_and_ingest::{LAST_STATUS, Sandbox, output_with_input, stderr, stream};
use super::support::writer::LockHolder;

/// Returns the input of a hook.
pub(super) fn event(session: &str, name: &str, more: &str) -> Vec<u8> {
    let comma = if more.is_empty() { "" } else { "," };
    format!("{{\"session_id\":\"{session}\",\"hook_event_name\":\"{name}\",\"cwd\":\"/home/ada/api\",\"transcript_path\":\"/t\"{comma}{more}}}")
        .into_bytes()
}

impl Sandbox {
    /// Runs a hook, which must succeed without stderr, and returns its output as JSON.
    #[track_caller]
    pub(super) fn hook(&self, tool: &str, input: &[u8]) -> serde_json::Value {
        self.hook_with(tool, input, &[("AGENTHUB_AGENT", "planner")])
    }

    #[track_caller]
    pub(super) fn hook_with(&self, tool: &str, input: &[u8], variables: &[(&str, &str)]) -> serde_json::Value {
        let mut command = self.command(&["hook", tool]);
        command.envs(variables.iter().copied());
        let output = output_with_input(command, input);
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
        if output.stdout.is_empty() {
            return serde_json::Value::Null;
        }
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(super) fn send(&self, text: &str) {
        self.run(&["path"]);
        self.sql(&format!(
            "INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('reviewer', 'planner', '{text}')"
        ));
    }

    pub(super) fn receipts(&self) -> String {
        self.sql("SELECT m.n, r.state, r.via FROM receipts r JOIN inbox_messages m USING(message_id) ORDER BY r.n")
    }
}

#[track_caller]
pub(super) fn context<'a>(answer: &'a serde_json::Value, event: &str) -> &'a str {
    assert_eq!(answer["hookSpecificOutput"]["hookEventName"], event, "{answer}");
    assert_eq!(answer.as_object().unwrap().len(), 1);
    // At the start of a session, some tools get a file to watch.
    let fields = answer["hookSpecificOutput"].as_object().unwrap().keys();
    let fields: Vec<&String> = fields
        .filter(|field| event != "SessionStart" || *field != "watchPaths")
        .collect();
    assert_eq!(fields.len(), 2, "{answer}");
    answer["hookSpecificOutput"]["additionalContext"].as_str().unwrap()
}

/// The tool appends to its record while hooks run, and `run` and hooks may record the same session.
#[test]
fn tokens_come_from_the_tools_own_record_of_the_session() {
    let sandbox = Sandbox::new();
    let record = sandbox.hub.folder().join("record.jsonl");
    let hook = |name: &str| {
        let input = format!(
            "{{\"session_id\":\"aaaa-1\",\"hook_event_name\":\"{name}\",\"prompt\":\"go\",\"transcript_path\":{:?}}}",
            record.to_str().unwrap()
        );
        sandbox.hook("claude-code", input.as_bytes());
    };
    let message = |id: &str, tokens: i64| {
        let line = format!(
            "{{\"type\":\"assistant\",\"sessionId\":\"aaaa-1\",\"message\":{{\"id\":\"{id}\",\"model\":\"opus\",\"usage\":\
             {{\"input_tokens\":{tokens},\"cache_read_input_tokens\":1000,\"output_tokens\":7}}}}}}\n"
        );
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&record).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    };
    hook("SessionStart");
    for (id, tokens) in [("a", 10), ("b", 20)] {
        hook("UserPromptSubmit");
        message(id, tokens);
        message(id, tokens);
        hook("Stop");
    }
    hook("SessionEnd");
    let turns =
        "SELECT group_concat(tokens_in || ' ' || tokens_out, ', ') FROM task_stream WHERE stream_type = 'turn_end'";
    assert_eq!(sandbox.sql(turns), "1010 7, 1020 7");
    let totals = "SELECT agent_id, turns, tokens_in, tokens_cached, tokens_out, cost, model, status FROM telemetry \
                  WHERE instance_id = 'aaaa-1' ORDER BY id DESC LIMIT 1";
    assert_eq!(sandbox.sql(totals), "planner|2|2030|2000|14||opus|completed");
    let whole = fs::read(&record).unwrap();
    // The record is never written, and `ingest` does not take it for a stream.
    let output = sandbox.run_with_input(&["ingest", "--format", "claude-stream-json"], &whole);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("own record of a session"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read(&record).unwrap(), whole);
}

#[test]
fn claude_session_becomes_a_task() {
    let sandbox = Sandbox::new();
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
        let answer = sandbox.hook_with(
            "claude-code",
            &event("12345678-abcd", name, &more),
            &[("CLAUDE_PID", "4242")],
        );
        if name == "SessionStart" {
            let greeting = context(&answer, name);
            assert!(greeting.contains("You are claude-12345678 ") && greeting.contains("agenthub send NAME"));
        } else {
            assert!(answer.is_null(), "{name}: {answer}");
        }
    }
    assert_eq!(
        sandbox.sql("SELECT group_concat(stream_type || coalesce(turn_num, ''), ' ') FROM task_stream"),
        "turn_start1 status1 tool_use1 status1 status1 tool_result1 tool_use1 tool_result1 text1 turn_end1 status1 turn_start2 \
         status2 error2 status2"
    );
    assert_eq!(
        sandbox.sql("SELECT DISTINCT task_id, agent_id FROM task_stream"),
        "claude-12345678-abcd|claude-12345678"
    );
    assert_eq!(
        sandbox.sql("SELECT tool_output, duration_sec, error_msg FROM task_stream WHERE stream_type = 'tool_result'"),
        "a|2|\n||exit code 1"
    );
    assert_eq!(
        sandbox.sql("SELECT directive FROM task_stream WHERE turn_num = 1 AND directive <> ''"),
        "fix the ünïcode test"
    );
    assert_eq!(
        sandbox.sql("SELECT id, status, workspace, pid FROM agents"),
        "claude-12345678|idle|/home/ada/api|4242"
    );
    assert_eq!(sandbox.sql(LAST_STATUS), "failed", "the second turn did not complete");
}

/// Returns the inputs that a tool gave its hooks in one session, one per line.
fn recorded_inputs(name: &str) -> Vec<Vec<u8>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hooks");
    let text = fs::read_to_string(path.join(name)).unwrap();
    text.lines().map(|line| line.as_bytes().to_vec()).collect()
}

#[test]
fn gemini_session_becomes_a_task() {
    let sandbox = Sandbox::new();
    for (n, input) in recorded_inputs("gemini.jsonl").iter().enumerate() {
        let answer = sandbox.hook_with("gemini", input, &[]);
        match n {
            0 => assert!(context(&answer, "SessionStart").contains("You are gemini-136d3b5a ")),
            _ => assert!(answer.is_null(), "{n}: {answer}"),
        }
        let status = sandbox.sql(LAST_STATUS);
        match n {
            5 => assert_eq!(status, "waiting"),
            1..8 => assert_eq!(status, "running", "{n}"),
            _ => {}
        }
    }
    assert_eq!(
        sandbox.sql("SELECT group_concat(stream_type || coalesce(turn_num, ''), ' ') FROM task_stream"),
        "turn_start1 status1 tool_use1 tool_use1 status1 status1 tool_result1 tool_result1 text1 turn_end1 status1"
    );
    assert_eq!(
        sandbox.sql("SELECT directive, workspace FROM task_stream WHERE directive <> ''"),
        "count the lines|/home/ada/api"
    );
    assert_eq!(
        sandbox.sql(
            "SELECT u.tool_input, r.tool_output, r.error_msg FROM task_stream u JOIN task_stream r USING(call_id) \
             WHERE u.stream_type = 'tool_use' AND r.stream_type = 'tool_result' ORDER BY u.id"
        ),
        "{\"command\":\"wc -l a\"}|Error|no such file\n{\"command\":\"wc -l b\"}|2 b|",
        "each result has the id of its call"
    );
    assert_eq!(sandbox.sql(LAST_STATUS), "completed");
    assert_eq!(sandbox.sql("SELECT id, status FROM agents"), "gemini-136d3b5a|idle");
}

#[test]
fn cursor_session_becomes_a_task() {
    let sandbox = Sandbox::new();
    for (n, input) in recorded_inputs("cursor.jsonl").iter().enumerate() {
        let answer = sandbox.hook_with("cursor", input, &[("CURSOR_VERSION", "3.7.21")]);
        if n == 0 {
            assert!(
                answer["additional_context"]
                    .as_str()
                    .unwrap()
                    .contains("You are cursor ")
            );
            assert_eq!(answer["env"], serde_json::json!({"AGENTHUB_AGENT": "cursor"}));
        } else {
            assert!(answer.is_null(), "{n}: {answer}");
        }
        if n == 7 {
            assert_eq!(sandbox.sql(LAST_STATUS), "completed");
        }
    }
    assert_eq!(
        sandbox.sql("SELECT group_concat(stream_type || coalesce(turn_num, ''), ' ') FROM task_stream"),
        "turn_start1 status1 tool_use1 tool_use1 tool_result1 tool_result1 text1 turn_end1 status1 turn_start2 status2 \
         error2 status2"
    );
    assert_eq!(
        sandbox.sql(
            "SELECT call_id, tool_output, duration_sec, error_msg FROM task_stream WHERE stream_type = 'tool_result'"
        ),
        "t1|{\"exitCode\":0,\"stdout\":\"2 a\"}|2|\nt2|||no such file"
    );
    assert_eq!(
        sandbox.sql("SELECT directive, workspace, source_type, model FROM task_stream WHERE directive = 'again'"),
        "again|/home/ada/api|cursor|composer-2"
    );
    assert_eq!(sandbox.sql(LAST_STATUS), "failed", "the second turn was aborted");
    assert_eq!(
        sandbox.sql("SELECT id, status FROM agents"),
        "cursor|idle",
        "as with its MCP server"
    );
}

/// Returns an input of a hook of Qwen Code.
fn qwen_event(name: &str, more: &str) -> String {
    format!(r#"{{"session_id":"s","cwd":"/w","hook_event_name":"{name}"{more}}}"#)
}

const QWEN_IDLE: &str = r#","notification_type":"idle_prompt","message":"waiting for input""#;

#[test]
fn request_without_a_prompt_opens_no_turn() {
    let sandbox = Sandbox::new();
    let turns = || sandbox.sql("SELECT count(*) FROM task_stream WHERE stream_type = 'turn_start'");
    let prompt = |more: &str| sandbox.hook("qwen", qwen_event("UserPromptSubmit", more).as_bytes());
    prompt(r#","prompt":"with <context>","submitted_prompt":"go""#);
    let answer = prompt(r#","prompt":"""#);
    assert_eq!((turns().as_str(), answer.is_null()), ("1", true));
    assert_eq!(
        sandbox.sql("SELECT directive FROM task_stream WHERE directive <> ''"),
        "go"
    );
    // The version before 0.24 does not say what the user has typed.
    prompt(r#","prompt":"again""#);
    assert_eq!(turns(), "2");
}

#[test]
fn waiting_for_a_prompt_ends_an_open_turn_only() {
    let sandbox = Sandbox::new();
    let event = |name: &str, more: &str| sandbox.hook("qwen", qwen_event(name, more).as_bytes());
    let last_error =
        || sandbox.sql("SELECT error_msg FROM task_stream WHERE stream_type = 'error' ORDER BY id DESC LIMIT 1");
    let prompt = || event("UserPromptSubmit", r#","prompt":"go","submitted_prompt":"go""#);
    event("SessionStart", r#","source":"startup""#);
    event("Notification", QWEN_IDLE);
    assert_eq!(last_error(), "", "no turn has begun");
    prompt();
    event("Stop", r#","last_assistant_message":"done""#);
    event("Notification", QWEN_IDLE);
    assert_eq!(
        (sandbox.sql(LAST_STATUS).as_str(), last_error().as_str()),
        ("completed", "")
    );
    prompt();
    event("StopFailure", r#","error":"invalid_request","error_details":"400""#);
    event("Notification", QWEN_IDLE);
    assert_eq!(last_error(), "invalid_request 400");
    prompt();
    event("Notification", QWEN_IDLE);
    assert_eq!(sandbox.sql(LAST_STATUS), "failed");
    assert_eq!(last_error(), "the user has interrupted the turn");
    assert_eq!(sandbox.sql("SELECT status FROM agents"), "idle");
}

#[test]
fn failed_turn_is_no_interruption_whatever_hook_comes_first() {
    let sandbox = Sandbox::new();
    let event = |name: &str, more: &str| sandbox.hook("qwen", qwen_event(name, more).as_bytes());
    event("UserPromptSubmit", r#","prompt":"go""#);
    std::thread::scope(|scope| {
        scope.spawn(|| event("Notification", QWEN_IDLE));
        event("StopFailure", r#","error":"invalid_request","error_details":"400""#);
    });
    let errors = "SELECT error_msg FROM task_stream WHERE stream_type = 'error'";
    assert_eq!(sandbox.sql(errors), "invalid_request 400");
}

#[test]
fn background_tasks_that_have_ended_do_not_keep_a_session_running() {
    let sandbox = Sandbox::new();
    let stop = |status: &str| {
        let tasks = format!(r#","last_assistant_message":"x","background_tasks":[{{"id":"a","status":"{status}"}}]"#);
        sandbox.hook("qwen", qwen_event("Stop", &tasks).as_bytes());
        sandbox.sql(LAST_STATUS)
    };
    sandbox.hook("qwen", qwen_event("UserPromptSubmit", r#","prompt":"go""#).as_bytes());
    assert_eq!(stop("running"), "running");
    assert_eq!(stop("completed"), "completed");
}

#[test]
fn first_event_of_a_session_decides_whether_it_is_recorded() {
    let sandbox = Sandbox::new();
    let [private, open] = ["private", "open"].map(|name| sandbox.hub.folder().join(name));
    for directory in [&private, &open] {
        fs::create_dir(directory).unwrap();
    }
    sandbox.send("one");
    sandbox.run(&["init", "--exclude", private.to_str().unwrap()]);
    let call = |session: &str, name: &str, directory: &std::path::Path| {
        let input = serde_json::json!({
            "session_id": session, "hook_event_name": name, "prompt": "go", "tool_name": "Bash", "tool_use_id": "t", "cwd": directory,
        });
        sandbox.hook("claude-code", input.to_string().as_bytes())
    };
    call("hidden", "SessionStart", &private);
    for name in [
        "UserPromptSubmit",
        "PreToolUse",
        "PostToolUse",
        "Stop",
        "SessionStart",
        "SessionEnd",
    ] {
        assert!(call("hidden", name, &open).is_null(), "{name}");
    }
    let hidden = "SELECT id, agent, pid, terminal FROM sessions";
    assert_eq!(sandbox.sql(hidden), "claude-hidden|||");
    assert_eq!(sandbox.sql("SELECT count(*) FROM task_stream"), "0");
    assert_eq!(sandbox.sql("SELECT count(*) FROM agents WHERE id = 'planner'"), "0");
    // A recorded session continues in an excluded directory.
    call("shown", "SessionStart", &open);
    call("shown", "UserPromptSubmit", &open);
    for name in ["PreToolUse", "Stop", "SessionEnd"] {
        call("shown", name, &private);
    }
    assert_eq!(sandbox.sql(LAST_STATUS), "completed");
    assert_eq!(
        sandbox.sql("SELECT count(*) FROM sessions WHERE id = 'claude-shown' AND ended_at IS NOT NULL"),
        "1"
    );
    // Each directory of a window counts, and not that of a call.
    let cursor = |session: &str, roots: &[&std::path::Path], directory: &std::path::Path| {
        let input = serde_json::json!({
            "conversation_id": session, "hook_event_name": "preToolUse", "cursor_version": "3", "workspace_roots": roots,
            "tool_name": "Shell", "tool_use_id": "t", "cwd": directory,
        });
        sandbox.hook("cursor", input.to_string().as_bytes());
        sandbox.sql(&format!(
            "SELECT count(*) FROM task_stream WHERE task_id = 'cursor-{session}'"
        ))
    };
    assert_eq!(cursor("a", &[&open, &private], &open), "0");
    assert_eq!(cursor("b", &[&open], &private), "1");
    assert_eq!(cursor("c", &[], &private), "0");
}

#[test]
fn sessions_in_excluded_directories_are_not_recorded() {
    let sandbox = Sandbox::new();
    let private = sandbox.hub.folder().join("private");
    fs::create_dir_all(private.join("below")).unwrap();
    let link = sandbox.hub.folder().join("link");
    std::os::unix::fs::symlink(&private, &link).unwrap();
    let sessions = std::cell::Cell::new(0);
    let prompt = |directory: &std::path::Path| {
        sessions.set(sessions.get() + 1);
        let session = sessions.get().to_string();
        let input = serde_json::json!({"session_id": session, "hook_event_name": "UserPromptSubmit", "prompt": "go", "cwd": directory});
        !sandbox.hook("claude-code", input.to_string().as_bytes()).is_null()
    };
    let init = |option: &str, directory: &str| {
        let mut command = sandbox.command(&["init", option, directory]);
        let output = command.current_dir(sandbox.hub.folder()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, stdout) = init("--exclude", "private");
    assert_eq!(code, Some(0));
    assert!(stdout.contains(private.to_str().unwrap()), "{stdout}");
    sandbox.send("one");
    for directory in [&private, &private.join("below"), &link] {
        assert!(!prompt(directory), "{}", directory.display());
    }
    assert_eq!(sandbox.sql("SELECT count(*) FROM task_stream"), "0");
    assert_eq!(sandbox.sql("SELECT count(*) FROM agents WHERE id = 'planner'"), "0");
    // An event that waited in the spool is not recorded either.
    let holder = LockHolder::take(sandbox.hub.db(), "BEGIN IMMEDIATE");
    let input =
        serde_json::json!({"session_id": "s", "hook_event_name": "UserPromptSubmit", "prompt": "go", "cwd": private});
    sandbox.hook("claude-code", input.to_string().as_bytes());
    holder.release();
    assert!(prompt(sandbox.hub.folder()), "another directory");
    assert_eq!(
        sandbox.sql("SELECT count(*) FROM task_stream WHERE stream_type = 'turn_start'"),
        "1"
    );
    // A directory that does not exist yet, below a link.
    let (code, stdout) = init("--exclude", "link/../link/later");
    let listed = format!("{0}, {0}/later\n", private.display());
    assert!(code == Some(0) && stdout.ends_with(&listed), "{stdout}");
    fs::create_dir(private.join("later")).unwrap();
    assert_eq!(init("--include", "link/later").0, Some(0));
    assert_eq!(init("--include", "elsewhere").0, Some(4));
    let (code, stdout) = init("--include", "link");
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "Sessions in all directories are recorded.\n")
    );
    sandbox.send("two");
    assert!(prompt(&private));
}

#[test]
fn text_that_continues_a_session_is_no_prompt_of_the_user() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    let answer = sandbox.hook("gemini", &event("s", "AfterAgent", r#""prompt_response":"done""#));
    let prompt = format!("\"prompt\":{}", answer["reason"]);
    sandbox.hook("gemini", &event("s", "BeforeAgent", &prompt));
    assert_eq!(
        sandbox.sql("SELECT count(*), count(directive) FROM task_stream WHERE stream_type = 'status'"),
        "3|0"
    );
}

#[test]
fn session_waits_for_the_person_until_it_continues() {
    let sandbox = Sandbox::new();
    let status = |name: &str, more: &str| {
        sandbox.hook("claude-code", &event("s", name, more));
        sandbox.sql(LAST_STATUS)
    };
    let input = r#""notification_type":"agent_needs_input","message":"Which one?""#;
    let dialog = r#""notification_type":"elicitation_dialog","message":"Your name?""#;
    assert_eq!(status("UserPromptSubmit", r#""prompt":"go""#), "running");
    assert_eq!(status("PermissionRequest", r#""tool_name":"Bash""#), "waiting");
    assert_eq!(status("PostToolUse", r#""tool_name":"Bash""#), "running");
    assert_eq!(status("Notification", input), "waiting");
    assert_eq!(status("PreToolUse", r#""tool_name":"Bash""#), "running");
    assert_eq!(status("Notification", dialog), "waiting");
    assert_eq!(status("PostToolUseFailure", r#""error":"no""#), "running");
    assert_eq!(
        status("Notification", r#""notification_type":"idle_prompt""#),
        "running"
    );
    assert_eq!(status("PermissionRequest", r#""tool_name":"Bash""#), "waiting");
    assert_eq!(status("SessionEnd", ""), "failed", "no answer came");
}

/// In a sandbox, Codex's shells cannot write the database, and its MCP servers can.
#[test]
fn greeting_and_mail_name_what_works_in_the_tool() {
    for (word, first, second, answer) in [
        (
            "claude-code",
            "agenthub send NAME",
            "send_message",
            "To answer: agenthub reply",
        ),
        (
            "codex",
            "send_message",
            "agenthub send NAME",
            "To answer: the agenthub MCP tool reply",
        ),
    ] {
        let sandbox = Sandbox::new();
        sandbox.hook_with(
            word,
            &event("12345678-abcd", "SessionStart", ""),
            &[("AGENTHUB_AGENT", "planner")],
        );
        sandbox.sql("INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('x', 'planner', 'hello')");
        let start = sandbox.hook_with(
            word,
            &event("12345678-abcd", "SessionStart", ""),
            &[("AGENTHUB_AGENT", "planner")],
        );
        let text = context(&start, "SessionStart");
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{word}: {part}: {text}"));
        assert!(at(first) < at(second) && at(second) < at("| hello"), "{text}");
        assert!(at("| hello") < at(answer), "{text}");
    }
}

#[test]
fn sessions_of_the_same_minute_are_different_agents() {
    let sandbox = Sandbox::new();
    let (one, two) = (
        "019ab3c4-0001-7d50-8000-00000000000a",
        "019ab3c4-9999-7d50-8000-00000000000b",
    );
    for session in [one, two] {
        sandbox.hook_with("codex", &event(session, "SessionStart", ""), &[]);
    }
    assert_eq!(
        sandbox.sql("SELECT id FROM agents ORDER BY id"),
        "codex-0000000a\ncodex-0000000b"
    );
    sandbox.sql("INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('x', 'codex-0000000a', 'for one')");
    let prompt = |session| sandbox.hook_with("codex", &event(session, "UserPromptSubmit", ""), &[]);
    assert!(prompt(two).is_null());
    assert!(context(&prompt(one), "UserPromptSubmit").contains("| for one"));
}

#[test]
fn commands_name_a_database_that_is_not_the_default() {
    let sandbox = Sandbox::new();
    let other = sandbox.hub.folder().join("another file.db");
    let hook = |db: Option<&str>, variable: &str| {
        let args = [db.map_or(vec![], |db| vec!["--db", db]), vec!["hook", "claude-code"]].concat();
        let mut command = sandbox.command(&args);
        command.env("AGENTHUB_AGENT", "planner").env("AGENTHUB_DB", variable);
        output_with_input(command, &event("s", "UserPromptSubmit", "")).stdout
    };
    let (usual, path) = (sandbox.hub.db().to_str().unwrap(), other.to_str().unwrap());
    let mut send = sandbox.command(&["--db", path, "send", "planner", "one", "--from", "reviewer"]);
    send.env("AGENTHUB_DB", usual);
    drop(hook(Some(path), usual));
    assert!(send.output().unwrap().status.success());
    let shown = String::from_utf8(hook(Some(path), usual)).unwrap();
    assert!(shown.contains(&format!("agenthub --db '{path}' reply ID")), "{shown}");
    sandbox.send("two");
    let shown = String::from_utf8(hook(None, usual)).unwrap();
    assert!(shown.contains(": agenthub reply ID"), "{shown}");
}

#[test]
fn run_is_not_recorded_by_its_own_hooks() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    let within_run = [("AGENTHUB_AGENT", "planner"), ("AGENTHUB_TASK", "run-1")];
    let answer = sandbox.hook_with("claude-code", &event("s", "UserPromptSubmit", ""), &within_run);
    assert!(context(&answer, "UserPromptSubmit").contains("| one"));
    assert_eq!(sandbox.sql("SELECT count(*) FROM task_stream"), "0");
    // A tool that another recorded tool starts is another agent; `run` does not see its output.
    let agents_within_run_of = |tool| {
        let agent_variables = [
            ("AGENTHUB_AGENT", "planner"),
            ("AGENTHUB_TASK", "run-1"),
            ("AGENTHUB_TASK_VENDOR", tool),
        ];
        sandbox.hook_with("codex", &event(tool, "UserPromptSubmit", ""), &agent_variables);
        sandbox.sql("SELECT DISTINCT agent_id FROM task_stream")
    };
    assert_eq!(agents_within_run_of("codex"), "");
    assert_eq!(agents_within_run_of("claude"), "codex-claude");
}

#[test]
fn does_nothing_when_cursor_runs_the_hook() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
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
        assert!(sandbox.hook_with("claude-code", &prompt, &all).is_null());
    }
    assert!(
        sandbox
            .hook(
                "claude-code",
                &event("s", "UserPromptSubmit", r#""cursor_version":"3.2""#)
            )
            .is_null()
    );
    assert_eq!(sandbox.sql("SELECT count(*) FROM receipts"), "0");
    // Claude Code in a terminal of Cursor.
    let own = [
        ("CURSOR_VERSION", "3.2"),
        ("CLAUDE_CODE_SESSION_ID", "s"),
        ("AGENTHUB_AGENT", "planner"),
    ];
    assert!(!sandbox.hook_with("claude-code", &prompt, &own).is_null());
}

#[test]
fn failing_hook_exits_with_0_and_prints_nothing() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    let good = event("s", "UserPromptSubmit", "");
    let silent = |mut command: Command, input: &[u8]| {
        command.env("AGENTHUB_AGENT", "planner");
        let output = output_with_input(command, input);
        assert_eq!(
            (output.status.code(), output.stdout.len(), output.stderr.len()),
            (Some(0), 0, 0),
            "{output:?}"
        );
    };
    let hook = |tool: &str| sandbox.command(&["hook", tool]);
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
    silent(sandbox.command(&["hook"]), &good);
    silent(
        sandbox.command(&["--db", "x", "hook", "claude-code", "more", "--help"]),
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
    let mut without_home = hook("claude-code");
    without_home.env_remove("AGENTHUB_DB").env("HOME", "/proc/nowhere");
    silent(without_home, &good);
    // A tool that does not read the output.
    let mut unread = hook("claude-code");
    unread.env("AGENTHUB_AGENT", "planner");
    unread
        .stdin(Stdio::piped())
        .stdout(fs::File::create("/dev/full").unwrap())
        .stderr(Stdio::piped());
    let mut child = unread.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&good).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn hook_gives_up_waiting_for_the_lock() {
    let sandbox = Sandbox::new();
    sandbox.run(&["path"]);
    sandbox.send("one");
    let holder = LockHolder::take(sandbox.hub.db(), "BEGIN IMMEDIATE");
    let begun = std::time::Instant::now();
    assert!(
        sandbox
            .hook("claude-code", &event("s", "UserPromptSubmit", ""))
            .is_null()
    );
    let took = begun.elapsed();
    // The lock is held until the hook has ended, so any end shows that it gave up.
    assert!((200..5000).contains(&took.as_millis()), "{took:?}");
    holder.release();
    let answer = sandbox.hook("claude-code", &event("s", "UserPromptSubmit", ""));
    assert!(
        context(&answer, "UserPromptSubmit").contains("| one"),
        "the message stays unread"
    );
}

#[test]
fn full_disk_does_not_affect_hook_or_run() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    sandbox.program("codex", &format!("cat '{}'", stream("codex.jsonl").display()));
    // Files cannot grow: every write beyond the first kilobyte fails.
    let full = |args: &[&str]| {
        let mut command = Command::new("sh");
        let agenthub = sandbox.command(args);
        command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]);
        command
            .arg(agenthub.get_program())
            .args(agenthub.get_args())
            .env_clear();
        command.envs(agenthub.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
            .env("AGENTHUB_AGENT", "planner")
            .current_dir(sandbox.hub.folder());
        command
    };
    let output = output_with_input(full(&["hook", "claude-code"]), &event("s", "UserPromptSubmit", ""));
    assert_eq!(
        (output.status.code(), output.stdout.len(), output.stderr.len()),
        (Some(0), 0, 0),
        "{output:?}"
    );
    let output = output_with_input(full(&["run", "--", "codex", "exec", "x"]), b"");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, fs::read(stream("codex.jsonl")).unwrap());
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    // With free space again, the earlier message is delivered.
    let answer = sandbox.hook("claude-code", &event("s", "UserPromptSubmit", ""));
    assert!(context(&answer, "UserPromptSubmit").contains("| one"));
}

/// `claude mcp list` runs the hooks of a session's end.
#[test]
fn end_of_a_session_that_never_began_is_not_recorded() {
    let sandbox = Sandbox::new();
    let end = event("s", "SessionEnd", r#""reason":"other""#);
    sandbox.hook_with("claude-code", &end, &[]);
    assert_eq!(sandbox.sql("SELECT count(*) FROM agents"), "0");
    assert_eq!(sandbox.sql("SELECT count(*) FROM sessions"), "0");
    sandbox.hook_with("claude-code", &event("s", "SessionStart", ""), &[]);
    sandbox.hook_with("claude-code", &end, &[]);
    assert_eq!(sandbox.sql("SELECT count(ended_at) FROM sessions"), "1");
}
