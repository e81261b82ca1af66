//! A naive model of the database: plain lists of all rows and changes, and what reads return.
//!
//! Nothing is removed from the lists: a pruned row stays in them, before the first kept index.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::hub::encoded_change::EncodedChange;
use crate::store::{
    AgentRow, Change, InboxMessageRow, MessageRow, Op, Position, Row, Start, Table, TaskEventRow, TelemetryRow,
    ThreadOpening, ThreadPage, ThreadRow, UnreadableRow,
};

/// The result of reading the change log; `None` if the log does not have the requested position.
pub(super) type LogPage = Option<Vec<Arc<EncodedChange>>>;

/// The row a change is about. Numbers other than a `message_seq` are indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowKey {
    /// Thread and `message_seq`.
    Message(String, i64),
    Inbox(usize),
    Telemetry(usize),
    Task(usize),
    Thread(String),
    Agent,
    Unreadable,
}

/// One change, with its row as of when the change was written.
#[derive(Debug, Clone)]
pub(super) struct LogEntry {
    pub(super) pos: Position,
    pub(super) op: Op,
    pub(super) key: RowKey,
    row_when_written: Row,
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "change {} ({:?} of {:?})", self.pos.seq, self.op, self.key)
    }
}

/// A state of a thread. Both numbers increase with each write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ThreadVersion {
    pub(super) last_seq: i64,
    /// How often the title was changed.
    pub(super) title: i64,
}

