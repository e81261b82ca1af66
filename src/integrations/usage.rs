//! Token, cost and time totals.

/// The usage of a session or a task.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
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
