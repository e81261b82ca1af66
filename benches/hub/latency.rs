//! Commit in one process → frame in another.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::support::{Hub, Report, commits, quantile, runtime, writer};

pub(crate) fn run(report: &mut Report) -> Result<()> {
    for (watch, rates) in [("notify", &[20, 100, 1000][..]), ("poll", &[100][..])] {
        for rate in rates {
            let seconds = if *rate < 100 { 10 } else { 5 };
            let hub = Hub::start(&["--watch", watch, "--max-messages-per-second", "0"])?;
            let mut times = measure(&hub, *rate, rate * seconds)?;
            times.sort_unstable();
            let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|q| quantile(&times, q));
            report.row(
                format!("commit → client, {rate} rows/s, {watch}, µs p50 / p90 / p99 / max"),
                format!("{p50:.0} / {p90:.0} / {p99:.0} / {max:.0}"),
            );
        }
    }
    idle(report)
}

fn measure(hub: &Hub, rate: u32, rows: u32) -> Result<Vec<i64>> {
    runtime()?.block_on(async {
        let mut client = hub.connect("").await?;
        client
            .send(&json!({"type": "subscribe", "data": {"thread_id": "bench", "from_seq": 0}}))
            .await?;
        client.event().await?;
        let child = writer(&hub.db, rate, rows)?;
        let mut seen = vec![0; rows as usize];
        let mut count = 0;
        while count < rows as usize {
            let (event, at) = client.event().await?;
            let messages = match event["type"].as_str() {
                Some("message") => vec![event["data"].clone()],
                Some("batch") => event["data"]["messages"].as_array().cloned().unwrap_or_default(),
                _ => continue,
            };
            for message in messages {
                let seq = message["message_seq"].as_u64().unwrap_or(1);
                seen[usize::try_from(seq)? - 1] = at;
                count += 1;
            }
        }
        let written = commits(child)?;
        Ok(seen.iter().zip(written).map(|(seen, written)| seen - written).collect())
    })
}

/// Processor time of a hub nobody writes to.
fn idle(report: &mut Report) -> Result<()> {
    const SECONDS: u32 = 10;
    for (clients, watch) in [(0, "notify"), (3, "notify"), (3, "poll")] {
        let hub = Hub::start(&["--watch", watch])?;
        let share = runtime()?.block_on(async {
            let mut connected = Vec::new();
            for _ in 0..clients {
                connected.push(hub.connect("").await?);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let before = hub.cpu()?;
            tokio::time::sleep(Duration::from_secs(SECONDS.into())).await;
            anyhow::Ok((hub.cpu()? - before) / f64::from(SECONDS))
        })?;
        report.row(
            format!("idle, {clients} clients, {watch}: share of a core"),
            format!("{:.2} %", share * 100.0),
        );
    }
    Ok(())
}