impl ThreadVersion {
    /// Returns whether any part of this state is older than in `other`.
    pub(super) fn is_older_than(self, other: Self) -> bool {
        self.last_seq < other.last_seq || self.title < other.title
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Thread {
    row: ThreadRow,
    /// All messages, including those pruned.
    pub(super) messages: Vec<MessageRow>,
    /// Messages with a lower `message_seq` are pruned.
    pub(super) first_seq: i64,
    /// The row of the thread itself cannot be read.
    pub(super) is_unreadable: bool,
}

impl Thread {
    pub(super) fn last_seq(&self) -> i64 {
        self.row.last_seq
    }

    pub(super) fn version(&self) -> ThreadVersion {
        ThreadVersion {
            last_seq: self.row.last_seq,
            title: version_of(&self.row.title),
        }
    }

    /// Returns the row as a read of one of its messages returns it.
    fn joined_row(&self) -> ThreadRow {
        if self.is_unreadable {
            ThreadRow::default()
        } else {
            self.row.clone()
        }
    }
}

/// The number of rows of each table that are pruned, from the oldest on.
#[derive(Debug, Clone, Copy, Default)]
struct PrunedRows {
    inbox: usize,
    telemetry: usize,
    tasks: usize,
}

impl PrunedRows {
    fn max(self, other: Self) -> Self {
        Self {
            inbox: self.inbox.max(other.inbox),
            telemetry: self.telemetry.max(other.telemetry),
            tasks: self.tasks.max(other.tasks),
        }
    }
}

/// The database.
#[derive(Debug, Clone)]
pub(super) struct Database {
    pub(super) epoch: Arc<str>,
    /// The whole change log, including what is pruned.
    pub(super) log: Vec<LogEntry>,
    /// Changes with a lower number are pruned.
    pub(super) first_log_seq: i64,
    pub(super) threads: BTreeMap<String, Thread>,
    pub(super) inbox: Vec<InboxMessageRow>,
    telemetry: Vec<TelemetryRow>,
    tasks: Vec<TaskEventRow>,
    pruned: PrunedRows,
    /// The stored acknowledgement of each thread.
    pub(super) acks: BTreeMap<String, i64>,
    /// The last number used in an id, an epoch or a tag. A number is never used twice, not even
    /// after an earlier state of the database was restored.
    pub(super) serial: i64,
    /// Reads return rows in their current state, as the real database does. Otherwise they return
    /// rows as of when the change was written: then states come in an order that can be checked.
    pub(super) returns_current_rows: bool,
}

/// Returns the number in a text such as `v3`.
pub(super) fn version_of(text: &str) -> i64 {
    text.trim_start_matches('v').parse().unwrap_or(0)
}

impl Database {
    pub(super) fn new(serial: i64, returns_current_rows: bool) -> Self {
        Self {
            epoch: format!("e{serial}").into(),
            log: Vec::new(),
            first_log_seq: 1,
            threads: BTreeMap::new(),
            inbox: Vec::new(),
            telemetry: Vec::new(),
            tasks: Vec::new(),
            pruned: PrunedRows::default(),
            acks: BTreeMap::new(),
            serial: serial + 1,
            returns_current_rows,
        }
    }

    // ---- Writes of agents ---------------------------------------------------------------

    fn next_serial(&mut self) -> i64 {
        self.serial += 1;
        self.serial
    }

    fn append(&mut self, op: Op, key: RowKey) {
        let tag = self.next_serial().wrapping_mul(0x9E37_79B1) & 0xFFFF_FFFF;
        let seq = self.head().seq + 1;
        let row_when_written = self.current_row(&key);
        self.log.push(LogEntry {
            pos: Position { seq, tag },
            op,
            key,
            row_when_written,
        });
    }

    fn create_thread(&mut self, thread_id: &str) {
        if self.threads.contains_key(thread_id) {
            return;
        }
        let row = ThreadRow {
            id: thread_id.to_owned(),
            title: "v0".into(),
            status: "active".into(),
            ..ThreadRow::default()
        };
        let thread = Thread {
            row,
            first_seq: 1,
            ..Thread::default()
        };
        self.threads.insert(thread_id.to_owned(), thread);
        self.append(Op::Insert, RowKey::Thread(thread_id.to_owned()));
    }

    /// Adds a message, and the thread if it does not exist.
    pub(super) fn post_message(&mut self, thread_id: &str, bytes: usize) {
        self.create_thread(thread_id);
        let serial = self.next_serial();
        let Some(thread) = self.threads.get_mut(thread_id) else {
            return;
        };
        thread.row.last_seq += 1;
        let message_seq = thread.row.last_seq;
        thread.messages.push(MessageRow {
            id: format!("m{serial}"),
            thread_id: thread_id.to_owned(),
            message_seq,
            content: "x".repeat(bytes),
            ..MessageRow::default()
        });
        self.append(Op::Insert, RowKey::Message(thread_id.to_owned(), message_seq));
    }

    /// Updates the last message. An update of a message causes no event.
    pub(super) fn update_message(&mut self, thread_id: &str) {
        let last_seq = self.threads.get(thread_id).map(Thread::last_seq);
        if let Some(last_seq) = last_seq.filter(|seq| *seq > 0) {
            self.append(Op::Update, RowKey::Message(thread_id.to_owned(), last_seq));
        }
    }

    pub(super) fn change_title(&mut self, thread_id: &str) {
        if let Some(thread) = self.threads.get_mut(thread_id) {
            thread.row.title = format!("v{}", version_of(&thread.row.title) + 1);
            self.append(Op::Update, RowKey::Thread(thread_id.to_owned()));
        }
    }

    pub(super) fn add_inbox_message(&mut self) {
        let serial = self.next_serial();
        self.inbox.push(InboxMessageRow {
            id: format!("i{serial}"),
            title: "v0".into(),
            ..InboxMessageRow::default()
        });
        self.append(Op::Insert, RowKey::Inbox(self.inbox.len() - 1));
    }

    /// Updates one inbox message, unless it is pruned.
    pub(super) fn update_inbox_message(&mut self, choice: usize) {
        let index = choice % self.inbox.len().max(1);
        if index >= self.pruned.inbox
            && let Some(row) = self.inbox.get_mut(index)
        {
            row.title = format!("v{}", version_of(&row.title) + 1);
            self.append(Op::Update, RowKey::Inbox(index));
        }
    }

    /// Adds a row of telemetry. Its `turns` is the number of its change.
    pub(super) fn add_telemetry(&mut self, instance_id: &str) {
        self.telemetry.push(TelemetryRow {
            instance_id: instance_id.to_owned(),
            turns: Some(self.head().seq + 1),
            ..TelemetryRow::default()
        });
        self.append(Op::Insert, RowKey::Telemetry(self.telemetry.len() - 1));
    }

    pub(super) fn add_task_event(&mut self) {
        let id = self.next_serial();
        self.tasks.push(TaskEventRow {
            id,
            task_id: format!("k{id}"),
            stream_type: "text".into(),
            ..TaskEventRow::default()
        });
        self.append(Op::Insert, RowKey::Task(self.tasks.len() - 1));
    }

    pub(super) fn add_agent(&mut self) {
        self.append(Op::Insert, RowKey::Agent);
    }

    pub(super) fn add_unreadable_row(&mut self) {
        self.append(Op::Insert, RowKey::Unreadable);
    }

    // ---- Maintenance --------------------------------------------------------------------

    /// Prunes all but the last `keep` messages of a thread, and all but the last `keep` rows of the
    /// other tables.
    pub(super) fn prune_rows(&mut self, thread_id: &str, keep: usize) {
        if let Some(thread) = self.threads.get_mut(thread_id) {
            let last_seq = thread.row.last_seq;
            thread.first_seq = thread.first_seq.max(last_seq + 1 - i64::try_from(keep).unwrap_or(0));
        }
        self.pruned = self.pruned.max(PrunedRows {
            inbox: self.inbox.len().saturating_sub(keep),
            telemetry: self.telemetry.len().saturating_sub(keep),
            tasks: self.tasks.len().saturating_sub(keep),
        });
    }

    /// Prunes all but the last `keep` changes of the log, but never the last one.
    pub(super) fn prune_log(&mut self, keep: usize) {
        let keep = i64::try_from(keep.max(1)).unwrap_or(1);
        self.first_log_seq = self.first_log_seq.max(self.head().seq + 1 - keep);
    }

    /// Prepares this backup to replace `current`. Rows pruned in `current` stay pruned: a session that
    /// has skipped them cannot send them later.
    pub(super) fn carry_over(&mut self, current: &Self) {
        self.serial = current.serial;
        self.first_log_seq = self
            .first_log_seq
            .max(current.first_log_seq.min(self.head().seq.max(1)));
        self.pruned = self.pruned.max(current.pruned);
        for (thread_id, thread) in &mut self.threads {
            let first_seq = current.threads.get(thread_id).map_or(1, |t| t.first_seq);
            thread.first_seq = thread.first_seq.max(first_seq.min(thread.row.last_seq + 1));
        }
    }

    // ---- Reads --------------------------------------------------------------------------

    /// Returns the position after the last change.
    pub(super) fn head(&self) -> Position {
        self.log.last().map_or(Position::START, |entry| entry.pos)
    }

    /// Returns the change with this number, unless it is pruned.
    pub(super) fn entry(&self, seq: i64) -> Option<&LogEntry> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.log.get(index).filter(|_| seq >= self.first_log_seq)
    }

    /// Returns whether the log has this position and it is not pruned.
    pub(super) fn has_position(&self, pos: Position) -> bool {
        pos == Position::START || self.entry(pos.seq).is_some_and(|entry| entry.pos == pos)
    }

    /// Returns all changes after a number, including those pruned.
    pub(super) fn entries_after(&self, seq: i64) -> impl Iterator<Item = &LogEntry> {
        self.log.iter().skip(usize::try_from(seq).unwrap_or(0))
    }

    /// Returns whether the row of a change is pruned.
    pub(super) fn is_pruned(&self, entry: &LogEntry) -> bool {
        match &entry.key {
            RowKey::Message(thread_id, seq) => *seq < self.threads[thread_id].first_seq,
            RowKey::Inbox(index) => *index < self.pruned.inbox,
            RowKey::Telemetry(index) => *index < self.pruned.telemetry,
            RowKey::Task(index) => *index < self.pruned.tasks,
            RowKey::Thread(_) | RowKey::Agent | RowKey::Unreadable => false,
        }
    }

    /// Returns whether the row of a change has this id.
    pub(super) fn has_row_id(&self, entry: &LogEntry, id: &str) -> bool {
        match &entry.key {
            RowKey::Message(thread_id, seq) => self.message(thread_id, *seq).is_some_and(|m| m.id == id),
            RowKey::Inbox(index) => self.inbox[*index].id == id,
            RowKey::Task(index) => self.tasks[*index].task_id == id,
            _ => false,
        }
    }

    /// Returns a message, even if it is pruned.
    fn message(&self, thread_id: &str, seq: i64) -> Option<&MessageRow> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.threads.get(thread_id)?.messages.get(index)
    }

