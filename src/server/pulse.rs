//! A client's signs of life: what it says, the pings it is sent, and whether what is written
//! to it goes anywhere.
//!
//! For: the deadlines of the wire: PingPeriod, PongWait, WriteWait.
//! Not for: reading and writing (`ws`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::config::Limits;

/// No pong for too long.
const CLOSE_NO_PONG: u16 = 4012;
/// The client does not read.
const CLOSE_SLOW: u16 = 4008;

/// What is known of one client's life.
pub(super) struct Pulse {
    heard: Instant,
    pinged: Instant,
    /// Since when a write is under way, and the bytes written when that was last noted.
    writing: Option<(Instant, u64)>,
    written: Arc<AtomicU64>,
}

impl Pulse {
    /// Of a client that has just come. `written` counts what its socket takes.
    pub(super) fn new(written: Arc<AtomicU64>) -> Self {
        let now = Instant::now();
        Self {
            heard: now,
            pinged: now,
            writing: None,
            written,
        }
    }

    /// The client has said something; or it cannot be blamed for being silent, because
    /// nobody listens to it.
    pub(super) fn hear(&mut self) {
        self.heard = Instant::now();
    }

    /// Whether a write is under way.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// A write begins, if none is under way.
    pub(super) fn begin_write(&mut self) {
        let written = self.written.load(Ordering::Relaxed);
        self.writing.get_or_insert_with(|| (Instant::now(), written));
    }

    /// The write under way is done.
    pub(super) fn end_write(&mut self) {
        self.writing = None;
    }

    /// Whether it is time for a ping; if so, it counts as sent.
    pub(super) fn is_ping_due(&mut self, limits: &Limits) -> bool {
        let due = self.pinged.elapsed() >= limits.ping_period;
        if due {
            self.pinged = Instant::now();
        }
        due
    }

    /// When to check again.
    ///
    /// # Errors
    /// Close code and reason for a client that does not answer or does not read.
    pub(super) fn check(&mut self, limits: &Limits) -> Result<Instant, (u16, &'static str)> {
        let now = Instant::now();
        let mut next = (self.heard + limits.pong_wait).min(self.pinged + limits.ping_period);
        if let Some((since, written)) = &mut self.writing {
            let total = self.written.load(Ordering::Relaxed);
            if total != *written {
                (*since, *written) = (now, total);
            }
            if now >= *since + limits.write_wait {
                return Err((CLOSE_SLOW, "you do not read"));
            }
            next = next.min(*since + limits.write_wait);
        }
        if now >= self.heard + limits.pong_wait {
            return Err((CLOSE_NO_PONG, "no answer to a ping"));
        }
        Ok(next)
    }
}
