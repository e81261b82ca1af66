//! Write throughput: inserts into `messages` compared with a table without triggers, `agenthub send`, and `POST`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agenthub::store::{NetworkFs, Writer};
use anyhow::{Context, Result, ensure};

use super::hub::{AGENTHUB, Hub};
use super::report::{Goal, Report, Sample, short};
use super::writer;

/// Number of writers without a pause while `agenthub send` runs, and the number of runs of that command.
const BUSY: usize = 8;
const SENDS: usize = 2000;
/// Duration of each measurement.
const TIME: Duration = Duration::from_secs(3);
/// The columns and defaults of `messages`, without index and trigger.
const BARE: &str = "PRAGMA journal_mode = WAL; CREATE TABLE bare(n INTEGER PRIMARY KEY, thread_id TEXT, from_id TEXT, \
     id TEXT DEFAULT (lower(hex(randomblob(16)))), message_seq INTEGER, \
     created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)), \
     from_type TEXT DEFAULT 'agent', to_type TEXT, to_id TEXT, kind TEXT DEFAULT 'status', subject TEXT, \
     content TEXT DEFAULT '', metadata_json TEXT, reply_to TEXT, delivery_state TEXT DEFAULT 'pending', \
     business_state TEXT DEFAULT 'open', deleted_at INTEGER)";

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (db, bare) = (folder.path().join("hub.db"), folder.path().join("bare.db"));
    writer::open(&bare)?.execute_batch(BARE)?;
    let hub = Hub::start_on(&db, &[])?;
    for sync in ["NORMAL", "FULL"] {
        for writers in [1, 8, 32] {
            let (bare_rate, bare_times) = insert_rate(&bare, "bare", sync, writers)?;
            let (rate, times) = insert_rate(&db, "messages", sync, writers)?;
            let which = format!("{writers} writers, {sync}");
            report.note(
                format!("{which}, bare table: rows/s; one insert, µs p50 / p99 / p99.9 / max"),
                format!("{}; {}", short(bare_rate), bare_times.tail()),
            );
            report.note(
                format!("{which}, messages, with a running hub: rows/s; one insert, µs"),
                format!("{}; {}", short(rate), times.tail()),
            );
            report.judge(
                format!("{which}: all triggers ÷ bare table"),
                rate / bare_rate,
                Goal::AtLeast(0.4),
            );
        }
    }
    for (what, table) in [("bare table", "bare"), ("messages", "messages")] {
        report.note(
            format!("pages of the write-ahead log per row, {what}"),
            short(pages_per_row(table)?),
        );
    }
    for connections in [1, 8, 32] {
        let (rate, times) = post(&hub, connections)?;
        report.note(
            format!("POST of a message, {connections} connections: rows/s; one request, µs p50 / p99 / p99.9 / max"),
            format!("{}; {}", short(rate), times.tail()),
        );
    }
    for senders in [1, 8, 32] {
        let (rate, times) = senders_at_once(&db, senders)?;
        report.note(
            format!("`agenthub send`, {senders} at a time: messages/s; one process, ms p50 / p99 / p99.9 / max"),
            format!("{}; {}", short(rate), times.tail()),
        );
    }
    let mut others = (0..BUSY)
        .map(|_| writer::insert(&db, "messages", "NORMAL", Duration::from_secs(3600)))
        .collect::<Result<Vec<_>>>()?;
    let times = (0..SENDS).map(|_| send(&db)).collect::<Result<Vec<_>>>();
    for other in &mut others {
        other.kill()?;
        other.wait()?;
    }
    let times = Sample::new(times?);
    report.note(
        format!("`agenthub send`, {BUSY} busy writers, {SENDS} times, ms p50 / p99 / p99.9 / max"),
        times.tail(),
    );
    report.judge("the same, p99.9 ms", times.at(0.999), Goal::AtMost(150.0));
    Ok(())
}

/// Returns the rows/s of `writers` writers together, and the µs of each insert.
fn insert_rate(db: &Path, table: &str, sync: &str, writers: usize) -> Result<(f64, Sample)> {
    let children = (0..writers)
        .map(|_| writer::insert(db, table, sync, TIME))
        .collect::<Result<Vec<_>>>()?;
    let mut times = Vec::new();
    for child in children {
        times.extend(writer::numbers(child)?);
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (rate, micros) = (
        times.len() as f64 / TIME.as_secs_f64(),
        times.iter().map(|ns| *ns as f64 / 1000.0).collect(),
    );
    Ok((rate, Sample::new(micros)))
}

/// Returns the number of pages that a commit of one row writes to the write-ahead log, as a mean of many.
fn pages_per_row(table: &str) -> Result<f64> {
    const ROWS: u32 = 2_000;
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("hub.db");
    drop(Writer::open(&db, NetworkFs::Refuse)?);
    let conn = writer::open(&db)?;
    conn.execute_batch(BARE)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    let size = || Ok::<_, std::io::Error>(std::fs::metadata(folder.path().join("hub.db-wal"))?.len());
    let before = size()?;
    let mut insert = conn.prepare(&format!(
        "INSERT INTO {table}(thread_id, from_id, content) VALUES('build', 'writer', 'All 214 tests pass on the branch now.')"
    ))?;
    for _ in 0..ROWS {
        insert.execute([])?;
    }
    // A frame is a page of 4096 bytes and a header of 24.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let pages = (size()? - before) as f64 / 4120.0;
    Ok(pages / f64::from(ROWS))
}

/// Returns the requests/s on `connections` connections together, and the µs of each request.
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
    let mut responses = BufReader::new(stream.try_clone()?);
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
        read_response(&mut responses)?;
        times.push(before.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

fn read_response(responses: &mut BufReader<TcpStream>) -> Result<()> {
    let (mut line, mut length) = (String::new(), 0);
    responses.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 2"), "unexpected status: {line}");
    while line != "\r\n" {
        line.clear();
        responses.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    responses.read_exact(&mut vec![0; length])?;
    Ok(())
}

/// Runs `agenthub send` in `senders` parallel loops. Returns the messages/s of all together, and the ms of each run.
fn senders_at_once(db: &Path, senders: usize) -> Result<(f64, Sample)> {
    let begun = Instant::now();
    let times = std::thread::scope(|scope| {
        let one = || {
            let mut times = Vec::new();
            while begun.elapsed() < TIME {
                times.push(send(db)?);
            }
            anyhow::Ok(times)
        };
        let threads: Vec<_> = (0..senders).map(|_| scope.spawn(one)).collect();
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().ok().context("a sender panicked")??);
        }
        anyhow::Ok(times)
    })?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, Sample::new(times)))
}

/// Returns the milliseconds of one `agenthub send`, from start to exit.
fn send(db: &Path) -> Result<f64> {
    let begun = Instant::now();
    let status = Command::new(AGENTHUB)
        .arg("--db")
        .arg(db)
        .args(["send", "human", "All 214 tests pass."])
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "agenthub send failed");
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}
