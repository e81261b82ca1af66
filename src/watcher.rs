//! When to look: the moments at which the file may have something new.
//!
//! For: turning the file system's events, a cheap poll and a timer into wakes. A wake is a
//! hint and carries no data: it means "look", and looking is the store's business.
//! Not for: reading rows, or knowing whether there are any.
//!
//! 1. inotify (through `notify`) reports writes to the `-wal` in the file's folder. The
//!    event fires before the commit is visible, so a look that follows it may come too
//!    early: after every event the looks are repeated, at once at first and then at
//!    doubling distances up to 20 ms, for half a second (`RetrySchedule`).
//! 2. Where such events do not come (macOS reports nothing until a file is closed; some
//!    containers report nothing at all) `data_version` is polled every 5 ms while anyone
//!    listens.
//! 3. A timer runs underneath both. If it keeps finding rows that no event announced, the
//!    events are not to be trusted and the poll takes over.
//!
//! The folder is watched, never the files: the `-wal` comes and goes, and a watcher that
//! opens and closes the database would drop SQLite's locks.

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

/// How long looks follow each other without a pause after an event: the usual time between
/// the event and the moment the commit is visible.
const SPIN: Duration = Duration::from_micros(30);
/// The first pause between looks after that; it doubles.
const FIRST_PAUSE: Duration = Duration::from_micros(20);
/// The longest pause between looks after an event.
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// How long after an event looks go on: a commit that waits for a slow disk becomes visible
/// without another event.
const TRAIL: Duration = Duration::from_millis(500);
/// Time between two looks at `data_version` where events do not come.
pub const POLL: Duration = Duration::from_millis(5);
/// Rows found by the timer alone, in a row, before events are no longer trusted.
const MISSES: u32 = 3;

/// How to notice a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchMode {
    /// Events where they work, otherwise the poll.
    #[default]
    Auto,
    /// Events, or fail.
    Notify,
    /// The poll, this often while anyone listens: [`POLL`], unless one wants to compare.
    Poll(Duration),
}

/// Why it is time to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The file system reported a write.
    Event,
    /// This process has written.
    Own,
    /// Shortly after one of the two: the commit may be visible only now.
    Again,
    /// `data_version` has moved.
    Poll,
    /// The timer.
    Timer,
    /// Nobody is interested any more.
    Stop,
}

/// What is in use, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NotifyMethod {
    /// File system events.
    Notify,
    /// The poll.
    Poll,
}

#[derive(Debug)]
enum Hint {
    Event,
    Own,
    Stop,
}

/// Wakes the looker from elsewhere in this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WakeHandle(Sender<Hint>);

impl WakeHandle {
    /// This process has written something.
    pub fn wrote(&self) {
        // Without a looker nobody needs to look.
        drop(self.0.send(Hint::Own));
    }

    /// The looker may go.
    pub fn stop(&self) {
        drop(self.0.send(Hint::Stop));
    }
}

/// The times of the looks after an event, on whoever's clock.
#[derive(Debug, Clone, Copy, Default)]
struct RetrySchedule {
    /// When the last event came, and the pause before the next look.
    after: Option<(Instant, Duration)>,
}

impl RetrySchedule {
    fn event(&mut self, now: Instant) {
        self.after = Some((now, FIRST_PAUSE));
    }

    /// How long to pause before looking again; `None` when there has been enough of it.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        let (event, pause) = self.after?;
        if now.duration_since(event) < SPIN {
            return Some(Duration::ZERO);
        }
        if now.duration_since(event) > TRAIL {
            self.after = None;
            return None;
        }
        self.after = Some((event, (pause * 2).min(LAST_PAUSE)));
        Some(pause)
    }
}

/// Tells one looker when to look.
#[derive(Debug)]
pub struct Watch {
    hints: Receiver<Hint>,
    /// For events from another folder.
    sender: Sender<Hint>,
    /// Kept alive: dropping it ends the events.
    events: Option<RecommendedWatcher>,
    mode: WatchMode,
    using: NotifyMethod,
    poll: Duration,
    pace: RetrySchedule,
    /// The last look left something.
    more: bool,
    interval: Duration,
    next_timer: Instant,
    /// How many are interested in being fast.
    listeners: Arc<AtomicUsize>,
    /// An event has come since the timer last rang.
    heard: bool,
    misses: u32,
}

