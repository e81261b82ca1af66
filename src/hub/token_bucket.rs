//! A token bucket without a clock: the caller passes the time.

use std::time::Duration;

/// Limits events to `rate` a second, with up to `burst` at once after a pause.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    /// Time between two tokens; zero means no limit.
    interval: Duration,
    burst: u32,
    /// Time at which the bucket is full. Each `interval` before it is one token less.
    full_at: Duration,
}

impl TokenBucket {
    /// Creates a full bucket. A rate of 0 means no limit.
    pub fn new(rate: u32, burst: u32) -> Self {
        let interval = if rate == 0 {
            Duration::ZERO
        } else {
            Duration::from_secs(1) / rate
        };
        Self {
            interval,
            burst: burst.max(1),
            full_at: Duration::ZERO,
        }
    }

    /// Takes a token if there is one. Returns whether there was.
    pub fn take(&mut self, now: Duration) -> bool {
        if self.ready_at() > now {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.interval;
        true
    }

    /// Returns the time of the next token; it is in the past if there is one now.
    pub fn ready_at(&self) -> Duration {
        self.full_at.saturating_sub(self.interval * (self.burst - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_a_burst_and_then_the_rate() {
        let mut bucket = TokenBucket::new(100, 3);
        let mut now = Duration::from_secs(5);
        assert_eq!((0..5).filter(|_| bucket.take(now)).count(), 3);
        assert_eq!(bucket.ready_at(), now + Duration::from_millis(10));
        now += Duration::from_millis(10);
        assert!(bucket.take(now));
        assert!(!bucket.take(now));
        now += Duration::from_secs(60);
        assert_eq!((0..5).filter(|_| bucket.take(now)).count(), 3);
    }

    #[test]
    fn allows_the_rate_over_a_second() {
        let mut bucket = TokenBucket::new(100, 1);
        let passed = (0..10_000u64)
            .filter(|t| bucket.take(Duration::from_micros(t * 100)))
            .count();
        assert_eq!(passed, 100);
    }

    #[test]
    fn rate_of_zero_means_no_limit() {
        let mut bucket = TokenBucket::new(0, 1);
        assert!((0..1000).all(|_| bucket.take(Duration::ZERO)));
    }
}
