//! Rows that are not in the change log, and messages without a number: `agenthub doctor` reports them, and
//! `agenthub doctor --repair` numbers and logs them.
//!
//! Triggers number and log each row. A program can disable them for its connection, or drop them: then
//! clients do not get its rows.

use std::path::PathBuf;

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use crate::error::Result;
use crate::store::connection::{Reader, Writer};
use crate::store::logged_table::Table;
use crate::store::migration_backup::copy_before_repair;

/// Number of a table's first insert entries that determine which of its rows the log has to contain.
const FIRST_ENTRIES: u32 = 16;
/// Condition for messages that can be numbered.
const NUMBERABLE: &str = "message_seq IS NULL AND typeof(thread_id) = 'text' AND thread_id <> '' \
     AND length(CAST(thread_id AS BLOB)) <= 1048576";

/// Rows of one table that clients do not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnloggedRows {
    /// Name of the table.
    pub table: &'static str,
    /// Number of rows.
    pub count: i64,
    /// The first and the last of them, by their integer primary key.
    pub first: i64,
    /// See `first`.
    pub last: i64,
}

/// What a repair has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// Triggers created.
    pub triggers: Vec<String>,
    /// Messages that got a number.
    pub numbered: usize,
    /// Rows added to the change log.
    pub logged: Vec<UnloggedRows>,
    /// The copy of the database made before; `None` if there was nothing to repair.
    pub copy: Option<PathBuf>,
}

impl UnloggedRows {
    /// Returns a description such as "rows 5 to 7 of messages".
    pub fn describe(&self) -> String {
        let Self { table, first, last, .. } = self;
        match self.count {
            1 => format!("row {first} of {table}"),
            count if count == last - first + 1 => format!("rows {first} to {last} of {table}"),
            count => format!("{count} rows of {table}, from {first} to {last},"),
        }
    }
}

impl Reader {
    /// Returns the rows that are not in the change log, by table. Reads the whole log.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn unlogged_rows(&self) -> Result<Vec<UnloggedRows>> {
        let mut found = Vec::new();
        for table in Table::ALL {
            let Some(from) = self.first_logged(table)? else {
                continue;
            };
            let sql = format!(
                "SELECT count(*), coalesce(min({key}), 0), coalesce(max({key}), 0) FROM {name} WHERE {}",
                unlogged(table),
                key = table.key(),
                name = table.name()
            );
            let rows = self.conn.query_row(&sql, params![from, table.name()], |row| {
                Ok(UnloggedRows {
                    table: table.name(),
                    count: row.get(0)?,
                    first: row.get(1)?,
                    last: row.get(2)?,
                })
            })?;
            found.extend(Some(rows).filter(|rows| rows.count > 0));
        }
        Ok(found)
    }

    /// Returns the number of messages that have no number in their thread.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn unnumbered_messages(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM messages WHERE message_seq IS NULL";
        Ok(self.conn.query_row(sql, [], |row| row.get(0))?)
    }

    /// Returns the first row of a table that must be in the log: the entries of earlier ones were pruned.
    /// `None` if the log does not show it.
    fn first_logged(&self, table: Table) -> Result<Option<i64>> {
        let sql = "SELECT seq FROM changes ORDER BY seq LIMIT 1";
        let oldest: Option<i64> = self.conn.query_row(sql, [], |row| row.get(0)).optional()?;
        if oldest.is_none_or(|oldest| oldest <= 1) {
            return Ok(Some(1));
        }
        // The newest of several entries, so that one that no trigger wrote does not determine the result.
        let sql = format!(
            "SELECT max(row) - count(*) + 1 FROM (SELECT row FROM changes WHERE tbl = ?1 AND op = 'insert' \
             AND row BETWEEN 1 AND (SELECT max({}) FROM {}) ORDER BY seq LIMIT {FIRST_ENTRIES})",
            table.key(),
            table.name()
        );
        Ok(self.conn.query_row(&sql, [table.name()], |row| row.get(0))?)
    }
}

/// Returns the condition for rows that are not in the change log. `?1` is the first row that must be in it,
/// `?2` the table's name.
fn unlogged(table: Table) -> String {
    format!(
        "{} >= ?1 AND {} NOT IN \
         (SELECT row FROM changes WHERE tbl = ?2 AND op = 'insert' AND typeof(row) = 'integer')",
        table.key(),
        table.key()
    )
}

