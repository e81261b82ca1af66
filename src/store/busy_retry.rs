//! Waiting for SQLite's locks: the busy handler of every connection, and retries where SQLite
//! does not call it.
//!
//! The busy timeout belongs to the thread, not to the connection: a connection never leaves the
//! thread that uses it, and [`with_busy_timeout`] can change it for one call.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::lock_wait::{self, Step};

/// Busy timeout unless [`with_busy_timeout`] sets another. The schema's comments recommend it to every
/// writer.
const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Busy timeout while another process may migrate the database: the write lock is held while the
/// whole database is copied.
const MIGRATION_BUSY_TIMEOUT: Duration = Duration::from_secs(60);

thread_local! {
    /// Maximum time this thread waits for one lock.
    static BUSY_TIMEOUT: Cell<Duration> = const { Cell::new(DEFAULT_BUSY_TIMEOUT) };
    /// When the current wait for a lock began.
    static WAITING_SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// SQLite's busy handler: sleeps 0.1 to 0.3 ms and returns whether SQLite should try again. SQLite
/// calls it while another connection holds the lock; `tries` counts the calls of one wait.
///
/// SQLite's own handler backs off to 100 ms, and the process with the longest backoff starves: with
/// 8 busy writers its worst wait was measured at 1.5 s. A short sleep is more likely to get the lock
/// from a writer that takes it again immediately: on an overloaded machine p99.9 was 500 ms with 1 ms
/// sleeps and 150 ms with 0.2 ms. The sleep varies so that waiting processes do not wake at the same
/// time.
pub(super) fn busy_handler(tries: i32) -> bool {
    let now = Instant::now();
    let since = WAITING_SINCE.with(|cell| {
        let since = if tries == 0 { now } else { cell.get().unwrap_or(now) };
        cell.set(Some(since));
        since
    });
    let waited = now.duration_since(since);
    if waited >= BUSY_TIMEOUT.with(Cell::get) {
        lock_wait::observe(waited, Step::GiveUp);
        return false;
    }
    lock_wait::observe(waited, Step::Retry);
    let jitter = waited.subsec_nanos().wrapping_mul(2_654_435_761) >> 12;
    #[expect(
        clippy::disallowed_methods,
        reason = "SQLite requires the handler to wait; async runtime threads never run SQL"
    )]
    std::thread::sleep(Duration::from_micros(100 + u64::from(jitter % 200)));
    true
}

/// Calls `f` again while it fails with `SQLITE_BUSY`, up to this thread's busy timeout. SQLite does
/// not call the busy handler for every lock, for instance not when the journal mode changes.
pub(super) fn retry_while_busy<T>(mut f: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    for tries in 0.. {
        match f() {
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) && busy_handler(tries) => {}
            result => return result,
        }
    }
    f()
}

/// Runs `f` with another busy timeout on this thread than the default of five seconds.
pub fn with_busy_timeout<T>(timeout: Duration, f: impl FnOnce() -> T) -> T {
    struct Restore(Duration);
    impl Drop for Restore {
        fn drop(&mut self) {
            BUSY_TIMEOUT.with(|cell| cell.set(self.0));
        }
    }
    // Restores the timeout also when `f` panics.
    let _restore = Restore(BUSY_TIMEOUT.with(|cell| cell.replace(timeout)));
    f()
}

/// Runs `f` with a busy timeout of one minute, because another process may be migrating the database.
/// A shorter busy timeout than the default stays: its caller has less time.
pub(super) fn with_migration_timeout<T>(f: impl FnOnce() -> T) -> T {
    let timeout = BUSY_TIMEOUT.with(Cell::get);
    let is_short = timeout < DEFAULT_BUSY_TIMEOUT;
    with_busy_timeout(if is_short { timeout } else { MIGRATION_BUSY_TIMEOUT }, f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restores_the_busy_timeout_after_a_panic() {
        let panicked = std::panic::catch_unwind(|| with_busy_timeout(Duration::ZERO, || panic!("a test's panic")));
        assert!(panicked.is_err());
        assert_eq!(BUSY_TIMEOUT.with(Cell::get), DEFAULT_BUSY_TIMEOUT);
    }
}
