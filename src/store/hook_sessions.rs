//! State that the short-lived hook processes of one session share through the database: the last
//! totals, the task's turn and status, and how often a stop was blocked.

use std::collections::BTreeSet;

use rusqlite::config::DbConfig;
use rusqlite::{OptionalExtension, params};

use super::connection::{Reader, Writer};
use super::telemetry::TelemetryRow;
use crate::error::Result;

/// Prefix of the keys in the `hub` table that count a reader's continuations.
const CONTINUATIONS_KEY: &str = "continued:";
/// Size in bytes up to which a hook leaves the write-ahead log without a checkpoint. Reading that much
/// takes about 1 ms (250 frames, the writes of about 40 hooks).
const MAX_WAL_LEFT: u64 = 1 << 20;
/// Milliseconds after which the count of continuations starts from 0.
const CONTINUATION_WINDOW: i64 = 3_600_000;

/// Number of the newest events of a task among which [`Writer::oldest_open_call`] looks for a call.
const CALL_WINDOW: i64 = 200;
/// The calls of the tool `?2` in the task `?1` and their results, newest first: whether it is a result, the call's
/// id, and whether the input is `?3`.
const NEWEST_CALLS: &str = "SELECT stream_type = 'tool_result', call_id, coalesce(tool_input = ?3, 0) \
     FROM (SELECT * FROM task_stream WHERE task_id = ?1 ORDER BY id DESC LIMIT ?4) \
     WHERE stream_type IN ('tool_use', 'tool_result') AND tool_name = ?2 AND call_id <> '' ORDER BY id DESC";

/// The maximum numbers of continuations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContinuationLimits {
    /// In an hour.
    pub an_hour: i64,
    /// Since the last prompt.
    pub in_a_row: i64,
}

/// Whether a continuation follows another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContinuationRow {
    /// It is the first one since the last prompt.
    Begins,
    /// It follows another one.
    Continues,
}

/// The continuations that the limits allow after this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuations {
    /// At least one more.
    Left,
    /// None: this is the last one.
    Last,
}

/// The continuations of a reader so far. As text: three numbers; a previous version wrote the first two.
#[derive(Debug, Clone, Copy)]
struct Counted {
    since: i64,
    count: i64,
    in_a_row: i64,
}

impl Counted {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(str::parse);
        Some(Self {
            since: numbers.next()?.ok()?,
            count: numbers.next()?.ok()?,
            in_a_row: numbers.next().and_then(Result::ok).unwrap_or(0),
        })
    }
}

/// A task's turn and status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskProgress {
    /// The turn of the newest event; 0 if there is none.
    pub turn: i64,
    /// The last status; empty if there is none.
    pub status: String,
}

