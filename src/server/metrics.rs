//! The hub in numbers, for programs: `/metrics` and `/readyz`.
//!
//! For: Prometheus' text format, written by hand: a few lines each, and no library could
//! know these numbers better.
//! Not for: people (`/api/status`).

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::Mutex;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use warp::reply::Response;

use super::routes::Call;
use super::{Server, api, lock};
use crate::error::{Code, Result};
use crate::hub::LatencySnapshot;
use crate::store::{FileStatus, LockKind};

/// Counts by name.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    pub(super) fn add(&self, name: impl Into<String>) {
        *lock(&self.0).entry(name.into()).or_default() += 1;
    }

    pub(super) fn total(&self) -> u64 {
        lock(&self.0).values().sum()
    }

    fn each(&self) -> BTreeMap<String, u64> {
        lock(&self.0).clone()
    }
}

/// `GET /readyz`: whether the hub can read and write its file; if not, why.
pub(super) async fn readyz(call: Call) -> Result<Response> {
    let hub = call.server.hub();
    let mut reasons: Vec<Value> = hub.troubles().iter().map(|trouble| json!(trouble)).collect();
    let keeper = hub.store().maintenance_status();
    let told = |code: &str| reasons.iter().any(|reason| reason["code"] == code);
    let kept = keeper.trouble.iter().filter(|trouble| !told(trouble.code));
    let kept: Vec<Value> = kept.map(|trouble| json!(trouble)).collect();
    reasons.extend(kept);
    let writers = keeper.blockers.iter().filter(|b| b.holder.hold != LockKind::Read);
    reasons.extend(writers.map(|blocker| {
        json!({
            "code": Code::StoreLocked.name(),
            "message": blocker.holder.describe(hub.store().path()),
            "since": blocker.since,
        })
    }));
    // What nobody noticed yet shows when the file is asked.
    if reasons.is_empty()
        && let Err(error) = hub.read(|reader| reader.head()).await
    {
        reasons
            .push(json!({"code": error.code().name(), "message": error.message(), "since": crate::protocol::now_ms()}));
    }
    let (status, word) = if reasons.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    Ok(api::answer(status, &json!({"status": word, "reasons": reasons})))
}

/// `GET /metrics`.
pub(super) async fn metrics(call: Call) -> Result<Response> {
    let server = &call.server;
    let seen = server.hub().head().1.seq;
    let read = server
        .hub()
        .read(move |reader| Ok((reader.file_status(), reader.head()?.seq)))
        .await;
    let text = render(server, read.as_ref().ok().map(|(file, head)| (file, head - seen)));
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    api::harden(headers);
    Ok(response)
}

