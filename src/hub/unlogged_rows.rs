//! The finding that rows are not in the change log: clients do not get them.

use std::sync::{Mutex, PoisonError};

use super::health::StoreFailure;
use crate::error::Code;
use crate::protocol::now_ms;
use crate::store::Table;

/// The finding, if there is one.
#[derive(Debug, Default)]
pub(super) struct UnloggedRows(Mutex<Option<StoreFailure>>);

impl UnloggedRows {
    /// Records the rows found, and logs the beginning and the end of the finding.
    pub(super) fn set(&self, rows: &[(Table, i64)]) {
        let mut finding = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.is_empty() {
            if finding.take().is_some() {
                tracing::info!("the rows are in the change log now");
            }
            return;
        }
        let rows: Vec<String> = rows
            .iter()
            .map(|(table, row)| format!("row {row} of {}", table.name()))
            .collect();
        let message = format!(
            "not in the change log, so clients do not get them: {} (an agent has disabled or dropped triggers); \
             run agenthub doctor, then agenthub doctor --repair",
            rows.join(", ")
        );
        if finding.is_none() {
            tracing::error!("{message}");
        }
        let since = finding.as_ref().map_or_else(now_ms, |known| known.since);
        *finding = Some(StoreFailure {
            code: Code::StoreCorrupt.name(),
            message,
            since,
        });
    }

    /// Returns the finding.
    pub(super) fn get(&self) -> Option<StoreFailure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
