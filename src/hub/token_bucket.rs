//! A token bucket on somebody else's clock.
//!
//! For: frames per second to a client, events per second from one.
//! Not for: deciding what happens to the excess.

use std::time::Duration;

/// Lets `rate` things a second pass, and `burst` at once after a pause.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    /// Time one token takes to come; zero means there is no limit.
    interval: Duration,
    burst: u32,
    /// When the bucket will be full again. Before that, every `interval` missing is a token short.
    full_at: Duration,
}

impl TokenBucket {
    /// `rate` a second, `burst` at once. A rate of 0 means no limit.
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

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Duration) -> bool {
        if self.ready_at() > now {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.interval;
        true
    }

    /// When the next token is there. In the past if it is there now.
    pub fn ready_at(&self) -> Duration {
        self.full_at.saturating_sub(self.interval * (self.burst - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
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
    fn over_a_second_it_is_the_rate() {
        let mut bucket = TokenBucket::new(100, 1);
        let passed = (0..10_000u64)
            .filter(|t| bucket.take(Duration::from_micros(t * 100)))
            .count();
        assert_eq!(passed, 100);
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut bucket = TokenBucket::new(0, 1);
        assert!((0..1000).all(|_| bucket.take(Duration::ZERO)));
    }
}
