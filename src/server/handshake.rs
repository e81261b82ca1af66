//! The WebSocket handshake (RFC 6455, section 4.2).
//!
//! For: answering the upgrade and leaving a task with the client.
//! Not for: what is said after it (`ws`).

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use warp::reply::Response;

use super::auth::{SUBPROTOCOL, protocols};
use super::routes::Call;
use super::{api, ws};
use crate::error::{Code, Error, Result};
use crate::hub::wishes::Query;

/// `GET /ws`: answers the upgrade and leaves a task with the client.
pub(super) async fn upgrade(mut call: Call) -> Result<Response> {
    let key = handshake(&call.headers)?;
    let query = Query::parse(call.query.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
    let upgrade = call
        .upgrade
        .take()
        .ok_or_else(|| Error::new(Code::Invalid, "this connection cannot be upgraded to a WebSocket"))?;
    call.server.keep();
    // "From now on" begins before the client knows that it is connected: whatever it causes
    // to be written then comes to it.
    let arrived = call.server.hub.head();
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, key);
    if protocols(&call.headers).any(|protocol| protocol == SUBPROTOCOL) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    api::harden(headers);
    #[cfg(feature = "echo")]
    if call.get("echo").is_some() {
        let server = Arc::clone(&call.server);
        server.tasks.spawn(super::echo::serve(call.server, upgrade));
        return Ok(response);
    }
    let server = Arc::clone(&call.server);
    server
        .tasks
        .spawn(ws::serve(call.server, upgrade, query, arrived, call.permit));
    Ok(response)
}

/// Checks the request's side of RFC 6455, section 4.2.1, and computes our answer to its key.
fn handshake(headers: &HeaderMap) -> Result<HeaderValue> {
    let has = |name: HeaderName, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    let refuse = |why: &str| {
        Err(Error::new(
            Code::Invalid,
            format!("this is no WebSocket handshake: {why}"),
        ))
    };
    if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
        return refuse("it does not ask for an upgrade to websocket");
    }
    if !has(SEC_WEBSOCKET_VERSION, "13") {
        return refuse("Sec-WebSocket-Version is not 13");
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
        return refuse("Sec-WebSocket-Key is missing");
    };
    HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|e| Error::new(Code::Internal, "cannot answer the handshake").because(e))
}
