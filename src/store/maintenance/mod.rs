//! Maintenance of the database: checkpoints, integrity checks, status, pruning and backups.

pub(super) mod backup;
pub(super) mod file_status;
pub(super) mod growth;
pub(super) mod integrity;
pub(super) mod prune;
mod schema_differences;
pub(super) mod thread;
pub(super) mod unlogged_rows;
