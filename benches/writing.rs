//! How fast rows go in: with all triggers beside a bare table, as a process of its own
//! (`agenthub send`), and through the hub (`POST`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::hub::{AGENTHUB, Hub};
use super::report::{Goal, Report, Sample, short};
use super::writer;

/// How long each crowd of writers writes.
const TIME: Duration = Duration::from_secs(3);
/// The columns of a message and nothing else: what SQLite alone can do.
const BARE: &str = "PRAGMA journal_mode = WAL; CREATE TABLE bare(n INTEGER PRIMARY KEY AUTOINCREMENT, thread_id TEXT, \
                    from_id TEXT, content TEXT, created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)))";

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (db, bare) = (folder.path().join("hub.db"), folder.path().join("bare.db"));
    writer::open(&bare)?.execute_batch(BARE)?;
    let hub = Hub::start_on(&db, &[])?;
    for sync in ["NORMAL", "FULL"] {
        for writers in [1, 8, 32] {
            let (bare_rate, bare_times) = crowd(&bare, "bare", sync, writers)?;
            let (rate, times) = crowd(&db, "messages", sync, writers)?;
            let which = format!("{writers} writers, {sync}");
            report.note(
                format!("{which}, bare table: rows/s; one insert, µs p50 / p99 / p99.9 / max"),
                format!("{}; {}", short(bare_rate), bare_times.tail()),
            );
            report.note(
                format!("{which}, messages, a hub looking on: rows/s; one insert, µs"),
                format!("{}; {}", short(rate), times.tail()),
            );
            report.judge(
                format!("{which}: all triggers ÷ bare table"),
                rate / bare_rate,
                Goal::AtLeast(0.4),
            );
        }
    }
    for connections in [1, 8, 32] {
        let (rate, times) = post(&hub, connections)?;
        report.note(
            format!("POST of a message, {connections} connections: rows/s; one request, µs p50 / p99 / p99.9 / max"),
            format!("{}; {}", short(rate), times.tail()),
        );
    }
    for busy in [0, 8] {
        let times = send(&db, busy)?;
        let figure = format!("`agenthub send`, {busy} busy writers beside it, ms p50 / p99 / p99.9 / max");
        report.note(figure, times.tail());
        if busy == 8 {
            report.judge("the same, p99.9 ms", times.at(0.999), Goal::AtMost(150.0));
        }
    }
    Ok(())
}

/// Rows a second of so many writers together, and how many µs an insert takes.
fn crowd(db: &Path, table: &str, sync: &str, writers: usize) -> Result<(f64, Sample)> {
    let begun = Instant::now();
    let children = (0..writers)
        .map(|_| writer::insert(db, table, sync, TIME))
        .collect::<Result<Vec<_>>>()?;
    let mut times = Vec::new();
    for child in children {
        times.extend(writer::numbers(child)?);
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (rate, micros) = (
        times.len() as f64 / begun.elapsed().as_secs_f64(),
        times.iter().map(|ns| *ns as f64 / 1000.0).collect(),
    );
    Ok((rate, Sample::new(micros)))
}

/// Requests a second on so many connections, and how many µs one takes.
fn post(hub: &Hub, connections: usize) -> Result<(f64, Sample)> {
    let begun = Instant::now();
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|i| scope.spawn(move || post_on(hub, i))).collect();
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().ok().context("a client panicked")??);
        }
        anyhow::Ok(times)
    })?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, Sample::new(times)))
}

fn post_on(hub: &Hub, number: usize) -> Result<Vec<f64>> {
    let mut stream = TcpStream::connect(&hub.address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let body = r#"{"from_id":"bench","content":"All 214 tests pass on the branch now."}"#;
    let request = format!(
        "POST /api/threads/post-{number}/messages HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        hub.address,
        hub.token,
        body.len()
    );
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < TIME {
        let before = Instant::now();
        stream.write_all(request.as_bytes())?;
        read_answer(&mut answers)?;
        times.push(before.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

fn read_answer(answers: &mut BufReader<TcpStream>) -> Result<()> {
    let (mut line, mut length) = (String::new(), 0);
    answers.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 2"), "refused: {line}");
    while line != "\r\n" {
        line.clear();
        answers.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    answers.read_exact(&mut vec![0; length])?;
    Ok(())
}

/// Milliseconds that `agenthub send` takes, from start to end, while others write as fast
/// as they can.
fn send(db: &Path, busy: usize) -> Result<Sample> {
    let runs = 300;
    let mut others = (0..busy)
        .map(|_| writer::insert(db, "messages", "NORMAL", Duration::from_secs(3600)))
        .collect::<Result<Vec<_>>>()?;
    let times = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            let status = Command::new(AGENTHUB)
                .arg("--db")
                .arg(db)
                .args(["send", "human", "All 214 tests pass."])
                .stdout(Stdio::null())
                .status()?;
            ensure!(status.success(), "agenthub send failed");
            Ok(begun.elapsed().as_secs_f64() * 1000.0)
        })
        .collect::<Result<Vec<_>>>();
    for other in &mut others {
        other.kill()?;
        other.wait()?;
    }
    Ok(Sample::new(times?))
}
