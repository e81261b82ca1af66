//! Many clients: a thousand of them and one row; a hundred of them, one of which has
//! stopped reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use serde_json::json;

use super::support::{Client, Hub, Report, clock, commits, quantile, runtime, writer};

pub(crate) fn run(report: &mut Report) -> Result<()> {
    thousand(report)?;
    frozen(report)
}

/// One row to many clients, and what each of them costs while nothing happens.
fn thousand(report: &mut Report) -> Result<()> {
    const CLIENTS: usize = 1000;
    let hub = Hub::start(&["--max-connections", "2000"])?;
    let before = hub.rss()?;
    let (idle, mut last) = runtime()?.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(hub.connect("").await?);
        }
        for client in &mut clients {
            client.send(&json!({"type": "ping"})).await?;
            client.event().await?;
        }
        let idle = hub.rss()? - before;
        for client in &mut clients {
            client
                .send(&json!({"type": "subscribe", "data": {"thread_id": "bench", "from_seq": 0}}))
                .await?;
            client.event().await?;
        }
        let mut last = Vec::new();
        for round in 1..=11 {
            let child = writer(&hub.db, 1000, 1)?;
            let mut latest = 0;
            for client in &mut clients {
                let (event, at) = client.event().await?;
                anyhow::ensure!(event["data"]["message_seq"] == round, "{event}");
                latest = latest.max(at);
            }
            last.push(latest - commits(child)?[0]);
        }
        anyhow::Ok((idle, last))
    })?;
    last.sort_unstable();
    report.row(
        format!("memory per idle connection, {CLIENTS} of them, KiB"),
        format!("{:.1}", idle / CLIENTS as f64 / 1024.0),
    );
    report.row(
        format!("one row to {CLIENTS} clients: commit → the last has it, ms, median of 11 (one client process reads them all)"),
        format!("{:.1}", quantile(&last, 0.5) / 1000.0),
    );
    Ok(())
}

/// 100 clients at 2,000 rows/s: what changes for 99 of them, and for the hub's memory, when
/// the hundredth stops reading.
fn frozen(report: &mut Report) -> Result<()> {
    let seconds: u32 = std::env::var("AGENTHUB_SOAK").map_or(15, |_| 60);
    let (alone, _) = crowd(seconds, 0)?;
    let (beside, growth) = crowd(seconds, 1)?;
    report.row(
        format!("99 clients, 2,000 rows/s, {seconds} s: p99 ms"),
        format!("{:.1}", alone / 1000.0),
    );
    report.row(
        "the same beside a client that has stopped reading",
        format!("{:.1} ({:.2} ×)", beside / 1000.0, beside / alone),
    );
    report.row(
        "the hub's memory beside it grew by, MiB",
        format!("{:.1}", growth / 1_048_576.0),
    );
    Ok(())
}

fn crowd(seconds: u32, stopped: usize) -> Result<(f64, f64)> {
    const RATE: u32 = 2000;
    let hub = Hub::start(&[])?;
    let rows = usize::try_from(RATE * seconds)?;
    runtime()?.block_on(async {
        let subscribe = json!({"type": "subscribe", "data": {"thread_id": "bench", "from_seq": 0}});
        let mut asleep = Vec::new();
        for _ in 0..stopped {
            let mut client = hub.connect("").await?;
            client.send(&subscribe).await?;
            asleep.push(client);
        }
        let done = Arc::new(AtomicUsize::new(0));
        let mut live = tokio::task::JoinSet::new();
        for _ in 0..99 {
            let mut client = hub.connect("").await?;
            client.send(&subscribe).await?;
            client.event().await?;
            let done = Arc::clone(&done);
            live.spawn(async move {
                let times = receive(&mut client, rows).await;
                done.fetch_add(1, Ordering::Relaxed);
                times
            });
        }
        let before = hub.rss()?;
        let child = writer(&hub.db, RATE, u32::try_from(rows)?)?;
        let mut all = Vec::new();
        while let Some(times) = live.join_next().await {
            all.push(times??);
        }
        let growth = hub.rss()? - before;
        let written = commits(child)?;
        let mut latencies: Vec<i64> = all
            .iter()
            .flat_map(|t| t.iter().zip(&written).map(|(at, w)| at - w))
            .collect();
        latencies.sort_unstable();
        Ok((quantile(&latencies, 0.99), growth))
    })
}

/// When each of `rows` messages came, which must be all of them, in order.
async fn receive(client: &mut Client, rows: usize) -> Result<Vec<i64>> {
    let mut times = Vec::with_capacity(rows);
    while times.len() < rows {
        let text = client.text().await?;
        let at = clock();
        // Parsing 20 million messages would measure the parser: only the numbers are read.
        for part in text.split("\"message_seq\":").skip(1) {
            let seq: usize = part.split(',').next().unwrap_or_default().parse()?;
            anyhow::ensure!(seq == times.len() + 1, "after {} came {seq}", times.len());
            times.push(at);
        }
    }
    Ok(times)
}
