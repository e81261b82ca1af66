//! The `task_stream` table: the events of tasks, and a summary for each task.
//!
//! Tokens and costs of task events count the same usage as `telemetry`, so the two are never added.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::connection::{Reader, Writer};
use super::pagination::{PAGE_BYTES, Page};
use super::row_reader::{RowReader, UnreadableRow};
use crate::error::{Code, Error, Result};
use crate::protocol::{TaskStreamEvent, TaskStreamEventType};

const COLUMNS: &str = "id, task_id, stream_type, thread_id, turn_num, text, tool_name, tool_input, tool_output, \
     error_msg, status, tokens_in, tokens_out, cost, duration_sec, workspace, directive, directive_full, agent_id, \
     source_type, call_id, parent_call_id, model, created_at";

/// Maximum number of a task's events between the begin of a tool call and its end.
const MAX_CALL_EVENTS: i64 = 1000;

/// One row of the `task_stream` table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TaskEventRow {
    /// Primary key.
    pub id: i64,
    /// The task.
    pub task_id: String,
    /// The type of the event: one of [`crate::protocol::TaskStreamEventType`]'s, or another.
    pub stream_type: String,
    /// The thread it belongs to.
    pub thread_id: String,
    /// The turn of the model, from 1.
    pub turn_num: Option<i64>,
    /// Text from the model.
    pub text: String,
    /// The tool's name.
    pub tool_name: String,
    /// The tool's input.
    pub tool_input: String,
    /// The tool's output.
    pub tool_output: String,
    /// Error message.
    pub error_msg: String,
    /// running, completed, failed.
    pub status: String,
    /// Tokens in.
    pub tokens_in: Option<i64>,
    /// Tokens out.
    pub tokens_out: Option<i64>,
    /// US dollars.
    pub cost: Option<f64>,
    /// Seconds.
    pub duration_sec: Option<i64>,
    /// Working directory.
    pub workspace: String,
    /// The task's prompt, shortened.
    pub directive: String,
    /// The task's prompt, complete.
    pub directive_full: String,
    /// The agent that runs the task.
    pub agent_id: String,
    /// The source of the event: coordinator, eval, github, direct …
    pub source_type: String,
    /// Id of a tool call, the same in its `tool_use` and its `tool_result`.
    pub call_id: String,
    /// Id of the call that made this one (a subagent's).
    pub parent_call_id: String,
    /// The model.
    pub model: String,
    /// Unix milliseconds.
    pub created_at: i64,
}

impl TaskEventRow {
    fn read(row: &rusqlite::Row<'_>) -> Result<Self, UnreadableRow> {
        let mut values = RowReader::new(row);
        let task = Self {
            id: values.int(),
            task_id: values.text(),
            stream_type: values.text(),
            thread_id: values.text(),
            turn_num: values.maybe_int(),
            text: values.text(),
            tool_name: values.text(),
            tool_input: values.text(),
            tool_output: values.text(),
            error_msg: values.text(),
            status: values.text(),
            tokens_in: values.maybe_int(),
            tokens_out: values.maybe_int(),
            cost: values.maybe_real(),
            duration_sec: values.maybe_int(),
            workspace: values.text(),
            directive: values.text(),
            directive_full: values.text(),
            agent_id: values.text(),
            source_type: values.text(),
            call_id: values.text(),
            parent_call_id: values.text(),
            model: values.text(),
            created_at: values.int(),
        };
        values.accept("task_stream", task.id, task)
    }

