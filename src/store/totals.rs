//! Exact totals of what the page shows: threads, tasks by state, unread mail of the person. A page holds
//! only the newest rows and cannot count the others.

use rusqlite::params;
use serde::Serialize;

use super::connection::Reader;
use super::inbox::addressing::ALL_INBOXES;
use crate::config::HUMAN;
use crate::error::Result;

/// Numbers of threads, tasks and unread messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Threads.
    pub threads: i64,
    /// Tasks.
    pub tasks: TaskTotals,
    /// Unread mail of the person that no agent has claimed.
    pub unread: i64,
}

/// Numbers of tasks, by the last status that each has reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TaskTotals {
    /// All tasks. Those with a status that is not listed here count only in this number.
    pub total: i64,
    /// Tasks that run: also those without a status, and those that have continued after `waiting`.
    pub running: i64,
    /// Tasks that wait.
    pub waiting: i64,
    /// Tasks that have completed.
    pub completed: i64,
    /// Tasks that have failed.
    pub failed: i64,
    /// Tasks of `completed` that completed at or after a given time.
    pub completed_since: i64,
}

/// The number of tasks. Goes from task to task on the index of `task_id`.
const TASKS: &str = "WITH RECURSIVE task(task_id) AS ( \
       SELECT min(task_id) FROM task_stream \
       UNION ALL \
       SELECT (SELECT min(task_id) FROM task_stream WHERE task_id > task.task_id) FROM task WHERE task.task_id IS NOT NULL \
     ) SELECT count(task_id) FROM task";

/// The numbers of tasks with a status: all, running, waiting, completed, failed, and completed since `?1`. Reads
/// only the index `task_stream_status`, except for tasks that wait.
const STATES: &str = "SELECT count(*), coalesce(sum(state = 'running'), 0), coalesce(sum(state = 'waiting'), 0), \
       coalesce(sum(state = 'completed'), 0), coalesce(sum(state = 'failed'), 0), \
       coalesce(sum(state = 'completed' AND created_at >= ?1), 0) \
     FROM (SELECT created_at, CASE WHEN status = 'waiting' AND (SELECT stream_type FROM task_stream n \
         WHERE n.task_id = latest.task_id ORDER BY n.id DESC LIMIT 1) <> 'status' THEN 'running' ELSE status END AS state \
       FROM (SELECT task_id, status, created_at, max(id) FROM task_stream \
         WHERE stream_type = 'status' AND status <> '' GROUP BY task_id) latest)";

/// The number of unread messages of the person `?1`, those to everyone (`?2`) included, at the time `?3`.
const UNREAD: &str = "SELECT count(*) FROM inbox_messages m WHERE m.to_inbox IN (?1, ?2) AND m.status = 'unread' \
     AND (m.expires_at IS NULL OR m.expires_at > ?3) \
     AND (coalesce(m.claimed_by, '') IN ('', ?1) OR coalesce(m.claim_expires_at, 0) <= ?3) \
     AND NOT (m.to_inbox = ?2 AND EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id \
       AND r.reader = ?1 AND r.state IN ('seen', 'acked', 'archived')))";

