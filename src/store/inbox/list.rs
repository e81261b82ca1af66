//! Lists the messages of an inbox, newest first or in the order of their handover, and all inboxes with their
//! counts.

use std::borrow::Cow;

use rusqlite::{ToSql, params};
use serde::Serialize;

use crate::error::Result;
use crate::store::connection::Reader;
use crate::store::inbox::addressing::{ALL_INBOXES, HANDOVER_ORDER};
use crate::store::inbox::messages::{COLUMNS, InboxMessageRow};
use crate::store::pagination::{PAGE_BYTES, Page};
use crate::store::row_reader::RowReader;

/// Maximum number of statuses of an inbox whose rows are merged in index order. An inbox with more,
/// which only another program's rows have, is sorted instead.
const MAX_STATUSES: usize = 8;
/// Number of a list's SQL parameters, without the statuses that follow them.
const FIXED_PARAMETERS: usize = 9;

/// A message's status for one reader: `?2` is [`ALL_INBOXES`], `?9` the reader. The row of mail to `all`
/// stays unread; each reader's status follows from its receipts.
const READER_STATUS: &str = "CASE WHEN m.to_inbox = ?2 AND m.status = 'unread' AND ?9 IS NOT NULL THEN coalesce(\
     (SELECT CASE r.state WHEN 'archived' THEN 'archived' ELSE 'read' END FROM receipts r \
     WHERE r.message_id = m.message_id AND r.reader = ?9 AND r.state IN ('seen', 'acked', 'archived') \
     ORDER BY r.state = 'archived' DESC LIMIT 1), 'unread') ELSE m.status END";

/// Whether a message is in the list of inbox `?1` for the reader `?9`. Mail to `all` is in an agent's inbox if it
/// was sent after the agent's first row and by another sender. The agent's number covers what it was offered, of
/// which it has receipts.
const IS_FOR_READER: &str = "(m.to_inbox <> ?2 OR ?1 IS ?2 OR ?1 IS NULL OR (m.from_agent <> ?9 OR ?9 = 'human') AND \
     (m.n > coalesce((SELECT broadcasts_after FROM agents WHERE id = ?9), 0) \
     OR EXISTS (SELECT 1 FROM receipts r WHERE r.message_id = m.message_id AND r.reader = ?9)))";

/// [`COLUMNS`], with the status for the reader instead of the row's status.
fn columns_for_reader() -> String {
    let columns = COLUMNS.split(',').map(str::trim).map(|column| match column {
        "status" => Cow::from(format!("{READER_STATUS} AS status")),
        column => Cow::from(column),
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// The order of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InboxOrder {
    /// Newest first.
    #[default]
    Newest,
    /// As mail is handed over: urgent first, then action, then all other priorities; of each the oldest first.
    Handover,
}

/// The messages to list. Expired ones are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxFilter {
    /// Only this inbox, including mail to `all` that was sent after the reader's first row.
    pub inbox: Option<String>,
    /// The reader; the owner of the inbox if absent.
    pub reader: Option<String>,
    /// Only messages with this status for the reader; if absent, all that are not deleted. `unread`
    /// leaves out messages claimed by others.
    pub status: Option<String>,
    /// Only mail from this sender.
    pub from: Option<String>,
    /// Only rows before this one.
    pub before: Option<i64>,
    /// Only rows after this one.
    pub after: Option<i64>,
    /// The current time, Unix milliseconds: decides what has expired and which leases are running.
    pub now: i64,
    /// The order of the rows.
    pub order: InboxOrder,
    /// Maximum number of rows.
    pub limit: usize,
}

/// An inbox and its counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InboxSummary {
    /// The name of the inbox.
    pub inbox: String,
    /// Number of messages that are not deleted.
    pub total: i64,
    /// Number of unread messages.
    pub unread: i64,
    /// `created_at` of the newest message, Unix milliseconds.
    pub newest_at: i64,
}

/// A range of rows that an index returns in order: an SQL condition, and the value of its status
/// parameter.
struct IndexRange {
    condition: String,
    status: Option<String>,
}

impl IndexRange {
    fn without_status(condition: &str) -> Self {
        Self {
            condition: condition.to_owned(),
            status: None,
        }
    }
}

/// A statement that selects the messages of an inbox, and its parameters after the fixed ones.
struct InboxSelect {
    sql: String,
    statuses: Vec<String>,
}