    /// Returns the event in the compatible form.
    pub fn event(&self) -> TaskStreamEvent {
        TaskStreamEvent {
            task_id: self.task_id.clone(),
            thread_id: self.thread_id.clone(),
            stream_type: self.stream_type.clone().into(),
            turn_num: self.turn_num.unwrap_or(0),
            text: self.text.clone(),
            tool_name: self.tool_name.clone(),
            tool_input: self.tool_input.clone(),
            tool_output: self.tool_output.clone(),
            error_msg: self.error_msg.clone(),
            status: self.status.clone(),
            tokens_in: self.tokens_in.unwrap_or(0),
            tokens_out: self.tokens_out.unwrap_or(0),
            cost: self.cost.unwrap_or(0.0),
            duration_sec: self.duration_sec.unwrap_or(0),
            workspace: self.workspace.clone(),
            directive: self.directive.clone(),
            directive_full: self.directive_full.clone(),
            agent_id: self.agent_id.clone(),
            source_type: self.source_type.clone(),
            ..TaskStreamEvent::default()
        }
    }

    /// Returns the event in the extended form, for clients that asked for `streams`.
    pub fn extended(&self) -> TaskStreamEvent {
        TaskStreamEvent {
            id: self.id,
            call_id: self.call_id.clone(),
            parent_call_id: self.parent_call_id.clone(),
            model: self.model.clone(),
            created_at: self.created_at,
            ..self.event()
        }
    }

    /// Returns the approximate size in bytes, in memory and on the wire.
    pub fn weight(&self) -> usize {
        let texts = [
            &self.task_id,
            &self.stream_type,
            &self.thread_id,
            &self.text,
            &self.tool_name,
            &self.tool_input,
            &self.tool_output,
            &self.error_msg,
            &self.status,
            &self.workspace,
            &self.directive,
            &self.directive_full,
            &self.agent_id,
            &self.source_type,
            &self.call_id,
            &self.parent_call_id,
            &self.model,
        ];
        300 + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// A task event to write: the body of `POST /api/tasks/{id}/events`. Empty and zero fields are stored as NULL.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewTaskEvent {
    /// The task. In HTTP it is part of the path.
    #[serde(skip)]
    pub task_id: String,
    /// The type of the event.
    pub stream_type: TaskStreamEventType,
    /// The thread it belongs to.
    pub thread_id: String,
    /// The turn of the model, from 1.
    pub turn_num: i64,
    /// Text from the model.
    pub text: String,
    /// The tool's name.
    pub tool_name: String,
    /// The tool's input.
    pub tool_input: String,
    /// The tool's output.
    pub tool_output: String,
    /// Error message.
    pub error_msg: String,
    /// running, completed, failed.
    pub status: String,
    /// Tokens in; never added to telemetry's.
    pub tokens_in: i64,
    /// Tokens out; never added to telemetry's.
    pub tokens_out: i64,
    /// US dollars; never added to telemetry's.
    pub cost: f64,
    /// Seconds.
    pub duration_sec: i64,
    /// Working directory.
    pub workspace: String,
    /// The task's prompt, shortened.
    pub directive: String,
    /// The task's prompt, complete.
    pub directive_full: String,
    /// The agent that runs the task.
    pub agent_id: String,
    /// The source of the event: coordinator, eval, github, direct …
    pub source_type: String,
    /// Id of a tool call, the same in its `tool_use` and its `tool_result`.
    pub call_id: String,
    /// Id of the call that made this one (a subagent's).
    pub parent_call_id: String,
    /// The model.
    pub model: String,
    /// When it occurred, Unix milliseconds; `None` for now.
    #[serde(skip)]
    pub created_at: Option<i64>,
}

/// Summary of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TaskSummary {
    /// The task.
    pub task_id: String,
    /// The agent that runs the task.
    pub agent_id: String,
    /// Working directory.
    pub workspace: String,
    /// Its prompt, shortened.
    pub directive: String,
    /// The last status it reported.
    pub status: String,
    /// The model.
    pub model: String,
    /// The highest turn.
    pub turns: i64,
    /// Tokens in, summed over its turns.
    pub tokens_in: i64,
    /// Tokens out, summed over its turns.
    pub tokens_out: i64,
    /// US dollars, summed over its turns.
    pub cost: f64,
    /// Time of its first event, Unix milliseconds.
    pub started_at: i64,
    /// Time of its last event, Unix milliseconds.
    pub updated_at: i64,
    /// The type of its last event.
    pub last_type: String,
    /// Number of events.
    pub events: i64,
    /// Number of `error` events, and of `tool_result` events with an `error_msg` or the status failed or error.
    pub errors: i64,
    /// `id` of its last event; tasks are listed in this order.
    pub last_id: i64,
}

