//! "At most so many a second, and so many at once", by its definition: between any two
//! moments no more than the burst and what the rate allows for the time between.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Rate {
    interval: i128,
    burst: i128,
    since: i128,
    count: i128,
    /// The greatest over all that passed of: its time, less the time its number takes.
    worst: i128,
}

fn nanos(at: Duration) -> i128 {
    i128::try_from(at.as_nanos()).unwrap()
}

impl Rate {
    /// A rate of 0 is none.
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        Self {
            interval: if rate == 0 {
                0
            } else {
                nanos(Duration::from_secs(1) / rate)
            },
            burst: burst.max(1).into(),
            since: 0,
            count: 0,
            worst: i128::MIN / 2,
        }
    }

    pub(super) fn since(rate: u32, burst: u32, since: Duration) -> Self {
        Self {
            since: nanos(since),
            ..Self::new(rate, burst)
        }
    }

    pub(super) fn allows(&self, now: Duration) -> bool {
        nanos(now) - (self.count - self.burst + 1) * self.interval >= self.worst
    }

    /// As if all but the last might have passed at the earliest moment.
    pub(super) fn allows_in_sum(&self, now: Duration) -> bool {
        self.count * self.interval <= nanos(now) - self.since
    }

    pub(super) fn note(&mut self, now: Duration) {
        self.worst = self.worst.max(nanos(now) - self.count * self.interval);
        self.count += 1;
    }
}
