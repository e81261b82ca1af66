//! The wire protocol of the WebSocket: the envelope, the payloads, the constants, and encoding and
//! parsing of frames. Compatible with that of AILANG's `websocket` package.
//!
//! Names, JSON fields, and which fields are omitted when empty are those of that package (the
//! compatible form). Fields added by agenthub (the extended form) are at the end of each type and
//! are omitted unless set: only clients that asked for `streams` get them.

mod payload;

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Code, Error, Result};

pub use payload::{
    AckEvent, BatchEvent, ErrorEvent, GapEvent, InboxMessageEvent, MessageEvent, SubscribeEvent, TaskStreamEvent,
    TelemetryEvent, ThreadStateEvent, UnsubscribeEvent,
};

/// Maximum number of messages in a `batch` (AILANG's `MaxBatchSize`).
pub const MAX_BATCH_SIZE: usize = 50;
/// Maximum bytes of content in a `batch`. A larger message is sent alone.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// `message` and `batch` frames per second and connection, and size of the burst (AILANG's
/// `MaxMessagesPerSecond`).
pub const MAX_MESSAGES_PER_SECOND: u32 = 100;
/// Number of recent changes kept in memory for all clients, and maximum number of unacknowledged
/// messages, at which a subscription of a client that sends acks is paused (AILANG's `MaxLagMessages`).
pub const MAX_LAG_MESSAGES: usize = 1000;
/// Maximum time for a write to a client; then the client is disconnected (AILANG's `WriteWait`).
pub const WRITE_WAIT: Duration = Duration::from_secs(10);
/// Maximum time without a frame from a client; then the client is disconnected (AILANG's
/// `PongWait`).
pub const PONG_WAIT: Duration = Duration::from_secs(60);
/// Time between pings: nine tenths of [`PONG_WAIT`] (AILANG's `PingPeriod`).
pub const PING_PERIOD: Duration = Duration::from_secs(54);
/// Maximum size of a message from a client, in bytes (AILANG's `MaxMessageSize`).
pub const MAX_MESSAGE_SIZE: usize = 10 * 1024;
/// Interval at which the hub checks for commits, in addition to faster methods (AILANG's
/// `PollInterval`).
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Returns the Unix time in milliseconds, the unit of every timestamp in the database and on the wire;
/// 0 for a clock before 1970.
///
/// All other code reads the wall clock through this function.
pub fn now_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "all other code reads the clock here")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// The type of a WebSocket event. An open set of strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventType(Cow<'static, str>);

impl EventType {
    /// Client subscribes to a thread.
    pub const SUBSCRIBE: Self = Self(Cow::Borrowed("subscribe"));
    /// Client unsubscribes from a thread.
    pub const UNSUBSCRIBE: Self = Self(Cow::Borrowed("unsubscribe"));
    /// Client acknowledges messages.
    pub const ACK: Self = Self(Cow::Borrowed("ack"));
    /// One message.
    pub const MESSAGE: Self = Self(Cow::Borrowed("message"));
    /// Several messages of one thread.
    pub const BATCH: Self = Self(Cow::Borrowed("batch"));
    /// An error that concerns the client.
    pub const ERROR: Self = Self(Cow::Borrowed("error"));
    /// Client asks for a [`EventType::PONG`].
    pub const PING: Self = Self(Cow::Borrowed("ping"));
    /// The response to a [`EventType::PING`].
    pub const PONG: Self = Self(Cow::Borrowed("pong"));
    /// A thread's status, title or `last_seq` changed.
    pub const THREAD_STATE: Self = Self(Cow::Borrowed("thread_state"));
    /// Usage totals of a process.
    pub const TELEMETRY: Self = Self(Cow::Borrowed("telemetry"));
    /// An inbox message, new or changed.
    pub const INBOX_MESSAGE: Self = Self(Cow::Borrowed("inbox_message"));
    /// An event of a task.
    pub const TASK_STREAM: Self = Self(Cow::Borrowed("task_stream"));
    /// The first event to a client that connected with `streams`, `since` or `frames`.
    pub const HELLO: Self = Self(Cow::Borrowed("hello"));
    /// Rows of a stream with `since=0` were pruned before they were sent.
    pub const GAP: Self = Self(Cow::Borrowed("gap"));

