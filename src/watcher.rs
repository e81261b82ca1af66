//! Detects when the database may have new rows, from file system events, polling and a timer.
//!
//! A wake carries no data. It means "read now"; only the read shows whether there are new rows.
//!
//! 1. inotify (through `notify`) reports writes to the `-wal` in the database's directory. The
//!    event fires before the commit is visible, so a read that follows it may be too early. After
//!    each event reads are repeated: immediately at first, then after pauses that double up to
//!    20 ms, for half a second (`RetrySchedule`). Once rows are found, there are fewer.
//! 2. Without such events (macOS reports none until a file is closed, some containers report none
//!    at all) `data_version` is polled every 5 ms while there is a listener.
//! 3. A timer runs in addition to both. If it repeatedly finds rows that no event announced,
//!    polling replaces the events.
//!
//! The directory is watched, never the files: the `-wal` is created and removed, and a watcher that
//! opens and closes the database file would drop SQLite's locks.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::event::{CreateKind, EventKind, ModifyKind, RemoveKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use serde::Serialize;

use crate::error::{Code, Error, Result};
use crate::protocol::POLL_INTERVAL;
use crate::store::{Identity, Reader};

/// Time after an event during which reads follow each other without a pause: the usual time until
/// the commit is visible.
const SPIN: Duration = Duration::from_micros(30);
/// First pause between reads after that; it doubles.
const FIRST_PAUSE: Duration = Duration::from_micros(20);
/// Shortest pause after a read that has found rows: the events of a later commit end the pause.
const FOUND_PAUSE: Duration = Duration::from_millis(5);
/// Time after a read that has found rows in which an event is usually one of the same commit.
const LATE: Duration = Duration::from_micros(300);
/// First pause after such an event, and the factor by which it grows.
const LATE_PAUSE: Duration = Duration::from_micros(160);
const LATE_GROWTH: u32 = 6;
/// Longest pause between reads after an event.
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// Time after an event during which reads are repeated: a commit that waits for a slow disk
/// becomes visible without another event.
const RETRY_PERIOD: Duration = Duration::from_millis(500);
/// Time between two polls of `data_version`.
pub const POLL: Duration = Duration::from_millis(5);
/// Duration of a short wait of a command, which polls instead of using events ([`read_until`]).
const SHORT_WAIT: Duration = Duration::from_secs(10);
/// Time between two polls of `data_version` in a short wait: 2 % of a core.
const SHORT_WAIT_POLL: Duration = Duration::from_millis(2);
/// Number of consecutive timer wakes that find unannounced rows before polling replaces events.
const MISSES: u32 = 3;

/// How to detect commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchMode {
    /// Events where they work, otherwise polling.
    #[default]
    Auto,
    /// Events, or an error.
    Notify,
    /// Polling at this interval while there is a listener; [`POLL`] except in comparisons.
    Poll(Duration),
}

/// The reason why the reader is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The file system reported a write.
    Event,
    /// This process committed a write.
    Own,
    /// A repeated read after one of the two: the commit may be visible only now.
    Again,
    /// `data_version` changed.
    Poll,
    /// The timer.
    Timer,
    /// The watch ends.
    Stop,
}

/// The detection method in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NotifyMethod {
    /// File system events.
    Notify,
    /// Polling.
    Poll,
}

#[derive(Debug)]
enum Hint {
    Event,
    Own,
    Stop,
}

/// Wakes the reader from other threads of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WakeHandle(Sender<Hint>);

impl WakeHandle {
    /// Reports a commit of this process.
    pub fn wrote(&self) {
        // The reader may have ended.
        drop(self.0.send(Hint::Own));
    }

    /// Ends the watch.
    pub fn stop(&self) {
        drop(self.0.send(Hint::Stop));
    }
}

/// The schedule of reads after an event. The caller passes the time.
#[derive(Debug, Clone, Copy, Default)]
struct RetrySchedule {
    repeats: Option<Repeats>,
    /// The time of the last read that found rows.
    found: Option<Instant>,
}

/// The reads that follow an event.
#[derive(Debug, Clone, Copy)]
struct Repeats {
    event: Instant,
    /// The pause before the next read.
    pause: Duration,
    /// The factor by which the pause grows with each read.
    growth: u32,
}

impl RetrySchedule {
    fn event(&mut self, now: Instant) {
        // The system reports each write of a commit. The reader may find the commit before the last of these
        // events arrives, which then announces nothing new.
        let is_late = self.found.is_some_and(|found| now.duration_since(found) < LATE);
        let (pause, growth) = if is_late {
            (LATE_PAUSE, LATE_GROWTH)
        } else {
            (FIRST_PAUSE, 2)
        };
        self.repeats = Some(Repeats {
            event: now,
            pause,
            growth,
        });
    }

