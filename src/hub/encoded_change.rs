//! A change with its JSON, encoded once and shared by all clients; and the text of every frame.
//!
//! A row has two wire formats: the compatible form ([`WireFormat::Compat`]), and the same with its
//! position and further columns ([`WireFormat::Extended`]). Each is encoded on first use.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Serialize;

use crate::protocol::{EventType, GapEvent, now_ms};
use crate::store::{Change, Op, Position, Row};

/// The text of one frame. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// Returns the text as UTF-8 bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the frame is empty. The frame of an event never is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Encodes an event without a position.
    pub fn new(event_type: &EventType, timestamp: i64, data: &impl Serialize) -> Self {
        Self(encode(event_type, timestamp, "", data).text)
    }

    /// Encodes a `gap` with the position after it.
    pub(super) fn gap(timestamp: i64, pos: &str, gap: GapEvent) -> Self {
        Self(encode(&EventType::GAP, timestamp, pos, &gap).text)
    }

    /// Encodes an event without data.
    pub(super) fn bare(event_type: &EventType, timestamp: i64) -> Self {
        Self(format!(r#"{{"type":"{}","timestamp":{timestamp}}}"#, event_type.as_str()).into())
    }

    /// Joins several events to one JSON array.
    pub(super) fn array(events: &[Self]) -> Self {
        let mut text = Vec::with_capacity(events.iter().map(|e| e.len() + 1).sum::<usize>() + 2);
        text.push(b'[');
        for (i, event) in events.iter().enumerate() {
            if i > 0 {
                text.push(b',');
            }
            text.extend_from_slice(&event.0);
        }
        text.push(b']');
        Self(text.into())
    }

    /// Joins encoded messages to a `batch`. `pos` is a position, or empty for none.
    pub(super) fn batch<'a>(
        timestamp: i64,
        pos: &str,
        thread_id: &str,
        messages: impl Iterator<Item = &'a [u8]>,
        has_more: bool,
    ) -> Self {
        let mut text = Vec::with_capacity(4096);
        head(&mut text, &EventType::BATCH, timestamp, pos);
        text.extend_from_slice(br#"{"thread_id":"#);
        json_into(&mut text, &thread_id);
        text.extend_from_slice(br#","messages":["#);
        for (i, message) in messages.enumerate() {
            if i > 0 {
                text.push(b',');
            }
            text.extend_from_slice(message);
        }
        text.extend_from_slice(if has_more {
            br#"],"has_more":true}}"#
        } else {
            br#"],"has_more":false}}"#
        });
        Self(text.into())
    }
}

/// The wire format of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireFormat {
    /// The compatible form, that of AILANG's protocol.
    Compat,
    /// The extended form: with `pos` and all columns.
    Extended,
}

/// The text of a frame, and the range of its `data`.
#[derive(Debug)]
struct Encoded {
    text: Bytes,
    data: Range<usize>,
}

/// One change, and its encoded events.
#[derive(Debug)]
pub struct EncodedChange {
    change: Change,
    epoch: Arc<str>,
    timestamp: i64,
    compat: OnceLock<Encoded>,
    extended: OnceLock<Encoded>,
    /// The state of the thread, which a message changes too.
    thread_state: OnceLock<Encoded>,
}

impl EncodedChange {
    /// Wraps a change that was just read from the database with this epoch.
    pub fn new(change: Change, epoch: &Arc<str>) -> Self {
        Self {
            change,
            epoch: Arc::clone(epoch),
            timestamp: now_ms(),
            compat: OnceLock::new(),
            extended: OnceLock::new(),
            thread_state: OnceLock::new(),
        }
    }

    /// Returns the same change with the current state of the row.
    pub(super) fn with_row(&self, row: Row) -> Self {
        let change = Change { row, ..self.change };
        Self {
            timestamp: self.timestamp,
            ..Self::new(change, &self.epoch)
        }
    }

    /// Returns the position after the change.
    pub fn pos(&self) -> Position {
        self.change.pos
    }

    /// Returns the row.
    pub fn row(&self) -> &Row {
        &self.change.row
    }

    /// Returns whether the row was inserted or updated.
    pub fn op(&self) -> Op {
        self.change.op
    }

    /// Returns when a new row was written, in Unix milliseconds.
    pub(super) fn written_at(&self) -> Option<i64> {
        match &self.change.row {
            _ if self.change.op == Op::Update => None,
            Row::Message(row, _) => Some(row.created_at),
            Row::Inbox(row) => Some(row.created_at),
            Row::Telemetry(row) => Some(row.created_at),
            Row::Task(row) => Some(row.created_at),
            _ => None,
        }
    }

    /// Returns the approximate size in memory, in bytes: the row and its JSON.
    pub fn weight(&self) -> usize {
        2 * self.change.row.weight()
    }

    /// Returns the event in the given format; empty for rows that are not sent.
    pub(super) fn frame(&self, form: WireFormat) -> Frame {
        Frame(self.encoded(form).text.clone())
    }

    /// Returns only the data of the event, for batches.
    pub(super) fn data(&self, form: WireFormat) -> &[u8] {
        let encoded = self.encoded(form);
        &encoded.text[encoded.data.clone()]
    }

    /// Returns the extended event with another position.
    pub(super) fn frame_at(&self, pos: &str) -> Frame {
        let encoded = self.encoded(WireFormat::Extended);
        with_pos(
            &self.event_type(),
            self.timestamp,
            pos,
            &encoded.text[encoded.data.clone()],
        )
    }

    /// Returns the thread state of a message or a thread, with a position or without.
    pub(super) fn thread_state(&self, pos: Option<&str>) -> Option<Frame> {
        let thread = match &self.change.row {
            Row::Message(_, thread) | Row::Thread(thread) if !thread.id.is_empty() => thread,
            _ => return None,
        };
        let encoded = self
            .thread_state
            .get_or_init(|| encode(&EventType::THREAD_STATE, self.timestamp, "", &thread.event()));
        Some(match pos {
            None => Frame(encoded.text.clone()),
            Some(pos) => with_pos(
                &EventType::THREAD_STATE,
                self.timestamp,
                pos,
                &encoded.text[encoded.data.clone()],
            ),
        })
    }

    fn event_type(&self) -> EventType {
        match &self.change.row {
            Row::Message(..) => EventType::MESSAGE,
            Row::Inbox(_) => EventType::INBOX_MESSAGE,
            Row::Telemetry(_) => EventType::TELEMETRY,
            Row::Task(_) => EventType::TASK_STREAM,
            Row::Thread(_) | Row::Agent(_) | Row::Unreadable(_) | Row::Pruned(_) | Row::Unknown => {
                EventType::THREAD_STATE
            }
        }
    }

    fn encoded(&self, form: WireFormat) -> &Encoded {
        let (cell, pos) = match form {
            WireFormat::Compat => (&self.compat, String::new()),
            WireFormat::Extended => (&self.extended, pos_text(&self.epoch, self.change.pos, None)),
        };
        cell.get_or_init(|| {
            let kind = self.event_type();
            match (&self.change.row, form) {
                (Row::Message(row, _), WireFormat::Compat) => encode(&kind, self.timestamp, &pos, &row.event()),
                (Row::Message(row, _), WireFormat::Extended) => encode(&kind, self.timestamp, &pos, &row.extended()),
                (Row::Inbox(row), WireFormat::Compat) => encode(&kind, self.timestamp, &pos, &row.event()),
                (Row::Inbox(row), WireFormat::Extended) => encode(&kind, self.timestamp, &pos, &row.extended()),
                (Row::Telemetry(row), WireFormat::Compat) => encode(&kind, self.timestamp, &pos, &row.event()),
                (Row::Telemetry(row), WireFormat::Extended) => encode(&kind, self.timestamp, &pos, &row.extended()),
                (Row::Task(row), WireFormat::Compat) => encode(&kind, self.timestamp, &pos, &row.event()),
                (Row::Task(row), WireFormat::Extended) => encode(&kind, self.timestamp, &pos, &row.extended()),
                (Row::Thread(row), _) => encode(&kind, self.timestamp, &pos, &row.event()),
                (Row::Agent(_) | Row::Unreadable(_) | Row::Pruned(_) | Row::Unknown, _) => Encoded {
                    text: Bytes::new(),
                    data: 0..0,
                },
            }
        })
    }
}

/// Formats a position for clients: the epoch, the number and the tag; and, if older states are
/// still held back, the number from which on a resuming client is sent states again.
pub(super) fn pos_text(epoch: &str, pos: Position, floor: Option<i64>) -> String {
    let mut text = format!("{epoch}.{}.{:x}", pos.seq, pos.tag);
    if let Some(floor) = floor {
        // Writing to a String cannot fail.
        let _ = write!(text, ".{floor}");
    }
    text
}

/// A parsed `since`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The epoch of the database that issued the position.
    pub epoch: String,
    /// The position.
    pub pos: Position,
    /// The client may lack states from this change number on.
    pub floor: Option<i64>,
}