    /// Returns the name on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for EventType {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

/// The type of a task event. An open set of strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskStreamEventType(Cow<'static, str>);

impl TaskStreamEventType {
    /// A turn of the model starts.
    pub const TURN_START: Self = Self(Cow::Borrowed("turn_start"));
    /// Text from the model.
    pub const TEXT: Self = Self(Cow::Borrowed("text"));
    /// A tool is called.
    pub const TOOL_USE: Self = Self(Cow::Borrowed("tool_use"));
    /// The result of a tool call.
    pub const TOOL_RESULT: Self = Self(Cow::Borrowed("tool_result"));
    /// A turn of the model ends.
    pub const TURN_END: Self = Self(Cow::Borrowed("turn_end"));
    /// An error.
    pub const ERROR: Self = Self(Cow::Borrowed("error"));
    /// The task's status changed.
    pub const STATUS: Self = Self(Cow::Borrowed("status"));

    /// Returns the name in the database and on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for TaskStreamEventType {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl Default for TaskStreamEventType {
    fn default() -> Self {
        Self(Cow::Borrowed(""))
    }
}

/// The envelope of every frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// The type of `data`.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Unix milliseconds. Optional in events from clients.
    #[serde(default, deserialize_with = "null_is_zero")]
    pub timestamp: i64,
    /// Position of the event's row in the change log. Opaque; clients resume with it as `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pos: Option<String>,
    /// The payload as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl Event {
    /// Wraps `data` in an envelope with the current time (AILANG's `NewEvent`).
    ///
    /// # Errors
    /// [`Code::Internal`] if `data` cannot be encoded as JSON.
    pub fn new(event_type: EventType, data: &impl Serialize) -> Result<Self> {
        let raw = serde_json::value::to_raw_value(data)
            .map_err(|e| Error::new(Code::Internal, "cannot encode an event").because(e))?;
        Ok(Self {
            event_type,
            timestamp: now_ms(),
            pos: None,
            data: Some(raw),
        })
    }