impl Reader {
    /// Counts threads, tasks and the person's unread mail at the time `now`. `since` begins
    /// [`TaskTotals::completed_since`]. Both are Unix milliseconds.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn page_totals(&self, now: i64, since: i64) -> Result<Totals> {
        self.snapshot(|| {
            let count = |sql: &str| self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0));
            let total: i64 = count(TASKS)?;
            let states = |row: &rusqlite::Row<'_>| {
                let without_status = total - row.get::<_, i64>(0)?;
                Ok(TaskTotals {
                    total,
                    running: row.get::<_, i64>(1)? + without_status,
                    waiting: row.get(2)?,
                    completed: row.get(3)?,
                    failed: row.get(4)?,
                    completed_since: row.get(5)?,
                })
            };
            Ok(Totals {
                threads: count("SELECT count(*) FROM threads")?,
                tasks: self.conn.prepare_cached(STATES)?.query_row([since], states)?,
                unread: self
                    .conn
                    .prepare_cached(UNREAD)?
                    .query_row(params![HUMAN, ALL_INBOXES, now], |row| row.get(0))?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{by, send, temp_database, vm_steps};
    use super::super::{InboxFilter, Receipt};
    use super::*;

    #[test]
    fn counts_tasks_by_their_last_status() {
        let (_dir, writer) = temp_database();
        assert_eq!(writer.page_totals(0, 0).unwrap(), Totals::default());
        for (task, kind, status, at) in [
            ("a", "status", Some("running"), 1),
            ("a", "status", Some("completed"), 50),
            ("a", "text", None, 60),
            ("b", "status", Some("completed"), 100),
            ("c", "text", None, 100),
            ("d", "status", Some("waiting"), 100),
            ("e", "status", Some("waiting"), 100),
            ("e", "text", None, 101),
            ("f", "status", Some("failed"), 100),
            ("f", "status", None, 101),
            ("g", "status", Some("odd"), 100),
            ("h", "tool_result", Some("completed"), 100),
        ] {
            let sql = "INSERT INTO task_stream(task_id, stream_type, status, created_at) VALUES(?1, ?2, ?3, ?4)";
            writer.conn.execute(sql, params![task, kind, status, at]).unwrap();
        }
        let tasks = writer.page_totals(0, 100).unwrap().tasks;
        let expected = TaskTotals {
            total: 8,
            running: 3,
            waiting: 1,
            completed: 2,
            failed: 1,
            completed_since: 1,
        };
        assert_eq!(tasks, expected);
    }

    #[test]
    fn counts_the_mail_that_the_list_of_unread_mail_has() {
        let (_dir, writer) = temp_database();
        let state = |n: i64, set: &str| {
            let sql = format!("UPDATE inbox_messages SET {set} WHERE n = {n}");
            writer.conn.execute(&sql, []).unwrap();
        };
        let mail: Vec<_> = [
            "human", "human", "human", "human", "all", "all", "human", "human", "planner",
        ]
        .iter()
        .map(|to| send(&writer, to, "x"))
        .collect();
        state(1, "status = 'read'");
        state(2, "expires_at = 9");
        state(3, "claimed_by = 'a', claim_expires_at = 11");
        state(4, "claimed_by = 'a', claim_expires_at = 9");
        state(7, "claimed_by = 'human', claim_expires_at = 11");
        writer
            .add_receipt(&mail[4].message_id, Receipt::Seen, by(HUMAN, 5))
            .unwrap();
        writer
            .add_receipt(&mail[5].message_id, Receipt::Seen, by("planner", 5))
            .unwrap();
        let filter = InboxFilter {
            inbox: Some(HUMAN.to_owned()),
            status: Some("unread".to_owned()),
            now: 10,
            limit: 100,
            ..InboxFilter::default()
        };
        let listed: Vec<_> = writer.inbox(&filter).unwrap().iter().map(|mail| mail.n).collect();
        assert_eq!(listed, [8, 7, 6, 4]);
        assert_eq!(writer.page_totals(10, 0).unwrap().unread, 4);
    }

    #[test]
    fn counting_tasks_reads_no_events_but_those_with_a_status() {
        let (_dir, writer) = temp_database();
        for sql in [TASKS, STATES] {
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            let mut statement = writer.conn.prepare(&sql).unwrap();
            let given = vec![0; statement.parameter_count()];
            let plan = statement.query_map(rusqlite::params_from_iter(given), |row| row.get::<_, String>(3));
            let plan = plan.unwrap().collect::<rusqlite::Result<Vec<_>>>().unwrap();
            let reads = plan.iter().filter(|step| step.contains("task_stream"));
            // The event that decides whether a task still waits.
            let reads = reads.filter(|step| !step.contains(" n USING"));
            assert!(reads.clone().count() > 0, "{plan:?}");
            assert!(reads.clone().all(|step| step.contains("COVERING INDEX")), "{plan:?}");
        }
        let events = "WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 3000) \
            INSERT INTO task_stream(task_id, stream_type, status) \
            SELECT 'task ' || (i % 3), iif(i > 2997, 'status', 'text'), 'completed' FROM i";
        writer.conn.execute(events, []).unwrap();
        assert_eq!(writer.page_totals(0, 0).unwrap().tasks.completed, 3);
        let steps = vm_steps(&writer, &[TASKS, STATES]);
        assert!(steps < 500, "{steps} steps");
    }
}