impl Since {
    /// Parses a position; `None` if it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let epoch = parts.next()?.to_owned();
        let pos = Position {
            seq: parts.next()?.parse().ok()?,
            tag: i64::from_str_radix(parts.next()?, 16).ok()?,
        };
        let floor = match parts.next() {
            None => None,
            Some(floor) => Some(floor.parse().ok().filter(|f| (1..=pos.seq).contains(f))?),
        };
        (parts.next().is_none() && pos.seq >= 0 && pos.tag >= 0).then_some(Self { epoch, pos, floor })
    }
}

fn encode(event_type: &EventType, timestamp: i64, pos: &str, data: &impl Serialize) -> Encoded {
    let mut text = Vec::with_capacity(512);
    head(&mut text, event_type, timestamp, pos);
    let start = text.len();
    json_into(&mut text, data);
    let end = text.len();
    text.push(b'}');
    Encoded {
        text: text.into(),
        data: start..end,
    }
}

fn with_pos(event_type: &EventType, timestamp: i64, pos: &str, data: &[u8]) -> Frame {
    let mut text = Vec::with_capacity(data.len() + 160);
    head(&mut text, event_type, timestamp, pos);
    text.extend_from_slice(data);
    text.push(b'}');
    Frame(text.into())
}

/// Writes `{"type":…,"timestamp":…,"data":`. A position contains no characters that JSON must escape.
fn head(text: &mut Vec<u8>, event_type: &EventType, timestamp: i64, pos: &str) {
    text.extend_from_slice(br#"{"type":""#);
    text.extend_from_slice(event_type.as_str().as_bytes());
    text.extend_from_slice(br#"","timestamp":"#);
    text.extend_from_slice(timestamp.to_string().as_bytes());
    if !pos.is_empty() {
        text.extend_from_slice(br#","pos":""#);
        text.extend_from_slice(pos.as_bytes());
        text.push(b'"');
    }
    text.extend_from_slice(br#","data":"#);
}

fn json_into(text: &mut Vec<u8>, data: &impl Serialize) {
    let start = text.len();
    if serde_json::to_writer(&mut *text, data).is_err() {
        // Encoding fails only for maps with keys that are not strings. No event contains such a map.
        text.truncate(start);
        text.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Event, MessageEvent};
    use crate::store::{MessageRow, ThreadRow};

    fn entry() -> EncodedChange {
        let message = MessageRow {
            id: "m".into(),
            thread_id: "t\"".into(),
            message_seq: 3,
            reply_to: "r".into(),
            ..Default::default()
        };
        let change = Change {
            pos: Position { seq: 7, tag: 255 },
            op: Op::Insert,
            row: Row::Message(
                message,
                ThreadRow {
                    id: "t\"".into(),
                    last_seq: 3,
                    ..Default::default()
                },
            ),
        };
        EncodedChange::new(change, &"e".into())
    }

    fn parsed(frame: &Frame) -> Event {
        Event::parse(frame.bytes()).unwrap()
    }

    #[test]
    fn compatible_form_has_no_position_and_no_further_fields() {
        let event = parsed(&entry().frame(WireFormat::Compat));
        assert_eq!(event.pos, None);
        let message: MessageEvent = serde_json::from_str(event.data.unwrap().get()).unwrap();
        assert_eq!((message.message_seq, message.reply_to.as_str()), (3, ""));
    }

    #[test]
    fn extended_form_has_position_and_further_fields() {
        let event = parsed(&entry().frame(WireFormat::Extended));
        assert_eq!(event.pos.as_deref(), Some("e.7.ff"));
        let message: MessageEvent = serde_json::from_str(event.data.unwrap().get()).unwrap();
        assert_eq!(message.reply_to, "r");
        assert_eq!(parsed(&entry().frame_at("e.9.1.7")).pos.as_deref(), Some("e.9.1.7"));
    }

    #[test]
    fn batches_and_arrays_are_valid_json() {
        let entry = entry();
        let data = entry.data(WireFormat::Compat);
        let batch = parsed(&Frame::batch(5, "", "t\"", [data, data].into_iter(), true));
        let batch: crate::protocol::BatchEvent = serde_json::from_str(batch.data.unwrap().get()).unwrap();
        assert_eq!(
            (batch.thread_id.as_str(), batch.messages.len(), batch.has_more),
            ("t\"", 2, true)
        );
        let array = Frame::array(&[entry.frame(WireFormat::Compat), entry.thread_state(None).unwrap()]);
        let events: Vec<Event> = serde_json::from_slice(array.bytes()).unwrap();
        assert_eq!(events[1].event_type, EventType::THREAD_STATE);
    }

    #[test]
    fn parses_only_positions_it_has_formatted() {
        let pos = Position {
            seq: 12,
            tag: 0xdead_beef,
        };
        for floor in [None, Some(3)] {
            let since = Since::parse(&pos_text("abc", pos, floor)).unwrap();
            assert_eq!(
                since,
                Since {
                    epoch: "abc".into(),
                    pos,
                    floor
                }
            );
        }
        for bad in [
            "",
            "1",
            "a.b.c",
            "a.1",
            "a.1.f.9",
            "a.-1.f",
            "a.1.f.0",
            "a.9.f.1.2",
            "a.1.g",
        ] {
            assert_eq!(Since::parse(bad), None, "{bad}");
        }
    }
}
