//! Many clients: delivery of one row and of a burst to all of them, memory of an idle connection, and the effect of a client
//! that stops reading.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use super::client::{Client, Counter, runtime};
use super::hub::Hub;
use super::report::{Goal, Report, Sample, short};
use super::writer::{self, clock};

/// Number of rows in `one_row`.
const ROUNDS: u64 = 11;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    idle(report)?;
    for clients in [1, 10, 100, 1000] {
        one_row(report, clients)?;
    }
    for clients in [1, 10, 100, 1000] {
        burst(report, clients)?;
    }
    stalled_client(report)
}

/// Measures the memory of an idle connection.
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

/// Measures the delivery of one row to all clients. They do not parse frames: a thousand JSON parsers in one process would
/// dominate the figure.
fn one_row(report: &mut Report, clients: u32) -> Result<()> {
    let hub = Hub::start(&["--max-connections", "2000"])?;
    let (last, cpu) = runtime()?.block_on(async {
        let mut connected = Vec::new();
        for _ in 0..clients {
            connected.push(Counter::follow(&hub, "bench").await?);
        }
        let (mut last, mut before) = (Vec::new(), 0.0);
        // The first row is not counted, because the subscriptions have just begun.
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
    let figure = format!("one row to {clients} clients: commit → the last client, ms, median of {ROUNDS}");
    if clients == 1000 {
        report.judge(figure, last, Goal::AtMost(25.0));
        report.note("the same: CPU time of the hub per delivery, µs", short(cpu * 1e6));
    } else {
        report.note(figure, short(last));
    }
    Ok(())
}

/// Measures the delivery of the rows of one transaction to all clients, at full speed. The clients run in one process on
/// the same machine, so their CPU time is part of the figure.
fn burst(report: &mut Report, clients: u32) -> Result<()> {
    // The capacity of the live tail. Older messages are sent in batches of 50.
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
            "a burst of {rows} rows to {clients} clients: messages/s delivered; frames/s; CPU time of the hub per message, µs"
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

/// Measures how one client that stops reading affects the latency of 99 others and the memory of the hub, at 2,000 rows/s.
fn stalled_client(report: &mut Report) -> Result<()> {
    let seconds = if report.soak { 60 } else { 15 };
    let (alone, _) = latency_of_99_clients(seconds, 0)?;
    let (with_stalled, growth) = latency_of_99_clients(seconds, 1)?;
    report.note(
        format!("99 clients, 2,000 rows/s for {seconds} s: p99 ms"),
        short(alone),
    );
    report.note(
        "the same with one more client, which does not read: p99 ms",
        short(with_stalled),
    );
    report.judge(
        "a client that does not read: p99 of the others ÷ p99 without it",
        with_stalled / alone,
        Goal::AtMost(1.5),
    );
    report.judge("… growth of the hub's memory, MiB", growth / 1024.0, Goal::AtMost(16.0));
    Ok(())
}

/// Returns the p99 latency of 99 clients in ms and the growth of the hub's memory in KiB, while `stalled` more clients do
/// not read.
fn latency_of_99_clients(seconds: u32, stalled: u32) -> Result<(f64, f64)> {
    const RATE: u32 = 2000;
    let hub = Hub::start(&[])?;
    let rows = RATE * seconds;
    runtime()?.block_on(async {
        let mut not_reading = Vec::new();
        for _ in 0..stalled {
            not_reading.push(Counter::follow(&hub, "bench").await?);
        }
        let mut live = JoinSet::new();
        for _ in 0..99 {
            let mut client = Client::connect(&hub).await?;
            client.follow("bench").await?;
            live.spawn(async move { receive(&mut client, rows as usize).await });
        }
        let before = hub.rss()?;
        let (begun, child) = (Instant::now(), writer::start(&hub.db, "bench", RATE, rows)?);
        let (mut all, mut max_rss) = (Vec::new(), before);
        let mut sample = tokio::time::interval(Duration::from_millis(200));
        while !live.is_empty() {
            tokio::select! {
                Some(times) = live.join_next() => all.push(times??),
                _ = sample.tick() => max_rss = max_rss.max(hub.rss()?),
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
        Ok((Sample::new(latencies.collect()).at(0.99), max_rss - before))
    })
}

/// Receives `rows` messages, checks their order, and returns the arrival time of each.
async fn receive(client: &mut Client, rows: usize) -> Result<Vec<i64>> {
    let mut times = Vec::with_capacity(rows);
    while times.len() < rows {
        let text = client.text().await?;
        let at = clock();
        // Reads only the numbers: parsing millions of messages would measure the parser.
        for part in text.split("\"message_seq\":").skip(1) {
            let seq: usize = part.split(',').next().unwrap_or_default().parse()?;
            anyhow::ensure!(seq == times.len() + 1, "message {seq} follows {}", times.len());
            times.push(at);
        }
    }
    Ok(times)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn millis(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}
