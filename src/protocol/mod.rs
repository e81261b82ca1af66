//! The wire protocol: the envelope, every payload, the constants, and how frames are
//! built and parsed.
//!
//! For: anything that puts an event on the WebSocket or takes one off it.
//! Not for: where rows come from (`store`) or who is told what (`hub`).
//!
//! Names, JSON fields and the fields left out when empty are those of the seed's
//! `websocket` package, which this protocol continues. What came later stands at the end
//! of each type and is absent from the JSON unless it was filled in: clients that asked
//! for `streams` get it, clients written for the seed never see it.

mod payload;

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Code, Error, Result};

pub use payload::{
    AckEvent, BatchEvent, ErrorEvent, InboxMessageEvent, MessageEvent, SubscribeEvent, TaskStreamEvent, TelemetryEvent,
    ThreadStateEvent, UnsubscribeEvent,
};

/// Messages in one `batch` at most (the seed's `MaxBatchSize`).
pub const MAX_BATCH_SIZE: usize = 50;
/// Content bytes in one `batch` at most; one larger message travels alone.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// `message` and `batch` frames per second and connection (the seed's
/// `MaxMessagesPerSecond`); the burst is as large.
pub const MAX_MESSAGES_PER_SECOND: u32 = 100;
/// Rows kept in memory for everybody, and the number of unacknowledged messages at which
/// a subscription that acks is paused (the seed's `MaxLagMessages`).
pub const MAX_LAG_MESSAGES: usize = 1000;
/// Time a peer may take to accept a write before it is disconnected (the seed's `WriteWait`).
pub const WRITE_WAIT: Duration = Duration::from_secs(10);
/// Time without a sign of life after which a peer is gone (the seed's `PongWait`).
pub const PONG_WAIT: Duration = Duration::from_secs(60);
/// Time between pings, nine tenths of [`PONG_WAIT`] (the seed's `PingPeriod`).
pub const PING_PERIOD: Duration = Duration::from_secs(54);
/// Bytes of one message from a client at most (the seed's `MaxMessageSize`).
pub const MAX_MESSAGE_SIZE: usize = 10 * 1024;
/// The poll underneath every faster way of noticing a commit (the seed's `PollInterval`).
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Unix time in milliseconds: the unit of every timestamp in the file and on the wire.
///
/// The one place that reads the wall clock. A clock before 1970 reads as 0.
pub fn now_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the clock the others are sent to")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// The kind of a WebSocket event: an open set of strings, as in the seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventType(Cow<'static, str>);

