//! `/api/agents`: the agents that have written rows.

use warp::reply::Response;

use crate::error::Result;
use crate::server::request::ApiRequest;
use crate::server::response;

/// `GET /api/agents?limit&before`: agents, the most recently active first.
pub(crate) async fn list(request: ApiRequest) -> Result<Response> {
    let (limit, before) = (request.limit_of_short_list()?, request.pair_cursor("before")?);
    let page = request
        .server
        .hub()
        .read(move |reader| {
            let mut page = reader.agents_page(before, limit)?;
            reader.hide_ambiguous_labels(&mut page.items)?;
            Ok(page)
        })
        .await?;
    let next = page.next(|agent| format!("{}.{}", agent.last_active_at, agent.n));
    Ok(response::list(&page.items, next))
}
