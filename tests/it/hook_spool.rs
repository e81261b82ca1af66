//! Events of hooks that cannot get the database's lock: kept in the spool, and taken in once and in order.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::hooks::{context, event};
use super::run_and_ingest::Sandbox;
use super::support::wait_for;
use super::support::writer::LockHolder;

/// The events of one session, in order.
fn session() -> Vec<Vec<u8>> {
    let tool = r#""tool_name":"Bash","tool_input":{"command":"ls"},"tool_use_id":"toolu_1""#;
    vec![
        event("s", "SessionStart", r#""source":"startup""#),
        event("s", "UserPromptSubmit", r#""prompt":"fix it""#),
        event("s", "PreToolUse", tool),
        event(
            "s",
            "PostToolUse",
            &format!(r#"{tool},"tool_response":{{"stdout":"a","stderr":""}}"#),
        ),
        event("s", "Stop", r#""last_assistant_message":"It is fixed.""#),
    ]
}

/// What the session leaves in the database, without times.
const ROWS: &str = "SELECT group_concat(stream_type || turn_num || coalesce(status, '') || coalesce(text, ''), ' ') \
                    FROM (SELECT * FROM task_stream ORDER BY id); \
                    SELECT id, status FROM agents WHERE id = 'planner'";
const EXPECTED: &str =
    "turn_start1 status1running tool_use1 tool_result1 text1It is fixed. turn_end1 status1completed\nplanner|idle";

/// Runs the hooks of a session while another process holds the lock.
fn spool_a_session(sandbox: &Sandbox) {
    sandbox.run(&["path"]);
    let holder = LockHolder::take(sandbox.hub.db(), "BEGIN IMMEDIATE");
    for input in session() {
        assert!(sandbox.hook("claude-code", &input).is_null());
    }
    assert_eq!(entries(&sandbox.hub.folder().join("hub.db.spool")), session().len());
    holder.release();
}

fn entries(spool: &Path) -> usize {
    fs::read_dir(spool).map_or(0, |entries| entries.flatten().count())
}

fn hooks_finding(sandbox: &Sandbox) -> Value {
    let output = sandbox.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["check"] == "hooks")
        .unwrap()
        .clone()
}

#[test]
fn the_expected_rows_are_those_of_hooks_that_get_the_lock() {
    let sandbox = Sandbox::new();
    for input in session() {
        sandbox.hook("claude-code", &input);
    }
    assert_eq!(sandbox.sql(ROWS), EXPECTED);
}

#[test]
fn the_next_writing_command_takes_in_what_hooks_have_spooled() {
    let sandbox = Sandbox::new();
    spool_a_session(&sandbox);
    let spool = sandbox.hub.folder().join("hub.db.spool");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&spool), 0o700);
    for entry in fs::read_dir(&spool).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let waiting = hooks_finding(&sandbox);
    assert_eq!(waiting["state"], "bad", "{waiting}");
    assert!(
        waiting["message"]
            .as_str()
            .unwrap()
            .starts_with("5 events of hooks wait"),
        "{waiting}"
    );
    // A reading command writes nothing.
    sandbox.run(&["threads"]);
    assert_eq!(sandbox.sql("SELECT count(*) FROM task_stream"), "0");
    let before_now = sandbox.sql("SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)");
    sandbox.run(&["post", "t", "x", "--from", "tester"]);
    assert_eq!(sandbox.sql(ROWS), EXPECTED);
    assert_eq!(
        sandbox.sql(&format!(
            "SELECT count(*) FROM task_stream WHERE created_at > {before_now}"
        )),
        "0",
        "the rows have the times of the events"
    );
    assert_eq!(entries(&spool), 0);
    assert_eq!(hooks_finding(&sandbox)["state"], "ok");
}

#[test]
fn the_next_hook_takes_in_earlier_events_before_its_own() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    spool_a_session(&sandbox);
    let answer = sandbox.hook("claude-code", &event("s", "UserPromptSubmit", r#""prompt":"next""#));
    assert!(
        context(&answer, "UserPromptSubmit").contains("| one"),
        "the mail stays unread"
    );
    assert_eq!(
        sandbox.sql("SELECT group_concat(stream_type || turn_num, ' ') FROM (SELECT * FROM task_stream ORDER BY id)"),
        "turn_start1 status1 tool_use1 tool_result1 text1 turn_end1 status1 turn_start2 status2"
    );
}

#[test]
fn doctor_counts_failed_calls() {
    let sandbox = Sandbox::new();
    sandbox.run(&["path"]);
    assert_eq!(hooks_finding(&sandbox)["state"], "ok");
    sandbox.sql("DROP TABLE task_stream");
    let input = event("s", "UserPromptSubmit", r#""prompt":"go""#);
    for _ in 0..2 {
        assert!(sandbox.hook("claude-code", &input).is_null());
    }
    let found = hooks_finding(&sandbox);
    assert_eq!(found["state"], "bad", "{found}");
    let message = found["message"].as_str().unwrap();
    assert!(
        message.starts_with("2 calls of hooks failed; the last error: ") && message.contains("task_stream"),
        "{found}"
    );
    fs::remove_file(sandbox.hub.folder().join("hub.db.spool/failed")).unwrap();
    assert_eq!(hooks_finding(&sandbox)["state"], "ok");
}

#[test]
fn a_running_hub_takes_in_what_hooks_have_spooled() {
    let mut sandbox = Sandbox::new();
    sandbox.hub.launch();
    let holder = LockHolder::take(sandbox.hub.db(), "BEGIN IMMEDIATE");
    for input in session() {
        sandbox.hook("claude-code", &input);
    }
    let status = sandbox.hub.status();
    assert_eq!(status["spool"]["waiting"], 5, "{status}");
    holder.release();
    wait_for("the rows", || (sandbox.sql(ROWS) == EXPECTED).then_some(()));
    wait_for("an empty spool", || {
        (sandbox.hub.status()["spool"]["waiting"] == 0).then_some(())
    });
    assert_eq!(sandbox.sql(ROWS), EXPECTED);
}

/// Each entry is taken in once, at whatever system call the writer that takes it in is killed.
#[test]
#[cfg(target_os = "linux")]
fn takes_each_event_in_once_when_the_writer_is_killed_exclusive() {
    let sandbox = Sandbox::new();
    spool_a_session(&sandbox);
    let (db, spool) = (sandbox.hub.db(), sandbox.hub.folder().join("hub.db.spool"));
    let kept = sandbox.hub.folder().join("kept");
    let copy = |from: &Path, to: &Path| {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    copy(&spool, &kept);
    let pristine = sandbox.hub.folder().join("pristine.db");
    sandbox.sql(&format!("VACUUM INTO '{}'", pristine.display()));
    let mut killed_at = Vec::new();
    for call in ["pwrite64", "fdatasync", "unlink"] {
        for n in 1.. {
            for suffix in ["", "-wal", "-shm"] {
                drop(fs::remove_file(format!("{}{suffix}", db.display())));
            }
            fs::copy(&pristine, db).unwrap();
            copy(&kept, &spool);
            let plain = sandbox.command(&["post", "t", "x", "--from", "tester"]);
            let mut strace = Command::new("strace");
            strace
                .args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=SIGKILL:when={n}")])
                .arg(plain.get_program())
                .args(plain.get_args())
                .env_clear()
                .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            let killed = !strace.status().unwrap().success();
            sandbox.run(&["post", "t", "y", "--from", "tester"]);
            assert_eq!(sandbox.sql(ROWS), EXPECTED, "killed at {call} number {n}");
            assert_eq!(entries(&spool), 0, "killed at {call} number {n}");
            if !killed {
                break;
            }
            killed_at.push(call);
        }
    }
    for call in ["pwrite64", "unlink"] {
        assert!(killed_at.contains(&call), "never killed at {call}");
    }
}
