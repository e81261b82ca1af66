//! The usage of one call of a model, as the tool's own record of a session has it.

use serde_json::Value;

use crate::integrations::json_fields::number;
use crate::integrations::usage::Usage;

/// The type of a line with such a usage.
pub(super) const USAGE_RECORD: &str = "session.usage_record";

/// Returns the usage in `data.usage` of such a line. Its `cost` is no amount of money.
pub(super) fn call_usage(call: &Value) -> Usage {
    Usage {
        tokens_in: number(call, "inputTokens"),
        tokens_out: number(call, "outputTokens"),
        tokens_cached: number(call, "cacheReadTokens"),
        ..Usage::default()
    }
}