impl Reader {
    /// Returns the newest totals of an instance. `None` if there are none or they are unreadable.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn totals(&self, instance_id: &str) -> Result<Option<TelemetryRow>> {
        let newest: Option<i64> = self
            .conn
            .prepare_cached("SELECT max(id) FROM telemetry WHERE instance_id = ?1")?
            .query_row([instance_id], |row| row.get(0))?;
        Ok(match newest {
            Some(id) => self.telemetry_row(id)?.and_then(Result::ok),
            None => None,
        })
    }

    /// Returns the model's texts in a task since the user's last prompt, in order.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn texts_since_prompt(&self, task_id: &str) -> Result<Vec<String>> {
        let sql = "SELECT CAST(text AS TEXT) FROM task_stream WHERE task_id = ?1 AND stream_type = 'text' AND text <> '' \
                   AND id > coalesce((SELECT max(id) FROM task_stream WHERE task_id = ?1 AND directive <> ''), 0) \
                   ORDER BY id";
        let mut statement = self.conn.prepare_cached(sql)?;
        let texts = statement.query_map([task_id], |row| row.get(0))?;
        Ok(texts.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns when a hook of the tool with this id was last heard of, Unix milliseconds: the time of the newest
    /// event of a session of it. `None` if there is none.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn last_hook_event(&self, tool: &str) -> Result<Option<i64>> {
        let (from, to) = (format!("{tool}-"), format!("{tool}."));
        let session: Option<i64> = self
            .conn
            .prepare_cached("SELECT max(last_event_at) FROM sessions WHERE id BETWEEN ?1 AND ?2")?
            .query_row([&from, &to], |row| row.get(0))?;
        let event: Option<i64> = self
            .conn
            .prepare_cached(
                "SELECT created_at FROM task_stream \
                 WHERE id = (SELECT max(id) FROM task_stream WHERE task_id BETWEEN ?1 AND ?2)",
            )?
            .query_row([&from, &to], |row| row.get(0))
            .optional()?
            .flatten();
        Ok(session.max(event))
    }

    /// Returns a task's turn and status. Returns defaults if the task has no events.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn task_progress(&self, task_id: &str) -> Result<TaskProgress> {
        let turn: Option<Option<i64>> = self
            .conn
            .prepare_cached("SELECT turn_num FROM task_stream WHERE task_id = ?1 ORDER BY id DESC LIMIT 1")?
            .query_row([task_id], |row| row.get(0))
            .optional()?;
        let status: Option<Option<String>> = self
            .conn
            .prepare_cached(
                "SELECT status FROM task_stream WHERE task_id = ?1 AND stream_type = 'status' ORDER BY id DESC LIMIT 1",
            )?
            .query_row([task_id], |row| row.get(0))
            .optional()?;
        Ok(TaskProgress {
            turn: turn.flatten().unwrap_or(0),
            status: status.flatten().unwrap_or_default(),
        })
    }

    /// Returns whether the last turn of a task has not ended.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn is_turn_open(&self, task_id: &str) -> Result<bool> {
        let last: Option<String> = self
            .conn
            .prepare_cached(
                "SELECT stream_type FROM task_stream WHERE task_id = ?1 AND stream_type IN ('turn_start', 'turn_end') \
                 ORDER BY id DESC LIMIT 1",
            )?
            .query_row([task_id], |row| row.get(0))
            .optional()?;
        Ok(last.as_deref() == Some("turn_start"))
    }
}