    /// Creates a `message` event (AILANG's `NewMessageEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn message(message: &MessageEvent) -> Result<Self> {
        Self::new(EventType::MESSAGE, message)
    }

    /// Creates a `batch` event (AILANG's `NewBatchEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn batch(thread_id: &str, messages: Vec<MessageEvent>, has_more: bool) -> Result<Self> {
        let batch = BatchEvent {
            thread_id: thread_id.into(),
            messages,
            has_more,
        };
        Self::new(EventType::BATCH, &batch)
    }

    /// Creates an `error` event (AILANG's `NewErrorEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn error(code: &str, message: &str) -> Result<Self> {
        let error = ErrorEvent {
            code: code.into(),
            message: message.into(),
            ..Default::default()
        };
        Self::new(EventType::ERROR, &error)
    }

    /// Creates an `inbox_message` event (AILANG's `NewInboxMessageEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn inbox_message(message: &InboxMessageEvent) -> Result<Self> {
        Self::new(EventType::INBOX_MESSAGE, message)
    }

    /// Creates a `task_stream` event (AILANG's `NewTaskStreamEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn task_stream(stream: &TaskStreamEvent) -> Result<Self> {
        Self::new(EventType::TASK_STREAM, stream)
    }

    /// Creates a `telemetry` event (AILANG's `NewTelemetryEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn telemetry(telemetry: &TelemetryEvent) -> Result<Self> {
        Self::new(EventType::TELEMETRY, telemetry)
    }

    /// Creates a `thread_state` event (AILANG's `NewThreadStateEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn thread_state(state: &ThreadStateEvent) -> Result<Self> {
        Self::new(EventType::THREAD_STATE, state)
    }

    /// Creates a `ping` event, as clients send it (AILANG's `NewPingEvent`).
    pub fn ping() -> Self {
        Self {
            event_type: EventType::PING,
            timestamp: now_ms(),
            pos: None,
            data: None,
        }
    }

    /// Creates a `pong` event, the response to a ping (AILANG's `NewPongEvent`).
    pub fn pong() -> Self {
        Self {
            event_type: EventType::PONG,
            timestamp: now_ms(),
            pos: None,
            data: None,
        }
    }

    /// Parses a frame (AILANG's `ParseEvent`).
    ///
    /// # Errors
    /// [`Code::ParseError`] if `data` is not a JSON envelope.
    pub fn parse(data: &[u8]) -> Result<Self> {
        parse_object(data).map_err(|e| {
            Error::new(
                Code::ParseError,
                format!("invalid frame: {e}; send one JSON object with \"type\" and \"data\""),
            )
        })
    }

    /// Parses the payload of a `subscribe` event (AILANG's `ParseSubscribe`).
    ///
    /// # Errors
    /// [`Code::InvalidSubscribe`] if the payload is missing or invalid.
    pub fn parse_subscribe(&self) -> Result<SubscribeEvent> {
        self.payload().map_err(|e| {
            Error::new(
                Code::InvalidSubscribe,
                format!("invalid subscribe: {e}; send {{\"thread_id\":…,\"from_seq\":…}}"),
            )
        })
    }

    /// Parses the payload of an `ack` event.
    ///
    /// # Errors
    /// [`Code::InvalidAck`] if the payload is missing or invalid.
    pub fn parse_ack(&self) -> Result<AckEvent> {
        self.payload().map_err(|e| {
            Error::new(
                Code::InvalidAck,
                format!("invalid ack: {e}; send {{\"thread_id\":…,\"ack_seq\":…}}"),
            )
        })
    }

    /// Parses the payload of an `unsubscribe` event.
    ///
    /// # Errors
    /// [`Code::InvalidSubscribe`] if the payload is missing or invalid.
    pub fn parse_unsubscribe(&self) -> Result<UnsubscribeEvent> {
        self.payload().map_err(|e| {
            Error::new(
                Code::InvalidSubscribe,
                format!("invalid unsubscribe: {e}; send {{\"thread_id\":…}}"),
            )
        })
    }

    fn payload<'a, T: Deserialize<'a>>(&'a self) -> std::result::Result<T, serde_json::Error> {
        parse_object(self.data.as_ref().map_or("null", |raw| raw.get()).as_bytes())
    }
}

/// Parses a JSON object. (serde alone would also accept an array of the field values.)
fn parse_object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> std::result::Result<T, serde_json::Error> {
    if text.trim_ascii_start().first() == Some(&b'{') {
        return serde_json::from_slice(text);
    }
    serde_json::from_slice::<&RawValue>(text)?;
    Err(serde::de::Error::custom("not a JSON object"))
}