/// All metrics. `file` is what the file says, and how many changes the hub has not seen
/// yet; it is not there if the file cannot be read.
fn render(server: &Server, file: Option<(&FileStatus, i64)>) -> String {
    let (hub, mut page) = (server.hub(), Page::default());
    page.family("build_info", "gauge", "The program and its SQLite.");
    let versions = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("sqlite", crate::store::sqlite_version()),
    ];
    page.sample("", &versions, 1);
    page.one(
        "uptime_seconds",
        "gauge",
        "Time since the start.",
        server.started.elapsed().as_secs(),
    );
    page.one(
        "clients",
        "gauge",
        "WebSocket connections open.",
        server.connection_count(),
    );
    let ready = hub.trouble().is_none() && hub.store().maintenance_status().trouble.is_none();
    page.one(
        "store_ready",
        "gauge",
        "1 if the file can be read and written.",
        u8::from(ready),
    );

    page.histogram(
        "commit_to_send_seconds",
        "Age of new rows when they are handed to a client.",
        &hub.ages(),
    );
    page.family(
        "wakes_total",
        "counter",
        "Looks at the file, by cause and by what they brought.",
    );
    for (source, empty, hit) in hub.wakes() {
        page.sample("", &[("source", source), ("result", "empty")], empty);
        page.sample("", &[("source", source), ("result", "hit")], hit);
    }
    if let Some((file, lag)) = file {
        page.one(
            "lag_changes",
            "gauge",
            "Changes in the file that the hub has not seen.",
            lag.max(0),
        );
        page.one("file_bytes", "gauge", "Size of the database.", file.size);
        page.one("wal_bytes", "gauge", "Size of the write-ahead log.", file.wal_size);
    }
    page.one(
        "recoveries_total",
        "counter",
        "Times the file could be used again.",
        hub.recoveries(),
    );
    page.one(
        "replacements_total",
        "counter",
        "Times the file was another one.",
        hub.signal().borrow().generation,
    );
    page.family(
        "disconnects_total",
        "counter",
        "WebSocket connections ended, by close code.",
    );
    for (code, count) in server.disconnects.each() {
        page.sample("", &[("code", &code)], count);
    }
    page.one(
        "rows_degraded_total",
        "counter",
        "Rows delivered with something made readable.",
        hub.degraded(),
    );
    page.family(
        "rows_rejected_total",
        "counter",
        "Rows that could not be shown, by table.",
    );
    for (table, count) in hub.rejected().0 {
        page.sample("", &[("table", table)], count);
    }
    page.family(
        "refused_total",
        "counter",
        "Requests and connections not let in, by reason.",
    );
    for (reason, count) in server.refused.each() {
        page.sample("", &[("reason", &reason)], count);
    }
    keeper(server, &mut page);
    page.text
}

fn keeper(server: &Server, page: &mut Page) {
    page.one(
        "write_longest_hold_seconds",
        "gauge",
        "The longest a write of the hub's own kept others from writing.",
        seconds(server.hub().store().longest_write_ms()),
    );
    let keeper = server.hub().store().maintenance_status();
    page.one(
        "wal_frames",
        "gauge",
        "Pages in the write-ahead log at the last checkpoint.",
        keeper.wal_frames,
    );
    page.one(
        "wal_pinned_frames",
        "gauge",
        "Those of them that a reader keeps from moving into the database.",
        keeper.wal_pinned_frames,
    );
    page.family(
        "checkpoints_total",
        "counter",
        "Checkpoints, by mode and how they ended.",
    );
    for ((mode, result), count) in &keeper.checkpoints {
        page.sample("", &[("mode", mode), ("result", result)], count);
    }
    page.one(
        "checkpoint_longest_hold_seconds",
        "gauge",
        "The longest a checkpoint kept others from writing.",
        seconds(keeper.longest_hold_ms),
    );
    page.family(
        "blockers",
        "gauge",
        "Processes that have been in the way for over 10 s.",
    );
    for (hold, word) in [
        (LockKind::Exclusive, "exclusive"),
        (LockKind::Write, "write"),
        (LockKind::Read, "read"),
    ] {
        let count = keeper.blockers.iter().filter(|b| b.holder.hold == hold).count();
        page.sample("", &[("hold", word)], count);
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a process's life fit")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// The text while it is written.
#[derive(Default)]
struct Page {
    text: String,
    name: String,
}

impl Page {
    /// Begins a metric; its name goes without the program's.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.name = format!("agenthub_{name}");
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {0} {help}\n# TYPE {0} {kind}", self.name);
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample("", &[], value);
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{text}\"", if i == 0 { '{' } else { ',' });
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    fn histogram(&mut self, name: &str, help: &str, ages: &LatencySnapshot) {
        self.family(name, "histogram", help);
        for (bound, count) in &ages.within {
            self.sample("_bucket", &[("le", &seconds(*bound).to_string())], count);
        }
        self.sample("_bucket", &[("le", "+Inf")], ages.count);
        self.sample("_sum", &[], seconds(ages.sum));
        self.sample("_count", &[], ages.count);
    }
}

/// Counts a request or connection that was not let in, and says why in one line.
/// `what` holds no secret: a path goes without its query.
pub(super) fn refuse(server: &Server, reason: &str, what: impl Display, why: impl Display) {
    server.refused.add(reason);
    tracing::warn!("refused {what}: {why}");
}
