//! `/api/search`: full-text search across messages, inbox messages and task events.

use warp::reply::Response;

use crate::error::Result;
use crate::protocol::now_ms;
use crate::server::request::{ApiRequest, invalid_cursor};
use crate::server::response;

/// `GET /api/search?q&limit&after`: messages, inbox messages and task events that contain all words
/// of `q`, the best match first.
///
/// Only one search runs at a time (`response_budget`): the first one may index the whole database, and must
/// not occupy all readers.
pub(crate) async fn search(request: ApiRequest) -> Result<Response> {
    let (query, limit) = (request.query("q").unwrap_or_default().to_owned(), request.limit()?);
    let skip = usize::try_from(request.number("after")?.unwrap_or(0)).map_err(|_| invalid_cursor("after"))?;
    let (hits, next) = request
        .server
        .hub()
        .read(move |reader| reader.search_from(&query, skip, limit, now_ms()))
        .await?;
    Ok(response::list(&hits, next))
}
