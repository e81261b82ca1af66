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
/// Mean of the first sleep of a wait.
const SHORTEST_PAUSE: Duration = Duration::from_micros(200);
/// Upper bound of the mean of a sleep.
const LONGEST_PAUSE: Duration = Duration::from_millis(15);
/// The sleep is this many times as long as the delay of the previous one. A process that waits then takes
/// little of the time of a core, also where there are many.
const DELAY_FACTOR: u32 = 8;

thread_local! {
    /// Maximum time this thread waits for one lock.
    static BUSY_TIMEOUT: Cell<Duration> = const { Cell::new(DEFAULT_BUSY_TIMEOUT) };
    /// The current wait for a lock.
    static WAIT: Cell<Option<Wait>> = const { Cell::new(None) };
}

/// SQLite's busy handler: sleeps and returns whether SQLite should try again. SQLite calls it while another
/// connection holds the lock; `tries` counts the calls of one wait.
///
/// SQLite's own handler backs off to 100 ms, and the process with the longest backoff starves: with
/// 8 busy writers its worst wait was measured at 5 s. A short sleep is more likely to get the lock
/// from a writer that takes it again immediately. But 100 processes that sleep for 0.2 ms take the cores that
/// the holder of the lock needs: 3 posts in 10 failed. So the sleep is a multiple of the delay with which
/// the system ended the previous one: the delay is short while a core is free, and grows with the number
/// of processes that wait for one.
pub(super) fn busy_handler(tries: i32) -> bool {
    let now = Instant::now();
    let wait = match tries {
        0 => Wait::starting_at(now),
        _ => WAIT.get().unwrap_or_else(|| Wait::starting_at(now)),
    };
    let waited = now.duration_since(wait.since);
    if waited >= BUSY_TIMEOUT.with(Cell::get) {
        lock_wait::observe(waited, Step::GiveUp);
        return false;
    }
    lock_wait::observe(waited, Step::Retry);
    let sleep = wait.sleep(waited.subsec_nanos());
    #[expect(
        clippy::disallowed_methods,
        reason = "SQLite requires the handler to wait; async runtime threads never run SQL"
    )]
    std::thread::sleep(sleep);
    WAIT.set(Some(wait.after(now.elapsed().saturating_sub(sleep))));
    true
}

/// A wait for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    since: Instant,
    /// The mean of the next sleep.
    pause: Duration,
}

impl Wait {
    fn starting_at(now: Instant) -> Self {
        Self {
            since: now,
            pause: SHORTEST_PAUSE,
        }
    }

    /// Returns the next sleep: half to one and a half times the pause, so that waiting processes do not wake at
    /// the same time. `noise` is any number that differs from try to try.
    fn sleep(self, noise: u32) -> Duration {
        let random = noise.wrapping_mul(2_654_435_761) >> 22;
        self.pause * (512 + random) / 1024
    }

    /// Returns the wait after a sleep that ended `delay` too late.
    fn after(self, delay: Duration) -> Self {
        let pause = (self.pause * 4 / 5).max(delay * DELAY_FACTOR);
        Self {
            pause: pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
            ..self
        }
    }
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
    fn sleeps_longer_while_cores_are_busy() {
        let now = Instant::now();
        let first = Wait::starting_at(now);
        let in_microseconds = |wait: Wait, noise| wait.sleep(noise).as_micros();
        assert!((0..1000).all(|noise| (100..300).contains(&in_microseconds(first, noise))));
        let busy = first.after(Duration::from_millis(1));
        assert_eq!(busy.pause, Duration::from_millis(8));
        assert_eq!(busy.after(Duration::from_secs(1)).pause, LONGEST_PAUSE);
        // Back to short sleeps once the system wakes this process in time again.
        let mut quiet = busy;
        let sleeps = (0..).take_while(|_| {
            let pause = quiet.pause;
            quiet = quiet.after(Duration::from_micros(5));
            pause > SHORTEST_PAUSE
        });
        assert_eq!(sleeps.count(), 17);
        assert_eq!(quiet.since, now);
    }

    #[test]
    fn restores_the_busy_timeout_after_a_panic() {
        let panicked = std::panic::catch_unwind(|| with_busy_timeout(Duration::ZERO, || panic!("a test's panic")));
        assert!(panicked.is_err());
        assert_eq!(BUSY_TIMEOUT.with(Cell::get), DEFAULT_BUSY_TIMEOUT);
    }
}
