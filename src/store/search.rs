//! Search: what was said, by its words.
//!
//! For: messages and mail that have all the words looked for. Not for: ranking.

use rusqlite::params;
use serde::Serialize;

use super::cells::Cells;
use super::open::Reader;
use crate::error::{Code, Error, Result};

/// Characters of a snippet.
const SNIPPET: usize = 160;

/// A row that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// messages or `inbox_messages`.
    pub table: &'static str,
    /// `messages.id` or `inbox_messages.message_id`.
    pub id: String,
    /// The thread, if it has one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub thread_id: String,
    /// The inbox mail is in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to_inbox: String,
    /// The task of an event.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub task_id: String,
    /// Who wrote it.
    pub from: String,
    /// Subject or title.
    pub title: String,
    /// The beginning of the text.
    pub snippet: String,
    /// Unix milliseconds.
    pub created_at: i64,
}

impl Reader {
    /// At most `limit` rows that have all words of `query`, the newest first. `now` decides
    /// what has expired, Unix milliseconds.
    ///
    /// # Errors
    /// [`Code::Invalid`] if there is no word in `query`; a `Store…` code.
    pub fn search(&self, query: &str, limit: usize, now: i64) -> Result<Vec<Hit>> {
        let words: Vec<_> = query.split_whitespace().map(str::to_lowercase).collect();
        let Some(first) = words.first() else {
            return Err(Error::new(Code::Invalid, "nothing to search for; give a word or more"));
        };
        let mut statement = self.conn.prepare_cached(
            "SELECT 0, id, thread_id, '', from_id, subject, content, created_at FROM messages \
             WHERE deleted_at IS NULL AND instr(lower(coalesce(subject, '') || ' ' || content), ?1) \
             UNION ALL \
             SELECT 1, message_id, '', to_inbox, from_agent, title, payload, created_at FROM inbox_messages \
             WHERE status <> 'deleted' AND (expires_at IS NULL OR expires_at > ?2) \
             AND instr(lower(title || ' ' || coalesce(payload, '')), ?1) ORDER BY created_at DESC",
        )?;
        let mut rows = statement.query(params![first, now])?;
        let mut hits = Vec::new();
        while let Some(row) = rows.next()?.filter(|_| hits.len() < limit) {
            let mut cells = Cells::new(row);
            let table = if cells.int() == 0 { "messages" } else { "inbox_messages" };
            let mut hit = Hit {
                table,
                id: cells.text(),
                thread_id: cells.text(),
                to_inbox: cells.text(),
                from: cells.text(),
                title: cells.text(),
                ..Hit::default()
            };
            let text = cells.text();
            hit.created_at = cells.int();
            let all = format!("{} {text}", hit.title).to_lowercase();
            if words.iter().all(|word| all.contains(word)) {
                hit.snippet = text.chars().take(SNIPPET).collect();
                hits.push(hit);
            }
        }
        Ok(hits)
    }
}
