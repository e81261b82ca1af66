//! The WebSocket opening handshake (RFC 6455, section 4.2).

use std::sync::Arc;

use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use warp::reply::Response;

use super::connection;
use crate::error::{Code, Error, Result};
use crate::hub::connect_options::ConnectQuery;
use crate::server::auth::{SUBPROTOCOL, subprotocols};
use crate::server::request::ApiRequest;
use crate::server::response;

/// `GET /ws`: responds to the upgrade and starts the task that serves the connection.
pub(crate) async fn upgrade(mut request: ApiRequest) -> Result<Response> {
    let accept_key = check_handshake(&request.method, &request.headers)?;
    let query = ConnectQuery::parse(
        request
            .query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    )?;
    let upgrade = request.upgrade.take().ok_or_else(|| {
        Error::new(
            Code::Invalid,
            "this connection cannot be upgraded to a WebSocket; connect to the hub directly, without a proxy",
        )
    })?;
    let server = Arc::clone(&request.server);
    server.start_background_tasks();
    // The start position is taken before the client receives the response: a row that the client writes
    // after the response is therefore part of its stream.
    let snapshot = server.hub.connect_snapshot();
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept_key);
    if subprotocols(&request.headers).any(|protocol| protocol == SUBPROTOCOL) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response::add_safety_headers(headers);
    #[cfg(feature = "echo")]
    if request.query("echo").is_some() {
        server.tasks.spawn(super::echo::serve(request.server, upgrade));
        return Ok(response);
    }
    let cancellation = server.credentials.cancellation(&request.access.credential);
    server.tasks.spawn(connection::serve(
        request.server,
        upgrade,
        query,
        snapshot,
        request.permit,
        cancellation,
    ));
    Ok(response)
}

/// Checks a client's handshake (RFC 6455, section 4.2.1) and returns `Sec-WebSocket-Accept`.
fn check_handshake(method: &Method, headers: &HeaderMap) -> Result<HeaderValue> {
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
            format!("not a WebSocket handshake: {why}; use a client of RFC 6455"),
        ))
    };
    if *method != Method::GET {
        return refuse("the method is not GET");
    }
    if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
        return refuse("the request does not ask for an upgrade to websocket");
    }
    if !has(SEC_WEBSOCKET_VERSION, "13") {
        return refuse("Sec-WebSocket-Version is not 13");
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return refuse("Sec-WebSocket-Key is missing or repeated");
    };
    if !is_base64_of_16_bytes(key.as_bytes()) {
        return refuse("Sec-WebSocket-Key is not 16 bytes in base64");
    }
    HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|e| Error::new(Code::Internal, "cannot answer the WebSocket handshake").because(e))
}

fn is_base64_of_16_bytes(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(is_digit) && &key[22..] == b"=="
}
