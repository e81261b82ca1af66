//! The file as plain lists, and what reading it gives.
//!
//! For: saying what is true. Nothing here is clever, bounded or fast.
//! Not for: what a client should make of it (`judge`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::hub::encoded_change::EncodedChange;
use crate::store::{
    AgentRow, Change, InboxRow, MessageRow, Op, Position, Row, Start, Table, TaskRow, TelemetryRow, ThreadOpening,
    ThreadPage, ThreadRow, UnreadableRow,
};

/// Changes; `None` if the log does not have the position they were asked for after.
pub(super) type LogPage = Option<Vec<Arc<EncodedChange>>>;

/// Which row a line of the log is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Message(String, i64),
    Mail(usize),
    Telemetry(usize),
    Task(usize),
    Thread(String),
    Agent,
    Rejected,
}

/// One line of the log, with its row as it was at that moment.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) pos: Position,
    pub(super) op: Op,
    pub(super) what: What,
    then: Row,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Thread {
    row: ThreadRow,
    /// All of them; those before `first` are pruned.
    pub(super) messages: Vec<MessageRow>,
    pub(super) first: i64,
    /// Its own row cannot be read.
    pub(super) spoiled: bool,
}

impl Thread {
    pub(super) fn last(&self) -> i64 {
        self.row.last_seq
    }

    /// Tells one state from an older one: the last number, and how often the title changed.
    pub(super) fn state(&self) -> (i64, i64) {
        (self.row.last_seq, version(&self.row.title))
    }

    fn seen(&self) -> ThreadRow {
        if self.spoiled {
            ThreadRow::default()
        } else {
            self.row.clone()
        }
    }
}

/// The file.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) epoch: Arc<str>,
    /// All of it; what is before `kept` is pruned.
    pub(super) log: Vec<Line>,
    pub(super) kept: i64,
    pub(super) threads: BTreeMap<String, Thread>,
    pub(super) mail: Vec<InboxRow>,
    telemetry: Vec<TelemetryRow>,
    tasks: Vec<TaskRow>,
    /// Mail, telemetry and task events before these are pruned.
    rows_kept: [usize; 3],
    pub(super) acks: BTreeMap<String, i64>,
    /// Never used twice, not even after the file was put back to an earlier state.
    pub(super) serial: i64,
    /// A row is shown as it is when it is read, as in the real file. Otherwise as it was
    /// when its line was written, so that states come in an order that can be checked.
    pub(super) as_read: bool,
}

/// The number in a text such as `v3`.
pub(super) fn version(text: &str) -> i64 {
    text.trim_start_matches('v').parse().unwrap_or(0)
}

impl File {
    pub(super) fn new(serial: i64, as_read: bool) -> Self {
        Self {
            epoch: format!("e{serial}").into(),
            log: Vec::new(),
            kept: 1,
            threads: BTreeMap::new(),
            mail: Vec::new(),
            telemetry: Vec::new(),
            tasks: Vec::new(),
            rows_kept: [0; 3],
            acks: BTreeMap::new(),
            serial: serial + 1,
            as_read,
        }
    }

    // ---- what agents do -----------------------------------------------------------------

    fn next_serial(&mut self) -> i64 {
        self.serial += 1;
        self.serial
    }

    fn append(&mut self, op: Op, what: What) {
        let tag = self.next_serial().wrapping_mul(0x9E37_79B1) & 0xFFFF_FFFF;
        let seq = self.head().seq + 1;
        let then = self.now(&what);
        self.log.push(Line {
            pos: Position { seq, tag },
            op,
            what,
            then,
        });
    }

    pub(super) fn make_thread(&mut self, id: &str) {
        if self.threads.contains_key(id) {
            return;
        }
        let row = ThreadRow {
            id: id.to_owned(),
            title: "v0".into(),
            status: "active".into(),
            ..ThreadRow::default()
        };
        let thread = Thread {
            row,
            first: 1,
            ..Thread::default()
        };
        self.threads.insert(id.to_owned(), thread);
        self.append(Op::Insert, What::Thread(id.to_owned()));
    }

    pub(super) fn post(&mut self, id: &str, bytes: usize) {
        self.make_thread(id);
        let serial = self.next_serial();
        let Some(thread) = self.threads.get_mut(id) else { return };
        thread.row.last_seq += 1;
        let message_seq = thread.row.last_seq;
        thread.messages.push(MessageRow {
            id: format!("m{serial}"),
            thread_id: id.to_owned(),
            message_seq,
            content: "x".repeat(bytes),
            ..MessageRow::default()
        });
        self.append(Op::Insert, What::Message(id.to_owned(), message_seq));
    }

