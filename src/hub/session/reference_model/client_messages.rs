//! The messages a client sends, and their frames.

use serde_json::json;

/// Invalid text frames, each with the error code of the reply.
pub(super) const INVALID_FRAMES: &[(&str, &str)] = &[
    ("", "PARSE_ERROR"),
    ("[]", "PARSE_ERROR"),
    (r#"{"type":7}"#, "PARSE_ERROR"),
    (r#"{"type":"hello"}"#, "UNKNOWN_EVENT"),
    (r#"{"type":"subscribe"}"#, "INVALID_SUBSCRIBE"),
    (r#"{"type":"subscribe","data":{"thread_id":""}}"#, "INVALID_SUBSCRIBE"),
    (r#"{"type":"unsubscribe","data":{"thread_id":""}}"#, "INVALID_SUBSCRIBE"),
    (r#"{"type":"ack","data":{"thread_id":"a"}}"#, "INVALID_ACK"),
    (
        r#"{"type":"ack","data":{"thread_id":"x","ack_seq":1}}"#,
        "NOT_SUBSCRIBED",
    ),
];

/// A message from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientMessage {
    Subscribe(SubscribeRequest),
    Unsubscribe(String),
    Ack(String, i64),
    Ping,
    Binary,
    /// An invalid text frame, and the error code of the reply.
    Invalid(&'static str, &'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SubscribeRequest {
    pub(super) thread_id: String,
    pub(super) from_seq: i64,
    pub(super) from_id: Option<String>,
}

impl ClientMessage {
    /// Returns the text frame; `None` for a binary frame.
    pub(super) fn text(&self) -> Option<String> {
        let (event_type, data) = match self {
            Self::Binary => return None,
            Self::Invalid(text, _) => return Some((*text).to_owned()),
            Self::Ping => return Some(r#"{"type":"ping"}"#.to_owned()),
            Self::Unsubscribe(thread_id) => ("unsubscribe", json!({ "thread_id": thread_id })),
            Self::Ack(thread_id, seq) => ("ack", json!({ "thread_id": thread_id, "ack_seq": seq })),
            Self::Subscribe(request) => (
                "subscribe",
                json!({
                    "thread_id": request.thread_id,
                    "from_seq": request.from_seq,
                    "from_id": request.from_id,
                }),
            ),
        };
        Some(json!({ "type": event_type, "data": data }).to_string())
    }
}