impl Writer {
    /// Configures the connection for a process that writes a few rows and ends while a tool waits
    /// for it.
    ///
    /// * `synchronous=NORMAL`: commits survive a crash of any process, but not a power failure.
    /// * No checkpoint on close while the log is below 1 MiB. Otherwise the last connection to close
    ///   would run one, with five syncs of the disk. A longer log would slow down the next process,
    ///   which has to read it.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn configure_for_short_process(&self) -> Result<()> {
        self.conn.pragma_update(None, "synchronous", "NORMAL")?;
        let leave_wal = self.file_status().wal_size < MAX_WAL_LEFT;
        self.conn
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leave_wal)?;
        Ok(())
    }

    /// Counts one more continuation (a blocked stop) of `reader`. Returns `None`, and counts nothing, if a limit
    /// was reached. The hour begins with the first continuation. The count is in the database because each hook is
    /// a separate process, and is committed before the stop is blocked.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn count_continuation(
        &self,
        reader: &str,
        now: i64,
        row: ContinuationRow,
        limits: ContinuationLimits,
    ) -> Result<Option<Continuations>> {
        let key = format!("{CONTINUATIONS_KEY}{reader}");
        self.atomically(|| {
            let before: Option<String> = self
                .conn
                .prepare_cached("SELECT value FROM hub WHERE key = ?1")?
                .query_row([&key], |row| row.get(0))
                .optional()?;
            let counted = before.as_deref().and_then(Counted::parse);
            let in_a_row = match row {
                ContinuationRow::Begins => 0,
                ContinuationRow::Continues => counted.map_or(0, |counted| counted.in_a_row),
            };
            let (since, count) = counted
                .filter(|counted| (0..CONTINUATION_WINDOW).contains(&(now - counted.since)))
                .map_or((now, 0), |counted| (counted.since, counted.count));
            let left = (limits.an_hour - count).min(limits.in_a_row - in_a_row);
            if left <= 0 {
                return Ok(None);
            }
            self.conn
                .prepare_cached(
                    "INSERT INTO hub(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                )?
                .execute([&key, &format!("{since} {} {}", count + 1, in_a_row + 1)])?;
            Ok(Some(if left == 1 {
                Continuations::Last
            } else {
                Continuations::Left
            }))
        })
    }

    /// Returns a new id for a tool call, for a tool that has none.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn new_call_id(&self) -> Result<String> {
        let newest: Option<i64> = self
            .conn
            .prepare_cached("SELECT max(id) FROM task_stream")?
            .query_row([], |row| row.get(0))?;
        Ok(format!("call-{}", newest.unwrap_or(0) + 1))
    }

    /// Returns the id of the call of `tool_name` in this task that has no result yet: the oldest one with this
    /// input, or else the oldest one. Only the newest events are considered.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn oldest_open_call(&self, task_id: &str, tool_name: &str, tool_input: &str) -> Result<Option<String>> {
        let mut statement = self.conn.prepare_cached(NEWEST_CALLS)?;
        let mut rows = statement.query(params![task_id, tool_name, tool_input, CALL_WINDOW])?;
        let mut closed = BTreeSet::new();
        let (mut oldest, mut oldest_with_input) = (None, None);
        // The newest event comes first: a result before its call.
        while let Some(row) = rows.next()? {
            let call_id: String = row.get(1)?;
            if row.get::<_, bool>(0)? {
                closed.insert(call_id);
            } else if !closed.contains(&call_id) {
                if row.get(2)? {
                    oldest_with_input = Some(call_id.clone());
                }
                oldest = Some(call_id);
            }
        }
        Ok(oldest_with_input.or(oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::temp_database;
    use super::super::{NewTaskEvent, NewTelemetry};
    use super::*;
    use crate::protocol::TaskStreamEventType;

    #[test]
    fn counts_continuations_per_hour_reader_and_row() {
        use ContinuationRow::{Begins, Continues};
        use Continuations::{Last, Left};
        let (_dir, writer) = temp_database();
        let limits = ContinuationLimits {
            an_hour: 4,
            in_a_row: 3,
        };
        let count = |reader: &str, now, row| writer.count_continuation(reader, now, row, limits).unwrap();
        let counted: Vec<_> = [Begins, Continues, Continues, Continues]
            .into_iter()
            .map(|row| count("a", 0, row))
            .collect();
        assert_eq!(counted, [Some(Left), Some(Left), Some(Last), None]);
        assert_eq!(count("b", 5, Begins), Some(Left), "each reader has its own count");
        assert_eq!(count("a", 1, Begins), Some(Last), "the last one in this hour");
        assert_eq!(count("a", CONTINUATION_WINDOW - 1, Begins), None);
        assert_eq!(count("a", CONTINUATION_WINDOW, Begins), Some(Left));
        // The count also starts from 0 when the clock was set back.
        assert_eq!(count("a", -CONTINUATION_WINDOW, Begins), Some(Left));
        // The value of a previous version.
        let sql = "UPDATE hub SET value = '0 4' WHERE key = 'continued:a'";
        writer.conn.execute(sql, []).unwrap();
        assert_eq!(count("a", 1, Begins), None);
    }

    #[test]
    fn a_result_belongs_to_the_oldest_open_call_of_its_tool() {
        let (_dir, writer) = temp_database();
        let record = |stream_type: TaskStreamEventType, tool: &str, input: &str, call: &str| {
            let event = NewTaskEvent {
                task_id: "t".into(),
                stream_type,
                tool_name: tool.into(),
                tool_input: input.into(),
                call_id: call.into(),
                ..NewTaskEvent::default()
            };
            writer.record_task_event(&event).unwrap();
        };
        let open = |tool: &str, input: &str| writer.oldest_open_call("t", tool, input).unwrap();
        assert_eq!(open("shell", "ls"), None);
        for (tool, input, call) in [
            ("shell", "ls", "1"),
            ("read", "ls", "2"),
            ("shell", "pwd", "3"),
            ("shell", "ls", "4"),
        ] {
            record(TaskStreamEventType::TOOL_USE, tool, input, call);
        }
        assert_eq!(open("shell", "ls").as_deref(), Some("1"));
        assert_eq!(open("shell", "pwd").as_deref(), Some("3"));
        assert_eq!(open("shell", "other").as_deref(), Some("1"));
        record(TaskStreamEventType::TOOL_RESULT, "shell", "", "1");
        assert_eq!(open("shell", "ls").as_deref(), Some("4"));
        assert_ne!(writer.new_call_id().unwrap(), "");
    }

    #[test]
    fn totals_returns_the_newest_row() {
        let (_dir, writer) = temp_database();
        assert_eq!(writer.totals("i").unwrap(), None);
        for turns in 1..=2 {
            let new = NewTelemetry {
                instance_id: "i".into(),
                turns: Some(turns),
                ..NewTelemetry::default()
            };
            writer.record_telemetry(&new).unwrap();
        }
        assert_eq!(writer.totals("i").unwrap().unwrap().turns, Some(2));
    }
}
