//! The free space of the disk that has the database.

use std::path::Path;

use crate::error::{Code, Error, Result};
use crate::text::quantity;

/// Disk space that must be free, in bytes: the size of the largest row.
const MIN_FREE_BYTES: u64 = 1 << 20;

/// Fails if the disk has no space for a row.
pub(super) fn require_disk_space(db: &Path) -> Result<()> {
    match free_bytes(db) {
        Some(bytes) if bytes < MIN_FREE_BYTES => Err(Error::new(
            Code::StoreFull,
            format!(
                "the disk has only {} left, so agents cannot write; free some disk space",
                quantity::bytes(bytes)
            ),
        )),
        // If the free space is unknown, the write itself reports a full disk.
        _ => Ok(()),
    }
}

/// Returns the bytes that this user can still write to the disk of the database at `db`.
pub fn free_bytes(db: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(db).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
