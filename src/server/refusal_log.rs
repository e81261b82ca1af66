//! Limits the log lines about refused requests and connections: any program of any user on this
//! machine can cause them, and a web page can too.
//!
//! Each reason has at most one line per [`WINDOW`]. The first refusal is logged at once, with its text.
//! Further ones are counted; their number is logged at the end of the window.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Minimum time between two lines with the same reason.
const WINDOW: Duration = Duration::from_secs(10);

/// The reasons that were logged recently.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<BTreeMap<String, Window>>);

/// The time after a line with one reason.
#[derive(Debug)]
struct Window {
    start: Instant,
    /// Refusals since `start` that have no line of their own.
    unlogged: u64,
}

impl RefusalLog {
    /// Logs a refusal, or counts it if a line with this reason was logged less than [`WINDOW`] ago.
    pub(super) fn record(&self, reason: &str, subject: impl Display, why: impl Display) {
        match self.count(reason, Instant::now()) {
            None => tracing::debug!("refused {subject}: {why}"),
            Some(0) => tracing::warn!("refused {subject}: {why}"),
            Some(unlogged) => tracing::warn!("refused {subject}: {why} ({unlogged} more with {reason} before)"),
        }
    }

    /// Counts a refusal. Returns `None` if it gets no line of its own, else the number of refusals
    /// that its line reports in addition.
    fn count(&self, reason: &str, now: Instant) -> Option<u64> {
        let mut windows = self.lock();
        match windows.get_mut(reason) {
            Some(window) if now.duration_since(window.start) < WINDOW => {
                window.unlogged += 1;
                None
            }
            Some(window) => {
                window.start = now;
                Some(std::mem::take(&mut window.unlogged))
            }
            None => {
                let start = now;
                windows.insert(reason.to_owned(), Window { start, unlogged: 0 });
                Some(0)
            }
        }
    }

    /// Ends the windows that began at least `length` ago. Returns the reason, age and number of
    /// refusals of each that has refusals without a line; for these a new window begins.
    fn end_windows(&self, now: Instant, length: Duration) -> Vec<(String, Duration, u64)> {
        let mut ended = Vec::new();
        self.lock().retain(|reason, window| {
            let age = now.duration_since(window.start);
            if age < length {
                return true;
            }
            let unlogged = std::mem::take(&mut window.unlogged);
            window.start = now;
            if unlogged > 0 {
                ended.push((reason.clone(), age, unlogged));
            }
            unlogged > 0
        });
        ended
    }

    /// Logs the number of refusals without a line of their own in each window that has ended.
    pub(super) fn log_ended_windows(&self) {
        self.log_windows(WINDOW);
    }

    /// As [`RefusalLog::log_ended_windows`], also for windows that have not ended: for the shutdown.
    pub(super) fn log_all_windows(&self) {
        self.log_windows(Duration::ZERO);
    }

    fn log_windows(&self, length: Duration) {
        for (reason, age, unlogged) in self.end_windows(Instant::now(), length) {
            tracing::warn!(
                "refused {unlogged} more with {reason} in the last {} s",
                age.as_secs().max(1)
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Window>> {
        // No code panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn logs_one_refusal_per_reason_and_window() {
        let (log, start) = (RefusalLog::default(), Instant::now());
        assert_eq!(log.count("FORBIDDEN", start), Some(0));
        for i in 0..9999 {
            assert_eq!(log.count("FORBIDDEN", start + Duration::from_millis(i)), None);
        }
        assert_eq!(log.count("UNAUTHORIZED", start + seconds(1)), Some(0));
        // The next one after the window reports the number of those before.
        assert_eq!(log.count("FORBIDDEN", start + seconds(10)), Some(9999));
        assert_eq!(log.count("FORBIDDEN", start + seconds(11)), None);
        assert_eq!(log.count("FORBIDDEN", start + seconds(20)), Some(1));
        assert_eq!(log.count("FORBIDDEN", start + seconds(30)), Some(0));
    }

    #[test]
    fn reports_unlogged_refusals_when_the_window_ends() {
        let (log, start) = (RefusalLog::default(), Instant::now());
        for _ in 0..3 {
            log.count("FORBIDDEN", start);
        }
        log.count("UNAUTHORIZED", start + seconds(5));
        log.count("NO_REQUEST", start);
        assert_eq!(log.end_windows(start + seconds(9), WINDOW), []);
        assert_eq!(
            log.end_windows(start + seconds(10), WINDOW),
            [("FORBIDDEN".to_owned(), seconds(10), 2)]
        );
        // That line begins a window of its own.
        assert_eq!(log.count("FORBIDDEN", start + seconds(15)), None);
        assert_eq!(
            log.end_windows(start + seconds(20), WINDOW),
            [("FORBIDDEN".to_owned(), seconds(10), 1)]
        );
        assert_eq!(log.end_windows(start + seconds(30), WINDOW), []);
        // A reason whose window ended without further refusals is logged at once again.
        assert_eq!(log.count("FORBIDDEN", start + seconds(31)), Some(0));
    }

    #[test]
    fn reports_all_unlogged_refusals_on_shutdown() {
        let (log, start) = (RefusalLog::default(), Instant::now());
        log.count("FORBIDDEN", start);
        log.count("FORBIDDEN", start);
        log.count("UNAUTHORIZED", start);
        assert_eq!(
            log.end_windows(start + seconds(1), Duration::ZERO),
            [("FORBIDDEN".to_owned(), seconds(1), 1)]
        );
    }
}
