//! What a file that has grown costs: latency, start, the inbox, search, and how fast a late
//! client catches up.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::client::{Client, Counter, runtime};
use super::hub::{AGENTHUB, Hub, Noticing};
use super::latency::measure;
use super::report::{Goal, Report, Sample, short};
use super::writer;

/// Tries of each; the figure is their median.
const TRIES: usize = 15;
/// Threads the messages are spread over.
const THREADS: u64 = 100;

/// Medians in ms, but for the latency, in µs.
struct Costs {
    latency: f64,
    start: f64,
    inbox: f64,
    search: f64,
}

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let mut sizes = vec![10_000, 100_000, 1_000_000];
    if report.large {
        sizes.push(10_000_000);
    }
    let mut all = Vec::new();
    for size in sizes {
        let folder = tempfile::tempdir()?;
        let db = folder.path().join("hub.db");
        drop(Hub::start_on(&db, &[])?);
        fill(&db, size)?;
        let costs = measure_all(&db)?;
        let figure = format!(
            "{size} messages, {} mails: commit → client p50 µs; start, `agenthub inbox`, search, ms",
            size / 10
        );
        let values = [costs.latency, costs.start, costs.inbox, costs.search].map(short);
        report.note(figure, values.join("; "));
        all.push(costs);
        if size == 1_000_000 {
            report.judge(
                "start to the first answer, 1,000,000 messages, ms",
                all[2].start,
                Goal::AtMost(300.0),
            );
        }
    }
    let ratio = |of: fn(&Costs) -> f64| of(&all[2]) / of(&all[0]);
    report.judge(
        "1,000,000 messages ÷ 10,000: commit → client",
        ratio(|c| c.latency),
        Goal::AtMost(1.2),
    );
    report.judge(
        "1,000,000 messages ÷ 10,000: start",
        ratio(|c| c.start),
        Goal::AtMost(1.2),
    );
    report.judge(
        "1,000,000 messages ÷ 10,000: `agenthub inbox`",
        ratio(|c| c.inbox),
        Goal::AtMost(1.2),
    );
    catch_up(report)
}

/// Messages in threads, a tenth as many mails, of which a handful is unread.
fn fill(db: &Path, rows: u64) -> Result<()> {
    let conn = writer::open(db)?;
    conn.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO messages(thread_id, from_id, content)
         SELECT 'thread-' || (i % {THREADS}), 'writer-' || (i % 7), 'row ' || i || ' says that all is well' FROM n;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} / 10)
         INSERT INTO inbox_messages(from_agent, to_inbox, payload, status)
         SELECT 'writer-' || (i % 7), 'reader-' || (i % 20), 'mail ' || i, CASE WHEN i > 100 THEN 'read' ELSE 'unread' END FROM n;
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE);"
    ))?;
    Ok(())
}

fn measure_all(db: &Path) -> Result<Costs> {
    let start = median_of(|| {
        let begun = Instant::now();
        let hub = Hub::start_on(db, &[])?;
        runtime()?.block_on(async {
            let mut client = Client::connect(&hub).await?;
            client.send(&serde_json::json!({"type": "ping"})).await?;
            client.event().await
        })?;
        Ok(begun.elapsed().as_secs_f64() * 1000.0)
    })?;
    let timed = |args: &[&str]| {
        median_of(|| {
            let begun = Instant::now();
            let mut command = Command::new(AGENTHUB);
            command.arg("--db").arg(db).args(args).stdout(Stdio::null());
            ensure!(command.status()?.success(), "agenthub {args:?} failed");
            Ok(begun.elapsed().as_secs_f64() * 1000.0)
        })
    };
    let inbox = timed(&["inbox", "reader-3"])?;
    // The first search makes the index.
    Command::new(AGENTHUB)
        .arg("--db")
        .arg(db)
        .args(["search", "well"])
        .stdout(Stdio::null())
        .status()?;
    let search = timed(&["search", "\"row 4242\"", "--limit", "10"])?;
    let latency = measure(db, Noticing::Notify, 100, 1, 300)?.median();
    Ok(Costs {
        latency,
        start,
        inbox,
        search,
    })
}

fn median_of(mut once: impl FnMut() -> Result<f64>) -> Result<f64> {
    let times = (0..TRIES).map(|_| once()).collect::<Result<Vec<_>>>()?;
    Ok(Sample::new(times).median())
}

/// One late client of one long thread.
fn catch_up(report: &mut Report) -> Result<()> {
    let mut rounds = vec![(100_000_u32, "0", 3), (1_000_000, "0", 3), (100_000, "100", 1)];
    if report.large {
        // 5,000 a second, by its nature.
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