/// Reads null like an absent field, as AILANG's decoder does.
fn null_is_zero<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<i64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_equal_those_of_ailang() {
        assert_eq!(
            (MAX_BATCH_SIZE, MAX_MESSAGES_PER_SECOND, MAX_LAG_MESSAGES),
            (50, 100, 1000)
        );
        let waits = [WRITE_WAIT, PONG_WAIT, PING_PERIOD, POLL_INTERVAL].map(|wait| wait.as_millis());
        assert_eq!(waits, [10_000, 60_000, 54_000, 500]);
        assert_eq!(MAX_MESSAGE_SIZE, 10 * 1024);
        let events = [
            EventType::SUBSCRIBE,
            EventType::ACK,
            EventType::MESSAGE,
            EventType::BATCH,
            EventType::ERROR,
            EventType::PING,
            EventType::PONG,
            EventType::THREAD_STATE,
            EventType::TELEMETRY,
            EventType::INBOX_MESSAGE,
            EventType::TASK_STREAM,
        ];
        let names = "subscribe ack message batch error ping pong thread_state telemetry inbox_message task_stream";
        assert!(events.iter().map(EventType::as_str).eq(names.split(' ')));
        let task_events = [
            TaskStreamEventType::TURN_START,
            TaskStreamEventType::TEXT,
            TaskStreamEventType::TOOL_USE,
            TaskStreamEventType::TOOL_RESULT,
            TaskStreamEventType::TURN_END,
            TaskStreamEventType::ERROR,
            TaskStreamEventType::STATUS,
        ];
        let names = "turn_start text tool_use tool_result turn_end error status";
        assert!(task_events.iter().map(TaskStreamEventType::as_str).eq(names.split(' ')));
    }

    fn json(event: &Event) -> String {
        serde_json::to_string(event).unwrap()
    }

    #[test]
    fn the_envelope_has_the_compatible_form() {
        let mut event = Event::error("PARSE_ERROR", "no").unwrap();
        event.timestamp = 7;
        assert_eq!(
            json(&event),
            r#"{"type":"error","timestamp":7,"data":{"code":"PARSE_ERROR","message":"no"}}"#
        );
        let mut pong = Event::pong();
        pong.timestamp = 7;
        assert_eq!(json(&pong), r#"{"type":"pong","timestamp":7}"#);
        assert_eq!(Event::ping().event_type, EventType::PING);
    }

    #[test]
    fn omits_empty_fields_in_the_compatible_form() {
        let value = |e: Event| serde_json::from_str::<serde_json::Value>(e.data.unwrap().get()).unwrap();
        let keys = |e: Event| value(e).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            keys(Event::message(&MessageEvent::default()).unwrap()),
            [
                "content",
                "created_at",
                "from_id",
                "from_type",
                "id",
                "kind",
                "message_seq",
                "thread_id",
                "to_id",
                "to_type"
            ]
        );
        assert_eq!(
            keys(Event::inbox_message(&InboxMessageEvent::default()).unwrap()),
            [
                "created_at",
                "from_agent",
                "id",
                "message_id",
                "message_type",
                "status",
                "title",
                "to_inbox"
            ]
        );
        assert_eq!(
            keys(Event::telemetry(&TelemetryEvent::default()).unwrap()),
            [
                "cost",
                "duration_sec",
                "instance_id",
                "pid",
                "status",
                "tokens_in",
                "tokens_out",
                "turns"
            ]
        );
        assert_eq!(
            keys(Event::task_stream(&TaskStreamEvent::default()).unwrap()),
            ["stream_type", "task_id"]
        );
        assert_eq!(
            keys(Event::thread_state(&ThreadStateEvent::default()).unwrap()),
            ["last_seq", "status", "thread_id", "title", "updated_at"]
        );
        assert_eq!(
            keys(Event::batch("t", vec![], true).unwrap()),
            ["has_more", "messages", "thread_id"]
        );
    }

    #[test]
    fn parses_encoded_events() {
        let subscribe = SubscribeEvent {
            thread_id: "t".into(),
            from_seq: 3,
            from_id: None,
        };
        let event = Event::new(EventType::SUBSCRIBE, &subscribe).unwrap();
        let parsed = Event::parse(json(&event).as_bytes()).unwrap();
        assert_eq!(parsed.parse_subscribe().unwrap(), subscribe);
        let ack = Event::parse(br#"{"type":"ack","data":{"thread_id":"t","ack_seq":9}}"#).unwrap();
        assert_eq!(
            ack.parse_ack().unwrap(),
            AckEvent {
                thread_id: "t".into(),
                ack_seq: 9
            }
        );
        let unsubscribe = Event::parse(br#"{"type":"unsubscribe","data":{"thread_id":"t"}}"#).unwrap();
        assert_eq!(unsubscribe.parse_unsubscribe().unwrap().thread_id, "t");
    }

    #[test]
    fn rejects_invalid_events() {
        for bad in ["", "[]", "{}", "null", "{\"type\":7}", "\u{0}"] {
            assert_eq!(
                Event::parse(bad.as_bytes()).unwrap_err().code(),
                Code::ParseError,
                "{bad:?}"
            );
        }
        let no_payload = Event::parse(br#"{"type":"subscribe"}"#).unwrap();
        assert_eq!(no_payload.parse_subscribe().unwrap_err().code(), Code::InvalidSubscribe);
        assert_eq!(no_payload.parse_ack().unwrap_err().code(), Code::InvalidAck);
    }
}
