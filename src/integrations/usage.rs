//! Token, cost and time totals.

use serde::{Deserialize, Serialize};

use crate::store::TelemetryRow;

/// Upper bound of a total: a larger one is an error of the tool.
const MAX_TOTAL: i64 = 1_000_000_000_000_000;

/// The usage of a session or a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Turns of the model.
    #[serde(skip_serializing_if = "is_zero")]
    pub turns: i64,
    /// Input tokens, cached ones included.
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens_in: i64,
    /// Output tokens.
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens_out: i64,
    /// The cached part of `tokens_in`.
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens_cached: i64,
    /// US dollars, if the tool reports a cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub duration_sec: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(n: &i64) -> bool {
    *n == 0
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

    /// Returns the sum. Each number is at most [`MAX_TOTAL`].
    pub(super) fn plus(self, other: Self) -> Self {
        let sum = |a: i64, b: i64| a.saturating_add(b).min(MAX_TOTAL);
        Self {
            turns: sum(self.turns, other.turns),
            tokens_in: sum(self.tokens_in, other.tokens_in),
            tokens_out: sum(self.tokens_out, other.tokens_out),
            tokens_cached: sum(self.tokens_cached, other.tokens_cached),
            cost: match (self.cost, other.cost) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
            },
            duration_sec: sum(self.duration_sec, other.duration_sec),
        }
    }

    /// Returns this usage without `other`, which is a part of it. No number is negative.
    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            turns: (self.turns - other.turns).max(0),
            tokens_in: (self.tokens_in - other.tokens_in).max(0),
            tokens_out: (self.tokens_out - other.tokens_out).max(0),
            tokens_cached: (self.tokens_cached - other.tokens_cached).max(0),
            cost: self.cost.map(|cost| (cost - other.cost.unwrap_or(0.0)).max(0.0)),
            duration_sec: (self.duration_sec - other.duration_sec).max(0),
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
    /// Who has counted `totals`.
    pub counted_by: CountedBy,
}

/// The source of a session's totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CountedBy {
    /// Recorded streams. Another stream of the session adds its usage.
    #[default]
    Streams,
    /// Hooks, from the tool's own record of the session. It has the usage of all streams.
    Hooks,
}

/// A recorded stream. The same stream may be recorded again, for example from a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Identifies the stream within its session.
    pub key: String,
    /// The session's usage before the stream.
    pub before: Usage,
}
