//! Latency from a commit in one process to the frame in another, compared with other ways to detect a commit. All of them
//! run on the same server and the same database, in turns.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::client::{Client, runtime};
use super::hub::{Detection, Hub};
use super::report::{Goal, Report, Sample};
use super::writer;

/// Number of turns of each detection method. The figure is the median over the turns.
const TURNS: usize = 3;

const DETECTIONS: &[(&str, Detection)] = &[
    ("notify", Detection::Notify),
    ("1 ms poll", Detection::Every(Duration::from_millis(1))),
    ("busy loop", Detection::Every(Duration::ZERO)),
    ("no file system events: 5 ms poll", Detection::Poll),
    (
        "500 ms poll, as in AILANG's hub",
        Detection::Every(Duration::from_millis(500)),
    ),
];

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("hub.db");
    at_100(report, &db)?;
    for (what, rate, writers, rows) in [
        ("1 row/s (10 rows)", 1, 1, 10),
        ("8 writers, 8 rows/s together (80 rows)", 1, 8, 10),
        ("20 rows/s", 20, 1, 100),
        ("1,000 rows/s", 1000, 1, 3000),
        ("8 writers, 100 rows/s together", 12, 8, 40),
        ("8 writers, 1,000 rows/s together", 125, 8, 375),
        ("a burst of 2,000 rows in one transaction", 0, 1, 2000),
        ("8 writers, a burst of 250 rows in one transaction each", 0, 8, 250),
    ] {
        for (method, detection) in DETECTIONS {
            let times = measure(&db, *detection, rate, writers, rows)?;
            report.note(
                format!("commit → client, {what}, {method}, µs p50 / p90 / p99 / max"),
                times.spread(),
            );
        }
    }
    Ok(())
}

/// Measures at 100 rows/s, the rate that has goals. The detection methods run in turns.
fn at_100(report: &mut Report, db: &Path) -> Result<()> {
    let mut turns: Vec<Vec<Sample>> = DETECTIONS.iter().map(|_| Vec::new()).collect();
    for _ in 0..TURNS {
        for ((_, detection), samples) in DETECTIONS.iter().zip(&mut turns) {
            samples.push(measure(db, *detection, 100, 1, 500)?);
        }
    }
    let median = |method: usize, q: f64| Sample::new(turns[method].iter().map(|s| s.at(q)).collect()).median();
    for (method, (name, _)) in DETECTIONS.iter().enumerate() {
        let spread = [0.5, 0.9, 0.99, 1.0].map(|q| super::report::short(median(method, q)));
        report.note(
            format!("commit → client, 100 rows/s, {name}, µs p50 / p90 / p99 / max, median of {TURNS} turns"),
            spread.join(" / "),
        );
    }
    report.judge("100 rows/s, notify, p50 µs", median(0, 0.5), Goal::AtMost(350.0));
    report.judge("100 rows/s, notify, p99 µs", median(0, 0.99), Goal::AtMost(1000.0));
    report.judge(
        "100 rows/s, notify, p50 ÷ a 1 ms poll",
        median(0, 0.5) / median(1, 0.5),
        Goal::AtMost(0.45),
    );
    report.judge(
        "100 rows/s, notify, p50 ÷ a busy loop",
        median(0, 0.5) / median(2, 0.5),
        Goal::AtMost(1.4),
    );
    report.judge(
        "100 rows/s, no file system events, p50 ms",
        median(3, 0.5) / 1000.0,
        Goal::AtMost(3.5),
    );
    report.judge(
        "100 rows/s, no file system events, p99 ms",
        median(3, 0.99) / 1000.0,
        Goal::AtMost(8.0),
    );
    Ok(())
}

/// Returns the microseconds from commit to client for each row of `writers` writers with `rows` rows each.
pub(crate) fn measure(db: &Path, detection: Detection, rate: u32, writers: u32, rows: u32) -> Result<Sample> {
    let hub = Hub::detecting(db, detection)?;
    let threads: Vec<String> = (0..writers).map(|i| format!("bench-{i}-{}", writer::clock())).collect();
    runtime()?.block_on(async {
        let mut client = Client::connect(&hub).await?;
        for thread in &threads {
            client.follow(thread).await?;
        }
        let children = threads
            .iter()
            .map(|thread| writer::start(db, thread, rate, rows))
            .collect::<Result<Vec<_>>>()?;
        let mut seen = vec![vec![0; rows as usize]; threads.len()];
        let mut missing = threads.len() * rows as usize;
        while missing > 0 {
            let (event, at) = client.event().await?;
            let messages = match event["type"].as_str() {
                Some("message") => std::slice::from_ref(&event["data"]),
                Some("batch") => event["data"]["messages"].as_array().map_or(&[][..], Vec::as_slice),
                _ => continue,
            };
            for message in messages {
                let seq = usize::try_from(message["message_seq"].as_u64().unwrap_or_default())?;
                let thread = threads.iter().position(|t| message["thread_id"] == t.as_str());
                if let Some(slot) = thread.and_then(|t| seen[t].get_mut(seq.wrapping_sub(1))) {
                    *slot = at;
                    missing -= 1;
                }
            }
        }
        let mut times = Vec::new();
        for (seen, child) in seen.iter().zip(children) {
            let written = writer::numbers(child)?;
            for (i, at) in seen.iter().enumerate() {
                // All rows of a burst have one commit.
                let commit = written[i.min(written.len() - 1)];
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                times.push((at - commit) as f64 / 1000.0);
            }
        }
        Ok(Sample::new(times))
    })
}
