//! Checks a rate limit by its definition: in any period there are at most `burst` events, plus
//! those the rate allows for the length of the period.

use std::time::Duration;

/// The events counted so far. All times are in nanoseconds.
#[derive(Debug)]
pub(super) struct RateChecker {
    /// Time between two events; zero means no limit.
    interval: i128,
    burst: i128,
    start: i128,
    count: i128,
    /// The maximum over all events of the event's time less `interval` for each event before it.
    latest_offset: i128,
}

fn nanos(at: Duration) -> i128 {
    i128::try_from(at.as_nanos()).unwrap()
}

impl RateChecker {
    /// Creates a checker for `rate` events per second. A rate of 0 means no limit.
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        Self {
            interval: if rate == 0 {
                0
            } else {
                nanos(Duration::from_secs(1) / rate)
            },
            burst: burst.max(1).into(),
            start: 0,
            count: 0,
            latest_offset: i128::MIN / 2,
        }
    }

    /// Like [`new`](Self::new), for events from `start` on; used with
    /// [`allows_on_average`](Self::allows_on_average).
    pub(super) fn starting_at(start: Duration, rate: u32, burst: u32) -> Self {
        Self {
            start: nanos(start),
            ..Self::new(rate, burst)
        }
    }

    /// Returns whether an event is allowed at `now`.
    pub(super) fn allows(&self, now: Duration) -> bool {
        nanos(now) - (self.count - self.burst + 1) * self.interval >= self.latest_offset
    }

    /// Returns whether an event is allowed at `now` if each earlier one may have happened at the
    /// earliest time the rate allows.
    pub(super) fn allows_on_average(&self, now: Duration) -> bool {
        self.count * self.interval <= nanos(now) - self.start
    }

    /// Counts an event.
    pub(super) fn record(&mut self, now: Duration) {
        self.latest_offset = self.latest_offset.max(nanos(now) - self.count * self.interval);
        self.count += 1;
    }
}
