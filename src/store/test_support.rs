//! Helpers of the store's unit tests.

use rusqlite::StatementStatus;
use tempfile::TempDir;

use super::{InboxMessageRow, NetworkFs, NewInboxMessage, ReadContext, Writer};

/// Returns a new database in a temporary directory, which is removed when the returned `TempDir` is
/// dropped.
pub(super) fn temp_database() -> (TempDir, Writer) {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::open(&dir.path().join("hub.db"), NetworkFs::Refuse).unwrap();
    (dir, writer)
}

/// Returns the context of a read by `reader` at the time `now`.
pub(super) fn by(reader: &str, now: i64) -> ReadContext<'_> {
    ReadContext {
        reader,
        via: "test",
        now,
    }
}

/// Sends an inbox message from `boss`.
pub(super) fn send(writer: &Writer, to: &str, text: &str) -> InboxMessageRow {
    writer.send(&NewInboxMessage::new("boss", to, text)).unwrap().into_row()
}

/// Returns the payloads of inbox messages.
pub(super) fn payloads(mail: &[InboxMessageRow]) -> Vec<String> {
    mail.iter().map(|row| row.payload.clone()).collect()
}

/// Returns the number of virtual machine instructions that cached statements have executed.
pub(super) fn vm_steps(writer: &Writer, statements: &[&str]) -> i32 {
    let steps = |sql: &&str| {
        writer
            .conn
            .prepare_cached(sql)
            .unwrap()
            .get_status(StatementStatus::VmStep)
    };
    statements.iter().map(steps).sum()
}
