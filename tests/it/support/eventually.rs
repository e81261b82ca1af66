//! Waits for a condition, with a deadline. Tests use this instead of sleeping.

use std::thread;
use std::time::{Duration, Instant};

/// Default timeout. It is far above the usual time, so that no test fails because the machine is busy. A test that
/// checks a time limit of agenthub passes that limit itself.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// Waits until `probe` returns a value. Panics with `what` after [`TIMEOUT`].
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_up_to(TIMEOUT, what, probe)
}

/// Waits until `probe` returns a value. Panics with `what` after `limit`.
#[track_caller]
pub(crate) fn wait_up_to<T>(limit: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    let value = eventually(limit, probe);
    assert!(value.is_some(), "timed out after {limit:?} waiting for {what}");
    value.unwrap()
}

/// Waits until `probe` returns a value. Returns `None` after `limit`, for callers that have more
/// to report.
pub(crate) fn eventually<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let value = probe();
        if value.is_some() || Instant::now() >= deadline {
            return value;
        }
        thread::park_timeout(Duration::from_millis(3));
    }
}