    /// Records that a read has found rows: usually those of the last event.
    fn found(&mut self, now: Instant) {
        self.found = Some(now);
        if let Some(repeats) = &mut self.repeats {
            repeats.pause = repeats.pause.max(FOUND_PAUSE);
        }
    }

    /// Returns the pause before the next read; `None` when the period has ended.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        let Repeats { event, pause, growth } = self.repeats?;
        if now.duration_since(event) < SPIN && pause == FIRST_PAUSE {
            return Some(Duration::ZERO);
        }
        if now.duration_since(event) > RETRY_PERIOD {
            self.repeats = None;
            return None;
        }
        self.repeats = Some(Repeats {
            event,
            pause: (pause * growth).min(LAST_PAUSE),
            growth,
        });
        Some(pause)
    }
}

/// Schedules the reads of a change reader, or of a waiting command ([`read_until`]).
#[derive(Debug)]
pub struct Watch {
    hints: Receiver<Hint>,
    /// Passed to the watcher that [`Watch::renew`] creates.
    sender: Sender<Hint>,
    /// Dropping it ends the events.
    events: Option<RecommendedWatcher>,
    mode: WatchMode,
    using: NotifyMethod,
    poll: Duration,
    retries: RetrySchedule,
    /// There are more rows than the last read returned.
    more: bool,
    interval: Duration,
    next_timer: Instant,
    /// Number of listeners; polling runs only if there is one.
    listeners: Arc<AtomicUsize>,
    /// An event arrived since the last timer wake.
    had_event: bool,
    misses: u32,
}

impl Watch {
    /// Watches the database at `db`. `interval` is that of the timer. Polling, if it is used, runs
    /// only while `listeners` is above 0.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] with [`WatchMode::Notify`], if the system provides no events.
    pub fn start(
        db: &Path,
        mode: WatchMode,
        interval: Duration,
        listeners: Arc<AtomicUsize>,
    ) -> Result<(Self, WakeHandle)> {
        let (tx, hints) = channel();
        let poll = match mode {
            WatchMode::Poll(every) => every,
            WatchMode::Auto | WatchMode::Notify => POLL,
        };
        let events = match mode {
            WatchMode::Poll(_) => None,
            // FSEvents reports nothing until the -wal is closed, and SQLite keeps it open.
            WatchMode::Auto if cfg!(target_os = "macos") => None,
            WatchMode::Auto | WatchMode::Notify => match watch_directory(db, tx.clone()) {
                Ok(events) => Some(events),
                Err(e) if mode == WatchMode::Auto => {
                    tracing::warn!(
                        "no file system events ({e}); polling every {} ms instead",
                        POLL.as_millis()
                    );
                    None
                }
                Err(e) => {
                    return Err(Error::new(
                        Code::StoreUnavailable,
                        format!("cannot watch the directory of {}: {e}; use --watch auto", db.display()),
                    )
                    .because(e));
                }
            },
        };
        let using = if events.is_some() {
            NotifyMethod::Notify
        } else {
            NotifyMethod::Poll
        };
        let next_timer = Instant::now();
        let watch = Self {
            hints,
            sender: tx.clone(),
            events,
            mode,
            using,
            poll,
            retries: RetrySchedule::default(),
            more: false,
            interval,
            next_timer,
            listeners,
            had_event: false,
            misses: 0,
        };
        Ok((watch, WakeHandle(tx)))
    }

    /// Watches the database of a command that waits for rows ([`read_until`]).
    fn of_waiting_command(reader: &Reader, mode: WatchMode) -> Result<Self> {
        let (watch, _) = Self::start(reader.path(), mode, POLL_INTERVAL, Arc::new(AtomicUsize::new(1)))?;
        Ok(watch)
    }

    /// Returns the detection method in use.
    pub fn using(&self) -> NotifyMethod {
        self.using
    }

    /// Waits until the next read is due. `changed` returns whether `data_version` changed since
    /// the previous call; it is called only when polling.
    pub fn wait(&mut self, mut changed: impl FnMut() -> bool) -> Wake {
        loop {
            let (pause, wake) = self.next(Instant::now());
            match self.hints.recv_timeout(pause) {
                Ok(hint) => return self.take(hint),
                Err(RecvTimeoutError::Disconnected) => return Wake::Stop,
                Err(RecvTimeoutError::Timeout) => match wake {
                    Wake::Poll if !changed() => {}
                    Wake::Timer => {
                        self.next_timer = Instant::now() + self.interval;
                        return Wake::Timer;
                    }
                    wake => return wake,
                },
            }
        }
    }

