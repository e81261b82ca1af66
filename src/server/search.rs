//! Asking across tables: full text and costs.
//!
//! For: `GET /api/search` and `GET /api/costs`.
//! Not for: lists of one table (`api`).

use std::sync::Arc;

use serde_json::json;
use warp::reply::Response;

use super::api::{list, ok};
use super::routes::Call;
use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::store::CostsBy;

/// `GET /api/search?q&limit&after`: messages, mail and task events that have all words of
/// `q`, the best first. One at a time: the first may have to read the whole file, and must
/// not take the readers of all others.
pub(super) async fn search(call: Call) -> Result<Response> {
    let (query, limit) = (call.get("q").unwrap_or_default().to_owned(), call.limit()?);
    let skip = usize::try_from(call.number("after")?.unwrap_or(0))
        .map_err(|_| Error::new(Code::Invalid, "after is the next of the last page; give that"))?;
    // It is never closed.
    let turn = Arc::clone(&call.server.searches).acquire_owned().await.ok();
    let (hits, next) = call
        .server
        .hub()
        .read(move |reader| {
            // Also of those who do not wait for their answer.
            let _turn = turn;
            reader.search_from(&query, skip, limit, now_ms())
        })
        .await?;
    Ok(list(&hits, next))
}

/// `GET /api/costs?by=agent|model|workspace|day&since`: what was used since a time in Unix
/// milliseconds (0 unless given), and the sum of all groups as `total`.
pub(super) async fn costs(call: Call) -> Result<Response> {
    let by = match call.get("by").unwrap_or("agent") {
        "agent" => CostsBy::Agent,
        "model" => CostsBy::Model,
        "workspace" => CostsBy::Workspace,
        "day" => CostsBy::Day,
        "hour" => CostsBy::Hour,
        _ => return Err(Error::new(Code::Invalid, "by is agent, model, workspace, day or hour")),
    };
    let since = call.number("since")?.unwrap_or(0);
    let (items, total) = call.server.hub().read(move |reader| reader.costs(by, since)).await?;
    Ok(ok(&json!({"items": items, "next": null, "total": total})))
}
