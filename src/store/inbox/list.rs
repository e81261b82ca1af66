//! Mailboxes: what is in one, newest first, and which there are.
//!
//! For: lists of mail.
//! Not for: a single piece, or sending one (`inbox`).

use rusqlite::{ToSql, params};
use serde::Serialize;

use crate::error::Result;
use crate::store::connection::Reader;
use crate::store::inbox::addressing::EVERYBODY;
use crate::store::inbox::messages::{COLUMNS, InboxRow};
use crate::store::pagination::{PAGE_BYTES, Page};
use crate::store::row_reader::RowReader;

/// States of one mailbox that a list is merged from. One with more, which only a foreign
/// writer makes, is sorted instead.
const STATES: usize = 8;
/// Parameters of a list but for the states.
const CONDITIONS: usize = 9;

/// The status as one reader has it: `?2` is [`EVERYBODY`], `?9` the reader. What was sent to
/// everybody is unread until each has dealt with it, which only their receipts tell.
const STANDING: &str = "CASE WHEN m.to_inbox = ?2 AND m.status = 'unread' AND ?9 IS NOT NULL THEN coalesce(\
     (SELECT CASE r.state WHEN 'archived' THEN 'archived' ELSE 'read' END FROM receipts r \
     WHERE r.message_id = m.message_id AND r.reader = ?9 AND r.state IN ('seen', 'acked', 'archived') \
     ORDER BY r.state = 'archived' DESC LIMIT 1), 'unread') ELSE m.status END";

/// Which mail to list: newest first, mail that has expired left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxFilter {
    /// Only this mailbox, with what was sent to `all`.
    pub inbox: Option<String>,
    /// Who asks; the owner of the mailbox if absent.
    pub reader: Option<String>,
    /// Only mail in this state, as the reader has it; if absent, all that is not deleted. `unread` leaves out what somebody
    /// else works on.
    pub status: Option<String>,
    /// Only mail from this sender.
    pub from: Option<String>,
    /// Only rows before this one.
    pub before: Option<i64>,
    /// Only rows after this one.
    pub after: Option<i64>,
    /// The time now, Unix milliseconds: decides what has expired and which claims run.
    pub now: i64,
    /// Rows at most.
    pub limit: usize,
}

/// A mailbox and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MailboxRow {
    /// Whose it is.
    pub inbox: String,
    /// All mail that is not deleted.
    pub total: i64,
    /// Mail nobody has read.
    pub unread: i64,
    /// When the newest came, Unix milliseconds.
    pub newest_at: i64,
}

/// Rows that the index has in order: a condition, and the state that its last parameter is.
struct Place {
    sql: String,
    state: Option<String>,
}

impl Place {
    fn whole(sql: &str) -> Self {
        Self {
            sql: sql.to_owned(),
            state: None,
        }
    }
}

