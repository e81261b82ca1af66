//! A blocking WebSocket client that returns every event as it was received. A test with many
//! clients uses one thread for each.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client};
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::eintr_retry::EintrRetry;
use super::eventually::TIMEOUT;

/// One event of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) pos: Option<String>,
    pub(crate) data: Value,
    /// The whole envelope.
    pub(crate) raw: Value,
}

impl Event {
    #[track_caller]
    fn from_json(raw: Value) -> Self {
        Self {
            kind: raw["type"].as_str().unwrap().to_owned(),
            pos: raw.get("pos").map(|pos| pos.as_str().unwrap().to_owned()),
            data: raw.get("data").cloned().unwrap_or(Value::Null),
            raw,
        }
    }

    /// A string field of the data.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> &str {
        self.data[name]
            .as_str()
            .unwrap_or_else(|| panic!("no string {name} in {self:?}"))
    }

    /// An integer field of the data.
    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.data[name]
            .as_i64()
            .unwrap_or_else(|| panic!("no number {name} in {self:?}"))
    }

    /// The messages of a `batch` or a `message`; empty for other events.
    pub(crate) fn messages(&self) -> Vec<Value> {
        match self.kind.as_str() {
            "message" => vec![self.data.clone()],
            "batch" => self.data["messages"].as_array().unwrap().clone(),
            _ => Vec::new(),
        }
    }

    /// The `message_seq` of each of its messages.
    pub(crate) fn seqs(&self) -> Vec<i64> {
        self.messages()
            .iter()
            .map(|m| m["message_seq"].as_i64().unwrap())
            .collect()
    }
}

/// An event from the hub, or the end of the connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Received {
    Event(Event),
    Close(u16, String),
    /// The connection ended without a close frame.
    Gone,
}

/// A refused upgrade: status and body, or `None` if there was no response.
pub(crate) type Refusal = Option<(u16, String)>;

/// SQL for an inbox message that every client with the stream `inbox`, or without `streams`,
/// receives. Written after the rows of a test, it shows that a client has received all of them.
pub(crate) const MARKER_ROW: &str =
    "INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('test', 'nobody', 'marker');";

/// A connection.
pub(crate) struct Client {
    socket: WebSocket<EintrRetry>,
    /// Events of an array frame that were not returned yet.
    pending: VecDeque<Event>,
    /// Number of text frames received so far.
    pub(crate) frames: usize,
}

impl Client {
    /// Connects with the token in the `Authorization` header. Panics if the upgrade is refused.
    #[track_caller]
    pub(crate) fn connect(port: u16, token: &str, query: &str) -> Self {
        Self::try_connect(port, token, query).unwrap_or_else(|e| panic!("cannot connect: {e:?}"))
    }

    /// Connects with the token in the `Authorization` header.
    pub(crate) fn try_connect(port: u16, token: &str, query: &str) -> Result<Self, Refusal> {
        let bearer = format!("Bearer {token}");
        let (client, _) = Self::connect_with_headers(port, query, &[("Authorization", &bearer)])?;
        Ok(client)
    }