impl Writer {
    /// Creates missing triggers of the schema, numbers messages that have no number, and adds rows to the
    /// change log that are not in it, in one transaction. Before that, copies the database to
    /// `hub.db.before-repair`. Does nothing if there is nothing to repair.
    ///
    /// # Errors
    /// [`Code::Conflict`](crate::error::Code::Conflict) if the copy cannot be made because of a file at its
    /// path; a `Store…` code.
    pub fn repair(&self) -> Result<Repaired> {
        self.atomically(|| {
            let missing = self.missing_triggers()?;
            if missing.is_empty() && self.unlogged_rows()?.is_empty() && self.numberable()?.is_empty() {
                return Ok(Repaired::default());
            }
            let copy = Some(copy_before_repair(self.path())?);
            for (_, sql) in &missing {
                self.conn.execute_batch(sql)?;
            }
            let numbered = self.number_messages()?;
            let logged = self.unlogged_rows()?;
            for table in Table::ALL {
                let Some(from) = self.first_logged(table)? else {
                    continue;
                };
                let (name, key) = (table.name(), table.key());
                let sql = format!(
                    "INSERT INTO changes(tbl, row, op) SELECT ?2, {key}, 'insert' FROM {name} WHERE {} ORDER BY {key}",
                    unlogged(table)
                );
                self.conn.execute(&sql, params![from, name])?;
            }
            Ok(Repaired {
                triggers: missing.into_iter().map(|(name, _)| name).collect(),
                numbered,
                logged,
                copy,
            })
        })
    }

