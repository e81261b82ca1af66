//! The WebSocket handshake (RFC 6455, section 4.2).
//!
//! For: answering the upgrade and leaving a task with the client.
//! Not for: what is said after it (`ws`).

use std::sync::Arc;

use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use warp::reply::Response;

use super::auth::{SUBPROTOCOL, protocols};
use super::routes::Call;
use super::{api, lock, ws};
use crate::error::{Code, Error, Result};
use crate::hub::connect_options::ConnectQuery;

/// `GET /ws`: answers the upgrade and leaves a task with the client.
pub(super) async fn upgrade(mut call: Call) -> Result<Response> {
    let key = handshake(&call.method, &call.headers)?;
    let query = ConnectQuery::parse(call.query.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
    let upgrade = call.upgrade.take().ok_or_else(|| {
        Error::new(
            Code::Invalid,
            "this connection cannot be upgraded to a WebSocket; ask the hub itself, without a proxy",
        )
    })?;
    call.server.keep();
    // "From now on" begins before the client knows that it is connected: whatever it causes
    // to be written then comes to it.
    let arrived = call.server.hub.arrival();
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
    let sessions = lock(&server.sessions).clone();
    server
        .tasks
        .spawn(ws::serve(call.server, upgrade, query, arrived, call.permit, sessions));
    Ok(response)
}

/// Checks the request's side of RFC 6455, section 4.2.1, and computes our answer to its key.
fn handshake(method: &Method, headers: &HeaderMap) -> Result<HeaderValue> {
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
            format!("this is no WebSocket handshake: {why}; use a client of RFC 6455"),
        ))
    };
    if *method != Method::GET {
        return refuse("its method is not GET");
    }
    if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
        return refuse("it does not ask for an upgrade to websocket");
    }
    if !has(SEC_WEBSOCKET_VERSION, "13") {
        return refuse("Sec-WebSocket-Version is not 13");
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return refuse("Sec-WebSocket-Key is not there once");
    };
    if !is_sixteen_bytes(key.as_bytes()) {
        return refuse("Sec-WebSocket-Key is not 16 bytes in base64");
    }
    HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|e| Error::new(Code::Internal, "cannot answer the handshake").because(e))
}

/// Whether this is the base64 of 16 bytes.
fn is_sixteen_bytes(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(digit) && &key[22..] == b"=="
}