impl Watch {
    /// Watches the database at `db`. `interval` is the timer's; `listeners` counts those
    /// for whom the poll, if it comes to that, runs.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] with [`WatchMode::Notify`], if the system gives no events.
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
            // FSEvents is silent until the -wal is closed, which is never.
            WatchMode::Auto if cfg!(target_os = "macos") => None,
            WatchMode::Auto | WatchMode::Notify => match watch_folder(db, tx.clone()) {
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
                        format!("cannot watch the folder of {}: {e}; use --watch auto", db.display()),
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
            pace: RetrySchedule::default(),
            more: false,
            interval,
            next_timer,
            listeners,
            heard: false,
            misses: 0,
        };
        Ok((watch, WakeHandle(tx)))
    }

    /// What is in use now.
    pub fn using(&self) -> NotifyMethod {
        self.using
    }

    /// Waits until it is time to look. `moved` says whether `data_version` has moved since
    /// it was last asked; it is asked only where events do not come.
    pub fn wait(&mut self, mut moved: impl FnMut() -> bool) -> Wake {
        loop {
            let (pause, wake) = self.next(Instant::now());
            match self.hints.recv_timeout(pause) {
                Ok(hint) => return self.take(hint),
                Err(RecvTimeoutError::Disconnected) => return Wake::Stop,
                Err(RecvTimeoutError::Timeout) => match wake {
                    Wake::Poll if !moved() => {}
                    Wake::Timer => {
                        self.next_timer = Instant::now() + self.interval;
                        return Wake::Timer;
                    }
                    wake => return wake,
                },
            }
        }
    }

    /// How long to pause if nothing happens, and what to wake for then: whatever comes first.
    fn next(&mut self, now: Instant) -> (Duration, Wake) {
        let timer = self.next_timer.saturating_duration_since(now);
        let pace = self.pace.next(now).filter(|pause| *pause <= timer);
        let polling = self.using == NotifyMethod::Poll && self.listeners.load(Ordering::Relaxed) > 0;
        let poll = Some(self.poll).filter(|poll| polling && *poll < timer);
        match (pace, poll) {
            _ if std::mem::take(&mut self.more) => (Duration::ZERO, Wake::Again),
            (Some(pace), Some(poll)) if poll < pace => (poll, Wake::Poll),
            (Some(pace), _) => (pace, Wake::Again),
            (None, Some(poll)) => (poll, Wake::Poll),
            (None, None) => (timer, Wake::Timer),
        }
    }

    /// The path leads to another file now, perhaps in another folder of that name.
    pub fn renew(&mut self, db: &Path) {
        if self.events.is_some() {
            // Without events the timer finds out, and the poll takes over.
            self.events = watch_folder(db, self.sender.clone()).ok().or(self.events.take());
        }
    }

    /// The look has left something: the next wait is none.
    pub fn more(&mut self) {
        self.more = true;
    }

    /// Waits as [`Watch::wait`] does, but not beyond `until`, if that is given.
    pub fn wait_until(&mut self, until: Option<Instant>, moved: impl FnMut() -> bool) -> Wake {
        self.next_timer = until.map_or(self.next_timer, |until| self.next_timer.min(until));
        self.wait(moved)
    }

    /// Learns what a look brought: rows that the timer found, and of which no event had told,
    /// speak against the events. (One that came too early for a slow disk has told.)
    pub fn learn(&mut self, wake: Wake, found: bool) {
        if wake != Wake::Timer || self.using != NotifyMethod::Notify || self.mode != WatchMode::Auto {
            return;
        }
        if std::mem::replace(&mut self.heard, false) {
            self.misses = 0;
        } else if found {
            self.misses += 1;
        }
        if self.misses == MISSES {
            tracing::warn!(
                "file system events do not come; polling every {} ms instead",
                POLL.as_millis()
            );
            self.using = NotifyMethod::Poll;
            self.events = None;
        }
    }

    /// Several hints at once are one.
    fn take(&mut self, hint: Hint) -> Wake {
        let mut wake = Wake::Own;
        for hint in std::iter::once(hint).chain(self.hints.try_iter()) {
            match hint {
                Hint::Event => {
                    wake = Wake::Event;
                    self.heard = true;
                }
                Hint::Own => {}
                Hint::Stop => return Wake::Stop,
            }
        }
        self.pace.event(Instant::now());
        wake
    }
}

