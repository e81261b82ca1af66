//! `/healthz`, `/readyz`, `/api/status` and `/api/totals`: liveness, readiness, the state of hub and database, and
//! numbers of rows.

use hyper::StatusCode;
use serde_json::{Value, json};
use warp::reply::Response;

use crate::error::{Code, Result};
use crate::protocol::now_ms;
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::store::{LockKind, Reader, Spool};

/// `GET /healthz`: liveness, and the id of this run of the hub. Needs no token and does
/// not use the database.
pub(crate) async fn healthz(request: ApiRequest) -> Result<Response> {
    Ok(response::ok(
        &json!({"status": "ok", "run": request.server.run_id(), "version": env!("CARGO_PKG_VERSION")}),
    ))
}

/// `GET /readyz`: 200 if the hub can read and write its database, else 503 with the reasons.
pub(crate) async fn readyz(request: ApiRequest) -> Result<Response> {
    let hub = request.server.hub();
    let failures = hub.failures().into_iter().chain(hub.unlogged_rows());
    let mut reasons: Vec<Value> = failures.map(|failure| json!(failure)).collect();
    let maintenance = hub.store().maintenance_status();
    let is_listed = |code: &str| reasons.iter().any(|reason| reason["code"] == code);
    let more = maintenance.failure.iter().filter(|failure| !is_listed(failure.code));
    let more: Vec<Value> = more.map(|failure| json!(failure)).collect();
    reasons.extend(more);
    let writers = maintenance.blockers.iter().filter(|b| b.holder.hold != LockKind::Read);
    reasons.extend(writers.map(|blocker| {
        json!({
            "code": Code::StoreLocked.name(),
            "message": blocker.holder.describe(hub.store().path()),
            "since": blocker.since,
        })
    }));
    // A read detects a failure that the background threads have not reported yet.
    if reasons.is_empty()
        && let Err(error) = hub
            .read(|reader| reader.require_tables().and_then(|()| reader.head()))
            .await
    {
        reasons.push(json!({"code": error.code().name(), "message": error.message(), "since": now_ms()}));
    }
    let (status, word) = if reasons.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    Ok(response::json(status, &json!({"status": word, "reasons": reasons})))
}

/// `GET /api/status`: the state of hub and database. If the database cannot be read, `db` holds only
/// its path and `counts` is null.
pub(crate) async fn status(request: ApiRequest) -> Result<Response> {
    let (server, hub) = (&request.server, request.server.hub());
    let (epoch, pos) = hub.head_text();
    let maintenance = hub.store().maintenance_status();
    let failure = hub.failure().map(|failure| json!(failure));
    let failure = failure.or_else(|| maintenance.failure.as_ref().map(|failure| json!(failure)));
    let failure = failure.or_else(|| hub.unlogged_rows().map(|failure| json!(failure)));
    let (rejected_counts, rejected) = hub.unreadable_rows();
    let read = hub
        .read(|reader| Ok((reader.file_status(), reader.counts()?, reader.growth(now_ms())?)))
        .await;
    let (db, counts, growth) = match read {
        Ok((db, counts, growth)) => (json!(db), json!(counts), json!(growth)),
        Err(_) => (
            json!({"path": hub.store().path().display().to_string()}),
            json!(null),
            json!(null),
        ),
    };
    let spool = hub.read(|reader| Spool::of(reader.path()).status()).await;
    let spool = spool.map_or_else(|error| json!({"error": error.message()}), |spool| json!(spool));
    let wakes: serde_json::Map<String, Value> = hub
        .wakes()
        .into_iter()
        .map(|(source, empty, hit)| (source.to_owned(), json!({"empty": empty, "hit": hit})))
        .collect();
    Ok(response::ok(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": failure.as_ref().map_or(json!("ok"), |failure| failure["code"].clone()),
        "trouble": failure,
        "epoch": *epoch,
        "pos": pos,
        "db": db,
        "counts": counts,
        "growth": growth,
        "clients": server.connection_count(),
        "uptime_ms": u64::try_from(server.started_at.elapsed().as_millis()).unwrap_or(u64::MAX),
        "pid": std::process::id(),
        "watcher": {"using": hub.notify_method(), "wakes": wakes},
        "degraded": hub.degraded(),
        "rejected": rejected,
        "rejected_counts": rejected_counts,
        "refused": server.refused.total(),
        "keeper": maintenance,
        "spool": spool,
        "limits": hub.limits(),
    })))
}

/// `GET /api/totals?since`: the exact numbers of threads, tasks by state and unread mail of the person.
pub(crate) async fn totals(request: ApiRequest) -> Result<Response> {
    let since = request.number("since")?.unwrap_or(0);
    let read = move |reader: &Reader| reader.page_totals(now_ms(), since);
    Ok(response::ok(&request.server.hub().read(read).await?))
}
