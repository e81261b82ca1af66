//! The most recent changes, in memory, shared by all clients.
//!
//! Clients that are nearly up to date read from here, others from the database. The size is
//! bounded by rows and by bytes, and does not depend on the slowest client.

use std::collections::VecDeque;
use std::sync::Arc;

use super::encoded_change::EncodedChange;
use crate::store::{MessageRow, Op, Position, Row, ThreadPage};

/// Maximum number of bytes kept, in addition to the maximum number of rows.
const MAX_BYTES: usize = 8 << 20;

/// The changes after `base`, up to `head`.
#[derive(Debug)]
pub(super) struct RecentChanges {
    entries: VecDeque<Arc<EncodedChange>>,
    max_rows: usize,
    bytes: usize,
    /// The position before the first entry.
    base: Position,
    /// The position after the last entry.
    head: Position,
}

/// The result of looking up the changes after a position.
#[derive(Debug)]
pub(super) enum RecentLookup {
    /// The changes after the position; empty if the client is up to date.
    Found(Vec<Arc<EncodedChange>>),
    /// The position is older than the recent changes: the client has to read the database.
    TooOld,
}

impl RecentChanges {
    /// Creates an empty list at `head` for at most `max_rows` changes.
    pub(super) fn new(head: Position, max_rows: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            max_rows,
            bytes: 0,
            base: head,
            head,
        }
    }

    /// Returns the position after the newest change.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// Adds the next change, and removes the oldest ones beyond the bounds.
    pub(super) fn push(&mut self, entry: Arc<EncodedChange>) {
        if entry.op() == Op::Update {
            self.update_message(entry.row());
        }
        self.head = entry.pos();
        self.bytes += entry.weight();
        self.entries.push_back(entry);
        while self.entries.len() > self.max_rows || self.bytes > MAX_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.weight();
            self.base = oldest.pos();
        }
    }

    /// Replaces a message with its current state, so that a deleted text is not sent again.
    fn update_message(&mut self, row: &Row) {
        let Row::Message(changed, _) = row else { return };
        for entry in &mut self.entries {
            let same = |m: &MessageRow| m.message_seq == changed.message_seq && m.thread_id == changed.thread_id;
            if matches!(entry.row(), Row::Message(message, _) if same(message)) {
                self.bytes -= entry.weight();
                *entry = Arc::new(entry.with_row(row.clone()));
                self.bytes += entry.weight();
            }
        }
    }

    /// Returns at most `limit` changes and about `bytes` bytes of rows after `pos`; a larger row is
    /// returned alone.
    pub(super) fn after(&self, pos: Position, limit: usize, bytes: usize) -> RecentLookup {
        if pos.seq > self.head.seq {
            // The client has read further in the database than the change reader has.
            return RecentLookup::Found(Vec::new());
        }
        let first = self.entries.partition_point(|entry| entry.pos().seq <= pos.seq);
        let before = first.checked_sub(1).map_or(self.base, |i| self.entries[i].pos());
        if before != pos {
            // Older than all entries, or of another history: the database decides.
            return RecentLookup::TooOld;
        }
        let mut weight = 0;
        let fits = |entry: &&Arc<EncodedChange>| {
            let is_first = weight == 0;
            weight += entry.row().weight();
            is_first || weight <= bytes
        };
        RecentLookup::Found(
            self.entries
                .range(first..)
                .take(limit)
                .take_while(fits)
                .cloned()
                .collect(),
        )
    }

    /// Returns at most `rows` messages and `bytes` bytes of a thread after `after`, if the next one
    /// is here; a larger message is returned alone. Walks back from the newest change, so that a
    /// client that is slightly behind costs little.
    pub(super) fn thread_page(&self, thread_id: &str, after: i64, rows: usize, bytes: usize) -> Option<ThreadPage> {
        let mut messages: VecDeque<&MessageRow> = VecDeque::new();
        let (mut weight, mut has_more) = (0, false);
        for entry in self.entries.iter().rev().filter(|entry| entry.op() == Op::Insert) {
            let Row::Message(message, _) = entry.row() else {
                continue;
            };
            if message.thread_id != thread_id {
                continue;
            }
            if message.message_seq <= after {
                break;
            }
            weight += message.weight();
            messages.push_front(message);
            while messages.len() > 1 && (messages.len() > rows || weight > bytes) {
                weight -= messages.pop_back().map_or(0, MessageRow::weight);
                has_more = true;
            }
        }
        // Message numbers have no gaps: if the next one is here, so are all after it.
        (messages.front()?.message_seq == after + 1).then(|| ThreadPage {
            messages: messages.into_iter().cloned().collect(),
            has_more,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, ThreadRow};

    const ALL: usize = usize::MAX;

    fn entry(seq: i64) -> Arc<EncodedChange> {
        Arc::new(EncodedChange::new(
            Change {
                pos: Position { seq, tag: 1 },
                op: Op::Insert,
                row: Row::Unknown,
            },
            &"e".into(),
        ))
    }

    fn seqs(lookup: RecentLookup) -> Option<Vec<i64>> {
        match lookup {
            RecentLookup::Found(entries) => Some(entries.iter().map(|e| e.pos().seq).collect()),
            RecentLookup::TooOld => None,
        }
    }

    #[test]
    fn keeps_the_last_rows_and_reports_older_positions() {
        let mut recent = RecentChanges::new(Position { seq: 10, tag: 1 }, 3);
        let at = |seq| Position { seq, tag: 1 };
        assert_eq!(seqs(recent.after(at(10), 9, ALL)), Some(vec![]));
        assert_eq!(seqs(recent.after(at(9), 9, ALL)), None);
        (11..=15).for_each(|seq| recent.push(entry(seq)));
        assert_eq!(recent.head(), at(15));
        assert_eq!(seqs(recent.after(at(11), 9, ALL)), None);
        assert_eq!(seqs(recent.after(at(12), 9, ALL)), Some(vec![13, 14, 15]));
        assert_eq!(seqs(recent.after(at(13), 1, ALL)), Some(vec![14]));
        assert_eq!(seqs(recent.after(at(12), 9, 450)), Some(vec![13, 14]));
        assert_eq!(
            seqs(recent.after(at(12), 9, 1)),
            Some(vec![13]),
            "one row is always returned"
        );
        assert_eq!(seqs(recent.after(at(15), 9, ALL)), Some(vec![]));
        assert_eq!(
            seqs(recent.after(at(16), 9, ALL)),
            Some(vec![]),
            "read further in the database"
        );
        for other in [13, 12, 15].map(|seq| Position { seq, tag: 2 }) {
            assert_eq!(
                seqs(recent.after(other, 9, ALL)),
                None,
                "{other:?} belongs to another history"
            );
        }
    }

    fn message(seq: i64, thread_id: &str, message_seq: i64) -> Arc<EncodedChange> {
        let message = MessageRow {
            thread_id: thread_id.into(),
            message_seq,
            ..MessageRow::default()
        };
        let row = Row::Message(message, ThreadRow::default());
        let pos = Position { seq, tag: 1 };
        Arc::new(EncodedChange::new(
            Change {
                pos,
                op: Op::Insert,
                row,
            },
            &"e".into(),
        ))
    }

    #[test]
    fn keeps_rows_up_to_a_size() {
        let mut recent = RecentChanges::new(Position::START, 100);
        let large = |seq| {
            let mut message = MessageRow {
                thread_id: "t".into(),
                ..MessageRow::default()
            };
            message.content = "x".repeat(MAX_BYTES / 8 - message.weight());
            let change = Change {
                pos: Position { seq, tag: 1 },
                op: Op::Insert,
                row: Row::Message(message, ThreadRow::default()),
            };
            Arc::new(EncodedChange::new(change, &"e".into()))
        };
        for seq in 1..=9 {
            recent.push(large(seq));
            assert!(recent.bytes <= MAX_BYTES, "{}", recent.bytes);
        }
        // Each is a quarter of the size or more: three remain, the newest.
        let kept: Vec<i64> = recent.entries.iter().map(|entry| entry.pos().seq).collect();
        assert_eq!(kept, [7, 8, 9]);
    }

    #[test]
    fn reads_a_thread_from_memory_only_without_gaps() {
        let mut recent = RecentChanges::new(Position { seq: 0, tag: 1 }, 6);
        for i in 1..=4 {
            recent.push(message(2 * i - 1, "a", i));
            recent.push(message(2 * i, "b", i));
        }
        let seqs = |thread, after, rows| {
            let page = recent.thread_page(thread, after, rows, 1 << 20)?;
            Some((
                page.messages.iter().map(|m| m.message_seq).collect::<Vec<_>>(),
                page.has_more,
            ))
        };
        assert_eq!(seqs("a", 2, 9), Some((vec![3, 4], false)));
        assert_eq!(seqs("a", 1, 2), Some((vec![2, 3], true)));
        assert_eq!(seqs("a", 0, 9), None, "message 1 was removed");
        assert_eq!(seqs("a", 4, 9), None, "the database decides whether there are more");
        assert_eq!(seqs("c", 0, 9), None);
        let alone = recent.thread_page("a", 2, 9, 1).unwrap();
        assert_eq!((alone.messages.len(), alone.has_more), (1, true));
        let alone = recent.thread_page("a", 3, 9, 1).unwrap();
        assert_eq!((alone.messages.len(), alone.has_more), (1, false));
    }

    #[test]
    fn an_update_of_a_message_replaces_its_text() {
        let mut recent = RecentChanges::new(Position { seq: 0, tag: 1 }, 6);
        recent.push(message(1, "a", 1));
        recent.push(message(2, "b", 1));
        let row = MessageRow {
            thread_id: "a".into(),
            message_seq: 1,
            deleted_at: Some(5),
            ..MessageRow::default()
        };
        let update = Change {
            pos: Position { seq: 3, tag: 1 },
            op: Op::Update,
            row: Row::Message(row, ThreadRow::default()),
        };
        recent.push(Arc::new(EncodedChange::new(update, &"e".into())));
        let RecentLookup::Found(entries) = recent.after(Position { seq: 0, tag: 1 }, 9, ALL) else {
            panic!("all changes are here");
        };
        let deleted = entries.iter().map(|entry| match entry.row() {
            Row::Message(message, _) => message.deleted_at,
            _ => None,
        });
        assert_eq!(deleted.collect::<Vec<_>>(), [Some(5), None, Some(5)]);
    }
}
