//! State that the short-lived hook processes of one session share through the database: the last
//! totals, the task's turn and status, and how often a stop was blocked.

use rusqlite::OptionalExtension;
use rusqlite::config::DbConfig;

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

    /// Counts one more continuation (a blocked stop) of `reader`. Returns `false`, and counts
    /// nothing, if `limit` was reached within an hour of the first one. The count is in the database
    /// because each hook is a separate process, and is committed before the stop is blocked.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn count_continuation(&self, reader: &str, now: i64, limit: i64) -> Result<bool> {
        let key = format!("{CONTINUATIONS_KEY}{reader}");
        self.atomically(|| {
            let before: Option<String> = self
                .conn
                .prepare_cached("SELECT value FROM hub WHERE key = ?1")?
                .query_row([&key], |row| row.get(0))
                .optional()?;
            let (since, count) = before
                .as_deref()
                .and_then(|value| value.split_once(' '))
                .and_then(|(since, count)| Some((since.parse::<i64>().ok()?, count.parse::<i64>().ok()?)))
                .filter(|(since, _)| (0..CONTINUATION_WINDOW).contains(&(now - since)))
                .unwrap_or((now, 0));
            if count >= limit {
                return Ok(false);
            }
            self.conn
                .prepare_cached(
                    "INSERT INTO hub(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                )?
                .execute([&key, &format!("{since} {}", count + 1)])?;
            Ok(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewTelemetry;
    use super::super::test_support::temp_database;
    use super::*;

    #[test]
    fn counts_continuations_per_hour_and_reader() {
        let (_dir, writer) = temp_database();
        let counted: Vec<bool> = (0..4)
            .map(|now| writer.count_continuation("a", now, 3).unwrap())
            .collect();
        assert_eq!(counted, [true, true, true, false]);
        assert!(
            writer.count_continuation("b", 5, 3).unwrap(),
            "each reader has its own count"
        );
        assert!(!writer.count_continuation("a", CONTINUATION_WINDOW - 1, 3).unwrap());
        assert!(writer.count_continuation("a", CONTINUATION_WINDOW, 3).unwrap());
        // The count also starts from 0 when the clock was set back.
        assert!(writer.count_continuation("a", -CONTINUATION_WINDOW, 3).unwrap());
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
