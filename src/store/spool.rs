//! Input of hooks that could not get the database's lock in time: kept beside the database, until a
//! writer takes it in.
//!
//! 1. `hub.db.spool/` (mode 0700) has one file per entry (mode 0600). Its name begins with the time and
//!    ends with random digits: the order of the names is the order of the entries.
//! 2. A writer takes in all entries in one transaction, which also stores their names in the `hub` table.
//!    It deletes the files after the commit. If it is killed in between, the next writer finds the names
//!    and only deletes the files: each entry is taken in exactly once.
//! 3. The spool is bounded. Entries beyond its limits are dropped and counted, one byte each, in the file
//!    `dropped`. Calls of hooks that fail for other reasons are counted in the file `failed`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::OptionalExtension;
use serde::Serialize;

use super::connection::Writer;
use super::secrets::random_hex;
use crate::error::{Code, Error, Result};
use crate::fs::beside::beside;
use crate::fs::private_file::{self, Owner};

/// Maximum number of entries.
const MAX_ENTRIES: usize = 1000;
/// Maximum size of all entries, in bytes.
const MAX_BYTES: u64 = 32 << 20;
/// Maximum size of one entry, in bytes.
const MAX_ENTRY_BYTES: usize = 4 << 20;
/// Suffix of an entry's name. Temporary files have another.
const SUFFIX: &str = ".json";
/// Name of the file that counts dropped entries.
const DROPPED: &str = "dropped";
/// Name of the file that counts failed calls of hooks.
const FAILED: &str = "failed";
/// Name of the file with the error of the last one.
const LAST_ERROR: &str = "last_error";
/// Age from which a temporary file is one of a process that was killed.
const TEMPORARY_AGE: Duration = Duration::from_secs(60);
/// Key in the `hub` table: the names of the entries taken in whose files may still exist, separated by
/// blanks.
const TAKEN_KEY: &str = "spool:taken";
/// What the user does if the spool is refused.
const ADVICE: &str = "delete it";

/// The entries that wait to be taken in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SpoolStatus {
    /// Number of entries.
    pub waiting: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// Time of the oldest one, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<i64>,
    /// Number of entries that were lost: the spool was full, or they could not be read.
    pub dropped: u64,
}

/// The calls of hooks that have failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FailedCalls {
    /// Their number.
    pub count: u64,
    /// The error of the last one.
    pub last: String,
}

/// The spool of a database.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    owner: Owner,
}

/// Entries that a transaction has taken in. Delete their files after its commit.
#[derive(Debug, Default)]
#[must_use = "the files are deleted after the commit"]
pub struct TakenEntries {
    paths: Vec<PathBuf>,
    /// Number of entries that this transaction took in.
    pub count: usize,
}

impl TakenEntries {
    /// Deletes the files.
    pub fn delete(self) {
        for path in self.paths {
            // If this fails, the next writer tries again.
            drop(fs::remove_file(path));
        }
    }
}

impl Spool {
    /// Returns the spool of the database at `db`.
    pub fn of(db: &Path) -> Self {
        Self {
            directory: beside(db, ".spool"),
            owner: Owner::of(db),
        }
    }

    /// Adds an entry, at `now` (Unix milliseconds).
    ///
    /// # Errors
    /// [`Code::TooLarge`] if the entry or the spool is too large: the entry is counted as dropped. A
    /// `Store…` code if it cannot be written.
    pub fn add(&self, now: i64, content: &[u8]) -> Result<()> {
        let cannot = |e: std::io::Error| private_file::cannot("write", &self.directory, &e, self.owner);
        if !self.directory.exists() {
            Owner::create_directory(&self.directory).map_err(cannot)?;
        }
        self.require_private()?;
        let status = self.status()?;
        let is_full = status.waiting >= MAX_ENTRIES || status.bytes + content.len() as u64 > MAX_BYTES;
        if is_full || content.len() > MAX_ENTRY_BYTES {
            self.count_dropped();
            return Err(Error::new(
                Code::TooLarge,
                "the spool of hooks is full; end the process that holds the lock",
            ));
        }
        let name = format!("{now:014}-{}{SUFFIX}", random_hex::<8>()?);
        private_file::create(&self.directory.join(name), content, self.owner).map_err(cannot)
    }

    /// Counts a call of a hook that has failed, with its error. Its event is lost. Has no effect if nothing can be
    /// written.
    pub fn count_failed(&self, error: &str) {
        let exists = self.directory.exists() || Owner::create_directory(&self.directory).is_ok();
        if exists && self.require_private().is_ok() {
            self.count(FAILED);
            drop(private_file::replace(
                &self.directory.join(LAST_ERROR),
                error.as_bytes(),
                self.owner,
            ));
        }
    }

