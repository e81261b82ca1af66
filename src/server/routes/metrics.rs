//! `/metrics`: the hub's measurements in Prometheus' text format.

use std::fmt::{Display, Write as _};

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

use crate::error::Result;
use crate::hub::LatencySnapshot;
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::server::state::Server;
use crate::store::{FileStatus, LockKind};

/// `GET /metrics`.
pub(crate) async fn metrics(request: ApiRequest) -> Result<Response> {
    let server = &request.server;
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
    response::add_safety_headers(headers);
    Ok(response)
}

/// Returns all metrics. `file` is the database's status and the number of changes the hub has not
/// read yet, or `None` if the database cannot be read.
fn render(server: &Server, file: Option<(&FileStatus, i64)>) -> String {
    let (hub, mut text) = (server.hub(), MetricsText::default());
    text.family(
        "build_info",
        "gauge",
        "The version of the program and of its SQLite library.",
    );
    let versions = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("sqlite", crate::store::sqlite_version()),
    ];
    text.sample("", &versions, 1);
    text.single(
        "uptime_seconds",
        "gauge",
        "Time since the start of the hub.",
        server.started_at.elapsed().as_secs(),
    );
    text.single(
        "clients",
        "gauge",
        "Open WebSocket connections.",
        server.connection_count(),
    );
    text.single(
        "unread_response_bytes",
        "gauge",
        "Size of the responses over 64 KiB that clients have not read yet.",
        server.response_budget.held_kib() << 10,
    );
    let ready = hub.failure().is_none() && hub.store().maintenance_status().failure.is_none();
    text.single(
        "store_ready",
        "gauge",
        "1 if the database can be read and written.",
        u8::from(ready),
    );

    text.histogram(
        "commit_to_send_seconds",
        "Time from the commit of a row to sending it to a client.",
        &hub.delivery_latency(),
    );
    text.family(
        "wakes_total",
        "counter",
        "Reads of the change log, by trigger and by whether they found changes.",
    );
    for (source, empty, hit) in hub.wakes() {
        text.sample("", &[("source", source), ("result", "empty")], empty);
        text.sample("", &[("source", source), ("result", "hit")], hit);
    }
    if let Some((file, lag)) = file {
        text.single(
            "lag_changes",
            "gauge",
            "Changes in the database that the hub has not read.",
            lag.max(0),
        );
        text.single("file_bytes", "gauge", "Size of the database.", file.size);
        text.single("wal_bytes", "gauge", "Size of the write-ahead log.", file.wal_size);
    }
    text.single(
        "recoveries_total",
        "counter",
        "Times the database became usable again.",
        hub.recoveries(),
    );
    text.single(
        "replacements_total",
        "counter",
        "Times the database was replaced by another file.",
        hub.signal().borrow().generation,
    );
    text.family(
        "disconnects_total",
        "counter",
        "Ended WebSocket connections, by close code.",
    );
    for (code, count) in server.disconnects.counts() {
        text.sample("", &[("code", &code)], count);
    }
    text.single(
        "rows_degraded_total",
        "counter",
        "Rows delivered with invalid values converted.",
        hub.degraded(),
    );
    text.family(
        "rows_rejected_total",
        "counter",
        "Rows that could not be read, by table.",
    );
    for (table, count) in hub.unreadable_rows().0 {
        text.sample("", &[("table", table)], count);
    }
    text.family(
        "refused_total",
        "counter",
        "Refused requests and connections, by reason.",
    );
    for (reason, count) in server.refused.counts() {
        text.sample("", &[("reason", &reason)], count);
    }
    maintenance(server, &mut text);
    text.text
}

/// Adds the metrics of writes and checkpoints.
fn maintenance(server: &Server, text: &mut MetricsText) {
    text.single(
        "write_longest_hold_seconds",
        "gauge",
        "Longest time one of the hub's own writes held the write lock.",
        seconds(server.hub().store().longest_write_ms()),
    );
    let maintenance = server.hub().store().maintenance_status();
    text.single(
        "wal_frames",
        "gauge",
        "Pages in the write-ahead log at the last checkpoint.",
        maintenance.wal_frames,
    );
    text.single(
        "wal_pinned_frames",
        "gauge",
        "Pages that the last checkpoint could not move because of a reader.",
        maintenance.wal_pinned_frames,
    );
    text.family("checkpoints_total", "counter", "Checkpoints, by mode and result.");
    for ((mode, result), count) in &maintenance.checkpoints {
        text.sample("", &[("mode", mode), ("result", result)], count);
    }
    text.single(
        "checkpoint_longest_hold_seconds",
        "gauge",
        "Longest time a checkpoint held the write lock.",
        seconds(maintenance.longest_hold_ms),
    );
    text.family(
        "blockers",
        "gauge",
        "Processes that have held a lock for more than 10 s, by lock.",
    );
    for (hold, word) in [
        (LockKind::Exclusive, "exclusive"),
        (LockKind::Write, "write"),
        (LockKind::Read, "read"),
    ] {
        let count = maintenance.blockers.iter().filter(|b| b.holder.hold == hold).count();
        text.sample("", &[("hold", word)], count);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the milliseconds of a process's life fit into 52 bits"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// The response while it is written.
#[derive(Default)]
struct MetricsText {
    text: String,
    /// The full name of the metric family being written.
    name: String,
}

impl MetricsText {
    /// Begins a metric family. `name` is given without the prefix `agenthub_`.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.name = format!("agenthub_{name}");
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {0} {help}\n# TYPE {0} {kind}", self.name);
    }

    /// Writes a metric family of one sample without labels.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
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

    fn histogram(&mut self, name: &str, help: &str, latencies: &LatencySnapshot) {
        self.family(name, "histogram", help);
        for (bound, count) in &latencies.within {
            self.sample("_bucket", &[("le", &seconds(*bound).to_string())], count);
        }
        self.sample("_bucket", &[("le", "+Inf")], latencies.count);
        self.sample("_sum", &[], seconds(latencies.sum));
        self.sample("_count", &[], latencies.count);
    }
}
