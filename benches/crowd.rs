//! Many clients: one row to each of them, a burst to each of them, what one costs while
//! nothing happens, and what changes for the others when one stops reading.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use super::client::{Client, Counter, runtime};
use super::hub::Hub;
use super::report::{Goal, Report, Sample, short};
use super::writer::{self, clock};

/// One row, this often.
const ROUNDS: u64 = 11;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    idle(report)?;
    for clients in [1, 10, 100, 1000] {
        one_row(report, clients)?;
    }
    for clients in [1, 10, 100, 1000] {
        burst(report, clients)?;
    }
    frozen(report)
}

/// What one costs while nothing happens.
fn idle(report: &mut Report) -> Result<()> {
    const CLIENTS: u32 = 1000;
    let hub = Hub::start(&["--max-connections", "2000"])?;
    let at_rest = hub.rss()?;
    let each = runtime()?.block_on(async {
        let mut connected = Vec::new();
        for _ in 0..CLIENTS {
            connected.push(Client::connect(&hub).await?);
        }
        for client in &mut connected {
            client.send(&serde_json::json!({"type": "ping"})).await?;
            client.event().await?;
        }
        anyhow::Ok((hub.rss()? - at_rest) / f64::from(CLIENTS))
    })?;
    report.judge(
        "memory of an idle connection, one of 1,000, KiB",
        each,
        Goal::AtMost(10.0),
    );
    Ok(())
}

