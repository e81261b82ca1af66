//! `/api/telemetry` and `/api/costs`: running totals of instances, and their sums by group.

use serde_json::json;
use warp::reply::Response;

use crate::config::composed;
use crate::error::{Code, Error, Result};
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::store::{CostsBy, NewTelemetry};

/// `GET /api/telemetry?limit&before`: the newest totals of each instance.
pub(crate) async fn list(request: ApiRequest) -> Result<Response> {
    let (limit, before) = (request.limit()?, request.number("before")?);
    let page = request
        .server
        .hub()
        .read(move |reader| reader.telemetry(before, limit))
        .await?;
    Ok(response::list(&page.items, page.next(|totals| totals.id)))
}

/// `POST /api/telemetry`: writes one row of totals.
pub(crate) async fn report(request: ApiRequest) -> Result<Response> {
    let mut new: NewTelemetry = request.json()?;
    new.agent_id = new.agent_id.as_deref().map(composed);
    let row = request
        .server
        .hub()
        .write(move |writer| writer.record_telemetry(&new))
        .await?;
    Ok(response::created(&row))
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
