//! A client's cursor in one thread: what was sent, what was acknowledged, and whether the next
//! message may be sent.

use std::collections::VecDeque;

use crate::config::Limits;
use crate::protocol::MAX_BATCH_BYTES;
use crate::store::MessageRow;

/// The source of a subscription's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplaySource {
    /// The change log: all earlier messages have been sent.
    Live,
    /// The database, page by page: earlier messages have not been sent yet.
    Database,
}

/// A client's cursor in one thread.
#[derive(Debug)]
pub struct Subscription {
    /// The last `message_seq` sent.
    pub(super) sent: i64,
    /// The last `message_seq` the thread is known to have.
    pub(super) last: i64,
    pub(super) source: ReplaySource,
    /// The reply to `subscribe` is due: a batch, even if it is empty.
    pub(super) owes_batch: bool,
    /// Everything up to here was acknowledged on this connection, or sent before it.
    acked: i64,
    /// The client acknowledges messages: the number of unacknowledged ones is limited.
    uses_acks: bool,
    /// Too many messages are unacknowledged, and the client got an error.
    pub(super) paused: bool,
    /// The thread is in one of the session's queues, or being read.
    pub(super) queued: bool,
    /// Messages read from the database and not sent yet.
    pub(super) page: VecDeque<MessageRow>,
}

impl Subscription {
    /// Creates a subscription that continues after `sent` in a thread that ends at `last`.
    pub(super) fn new(sent: i64, last: i64) -> Self {
        Self {
            sent,
            last,
            source: ReplaySource::Database,
            owes_batch: true,
            acked: sent,
            uses_acks: false,
            paused: false,
            queued: false,
            page: VecDeque::new(),
        }
    }

    /// Returns whether a batch is due, or there are messages to read and send.
    pub(super) fn needs_data(&self) -> bool {
        self.source == ReplaySource::Database && !self.paused && (self.owes_batch || self.sent < self.last)
    }

    /// Returns whether a batch can be made without a read.
    pub(super) fn has_batch(&self) -> bool {
        !self.page.is_empty() || (self.owes_batch && self.sent >= self.last)
    }

    /// Pauses until enough is acknowledged. The current page is dropped, and read again after the
    /// pause.
    pub(super) fn pause(&mut self) {
        self.paused = true;
        self.source = ReplaySource::Database;
        self.page.clear();
    }

    /// Returns how many messages may be sent before the client has to acknowledge some.
    pub(super) fn room(&self, limit: usize) -> usize {
        if !self.uses_acks || limit == 0 {
            return usize::MAX;
        }
        // Negative if the client subscribed again from an earlier message than it has acknowledged.
        let unacked = usize::try_from(self.sent - self.acked).unwrap_or(0);
        limit.saturating_sub(unacked)
    }

    /// Records an ack; a lower one changes nothing. Ends a pause when half of `limit` is free.
    pub(super) fn acknowledge(&mut self, seq: i64, limit: usize) {
        self.uses_acks = true;
        self.acked = self.acked.max(seq);
        if self.paused && self.room(limit) >= limit.div_ceil(2) {
            self.paused = false;
        }
    }

    /// Takes the next messages for one batch, limited by number, bytes, and unacknowledged
    /// messages.
    pub(super) fn next_batch(&mut self, limits: &Limits) -> Vec<MessageRow> {
        let max_messages = limits.max_batch_size.min(self.room(limits.max_lag_messages));
        let mut bytes = 0;
        let mut batch = Vec::new();
        while batch.len() < max_messages {
            let Some(next) = self.page.front() else { break };
            bytes += next.weight();
            if bytes > MAX_BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.extend(self.page.pop_front());
        }
        batch
    }
}
