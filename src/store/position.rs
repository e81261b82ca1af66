//! Positions in the change log: the newest one, and whether the database has a given one.
//!
//! A position names a change by number and random tag. A database that was restored, rolled back or
//! replaced has other tags at the same numbers, so a stored position is always checked.

use rusqlite::{Connection, OptionalExtension};

use super::connection::{Reader, Writer};
use crate::error::{Code, Error, Result};

/// A position in the change log: directly after the change with this number and tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// `changes.seq`; 0 is before the first change.
    pub seq: i64,
    /// `changes.tag` of that row; 0 if `seq` is 0.
    pub tag: i64,
}

impl Position {
    /// Before the first change.
    pub const START: Self = Self { seq: 0, tag: 0 };
}

impl Reader {
    /// Returns the position after the newest change.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn head(&self) -> Result<Position> {
        Ok(self
            .conn
            .prepare_cached("SELECT seq, tag FROM changes ORDER BY seq DESC LIMIT 1")?
            .query_row([], from_row)
            .optional()?
            .unwrap_or(Position::START))
    }

    /// Returns the database's epoch: 32 random hex digits, generated when the database is created.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn epoch(&self) -> Result<String> {
        Ok(epoch(&self.conn)?)
    }

    /// Returns the position at `seq`, or `None` if the change log does not have it any more.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn pos_at(&self, seq: i64) -> Result<Option<Position>> {
        Ok(at(&self.conn, seq)?)
    }

    /// Returns whether the database has this epoch and position. Drops the connection's page cache
    /// first, so that the result comes from the file itself.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn confirms(&self, epoch: &str, pos: Position) -> Result<bool> {
        self.conn.execute_batch("PRAGMA shrink_memory")?;
        self.snapshot(|| Ok(has_epoch_and_position(&self.conn, epoch, pos)?))
    }
}

impl Writer {
    /// Returns whether the database this transaction writes to has this epoch and position. Call it
    /// within the transaction that writes.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn has(&self, epoch: &str, pos: Position) -> Result<bool> {
        Ok(has_epoch_and_position(&self.conn, epoch, pos)?)
    }
}

/// Fails with [`Code::PositionLost`] unless the change log has `pos`. Call it within the same
/// snapshot as the reads that depend on the position.
pub(super) fn require(conn: &Connection, pos: Position) -> Result<()> {
    if has_position(conn, pos)? { Ok(()) } else { Err(lost()) }
}

/// Fails with [`Code::PositionLost`] unless the database has `expected` as its epoch. A restored database has a
/// new one, even if it contains the position.
pub(super) fn require_epoch(conn: &Connection, expected: &str) -> Result<()> {
    match epoch(conn).optional()? {
        Some(epoch) if epoch == expected => Ok(()),
        _ => Err(lost()),
    }
}

/// Reads a position from a row's first two columns. A program that bypasses the triggers can store
/// a tag of another type; it counts as tag 0.
pub(super) fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Position> {
    Ok(Position {
        seq: row.get(0)?,
        tag: row.get_ref(1)?.as_i64().unwrap_or_default() & 0xffff_ffff,
    })
}

/// Returns the error for a position that the change log does not have.
pub(super) fn lost() -> Error {
    Error::new(
        Code::PositionLost,
        "the database does not contain this position: it was replaced, restored, or pruned past it; \
         start again without a position",
    )
}

fn has_epoch_and_position(conn: &Connection, expected_epoch: &str, pos: Position) -> rusqlite::Result<bool> {
    Ok(epoch(conn)? == expected_epoch && has_position(conn, pos)?)
}

fn has_position(conn: &Connection, pos: Position) -> rusqlite::Result<bool> {
    Ok(pos == Position::START || at(conn, pos.seq)? == Some(pos))
}

fn epoch(conn: &Connection) -> rusqlite::Result<String> {
    conn.prepare_cached("SELECT value FROM hub WHERE key = 'epoch'")?
        .query_row([], |row| row.get(0))
}

fn at(conn: &Connection, seq: i64) -> rusqlite::Result<Option<Position>> {
    conn.prepare_cached("SELECT seq, tag FROM changes WHERE seq = ?1")?
        .query_row([seq], from_row)
        .optional()
}
