//! The deadlines of one client: PingPeriod, PongWait and WriteWait of the protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::config::Limits;

/// Close code for a client that sends nothing, not even a pong.
const CLOSE_NO_PONG: u16 = 4012;
/// Close code for a client that does not read.
const CLOSE_SLOW: u16 = 4008;

/// The times that one client's deadlines are measured from.
pub(super) struct Keepalive {
    last_received: Instant,
    last_ping: Instant,
    /// The write in progress, if there is one.
    write: Option<WriteProgress>,
    /// Bytes that the client's socket has accepted.
    written: Arc<AtomicU64>,
}

struct WriteProgress {
    /// When progress was last seen.
    at: Instant,
    /// Bytes accepted until then.
    written: u64,
}

impl Keepalive {
    /// Returns the times of a client that has just connected. `written` counts the bytes its socket accepts.
    pub(super) fn new(written: Arc<AtomicU64>) -> Self {
        let now = Instant::now();
        Self {
            last_received: now,
            last_ping: now,
            write: None,
            written,
        }
    }

    /// Restarts PongWait: the client has sent something, or the hub is not reading from it.
    pub(super) fn record_received(&mut self) {
        self.last_received = Instant::now();
    }

    /// Returns whether a write is in progress.
    pub(super) fn is_writing(&self) -> bool {
        self.write.is_some()
    }

    /// Starts WriteWait, unless a write is in progress.
    pub(super) fn begin_write(&mut self) {
        let written = self.written.load(Ordering::Relaxed);
        self.write.get_or_insert_with(|| WriteProgress {
            at: Instant::now(),
            written,
        });
    }

    /// Records that the write in progress is complete.
    pub(super) fn end_write(&mut self) {
        self.write = None;
    }

    /// Returns whether a ping is due, and counts it as sent if it is.
    pub(super) fn take_due_ping(&mut self, limits: &Limits) -> bool {
        let is_due = self.last_ping.elapsed() >= limits.ping_period;
        if is_due {
            self.last_ping = Instant::now();
        }
        is_due
    }

    /// Returns when to check again.
    ///
    /// # Errors
    /// The close code and reason for a client that does not respond, or has accepted no byte for
    /// WriteWait.
    pub(super) fn check(&mut self, limits: &Limits) -> Result<Instant, (u16, &'static str)> {
        let now = Instant::now();
        let mut next = (self.last_received + limits.pong_wait).min(self.last_ping + limits.ping_period);
        if let Some(write) = &mut self.write {
            let written = self.written.load(Ordering::Relaxed);
            if written != write.written {
                *write = WriteProgress { at: now, written };
            }
            if now >= write.at + limits.write_wait {
                return Err((CLOSE_SLOW, "the client does not read"));
            }
            next = next.min(write.at + limits.write_wait);
        }
        if now >= self.last_received + limits.pong_wait {
            return Err((CLOSE_NO_PONG, "no answer to a ping"));
        }
        Ok(next)
    }
}
