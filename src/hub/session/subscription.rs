//! One client's place in one thread.
//!
//! For: what was sent, what was acknowledged, and whether the next message may go out.
//! Not for: anything that crosses threads (`session`).

use std::collections::VecDeque;

use crate::config::Limits;
use crate::protocol::MAX_BATCH_BYTES;
use crate::store::MessageRow;

/// How a subscription gets its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplaySource {
    /// From the log, as they come: everything before has been sent.
    Live,
    /// From the file, page by page: something before has not been sent yet.
    File,
}

/// One client's place in one thread.
#[derive(Debug)]
pub struct Subscription {
    /// The last `message_seq` sent.
    pub(super) sent: i64,
    /// The last `message_seq` the thread is known to have.
    pub(super) last: i64,
    pub(super) feed: ReplaySource,
    /// A batch is owed even if it is empty: the answer to `subscribe`.
    pub(super) owes_answer: bool,
    /// Everything up to here was acknowledged on this connection, or is from before it.
    acked: i64,
    /// The client acknowledges: from its first ack on it may not fall too far behind.
    acks: bool,
    /// The client is too far behind with its acks, and has been told.
    pub(super) paused: bool,
    /// It stands in one of the session's queues, or is being read.
    pub(super) queued: bool,
    /// Read from the file and not sent yet.
    pub(super) page: VecDeque<MessageRow>,
}

impl Subscription {
    /// A subscription that continues after `sent` in a thread that ends at `last`.
    pub(super) fn new(sent: i64, last: i64) -> Self {
        Self {
            sent,
            last,
            feed: ReplaySource::File,
            owes_answer: true,
            acked: sent,
            acks: false,
            paused: false,
            queued: false,
            page: VecDeque::new(),
        }
    }

    /// Whether there is something in the file, or owed, that this client may be sent.
    pub(super) fn is_hungry(&self) -> bool {
        self.feed == ReplaySource::File && !self.paused && (self.owes_answer || self.sent < self.last)
    }

    /// Whether a batch can be made without reading the file.
    pub(super) fn has_batch(&self) -> bool {
        !self.page.is_empty() || (self.owes_answer && self.sent >= self.last)
    }

    /// Stops until the client has caught up with its acks. What was read is read again.
    pub(super) fn pause(&mut self) {
        self.paused = true;
        self.feed = ReplaySource::File;
        self.page.clear();
    }

    /// Messages that may be sent before the client has to acknowledge some.
    pub(super) fn room(&self, limit: usize) -> usize {
        if !self.acks || limit == 0 {
            return usize::MAX;
        }
        // Less than nothing if it went back in the thread and acknowledged beyond.
        let unacked = usize::try_from(self.sent - self.acked).unwrap_or(0);
        limit.saturating_sub(unacked)
    }

    /// Takes note of an ack, which never moves back. Goes on when half of `limit` is left.
    pub(super) fn acknowledge(&mut self, seq: i64, limit: usize) {
        self.acks = true;
        self.acked = self.acked.max(seq);
        if self.paused && self.room(limit) >= limit.div_ceil(2) {
            self.paused = false;
        }
    }

    /// The next messages for one batch: by number, by bytes, and by what the client's acks
    /// leave room for.
    pub(super) fn next_batch(&mut self, limits: &Limits) -> Vec<MessageRow> {
        let most = limits.max_batch_size.min(self.room(limits.max_lag_messages));
        let mut bytes = 0;
        let mut batch = Vec::new();
        while batch.len() < most {
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