    /// Returns how long to wait for a hint, and the reason to wake after that.
    fn next(&mut self, now: Instant) -> (Duration, Wake) {
        let timer = self.next_timer.saturating_duration_since(now);
        let retry = self.retries.next(now).filter(|pause| *pause <= timer);
        let polling = self.using == NotifyMethod::Poll && self.listeners.load(Ordering::Relaxed) > 0;
        let poll = Some(self.poll).filter(|poll| polling && *poll < timer);
        match (retry, poll) {
            _ if std::mem::take(&mut self.more) => (Duration::ZERO, Wake::Again),
            (Some(retry), Some(poll)) if poll < retry => (poll, Wake::Poll),
            (Some(retry), _) => (retry, Wake::Again),
            (None, Some(poll)) => (poll, Wake::Poll),
            (None, None) => (timer, Wake::Timer),
        }
    }

    /// Renews the watch after the database was replaced, perhaps together with its directory.
    pub fn renew(&mut self, db: &Path) {
        if self.events.is_some() {
            // If it fails, the timer finds unannounced rows and polling takes over.
            self.events = watch_directory(db, self.sender.clone()).ok().or(self.events.take());
        }
    }

    /// Makes the next wait return immediately: there are more rows than the last read returned.
    pub fn more(&mut self) {
        self.more = true;
    }

    /// Waits like [`Watch::wait`], but at most until `until`.
    pub fn wait_until(&mut self, until: Option<Instant>, changed: impl FnMut() -> bool) -> Wake {
        self.next_timer = until.map_or(self.next_timer, |until| self.next_timer.min(until));
        self.wait(changed)
    }

    /// Records whether a read found rows. Rows that the timer found without any event before are
    /// evidence against the events; an event that was too early for a slow disk is not.
    pub fn learn(&mut self, wake: Wake, found: bool) {
        if found {
            self.retries.found(Instant::now());
        }
        if wake != Wake::Timer || self.using != NotifyMethod::Notify || self.mode != WatchMode::Auto {
            return;
        }
        if std::mem::replace(&mut self.had_event, false) {
            self.misses = 0;
        } else if found {
            self.misses += 1;
        }
        if self.misses == MISSES {
            tracing::warn!(
                "file system events are missing; polling every {} ms instead",
                POLL.as_millis()
            );
            self.using = NotifyMethod::Poll;
            self.events = None;
        }
    }

    /// Merges all hints received so far into one wake.
    fn take(&mut self, hint: Hint) -> Wake {
        let mut wake = Wake::Own;
        for hint in std::iter::once(hint).chain(self.hints.try_iter()) {
            match hint {
                Hint::Event => {
                    wake = Wake::Event;
                    self.had_event = true;
                }
                Hint::Own => {}
                Hint::Stop => return Wake::Stop,
            }
        }
        self.retries.event(Instant::now());
        wake
    }
}

/// Calls `read` whenever the database may have new rows until it returns something; `None` after
/// `timeout`, if there is one. Calls `read` at least once. Blocks.
///
/// Polls at first: on Linux a process with a file system watch ends 5 to 20 ms late, because the kernel waits
/// until no core uses the watch any more. In a quick exchange between agents that is most of the time of a
/// message. A wait that has become long uses events, which cost nothing meanwhile.
///
/// # Errors
/// The error of `read`; [`Code::StoreReplaced`] if the file at the path is replaced meanwhile.
pub fn read_until<T>(
    reader: &Reader,
    timeout: Option<Duration>,
    mut read: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let now = Instant::now();
    let until = timeout.and_then(|timeout| now.checked_add(timeout));
    let short_until = until.map_or(now + SHORT_WAIT, |until| until.min(now + SHORT_WAIT));
    // The version is taken, and later watching begins, before the first read: no commit is missed in between.
    let mut version = reader.data_version()?;
    let mut watch = Watch::of_waiting_command(reader, WatchMode::Poll(SHORT_WAIT_POLL))?;
    let mut wake_at = Some(short_until);
    loop {
        if Identity::of(reader.path()) != reader.identity() {
            let path = reader.path().display();
            return Err(Error::new(
                Code::StoreReplaced,
                format!("{path} was moved or replaced while waiting; run this again"),
            ));
        }
        let found = read()?;
        let now = Instant::now();
        if found.is_some() || until.is_some_and(|until| now >= until) {
            return Ok(found);
        }
        if wake_at == Some(short_until) && now >= short_until {
            watch = Watch::of_waiting_command(reader, WatchMode::Auto)?;
            wake_at = until;
        }
        watch.wait_until(wake_at, || {
            reader
                .data_version()
                .map_or(true, |v| std::mem::replace(&mut version, v) != v)
        });
    }
}