impl TaskSummary {
    fn read(row: &rusqlite::Row<'_>) -> Self {
        let mut values = RowReader::new(row);
        Self {
            task_id: values.text(),
            agent_id: values.text(),
            workspace: values.text(),
            directive: values.text(),
            status: values.text(),
            model: values.text(),
            turns: values.int(),
            tokens_in: values.int(),
            tokens_out: values.int(),
            cost: values.maybe_real().unwrap_or(0.0),
            started_at: values.int(),
            updated_at: values.int(),
            last_type: values.text(),
            events: values.int(),
            errors: values.int(),
            last_id: values.int(),
        }
    }

    fn weight(&self) -> usize {
        let texts = [
            &self.task_id,
            &self.agent_id,
            &self.workspace,
            &self.directive,
            &self.status,
            &self.model,
            &self.last_type,
        ];
        300 + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// A tool call of a task.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// The tool's name.
    pub name: &'a str,
    /// The tool's input.
    pub input: &'a str,
    /// Unix milliseconds.
    pub at: i64,
}

/// The tool calls of the task `?1` from the event `?2` on, newest first.
const TOOL_CALLS: &str = "SELECT tool_name, tool_input, created_at FROM task_stream \
     WHERE task_id = ?1 AND id >= ?2 AND stream_type = 'tool_use' ORDER BY id DESC";

/// The `id` of the event of the task `?1` that `?2` newer ones follow.
const NTH_NEWEST: &str = "SELECT id FROM task_stream WHERE task_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2";

/// Number of the newest events in which a list looks for tasks before it goes from task to task.
const WINDOW: i64 = 20_000;

/// The events with an `id` from `?1` on and below `?2` that are the newest of their task; newest first, at
/// most `?3`. Stops at the last one, so its cost depends on the events of the tasks it returns.
const RECENT_TASKS: &str = "SELECT id FROM task_stream e WHERE id >= ?1 AND id < ?2 \
     AND NOT EXISTS (SELECT 1 FROM task_stream n WHERE n.task_id = e.task_id AND n.id > e.id) \
     ORDER BY id DESC LIMIT ?3";

/// The `id` of each task's newest event, if it is below `?1`; newest first, at most `?2`. A loose
/// index scan goes from task to task on the index `(task_id, id)`.
const TASKS: &str = "WITH RECURSIVE task(task_id) AS ( \
       SELECT min(task_id) FROM task_stream \
       UNION ALL \
       SELECT (SELECT min(task_id) FROM task_stream WHERE task_id > task.task_id) FROM task WHERE task.task_id IS NOT NULL \
     ) \
     SELECT (SELECT max(id) FROM task_stream s WHERE s.task_id = task.task_id) AS last_id \
     FROM task WHERE task_id IS NOT NULL AND last_id < ?1 ORDER BY last_id DESC LIMIT ?2";

/// The summary of the task whose newest event is `?1`.
const SUMMARY: &str = "SELECT p.task_id, max(nullif(s.agent_id, '')), max(nullif(s.workspace, '')), max(nullif(s.directive, '')), \
       (SELECT status FROM task_stream x WHERE x.task_id = p.task_id AND x.stream_type = 'status' AND x.status <> '' ORDER BY x.id DESC LIMIT 1), \
       max(nullif(s.model, '')), coalesce(max(s.turn_num), 0), \
       CAST(min(total(s.tokens_in), 9e18) AS INTEGER), CAST(min(total(s.tokens_out), 9e18) AS INTEGER), total(s.cost), \
       min(s.created_at), max(s.created_at), p.stream_type, \
       count(*), \
       sum(s.stream_type = 'error' OR s.stream_type = 'tool_result' AND (coalesce(s.error_msg, '') <> '' \
         OR coalesce(s.status, '') IN ('failed', 'error'))), p.id \
     FROM task_stream p JOIN task_stream s ON s.task_id = p.task_id WHERE p.id = ?1";

impl Reader {
    /// Returns at most `limit` tasks, and about 8 MiB, whose newest event is before the event `before`;
    /// most recently updated first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn tasks(&self, before: Option<i64>, limit: usize) -> Result<Page<TaskSummary>> {
        self.tasks_within(WINDOW, before, limit)
    }

