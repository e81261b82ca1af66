//! Processing of the change log: which events a change causes for this client, and the positions
//! sent with them.

use std::sync::Arc;
use std::time::Duration;

use super::{EncodedChange, Frame, Framing, Now, ReplaySource, Session, Streams, WireFormat, pos_text};
use crate::error::Code;
use crate::protocol::{GapEvent, MAX_BATCH_BYTES};
use crate::store::{MessageRow, Op, Position, Row, Table};

impl Session {
    /// Accepts the changes after the position of [`Feed`](super::Action::Feed); an empty list at the
    /// end of the change log.
    pub fn feed(&mut self, entries: Vec<Arc<EncodedChange>>) {
        self.at_end = entries.is_empty();
        self.unprocessed.extend(entries);
    }

    /// Processes one change. The session's cursor is still before it.
    pub(super) fn process(&mut self, now: Now, entry: &Arc<EncodedChange>) {
        let fresh = entry.pos().seq > self.resumed.seq;
        let inserted = entry.op() == Op::Insert;
        match entry.row() {
            Row::Message(message, thread) if inserted => {
                if self.options.streams.threads && self.admits_state(now, &thread.id, entry) {
                    self.send_thread_state(entry);
                }
                if fresh {
                    self.live_message(now, entry, message);
                }
            }
            Row::Inbox(_) if fresh && self.options.streams.inbox => self.send_streamed(entry),
            Row::Task(_) if fresh && self.options.streams.tasks => self.send_streamed(entry),
            Row::Telemetry(row) if self.options.streams.telemetry => {
                if !fresh {
                    self.telemetry.hold(now.at, &row.instance_id, entry);
                } else if self.telemetry.admit(now.at, &row.instance_id, entry) {
                    self.send_event(entry, None);
                }
            }
            Row::Pruned(table) if inserted && self.is_loss(entry, *table) => {
                let seq = entry.pos().seq;
                self.lose_rows(now, GapEvent { from: seq, to: seq });
            }
            Row::Thread(thread) => {
                let followed = !inserted && self.follows(&thread.id);
                if (self.options.streams.threads || followed) && self.admits_state(now, &thread.id, entry) {
                    self.send_thread_state(entry);
                }
            }
            _ => {}
        }
    }

    /// Returns whether this client loses something because a row was pruned: it needs every
    /// message, inbox message and task event, and the latest state of each thread.
    fn is_loss(&self, entry: &EncodedChange, table: Table) -> bool {
        let (streams, seq) = (self.options.streams, entry.pos().seq);
        let unsent = seq > self.resumed.seq && self.is_owed(seq);
        match table {
            Table::Messages => (streams.messages && unsent) || (streams.threads && (unsent || seq <= self.resumed.seq)),
            Table::Inbox => streams.inbox && unsent,
            Table::Tasks => streams.tasks && unsent,
            Table::Threads | Table::Telemetry | Table::Agents => false,
        }
    }

    /// Returns whether the client was to get the row of this change, had it not been pruned. A stream
    /// that begins with the oldest row kept begins after the rows that were pruned before it.
    fn is_owed(&self, seq: i64) -> bool {
        self.has_streamed || seq > self.kept.seq
    }

    /// Records rows that the client cannot get any more: the connection closes, or the client is
    /// sent a `gap` before the next event.
    fn lose_rows(&mut self, now: Now, lost: GapEvent) {
        if self.from_oldest {
            let from = self.gap.map_or(lost.from, |gap| gap.from);
            self.gap = Some(GapEvent { from, to: lost.to });
            self.lost_up_to = lost.to;
        } else {
            let why = "rows you have not received were pruned; start over with since=0 or without since";
            self.close(now, Code::PositionLost, why);
        }
    }