fn watch_directory(db: &Path, hints: Sender<Hint>) -> notify::Result<RecommendedWatcher> {
    let directory = db
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = db.file_name().unwrap_or_default().to_owned();
    let mut wal: OsString = name.clone();
    wal.push("-wal");
    let is_relevant = move |event: &notify::Event| {
        event.need_rescan()
            || matches!(
                event.kind,
                EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Name(_) | ModifyKind::Any)
                    | EventKind::Create(CreateKind::File | CreateKind::Any)
                    | EventKind::Remove(RemoveKind::File | RemoveKind::Any)
            ) && event
                .paths
                .iter()
                .any(|p| p.file_name().is_some_and(|n| n == wal || n == name))
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error may mean lost events.
        if event.map_or(true, |event| is_relevant(&event)) {
            // The reader may have ended.
            drop(hints.send(Hint::Event));
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The timer may find a commit that waited for a slow disk long after its event.
    #[test]
    #[cfg(target_os = "linux")]
    fn polls_after_repeated_rows_without_an_event() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("hub.db");
        let (mut watch, _wake_handle) = Watch::start(&db, WatchMode::Auto, POLL_INTERVAL, Arc::default()).unwrap();
        for _ in 0..10 {
            watch.had_event = true;
            watch.learn(Wake::Event, false);
            watch.learn(Wake::Timer, true);
        }
        assert_eq!(watch.using(), NotifyMethod::Notify);
        for _ in 0..MISSES {
            assert_eq!(watch.using(), NotifyMethod::Notify);
            watch.learn(Wake::Timer, true);
        }
        assert_eq!(watch.using(), NotifyMethod::Poll);
    }

    /// Otherwise a polling hub is four times as slow for half a second after each of its writes.
    #[test]
    fn keeps_polling_after_its_own_write() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("hub.db");
        let listeners = Arc::new(AtomicUsize::new(1));
        let (mut watch, wake_handle) = Watch::start(&db, WatchMode::Poll(POLL), POLL_INTERVAL, listeners).unwrap();
        watch.next_timer = Instant::now() + 2 * RETRY_PERIOD;
        wake_handle.wrote();
        assert_eq!(watch.wait(|| false), Wake::Own);
        let start = Instant::now();
        let (mut now, mut polls) = (start, 0);
        while now < start + RETRY_PERIOD {
            let (pause, wake) = watch.next(now);
            assert!(pause <= POLL, "{pause:?} {wake:?}");
            polls += u32::from(wake == Wake::Poll);
            now += pause.max(Duration::from_micros(10));
        }
        assert!(polls > 90, "{polls}");
    }

    /// The number of reads within 10 ms after the time, without another event.
    fn reads_within_10_ms(mut retries: RetrySchedule, start: Instant) -> usize {
        let (mut now, mut reads) = (start, 0);
        while let Some(pause) = retries.next(now) {
            // A read takes some time.
            now += pause + Duration::from_micros(10);
            if now > start + Duration::from_millis(10) {
                break;
            }
            reads += 1;
        }
        reads
    }

    #[test]
    fn found_rows_and_late_events_of_the_same_commit_cause_few_reads() {
        let start = Instant::now();
        let mut retries = RetrySchedule::default();
        retries.event(start);
        assert_eq!(reads_within_10_ms(retries, start), 11);
        retries.found(start);
        assert_eq!(reads_within_10_ms(retries, start), 1);
        retries.event(start + LATE / 2);
        assert_eq!(reads_within_10_ms(retries, start + LATE / 2), 3);
        // A later event is one of another commit.
        retries.event(start + LATE);
        assert_eq!(reads_within_10_ms(retries, start + LATE), 11);
    }

    #[test]
    fn reads_after_an_event_become_less_frequent_and_end() {
        let start = Instant::now();
        let mut retries = RetrySchedule::default();
        assert_eq!(retries.next(start), None);
        retries.event(start);
        assert_eq!(retries.next(start), Some(Duration::ZERO));
        let mut now = start + SPIN;
        let mut reads = 0;
        while let Some(pause) = retries.next(now) {
            now += pause;
            reads += 1;
        }
        assert!((30..40).contains(&reads), "{reads}");
        assert!(now - start > RETRY_PERIOD && now - start <= RETRY_PERIOD + 2 * LAST_PAUSE);
    }
}
