//! The looker: the one thread that reads the log and fills the live tail.
//!
//! For: looking when [`Watch`] says so, drawing what is new in pages, and noticing that
//! the file is another one or cannot be read.
//! Not for: telling clients; they are woken and help themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Hub;
use crate::error::{Code, Error, Result};
use crate::store::{FileIdentity, Position, Reader, WalState, set_aside_wal};
use crate::watcher::{Wake, Watch};

/// Changes drawn from the file before those who wait are woken.
const PAGE_ROWS: usize = 256;
/// Bytes of rows drawn from the file before those who wait are woken.
const PAGE_BYTES: usize = 1 << 20;
/// Time between two looks at which file is at the path.
const IDENTITY_INTERVAL: Duration = Duration::from_millis(250);
/// Time the path may lead nowhere before a new file is made there: somebody may be moving
/// one into place.
const MISSING_WAIT: Duration = Duration::from_secs(2);

/// The thread's state.
pub(super) struct ChangeReader {
    hub: Arc<Hub>,
    path: PathBuf,
    /// None while the file was let go and could not be opened again.
    reader: Option<Reader>,
    watch: Watch,
    cursor: Position,
    version: i64,
    footprint: Option<FileIdentity>,
    next_identity: Instant,
    missing_since: Option<Instant>,
    /// The file could not be read when it was last asked whether it is still the same.
    broken: bool,
    /// The write-ahead log was not there at the last look.
    log_missing: bool,
}

impl ChangeReader {
    /// A looker that starts at `cursor`.
    pub(super) fn new(hub: Arc<Hub>, reader: Reader, watch: Watch, cursor: Position) -> Self {
        let path = reader.path().to_owned();
        let footprint = footprint(&reader);
        hub.stats.set_using(watch.using());
        Self {
            hub,
            path,
            reader: Some(reader),
            watch,
            cursor,
            version: 0,
            footprint,
            next_identity: Instant::now(),
            missing_since: None,
            broken: false,
            log_missing: false,
        }
    }

    /// Looks until it is told to stop.
    pub(super) fn run(mut self) {
        loop {
            let (reader, version) = (&self.reader, &mut self.version);
            let wake = self.watch.wait(|| {
                let now = reader.as_ref().and_then(|reader| reader.data_version().ok());
                now.is_none_or(|now| std::mem::replace(version, now) != now)
            });
            if wake == Wake::Stop {
                return;
            }
            let outcome = self.check_identity().and_then(|()| self.draw());
            let found = *outcome.as_ref().unwrap_or(&0);
            self.hub.stats.count_wake(wake, found);
            self.watch.learn(wake, found > 0);
            self.hub.stats.set_using(self.watch.using());
            match outcome {
                Ok(_) => self.hub.reading_works(),
                Err(error) if error.code() == Code::PositionLost => self.start_over("its log is another one now"),
                Err(error) => self.hub.reading_fails(&error),
            }
        }
    }

    /// Draws a page of what is new. Returns how many changes there were.
    fn draw(&mut self) -> Result<usize> {
        let page = self.reader()?.log_after(self.cursor, PAGE_ROWS, PAGE_BYTES)?;
        let found = page.changes.len();
        if let Some(last) = page.changes.last() {
            self.cursor = last.pos;
            self.hub.publish(page.changes);
        }
        if page.has_more {
            // In a turn of its own: whoever stops the hub, or replaces the file in the middle
            // of a storm, does not wait for its end.
            self.watch.more();
        }
        Ok(found)
    }

    /// Notices that the path leads to another file or to other content, and goes over to that.
    fn check_identity(&mut self) -> Result<()> {
        let now = Instant::now();
        // While the file is missing every wake asks: what is still open can be read all along.
        if now < self.next_identity && self.missing_since.is_none() {
            return Ok(());
        }
        self.next_identity = now + IDENTITY_INTERVAL;
        let found = FileIdentity::of(&self.path);
        let known = self.footprint;
        if let Some((found, known)) = found.zip(known)
            && found.identity == known.identity
        {
            self.missing_since = None;
            if found.is_empty() {
                self.broken = true;
                return Err(emptied(&self.path));
            }
            match found.wal_since(&known) {
                WalState::Same => self.log_missing = false,
                // Somebody may be moving it along with the database: asked once more.
                WalState::Missing if !std::mem::replace(&mut self.log_missing, true) => return Ok(()),
                WalState::Missing | WalState::Other => return self.leave_dead_log(),
            }
            if self.broken || found.is_rewritten_since(&known) {
                self.confirm()?;
            }
            self.footprint = Some(found);
            return Ok(());
        }
        if found.is_none() && now.duration_since(*self.missing_since.get_or_insert(now)) < MISSING_WAIT {
            return Err(Error::new(
                Code::StoreReplaced,
                format!(
                    "{} is gone; put it back, or a new one is made in {} s",
                    self.path.display(),
                    MISSING_WAIT.as_secs()
                ),
            ));
        }
        if let Some(found) = found {
            // The log and its index at the path are the new one's from now on. Whoever had the
            // old one open would write into them, and be cut off from memory by the new one.
            self.let_go()?;
            if known.is_some_and(|known| found.has_wal_of(&known)) {
                set_aside_wal(&self.path);
            }
        }
        self.go_over()?;
        self.start_over("it is another file now");
        Ok(())
    }

