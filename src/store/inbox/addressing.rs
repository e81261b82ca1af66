//! Addresses of inbox messages, and the context in which they are read.

/// The `to_inbox` value whose messages are for the person and every agent: one row for all. An agent gets
/// those that are sent after its first row.
pub const ALL_INBOXES: &str = "all";

/// The order in which mail is handed over, as SQL terms: urgent, action, all other priorities; then oldest first.
pub(in crate::store) const HANDOVER_ORDER: &str =
    "CASE priority WHEN 'urgent' THEN 0 WHEN 'action' THEN 1 ELSE 2 END, n";

/// One access to an inbox: the reader, the channel, and the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadContext<'a> {
    /// The reader's name.
    pub reader: &'a str,
    /// The channel: `cli`, `mcp`, `http`, `claude-code Stop` …
    pub via: &'a str,
    /// Unix milliseconds.
    pub now: i64,
}