impl Reader {
    /// The mail that `filter` describes, newest first. The status of mail to everybody is the
    /// one it has for the reader.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn inbox(&self, filter: &InboxFilter) -> Result<Vec<InboxRow>> {
        Ok(self.inbox_within(filter, usize::MAX)?.items)
    }

    /// As [`Reader::inbox`], about 8 MiB of it.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn inbox_page(&self, filter: &InboxFilter) -> Result<Page<InboxRow>> {
        self.inbox_within(filter, PAGE_BYTES)
    }

    fn inbox_within(&self, filter: &InboxFilter, bytes: usize) -> Result<Page<InboxRow>> {
        self.snapshot(|| {
            let places = self.places(filter)?;
            let columns = COLUMNS.replace("status", &format!("{STANDING} AS status"));
            // Every condition is switched off by a NULL.
            let select = |place: &str| {
                format!(
                    "SELECT {columns} FROM inbox_messages m WHERE {place} \
                     AND (CASE WHEN ?3 IS NULL THEN m.status <> 'deleted' ELSE {STANDING} = ?3 END) \
                     AND (?4 IS NULL OR from_agent = ?4) \
                     AND n < ?5 AND n > ?6 AND (expires_at IS NULL OR expires_at > ?7) \
                     AND (?3 IS NOT 'unread' OR coalesce(claimed_by, '') IN ('', ?9) OR coalesce(claim_expires_at, 0) <= ?7)"
                )
            };
            let all: Vec<String> = places.iter().map(|place| select(&place.sql)).collect();
            if all.is_empty() {
                return Ok(Page::new());
            }
            let before = filter.before.unwrap_or(i64::MAX);
            let after = filter.after.unwrap_or(i64::MIN);
            let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1);
            let reader = filter.reader.as_ref().or(filter.inbox.as_ref());
            let mut values: Vec<&dyn ToSql> = vec![
                &filter.inbox,
                &EVERYBODY,
                &filter.status,
                &filter.from,
                &before,
                &after,
                &filter.now,
                &limit,
                &reader,
            ];
            values.extend(places.iter().filter_map(|place| place.state.as_ref()).map(|state| state as &dyn ToSql));
            let sql = format!("{} ORDER BY n DESC LIMIT ?8", all.join(" UNION ALL "));
            let mut statement = self.conn.prepare_cached(&sql)?;
            let found = statement.query(&values[..])?;
            let read = |row: &rusqlite::Row<'_>| Some(InboxRow::read(row));
            Page::draw(found, filter.limit, bytes, read, InboxRow::weight)
        })
    }

    /// Where to look for what `filter` describes. Of each place the index gives the newest
    /// first, and what they give is merged: a list costs what is on it, however much mail
    /// there is.
    fn places(&self, filter: &InboxFilter) -> Result<Vec<Place>> {
        let Some(inbox) = &filter.inbox else {
            return Ok(vec![Place::whole("1")]);
        };
        let mut places = Vec::new();
        let mailboxes = [(inbox.as_str(), "to_inbox = ?1"), (EVERYBODY, "to_inbox = ?2")];
        let count = if inbox == EVERYBODY { 1 } else { 2 };
        for (mailbox, sql) in &mailboxes[..count] {
            let states = match &filter.status {
                None => match self.states(mailbox)? {
                    Some(states) => states,
                    None => {
                        places.push(Place::whole(sql));
                        continue;
                    }
                },
                // It may have become this for the reader alone.
                Some(state) if *mailbox == EVERYBODY && state != "unread" => vec![state.clone(), "unread".to_owned()],
                Some(state) => vec![state.clone()],
            };
            for state in states {
                let bound = places.iter().filter(|place: &&Place| place.state.is_some()).count();
                places.push(Place {
                    sql: format!("{sql} AND m.status = ?{}", CONDITIONS + 1 + bound),
                    state: Some(state),
                });
            }
        }
        Ok(places)
    }

    /// The states that mail of a mailbox is in, but for what is deleted; `None` if they are more
    /// than [`STATES`], or one is no text that could be asked for.
    fn states(&self, mailbox: &str) -> Result<Option<Vec<String>>> {
        let mut statement = self.conn.prepare_cached(
            "WITH RECURSIVE states(state) AS (SELECT min(status) FROM inbox_messages WHERE to_inbox = ?1 UNION ALL \
             SELECT (SELECT min(status) FROM inbox_messages WHERE to_inbox = ?1 AND status > state) \
             FROM states WHERE state IS NOT NULL) \
             SELECT state FROM states WHERE state IS NOT NULL AND state <> 'deleted' LIMIT ?2",
        )?;
        let most = i64::try_from(STATES + 1).unwrap_or(i64::MAX);
        let mut found = statement.query(params![mailbox, most])?;
        let mut states = Vec::new();
        while let Some(row) = found.next()? {
            let state = row.get_ref(0)?.as_str().map(str::to_owned);
            let (Ok(state), true) = (state, states.len() < STATES) else {
                return Ok(None);
            };
            states.push(state);
        }
        Ok(Some(states))
    }

    /// Every mailbox that has mail, those with unread mail first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mailboxes(&self) -> Result<Vec<MailboxRow>> {
        Ok(self.mailboxes_within(None, (usize::MAX, usize::MAX))?.items)
    }

    /// As [`Reader::mailboxes`], at most `limit` after the mailbox `after` as it was listed,
    /// and about 8 MiB of them.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mailboxes_page(&self, after: Option<&MailboxRow>, limit: usize) -> Result<Page<MailboxRow>> {
        self.mailboxes_within(after, (limit, PAGE_BYTES))
    }

    fn mailboxes_within(&self, after: Option<&MailboxRow>, most: (usize, usize)) -> Result<Page<MailboxRow>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT to_inbox, total, unread, newest FROM (SELECT to_inbox, count(*) AS total, \
             coalesce(sum(status = 'unread'), 0) AS unread, coalesce(max(created_at), 0) AS newest \
             FROM inbox_messages WHERE status <> 'deleted' GROUP BY to_inbox) \
             WHERE ?3 IS NULL OR (unread > 0, newest, to_inbox) < (?1, ?2, ?3) \
             ORDER BY unread > 0 DESC, newest DESC, to_inbox DESC",
        )?;
        let found = statement.query(params![
            after.map(|mailbox| mailbox.unread > 0),
            after.map(|mailbox| mailbox.newest_at),
            after.map(|mailbox| mailbox.inbox.as_str()),
        ])?;
        let read = |row: &rusqlite::Row<'_>| {
            let mut cells = RowReader::new(row);
            Some(MailboxRow {
                inbox: cells.text(),
                total: cells.int(),
                unread: cells.int(),
                newest_at: cells.int(),
            })
        };
        Page::draw(found, most.0, most.1, read, |mailbox| 100 + mailbox.inbox.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NetworkFs, NewInbox, Writer};

    /// However mail is spread over mailboxes and states, a list is what sorting everything
    /// would give.
    #[test]
    fn merged_lists_are_sorted_ones() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        let list = |inbox: Option<&str>, status: Option<&str>, limit| {
            let filter = InboxFilter {
                inbox: inbox.map(str::to_owned),
                status: status.map(str::to_owned),
                limit,
                ..InboxFilter::default()
            };
            let page = writer.inbox_page(&filter).unwrap();
            (page.items.iter().map(|mail| mail.n).collect::<Vec<_>>(), page.has_more)
        };
        assert_eq!(list(Some("planner"), None, 9), (vec![], false));
        let states = ["unread", "read", "deleted", "archived", "unread"];
        for (i, to) in ["planner", EVERYBODY, "tester"].iter().cycle().take(30).enumerate() {
            let n = writer.send(&NewInbox::new("boss", *to, "x")).unwrap().into_row().n;
            let sql = "UPDATE inbox_messages SET status = ?1 WHERE n = ?2";
            writer.conn.execute(sql, params![states[i % states.len()], n]).unwrap();
        }
        let sorted = |condition: &str| {
            let sql = format!("SELECT n FROM inbox_messages WHERE {condition} ORDER BY n DESC");
            let mut statement = writer.conn.prepare(&sql).unwrap();
            let found = statement.query_map([], |row| row.get(0)).unwrap();
            found.collect::<rusqlite::Result<Vec<i64>>>().unwrap()
        };
        let hers = "to_inbox IN ('planner', 'all')";
        let all = sorted(&format!("{hers} AND status <> 'deleted'"));
        assert_eq!(list(Some("planner"), None, 99), (all.clone(), false));
        assert_eq!(list(Some("planner"), None, 7), (all[..7].to_vec(), true));
        for state in ["unread", "read", "archived", "deleted", "unheard-of"] {
            let of = sorted(&format!("{hers} AND status = '{state}'"));
            assert_eq!(list(Some("planner"), Some(state), 99), (of, false), "{state}");
            let of = sorted(&format!("to_inbox = 'all' AND status = '{state}'"));
            assert_eq!(list(Some(EVERYBODY), Some(state), 99).0, of, "{state}");
        }
        assert_eq!(list(None, None, 99).0, sorted("status <> 'deleted'"));
        // More states than are worth merging.
        let odd = "UPDATE inbox_messages SET status = 'state ' || n WHERE to_inbox = 'planner'";
        writer.conn.execute(odd, []).unwrap();
        assert_eq!(
            list(Some("planner"), None, 99).0,
            sorted(&format!("{hers} AND status <> 'deleted'"))
        );
        assert_eq!(list(Some("planner"), Some("state 1"), 99).0, [1]);
        // Some that are no UTF-8.
        let odd =
            "UPDATE inbox_messages SET status = CAST(iif(n % 2, x'ff', x'fe') AS TEXT) WHERE to_inbox = 'planner'";
        writer.conn.execute(odd, []).unwrap();
        assert_eq!(
            list(Some("planner"), None, 99).0,
            sorted(&format!("{hers} AND status <> 'deleted'"))
        );
    }
}
