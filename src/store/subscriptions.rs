//! The `subscriptions` table: the acknowledgements of WebSocket clients, kept across restarts. Live
//! subscriptions are in `hub`.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::connection::{Reader, Writer};
use super::row_reader::RowReader;
use crate::error::Result;

/// An acknowledgement to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ack {
    /// The client's `instance_id`.
    pub instance: String,
    /// The thread.
    pub thread_id: String,
    /// The client acknowledges all messages up to this `message_seq`.
    pub seq: i64,
}

/// A subscriber of a thread and its last acknowledgement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SubscriberRow {
    /// The client's `instance_id`.
    pub instance_id: String,
    /// When it last subscribed, Unix milliseconds.
    pub subscribed_at: i64,
    /// All messages up to this `message_seq` are acknowledged; 0 if none is.
    pub last_ack_seq: i64,
}

impl Reader {
    /// Returns the subscribers of a thread, highest acknowledgement first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn subscribers(&self, thread_id: &str) -> Result<Vec<SubscriberRow>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT instance_id, subscribed_at, last_ack_seq FROM subscriptions WHERE thread_id = ?1 \
             ORDER BY last_ack_seq DESC, n",
        )?;
        let found = statement.query_map([thread_id], |row| {
            let mut values = RowReader::new(row);
            Ok(SubscriberRow {
                instance_id: values.text(),
                subscribed_at: values.int(),
                last_ack_seq: values.int(),
            })
        })?;
        Ok(found.collect::<rusqlite::Result<Vec<_>>>()?)
    }

    /// Returns the last `message_seq` of a thread that this instance acknowledged; 0 if none.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn last_ack(&self, instance: &str, thread_id: &str) -> Result<i64> {
        Ok(self
            .conn
            .prepare_cached("SELECT last_ack_seq FROM subscriptions WHERE instance_id = ?1 AND thread_id = ?2")?
            .query_row([instance, thread_id], |row| row.get::<_, Option<i64>>(0))
            .optional()?
            .flatten()
            .unwrap_or(0))
    }
}

impl Writer {
    /// Records that `instance` subscribed to a thread from `from_seq` on. Keeps its acknowledgement.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn subscribe(&self, instance: &str, thread_id: &str, from_seq: i64, now: i64) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO subscriptions(instance_id, thread_id, from_seq, subscribed_at) VALUES(?1, ?2, ?3, ?4) \
                 ON CONFLICT(instance_id, thread_id) DO UPDATE SET from_seq = excluded.from_seq, \
                 subscribed_at = excluded.subscribed_at",
            )?
            .execute(params![instance, thread_id, from_seq, now])?;
        Ok(())
    }

    /// Stores an acknowledgement and its time. A lower one than the stored one changes only the time.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn acknowledge(&self, ack: &Ack, now: i64) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO subscriptions(instance_id, thread_id, last_ack_seq, subscribed_at, acked_at) \
                 VALUES(?1, ?2, ?3, ?4, ?4) ON CONFLICT(instance_id, thread_id) DO UPDATE \
                 SET last_ack_seq = max(last_ack_seq, excluded.last_ack_seq), acked_at = excluded.acked_at",
            )?
            .execute(params![ack.instance, ack.thread_id, ack.seq, now])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::temp_database;
    use super::*;

    #[test]
    fn acknowledgements_keep_the_highest_number_and_the_last_time() {
        let (_dir, writer) = temp_database();
        writer.subscribe("page", "build", 0, 1).unwrap();
        let stored = || -> (i64, Option<i64>, i64) {
            let sql = "SELECT last_ack_seq, acked_at, subscribed_at FROM subscriptions";
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            writer.conn.query_row(sql, [], row).unwrap()
        };
        assert_eq!(stored(), (0, None, 1));
        for (seq, now, expected) in [(5, 2, (5, Some(2), 1)), (3, 7, (5, Some(7), 1))] {
            let ack = Ack {
                instance: "page".into(),
                thread_id: "build".into(),
                seq,
            };
            writer.acknowledge(&ack, now).unwrap();
            assert_eq!(stored(), expected);
        }
    }
}