    fn tasks_within(&self, window: i64, before: Option<i64>, limit: usize) -> Result<Page<TaskSummary>> {
        self.snapshot(|| {
            let newest = self.newest_events(window, before.unwrap_or(i64::MAX), limit.saturating_add(1))?;
            // Only the tasks of this page are aggregated.
            let mut summary = self.conn.prepare_cached(SUMMARY)?;
            let (mut page, mut weight) = (Page::new(), 0);
            for id in newest {
                if page.items.len() == limit || weight > PAGE_BYTES {
                    page.has_more = true;
                    break;
                }
                let task = summary.query_row([id], |row| Ok(TaskSummary::read(row)))?;
                weight += task.weight();
                page.items.push(task);
            }
            Ok(page)
        })
    }

    /// Returns the `id` of the newest event of at most `limit` tasks, those below `before`; newest first.
    fn newest_events(&self, window: i64, before: i64, limit: usize) -> Result<Vec<i64>> {
        let (first, last): (i64, i64) = self
            .conn
            .prepare_cached(
                "SELECT coalesce((SELECT min(id) FROM task_stream), 1), coalesce((SELECT max(id) FROM task_stream), 0)",
            )?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        // The ids are 1, 2, 3 …: a range of ids has as many events.
        let end = before.min(last + 1);
        let start = end.saturating_sub(window).max(first);
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut recent = self.conn.prepare_cached(RECENT_TASKS)?;
        let recent = recent.query_map(params![start, end, rows], |row| row.get(0))?;
        let mut newest = recent.collect::<rusqlite::Result<Vec<i64>>>()?;
        if newest.len() < limit && start > first {
            let missing = i64::try_from(limit - newest.len()).unwrap_or(i64::MAX);
            let mut older = self.conn.prepare_cached(TASKS)?;
            let older = older.query_map(params![start, missing], |row| row.get(0))?;
            newest.extend(older.collect::<rusqlite::Result<Vec<i64>>>()?);
        }
        Ok(newest)
    }

