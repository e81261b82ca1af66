//! Which mail is meant: by its number, its `id` or its `message_id`.
//!
//! For: whoever was given one of the three.
//! Not for: lists (`inbox`).

use rusqlite::OptionalExtension;

use crate::error::{Code, Error, Result};
use crate::store::connection::Reader;
use crate::store::inbox::messages::{COLUMNS, InboxRow};

impl Reader {
    /// The mail with this `id`, `message_id` or number (`n`, also written `#n`), in this
    /// order: for programs, which have the ids from rows.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail(&self, id: &str) -> Result<Option<InboxRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM inbox_messages WHERE id = ?1 OR message_id = ?1 ORDER BY id = ?1 DESC LIMIT 1"
        );
        let found = self
            .conn
            .prepare_cached(&sql)?
            .query_row([id], |row| Ok(InboxRow::read(row)))
            .optional()?;
        match (found, id.strip_prefix('#').unwrap_or(id).parse()) {
            (None, Ok(n)) => self.inbox_row(n),
            (found, _) => Ok(found),
        }
    }

    /// The mail that somebody means who has seen it in a list: a number is the number shown
    /// there, whatever ids other mail has been given; anything else is an id.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_by_number_or_id(&self, typed: &str) -> Result<Option<InboxRow>> {
        let number = typed.strip_prefix('#').unwrap_or(typed).parse();
        match number.map_or(Ok(None), |n| self.inbox_row(n))? {
            None => self.mail(typed),
            found => Ok(found),
        }
    }

    /// As [`Reader::mail_by_number_or_id`], for those who cannot go on without it.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none; a `Store…` code.
    pub fn require_mail_by_number_or_id(&self, typed: &str) -> Result<InboxRow> {
        self.mail_by_number_or_id(typed)?.ok_or_else(|| no_mail(typed))
    }

    /// As [`Reader::mail`], for those who cannot go on without it.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none; a `Store…` code.
    pub fn require_mail(&self, id: &str) -> Result<InboxRow> {
        self.mail(id)?.ok_or_else(|| no_mail(id))
    }
}

fn no_mail(id: &str) -> Error {
    let id: String = id.chars().take(80).collect();
    Error::new(
        Code::NotFound,
        format!("there is no mail {id:?}; agenthub inbox lists what there is"),
    )
}

#[cfg(test)]
mod tests {
    use crate::store::{NetworkFs, NewInbox, ReadContext, Trace, Writer};

    #[test]
    fn a_number_is_the_number_shown_whatever_ids_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        let reading = ReadContext {
            reader: "planner",
            via: "test",
            now: 1,
        };
        for id in ["3", "x", "1"] {
            let new = NewInbox {
                id: Some(id.to_owned()),
                message_id: Some(format!("{id}0")),
                ..NewInbox::new("boss", "planner", format!("id {id}"))
            };
            writer.send(&new).unwrap();
            assert_eq!(writer.send(&new).unwrap().into_row().id, id, "sent once");
        }
        let meant = |typed: &str| writer.require_mail_by_number_or_id(typed).unwrap().n;
        assert_eq!(
            ["1", "#1", "3", "#3", "x", "x0", "30"].map(meant),
            [1, 1, 3, 3, 2, 2, 1]
        );
        assert!(writer.mail_by_number_or_id("4").unwrap().is_none());
        // Rows are found by their ids all the same, and read as what they are.
        assert_eq!(writer.mail("3").unwrap().unwrap().n, 1);
        assert_eq!(writer.read_mail("3", reading).unwrap().n, 1);
        match writer.trace("3").unwrap() {
            Some(Trace::Mail { mail, .. }) => assert_eq!(mail.n, 3),
            other => panic!("{other:?}"),
        }
    }
}