/// One row to all of them. The clients look at a frame no further than they must: real ones
/// are not a thousand in one process.
fn one_row(report: &mut Report, clients: u32) -> Result<()> {
    let hub = Hub::start(&["--max-connections", "2000"])?;
    let (last, cpu) = runtime()?.block_on(async {
        let mut connected = Vec::new();
        for _ in 0..clients {
            connected.push(Counter::follow(&hub, "bench").await?);
        }
        let (mut last, mut before) = (Vec::new(), 0.0);
        // The first row finds them at the start of their subscriptions, and does not count.
        for round in 0..=ROUNDS {
            let child = writer::start(&hub.db, "bench", 1000, 1)?;
            let mut latest = 0;
            for client in &mut connected {
                client.until(round + 1).await?;
                latest = latest.max(clock());
            }
            let took = millis(latest - writer::numbers(child)?[0]);
            if round == 0 {
                before = hub.cpu()?;
            } else {
                last.push(took);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let each = (hub.cpu()? - before) / (ROUNDS as f64 * f64::from(clients));
        anyhow::Ok((Sample::new(last).median(), each))
    })?;
    let figure = format!("one row to {clients} clients: commit → the last has it, ms, median of {ROUNDS}");
    if clients == 1000 {
        report.judge(figure, last, Goal::AtMost(25.0));
        report.note("the same: hub's µs of processor for a delivery", short(cpu * 1e6));
    } else {
        report.note(figure, short(last));
    }
    Ok(())
}

/// Rows of one transaction to all of them, as fast as it goes. The clients share one process
/// and two cores with the hub: what they cost is in the figure.
fn burst(report: &mut Report, clients: u32) -> Result<()> {
    // As far as the live tail reaches: beyond it messages travel in batches of fifty.
    const ROWS: u32 = 1000;
    let rows = ROWS - 1;
    let hub = Hub::start(&["--max-connections", "2000", "--max-messages-per-second", "0"])?;
    let (seconds, frames, cpu) = runtime()?.block_on(async {
        let mut followers = JoinSet::new();
        let mut counters = Vec::new();
        for _ in 0..clients {
            counters.push(Counter::follow(&hub, "bench").await?);
        }
        let child = writer::start(&hub.db, "bench", 1000, 1)?;
        for counter in &mut counters {
            counter.until(1).await?;
        }
        writer::numbers(child)?;
        let before = hub.cpu()?;
        let child = writer::start(&hub.db, "bench", 0, rows)?;
        for mut counter in counters {
            followers.spawn(async move {
                counter.until(u64::from(rows) + 1).await?;
                anyhow::Ok((clock(), counter.frames - 1))
            });
        }
        let (mut last, mut frames) = (0, 0);
        while let Some(done) = followers.join_next().await {
            let (at, count) = done??;
            last = last.max(at);
            frames += count;
        }
        let seconds = millis(last - writer::numbers(child)?[0]) / 1000.0;
        anyhow::Ok((seconds, frames, hub.cpu()? - before))
    })?;
    let deliveries = f64::from(rows) * f64::from(clients);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let frames = frames as f64;
    report.note(
        format!(
            "a burst of {rows} rows to {clients} clients: messages/s delivered; frames/s; hub's µs of processor for a message"
        ),
        format!(
            "{}; {}; {}",
            short(deliveries / seconds),
            short(frames / seconds),
            short(cpu * 1e6 / deliveries)
        ),
    );
    if clients == 1000 {
        let figure = "a burst to 1,000 clients, frames/s";
        report.judge(figure, frames / seconds, Goal::AtLeast(1e6));
    }
    Ok(())
}

/// 100 clients at 2,000 rows/s: what changes for 99 of them, and for the hub's memory, when
/// the hundredth stops reading.
fn frozen(report: &mut Report) -> Result<()> {
    let seconds = if report.soak { 60 } else { 15 };
    let (alone, _) = crowd(seconds, 0)?;
    let (beside, growth) = crowd(seconds, 1)?;
    report.note(
        format!("99 clients, 2,000 rows/s for {seconds} s: p99 ms"),
        short(alone),
    );
    report.note(
        "the same beside a client that has stopped reading: p99 ms",
        short(beside),
    );
    report.judge(
        "a client that has stopped reading: p99 of the others ÷ without it",
        beside / alone,
        Goal::AtMost(1.5),
    );
    report.judge(
        "… and the hub's memory grew by, MiB",
        growth / 1024.0,
        Goal::AtMost(16.0),
    );
    Ok(())
}

fn crowd(seconds: u32, stopped: u32) -> Result<(f64, f64)> {
    const RATE: u32 = 2000;
    let hub = Hub::start(&[])?;
    let rows = RATE * seconds;
    runtime()?.block_on(async {
        let mut asleep = Vec::new();
        for _ in 0..stopped {
            asleep.push(Counter::follow(&hub, "bench").await?);
        }
        let mut live = JoinSet::new();
        for _ in 0..99 {
            let mut client = Client::connect(&hub).await?;
            client.follow("bench").await?;
            live.spawn(async move { receive(&mut client, rows as usize).await });
        }
        let before = hub.rss()?;
        let (begun, child) = (Instant::now(), writer::start(&hub.db, "bench", RATE, rows)?);
        let (mut all, mut most) = (Vec::new(), before);
        let mut look = tokio::time::interval(Duration::from_millis(200));
        while !live.is_empty() {
            tokio::select! {
                Some(times) = live.join_next() => all.push(times??),
                _ = look.tick() => most = most.max(hub.rss()?),
            }
        }
        let written = writer::numbers(child)?;
        anyhow::ensure!(
            begun.elapsed().as_secs() < u64::from(seconds) * 2,
            "the machine is too slow for {RATE} rows/s to 99 clients"
        );
        let latencies = all
            .iter()
            .flat_map(|times| times.iter().zip(&written).map(|(at, commit)| millis(at - commit)));
        Ok((Sample::new(latencies.collect()).at(0.99), most - before))
    })
}

/// When each of `rows` messages came, which must be all of them, in order.
async fn receive(client: &mut Client, rows: usize) -> Result<Vec<i64>> {
    let mut times = Vec::with_capacity(rows);
    while times.len() < rows {
        let text = client.text().await?;
        let at = clock();
        // Parsing millions of messages would measure the parser: only the numbers are read.
        for part in text.split("\"message_seq\":").skip(1) {
            let seq: usize = part.split(',').next().unwrap_or_default().parse()?;
            anyhow::ensure!(seq == times.len() + 1, "after {} came {seq}", times.len());
            times.push(at);
        }
    }
    Ok(times)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn millis(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}