    /// Returns the summary of a task, or `None` if it has no events.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn task(&self, task_id: &str) -> Result<Option<TaskSummary>> {
        self.snapshot(|| {
            let newest: Option<i64> = self
                .conn
                .prepare_cached("SELECT max(id) FROM task_stream WHERE task_id = ?1")?
                .query_row([task_id], |row| row.get(0))?;
            let Some(id) = newest else { return Ok(None) };
            let mut summary = self.conn.prepare_cached(SUMMARY)?;
            Ok(Some(summary.query_row([id], |row| Ok(TaskSummary::read(row)))?))
        })
    }

    /// Passes the tool calls among the newest `limit` events of a task to `visit`, newest first, until their inputs
    /// have `bytes` bytes. Returns whether the task has older events.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn visit_tool_calls(
        &self,
        task_id: &str,
        (limit, bytes): (usize, usize),
        mut visit: impl FnMut(ToolCall<'_>),
    ) -> Result<bool> {
        self.snapshot(|| {
            let newer = i64::try_from(limit).unwrap_or(i64::MAX);
            let older: Option<i64> = self
                .conn
                .prepare_cached(NTH_NEWEST)?
                .query_row(params![task_id, newer], |row| row.get(0))
                .optional()?;
            let first = older.map_or(0, |id| id + 1);
            let mut statement = self.conn.prepare_cached(TOOL_CALLS)?;
            let mut rows = statement.query(params![task_id, first])?;
            let mut visited = 0;
            while let Some(row) = rows.next()? {
                if visited >= bytes {
                    return Ok(true);
                }
                // A row with values of other types has no name or input that could be shown.
                let text = |column| row.get_ref(column).ok().and_then(|value| value.as_str().ok());
                let input = text(1).unwrap_or_default();
                visited += input.len();
                visit(ToolCall {
                    name: text(0).unwrap_or_default(),
                    input,
                    at: row.get(2).unwrap_or_default(),
                });
            }
            Ok(older.is_some())
        })
    }

    /// Returns at most `limit` events of a task after the event `after`, and about 8 MiB, oldest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn task_events_after(&self, task_id: &str, after: i64, limit: usize) -> Result<Page<TaskEventRow>> {
        let sql = format!("SELECT {COLUMNS} FROM task_stream WHERE task_id = ?1 AND id > ?2 ORDER BY id");
        self.task_events(&sql, task_id, after, limit)
    }

    /// Returns at most `limit` events of a task before the event `before`, and about 8 MiB, newest
    /// first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn task_events_before(&self, task_id: &str, before: i64, limit: usize) -> Result<Page<TaskEventRow>> {
        let sql = format!("SELECT {COLUMNS} FROM task_stream WHERE task_id = ?1 AND id < ?2 ORDER BY id DESC");
        self.task_events(&sql, task_id, before, limit)
    }

    fn task_events(&self, sql: &str, task_id: &str, from: i64, limit: usize) -> Result<Page<TaskEventRow>> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let found = statement.query(params![task_id, from])?;
        Page::draw(
            found,
            limit,
            PAGE_BYTES,
            |row| TaskEventRow::read(row).ok(),
            TaskEventRow::weight,
        )
    }

    /// Returns the event with this id; `None` if there is none, or its row is unreadable.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn task_event(&self, id: i64) -> Result<Option<TaskEventRow>> {
        Ok(self.task_row(id)?.and_then(Result::ok))
    }

    /// Returns the input of the tool call that `result` ends: its own, or that of the event that began the call. Empty
    /// if it is unknown.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn call_input(&self, result: &TaskEventRow) -> Result<String> {
        if !result.tool_input.is_empty() || result.call_id.is_empty() {
            return Ok(result.tool_input.clone());
        }
        let found = self
            .conn
            .prepare_cached(
                "SELECT tool_input FROM (SELECT id, call_id, tool_input FROM task_stream \
                 WHERE task_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3) \
                 WHERE call_id = ?4 AND typeof(tool_input) = 'text' ORDER BY id DESC LIMIT 1",
            )?
            .query_row(
                params![result.task_id, result.id, MAX_CALL_EVENTS, result.call_id],
                |row| row.get(0),
            )
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    pub(super) fn task_row(&self, id: i64) -> Result<Option<Result<TaskEventRow, UnreadableRow>>> {
        let sql = format!("SELECT {COLUMNS} FROM task_stream WHERE id = ?1");
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row([id], |row| Ok(TaskEventRow::read(row)))
            .optional()?)
    }
}

