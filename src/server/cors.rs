//! CORS for pages of other origins that the user has allowed (`serve --allow-origin`).
//!
//! 1. Before a request with a token, the browser asks whether it may send it (preflight): [`preflight`].
//! 2. A page can read a response only if it carries the headers of [`add_headers`].
//!
//! A page sends the token in `Authorization`. Cookies are not used, so `Access-Control-Allow-Credentials`
//! is never sent.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use warp::reply::Response;

use super::allowed_origin::AllowedOrigin;
use super::response;

/// Asks whether a page of the internet may send requests to this machine or its network.
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
/// The methods of all routes.
const METHODS: &str = "GET, HEAD, POST, PATCH, DELETE";
/// The request headers that the routes use.
const HEADERS: &str = "authorization, content-type";
/// Time in seconds for which a browser remembers the response to a preflight.
const MAX_AGE: &str = "600";

/// Returns whether a request asks for permission to send another. It carries no token.
pub(super) fn is_preflight(request: &Parts) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(ORIGIN)
        && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns the response to a preflight from an allowed origin, without the headers of [`add_headers`].
pub(super) fn preflight(request: &HeaderMap) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    if request
        .get(REQUEST_PRIVATE_NETWORK)
        .is_some_and(|value| value == "true")
    {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    response::add_safety_headers(headers);
    response
}

/// Adds the headers that let pages of `origin` read a response.
pub(super) fn add_headers(headers: &mut HeaderMap, origin: &AllowedOrigin) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.header_value().clone());
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::router;

    #[test]
    fn allows_the_methods_of_all_routes() {
        for (method, path) in router::routes() {
            assert!(METHODS.split(", ").any(|allowed| allowed == method), "{method} {path}");
        }
    }
}
