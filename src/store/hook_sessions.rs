//! Sessions of the agents' own tools: what their short-lived processes have to know of one
//! another.
//!
//! For: going on where an earlier process stopped: totals, turns, how often a session has been
//! kept from stopping.
//! Not for: what is in a turn (`tasks`) or a total (`telemetry`); mail (`offers`).

use rusqlite::OptionalExtension;
use rusqlite::config::DbConfig;

use super::connection::{Reader, Writer};
use super::telemetry::TelemetryRow;
use crate::error::Result;

/// The key, in the table `hub`, under which a reader's continuations are counted.
const CONTINUED: &str = "continued:";
/// Bytes of a log that takes about a millisecond to read: some 250 frames, forty hooks' worth.
const LONG_LOG: u64 = 1 << 20;
/// Milliseconds for which a continuation counts.
const HOUR: i64 = 3_600_000;

/// Where a task stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskProgress {
    /// The turn of its newest event.
    pub turn: i64,
    /// Its last status; empty if it has none.
    pub status: String,
}

impl Reader {
    /// The newest totals of an instance.
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

    /// Where a task stands. A task nobody has heard of stands nowhere.
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
}

impl Writer {
    /// For a process that writes a row or two and ends while somebody waits for it: commits
    /// survive its crash and everybody else's, though not a power cut, and a short log is left
    /// to the next who comes. Otherwise the last to close moves all of it into the file: five
    /// syncs of the disk where none is needed. A long one would take the next as long to read.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn configure_for_short_process(&self) -> Result<()> {
        self.conn.pragma_update(None, "synchronous", "NORMAL")?;
        let leave = self.file_status().wal_size < LONG_LOG;
        self.conn
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leave)?;
        Ok(())
    }

    /// Counts that `reader` is kept from stopping once more; `false`, and nothing counted, if
    /// that has happened `most` times since the first of this hour's. The count stands in the
    /// file, so that no process has to live for it, and is committed before anybody is kept.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn count_continuation(&self, reader: &str, now: i64, most: i64) -> Result<bool> {
        let key = format!("{CONTINUED}{reader}");
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
                .filter(|(since, _)| (0..HOUR).contains(&(now - since)))
                .unwrap_or((now, 0));
            if count >= most {
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
    use super::super::{NetworkFs, NewTelemetry};
    use super::*;

    #[test]
    fn continuations_are_counted_by_the_hour() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        let counted: Vec<bool> = (0..4)
            .map(|now| writer.count_continuation("a", now, 3).unwrap())
            .collect();
        assert_eq!(counted, [true, true, true, false]);
        assert!(
            writer.count_continuation("b", 5, 3).unwrap(),
            "everybody has a count of their own"
        );
        assert!(!writer.count_continuation("a", HOUR - 1, 3).unwrap());
        assert!(writer.count_continuation("a", HOUR, 3).unwrap());
        // A clock that was set back does not keep a session from being told for ever.
        assert!(writer.count_continuation("a", -HOUR, 3).unwrap());
    }

    #[test]
    fn the_newest_totals_count() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
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
