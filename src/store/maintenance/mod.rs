//! Maintenance of the database: checkpoints, integrity checks, status, pruning, backups and restores.

pub(super) mod backup;
pub(super) mod file_status;
pub(super) mod growth;
pub(super) mod integrity;
pub(super) mod prune;
pub(super) mod restore;
mod schema_differences;
mod sql_dump;
mod sql_text;
pub(super) mod thread;
pub(super) mod unlogged_rows;
