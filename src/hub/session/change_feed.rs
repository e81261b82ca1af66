//! The session's walk through the log: what each change means to this client, and the
//! positions it is told.
//!
//! For: rows that go to everybody, live messages, states held back.
//! Not for: messages read from the file (`threads`).

use std::sync::Arc;
use std::time::Duration;

use super::{EncodedChange, Frame, Framing, Now, ReplaySource, Session, WireFormat, pos_text};
use crate::error::Code;
use crate::protocol::MAX_BATCH_BYTES;
use crate::store::{MessageRow, Op, Position, Row, Table};

impl Session {
    /// Takes what the log has after [`Feed`](super::Action::Feed)'s position; nothing if it has no more.
    pub fn feed(&mut self, entries: Vec<Arc<EncodedChange>>) {
        self.dry = entries.is_empty();
        self.ahead.extend(entries);
    }

    /// What one change means to this client. Called with the position still before it.
    pub(super) fn consider(&mut self, now: Now, entry: &Arc<EncodedChange>) {
        let fresh = entry.pos().seq > self.resumed.seq;
        let inserted = entry.op() == Op::Insert;
        match entry.row() {
            Row::Message(message, thread) if inserted => {
                if self.wishes.streams.threads && self.admits_state(now, &thread.id, entry) {
                    self.tell_state(entry);
                }
                if fresh {
                    self.live_message(now, entry, message);
                }
            }
            Row::Inbox(_) if fresh && self.wishes.streams.inbox => self.tell(entry, None),
            Row::Task(_) if fresh && self.wishes.streams.tasks => self.tell(entry, None),
            Row::Telemetry(row) if self.wishes.streams.telemetry => {
                if !fresh {
                    self.telemetry.hold(now.at, &row.instance_id, entry);
                } else if self.telemetry.admit(now.at, &row.instance_id, entry) {
                    self.tell(entry, None);
                }
            }
            Row::Pruned(table) if inserted && self.misses(entry, *table) => {
                let why = "what comes next for you was pruned; start anew with since=0 or without";
                self.close(now, Code::PositionLost, why);
            }
            Row::Thread(thread) => {
                let followed = !inserted && self.follows(&thread.id);
                if (self.wishes.streams.threads || followed) && self.admits_state(now, &thread.id, entry) {
                    self.tell_state(entry);
                }
            }
            _ => {}
        }
    }

    /// Whether this client can never be told something now that a row was pruned: each
    /// message, mail and task event is its due, and of each thread the latest state.
    fn misses(&self, entry: &EncodedChange, table: Table) -> bool {
        let (streams, seq) = (self.wishes.streams, entry.pos().seq);
        let due = seq > self.resumed.seq && seq > self.kept.seq;
        match table {
            Table::Messages => (streams.messages && due) || (streams.threads && (due || seq <= self.resumed.seq)),
            Table::Inbox => streams.inbox && due,
            Table::Tasks => streams.tasks && due,
            Table::Threads | Table::Telemetry | Table::Agents => false,
        }
    }

    /// Whether a thread's state may be told now. What is told again after a reconnect is
    /// held back until all of it was met: the client knows newer states than the first.
    fn admits_state(&mut self, now: Now, thread_id: &str, entry: &Arc<EncodedChange>) -> bool {
        if entry.pos().seq > self.resumed.seq {
            return self.states.admit(now.at, thread_id, entry);
        }
        self.states.hold(now.at, thread_id, entry);
        false
    }

    /// A message somebody just wrote, if this client follows its thread and has everything
    /// before it. Otherwise the file has it.
    fn live_message(&mut self, now: Now, entry: &Arc<EncodedChange>, message: &MessageRow) {
        let Some(thread) = self.threads.get_mut(&message.thread_id) else {
            if let Some(wanted) = self.opening().filter(|w| w.thread_id == message.thread_id) {
                wanted.met = wanted.met.max(message.message_seq);
            }
            return;
        };
        thread.last = thread.last.max(message.message_seq);
        if message.message_seq <= thread.sent {
            return;
        }
        let is_next = thread.feed == ReplaySource::Live && message.message_seq == thread.sent + 1;
        if is_next && self.frames.take(now.at) {
            thread.sent = message.message_seq;
            self.tell(entry, None);
            self.pause_if_lagging(now, &message.thread_id);
        } else {
            thread.feed = ReplaySource::File;
            self.schedule(&message.thread_id);
        }
    }

    pub(super) fn is_streamed(&self, entry: &EncodedChange) -> bool {
        self.wishes.streams.messages
            && matches!(entry.row(), Row::Message(..))
            && entry.op() == Op::Insert
            && entry.pos().seq > self.resumed.seq
    }

