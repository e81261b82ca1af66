//! CPU time and memory of the hub, idle and under load.

use std::time::Duration;

use anyhow::Result;

use super::client::{Client, runtime};
use super::hub::Hub;
use super::report::{Goal, Report, short};
use super::writer;

/// Duration of each measurement in seconds. Long, because Linux counts CPU time in steps of 10 ms.
const SECONDS: u32 = 40;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    for (clients, watch, most) in [
        (0, "notify", 0.1),
        (0, "poll", 0.1),
        (3, "notify", 0.1),
        (3, "poll", 3.0),
    ] {
        let (share, rss) = measure(clients, watch, 0)?;
        report.judge(
            format!("idle, {clients} clients, {watch}: % of a core"),
            share,
            Goal::AtMost(most),
        );
        let figure = format!("idle, {clients} clients, {watch}: MiB in use");
        report.judge(figure, rss, Goal::AtMost(15.0));
    }
    for rate in [100, 1000] {
        let (share, rss) = measure(3, "notify", rate)?;
        report.note(
            format!("{rate} rows/s, 3 clients: % of a core; MiB in use"),
            format!("{}; {}", short(share), short(rss)),
        );
    }
    Ok(())
}

/// Returns the percentage of a core and the MiB that a hub with `clients` clients uses at `rate` rows/s.
fn measure(clients: usize, watch: &str, rate: u32) -> Result<(f64, f64)> {
    let hub = Hub::start(&["--watch", watch])?;
    runtime()?.block_on(async {
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..clients {
            let mut client = Client::connect(&hub).await?;
            client.follow("bench").await?;
            readers.spawn(async move { while client.text().await.is_ok() {} });
        }
        let writing = (rate > 0)
            .then(|| writer::start(&hub.db, "bench", rate, rate * (SECONDS + 2)))
            .transpose()?;
        // Leave out the cost of starting.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = hub.cpu()?;
        tokio::time::sleep(Duration::from_secs(SECONDS.into())).await;
        let used = (hub.cpu()? - before, hub.rss()?);
        if let Some(child) = writing {
            writer::numbers(child)?;
        }
        Ok((used.0 * 100.0 / f64::from(SECONDS), used.1 / 1024.0))
    })
}
