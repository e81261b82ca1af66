//! Addresses of inbox messages, and the context in which they are read.

/// The `to_inbox` value whose messages are listed in every inbox.
pub const ALL_INBOXES: &str = "all";

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
