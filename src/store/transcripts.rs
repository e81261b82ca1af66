//! The part of the `sessions` table about tools' own records of sessions: how far each was read, and what it
//! contained. The state is JSON that this module does not interpret.

use rusqlite::{OptionalExtension, params};

use super::connection::{Reader, Writer};
use crate::error::Result;
use crate::protocol::now_ms;

/// Maximum sessions that [`Reader::transcripts`] returns.
const MAX_LISTED: i64 = 1000;

/// What is stored about the tool's record of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TranscriptRow {
    /// `sessions.id`.
    pub session: String,
    /// The path of the record; empty if it is unknown.
    pub path: String,
    /// The state in JSON; empty if there is none.
    pub state: String,
}

impl TranscriptRow {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            session: row.get(0)?,
            path: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
            state: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
        })
    }
}

impl Reader {
    /// Returns what is stored about the record of a session, or `None` if the session is unknown.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn transcript(&self, session: &str) -> Result<Option<TranscriptRow>> {
        Ok(self
            .conn
            .prepare_cached("SELECT id, transcript, transcript_state FROM sessions WHERE id = ?1")?
            .query_row([session], TranscriptRow::read)
            .optional()?)
    }

    /// Returns the sessions whose record has a state, with an event after `since` (Unix milliseconds): at most 1000,
    /// the newest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn transcripts(&self, since: i64) -> Result<Vec<TranscriptRow>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT id, transcript, transcript_state FROM sessions \
             WHERE transcript_state IS NOT NULL AND last_event_at > ?1 ORDER BY last_event_at DESC LIMIT ?2",
        )?;
        let rows = statement.query_map([since, MAX_LISTED], TranscriptRow::read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Writer {
    /// Stores what is known about the record of a session.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn set_transcript(&self, row: &TranscriptRow) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO sessions(id, transcript, transcript_state, created_at, last_event_at) \
                 VALUES(?1, nullif(?2, ''), nullif(?3, ''), ?4, ?4) \
                 ON CONFLICT(id) DO UPDATE SET transcript = coalesce(excluded.transcript, transcript), \
                 transcript_state = excluded.transcript_state, last_event_at = excluded.last_event_at",
            )?
            .execute(params![row.session, row.path, row.state, now_ms()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::temp_database;
    use super::*;

    #[test]
    fn state_is_replaced_and_a_known_path_stays() {
        let (_dir, writer) = temp_database();
        assert_eq!(writer.transcript("s").unwrap(), None);
        let row = TranscriptRow {
            session: "s".into(),
            path: "/a.jsonl".into(),
            state: "{}".into(),
        };
        writer.set_transcript(&row).unwrap();
        assert_eq!(writer.transcript("s").unwrap(), Some(row.clone()));
        let other = TranscriptRow {
            path: String::new(),
            state: "{\"position\":1}".into(),
            ..row
        };
        writer.set_transcript(&other).unwrap();
        let stored = writer.transcript("s").unwrap().unwrap();
        assert_eq!((stored.path.as_str(), &stored.state), ("/a.jsonl", &other.state));
        assert_eq!(writer.transcripts(0).unwrap(), [stored]);
        assert_eq!(writer.transcripts(i64::MAX - 1).unwrap(), []);
    }
}
