//! Detects entries of the change log that no trigger wrote: an agent with SQL can insert any entry.
//!
//! The database numbers the rows of a table 1, 2, 3 …, and a trigger logs each insert once. So the
//! insert entries of a table are in the order of their rows, and an entry that continues this order
//! is valid without a further look. Any other one is searched for among the entries before it: a second
//! insert entry of a row is a replay, and is skipped. Without a proof an entry is valid, so that no row is
//! lost.

use rusqlite::{OptionalExtension, params};

use super::connection::Reader;
use super::logged_table::{LastInserts, Table};
use super::position::Position;
use crate::error::Result;

/// Number of entries before an entry that are always searched.
const WINDOW: i64 = 256;
/// Number of entries before an entry up to which all of them are searched. Beyond it, the search uses
/// the order of the rows.
const LINEAR: i64 = 20_000;
/// Number of entries read at each step of that search.
const PROBE: i64 = 1000;
/// Number of insert entries of the table that one step compares.
const PROBE_ROWS: i64 = 16;

impl Reader {
    /// Returns why the entry `seq` for an insert of `row` is not valid, or `None`, and then records
    /// it as the table's last one.
    pub(super) fn check_insert(
        &self,
        last: &mut LastInserts,
        seq: i64,
        table: Table,
        row: i64,
    ) -> Result<Option<&'static str>> {
        // The state of a thread or an agent may be sent again.
        if matches!(table, Table::Threads | Table::Agents) {
            return Ok(None);
        }
        let known = last.row_mut(table);
        let continues = known.is_some_and(|before| before.checked_add(1) == Some(row));
        if !continues && self.is_logged_before(seq, table, row)? == Some(true) {
            return Ok(Some("the insert of its row was logged before"));
        }
        *known = Some(row);
        Ok(None)
    }

    /// Returns the newest row of each table that is not in the change log, and those of `pending` that still
    /// are not. `None` if the log has changes after `head`, which have to be read first.
    ///
    /// `checked` has the rows that are known to be in the log. It is updated.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn newest_unlogged(
        &self,
        head: Position,
        pending: &[(Table, i64)],
        checked: &mut [i64; Table::COUNT],
    ) -> Result<Option<Vec<(Table, i64)>>> {
        self.snapshot(|| {
            if self.head()? != head {
                return Ok(None);
            }
            let mut unlogged = Vec::new();
            for (table, row) in pending {
                if self.is_logged_before(head.seq + 1, *table, *row)? == Some(false) {
                    unlogged.push((*table, *row));
                }
            }
            for table in Table::ALL {
                let newest = self.newest_row(table)?;
                let is_pending = unlogged.iter().any(|(other, _)| *other == table);
                if is_pending || newest == 0 || newest == checked[table as usize] {
                    continue;
                }
                if self.is_logged_before(head.seq + 1, table, newest)? == Some(false) {
                    unlogged.push((table, newest));
                } else {
                    checked[table as usize] = newest;
                }
            }
            Ok(Some(unlogged))
        })
    }

    /// Returns whether the table ever had this row: its newest row is never removed.
    pub(super) fn has_had_row(&self, table: Table, row: i64) -> Result<bool> {
        Ok((1..=self.newest_row(table)?).contains(&row))
    }

    /// Returns the newest row of a table; 0 if it is empty.
    fn newest_row(&self, table: Table) -> Result<i64> {
        let sql = format!("SELECT coalesce(max({}), 0) FROM {}", table.key(), table.name());
        Ok(self.conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
    }

    /// Returns whether an entry before `seq` is an insert of this row; `None` if the log is too long to
    /// find out.
    fn is_logged_before(&self, seq: i64, table: Table, row: i64) -> Result<Option<bool>> {
        let window = self.inserts(table, seq - WINDOW, seq, WINDOW)?;
        if window.contains(&row) {
            return Ok(Some(true));
        }
        if window
            .iter()
            .max()
            .is_some_and(|newest| newest.checked_add(1) == Some(row))
        {
            return Ok(Some(false));
        }
        let sql = "SELECT seq FROM changes ORDER BY seq LIMIT 1";
        let oldest: Option<i64> = self
            .conn
            .prepare_cached(sql)?
            .query_row([], |row| row.get(0))
            .optional()?;
        let oldest = oldest.unwrap_or(1);
        let first = self.inserts(table, oldest, seq, PROBE)?.first().copied();
        if oldest > 1 && first.is_some_and(|first| row < first) {
            // Its entry was pruned.
            return Ok(Some(true));
        }
        if seq - oldest <= LINEAR {
            let sql = "SELECT count(*), count(CASE row WHEN ?3 THEN 1 END) FROM changes \
                       WHERE seq < ?1 AND tbl = ?2 AND op = 'insert'";
            let mut statement = self.conn.prepare_cached(sql)?;
            let (inserts, found): (i64, i64) =
                statement.query_row(params![seq, table.name(), row], |row| Ok((row.get(0)?, row.get(1)?)))?;
            // Without any entry of the table, all of them may have been pruned.
            let is_known = inserts > 0 || oldest <= 1;
            return Ok(is_known.then_some(found > 0));
        }
        let (mut low, mut high) = (oldest, seq - WINDOW);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.inserts(table, middle, high, PROBE)?;
            let Some(newest) = found.iter().max() else {
                if high - middle > PROBE {
                    // Too few entries of this table for a search by order.
                    return Ok(None);
                }
                high = middle;
                continue;
            };
            if found.contains(&row) {
                return Ok(Some(true));
            }
            if *newest < row {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(first.is_some().then_some(false))
    }

    /// Returns the rows of the first insert entries of a table among at most `limit` entries from `from`
    /// on and before `to`.
    fn inserts(&self, table: Table, from: i64, to: i64, limit: i64) -> Result<Vec<i64>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT row FROM (SELECT tbl, row, op FROM changes WHERE seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT ?3) \
             WHERE tbl = ?4 AND op = 'insert' AND typeof(row) = 'integer' LIMIT ?5",
        )?;
        let rows = if limit == WINDOW { WINDOW } else { PROBE_ROWS };
        let found = statement.query_map(params![from, to, limit, table.name(), rows], |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::config::DbConfig;

    use super::*;
    use crate::store::test_support::{send, temp_database};
    use crate::store::{NetworkFs, NewMessage, Op, Position, Row, Writer};

    fn post(writer: &Writer, count: usize) {
        for _ in 0..count {
            writer.post_message(&NewMessage::new("t", "a", "x")).unwrap();
        }
    }

    fn forge(writer: &Writer, entry: &str) {
        let sql = format!("INSERT INTO changes(tbl, row, op) VALUES({entry})");
        writer.conn.execute(&sql, []).unwrap();
    }

    /// Returns the numbers of the messages that a new connection reads after a position.
    fn messages_after(writer: &Writer, after: Position) -> Vec<i64> {
        let reader = Reader::open(writer.path(), NetworkFs::Refuse).unwrap();
        let page = reader
            .log_after(&reader.epoch().unwrap(), after, 100_000, usize::MAX)
            .unwrap();
        let inserts = page.changes.iter().filter(|change| change.op == Op::Insert);
        inserts
            .filter_map(|change| match &change.row {
                Row::Message(message, _) => Some(message.message_seq),
                _ => None,
            })
            .collect()
    }

    fn rejected_after(writer: &Writer, after: Position) -> usize {
        let reader = Reader::open(writer.path(), NetworkFs::Refuse).unwrap();
        let page = reader
            .log_after(&reader.epoch().unwrap(), after, 100_000, usize::MAX)
            .unwrap();
        let is_rejected = |row: &Row| matches!(row, Row::Unreadable(row) if row.table == "changes");
        page.changes.iter().filter(|change| is_rejected(&change.row)).count()
    }

    #[test]
    fn reads_each_insert_once() {
        let (_dir, writer) = temp_database();
        post(&writer, 3);
        let head = writer.head().unwrap();
        forge(&writer, "'messages', 1, 'insert'");
        forge(&writer, "'messages', 2, 'insert'");
        forge(&writer, "'messages', 3, 'insert'");
        post(&writer, 2);
        assert_eq!(messages_after(&writer, Position::START), [1, 2, 3, 4, 5]);
        assert_eq!(messages_after(&writer, head), [4, 5]);
        assert_eq!(rejected_after(&writer, head), 3);
    }

    #[test]
    fn reads_a_row_once_whose_entry_was_forged_before_it_was_written() {
        let (_dir, writer) = temp_database();
        post(&writer, 1);
        let head = writer.head().unwrap();
        forge(&writer, "'messages', 2, 'insert'");
        assert_eq!(messages_after(&writer, head), [0_i64; 0]);
        post(&writer, 2);
        assert_eq!(messages_after(&writer, head), [2, 3]);
        // The connection that has read the forged entry before the row was written.
        let reader = Reader::open(writer.path(), NetworkFs::Refuse).unwrap();
        post(&writer, 1);
        let before = reader
            .log_after(&reader.epoch().unwrap(), Position::START, 100, usize::MAX)
            .unwrap();
        forge(&writer, "'messages', 5, 'insert'");
        let last = |page: &crate::store::LogPage| page.changes.last().unwrap().pos;
        let forged = reader
            .log_after(&reader.epoch().unwrap(), last(&before), 100, usize::MAX)
            .unwrap();
        post(&writer, 1);
        let genuine = reader
            .log_after(&reader.epoch().unwrap(), last(&forged), 100, usize::MAX)
            .unwrap();
        assert!(matches!(&genuine.changes[0].row, Row::Message(m, _) if m.message_seq == 5));
    }

    #[test]
    fn rejects_entries_of_rows_that_never_existed_and_values_of_other_types() {
        let (_dir, writer) = temp_database();
        post(&writer, 1);
        send(&writer, "b", "x");
        let head = writer.head().unwrap();
        let forged = [
            "'messages', 99, 'insert'",
            "'inbox_messages', 99, 'update'",
            "'messages', -1, 'insert'",
            "'messages', 9223372036854775807, 'insert'",
            "'messages', 1.5, 'insert'",
            "'messages', 'one', 'insert'",
            "'messages', NULL, 'insert'",
            "x'00', 1, 'insert'",
            "NULL, 1, 'insert'",
            "'messages', 1, 'remove'",
            "'messages', 1, x'00'",
            "'inbox_messages', 1, 'insert'",
        ];
        for entry in forged {
            forge(&writer, entry);
        }
        post(&writer, 1);
        assert_eq!(rejected_after(&writer, head), forged.len());
        assert_eq!(messages_after(&writer, head), [2]);
    }

    #[test]
    fn reads_rows_after_rows_that_were_not_logged() {
        let (_dir, writer) = temp_database();
        post(&writer, 2);
        let head = writer.head().unwrap();
        let set_triggers = |on| writer.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on);
        set_triggers(false).unwrap();
        let sql = "INSERT INTO inbox_messages(from_agent, to_inbox, created_at) VALUES('a', 'b', 1)";
        writer.conn.execute(sql, []).unwrap();
        set_triggers(true).unwrap();
        send(&writer, "b", "x");
        assert_eq!(rejected_after(&writer, head), 0);
        // An entry that is added later for the missing row.
        forge(&writer, "'inbox_messages', 1, 'insert'");
        assert_eq!(rejected_after(&writer, head), 0);
        forge(&writer, "'inbox_messages', 1, 'insert'");
        assert_eq!(rejected_after(&writer, head), 1);
    }

    fn write_steps(writer: &Writer, count: i64) {
        let sql = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO task_stream(task_id, stream_type) SELECT 'k', 'text' FROM n"
        );
        writer.conn.execute(&sql, []).unwrap();
    }

    #[test]
    fn accepts_the_late_entry_of_a_row_in_a_long_log() {
        let (_dir, writer) = temp_database();
        write_steps(&writer, LINEAR);
        let set_triggers = |on| writer.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on);
        set_triggers(false).unwrap();
        write_steps(&writer, 1);
        set_triggers(true).unwrap();
        write_steps(&writer, 9000);
        let head = writer.head().unwrap();
        forge(&writer, &format!("'task_stream', {}, 'insert'", LINEAR + 1));
        assert_eq!(rejected_after(&writer, head), 0);
    }

    /// A search by order would go past the entry.
    #[test]
    fn does_not_guess_where_a_table_has_few_entries() {
        let (_dir, writer) = temp_database();
        post(&writer, 1);
        write_steps(&writer, 20_000);
        post(&writer, 1);
        write_steps(&writer, 5000);
        let head = writer.head().unwrap();
        let found = writer.newest_unlogged(head, &[], &mut [0; Table::COUNT]).unwrap();
        assert_eq!(found, Some(Vec::new()));
    }

    #[test]
    fn finds_a_replay_in_a_long_log() {
        let (_dir, writer) = temp_database();
        let rows = LINEAR + 3000;
        write_steps(&writer, rows);
        let head = writer.head().unwrap();
        let forged = [1, 2, 500, 7000, rows / 2, rows - 1000, rows - 1, rows];
        for row in forged {
            forge(&writer, &format!("'task_stream', {row}, 'insert'"));
        }
        assert_eq!(rejected_after(&writer, head), forged.len());
        // An entry without an earlier one: its row was pruned from the log.
        writer
            .conn
            .execute_batch(
                "INSERT INTO hub(key) VALUES('pruning'); DELETE FROM changes WHERE seq < 5000; \
                 DELETE FROM hub WHERE key = 'pruning';",
            )
            .unwrap();
        assert_eq!(rejected_after(&writer, head), forged.len());
    }
}
