//! What the client says, and how that looks as a frame.

use serde_json::json;

/// Frames that are no good, with the error each deserves.
pub(super) const GARBAGE: &[(&str, &str)] = &[
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

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Subscribe(Request),
    Unsubscribe(String),
    Ack(String, i64),
    Ping,
    Binary,
    /// Some text, and the error it deserves.
    Garbage(&'static str, &'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) thread_id: String,
    pub(super) from_seq: i64,
    pub(super) from_id: Option<String>,
}

impl Said {
    /// The frame; `None` if it is a binary one.
    pub(super) fn text(&self) -> Option<String> {
        let (kind, data) = match self {
            Self::Binary => return None,
            Self::Garbage(text, _) => return Some((*text).to_owned()),
            Self::Ping => return Some(r#"{"type":"ping"}"#.to_owned()),
            Self::Unsubscribe(id) => ("unsubscribe", json!({ "thread_id": id })),
            Self::Ack(id, seq) => ("ack", json!({ "thread_id": id, "ack_seq": seq })),
            Self::Subscribe(r) => (
                "subscribe",
                json!({ "thread_id": r.thread_id, "from_seq": r.from_seq, "from_id": r.from_id }),
            ),
        };
        Some(json!({ "type": kind, "data": data }).to_string())
    }
}
