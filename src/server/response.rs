//! The responses of the HTTP API: JSON, with the same headers on each response.
//!
//! Lists are `{"items":[…],"next":cursor or null}`; the client sends `next` back under the name
//! that the route documents. Errors are `{"error":{"code","message"}}`.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use serde_json::json;
use warp::reply::Response;

use crate::error::{Code, Error};
use crate::store::Written;

/// Headers of every response: no content sniffing, no referrer, no embedding by other origins.
const SAFETY_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    ),
    (
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Adds the headers that every response carries.
pub(super) fn add_safety_headers(headers: &mut HeaderMap) {
    headers.extend(SAFETY_HEADERS);
}

/// Returns a JSON response with this status.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    add_safety_headers(headers);
    response
}

/// Returns a JSON response with status 200.
pub(super) fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// Returns a JSON response with status 201.
pub(super) fn created(body: &impl Serialize) -> Response {
    json(StatusCode::CREATED, body)
}

/// Returns 201 for a new row, 200 for one that existed with the same content.
pub(super) fn written<T: Serialize>(outcome: Written<T>) -> Response {
    match outcome {
        Written::Created(row) => created(&row),
        Written::Existed(row) => ok(&row),
    }
}

/// One page of a list.
#[derive(Serialize)]
struct ListPage<'a, T, C> {
    items: &'a [T],
    next: Option<C>,
}

/// Returns one page of a list, and the cursor of the next page if there is one.
pub(super) fn list<T: Serialize, C: Serialize>(items: &[T], next: Option<C>) -> Response {
    ok(&ListPage { items, next })
}

/// Returns the response for an error, with the status of its code.
pub(super) fn error(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.code().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(
        status,
        &json!({"error": {"code": error.code().name(), "message": error.message()}}),
    );
    if error.code() == Code::Overloaded {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Returns the response to a request of a connection over the limit. The connection ends with it.
pub(super) fn too_many_connections() -> Response {
    let text = "too many connections; close some, or raise --max-connections.\n";
    let mut response = Response::new(text.into());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    add_safety_headers(headers);
    response
}
