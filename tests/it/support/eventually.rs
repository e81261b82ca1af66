//! Waiting for a condition, with a deadline. No test sleeps and hopes.

use std::thread;
use std::time::{Duration, Instant};

/// How long something that must happen may take before the test gives up. Far above what it
/// takes: a busy machine is no failure. Bounds that are promises stand in the tests themselves.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `probe` has an answer, and fails with `what` if it has none in [`PATIENCE`].
#[track_caller]
pub(crate) fn within<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within_time(PATIENCE, what, probe)
}

/// As [`within`], with another deadline.
#[track_caller]
pub(crate) fn within_time<T>(limit: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    let answer = eventually(limit, probe);
    assert!(answer.is_some(), "not within {limit:?}: {what}");
    answer.unwrap()
}

/// What `probe` answers; nothing if it has no answer by then: for whoever has more to say of it.
pub(crate) fn eventually<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let answer = probe();
        if answer.is_some() || Instant::now() >= deadline {
            return answer;
        }
        // Between two looks at a condition, never instead of one.
        thread::park_timeout(Duration::from_millis(3));
    }
}
