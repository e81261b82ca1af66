//! A WebSocket client that shows every frame as it came. It blocks: a test reads like a
//! conversation, and many clients are many threads.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client};
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::eintr_retry::Steady;
use super::eventually::PATIENCE;

/// One event of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) pos: Option<String>,
    pub(crate) data: Value,
    /// The envelope whole.
    pub(crate) raw: Value,
}

impl Event {
    #[track_caller]
    fn of(raw: Value) -> Self {
        Self {
            kind: raw["type"].as_str().unwrap().to_owned(),
            pos: raw.get("pos").map(|pos| pos.as_str().unwrap().to_owned()),
            data: raw.get("data").cloned().unwrap_or(Value::Null),
            raw,
        }
    }

    /// A text of the data.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> &str {
        self.data[name]
            .as_str()
            .unwrap_or_else(|| panic!("no text {name} in {self:?}"))
    }

    /// A number of the data.
    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.data[name]
            .as_i64()
            .unwrap_or_else(|| panic!("no number {name} in {self:?}"))
    }

    /// The messages in it: those of a batch, or the one it is.
    pub(crate) fn messages(&self) -> Vec<Value> {
        match self.kind.as_str() {
            "message" => vec![self.data.clone()],
            "batch" => self.data["messages"].as_array().unwrap().clone(),
            _ => Vec::new(),
        }
    }

    /// The numbers of the messages in it.
    pub(crate) fn seqs(&self) -> Vec<i64> {
        self.messages()
            .iter()
            .map(|m| m["message_seq"].as_i64().unwrap())
            .collect()
    }
}

/// What came from the hub.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Event(Event),
    Close(u16, String),
    /// The connection is gone without a close.
    Gone,
}

/// Why there is no connection: status and body, or nothing if nobody answers.
pub(crate) type Refusal = Option<(u16, String)>;

/// One connection.
pub(crate) struct Client {
    socket: WebSocket<Steady>,
    /// Events of an array frame not looked at yet.
    waiting: VecDeque<Event>,
    /// Frames with text received so far.
    pub(crate) frames: usize,
}

impl Client {
    /// Connects with the token in the header.
    #[track_caller]
    pub(crate) fn connect(port: u16, token: &str, query: &str) -> Self {
        Self::try_connect(port, token, query).unwrap_or_else(|e| panic!("cannot connect: {e:?}"))
    }

    /// Connects, or says why not: status and body, or nothing if nobody answers.
    pub(crate) fn try_connect(port: u16, token: &str, query: &str) -> Result<Self, Refusal> {
        let bearer = format!("Bearer {token}");
        let (client, _) = Self::shake_hands(port, query, &[("Authorization", &bearer)])?;
        Ok(client)
    }

    /// Connects with exactly these headers beside the handshake's own. Returns the
    /// subprotocol the hub chose as well.
    pub(crate) fn shake_hands(
        port: u16,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Self, Option<String>), Refusal> {
        let question = if query.is_empty() { "" } else { "?" };
        let mut request = format!("ws://127.0.0.1:{port}/ws{question}{query}")
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|_| None)?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match client(request, Steady(stream)) {
            Ok((socket, response)) => {
                let protocol = response
                    .headers()
                    .get("sec-websocket-protocol")
                    .map(|value| value.to_str().unwrap().to_owned());
                let client = Self {
                    socket,
                    waiting: VecDeque::new(),
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

    /// Sends a text as it is.
    #[track_caller]
    pub(crate) fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Sends any frame; a connection that is gone is no failure.
    pub(crate) fn send_frame(&mut self, message: Message) {
        drop(self.socket.send(message));
    }

    /// Sends an event; a connection that is gone is no failure.
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

    // ---- hearing --------------------------------------------------------------------------

    /// What comes next, if anything comes in time.
    #[track_caller]
    pub(crate) fn hear(&mut self, limit: Duration) -> Option<Heard> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(Heard::Event(event));
            }
            let left = deadline
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            self.socket.get_ref().0.set_read_timeout(Some(left)).unwrap();
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    self.frames += 1;
                    match serde_json::from_str(&text).unwrap() {
                        Value::Array(events) => self.waiting.extend(events.into_iter().map(Event::of)),
                        event => self.waiting.push_back(Event::of(event)),
                    }
                }
                Ok(Message::Close(frame)) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                    return Some(Heard::Close(code, reason));
                }
                Ok(Message::Binary(bytes)) => panic!("a binary frame: {bytes:?}"),
                Ok(_) => {}
                Err(WsError::Io(e)) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= deadline {
                        return None;
                    }
                }
                Err(_) => return Some(Heard::Gone),
            }
        }
    }

    /// The next event, whatever it is.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Event {
        match self.hear(PATIENCE) {
            Some(Heard::Event(event)) => event,
            other => panic!("instead of an event: {other:?}"),
        }
    }

    /// The next event, which must be of this kind.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Event {
        let event = self.next();
        assert_eq!(event.kind, kind, "{event:?}");
        event
    }

    /// The next event of this kind; others are passed over.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next();
            if event.kind == kind {
                return event;
            }
        }
    }

    /// The next event, which must be an error with this code.
    #[track_caller]
    pub(crate) fn expect_error(&mut self, code: &str) -> Event {
        let event = self.expect("error");
        assert_eq!(event.text("code"), code, "{event:?}");
        assert!(!event.text("message").is_empty(), "{event:?}");
        event
    }

    /// Waits for the hub's close and returns its code; events before it are passed over.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> u16 {
        loop {
            match self.hear(PATIENCE) {
                Some(Heard::Close(code, _)) => return code,
                Some(Heard::Event(_)) => {}
                other => panic!("instead of a close: {other:?}"),
            }
        }
    }

    /// What is left in the socket, as bytes, up to its end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let stream = self.socket.get_mut();
        stream.0.set_read_timeout(Some(PATIENCE)).unwrap();
        // What came before a reset counts.
        drop(stream.read_to_end(&mut bytes));
        bytes
    }

    /// The connection lives: the next thing it says is a pong.
    #[track_caller]
    pub(crate) fn lives(&mut self) {
        self.send_text(r#"{"type":"ping"}"#);
        self.expect("pong");
    }

    /// Reads messages, single or in batches, until the one with this number.
    /// Everything else is passed over.
    #[track_caller]
    pub(crate) fn messages_until(&mut self, last: i64) -> Vec<Value> {
        let mut messages = Vec::new();
        while messages.last().is_none_or(|m: &Value| m["message_seq"] != last) {
            messages.extend(self.next().messages());
        }
        messages
    }
}
