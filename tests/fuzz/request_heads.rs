//! Fuzzes the access checks with request heads: no request is accepted without the token and one of this
//! machine's host names. Also parses the query as that of `/ws`.
//!
//! The input is the method, the target and the headers, one per line.

#![no_main]

use agenthub::hub::connect_options::ConnectQuery;
use agenthub::hub::encoded_change::Since;
use agenthub::server::{AuthMode, check_embedded_request};
use agenthub::store::Secret;
use hyper::Request;
use libfuzzer_sys::fuzz_target;

/// The token. It is short, so that mutations can find it. A request without it must not be accepted.
const SECRET: &str = "sesame";

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (Some(method), Some(target)) = (lines.next(), lines.next()) else {
        return;
    };
    let Ok(target) = std::str::from_utf8(target) else {
        return;
    };
    let mut request = Request::builder().method(method).uri(target);
    let (mut hosts, mut has_secret) = (Vec::new(), false);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"host") {
            hosts.push(value);
        }
        has_secret |= String::from_utf8_lossy(value).contains(SECRET);
        request = request.header(name, value);
    }
    let Ok((parts, ())) = request.body(()).map(Request::into_parts) else {
        return;
    };
    let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let query: Vec<_> = query.into_owned().collect();
    drop(ConnectQuery::parse(
        query.iter().map(|(name, value)| (name.as_str(), value.as_str())),
    ));
    query.iter().for_each(|(_, value)| drop(Since::parse(value)));
    has_secret |= parts.uri.path() == "/ws" && query.iter().any(|(name, value)| name == "token" && value == SECRET);
    let mode = AuthMode::Token(Secret::new(SECRET));
    if check_embedded_request(([127, 0, 0, 1], 4820).into(), &[], &parts, &mode).is_ok() {
        assert!(has_secret, "accepted without the token: {parts:?}");
        let ours = ["127.0.0.1:4820", "localhost:4820", "[::1]:4820"];
        let named = hosts
            .iter()
            .all(|host| ours.iter().any(|our| our.as_bytes().eq_ignore_ascii_case(host)));
        assert!(hosts.len() == 1 && named, "accepted for {hosts:?}");
    }
});
