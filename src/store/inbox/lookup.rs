//! Finds an inbox message by its number, its `id` or its `message_id`.

use rusqlite::OptionalExtension;

use crate::error::{Code, Error, Result};
use crate::store::connection::Reader;
use crate::store::inbox::messages::{COLUMNS, InboxMessageRow};

impl Reader {
    /// Returns the inbox message with this `id`, `message_id` or number (`n`, also written `#n`), tried
    /// in this order. For programs, which have the ids from rows.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail(&self, id: &str) -> Result<Option<InboxMessageRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM inbox_messages WHERE id = ?1 OR message_id = ?1 ORDER BY id = ?1 DESC LIMIT 1"
        );
        let found = self
            .conn
            .prepare_cached(&sql)?
            .query_row([id], |row| Ok(InboxMessageRow::read(row, &self.proofs)))
            .optional()?;
        match (found, id.strip_prefix('#').unwrap_or(id).parse()) {
            (None, Ok(n)) => self.inbox_row(n),
            (found, _) => Ok(found),
        }
    }

    /// Returns the inbox message with this number (`n`, also written `#n`), `message_id` or `id`. For
    /// users, who type the number shown in a list: it has precedence over another message whose id is
    /// the same digits.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn mail_by_number_or_id(&self, typed: &str) -> Result<Option<InboxMessageRow>> {
        let number = typed.strip_prefix('#').unwrap_or(typed).parse();
        match number.map_or(Ok(None), |n| self.inbox_row(n))? {
            None => self.mail(typed),
            found => Ok(found),
        }
    }

    /// As [`Reader::mail_by_number_or_id`], with an error if there is no such message.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none; a `Store…` code.
    pub fn require_mail_by_number_or_id(&self, typed: &str) -> Result<InboxMessageRow> {
        self.mail_by_number_or_id(typed)?.ok_or_else(|| mail_not_found(typed))
    }

    /// As [`Reader::mail`], with an error if there is no such message.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none; a `Store…` code.
    pub fn require_mail(&self, id: &str) -> Result<InboxMessageRow> {
        self.mail(id)?.ok_or_else(|| mail_not_found(id))
    }
}

fn mail_not_found(id: &str) -> Error {
    let id: String = id.chars().take(80).collect();
    Error::new(
        Code::NotFound,
        format!("there is no mail {id:?}; run agenthub inbox to list it"),
    )
}

#[cfg(test)]
mod tests {
    use crate::store::test_support::{by, temp_database};
    use crate::store::{NewInboxMessage, Trace};

    #[test]
    fn numbers_take_precedence_over_ids_for_users_and_ids_for_programs() {
        let (_dir, writer) = temp_database();
        for id in ["3", "x", "1"] {
            let new = NewInboxMessage {
                id: Some(id.to_owned()),
                message_id: Some(format!("{id}0")),
                ..NewInboxMessage::new("boss", "planner", format!("id {id}"))
            };
            writer.send(&new).unwrap();
            assert_eq!(writer.send(&new).unwrap().into_row().id, id, "it is sent once");
        }
        let find = |typed: &str| writer.require_mail_by_number_or_id(typed).unwrap().n;
        assert_eq!(["1", "#1", "3", "#3", "x", "x0", "30"].map(find), [1, 1, 3, 3, 2, 2, 1]);
        assert!(writer.mail_by_number_or_id("4").unwrap().is_none());
        assert_eq!(writer.mail("3").unwrap().unwrap().n, 1);
        assert_eq!(writer.read_mail("3", by("planner", 1)).unwrap().n, 1);
        match writer.trace("3").unwrap() {
            Some(Trace::Mail { mail, .. }) => assert_eq!(mail.n, 3),
            other => panic!("{other:?}"),
        }
    }
}