    /// Records the changes between the session's position and the next change, `next`, if they were
    /// pruned from the change log. Only a session before the first change, or one that reports gaps,
    /// continues after them.
    pub(super) fn note_pruned_changes(&mut self, now: Now, next: Position) {
        let before = if self.has_streamed { 0 } else { self.kept.seq };
        let known = self.pos.seq.max(self.resumed.seq).max(self.lost_up_to).max(before);
        let lost = GapEvent {
            from: known + 1,
            to: next.seq - 1,
        };
        let has_streams = self.options.streams != Streams::NONE;
        let continues = self.from_oldest || self.pos == Position::START;
        if lost.from <= lost.to && continues && has_streams {
            self.lose_rows(now, lost);
        }
    }

    /// Returns `frame`, or the `gap` that has to be sent before it.
    pub(super) fn after_gap(&mut self, now: Now, frame: Frame) -> Frame {
        let Some(gap) = self.gap.take() else { return frame };
        self.outgoing.push_back(frame);
        Frame::gap(now.wall_ms, &self.resume_pos(), gap)
    }

    /// Returns whether a thread's state may be sent now. States that are sent again after a
    /// reconnect are held back until all of them are processed: the client may know newer ones.
    fn admits_state(&mut self, now: Now, thread_id: &str, entry: &Arc<EncodedChange>) -> bool {
        if entry.pos().seq > self.resumed.seq {
            return self.thread_states.admit(now.at, thread_id, entry);
        }
        self.thread_states.hold(now.at, thread_id, entry);
        false
    }

    /// Sends a new message if the client follows its thread and has all messages before it.
    /// Otherwise the subscription reads it from the database.
    fn live_message(&mut self, now: Now, entry: &Arc<EncodedChange>, message: &MessageRow) {
        let Some(thread) = self.subscriptions.get_mut(&message.thread_id) else {
            if let Some(pending) = self.opening().filter(|w| w.thread_id == message.thread_id) {
                pending.newest = pending.newest.max(message.message_seq);
            }
            return;
        };
        thread.last = thread.last.max(message.message_seq);
        if message.message_seq <= thread.sent {
            return;
        }
        let is_next = thread.source == ReplaySource::Live && message.message_seq == thread.sent + 1;
        if is_next && self.outbound_rate.take(now.at) {
            thread.sent = message.message_seq;
            self.send_event(entry, None);
            self.pause_if_lagging(now, &message.thread_id);
        } else {
            thread.source = ReplaySource::Database;
            self.schedule(&message.thread_id);
        }
    }

    /// Returns whether the client gets this message through `streams=messages`.
    pub(super) fn is_streamed(&self, entry: &EncodedChange) -> bool {
        self.options.streams.messages
            && matches!(entry.row(), Row::Message(..))
            && entry.op() == Op::Insert
            && entry.pos().seq > self.resumed.seq
    }

    /// Sends the next messages of one thread: one as a `message`, several as a `batch`. In array frames
    /// each message is a separate event.
    pub(super) fn stream_messages(&mut self, now: Now) {
        let max_messages = if self.options.framing == Framing::Array {
            1
        } else {
            self.limits.max_batch_size
        };
        let mut run: Vec<Arc<EncodedChange>> = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = self.unprocessed.front().filter(|entry| self.is_streamed(entry)) {
            bytes += entry.row().weight();
            let other = run
                .first()
                .is_some_and(|first| first.row().thread_id() != entry.row().thread_id());
            if other || run.len() == max_messages || (bytes > MAX_BATCH_BYTES && !run.is_empty()) {
                break;
            }
            run.extend(self.unprocessed.pop_front());
        }
        let Some(last) = run.last().cloned() else { return };
        self.has_streamed = true;
        let thread_id = last.row().thread_id().unwrap_or_default();
        let sends_state = self.options.streams.threads && self.admits_state(now, thread_id, &last);
        // A client that disconnects between the messages and the state is sent the state again.
        let owed = sends_state.then_some(last.pos().seq);
        if run.len() == 1 {
            self.send_event(&last, owed);
        } else {
            let data = run.iter().map(|entry| entry.data(self.options.format));
            let batch = Frame::batch(
                now.wall_ms,
                &self.resume_pos_after(last.pos(), owed),
                thread_id,
                data,
                false,
            );
            self.outgoing.push_back(batch);
        }
        if sends_state {
            self.send_thread_state(&last);
        }
        self.pos = last.pos();
    }

