//! How long a start takes on a file that has grown.

use std::time::Instant;

use anyhow::Result;

use super::support::{Hub, Report, runtime};

/// Messages in the file.
const ROWS: u32 = 1_000_000;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("hub.db");
    drop(Hub::start_on(&db, &[])?);
    #[expect(
        clippy::disallowed_methods,
        reason = "a foreign writer opens the file in its own way"
    )]
    let conn = rusqlite::Connection::open(&db)?;
    conn.execute_batch(&format!(
        "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         INSERT INTO messages(thread_id, from_id, content) SELECT 'thread-' || (i % 100), 'writer', 'row ' || i FROM n; COMMIT;"
    ))?;
    drop(conn);
    let mut times = Vec::new();
    for _ in 0..5 {
        let before = Instant::now();
        let hub = Hub::start_on(&db, &[])?;
        runtime()?.block_on(async {
            let mut client = hub.connect("").await?;
            client.send(&serde_json::json!({"type": "ping"})).await?;
            client.event().await
        })?;
        times.push(before.elapsed().as_millis());
    }
    times.sort_unstable();
    report.row(
        format!("start to first answer, {ROWS} messages, ms, median of 5"),
        times[2].to_string(),
    );
    Ok(())
}
