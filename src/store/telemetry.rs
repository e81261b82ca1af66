//! The `telemetry` table: cumulative usage totals of processes and sessions.
//!
//! Each row is a total since the instance's start, so rows are never added up; `costs` adds their
//! differences.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::connection::{Reader, Writer};
use super::pagination::{PAGE_BYTES, Page};
use super::row_reader::{RowReader, UnreadableRow};
use crate::error::{Code, Error, Result};
use crate::protocol::TelemetryEvent;

const COLUMNS: &str = "id, instance_id, pid, turns, tokens_in, tokens_out, cost, status, duration_sec, agent_id, \
     model, tokens_cached, cost_source, created_at";

/// One row of the `telemetry` table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TelemetryRow {
    /// Primary key.
    pub id: i64,
    /// The name of the process or session.
    pub instance_id: String,
    /// Process id.
    pub pid: Option<i64>,
    /// Turns of the model so far.
    pub turns: Option<i64>,
    /// Tokens in so far, cached ones included.
    pub tokens_in: Option<i64>,
    /// Tokens out so far.
    pub tokens_out: Option<i64>,
    /// US dollars so far; NULL if unknown.
    pub cost: Option<f64>,
    /// running, completed, error.
    pub status: String,
    /// Seconds so far.
    pub duration_sec: Option<i64>,
    /// The agent the instance belongs to.
    pub agent_id: String,
    /// The model.
    pub model: String,
    /// The cached part of `tokens_in`.
    pub tokens_cached: Option<i64>,
    /// reported, priced, unknown.
    pub cost_source: String,
    /// Unix milliseconds.
    pub created_at: i64,
}

impl TelemetryRow {
    fn read(row: &rusqlite::Row<'_>) -> Result<Self, UnreadableRow> {
        let mut values = RowReader::new(row);
        let telemetry = Self {
            id: values.int(),
            instance_id: values.text(),
            pid: values.maybe_int(),
            turns: values.maybe_int(),
            tokens_in: values.maybe_int(),
            tokens_out: values.maybe_int(),
            cost: values.maybe_real(),
            status: values.text(),
            duration_sec: values.maybe_int(),
            agent_id: values.text(),
            model: values.text(),
            tokens_cached: values.maybe_int(),
            cost_source: values.text(),
            created_at: values.int(),
        };
        values.accept("telemetry", telemetry.id, telemetry)
    }

    /// Returns the approximate size in bytes, in memory and on the wire.
    pub fn weight(&self) -> usize {
        let texts = [
            &self.instance_id,
            &self.status,
            &self.agent_id,
            &self.model,
            &self.cost_source,
        ];
        300 + texts.iter().map(|text| text.len()).sum::<usize>()
    }

    /// Returns the totals in the compatible form.
    pub fn event(&self) -> TelemetryEvent {
        TelemetryEvent {
            instance_id: self.instance_id.clone(),
            pid: self.pid.unwrap_or(0),
            turns: self.turns.unwrap_or(0),
            tokens_in: self.tokens_in.unwrap_or(0),
            tokens_out: self.tokens_out.unwrap_or(0),
            cost: self.cost.unwrap_or(0.0),
            status: self.status.clone(),
            duration_sec: self.duration_sec.unwrap_or(0),
            ..TelemetryEvent::default()
        }
    }

    /// Returns the totals in the extended form, for clients that asked for `streams`.
    pub fn extended(&self) -> TelemetryEvent {
        TelemetryEvent {
            id: self.id,
            agent_id: self.agent_id.clone(),
            model: self.model.clone(),
            tokens_cached: self.tokens_cached.unwrap_or(0),
            cost_source: self.cost_source.clone(),
            created_at: self.created_at,
            ..self.event()
        }
    }
}

/// Running totals to write: the body of `POST /api/telemetry`. A field that is `None` stays NULL or gets
/// the database's default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTelemetry {
    /// The name of the process or session.
    pub instance_id: String,
    /// Its process id.
    pub pid: Option<i64>,
    /// Turns of the model so far.
    pub turns: Option<i64>,
    /// Tokens in so far, cached ones included.
    pub tokens_in: Option<i64>,
    /// Tokens out so far.
    pub tokens_out: Option<i64>,
    /// US dollars so far.
    pub cost: Option<f64>,
    /// running, completed, error.
    pub status: Option<String>,
    /// Seconds so far.
    pub duration_sec: Option<i64>,
    /// The agent the instance belongs to.
    pub agent_id: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The cached part of `tokens_in`.
    pub tokens_cached: Option<i64>,
    /// reported, priced, unknown.
    pub cost_source: Option<String>,
    /// When the totals were counted, Unix milliseconds; `None` for now.
    #[serde(skip)]
    pub created_at: Option<i64>,
}

impl Reader {
    /// Returns the newest row of each instance, if it is before the row `before`: at most `limit`, and
    /// about 8 MiB, newest first.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn telemetry(&self, before: Option<i64>, limit: usize) -> Result<Page<TelemetryRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM telemetry WHERE id IN (SELECT max(id) FROM telemetry GROUP BY instance_id) \
             AND id < ?1 ORDER BY id DESC"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let found = statement.query([before.unwrap_or(i64::MAX)])?;
        Page::draw(
            found,
            limit,
            PAGE_BYTES,
            |row| TelemetryRow::read(row).ok(),
            TelemetryRow::weight,
        )
    }

    pub(super) fn telemetry_row(&self, id: i64) -> Result<Option<Result<TelemetryRow, UnreadableRow>>> {
        let sql = format!("SELECT {COLUMNS} FROM telemetry WHERE id = ?1");
        Ok(self
            .conn
            .prepare_cached(&sql)?
            .query_row([id], |row| Ok(TelemetryRow::read(row)))
            .optional()?)
    }
}

impl Writer {
    /// Writes an instance's totals.
    ///
    /// # Errors
    /// [`Code::Invalid`] if the schema rejects a value, a `Store…` code.
    pub fn record_telemetry(&self, new: &NewTelemetry) -> Result<TelemetryRow> {
        self.conn
            .prepare_cached(
                "INSERT INTO telemetry(instance_id, pid, turns, tokens_in, tokens_out, cost, status, duration_sec, \
                 agent_id, model, tokens_cached, cost_source, created_at) \
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, coalesce(?7, 'running'), ?8, ?9, ?10, ?11, ?12, \
                 coalesce(?13, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)))",
            )?
            .execute(params![
                new.instance_id,
                new.pid,
                new.turns,
                new.tokens_in,
                new.tokens_out,
                new.cost,
                new.status,
                new.duration_sec,
                new.agent_id,
                new.model,
                new.tokens_cached,
                new.cost_source,
                new.created_at,
            ])?;
        match self.telemetry_row(self.conn.last_insert_rowid())? {
            Some(Ok(row)) => Ok(row),
            _ => Err(Error::new(Code::Internal, "the telemetry just written cannot be read")),
        }
    }
}
