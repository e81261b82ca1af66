//! How long an agent's tool waits for its hook: 200 runs of each kind, one process each.
//!
//! `cargo bench --bench hook` prints p50, p95 and the longest, in milliseconds. The file has
//! the rows of a long session and some mail, as it would.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use agenthub::store::{NetworkFs, NewInbox, NewTask, Writer};

const RUNS: usize = 200;
/// Rows of the session before the first run.
const ROWS: usize = 5_000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("hub.db");
    let writer = Writer::open(&db, NetworkFs::Allow).unwrap();
    writer
        .atomically(|| {
            for turn in 1..=ROWS {
                writer.stream(&NewTask {
                    task_id: "claude-s".into(),
                    stream_type: "text".to_owned().into(),
                    turn_num: i64::try_from(turn).unwrap(),
                    text: "some words of the model".into(),
                    ..NewTask::default()
                })?;
            }
            Ok(())
        })
        .unwrap();
    println!(
        "{:<40} {:>8} {:>8} {:>8}",
        format!("{RUNS} runs, ms"),
        "p50",
        "p95",
        "max"
    );
    for (name, event, mail) in [
        (
            "UserPromptSubmit, no mail",
            r#""hook_event_name":"UserPromptSubmit","prompt":"go""#,
            false,
        ),
        ("PostToolBatch, no mail", r#""hook_event_name":"PostToolBatch""#, false),
        (
            "PostToolBatch, one message",
            r#""hook_event_name":"PostToolBatch""#,
            true,
        ),
        (
            "PostToolUse",
            r#""hook_event_name":"PostToolUse","tool_name":"Bash","tool_response":{"stdout":"x"}"#,
            false,
        ),
        (
            "Stop",
            r#""hook_event_name":"Stop","last_assistant_message":"done""#,
            false,
        ),
    ] {
        let input = format!("{{\"session_id\":\"s\",\"cwd\":\"/x\",{event}}}");
        let mut times: Vec<f64> = (0..RUNS)
            .map(|_| {
                if mail {
                    writer
                        .send(&NewInbox::new("reviewer", "planner", "tests are green"))
                        .unwrap();
                }
                let begun = Instant::now();
                let mut child = Command::new(env!("CARGO_BIN_EXE_agenthub"))
                    .args(["hook", "claude-code"])
                    .env("AGENTHUB_DB", &db)
                    .env("AGENTHUB_AGENT", "planner")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
                let output = child.wait_with_output().unwrap();
                let took = begun.elapsed();
                assert!(output.status.success());
                assert_eq!(output.stdout.is_empty(), !mail);
                took.as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{name:<40} {:>8.2} {:>8.2} {:>8.2}",
            times[RUNS / 2],
            times[RUNS * 95 / 100],
            times[RUNS - 1]
        );
    }
}
