//! Times that an agent waits: `agenthub inbox --wait`, and the hooks of its tool.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agenthub::store::{NetworkFs, NewInboxMessage, NewTaskEvent, Reader, Writer};
use anyhow::{Context, Result, ensure};

use super::hub::AGENTHUB;
use super::report::{Goal, Report, Sample};

/// Number of runs of each hook.
const RUNS: usize = 200;
/// Rows of the session that the hooks belong to, written before they run.
const ROWS: i64 = 5_000;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    wait(report)?;
    exchanges(report)?;
    hooks(report)
}

/// Measures the time from the commit of a message to the exit of a process that waits for it.
fn wait(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("hub.db");
    let writer = Writer::open(&db, NetworkFs::Refuse)?;
    let reader = Reader::open(&db, NetworkFs::Refuse)?;
    let mut times = Vec::new();
    for i in 0..100 {
        let name = format!("w{i}");
        let mut waiting = Command::new(AGENTHUB)
            .arg("--db")
            .arg(&db)
            .args(["inbox", &name, "--wait", "20"])
            .stdout(Stdio::null())
            .spawn()?;
        while !reader.agent_exists(&name)? {
            std::thread::yield_now();
        }
        std::thread::park_timeout(Duration::from_millis(10));
        writer.send(&NewInboxMessage::new("bench", name, "x"))?;
        let written = Instant::now();
        ensure!(waiting.wait()?.success(), "agenthub inbox failed");
        times.push(written.elapsed().as_secs_f64() * 1000.0);
    }
    let times = Sample::new(times);
    report.note(
        "`inbox --wait`: commit → exit of the process, ms p50 / p90 / p99 / max",
        times.spread(),
    );
    report.judge("the same, p99 ms", times.at(0.99), Goal::AtMost(50.0));
    Ok(())
}

/// Time in which a command begins to wait.
const START: Duration = Duration::from_millis(150);

/// The milliseconds of each exchange of [`exchange`].
#[derive(Default)]
pub(crate) struct Exchange {
    sends: Vec<f64>,
    waits: Vec<f64>,
}

impl Exchange {
    pub(crate) fn extend(&mut self, other: Self) {
        self.sends.extend(other.sends);
        self.waits.extend(other.waits);
    }

    /// Returns the times of the sending processes, and those from their end to the end of the waiting process.
    pub(crate) fn sorted(self) -> (Sample, Sample) {
        (Sample::new(self.sends), Sample::new(self.waits))
    }
}

/// Starts `count` times a command that waits for a message and then one that sends it. `commands` returns the
/// two for an exchange, given its number.
pub(crate) fn exchange(count: usize, commands: impl Fn(usize) -> (Command, Command)) -> Result<Exchange> {
    let mut times = Exchange::default();
    for number in 0..count {
        let (mut wait, mut send) = commands(number);
        let mut waiting = wait.stdout(Stdio::null()).spawn()?;
        // The programs do not tell when they have begun to wait. The end of a scoped thread ends a pause early.
        let started = Instant::now();
        while let Some(left) = START.checked_sub(started.elapsed()) {
            std::thread::park_timeout(left);
        }
        let (begun, sent, received) = std::thread::scope(|scope| {
            let waiting = scope.spawn(move || waiting.wait().map(|status| (status, Instant::now())));
            let begun = Instant::now();
            let status = send.stdout(Stdio::null()).status()?;
            let sent = Instant::now();
            ensure!(status.success(), "{send:?} failed");
            let (status, received) = waiting.join().ok().context("a thread panicked")??;
            ensure!(status.success(), "{wait:?} failed");
            anyhow::Ok((begun, sent, received))
        })?;
        times.sends.push((sent - begun).as_secs_f64() * 1000.0);
        // 0 if the waiting process has ended first.
        times
            .waits
            .push(received.saturating_duration_since(sent).as_secs_f64() * 1000.0);
    }
    Ok(times)
}

/// Measures the time from the end of `agenthub send` to the end of a process that waits for the message.
fn exchanges(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("hub.db");
    let command = |args: &[&str]| {
        let mut command = Command::new(AGENTHUB);
        command.arg("--db").arg(&db).args(args);
        command
    };
    let times = exchange(100, |number| {
        let name = format!("waiter-{number}");
        (
            command(&["inbox", &name, "--wait", "20"]),
            command(&["send", &name, "--new", "--from", "bench", "x"]),
        )
    })?;
    let (sends, waits) = times.sorted();
    report.note(
        "`agenthub send`: the whole process, ms p50 / p90 / p99 / max",
        sends.spread(),
    );
    report.judge("the same, p50 ms", sends.median(), Goal::AtMost(4.0));
    report.note(
        "end of `agenthub send` → end of `inbox --wait`, ms p50 / p90 / p99 / max",
        waits.spread(),
    );
    report.judge("the same, p50 ms", waits.median(), Goal::AtMost(2.0));
    report.judge("the same, max ms", waits.at(1.0), Goal::AtMost(10.0));
    Ok(())
}

fn hooks(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("hub.db");
    let writer = Writer::open(&db, NetworkFs::Refuse)?;
    writer.atomically(|| {
        for turn in 1..=ROWS {
            writer.record_task_event(&NewTaskEvent {
                task_id: "claude-s".into(),
                stream_type: "text".to_owned().into(),
                turn_num: turn,
                text: "some words of the model".into(),
                ..NewTaskEvent::default()
            })?;
        }
        Ok(())
    })?;
    let mut slowest = 0.0_f64;
    for (name, event, mail) in [
        (
            "UserPromptSubmit, no mail",
            r#""hook_event_name":"UserPromptSubmit","prompt":"go""#,
            false,
        ),
        ("PostToolBatch, no mail", r#""hook_event_name":"PostToolBatch""#, false),
        ("PostToolBatch, one mail", r#""hook_event_name":"PostToolBatch""#, true),
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
        let times = (0..RUNS)
            .map(|_| {
                if mail {
                    writer.send(&NewInboxMessage::new("reviewer", "planner", "tests are green"))?;
                }
                hook(&db, &input, mail)
            })
            .collect::<Result<Vec<_>>>()?;
        let times = Sample::new(times);
        slowest = slowest.max(times.at(0.95));
        let [p50, p95, max] = [0.5, 0.95, 1.0].map(|q| super::report::short(times.at(q)));
        report.note(
            format!("hook, {name}, {RUNS} runs, ms p50 / p95 / max"),
            format!("{p50} / {p95} / {max}"),
        );
    }
    report.judge("the slowest hook's p95 ms", slowest, Goal::AtMost(15.0));
    Ok(())
}

/// Returns the milliseconds of one run, including the start of the process.
fn hook(db: &Path, input: &str, mail: bool) -> Result<f64> {
    let begun = Instant::now();
    let mut child = Command::new(AGENTHUB)
        .args(["hook", "claude-code"])
        .env("AGENTHUB_DB", db)
        .env("AGENTHUB_AGENT", "planner")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no stdin")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let took = begun.elapsed();
    ensure!(
        output.status.success() && output.stdout.is_empty() != mail,
        "the hook failed"
    );
    Ok(took.as_secs_f64() * 1000.0)
}