impl EventType {
    /// Client subscribes to a thread.
    pub const SUBSCRIBE: Self = Self(Cow::Borrowed("subscribe"));
    /// Client leaves a thread.
    pub const UNSUBSCRIBE: Self = Self(Cow::Borrowed("unsubscribe"));
    /// Client acknowledges messages.
    pub const ACK: Self = Self(Cow::Borrowed("ack"));
    /// One message.
    pub const MESSAGE: Self = Self(Cow::Borrowed("message"));
    /// Several messages of one thread.
    pub const BATCH: Self = Self(Cow::Borrowed("batch"));
    /// Something the client should know went wrong.
    pub const ERROR: Self = Self(Cow::Borrowed("error"));
    /// Client asks for a [`EventType::PONG`].
    pub const PING: Self = Self(Cow::Borrowed("ping"));
    /// The answer to a [`EventType::PING`].
    pub const PONG: Self = Self(Cow::Borrowed("pong"));
    /// A thread's status, title or last number changed.
    pub const THREAD_STATE: Self = Self(Cow::Borrowed("thread_state"));
    /// Process telemetry.
    pub const TELEMETRY: Self = Self(Cow::Borrowed("telemetry"));
    /// An inbox message, new or changed.
    pub const INBOX_MESSAGE: Self = Self(Cow::Borrowed("inbox_message"));
    /// One event of a running task.
    pub const TASK_STREAM: Self = Self(Cow::Borrowed("task_stream"));
    /// The server's first event to a client that asked for `streams`, `since` or `frames`.
    pub const HELLO: Self = Self(Cow::Borrowed("hello"));

    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for EventType {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

/// The kind of one task event: an open set of strings, as in the seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskStreamEventType(Cow<'static, str>);

impl TaskStreamEventType {
    /// A turn of the model begins.
    pub const TURN_START: Self = Self(Cow::Borrowed("turn_start"));
    /// Text from the model.
    pub const TEXT: Self = Self(Cow::Borrowed("text"));
    /// A tool is called.
    pub const TOOL_USE: Self = Self(Cow::Borrowed("tool_use"));
    /// A tool answered.
    pub const TOOL_RESULT: Self = Self(Cow::Borrowed("tool_result"));
    /// A turn of the model ended.
    pub const TURN_END: Self = Self(Cow::Borrowed("turn_end"));
    /// Something failed.
    pub const ERROR: Self = Self(Cow::Borrowed("error"));
    /// The task's status changed.
    pub const STATUS: Self = Self(Cow::Borrowed("status"));

    /// The name in the file and on the wire.
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
    /// What `data` is.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Unix milliseconds. Optional from clients.
    #[serde(default, deserialize_with = "null_is_zero")]
    pub timestamp: i64,
    /// Where the row behind this event stands in the log: opaque, given back as `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pos: Option<String>,
    /// The payload as it came or goes, unparsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl Event {
    /// Wraps `data` in an envelope stamped with the present time (the seed's `NewEvent`).
    ///
    /// # Errors
    /// [`Code::Internal`] if `data` has no JSON form.
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

    /// One message (the seed's `NewMessageEvent`).
    ///
    /// # Errors
    /// As [`Event::new`]; the same holds for the constructors below.
    pub fn message(message: &MessageEvent) -> Result<Self> {
        Self::new(EventType::MESSAGE, message)
    }

    /// Several messages (the seed's `NewBatchEvent`).
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

    /// An error (the seed's `NewErrorEvent`).
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

    /// An inbox message (the seed's `NewInboxMessageEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn inbox_message(message: &InboxMessageEvent) -> Result<Self> {
        Self::new(EventType::INBOX_MESSAGE, message)
    }

    /// A task's event (the seed's `NewTaskStreamEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn task_stream(stream: &TaskStreamEvent) -> Result<Self> {
        Self::new(EventType::TASK_STREAM, stream)
    }

    /// Telemetry (the seed's `NewTelemetryEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn telemetry(telemetry: &TelemetryEvent) -> Result<Self> {
        Self::new(EventType::TELEMETRY, telemetry)
    }

    /// A thread's state (the seed's `NewThreadStateEvent`).
    ///
    /// # Errors
    /// As [`Event::new`].
    pub fn thread_state(state: &ThreadStateEvent) -> Result<Self> {
        Self::new(EventType::THREAD_STATE, state)
    }

    /// A ping, as clients send it (the seed's `NewPingEvent`).
    pub fn ping() -> Self {
        Self {
            event_type: EventType::PING,
            timestamp: now_ms(),
            pos: None,
            data: None,
        }
    }

    /// The answer to a ping (the seed's `NewPongEvent`).
    pub fn pong() -> Self {
        Self {
            event_type: EventType::PONG,
            timestamp: now_ms(),
            pos: None,
            data: None,
        }
    }

    /// Parses one frame (the seed's `ParseEvent`).
    ///
    /// # Errors
    /// [`Code::ParseError`] if `data` is not an envelope in JSON.
    pub fn parse(data: &[u8]) -> Result<Self> {
        object(data).map_err(|e| {
            Error::new(
                Code::ParseError,
                format!("cannot read the frame: {e}; send one JSON object with \"type\" and \"data\""),
            )
        })
    }

    /// The payload of a `subscribe` (the seed's `ParseSubscribe`).
    ///
    /// # Errors
    /// [`Code::InvalidSubscribe`] if the payload is missing or is something else.
    pub fn parse_subscribe(&self) -> Result<SubscribeEvent> {
        self.payload().map_err(|e| {
            Error::new(
                Code::InvalidSubscribe,
                format!("cannot read the subscription: {e}; send {{\"thread_id\":…,\"from_seq\":…}}"),
            )
        })
    }

    /// The payload of an `ack`.
    ///
    /// # Errors
    /// [`Code::InvalidAck`] if the payload is missing or is something else.
    pub fn parse_ack(&self) -> Result<AckEvent> {
        self.payload().map_err(|e| {
            Error::new(
                Code::InvalidAck,
                format!("cannot read the ack: {e}; send {{\"thread_id\":…,\"ack_seq\":…}}"),
            )
        })
    }

    /// The payload of an `unsubscribe`.
    ///
    /// # Errors
    /// [`Code::InvalidSubscribe`] if the payload is missing or is something else.
    pub fn parse_unsubscribe(&self) -> Result<UnsubscribeEvent> {
        self.payload().map_err(|e| {
            Error::new(
                Code::InvalidSubscribe,
                format!("cannot read the thread: {e}; send {{\"thread_id\":…}}"),
            )
        })
    }

    fn payload<'a, T: Deserialize<'a>>(&'a self) -> std::result::Result<T, serde_json::Error> {
        object(self.data.as_ref().map_or("null", |raw| raw.get()).as_bytes())
    }
}