    /// Connects with these headers in addition to those of the upgrade. Also returns the
    /// subprotocol that the hub selected.
    pub(crate) fn connect_with_headers(
        port: u16,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Self, Option<String>), Refusal> {
        let separator = if query.is_empty() { "" } else { "?" };
        let mut request = format!("ws://127.0.0.1:{port}/ws{separator}{query}")
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|_| None)?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        match client(request, EintrRetry(stream)) {
            Ok((socket, response)) => {
                let protocol = response
                    .headers()
                    .get("sec-websocket-protocol")
                    .map(|value| value.to_str().unwrap().to_owned());
                let client = Self {
                    socket,
                    pending: VecDeque::new(),
                    frames: 0,
                };
                Ok((client, protocol))
            }
            Err(HandshakeError::Failure(WsError::Http(response))) => {
                let body = response.body().clone().unwrap_or_default();
                Err(Some((
                    response.status().as_u16(),
                    String::from_utf8_lossy(&body).into_owned(),
                )))
            }
            Err(_) => Err(None),
        }
    }

    // ---- sending --------------------------------------------------------------------------

    /// Sends an event.
    #[track_caller]
    pub(crate) fn send(&mut self, kind: &str, data: &Value) {
        self.send_text(&json!({"type": kind, "timestamp": 0, "data": data}).to_string());
    }

    /// Sends a text frame.
    #[track_caller]
    pub(crate) fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Sends any frame. Ignores errors: the connection may have ended.
    pub(crate) fn send_frame(&mut self, message: Message) {
        drop(self.socket.send(message));
    }

    /// Sends an event. Ignores errors: the connection may have ended.
    pub(crate) fn try_send(&mut self, kind: &str, data: &Value) {
        self.send_frame(Message::text(json!({"type": kind, "data": data}).to_string()));
    }

    /// Subscribes to a thread.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, thread: &str, from_seq: i64) {
        self.send("subscribe", &json!({"thread_id": thread, "from_seq": from_seq}));
    }

    /// Acknowledges messages of a thread.
    #[track_caller]
    pub(crate) fn ack(&mut self, thread: &str, seq: i64) {
        self.send("ack", &json!({"thread_id": thread, "ack_seq": seq}));
    }

    // ---- receiving ------------------------------------------------------------------------

    /// The next event or the end of the connection; `None` after `limit`.
    #[track_caller]
    pub(crate) fn receive(&mut self, limit: Duration) -> Option<Received> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(Received::Event(event));
            }
            let left = deadline
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            self.socket.get_ref().0.set_read_timeout(Some(left)).unwrap();
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    self.frames += 1;
                    match serde_json::from_str(&text).unwrap() {
                        Value::Array(events) => self.pending.extend(events.into_iter().map(Event::from_json)),
                        event => self.pending.push_back(Event::from_json(event)),
                    }
                }
                Ok(Message::Close(frame)) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                    return Some(Received::Close(code, reason));
                }
                Ok(Message::Binary(bytes)) => panic!("unexpected binary frame: {bytes:?}"),
                Ok(_) => {}
                Err(WsError::Io(e)) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= deadline {
                        return None;
                    }
                }
                Err(_) => return Some(Received::Gone),
            }
        }
    }

    /// The next event, of any kind.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Event {
        match self.receive(TIMEOUT) {
            Some(Received::Event(event)) => event,
            other => panic!("expected an event, got {other:?}"),
        }
    }

    /// The next event, which must be of this kind.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Event {
        let event = self.next();
        assert_eq!(event.kind, kind, "{event:?}");
        event
    }

    /// The next event of this kind. Skips others.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next();
            if event.kind == kind {
                return event;
            }
        }
    }

    /// Asserts that the next event is [`MARKER_ROW`].
    #[track_caller]
    pub(crate) fn expect_marker(&mut self) {
        let event = self.expect("inbox_message");
        assert_eq!(event.text("title"), "marker", "{event:?}");
    }

    /// The next event, which must be an error with this code.
    #[track_caller]
    pub(crate) fn expect_error(&mut self, code: &str) -> Event {
        let event = self.expect("error");
        assert_eq!(event.text("code"), code, "{event:?}");
        assert!(!event.text("message").is_empty(), "{event:?}");
        event
    }

    /// Waits for the hub's close frame and returns its code. Skips events before it.
    #[track_caller]
    pub(crate) fn expect_close(&mut self) -> u16 {
        loop {
            match self.receive(TIMEOUT) {
                Some(Received::Close(code, _)) => return code,
                Some(Received::Event(_)) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }

    /// Waits until the hub has ended the connection, with or without a close frame. Skips events before.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        loop {
            match self.receive(TIMEOUT) {
                Some(Received::Event(_)) => {}
                Some(_) => return,
                None => panic!("the connection is still open"),
            }
        }
    }

    /// Reads the socket's remaining bytes up to the end of the stream.
    pub(crate) fn read_to_end_of_stream(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let stream = self.socket.get_mut();
        stream.0.set_read_timeout(Some(TIMEOUT)).unwrap();
        // Bytes received before a reset are kept.
        drop(stream.read_to_end(&mut bytes));
        bytes
    }

    /// Asserts that the hub answers a ping and sends no other event before the pong.
    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        self.send_text(r#"{"type":"ping"}"#);
        self.expect("pong");
    }

    /// Reads messages, single or in batches, up to the one with this `message_seq`.
    /// Skips other events.
    #[track_caller]
    pub(crate) fn messages_until(&mut self, last: i64) -> Vec<Value> {
        let mut messages = Vec::new();
        while messages.last().is_none_or(|m: &Value| m["message_seq"] != last) {
            messages.extend(self.next().messages());
        }
        messages
    }
}