    /// Asks the file whether it still has what was read from it. Checkpoints come by here;
    /// so does a file that was copied over or cut short by other means than SQLite, which
    /// nobody would notice who goes on with the pages in his memory.
    fn confirm(&mut self) -> Result<()> {
        let epoch = self.hub.head().0;
        let confirmed = if self.broken {
            // What this thread has open may never work again, though the file does.
            self.hub.store.reader()?.confirms(&epoch, self.cursor)
        } else {
            self.reader()?.confirms(&epoch, self.cursor)
        };
        match confirmed {
            Ok(true) if !self.broken => Ok(()),
            Ok(same) => {
                self.go_over()?;
                if !same {
                    self.start_over("its content is another one now");
                }
                Ok(())
            }
            Err(error) => {
                self.broken = true;
                Err(error)
            }
        }
    }

    /// What is open goes on in a write-ahead log that nobody else sees. It is closed as it
    /// is: what came into that log and was not in the database yet is lost with it, and to
    /// move it there now would undo a restore.
    fn leave_dead_log(&mut self) -> Result<()> {
        self.let_go()?;
        self.go_over()?;
        self.start_over("its write-ahead log was removed by other means than SQLite");
        Ok(())
    }

    /// Closes everything and moves nothing.
    fn let_go(&mut self) -> Result<()> {
        self.reader = None;
        if self.hub.store.abandon() {
            return Ok(());
        }
        Err(Error::new(
            Code::StoreReplaced,
            format!(
                "{} is another file now, and a read of the one before still goes on; trying again when it is done",
                self.path.display()
            ),
        ))
    }

    fn reader(&self) -> Result<&Reader> {
        self.reader.as_ref().ok_or_else(|| {
            Error::new(
                Code::StoreUnavailable,
                format!("{} could not be opened again; trying further", self.path.display()),
            )
        })
    }

    /// Lets go of what is open and opens what is at the path.
    fn go_over(&mut self) -> Result<()> {
        self.hub.store.reopen()?;
        let reader = self.hub.store.reader()?;
        self.footprint = footprint(&reader);
        self.reader = Some(reader);
        self.watch.renew(&self.path);
        (self.missing_since, self.broken, self.log_missing) = (None, false, false);
        Ok(())
    }

    /// Begins at the end of whatever log there is now; every client's position is lost.
    fn start_over(&mut self, why: &str) {
        let found = self.reader().and_then(|reader| Ok((reader.head()?, reader.epoch()?)));
        match found {
            Ok((head, epoch)) => {
                tracing::warn!("{}: {why}; clients have to start anew", self.path.display());
                self.cursor = head;
                self.hub.replaced(head, &epoch);
            }
            Err(error) => self.hub.reading_fails(&error),
        }
    }
}

/// What `stat` tells of the file that was opened; nothing if another one is in its place by
/// now, so that the next look goes over to that.
fn footprint(reader: &Reader) -> Option<FileIdentity> {
    FileIdentity::of(reader.path()).filter(|found| Some(found.identity) == reader.identity())
}

/// Nobody can make the schema anew in a file that others still have open.
fn emptied(path: &Path) -> Error {
    Error::new(
        Code::StoreCorrupt,
        format!(
            "{} was emptied by other means than SQLite; copy a backup there, or end the agents and remove it",
            path.display()
        ),
    )
}

/// Counts of wakes, by why and by whether they brought anything.
#[derive(Debug, Default)]
pub(super) struct Stats {
    wakes: [[std::sync::atomic::AtomicU64; 2]; 5],
    polling: std::sync::atomic::AtomicBool,
}

/// The wakes that are counted, with their names.
const SOURCES: [(Wake, &str); 5] = [
    (Wake::Event, "event"),
    (Wake::Own, "own"),
    (Wake::Again, "again"),
    (Wake::Poll, "poll"),
    (Wake::Timer, "timer"),
];

impl Stats {
    fn count_wake(&self, wake: Wake, found: usize) {
        if let Some(i) = SOURCES.iter().position(|(w, _)| *w == wake) {
            self.wakes[i][usize::from(found > 0)].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn set_using(&self, using: crate::watcher::NotifyMethod) {
        self.polling
            .store(using == crate::watcher::NotifyMethod::Poll, Ordering::Relaxed);
    }

    /// What is in use now.
    pub(super) fn using(&self) -> crate::watcher::NotifyMethod {
        if self.polling.load(Ordering::Relaxed) {
            crate::watcher::NotifyMethod::Poll
        } else {
            crate::watcher::NotifyMethod::Notify
        }
    }

    /// Each source with its wakes in vain and its hits.
    pub(super) fn wakes(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        SOURCES
            .iter()
            .zip(&self.wakes)
            .map(|((_, name), [empty, hit])| (*name, empty.load(Ordering::Relaxed), hit.load(Ordering::Relaxed)))
    }
}
