//! `/api/search` and `/api/costs`: queries across tables.

use std::sync::Arc;

use serde_json::json;
use warp::reply::Response;

use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::server::request::{ApiRequest, invalid_cursor};
use crate::server::response;
use crate::store::CostsBy;

/// `GET /api/search?q&limit&after`: messages, inbox messages and task events that contain all words
/// of `q`, the best match first.
///
/// Only one search runs at a time: the first one may index the whole database, and must not occupy
/// all readers.
pub(crate) async fn search(request: ApiRequest) -> Result<Response> {
    let (query, limit) = (request.query("q").unwrap_or_default().to_owned(), request.limit()?);
    let skip = usize::try_from(request.number("after")?.unwrap_or(0)).map_err(|_| invalid_cursor("after"))?;
    // `acquire_owned` fails only if the semaphore is closed, which it never is.
    let permit = Arc::clone(&request.server.search_permit).acquire_owned().await.ok();
    let (hits, next) = request
        .server
        .hub()
        .read(move |reader| {
            // Kept until the search ends, also if the client disconnects before.
            let _permit = permit;
            reader.search_from(&query, skip, limit, now_ms())
        })
        .await?;
    Ok(response::list(&hits, next))
}

/// `GET /api/costs?by=agent|model|workspace|day|hour&since`: usage since a time in Unix milliseconds
/// (0 if not given), grouped, and the sum of all groups as `total`.
pub(crate) async fn costs(request: ApiRequest) -> Result<Response> {
    let by = match request.query("by").unwrap_or("agent") {
        "agent" => CostsBy::Agent,
        "model" => CostsBy::Model,
        "workspace" => CostsBy::Workspace,
        "day" => CostsBy::Day,
        "hour" => CostsBy::Hour,
        _ => {
            return Err(Error::new(
                Code::Invalid,
                "by must be agent, model, workspace, day or hour",
            ));
        }
    };
    let since = request.number("since")?.unwrap_or(0);
    let (items, total) = request.server.hub().read(move |reader| reader.costs(by, since)).await?;
    Ok(response::ok(&json!({"items": items, "next": null, "total": total})))
}