    /// Changes a state of a message that is no event of its own.
    pub(super) fn touch_message(&mut self, id: &str) {
        if let Some(last) = self.threads.get(id).map(Thread::last).filter(|last| *last > 0) {
            self.append(Op::Update, What::Message(id.to_owned(), last));
        }
    }

    pub(super) fn retitle(&mut self, id: &str) {
        if let Some(thread) = self.threads.get_mut(id) {
            thread.row.title = format!("v{}", version(&thread.row.title) + 1);
            self.append(Op::Update, What::Thread(id.to_owned()));
        }
    }

    pub(super) fn send_mail(&mut self) {
        let serial = self.next_serial();
        self.mail.push(InboxRow {
            id: format!("i{serial}"),
            title: "v0".into(),
            ..InboxRow::default()
        });
        self.append(Op::Insert, What::Mail(self.mail.len() - 1));
    }

    pub(super) fn touch_mail(&mut self, which: usize) {
        let n = which % self.mail.len().max(1);
        if n >= self.rows_kept[0]
            && let Some(mail) = self.mail.get_mut(n)
        {
            mail.title = format!("v{}", version(&mail.title) + 1);
            self.append(Op::Update, What::Mail(n));
        }
    }

    /// A row of telemetry says in `turns` which line of the log it is.
    pub(super) fn report(&mut self, instance: &str) {
        self.telemetry.push(TelemetryRow {
            instance_id: instance.to_owned(),
            turns: Some(self.head().seq + 1),
            ..TelemetryRow::default()
        });
        self.append(Op::Insert, What::Telemetry(self.telemetry.len() - 1));
    }

    pub(super) fn work(&mut self) {
        let id = self.next_serial();
        self.tasks.push(TaskRow {
            id,
            task_id: format!("k{id}"),
            stream_type: "text".into(),
            ..TaskRow::default()
        });
        self.append(Op::Insert, What::Task(self.tasks.len() - 1));
    }

    pub(super) fn note(&mut self, what: What) {
        self.append(Op::Insert, what);
    }

    // ---- what its owner does ------------------------------------------------------------

    /// Prunes all but the last `keep` messages of a thread, and of the other rows.
    pub(super) fn prune(&mut self, id: &str, keep: usize) {
        if let Some(thread) = self.threads.get_mut(id) {
            let last = thread.row.last_seq;
            thread.first = thread.first.max(last + 1 - i64::try_from(keep).unwrap_or(0));
        }
        let lengths = [self.mail.len(), self.telemetry.len(), self.tasks.len()];
        for (kept, length) in self.rows_kept.iter_mut().zip(lengths) {
            *kept = (*kept).max(length.saturating_sub(keep));
        }
    }

    /// Prunes all but the last `keep` lines of the log; never the very last.
    pub(super) fn prune_log(&mut self, keep: usize) {
        let keep = i64::try_from(keep.max(1)).unwrap_or(1);
        self.kept = self.kept.max(self.head().seq + 1 - keep);
    }

    /// This file takes the place of one that was. What that one had pruned does not come
    /// back: a client that was told nothing of it could not be told now.
    pub(super) fn comes_after(&mut self, other: &Self) {
        self.serial = other.serial;
        self.kept = self.kept.max(other.kept.min(self.head().seq.max(1)));
        for (kept, others) in self.rows_kept.iter_mut().zip(other.rows_kept) {
            *kept = others.max(*kept);
        }
        for (id, thread) in &mut self.threads {
            let others = other.threads.get(id).map_or(1, |t| t.first);
            thread.first = thread.first.max(others.min(thread.row.last_seq + 1));
        }
    }

    // ---- reading ------------------------------------------------------------------------

    pub(super) fn head(&self) -> Position {
        self.log.last().map_or(Position::START, |line| line.pos)
    }

    /// A line that is kept.
    pub(super) fn line(&self, seq: i64) -> Option<&Line> {
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.log.get(at).filter(|_| seq >= self.kept)
    }

    pub(super) fn has(&self, pos: Position) -> bool {
        pos == Position::START || self.line(pos.seq).is_some_and(|line| line.pos == pos)
    }

    /// All lines after a number, pruned or not.
    pub(super) fn lines_after(&self, seq: i64) -> impl Iterator<Item = &Line> {
        self.log.iter().skip(usize::try_from(seq).unwrap_or(0))
    }

    /// Whether the row behind a line was pruned.
    pub(super) fn is_gone(&self, line: &Line) -> bool {
        match &line.what {
            What::Message(thread, seq) => *seq < self.threads[thread].first,
            What::Mail(n) => *n < self.rows_kept[0],
            What::Telemetry(n) => *n < self.rows_kept[1],
            What::Task(n) => *n < self.rows_kept[2],
            What::Thread(_) | What::Agent | What::Rejected => false,
        }
    }