    /// Returns the instance of a change of telemetry.
    pub(super) fn instance_id(&self, entry: &LogEntry) -> Option<&str> {
        match &entry.key {
            RowKey::Telemetry(index) => Some(&self.telemetry[*index].instance_id),
            _ => None,
        }
    }

    /// Returns the version of an inbox message as of when the change was written; 0 for other rows.
    pub(super) fn inbox_version(entry: &LogEntry) -> i64 {
        match &entry.row_when_written {
            Row::Inbox(row) => version_of(&row.title),
            _ => 0,
        }
    }

    /// Returns the thread whose state a change causes to be sent, and that state as of when the
    /// change was written.
    pub(super) fn thread_state<'a>(&self, entry: &'a LogEntry) -> Option<(&'a str, ThreadVersion)> {
        let (Row::Message(_, thread) | Row::Thread(thread)) = &entry.row_when_written else {
            return None;
        };
        let is_readable = self.threads.get(&thread.id).is_some_and(|t| !t.is_unreadable);
        let causes_state = entry.op == Op::Insert || matches!(entry.key, RowKey::Thread(_));
        let version = ThreadVersion {
            last_seq: thread.last_seq,
            title: version_of(&thread.title),
        };
        (is_readable && causes_state && !self.is_pruned(entry)).then_some((thread.id.as_str(), version))
    }

    fn current_row(&self, key: &RowKey) -> Row {
        match key {
            RowKey::Message(thread_id, seq) => {
                let thread = &self.threads[thread_id];
                let index = usize::try_from(seq - 1).unwrap_or(0);
                Row::Message(thread.messages[index].clone(), thread.joined_row())
            }
            RowKey::Inbox(index) => Row::Inbox(self.inbox[*index].clone()),
            RowKey::Telemetry(index) => Row::Telemetry(self.telemetry[*index].clone()),
            RowKey::Task(index) => Row::Task(self.tasks[*index].clone()),
            RowKey::Thread(thread_id) if !self.threads[thread_id].is_unreadable => {
                Row::Thread(self.threads[thread_id].row.clone())
            }
            RowKey::Agent => Row::Agent(AgentRow::default()),
            RowKey::Thread(_) | RowKey::Unreadable => Row::Unreadable(UnreadableRow {
                table: "threads",
                row: 1,
                reason: "unreadable".into(),
            }),
        }
    }

    fn read_row(&self, entry: &LogEntry) -> Row {
        if self.is_pruned(entry) {
            Row::Pruned(match entry.key {
                RowKey::Message(..) => Table::Messages,
                RowKey::Inbox(_) => Table::Inbox,
                RowKey::Telemetry(_) => Table::Telemetry,
                RowKey::Task(_) => Table::Tasks,
                RowKey::Thread(_) => Table::Threads,
                RowKey::Agent | RowKey::Unreadable => Table::Agents,
            })
        } else if self.returns_current_rows {
            self.current_row(&entry.key)
        } else {
            entry.row_when_written.clone()
        }
    }

    /// Reads at most `limit` changes after a position.
    pub(super) fn read_log(&self, after: Position, limit: usize) -> LogPage {
        if !self.has_position(after) {
            return None;
        }
        let entries = self.entries_after(after.seq.max(self.first_log_seq - 1)).take(limit);
        let change = |entry: &LogEntry| Change {
            pos: entry.pos,
            op: entry.op,
            row: self.read_row(entry),
        };
        Some(
            entries
                .map(|entry| Arc::new(EncodedChange::new(change(entry), &self.epoch)))
                .collect(),
        )
    }

    /// Reads at most `rows` messages of a thread after a `message_seq`.
    pub(super) fn read_page(&self, thread_id: &str, after: i64, rows: usize) -> ThreadPage {
        let Some(thread) = self.threads.get(thread_id) else {
            return ThreadPage::default();
        };
        let kept = thread.messages.iter().filter(|m| m.message_seq >= thread.first_seq);
        let found: Vec<_> = kept.filter(|m| m.message_seq > after).cloned().collect();
        ThreadPage {
            has_more: found.len() > rows,
            messages: found.into_iter().take(rows).collect(),
        }
    }

    /// Reads the start of a subscription.
    pub(super) fn read_opening(&self, thread_id: &str, start: Start) -> ThreadOpening {
        let after = match start {
            Start::After(seq) => seq,
            Start::LastAck => self.acks.get(thread_id).copied().unwrap_or(0),
        };
        let thread = self.threads.get(thread_id);
        ThreadOpening {
            after,
            first_seq: thread.map_or(1, |t| t.first_seq),
            last_seq: thread.map_or(0, Thread::last_seq),
            id_at: self.message_id(thread_id, after),
        }
    }

    /// Returns the id of a message, unless it is pruned.
    pub(super) fn message_id(&self, thread_id: &str, seq: i64) -> Option<String> {
        let thread = self.threads.get(thread_id)?;
        let message = self.message(thread_id, seq)?;
        (seq >= thread.first_seq).then(|| message.id.clone())
    }
}