impl Reader {
    /// Returns the messages that match `filter`. The status of mail to `all` is that for the reader.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn inbox(&self, filter: &InboxFilter) -> Result<Vec<InboxMessageRow>> {
        Ok(self.inbox_within(filter, usize::MAX)?.items)
    }

    /// As [`Reader::inbox`], limited to about 8 MiB.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn inbox_page(&self, filter: &InboxFilter) -> Result<Page<InboxMessageRow>> {
        self.inbox_within(filter, PAGE_BYTES)
    }

    /// Returns the number of messages that match `filter`, whatever its limit.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn inbox_count(&self, filter: &InboxFilter) -> Result<usize> {
        self.snapshot(|| {
            let Some(rows) = self.select_inbox(filter, "m.n AS n")? else {
                return Ok(0);
            };
            let sql = format!("SELECT count(*) FROM ({})", rows.sql);
            let count: i64 = self.query_inbox(filter, &rows, &sql, |statement, values| {
                Ok(statement.query_row(values, |row| row.get(0))?)
            })?;
            Ok(usize::try_from(count).unwrap_or(0))
        })
    }

    fn inbox_within(&self, filter: &InboxFilter, bytes: usize) -> Result<Page<InboxMessageRow>> {
        self.snapshot(|| {
            let Some(rows) = self.select_inbox(filter, &columns_for_reader())? else {
                return Ok(Page::new());
            };
            let sql = match filter.order {
                InboxOrder::Newest => format!("{} ORDER BY n DESC LIMIT ?8", rows.sql),
                InboxOrder::Handover => format!("SELECT * FROM ({}) ORDER BY {HANDOVER_ORDER} LIMIT ?8", rows.sql),
            };
            self.query_inbox(filter, &rows, &sql, |statement, values| {
                let read = |row: &rusqlite::Row<'_>| Some(InboxMessageRow::read(row, &self.proofs));
                Page::draw(
                    statement.query(values)?,
                    filter.limit,
                    bytes,
                    read,
                    InboxMessageRow::weight,
                )
            })
        })
    }

    /// Returns a statement that selects `columns` of all messages that match `filter`, unordered; `None` if
    /// there are none.
    fn select_inbox(&self, filter: &InboxFilter, columns: &str) -> Result<Option<InboxSelect>> {
        let ranges = self.index_ranges(filter)?;
        // A NULL parameter disables its condition.
        let select = |range: &IndexRange| {
            format!(
                "SELECT {columns} FROM inbox_messages m WHERE {} AND {IS_FOR_READER} \
                 AND (CASE WHEN ?3 IS NULL THEN m.status <> 'deleted' ELSE {READER_STATUS} = ?3 END) \
                 AND (?4 IS NULL OR from_agent = ?4) \
                 AND n < ?5 AND n > ?6 AND (expires_at IS NULL OR expires_at > ?7) \
                 AND (?3 IS NOT 'unread' OR coalesce(claimed_by, '') IN ('', ?9) OR coalesce(claim_expires_at, 0) <= ?7)",
                range.condition
            )
        };
        let selects: Vec<String> = ranges.iter().map(select).collect();
        Ok((!selects.is_empty()).then(|| InboxSelect {
            sql: selects.join(" UNION ALL "),
            statuses: ranges.into_iter().filter_map(|range| range.status).collect(),
        }))
    }

    /// Prepares `sql`, which contains `rows`, and passes it to `run` with its parameters.
    fn query_inbox<T>(
        &self,
        filter: &InboxFilter,
        rows: &InboxSelect,
        sql: &str,
        run: impl FnOnce(&mut rusqlite::Statement<'_>, &[&dyn ToSql]) -> Result<T>,
    ) -> Result<T> {
        let before = filter.before.unwrap_or(i64::MAX);
        let after = filter.after.unwrap_or(i64::MIN);
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1);
        let reader = filter.reader.as_ref().or(filter.inbox.as_ref());
        let mut values: Vec<&dyn ToSql> = vec![
            &filter.inbox,
            &ALL_INBOXES,
            &filter.status,
            &filter.from,
            &before,
            &after,
            &filter.now,
            &limit,
            &reader,
        ];
        values.extend(rows.statuses.iter().map(|status| status as &dyn ToSql));
        run(&mut *self.conn.prepare_cached(sql)?, &values)
    }

    /// Returns the index ranges that contain the messages of `filter`. SQLite reads each range newest
    /// first and merges them, so the cost of a list depends on its length and not on the amount of
    /// mail.
    fn index_ranges(&self, filter: &InboxFilter) -> Result<Vec<IndexRange>> {
        let Some(inbox) = &filter.inbox else {
            return Ok(vec![IndexRange::without_status("1")]);
        };
        let mut ranges = Vec::new();
        let inboxes = [(inbox.as_str(), "to_inbox = ?1"), (ALL_INBOXES, "to_inbox = ?2")];
        let count = if inbox == ALL_INBOXES { 1 } else { 2 };
        for (name, condition) in &inboxes[..count] {
            let statuses = match &filter.status {
                None => match self.statuses(name)? {
                    Some(statuses) => statuses,
                    None => {
                        ranges.push(IndexRange::without_status(condition));
                        continue;
                    }
                },
                // Mail to `all` with this status for the reader may have an unread row.
                Some(status) if *name == ALL_INBOXES && status != "unread" => {
                    vec![status.clone(), "unread".to_owned()]
                }
                Some(status) => vec![status.clone()],
            };
            for status in statuses {
                let bound = ranges
                    .iter()
                    .filter(|range: &&IndexRange| range.status.is_some())
                    .count();
                ranges.push(IndexRange {
                    condition: format!("{condition} AND m.status = ?{}", FIXED_PARAMETERS + 1 + bound),
                    status: Some(status),
                });
            }
        }
        Ok(ranges)
    }

    /// Returns the statuses of an inbox's messages, without deleted ones; `None` if there are more than
    /// [`MAX_STATUSES`], or if one is not valid text and cannot be a parameter.
    fn statuses(&self, inbox: &str) -> Result<Option<Vec<String>>> {
        let mut statement = self.conn.prepare_cached(
            "WITH RECURSIVE states(state) AS (SELECT min(status) FROM inbox_messages WHERE to_inbox = ?1 UNION ALL \
             SELECT (SELECT min(status) FROM inbox_messages WHERE to_inbox = ?1 AND status > state) \
             FROM states WHERE state IS NOT NULL) \
             SELECT state FROM states WHERE state IS NOT NULL AND state <> 'deleted' LIMIT ?2",
        )?;
        let limit = i64::try_from(MAX_STATUSES + 1).unwrap_or(i64::MAX);
        let mut found = statement.query(params![inbox, limit])?;
        let mut statuses = Vec::new();
        while let Some(row) = found.next()? {
            let status = row.get_ref(0)?.as_str().map(str::to_owned);
            let (Ok(status), true) = (status, statuses.len() < MAX_STATUSES) else {
                return Ok(None);
            };
            statuses.push(status);
        }
        Ok(Some(statuses))
    }

    /// Returns all inboxes that have messages: those with unread ones first, then most recent first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mailboxes(&self) -> Result<Vec<InboxSummary>> {
        Ok(self.mailboxes_within(None, (usize::MAX, usize::MAX))?.items)
    }

    /// As [`Reader::mailboxes`], limited to `limit` inboxes and about 8 MiB. `after` is the last one of
    /// the previous page, as it was listed.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mailboxes_page(&self, after: Option<&InboxSummary>, limit: usize) -> Result<Page<InboxSummary>> {
        self.mailboxes_within(after, (limit, PAGE_BYTES))
    }

    fn mailboxes_within(
        &self,
        after: Option<&InboxSummary>,
        (limit, bytes): (usize, usize),
    ) -> Result<Page<InboxSummary>> {
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
            let mut values = RowReader::new(row);
            Some(InboxSummary {
                inbox: values.text(),
                total: values.int(),
                unread: values.int(),
                newest_at: values.int(),
            })
        };
        Page::draw(found, limit, bytes, read, |mailbox| 100 + mailbox.inbox.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_support::{send, temp_database};

    #[test]
    fn merged_lists_equal_sorted_lists() {
        let (_dir, writer) = temp_database();
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
        for (i, to) in ["planner", ALL_INBOXES, "tester"].iter().cycle().take(30).enumerate() {
            let n = send(&writer, to, "x").n;
            let sql = "UPDATE inbox_messages SET status = ?1 WHERE n = ?2";
            writer.conn.execute(sql, params![states[i % states.len()], n]).unwrap();
        }
        let sorted = |condition: &str| {
            let sql = format!("SELECT n FROM inbox_messages WHERE {condition} ORDER BY n DESC");
            let mut statement = writer.conn.prepare(&sql).unwrap();
            let found = statement.query_map([], |row| row.get(0)).unwrap();
            found.collect::<rusqlite::Result<Vec<i64>>>().unwrap()
        };
        let in_inbox = "to_inbox IN ('planner', 'all')";
        let all = sorted(&format!("{in_inbox} AND status <> 'deleted'"));
        assert_eq!(list(Some("planner"), None, 99), (all.clone(), false));
        assert_eq!(list(Some("planner"), None, 7), (all[..7].to_vec(), true));
        for state in ["unread", "read", "archived", "deleted", "unused"] {
            let expected = sorted(&format!("{in_inbox} AND status = '{state}'"));
            assert_eq!(list(Some("planner"), Some(state), 99), (expected, false), "{state}");
            let expected = sorted(&format!("to_inbox = 'all' AND status = '{state}'"));
            assert_eq!(list(Some(ALL_INBOXES), Some(state), 99).0, expected, "{state}");
        }
        assert_eq!(list(None, None, 99).0, sorted("status <> 'deleted'"));
        // More statuses than are merged.
        let update = "UPDATE inbox_messages SET status = 'state ' || n WHERE to_inbox = 'planner'";
        writer.conn.execute(update, []).unwrap();
        assert_eq!(
            list(Some("planner"), None, 99).0,
            sorted(&format!("{in_inbox} AND status <> 'deleted'"))
        );
        assert_eq!(list(Some("planner"), Some("state 1"), 99).0, [1]);
        // Statuses that are not valid UTF-8.
        let update =
            "UPDATE inbox_messages SET status = CAST(iif(n % 2, x'ff', x'fe') AS TEXT) WHERE to_inbox = 'planner'";
        writer.conn.execute(update, []).unwrap();
        assert_eq!(
            list(Some("planner"), None, 99).0,
            sorted(&format!("{in_inbox} AND status <> 'deleted'"))
        );
    }
}