    /// Whether an event's id is that of the line's row.
    pub(super) fn is_about(&self, line: &Line, id: &str) -> bool {
        match &line.what {
            What::Message(..) => self.message(line).is_some_and(|m| m.id == id),
            What::Mail(n) => self.mail[*n].id == id,
            What::Task(n) => self.tasks[*n].task_id == id,
            _ => false,
        }
    }

    fn message(&self, line: &Line) -> Option<&MessageRow> {
        match &line.what {
            What::Message(thread, seq) => self.threads[thread].messages.get(usize::try_from(seq - 1).ok()?),
            _ => None,
        }
    }

    pub(super) fn instance(&self, line: &Line) -> Option<&str> {
        match &line.what {
            What::Telemetry(n) => Some(&self.telemetry[*n].instance_id),
            _ => None,
        }
    }

    /// The version of a line's mail when the line was written.
    pub(super) fn mail_then(line: &Line) -> i64 {
        match &line.then {
            Row::Inbox(mail) => version(&mail.title),
            _ => 0,
        }
    }

    /// The thread whose state a line tells, and that state when the line was written.
    pub(super) fn state_then<'a>(&self, line: &'a Line) -> Option<(&'a str, (i64, i64))> {
        let (Row::Message(_, thread) | Row::Thread(thread)) = &line.then else {
            return None;
        };
        let known = self.threads.get(&thread.id).is_some_and(|t| !t.spoiled);
        let tells = known && !self.is_gone(line) && (line.op == Op::Insert || matches!(line.what, What::Thread(_)));
        tells.then_some((thread.id.as_str(), (thread.last_seq, version(&thread.title))))
    }

    fn now(&self, what: &What) -> Row {
        match what {
            What::Message(id, seq) => {
                let thread = &self.threads[id];
                let at = usize::try_from(seq - 1).unwrap_or(0);
                Row::Message(thread.messages[at].clone(), thread.seen())
            }
            What::Mail(n) => Row::Inbox(self.mail[*n].clone()),
            What::Telemetry(n) => Row::Telemetry(self.telemetry[*n].clone()),
            What::Task(n) => Row::Task(self.tasks[*n].clone()),
            What::Thread(id) if !self.threads[id].spoiled => Row::Thread(self.threads[id].row.clone()),
            What::Agent => Row::Agent(AgentRow::default()),
            What::Thread(_) | What::Rejected => Row::Unreadable(UnreadableRow {
                table: "threads",
                row: 1,
                reason: "spoiled".into(),
            }),
        }
    }

    fn row(&self, line: &Line) -> Row {
        if self.is_gone(line) {
            Row::Pruned(match line.what {
                What::Message(..) => Table::Messages,
                What::Mail(_) => Table::Inbox,
                What::Telemetry(_) => Table::Telemetry,
                What::Task(_) => Table::Tasks,
                What::Thread(_) => Table::Threads,
                What::Agent | What::Rejected => Table::Agents,
            })
        } else if self.as_read {
            self.now(&line.what)
        } else {
            line.then.clone()
        }
    }

    /// The log after a position.
    pub(super) fn log_after(&self, after: Position, limit: usize) -> LogPage {
        if !self.has(after) {
            return None;
        }
        let lines = self.lines_after(after.seq.max(self.kept - 1)).take(limit);
        let change = |line: &Line| Change {
            pos: line.pos,
            op: line.op,
            row: self.row(line),
        };
        Some(
            lines
                .map(|line| Arc::new(EncodedChange::new(change(line), &self.epoch)))
                .collect(),
        )
    }

    pub(super) fn page(&self, id: &str, after: i64, rows: usize) -> ThreadPage {
        let Some(thread) = self.threads.get(id) else {
            return ThreadPage::default();
        };
        let kept = thread.messages.iter().filter(|m| m.message_seq >= thread.first);
        let found: Vec<_> = kept.filter(|m| m.message_seq > after).cloned().collect();
        ThreadPage {
            has_more: found.len() > rows,
            messages: found.into_iter().take(rows).collect(),
        }
    }

    pub(super) fn open(&self, id: &str, start: Start) -> ThreadOpening {
        let after = match start {
            Start::After(seq) => seq,
            Start::LastAck => self.acks.get(id).copied().unwrap_or(0),
        };
        let thread = self.threads.get(id);
        ThreadOpening {
            after,
            first_seq: thread.map_or(1, |t| t.first),
            last_seq: thread.map_or(0, Thread::last),
            id_at: self.id_at(id, after),
        }
    }

    /// The id of a message that is kept.
    pub(super) fn id_at(&self, id: &str, seq: i64) -> Option<String> {
        let thread = self.threads.get(id)?;
        let message = thread.messages.get(usize::try_from(seq.checked_sub(1)?).ok()?)?;
        (seq >= thread.first).then(|| message.id.clone())
    }
}