    /// The messages at the front of the log that belong to one thread: one of them as a
    /// `message`, several as a `batch`. Array frames carry them one by one.
    pub(super) fn stream_messages(&mut self, now: Now) {
        let most = if self.wishes.framing == Framing::Array {
            1
        } else {
            self.limits.max_batch_size
        };
        let mut run: Vec<Arc<EncodedChange>> = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = self.ahead.front().filter(|entry| self.is_streamed(entry)) {
            bytes += entry.row().weight();
            let other = run
                .first()
                .is_some_and(|first| first.row().thread_id() != entry.row().thread_id());
            if other || run.len() == most || (bytes > MAX_BATCH_BYTES && !run.is_empty()) {
                break;
            }
            run.extend(self.ahead.pop_front());
        }
        let Some(last) = run.last().cloned() else { return };
        let thread_id = last.row().thread_id().unwrap_or_default();
        let tells = self.wishes.streams.threads && self.admits_state(now, thread_id, &last);
        // Whoever stops between the messages and the state still has to look for that.
        let owed = tells.then_some(last.pos().seq);
        if run.len() == 1 {
            self.tell(&last, owed);
        } else {
            let data = run.iter().map(|entry| entry.data(self.wishes.form));
            let batch = Frame::batch(now.wall_ms, &self.place_after(last.pos(), owed), thread_id, data, false);
            self.out.push_back(batch);
        }
        if tells {
            self.tell_state(&last);
        }
        self.pos = last.pos();
    }

    /// Hands out a row's event, after which the state of the change `owed` is still to come.
    fn tell(&mut self, entry: &Arc<EncodedChange>, owed: Option<i64>) {
        let settled = entry.pos().seq > self.resumed.seq && self.floor(entry.pos(), owed).is_none();
        let frame = match self.wishes.form {
            WireFormat::Compat => entry.frame(WireFormat::Compat),
            WireFormat::Extended if settled => entry.frame(WireFormat::Extended),
            WireFormat::Extended => entry.frame_at(&self.place_after(entry.pos(), owed)),
        };
        self.out.push_back(frame);
    }

    /// Hands out the state of a row's thread.
    fn tell_state(&mut self, entry: &Arc<EncodedChange>) {
        let pos = (self.wishes.form == WireFormat::Extended).then(|| self.place_after(entry.pos(), None));
        self.out.extend(entry.thread_state(pos.as_deref()));
    }

    /// When the next state that is held back falls due.
    pub(super) fn next_held(&self) -> Option<Duration> {
        // What is told again is complete once the client's position is reached.
        if self.pos.seq < self.resumed.seq {
            return None;
        }
        let due = [self.telemetry.next_due(), self.states.next_due()];
        due.into_iter().flatten().min()
    }

    /// A state whose time has come.
    pub(super) fn release_held(&mut self, now: Now) -> Option<Frame> {
        while self.next_held().is_some_and(|due| due <= now.at) {
            let entry = self.telemetry.release(now.at).or_else(|| self.states.release(now.at))?;
            let frame = match (entry.row(), self.wishes.form) {
                (Row::Telemetry(_), WireFormat::Compat) => Some(entry.frame(WireFormat::Compat)),
                (Row::Telemetry(_), WireFormat::Extended) => Some(entry.frame_at(&self.place())),
                (_, WireFormat::Compat) => entry.thread_state(None),
                (_, WireFormat::Extended) => entry.thread_state(Some(&self.place())),
            };
            // There is none of a thread whose row cannot be read.
            if frame.is_some() {
                return frame;
            }
        }
        None
    }

    /// The position to come back to now.
    pub(super) fn place(&self) -> String {
        self.place_after(self.pos, None)
    }

    /// The position to come back to once everything up to `pos` was handed out, but for the
    /// state of the change `owed`. Nothing beyond it was told: not even a state.
    fn place_after(&self, pos: Position, owed: Option<i64>) -> String {
        let reached = if pos.seq > self.resumed.seq { pos } else { self.resumed };
        pos_text(&self.epoch, reached, self.floor(pos, owed))
    }

    /// From which number on states are owed, held back, or will be told again, after `pos`.
    fn floor(&self, pos: Position, owed: Option<i64>) -> Option<i64> {
        let replay = (pos.seq < self.resumed.seq).then_some(pos.seq + 1);
        [self.telemetry.floor(), self.states.floor(), replay, owed]
            .into_iter()
            .flatten()
            .min()
    }
}