impl Writer {
    /// Writes an event of a task. Empty and zero fields are stored as NULL.
    ///
    /// # Errors
    /// [`Code::Invalid`] if the schema rejects a value, a `Store…` code.
    pub fn record_task_event(&self, new: &NewTaskEvent) -> Result<TaskEventRow> {
        fn text(value: &str) -> Option<&str> {
            Some(value).filter(|v| !v.is_empty())
        }
        fn number(value: i64) -> Option<i64> {
            Some(value).filter(|v| *v != 0)
        }
        self.conn
            .prepare_cached(
                "INSERT INTO task_stream(task_id, stream_type, thread_id, turn_num, text, tool_name, tool_input, \
                 tool_output, error_msg, status, tokens_in, tokens_out, cost, duration_sec, workspace, directive, \
                 directive_full, agent_id, source_type, call_id, parent_call_id, model, created_at) \
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
            )?
            .execute(params![
                new.task_id,
                new.stream_type.as_str(),
                text(&new.thread_id),
                number(new.turn_num),
                text(&new.text),
                text(&new.tool_name),
                text(&new.tool_input),
                text(&new.tool_output),
                text(&new.error_msg),
                text(&new.status),
                number(new.tokens_in),
                number(new.tokens_out),
                Some(new.cost).filter(|c| *c != 0.0),
                number(new.duration_sec),
                text(&new.workspace),
                text(&new.directive),
                text(&new.directive_full),
                text(&new.agent_id),
                text(&new.source_type),
                text(&new.call_id),
                text(&new.parent_call_id),
                text(&new.model),
                new.created_at,
            ])?;
        match self.task_row(self.conn.last_insert_rowid())? {
            Some(Ok(row)) => Ok(row),
            _ => Err(Error::new(Code::Internal, "the task event just written cannot be read")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{temp_database, vm_steps};
    use super::*;

    /// Writes `events` events of each of `tasks` tasks, one task after the other.
    fn write_tasks(writer: &Writer, tasks: i64, events: i64) {
        writer
            .conn
            .execute(
                "WITH RECURSIVE t(t) AS (SELECT 1 UNION ALL SELECT t + 1 FROM t WHERE t < ?1), \
                 e(e) AS (SELECT 1 UNION ALL SELECT e + 1 FROM e WHERE e < ?2) \
                 INSERT INTO task_stream(task_id, stream_type, status) \
                 SELECT printf('task %05d', t), 'status', CASE e WHEN ?2 THEN 'completed' ELSE 'running' END FROM t, e ORDER BY t, e",
                params![tasks, events],
            )
            .unwrap();
    }

    #[test]
    fn a_list_of_one_task_reads_no_other_task() {
        let (_dir, writer) = temp_database();
        write_tasks(&writer, 2000, 3);
        let page = writer.tasks(None, 1).unwrap();
        assert_eq!((page.items[0].task_id.as_str(), page.has_more), ("task 02000", true));
        let steps = vm_steps(&writer, &[RECENT_TASKS, TASKS, SUMMARY]);
        assert!(steps < 500, "{steps} steps");
    }

    #[test]
    fn tasks_are_listed_by_their_newest_event_within_and_beyond_the_window() {
        let (_dir, writer) = temp_database();
        write_tasks(&writer, 40, 3);
        // Tasks that continue, and one long task between them.
        for task in [7, 3, 20] {
            let sql = "INSERT INTO task_stream(task_id, stream_type) VALUES(printf('task %05d', ?1), 'text')";
            for _ in 0..if task == 3 { 50 } else { 1 } {
                writer.conn.execute(sql, [task]).unwrap();
            }
        }
        let sql = "SELECT max(id) FROM task_stream GROUP BY task_id ORDER BY 1 DESC";
        let mut statement = writer.conn.prepare(sql).unwrap();
        let found = statement.query_map([], |row| row.get(0)).unwrap();
        let expected = found.collect::<rusqlite::Result<Vec<i64>>>().unwrap();
        for window in [1, 2, 10, 52, 1000] {
            for limit in [1, 3, 7, 100] {
                let (mut listed, mut before) = (Vec::new(), None);
                loop {
                    let page = writer.tasks_within(window, before, limit).unwrap();
                    listed.extend(page.items.iter().map(|task| task.last_id));
                    before = page.next(|task| task.last_id);
                    if before.is_none() {
                        break;
                    }
                }
                assert_eq!(listed, expected, "window {window}, limit {limit}");
            }
        }
    }

    #[test]
    fn visits_the_newest_tool_calls_of_one_task() {
        let (_dir, writer) = temp_database();
        write_tasks(&writer, 500, 3);
        let calls = "WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 8) \
            INSERT INTO task_stream(task_id, stream_type, tool_name, tool_input, created_at) \
            SELECT 'task 00007', iif(i % 2, 'tool_use', 'tool_result'), 'Edit', i, i FROM i";
        writer.conn.execute(calls, []).unwrap();
        let visited = |limit| {
            let mut found = Vec::new();
            let visit = |call: ToolCall<'_>| found.push((call.input.to_owned(), call.at));
            let has_more = writer
                .visit_tool_calls("task 00007", (limit, usize::MAX), visit)
                .unwrap();
            (found, has_more)
        };
        let all: Vec<_> = [7, 5, 3, 1].map(|i: i64| (i.to_string(), i)).into();
        assert_eq!(visited(100), (all.clone(), false));
        assert_eq!(visited(11), (all.clone(), false));
        assert_eq!(visited(4), (all[..2].to_vec(), true));
        // Each input has one byte.
        let mut count = 0;
        assert!(writer.visit_tool_calls("task 00007", (100, 2), |_| count += 1).unwrap());
        assert_eq!(count, 2);
        let visit = |_: ToolCall<'_>| panic!("no call");
        assert!(!writer.visit_tool_calls("no such task", (4, 1), visit).unwrap());
        let steps = vm_steps(&writer, &[TOOL_CALLS, NTH_NEWEST]);
        assert!(steps < 1000, "{steps} steps");
    }

    #[test]
    fn the_result_of_a_call_has_the_input_of_its_call() {
        let (_dir, writer) = temp_database();
        let write = |task: &str, kind: &str, call: &str, input: &str| {
            let event = NewTaskEvent {
                task_id: task.to_owned(),
                stream_type: kind.to_owned().into(),
                call_id: call.to_owned(),
                tool_input: input.to_owned(),
                ..NewTaskEvent::default()
            };
            writer.record_task_event(&event).unwrap()
        };
        write("other", "tool_use", "c1", "another task's");
        write("lexer", "tool_use", "c1", "one");
        write("lexer", "tool_use", "c2", "two");
        let input_of =
            |call: &str, input: &str| writer.call_input(&write("lexer", "tool_result", call, input)).unwrap();
        assert_eq!(input_of("c1", ""), "one");
        assert_eq!(input_of("c2", ""), "two");
        assert_eq!(input_of("c2", "its own"), "its own");
        assert_eq!(input_of("c3", ""), "");
        assert_eq!(input_of("", ""), "");
        let event = writer.task_event(2).unwrap().unwrap();
        assert_eq!(event.tool_input, "one");
        assert_eq!(writer.task_event(99).unwrap(), None);
    }

    #[test]
    fn counts_the_errors_of_a_task_with_its_failed_tool_calls() {
        let (_dir, writer) = temp_database();
        for (kind, message, status) in [
            ("error", "", ""),
            ("tool_result", "no such file", ""),
            ("tool_result", "", "failed"),
            ("tool_result", "", "completed"),
            ("tool_use", "", "failed"),
            ("status", "the tests fail", "failed"),
        ] {
            let event = NewTaskEvent {
                task_id: "lexer".to_owned(),
                stream_type: kind.to_owned().into(),
                error_msg: message.to_owned(),
                status: status.to_owned(),
                turn_num: 4,
                ..NewTaskEvent::default()
            };
            writer.record_task_event(&event).unwrap();
        }
        let task = writer.task("lexer").unwrap().unwrap();
        assert_eq!((task.errors, task.events, task.turns), (3, 6, 4));
        assert_eq!(task.status, "failed");
        assert_eq!(writer.task("parser").unwrap(), None);
    }
}