    /// Sends the event of a row that may be pruned later.
    fn send_streamed(&mut self, entry: &Arc<EncodedChange>) {
        self.has_streamed = true;
        self.send_event(entry, None);
    }

    /// Sends the event of a row. The state of the change `owed`, if any, follows it.
    fn send_event(&mut self, entry: &Arc<EncodedChange>, owed: Option<i64>) {
        let settled = entry.pos().seq > self.resumed.seq && self.floor(entry.pos(), owed).is_none();
        let frame = match self.options.format {
            WireFormat::Compat => entry.frame(WireFormat::Compat),
            WireFormat::Extended if settled => entry.frame(WireFormat::Extended),
            WireFormat::Extended => entry.frame_at(&self.resume_pos_after(entry.pos(), owed)),
        };
        self.outgoing.push_back(frame);
    }

    /// Sends the state of the row's thread.
    fn send_thread_state(&mut self, entry: &Arc<EncodedChange>) {
        let pos = (self.options.format == WireFormat::Extended).then(|| self.resume_pos_after(entry.pos(), None));
        self.outgoing.extend(entry.thread_state(pos.as_deref()));
    }

    /// Returns when the next state that is held back is due.
    pub(super) fn next_held(&self) -> Option<Duration> {
        // States sent again are complete when the client's position is reached.
        if self.pos.seq < self.resumed.seq {
            return None;
        }
        let due = [self.telemetry.next_due(), self.thread_states.next_due()];
        due.into_iter().flatten().min()
    }

    /// Returns the event of a state that is due.
    pub(super) fn release_held(&mut self, now: Now) -> Option<Frame> {
        while self.next_held().is_some_and(|due| due <= now.at) {
            let entry = self
                .telemetry
                .release(now.at)
                .or_else(|| self.thread_states.release(now.at))?;
            let frame = match (entry.row(), self.options.format) {
                (Row::Telemetry(_), WireFormat::Compat) => Some(entry.frame(WireFormat::Compat)),
                (Row::Telemetry(_), WireFormat::Extended) => Some(entry.frame_at(&self.resume_pos())),
                (_, WireFormat::Compat) => entry.thread_state(None),
                (_, WireFormat::Extended) => entry.thread_state(Some(&self.resume_pos())),
            };
            // A thread whose row cannot be read has no event.
            if frame.is_some() {
                return frame;
            }
        }
        None
    }

    /// Returns the position from which the client can resume now.
    pub(super) fn resume_pos(&self) -> String {
        self.resume_pos_after(self.pos, None)
    }

    /// Returns the position from which the client can resume after everything up to `pos` was
    /// sent, except the state of the change `owed`. No later state was sent.
    fn resume_pos_after(&self, pos: Position, owed: Option<i64>) -> String {
        let reached = if pos.seq > self.resumed.seq { pos } else { self.resumed };
        pos_text(&self.epoch, reached, self.floor(pos, owed))
    }

