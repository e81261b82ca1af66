//! A minimal HTTP client: one request per connection, with exactly the bytes a test gives.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::eintr_retry::EintrRetry;
use super::eventually::TIMEOUT;

/// A response.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// Returns the value of a header. `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body, parsed as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Returns the `code` of an error response.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        assert!(
            json["error"]["message"].as_str().is_some_and(|m| !m.is_empty()),
            "{self:?}"
        );
        json["error"]["code"].as_str().unwrap().to_owned()
    }

    /// Returns the `items` of a list.
    #[track_caller]
    pub(crate) fn items(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["items"].as_array().unwrap().clone()
    }
}

/// Sends a request with these headers, `Connection: close`, and `Content-Length` if there is a body.
#[track_caller]
pub(crate) fn request(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(impl AsRef<str>, impl AsRef<str>)],
    body: &str,
) -> Response {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    request_on(stream, method, target, headers, body)
}

/// As [`request`], on an open connection.
#[track_caller]
pub(crate) fn request_on(
    stream: TcpStream,
    method: &str,
    target: &str,
    headers: &[(impl AsRef<str>, impl AsRef<str>)],
    body: &str,
) -> Response {
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{}: {}\r\n", name.as_ref(), value.as_ref()));
    }
    if !body.is_empty() || method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    raw_on(stream, format!("{head}\r\n{body}").as_bytes())
}

/// Sends these bytes and reads the response to its end.
#[track_caller]
pub(crate) fn raw(port: u16, bytes: &[u8]) -> Response {
    raw_on(TcpStream::connect(("127.0.0.1", port)).unwrap(), bytes)
}

#[track_caller]
fn raw_on(stream: TcpStream, bytes: &[u8]) -> Response {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut stream = EintrRetry(stream);
    // The hub may refuse and close before a large body is sent.
    drop(stream.write_all(bytes));
    let (mut received, mut buffer) = (Vec::new(), [0; 16 << 10]);
    // Bytes received before a reset count. Some servers keep the connection open after the response.
    while !is_complete(&received) {
        match stream.read(&mut buffer) {
            Ok(n @ 1..) => received.extend_from_slice(&buffer[..n]),
            _ => break,
        }
    }
    parse(&received)
}

/// Returns whether a response with a `Content-Length` is complete.
fn is_complete(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    length.is_some_and(|length| received.len() >= head.len() + 4 + length)
}

#[track_caller]
fn parse(received: &[u8]) -> Response {
    let text = String::from_utf8_lossy(received);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("not an HTTP response: {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Response {
        status,
        headers,
        body: body.to_owned(),
    }
}
