//! Effect of the size of the database: latency, start, `agenthub inbox`, search, and the catch-up rate of a late client.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::client::{Client, Counter, runtime};
use super::hub::{AGENTHUB, Detection, Hub};
use super::latency::measure;
use super::report::{Goal, Report, Sample, short};
use super::writer;

/// Number of turns. Each turn measures every database, so that other load on the machine affects all of them.
const TURNS: usize = 5;
/// Measurements per turn. The figure is the median over all turns.
const TRIES: usize = 3;
/// Number of threads that the messages are spread over.
const THREADS: u64 = 100;

/// A database of `size` messages and its measurements: latency in µs, everything else in ms.
struct Database {
    size: u64,
    db: PathBuf,
    latency: Vec<f64>,
    start: Vec<f64>,
    inbox: Vec<f64>,
    search: Vec<f64>,
}

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let mut sizes = vec![10_000, 100_000, 1_000_000];
    if report.large {
        sizes.push(10_000_000);
    }
    let folder = tempfile::tempdir()?;
    let mut files = Vec::new();
    for size in sizes {
        files.push(Database::new(folder.path(), size)?);
    }
    // Pending writes of the new databases would distort the measurements.
    ensure!(Command::new("sync").status()?.success(), "sync failed");
    for _ in 0..TURNS {
        for file in &mut files {
            file.measure()?;
        }
    }
    let median = |samples: &[f64]| Sample::new(samples.to_vec()).median();
    for file in &files {
        let figure = format!(
            "{} messages, {} inbox messages: commit → client p50 µs; start, `agenthub inbox`, search, ms",
            file.size,
            file.size / 10
        );
        let values = [&file.latency, &file.start, &file.inbox, &file.search].map(|samples| short(median(samples)));
        report.note(figure, values.join("; "));
    }
    report.judge(
        "start to the first response, 1,000,000 messages, ms",
        median(&files[2].start),
        Goal::AtMost(300.0),
    );
    let ratio = |of: fn(&Database) -> &Vec<f64>| median(of(&files[2])) / median(of(&files[0]));
    report.judge(
        "1,000,000 messages ÷ 10,000: commit → client",
        ratio(|file| &file.latency),
        Goal::AtMost(1.2),
    );
    report.judge(
        "1,000,000 messages ÷ 10,000: start",
        ratio(|file| &file.start),
        Goal::AtMost(1.2),
    );
    report.judge(
        "1,000,000 messages ÷ 10,000: `agenthub inbox`",
        ratio(|file| &file.inbox),
        Goal::AtMost(1.2),
    );
    catch_up(report)
}

/// Writes `rows` messages and a tenth as many inbox messages, of which 100 are unread.
fn fill(db: &Path, rows: u64) -> Result<()> {
    let conn = writer::open(db)?;
    conn.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO messages(thread_id, from_id, content)
         SELECT 'thread-' || (i % {THREADS}), 'writer-' || (i % 7), 'row ' || i || ' of the benchmark, all is well' FROM n;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} / 10)
         INSERT INTO inbox_messages(from_agent, to_inbox, payload, status)
         SELECT 'writer-' || (i % 7), 'reader-' || (i % 20), 'mail ' || i, CASE WHEN i > 100 THEN 'read' ELSE 'unread' END FROM n;
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE);"
    ))?;
    Ok(())
}

impl Database {
    fn new(folder: &Path, size: u64) -> Result<Self> {
        let db = folder.join(size.to_string()).join("hub.db");
        drop(Hub::start_on(&db, &[])?);
        fill(&db, size)?;
        // The first search creates the index.
        agenthub(&db, &["search", "well"])?;
        Ok(Self {
            size,
            db,
            latency: Vec::new(),
            start: Vec::new(),
            inbox: Vec::new(),
            search: Vec::new(),
        })
    }

    fn measure(&mut self) -> Result<()> {
        for _ in 0..TRIES {
            self.start.push(startup_time(&self.db)?);
            self.inbox.push(agenthub(&self.db, &["inbox", "reader-3"])?);
            self.search
                .push(agenthub(&self.db, &["search", "\"row 4242\"", "--limit", "10"])?);
        }
        self.latency
            .push(measure(&self.db, Detection::Notify, 100, 1, 200)?.median());
        Ok(())
    }
}

/// Returns the milliseconds from the start of a hub to its first response over a WebSocket.
fn startup_time(db: &Path) -> Result<f64> {
    let begun = Instant::now();
    let hub = Hub::start_on(db, &[])?;
    runtime()?.block_on(async {
        let mut client = Client::connect(&hub).await?;
        client.send(&serde_json::json!({"type": "ping"})).await?;
        client.event().await
    })?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// Runs a command and returns the milliseconds it takes.
fn agenthub(db: &Path, args: &[&str]) -> Result<f64> {
    let begun = Instant::now();
    let mut command = Command::new(AGENTHUB);
    command.arg("--db").arg(db).args(args).stdout(Stdio::null());
    ensure!(command.status()?.success(), "agenthub {args:?} failed");
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// Measures how fast a client receives a long thread that it subscribes to late.
fn catch_up(report: &mut Report) -> Result<()> {
    let mut rounds = vec![(100_000_u32, "0", 3), (1_000_000, "0", 3), (100_000, "100", 1)];
    if report.large {
        // At most 5,000 messages/s: 100 batches of 50.
        rounds.push((1_000_000, "100", 1));
    }
    for (rows, throttle, tries) in rounds {
        let folder = tempfile::tempdir()?;
        let db = folder.path().join("hub.db");
        drop(Hub::start_on(&db, &[])?);
        writer::numbers(writer::start(&db, "long", 0, rows)?)?;
        let hub = Hub::start_on(&db, &["--max-messages-per-second", throttle])?;
        let mut rates = Vec::new();
        for _ in 0..tries {
            rates.push(runtime()?.block_on(async {
                let begun = Instant::now();
                let mut counter = Counter::follow(&hub, "long").await?;
                counter.until(u64::from(rows)).await?;
                anyhow::Ok(f64::from(rows) / begun.elapsed().as_secs_f64())
            })?);
        }
        let rate = Sample::new(rates).median();
        let figure = format!("a late client of {rows} messages, throttle {throttle}: messages/s");
        if throttle == "0" {
            report.judge(figure, rate, Goal::AtLeast(200_000.0));
        } else {
            report.note(figure, short(rate));
        }
    }
    Ok(())
}