    /// Returns the lowest change number whose state is held back, still to be sent, or sent again.
    fn floor(&self, pos: Position, owed: Option<i64>) -> Option<i64> {
        let replay = (pos.seq < self.resumed.seq).then_some(pos.seq + 1);
        [self.telemetry.floor(), self.thread_states.floor(), replay, owed]
            .into_iter()
            .flatten()
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::subscription::Subscription;
    use super::super::{Action, ConnectOptions, Read};
    use super::*;
    use crate::config::Limits;
    use crate::store::{Change, ThreadRow};

    /// The change up to which the client of a test has everything.
    const RESUMED: i64 = 5;
    /// The change up to which rows were pruned when the client connected.
    const KEPT: i64 = 7;

    const NOW: Now = Now {
        at: Duration::ZERO,
        wall_ms: 0,
    };

    fn position(seq: i64) -> Position {
        Position { seq, tag: 1 }
    }

    /// Returns the insert with this number, whose row was pruned.
    fn pruned(seq: i64, table: Table) -> Arc<EncodedChange> {
        let change = Change {
            pos: position(seq),
            op: Op::Insert,
            row: Row::Pruned(table),
        };
        Arc::new(EncodedChange::new(change, &"e".into()))
    }

    fn session(streams: Streams) -> Session {
        let options = ConnectOptions {
            streams,
            ..ConnectOptions::COMPAT
        };
        let mut session = Session::new(options, Limits::default(), "e".into(), position(RESUMED - 2));
        session.resume(position(RESUMED), position(KEPT));
        session
    }

    /// Returns whether the session closes because of a pruned row.
    fn closes(streams: Streams, seq: i64, table: Table) -> bool {
        let mut session = session(streams);
        session.process(NOW, &pruned(seq, table));
        let mut actions = std::iter::from_fn(|| match session.next_action(NOW) {
            Action::Feed(_) | Action::Wait(_) => None,
            action => Some(action),
        });
        actions.any(|action| action == Action::Close(Code::PositionLost))
    }

    #[test]
    fn a_pruned_row_is_lost_if_the_client_was_to_get_it() {
        let messages = Streams {
            messages: true,
            ..Streams::NONE
        };
        let inbox = Streams {
            inbox: true,
            ..Streams::NONE
        };
        let tasks = Streams {
            tasks: true,
            ..Streams::NONE
        };
        for (streams, table, other) in [
            (messages, Table::Messages, Table::Inbox),
            (inbox, Table::Inbox, Table::Tasks),
            (tasks, Table::Tasks, Table::Messages),
        ] {
            for seq in [RESUMED - 1, RESUMED, RESUMED + 1, KEPT] {
                assert!(!closes(streams, seq, table), "{seq} was pruned before the client asked");
            }
            assert!(closes(streams, KEPT + 1, table));
            assert!(!closes(streams, KEPT + 1, other));
        }
    }

    #[test]
    fn a_pruned_message_is_lost_with_the_state_of_its_thread() {
        let threads = Streams {
            threads: true,
            ..Streams::NONE
        };
        // The client may not have these states.
        for seq in [RESUMED - 1, RESUMED] {
            assert!(closes(threads, seq, Table::Messages), "{seq}");
        }
        for seq in [RESUMED + 1, KEPT] {
            assert!(!closes(threads, seq, Table::Messages), "{seq}");
        }
        assert!(closes(threads, KEPT + 1, Table::Messages));
        for table in [Table::Threads, Table::Telemetry, Table::Agents] {
            assert!(!closes(threads, KEPT + 1, table), "{table:?}");
        }
    }

    #[test]
    fn rows_pruned_after_the_first_row_of_a_stream_are_lost() {
        let streams = Streams {
            messages: true,
            ..Streams::NONE
        };
        let mut session = session(streams);
        assert!(!session.is_loss(&pruned(KEPT, Table::Messages), Table::Messages));
        session.has_streamed = true;
        assert!(session.is_loss(&pruned(KEPT, Table::Messages), Table::Messages));
        assert!(!session.is_loss(&pruned(RESUMED, Table::Messages), Table::Messages));
    }

    fn message(seq: i64, thread_id: &str, message_seq: i64, bytes: usize, op: Op) -> Arc<EncodedChange> {
        let row = MessageRow {
            thread_id: thread_id.to_owned(),
            message_seq,
            content: "x".repeat(bytes),
            ..MessageRow::default()
        };
        let thread = ThreadRow {
            id: thread_id.to_owned(),
            ..ThreadRow::default()
        };
        let change = Change {
            pos: position(seq),
            op,
            row: Row::Message(row, thread),
        };
        Arc::new(EncodedChange::new(change, &"e".into()))
    }

    /// Returns how many messages each event for the client has: the type `message` counts as one.
    fn sizes_of_events(session: &mut Session) -> Vec<usize> {
        let mut sizes = Vec::new();
        loop {
            match session.next_action(NOW) {
                Action::Feed(_) => session.feed(Vec::new()),
                Action::Send(frame) => {
                    let sent: serde_json::Value = serde_json::from_slice(frame.bytes()).unwrap();
                    let events = sent.as_array().cloned().unwrap_or_else(|| vec![sent]);
                    for event in events {
                        match event["type"].as_str().unwrap() {
                            "message" => sizes.push(1),
                            "batch" => sizes.push(event["data"]["messages"].as_array().unwrap().len()),
                            other => panic!("{other}"),
                        }
                    }
                }
                _ => return sizes,
            }
        }
    }

    /// Returns a session that gets all messages.
    fn streaming(framing: Framing, max_batch_size: usize) -> Session {
        let options = ConnectOptions {
            streams: Streams {
                messages: true,
                ..Streams::NONE
            },
            framing,
            ..ConnectOptions::COMPAT
        };
        let limits = Limits {
            max_batch_size,
            ..Limits::default()
        };
        Session::new(options, limits, "e".into(), Position::START)
    }

    #[test]
    fn streamed_messages_of_one_thread_form_a_batch() {
        let insert = |seq, thread: &str, bytes| message(seq, thread, seq, bytes, Op::Insert);
        let sizes = |framing, entries: Vec<Arc<EncodedChange>>| {
            let mut session = streaming(framing, 3);
            session.feed(entries);
            sizes_of_events(&mut session)
        };
        let five = || (1..=5).map(|seq| insert(seq, "a", 1)).collect::<Vec<_>>();
        assert_eq!(sizes(Framing::Single, five()), [3, 2]);
        assert_eq!(sizes(Framing::Array, five()), [1; 5]);
        let threads = vec![
            insert(1, "a", 1),
            insert(2, "a", 1),
            insert(3, "b", 1),
            insert(4, "a", 1),
        ];
        assert_eq!(sizes(Framing::Single, threads), [2, 1, 1]);
        let large = vec![insert(1, "a", MAX_BATCH_BYTES), insert(2, "a", 1), insert(3, "a", 1)];
        assert_eq!(sizes(Framing::Single, large), [1, 2]);
        // The sum is the maximum, then one byte more.
        let overhead = insert(1, "a", 0).row().weight();
        let half = MAX_BATCH_BYTES / 2 - overhead;
        let exact = vec![insert(1, "a", half), insert(2, "a", half)];
        assert_eq!(sizes(Framing::Single, exact), [2]);
        let more = vec![insert(1, "a", half), insert(2, "a", half + 1)];
        assert_eq!(sizes(Framing::Single, more), [1, 1]);
    }

    #[test]
    fn next_message_of_a_subscription_needs_no_read() {
        let mut session = streaming(Framing::Single, 3);
        session.options.streams = Streams::NONE;
        let mut thread = Subscription::new(4, 4);
        (thread.source, thread.owes_batch) = (ReplaySource::Live, false);
        session.subscriptions.insert("a".to_owned(), thread);
        // A changed message is no new message.
        for (seq, number, op) in [(1, 5, Op::Update), (2, 4, Op::Insert), (3, 5, Op::Insert)] {
            session.process(NOW, &message(seq, "a", number, 1, op));
        }
        assert_eq!(sizes_of_events(&mut session), [1]);
        assert_eq!(session.subscriptions["a"].sent, 5);
        // Message 6 is missing: the subscription reads it from the database.
        session.process(NOW, &message(4, "a", 7, 1, Op::Insert));
        assert_eq!(session.subscriptions["a"].sent, 5);
        assert_eq!(session.subscriptions["a"].source, ReplaySource::Database);
        let action = loop {
            match session.next_action(NOW) {
                Action::Feed(_) => session.feed(Vec::new()),
                action => break action,
            }
        };
        assert!(
            matches!(action, Action::Read(Read::Page { after: 5, .. })),
            "{action:?}"
        );
    }
}