/// Looks until `look` finds something, at the moments at which a hub would look; `None` if
/// `patience` ends first. Without patience it never does. Looks at least once. Blocks.
///
/// # Errors
/// What `look` returns; [`Code::StoreReplaced`] if the path leads to another file meanwhile.
pub fn look_until<T>(
    reader: &Reader,
    patience: Option<Duration>,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let until = patience.and_then(|patience| Instant::now().checked_add(patience));
    // Watching begins before the first look, so that nothing falls in between.
    let (mut watch, _poke) = Watch::start(
        reader.path(),
        WatchMode::Auto,
        POLL_INTERVAL,
        Arc::new(AtomicUsize::new(1)),
    )?;
    let mut version = 0;
    loop {
        if Identity::of(reader.path()) != reader.identity() {
            let path = reader.path().display();
            return Err(Error::new(
                Code::StoreReplaced,
                format!("{path} was moved or replaced while waiting; run this again"),
            ));
        }
        let found = look()?;
        if found.is_some() || until.is_some_and(|until| Instant::now() >= until) {
            return Ok(found);
        }
        watch.wait_until(until, || {
            reader
                .data_version()
                .map_or(true, |v| std::mem::replace(&mut version, v) != v)
        });
    }
}

fn watch_folder(db: &Path, hints: Sender<Hint>) -> notify::Result<RecommendedWatcher> {
    let folder = db
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = db.file_name().unwrap_or_default().to_owned();
    let mut wal: OsString = name.clone();
    wal.push("-wal");
    let ours = move |event: &notify::Event| {
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
        // An error may stand for lost events: look.
        if event.map_or(true, |event| ours(&event)) {
            // The looker may be gone already.
            drop(hints.send(Hint::Event));
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit that waits for a slow disk is found by the timer now and then, long after its
    /// event; that was taken for a missing one.
    #[test]
    #[cfg(target_os = "linux")]
    fn only_rows_that_no_event_has_told_of_speak_against_the_events() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("hub.db");
        let (mut watch, _poke) = Watch::start(&db, WatchMode::Auto, POLL_INTERVAL, Arc::default()).unwrap();
        for _ in 0..10 {
            watch.heard = true;
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

    /// Without it a hub that polls was four times as slow for half a second after each write of
    /// its own.
    #[test]
    fn after_a_write_of_ones_own_the_poll_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("hub.db");
        let listeners = Arc::new(AtomicUsize::new(1));
        let (mut watch, poke) = Watch::start(&db, WatchMode::Poll(POLL), POLL_INTERVAL, listeners).unwrap();
        watch.next_timer = Instant::now() + 2 * TRAIL;
        poke.wrote();
        assert_eq!(watch.wait(|| false), Wake::Own);
        let start = Instant::now();
        let (mut now, mut polls) = (start, 0);
        while now < start + TRAIL {
            let (pause, wake) = watch.next(now);
            assert!(pause <= POLL, "{pause:?} {wake:?}");
            polls += u32::from(wake == Wake::Poll);
            now += pause.max(Duration::from_micros(10));
        }
        assert!(polls > 90, "{polls}");
    }

    #[test]
    fn after_an_event_the_looks_are_dense_and_then_sparse_and_then_end() {
        let start = Instant::now();
        let mut pace = RetrySchedule::default();
        assert_eq!(pace.next(start), None);
        pace.event(start);
        assert_eq!(pace.next(start), Some(Duration::ZERO));
        let mut now = start + SPIN;
        let mut looks = 0;
        while let Some(pause) = pace.next(now) {
            now += pause;
            looks += 1;
        }
        assert!((30..40).contains(&looks), "{looks}");
        assert!(now - start > TRAIL && now - start <= TRAIL + 2 * LAST_PAUSE);
    }
}
