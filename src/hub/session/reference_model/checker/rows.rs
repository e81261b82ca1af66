//! The judge on rows: each must be the very next one that is due, in its form and at its rate.
//!
//! For: what comes of a row. Not for: positions, answers and the end (`judge`).

use std::time::Duration;

use super::super::file::{File, version};
use super::super::rate::Rate;
use super::{Judge, data};
use crate::hub::connect_options::Framing;
use crate::hub::encoded_change::{Since, WireFormat};
use crate::protocol::{BatchEvent, Event, EventType, InboxMessageEvent, MessageEvent};
use crate::protocol::{TaskStreamEvent, TelemetryEvent, ThreadStateEvent};

impl Judge {
    pub(super) fn row(&mut self, event: &Event, now: Duration, file: &File) {
        let streamed = self.wishes.streams.messages;
        let placed = match event.event_type.as_str() {
            "message" => {
                let message: MessageEvent = data(event);
                self.throttled(now);
                if streamed {
                    self.next_row(&message.id, event.pos.as_deref(), file);
                } else {
                    self.conn.following.message(&message, file);
                }
                true
            }
            "batch" => {
                let batch: BatchEvent = data(event);
                self.throttled(now);
                self.batch(&batch, event.pos.as_deref(), file);
                streamed
            }
            "inbox_message" => {
                let mail: InboxMessageEvent = data(event);
                let then = self.next_row(&mail.id, event.pos.as_deref(), file);
                let row = file.mail.iter().find(|m| m.id == mail.id).unwrap();
                assert!((then..=version(&row.title)).contains(&version(&mail.title)), "{mail:?}");
                true
            }
            "task_stream" => {
                let task: TaskStreamEvent = data(event);
                self.next_row(&task.task_id, event.pos.as_deref(), file);
                true
            }
            "telemetry" => {
                let telemetry: TelemetryEvent = data(event);
                let place = event.pos.as_deref().map(|pos| Since::parse(pos).unwrap().pos.seq);
                assert!(
                    place.is_none_or(|seq| telemetry.turns <= seq),
                    "{event:?} is beyond its position"
                );
                self.telemetry(&telemetry, now, file)
            }
            "thread_state" => self.thread_state(&data(event), now, file),
            other => panic!("an event of type {other}"),
        };
        // A batch of a subscription has the stream's own position.
        let placed = placed || event.event_type == EventType::BATCH;
        assert_eq!(
            event.pos.is_some(),
            placed && self.wishes.format == WireFormat::Extended,
            "{event:?}"
        );
    }

    fn throttled(&mut self, now: Duration) {
        assert!(self.conn.frames.allows(now), "message frames over the rate");
        self.conn.frames.note(now);
    }

    fn batch(&mut self, batch: &BatchEvent, pos: Option<&str>, file: &File) {
        assert!(batch.messages.len() <= self.limits.max_batch_size);
        let bytes: usize = batch.messages.iter().map(|m| 200 + m.content.len()).sum();
        assert!(bytes <= crate::protocol::MAX_BATCH_BYTES || batch.messages.len() == 1);
        assert!(batch.messages.iter().all(|m| m.thread_id == batch.thread_id));
        if !self.wishes.streams.messages {
            return self.conn.following.batch(batch, file);
        }
        assert!(batch.messages.len() > 1 && !batch.has_more);
        for (i, message) in batch.messages.iter().enumerate() {
            let last = i + 1 == batch.messages.len();
            self.next_row(&message.id, pos.filter(|_| last), file);
        }
    }

    /// The row with this id must be the next one that is due. Returns its mail's version.
    fn next_row(&mut self, id: &str, pos: Option<&str>, file: &File) -> i64 {
        for line in file.lines_after(self.life.done) {
            if !self.expects(line) {
                continue;
            }
            if file.is_about(line, id) && pos.is_none_or(|pos| Since::parse(pos).unwrap().pos == line.pos) {
                self.life.done = line.pos.seq;
                return File::mail_then(line);
            }
            assert!(self.may_skip(line, file), "{id} came at {pos:?}, but {line:?} is next");
        }
        panic!("{id} is not due (again)");
    }

    fn telemetry(&mut self, telemetry: &TelemetryEvent, now: Duration, file: &File) -> bool {
        assert!(self.wishes.streams.telemetry);
        let key = &telemetry.instance_id;
        let line = &file.log[usize::try_from(telemetry.turns - 1).unwrap()];
        assert_eq!(file.instance(line), Some(key.as_str()));
        let last = self.life.telemetry.entry(key.clone()).or_default();
        assert!(telemetry.turns >= *last, "{telemetry:?} is older than {last}");
        *last = telemetry.turns;
        self.keyed(false, key, now);
        true
    }

    fn thread_state(&mut self, state: &ThreadStateEvent, now: Duration, file: &File) -> bool {
        let followed = self.conn.following.knows(&state.thread_id);
        assert!(self.wishes.streams.threads || followed, "nobody asked for {state:?}");
        let told = (state.last_seq, version(&state.title));
        let last = self.life.states.entry(state.thread_id.clone()).or_default();
        let older = told.0 < last.0 || told.1 < last.1;
        assert!(file.as_read || !older, "{state:?} is older than {last:?}");
        *last = told;
        self.keyed(true, &state.thread_id, now);
        true
    }

    /// At most so many states of a key a second. An array is made over some time: there
    /// only the sum can be checked.
    fn keyed(&mut self, of_thread: bool, key: &str, now: Duration) {
        let rate = if of_thread {
            self.limits.thread_states_per_second
        } else {
            self.limits.telemetry_per_second
        };
        let key = (of_thread, key.to_owned());
        let started = self.conn.started;
        // A state is made with its message, and may be handed out later.
        let burst = 1 + u32::from(of_thread && self.wishes.streams.messages);
        let rate = self
            .conn
            .keyed
            .entry(key)
            .or_insert_with(|| Rate::since(rate, burst, started));
        let allowed = if self.wishes.framing == Framing::Array {
            rate.allows_in_sum(now)
        } else {
            rate.allows(now)
        };
        assert!(allowed, "states over the rate");
        rate.note(now);
    }
}