/// Reads a JSON object. (serde would take an array of the fields' values as well.)
fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> std::result::Result<T, serde_json::Error> {
    if text.trim_ascii_start().first() == Some(&b'{') {
        return serde_json::from_slice(text);
    }
    serde_json::from_slice::<&RawValue>(text)?;
    Err(serde::de::Error::custom("it is no object"))
}

/// As the seed's decoder has it: null is as good as nothing.
fn null_is_zero<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<i64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed's, to the letter and the millisecond.
    #[test]
    fn the_constants_are_the_seeds() {
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
        let steps = [
            TaskStreamEventType::TURN_START,
            TaskStreamEventType::TEXT,
            TaskStreamEventType::TOOL_USE,
            TaskStreamEventType::TOOL_RESULT,
            TaskStreamEventType::TURN_END,
            TaskStreamEventType::ERROR,
            TaskStreamEventType::STATUS,
        ];
        let names = "turn_start text tool_use tool_result turn_end error status";
        assert!(steps.iter().map(TaskStreamEventType::as_str).eq(names.split(' ')));
    }

    fn json(event: &Event) -> String {
        serde_json::to_string(event).unwrap()
    }

    #[test]
    fn the_envelope_is_the_seeds() {
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
    fn empty_fields_are_left_out_where_the_seed_leaves_them_out() {
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
    fn what_is_built_can_be_parsed() {
        let subscribe = SubscribeEvent {
            thread_id: "t".into(),
            from_seq: 3,
            from_id: None,
        };
        let event = Event::new(EventType::SUBSCRIBE, &subscribe).unwrap();
        let back = Event::parse(json(&event).as_bytes()).unwrap();
        assert_eq!(back.parse_subscribe().unwrap(), subscribe);
        let ack = Event::parse(br#"{"type":"ack","data":{"thread_id":"t","ack_seq":9}}"#).unwrap();
        assert_eq!(
            ack.parse_ack().unwrap(),
            AckEvent {
                thread_id: "t".into(),
                ack_seq: 9
            }
        );
        let leave = Event::parse(br#"{"type":"unsubscribe","data":{"thread_id":"t"}}"#).unwrap();
        assert_eq!(leave.parse_unsubscribe().unwrap().thread_id, "t");
    }

    #[test]
    fn what_is_no_event_says_so() {
        for bad in ["", "[]", "{}", "null", "{\"type\":7}", "\u{0}"] {
            assert_eq!(
                Event::parse(bad.as_bytes()).unwrap_err().code(),
                Code::ParseError,
                "{bad:?}"
            );
        }
        let bare = Event::parse(br#"{"type":"subscribe"}"#).unwrap();
        assert_eq!(bare.parse_subscribe().unwrap_err().code(), Code::InvalidSubscribe);
        assert_eq!(bare.parse_ack().unwrap_err().code(), Code::InvalidAck);
    }
}