    /// Returns the calls of hooks that have failed.
    ///
    /// # Errors
    /// A `Store…` code if the files cannot be read, or are not private.
    pub fn failed_calls(&self) -> Result<FailedCalls> {
        let last = private_file::read(&self.directory.join(LAST_ERROR), self.owner, ADVICE)?;
        Ok(FailedCalls {
            count: fs::metadata(self.directory.join(FAILED)).map_or(0, |file| file.len()),
            last: last.unwrap_or_default(),
        })
    }

    /// Counts an entry that is lost.
    fn count_dropped(&self) {
        self.count(DROPPED);
    }

    /// Appends a byte to a file.
    fn count(&self, name: &str) {
        let path = self.directory.join(name);
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(private_file::MODE)
            .open(path);
        // If this fails, the disk is full as well: nothing can be counted.
        drop(file.and_then(|mut file| {
            self.owner.take(&file)?;
            file.write_all(b".")
        }));
    }

    /// Returns what waits.
    ///
    /// # Errors
    /// A `Store…` code if the directory cannot be read, or is not private.
    pub fn status(&self) -> Result<SpoolStatus> {
        let names = self.names()?;
        let size = |name: &str| fs::metadata(self.directory.join(name)).map_or(0, |file| file.len());
        Ok(SpoolStatus {
            waiting: names.len(),
            bytes: names.iter().map(|name| size(name)).sum(),
            oldest: names.first().and_then(|name| name.split('-').next()?.parse().ok()),
            dropped: size(DROPPED),
        })
    }