    fn numberable(&self) -> Result<Vec<i64>> {
        let sql = format!("SELECT n FROM messages WHERE {NUMBERABLE} ORDER BY n");
        let mut statement = self.conn.prepare(&sql)?;
        let found = statement.query_map([], |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Gives messages the next numbers of their threads, as the trigger of an insert does.
    fn number_messages(&self) -> Result<usize> {
        let rows = self.numberable()?;
        let run = |sql: &str, n: i64| self.conn.prepare_cached(sql)?.execute([n]);
        for n in &rows {
            run(
                "INSERT INTO threads(id, created_by_type, created_by_id) SELECT thread_id, from_type, from_id \
                 FROM messages m WHERE n = ?1 AND NOT EXISTS (SELECT 1 FROM threads WHERE id = m.thread_id)",
                *n,
            )?;
            run(
                "UPDATE messages SET message_seq = (SELECT last_seq + 1 FROM threads WHERE id = thread_id) WHERE n = ?1",
                *n,
            )?;
            run(
                "UPDATE threads SET last_seq = last_seq + 1 WHERE id = (SELECT thread_id FROM messages WHERE n = ?1)",
                *n,
            )?;
        }
        Ok(rows.len())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::config::DbConfig;

    use super::*;
    use crate::error::Code;
    use crate::store::test_support::{send, temp_database};
    use crate::store::{NetworkFs, NewMessage, Position, Row};

    fn without_triggers(writer: &Writer, sql: &str) {
        let set_triggers = |on| writer.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on);
        set_triggers(false).unwrap();
        writer.conn.execute_batch(sql).unwrap();
        set_triggers(true).unwrap();
    }

    fn post(writer: &Writer) -> Result<i64> {
        let message = writer.post_message(&NewMessage::new("t", "a", "x"))?;
        Ok(message.into_row().message_seq)
    }

    const UNLOGGED: &str = "INSERT INTO messages(thread_id, from_id) VALUES('t', 'a'), ('new', 'b'), ('t', 'a'); \
         INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b'); \
         INSERT INTO task_stream(task_id, stream_type) VALUES('k', 'text'); \
         INSERT INTO telemetry(instance_id) VALUES('i'); INSERT INTO agents(id) VALUES('c');";

    #[test]
    fn numbers_and_logs_rows_written_without_triggers() {
        let (_dir, writer) = temp_database();
        post(&writer).unwrap();
        assert_eq!(writer.unlogged_rows().unwrap(), []);
        assert_eq!(writer.repair().unwrap(), Repaired::default());
        let head = writer.head().unwrap();
        without_triggers(&writer, UNLOGGED);
        // Later rows are logged. The ones before are not.
        post(&writer).unwrap();
        send(&writer, "b", "x");
        let found: Vec<_> = writer
            .unlogged_rows()
            .unwrap()
            .iter()
            .map(UnloggedRows::describe)
            .collect();
        assert_eq!(
            found,
            [
                "rows 2 to 4 of messages",
                "row 1 of inbox_messages",
                "row 1 of telemetry",
                "row 1 of task_stream",
                "row 2 of agents"
            ]
        );
        assert_eq!(writer.unnumbered_messages().unwrap(), 3);
        let repaired = writer.repair().unwrap();
        assert_eq!((repaired.numbered, repaired.logged.len()), (3, 5));
        assert!(repaired.copy.unwrap().exists());
        assert_eq!(writer.unlogged_rows().unwrap(), []);
        assert_eq!(writer.unnumbered_messages().unwrap(), 0);
        assert_eq!(writer.repair().unwrap(), Repaired::default());
        assert_eq!(writer.gaps().unwrap(), Vec::<String>::new());
        // A client gets each of them once.
        let reader = Reader::open(writer.path(), NetworkFs::Refuse).unwrap();
        let page = reader
            .log_after(&reader.epoch().unwrap(), head, 100, usize::MAX)
            .unwrap();
        let messages = page.changes.iter().filter_map(|change| match &change.row {
            Row::Message(m, _) => Some((m.thread_id.as_str(), m.message_seq)),
            _ => None,
        });
        let messages: Vec<_> = messages.collect();
        assert_eq!(messages, [("t", 2), ("t", 3), ("new", 1), ("t", 4)]);
        let is_rejected = |row: &Row| matches!(row, Row::Unreadable(_));
        assert!(!page.changes.iter().any(|change| is_rejected(&change.row)), "{page:?}");
    }

    #[test]
    fn creates_missing_triggers_and_refuses_a_message_without_a_number() {
        let (_dir, writer) = temp_database();
        post(&writer).unwrap();
        writer
            .conn
            .execute_batch("DROP TRIGGER messages_insert; DROP TRIGGER threads_update")
            .unwrap();
        let error = post(&writer).unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        assert!(error.message().contains("agenthub doctor --repair"), "{error}");
        let count = || -> i64 {
            let sql = "SELECT count(*) FROM messages";
            writer.conn.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        assert_eq!(count(), 1, "the row is not kept");
        writer
            .conn
            .execute_batch("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')")
            .unwrap();
        let repaired = writer.repair().unwrap();
        assert_eq!(repaired.triggers, ["threads_update", "messages_insert"]);
        assert_eq!(writer.schema_differences().unwrap(), Vec::<String>::new());
        assert_eq!(post(&writer).unwrap(), 3);
    }

    #[test]
    fn ignores_rows_whose_entries_were_pruned() {
        let (_dir, writer) = temp_database();
        for _ in 0..9 {
            post(&writer).unwrap();
        }
        writer
            .conn
            .execute_batch(
                "INSERT INTO hub(key) VALUES('pruning'); DELETE FROM changes WHERE seq <= 5; \
                 DELETE FROM hub WHERE key = 'pruning';",
            )
            .unwrap();
        assert_eq!(writer.unlogged_rows().unwrap(), []);
        let mut checked = [0; Table::COUNT];
        let head = writer.head().unwrap();
        assert_eq!(
            writer.newest_unlogged(head, &[], &mut checked).unwrap(),
            Some(Vec::new())
        );
        without_triggers(&writer, UNLOGGED);
        let found = writer.newest_unlogged(head, &[], &mut checked).unwrap().unwrap();
        // The log shows no earlier row of the other tables.
        assert_eq!(found, [(Table::Messages, 12)]);
        assert_eq!(writer.unlogged_rows().unwrap().len(), 1);
        // A found row is reported until it is logged, even if newer rows are.
        post(&writer).unwrap();
        assert_eq!(writer.newest_unlogged(head, &found, &mut checked).unwrap(), None);
        let head = writer.head().unwrap();
        assert_eq!(
            writer.newest_unlogged(head, &found, &mut checked).unwrap(),
            Some(found.clone())
        );
        writer.repair().unwrap();
        let head = writer.head().unwrap();
        assert_eq!(
            writer.newest_unlogged(head, &found, &mut checked).unwrap(),
            Some(Vec::new())
        );
        assert_ne!(head, Position::START);
    }

    #[test]
    fn reports_each_table_once_while_another_row_is_pending() {
        let (_dir, writer) = temp_database();
        let rows =
            "INSERT INTO messages(thread_id, from_id) VALUES('t', 'a'); INSERT INTO telemetry(instance_id) VALUES('i')";
        writer.conn.execute_batch(rows).unwrap();
        without_triggers(&writer, rows);
        let head = writer.head().unwrap();
        let both = [(Table::Messages, 2), (Table::Telemetry, 2)];
        for pending in [&[][..], &both[..1], &both] {
            let found = writer.newest_unlogged(head, pending, &mut [0; Table::COUNT]).unwrap();
            assert_eq!(found.unwrap(), both, "{pending:?}");
        }
    }
}
