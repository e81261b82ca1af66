//! The live tail: the last changes, in memory, shared by everybody.
//!
//! For: clients that are up to date or nearly so.
//! Not for: anybody further behind: they read the file. The tail is bounded by rows and
//! by bytes, and never grows for a slow client.

use std::collections::VecDeque;
use std::sync::Arc;

use super::encoded_change::EncodedChange;
use crate::store::{MessageRow, Op, Position, Row, ThreadPage};

/// Bytes kept at most, beside the bound on rows.
const MAX_BYTES: usize = 8 << 20;

/// The changes after `base`, up to `head`.
#[derive(Debug)]
pub(super) struct RecentChanges {
    entries: VecDeque<Arc<EncodedChange>>,
    max_rows: usize,
    bytes: usize,
    /// The position before the first entry.
    base: Position,
    /// The position after the last.
    head: Position,
}

/// What the tail has for a client that walks the log.
#[derive(Debug)]
pub(super) enum RecentLookup {
    /// The changes after its position; none if it has everything.
    Here(Vec<Arc<EncodedChange>>),
    /// It is further behind than the tail reaches: it has to read the file.
    Behind,
}

impl RecentChanges {
    /// An empty tail at `head`, to hold at most `max_rows` changes.
    pub(super) fn new(head: Position, max_rows: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            max_rows,
            bytes: 0,
            base: head,
            head,
        }
    }

    /// The position after the newest change.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    pub(super) fn push(&mut self, entry: Arc<EncodedChange>) {
        if entry.op() == Op::Update {
            self.amend(entry.row());
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

    /// A message is shown as it is now: what was deleted is not told again.
    fn amend(&mut self, row: &Row) {
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

    /// At most `limit` changes and about `bytes` bytes of rows after `pos`; one larger row
    /// comes alone.
    pub(super) fn after(&self, pos: Position, limit: usize, bytes: usize) -> RecentLookup {
        if pos.seq > self.head.seq {
            // It has read on in the file, and has everything there is here.
            return RecentLookup::Here(Vec::new());
        }
        let first = self.entries.partition_point(|entry| entry.pos().seq <= pos.seq);
        let before = first.checked_sub(1).map_or(self.base, |i| self.entries[i].pos());
        if before != pos {
            // Older than the tail, or of another history: that is for the file to say.
            return RecentLookup::Behind;
        }
        let mut weight = 0;
        let fits = |entry: &&Arc<EncodedChange>| {
            let is_first = weight == 0;
            weight += entry.row().weight();
            is_first || weight <= bytes
        };
        RecentLookup::Here(
            self.entries
                .range(first..)
                .take(limit)
                .take_while(fits)
                .cloned()
                .collect(),
        )
    }

    /// At most `rows` messages and `bytes` bytes of a thread after `after`, if the tail has the
    /// very next one; one larger message comes alone. Walks back from the newest change, so that a client only just behind costs little.
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
        // Numbers have no gaps: if the next one is here, so is everything after it.
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

    fn seqs(reach: RecentLookup) -> Option<Vec<i64>> {
        match reach {
            RecentLookup::Here(entries) => Some(entries.iter().map(|e| e.pos().seq).collect()),
            RecentLookup::Behind => None,
        }
    }

    #[test]
    fn it_keeps_the_last_rows_and_says_who_is_behind() {
        let mut tail = RecentChanges::new(Position { seq: 10, tag: 1 }, 3);
        let at = |seq| Position { seq, tag: 1 };
        assert_eq!(seqs(tail.after(at(10), 9, ALL)), Some(vec![]));
        assert_eq!(seqs(tail.after(at(9), 9, ALL)), None);
        (11..=15).for_each(|seq| tail.push(entry(seq)));
        assert_eq!(tail.head(), at(15));
        assert_eq!(seqs(tail.after(at(11), 9, ALL)), None);
        assert_eq!(seqs(tail.after(at(12), 9, ALL)), Some(vec![13, 14, 15]));
        assert_eq!(seqs(tail.after(at(13), 1, ALL)), Some(vec![14]));
        assert_eq!(seqs(tail.after(at(12), 9, 450)), Some(vec![13, 14]));
        assert_eq!(seqs(tail.after(at(12), 9, 1)), Some(vec![13]), "one comes in any case");
        assert_eq!(seqs(tail.after(at(15), 9, ALL)), Some(vec![]));
        assert_eq!(seqs(tail.after(at(16), 9, ALL)), Some(vec![]), "read on in the file");
        for other in [13, 12, 15].map(|seq| Position { seq, tag: 2 }) {
            assert_eq!(seqs(tail.after(other, 9, ALL)), None, "{other:?} is of another history");
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
    fn a_thread_is_read_from_memory_only_if_nothing_is_missing() {
        let mut tail = RecentChanges::new(Position { seq: 0, tag: 1 }, 6);
        for i in 1..=4 {
            tail.push(message(2 * i - 1, "a", i));
            tail.push(message(2 * i, "b", i));
        }
        let seqs = |thread, after, rows| {
            let page = tail.thread_page(thread, after, rows, 1 << 20)?;
            Some((
                page.messages.iter().map(|m| m.message_seq).collect::<Vec<_>>(),
                page.has_more,
            ))
        };
        assert_eq!(seqs("a", 2, 9), Some((vec![3, 4], false)));
        assert_eq!(seqs("a", 1, 2), Some((vec![2, 3], true)));
        assert_eq!(seqs("a", 0, 9), None, "1 has left the tail");
        assert_eq!(seqs("a", 4, 9), None, "whether there are more is for the file to say");
        assert_eq!(seqs("c", 0, 9), None);
    }
}