    /// Returns the names of the entries, oldest first.
    fn names(&self) -> Result<Vec<String>> {
        let found = match fs::read_dir(&self.directory) {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(private_file::cannot("read", &self.directory, &e, self.owner)),
        };
        self.require_private()?;
        let names = found.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| is_entry(name)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Requires that only the owner can add entries.
    fn require_private(&self) -> Result<()> {
        private_file::check_directory(&self.directory, self.owner, ADVICE)
    }

    /// Deletes temporary files of processes that were killed.
    fn remove_temporary_files(&self) {
        let Ok(found) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in found.flatten() {
            let is_old = entry
                .metadata()
                .and_then(|file| file.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > TEMPORARY_AGE));
            if is_old && entry.file_name().to_string_lossy().ends_with(".new") {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

/// Returns whether this is the name of an entry: digits, a dash, hex digits, the suffix.
fn is_entry(name: &str) -> bool {
    let parts = name.strip_suffix(SUFFIX).and_then(|name| name.split_once('-'));
    parts.is_some_and(|(at, id)| {
        !at.is_empty()
            && at.bytes().all(|b| b.is_ascii_digit())
            && !id.is_empty()
            && id.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

impl Writer {
    /// Takes in all spooled entries: calls `record` with each one's text, oldest first, in one
    /// transaction. Takes no lock if there are none. An entry for which `record` returns an error that
    /// is not a `Store…` code is dropped and counted.
    ///
    /// # Errors
    /// A `Store…` code; nothing is taken in then.
    pub fn take_spooled(&self, record: impl Fn(&str) -> Result<()>) -> Result<TakenEntries> {
        let spool = Spool::of(self.path());
        if spool.names()?.is_empty() {
            return Ok(TakenEntries::default());
        }
        let mut dropped = 0;
        let taken = self.atomically(|| {
            // Within the transaction: no other writer takes in entries meanwhile.
            let (names, known) = (spool.names()?, self.taken_names()?);
            let mut taken = TakenEntries::default();
            for name in &names {
                let path = spool.directory.join(name);
                if !known.contains(name) {
                    match private_file::read(&path, spool.owner, ADVICE) {
                        Ok(Some(text)) => match self.record_spooled(&text, &record) {
                            Err(error) if error.code().is_store() => return Err(error),
                            Ok(()) => taken.count += 1,
                            Err(error) => {
                                tracing::warn!("dropped an event of a hook from {}: {error}", path.display());
                                dropped += 1;
                            }
                        },
                        // Another writer has deleted it since.
                        Ok(None) => {}
                        // It stays, and doctor shows it.
                        Err(error) => {
                            tracing::debug!("{error}");
                            continue;
                        }
                    }
                }
                taken.paths.push(path);
            }
            // Names without a file cannot come back.
            let kept: Vec<&str> = taken
                .paths
                .iter()
                .filter_map(|path| path.file_name()?.to_str())
                .collect();
            self.conn
                .prepare_cached("INSERT OR REPLACE INTO hub(key, value) VALUES(?1, ?2)")?
                .execute([TAKEN_KEY, &kept.join(" ")])?;
            Ok(taken)
        })?;
        for _ in 0..dropped {
            spool.count_dropped();
        }
        spool.remove_temporary_files();
        Ok(taken)
    }

    /// Calls `record` in a savepoint, so that a refused entry leaves no rows.
    fn record_spooled(&self, text: &str, record: impl Fn(&str) -> Result<()>) -> Result<()> {
        self.conn.execute_batch("SAVEPOINT spooled")?;
        let result = record(text);
        let end = if result.is_ok() {
            "RELEASE spooled"
        } else {
            "ROLLBACK TO spooled; RELEASE spooled"
        };
        if !self.conn.is_autocommit() {
            self.conn.execute_batch(end)?;
        }
        result
    }

    /// Returns the names of the entries that were taken in.
    fn taken_names(&self) -> Result<Vec<String>> {
        let stored: Option<String> = self
            .conn
            .prepare_cached("SELECT CAST(value AS TEXT) FROM hub WHERE key = ?1")?
            .query_row([TAKEN_KEY], |row| row.get(0))
            .optional()?;
        Ok(stored.unwrap_or_default().split(' ').map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::PermissionsExt;

    use super::super::test_support::temp_database;
    use super::*;

    /// Takes in the entries, without deleting their files.
    fn take(writer: &Writer) -> (Vec<String>, TakenEntries) {
        let seen = RefCell::new(Vec::new());
        let taken = writer
            .take_spooled(|text| {
                seen.borrow_mut().push(text.to_owned());
                Ok(())
            })
            .unwrap();
        (seen.into_inner(), taken)
    }

    #[test]
    fn takes_entries_in_once_and_in_order_even_if_a_writer_is_killed_before_it_deletes_them() {
        let (_dir, writer) = temp_database();
        let spool = Spool::of(writer.path());
        assert_eq!(spool.status().unwrap(), SpoolStatus::default());
        for (at, text) in [(20, "two"), (10, "one"), (1_000_000_000_000, "three")] {
            spool.add(at, text.as_bytes()).unwrap();
        }
        let status = spool.status().unwrap();
        assert_eq!((status.waiting, status.bytes, status.oldest), (3, 11, Some(10)));
        let (seen, killed) = take(&writer);
        assert_eq!(seen, ["one", "two", "three"]);
        drop(killed);
        spool.add(2_000_000_000_000, b"four").unwrap();
        let (seen, taken) = take(&writer);
        assert_eq!((seen, taken.count), (vec!["four".to_owned()], 1));
        taken.delete();
        assert_eq!(spool.status().unwrap().waiting, 0);
        assert!(take(&writer).0.is_empty());
    }

    #[test]
    fn takes_nothing_in_if_the_transaction_fails() {
        let (_dir, writer) = temp_database();
        let spool = Spool::of(writer.path());
        spool.add(1, b"one").unwrap();
        let failed = writer.take_spooled(|_| Err(Error::new(Code::StoreFull, "full")));
        assert_eq!(failed.unwrap_err().code(), Code::StoreFull);
        assert_eq!(take(&writer).0, ["one"]);
    }

    #[test]
    fn refused_and_superfluous_entries_are_counted_as_dropped() {
        let (_dir, writer) = temp_database();
        let spool = Spool::of(writer.path());
        spool.add(1, b"refused").unwrap();
        spool.add(2, b"good").unwrap();
        let taken = writer
            .take_spooled(|text| {
                writer.register_agent(text)?;
                match text {
                    "good" => Ok(()),
                    _ => Err(Error::new(Code::Invalid, "refused")),
                }
            })
            .unwrap();
        assert_eq!(taken.count, 1);
        taken.delete();
        assert!(writer.agent_exists("good").unwrap() && !writer.agent_exists("refused").unwrap());
        let status = spool.status().unwrap();
        assert_eq!((status.waiting, status.dropped), (0, 1));
        let long = vec![b'x'; MAX_ENTRY_BYTES];
        assert!(spool.add(3, &[&long[..], b"x"].concat()).is_err());
        for at in 0..u64::MAX {
            if spool.add(i64::try_from(at).unwrap(), &long).is_err() {
                assert_eq!(at, MAX_BYTES / MAX_ENTRY_BYTES as u64);
                break;
            }
        }
        assert_eq!(spool.status().unwrap().dropped, 3);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let (_dir, writer) = temp_database();
        let spool = Spool::of(writer.path());
        spool.add(1, b"one").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&spool.directory), 0o700);
        let entry = spool.directory.join(&spool.names().unwrap()[0]);
        assert_eq!(mode(&entry), 0o600);
        fs::set_permissions(&spool.directory, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(spool.add(2, b"two").is_err());
        assert!(writer.take_spooled(|_| Ok(())).is_err());
    }
}
