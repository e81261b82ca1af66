//! Token, cost and time totals.

use serde::{Deserialize, Serialize};

use crate::store::TelemetryRow;

/// The usage of a session or a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Turns of the model.
    pub turns: i64,
    /// Input tokens, cached ones included.
    pub tokens_in: i64,
    /// Output tokens.
    pub tokens_out: i64,
    /// The cached part of `tokens_in`.
    pub tokens_cached: i64,
    /// US dollars, if the tool reports a cost.
    pub cost: Option<f64>,
    /// Seconds.
    pub duration_sec: i64,
}

impl Usage {
    /// Returns the totals of a telemetry row.
    pub(super) fn of_row(row: &TelemetryRow) -> Self {
        Self {
            turns: row.turns.unwrap_or(0),
            tokens_in: row.tokens_in.unwrap_or(0),
            tokens_out: row.tokens_out.unwrap_or(0),
            tokens_cached: row.tokens_cached.unwrap_or(0),
            cost: row.cost,
            duration_sec: row.duration_sec.unwrap_or(0),
        }
    }

    /// Returns the sum.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            turns: self.turns + other.turns,
            tokens_in: self.tokens_in + other.tokens_in,
            tokens_out: self.tokens_out + other.tokens_out,
            tokens_cached: self.tokens_cached + other.tokens_cached,
            cost: match (self.cost, other.cost) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
            },
            duration_sec: self.duration_sec + other.duration_sec,
        }
    }

    /// Returns the larger value of each field.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            turns: self.turns.max(other.turns),
            tokens_in: self.tokens_in.max(other.tokens_in),
            tokens_out: self.tokens_out.max(other.tokens_out),
            tokens_cached: self.tokens_cached.max(other.tokens_cached),
            cost: match (self.cost, other.cost) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            },
            duration_sec: self.duration_sec.max(other.duration_sec),
        }
    }
}

/// What is known of a session before its stream is recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionHistory {
    /// The session's usage so far.
    pub totals: Usage,
    /// The streams of the session that were recorded, the oldest first.
    pub recordings: Vec<Recording>,
}

/// A recorded stream. The same stream may be recorded again, for example from a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Identifies the stream within its session.
    pub key: String,
    /// The session's usage before the stream.
    pub before: Usage,
}
