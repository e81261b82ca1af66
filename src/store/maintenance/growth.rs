//! How much the database has grown: the hub notes its size once a day.
//!
//! The notes are in the table `hub`, with the key `size_at:` and the time in milliseconds. (Times of 13 digits
//! have the same order as text and as numbers.)

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use crate::error::Result;
use crate::store::connection::{Reader, Writer};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// Age in milliseconds at which a note is deleted: growth is that of a month.
const MAX_AGE: i64 = 30 * DAY;

/// The growth of the database file since a noted size. Its `-wal` is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// When the size was noted, Unix milliseconds: at most about 30 days ago.
    pub since: i64,
    /// Bytes that the file has grown since then. The file never shrinks; after a prune, it grows only when the freed
    /// space is used up.
    pub bytes: i64,
    /// Bytes per day since then; `None` for less than a day, which says nothing about the days to come.
    pub bytes_per_day: Option<i64>,
}

impl Reader {
    /// Returns the growth since the oldest noted size, at the time `now` (Unix milliseconds). `None` if no hub has
    /// noted a size.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn growth(&self, now: i64) -> Result<Option<Growth>> {
        let oldest: Option<(String, i64)> = self
            .conn
            .prepare_cached(
                "SELECT key, value FROM hub WHERE key BETWEEN 'size_at:' AND 'size_at:' || ?1 AND typeof(value) = 'integer' \
                 ORDER BY key LIMIT 1",
            )?
            .query_row([now], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let noted = oldest.and_then(|(key, size)| Some((key.strip_prefix("size_at:")?.parse::<i64>().ok()?, size)));
        Ok(noted.map(|(since, size)| {
            let bytes = self.size().saturating_sub(size);
            let elapsed = now.saturating_sub(since);
            let per_day = i128::from(bytes) * i128::from(DAY) / i128::from(elapsed.max(1));
            Growth {
                since,
                bytes,
                bytes_per_day: i64::try_from(per_day).ok().filter(|_| elapsed >= DAY),
            }
        }))
    }

    fn size(&self) -> i64 {
        i64::try_from(self.file_status().size).unwrap_or(i64::MAX)
    }
}

impl Writer {
    /// Notes the size of the file, unless it was noted within the last day, and deletes old notes.
    ///
    /// # Errors
    /// A `Store…` code.
    pub(in crate::store) fn note_size(&self, now: i64) -> Result<()> {
        let recent = "SELECT EXISTS (SELECT 1 FROM hub WHERE key BETWEEN 'size_at:' || ?1 AND 'size_at:' || ?2)";
        let is_noted: bool = self
            .conn
            .prepare_cached(recent)?
            .query_row(params![now - DAY + 1, now], |row| row.get(0))?;
        if is_noted {
            return Ok(());
        }
        self.atomically(|| {
            self.conn.execute(
                "DELETE FROM hub WHERE key BETWEEN 'size_at:' AND 'size_at:' || ?1",
                [now - MAX_AGE],
            )?;
            self.conn.execute(
                "INSERT OR REPLACE INTO hub(key, value) VALUES('size_at:' || ?1, ?2)",
                params![now, self.size()],
            )?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_support::temp_database;

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn growth_is_that_since_the_oldest_note_of_a_month() {
        let (_dir, writer) = temp_database();
        writer.checkpoint_passive().unwrap();
        assert_eq!(writer.growth(NOW).unwrap(), None);
        writer.note_size(NOW).unwrap();
        let before = writer.size();
        let large = "INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', printf('%.*c', 900000, 'x'))";
        writer.conn.execute(large, []).unwrap();
        writer.checkpoint_passive().unwrap();
        let bytes = writer.size() - before;
        assert!(bytes >= 800_000, "{bytes}");
        let growth = |age: i64| writer.growth(NOW + age).unwrap().unwrap();
        let expected = |bytes_per_day| Growth {
            since: NOW,
            bytes,
            bytes_per_day,
        };
        assert_eq!(growth(DAY - 1), expected(None));
        assert_eq!(growth(4 * DAY), expected(Some(bytes / 4)));
        // One note a day, and none that is older than a month.
        for age in 0..70 {
            writer.note_size(NOW + age * DAY / 2).unwrap();
        }
        let notes: i64 = writer
            .conn
            .query_row("SELECT count(*) FROM hub WHERE key LIKE 'size_at:%'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(notes, 30);
        assert_eq!((growth(35 * DAY).since, growth(35 * DAY).bytes), (NOW + 5 * DAY, 0));
    }
}
