//! `/api/telemetry`: running totals of instances.

use warp::reply::Response;

use crate::error::Result;
use crate::server::request::ApiRequest;
use crate::server::response;
use crate::store::NewTelemetry;

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
    let new: NewTelemetry = request.json()?;
    let row = request
        .server
        .hub()
        .write(move |writer| writer.record_telemetry(&new))
        .await?;
    Ok(response::created(&row))
}
