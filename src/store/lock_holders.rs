//! Finds the processes that hold SQLite's locks on the database.
//!
//! `stat` gives the inodes of the database and its `-shm`, `/proc/locks` the locked byte ranges of
//! each inode. The files are not opened: closing them would drop SQLite's own locks. Systems without
//! `/proc` (macOS) report no holders.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use super::file_identity::Identity;
use crate::fs::beside::beside;

/// The operations that a lock prevents in other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LockKind {
    /// Reading and writing (`locking_mode=EXCLUSIVE`).
    Exclusive,
    /// Writing.
    Write,
    /// A reset of the WAL.
    Read,
}

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Holder {
    /// The process id.
    pub pid: u32,
    /// The name of its program.
    pub name: String,
    /// The lock it holds.
    pub hold: LockKind,
}

/// Lock bytes of the `-shm`: the write lock, and the five read marks.
const WAL_WRITE: u64 = 120;
const WAL_READ: (u64, u64) = (123, 127);
/// Lock byte of the `-shm` that every connection holds.
const WAL_OPEN: u64 = 128;
/// Lock bytes of the database: the lock of a writer outside WAL mode, and the range that all
/// connections share.
const RESERVED: u64 = 0x4000_0001;
const SHARED: (u64, u64) = (0x4000_0002, 0x4000_01ff);

/// Returns the processes that hold a lock on the database at `db` now, each once, without this
/// process.
pub fn holders(db: &Path) -> Vec<Holder> {
    // `/proc` exists on Linux only.
    let Ok(list) = fs::read_to_string("/proc/locks") else {
        return Vec::new();
    };
    let inode = |path: &Path| fs::metadata(path).ok().map(|meta| meta.ino());
    let (file, shm) = (inode(db), inode(&beside(db, "-shm")));
    let mut found: Vec<Holder> = list
        .lines()
        .filter_map(Lock::parse)
        .filter(|lock| lock.pid != std::process::id())
        .filter_map(|lock| {
            let kind = if Some(lock.inode) == shm {
                lock.on_shm()
            } else if Some(lock.inode) == file {
                lock.on_database()
            } else {
                None
            };
            Some((lock.pid, kind?))
        })
        .filter(|(pid, _)| may_have_open(*pid, db))
        .map(|(pid, hold)| Holder {
            pid,
            name: name_of(pid),
            hold,
        })
        .collect();
    // A writer holds a read lock, too. Keep only the strongest lock of a process, which sorts first.
    found.sort();
    found.dedup_by_key(|holder| holder.pid);
    found
}

/// Who holds the write lock of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockOwner {
    /// No process.
    Free,
    /// This process, on another connection.
    ThisProcess,
    /// The process with this id.
    Process(u32),
}

/// Returns who holds the write lock of the database that this process has open; of one of them, if it has
/// several. Returns `None` if the system does not tell, or if this process has no database open. Needs no path:
/// each process that has a database open locks [`WAL_OPEN`] of its `-shm`.
pub(super) fn write_lock_owner() -> Option<LockOwner> {
    let list = fs::read_to_string("/proc/locks").ok()?;
    let locks: Vec<Lock> = list.lines().filter_map(Lock::parse).collect();
    let me = std::process::id();
    let is_own_open = |lock: &&Lock| lock.pid == me && !lock.exclusive && lock.covers((WAL_OPEN, WAL_OPEN));
    let open: Vec<u64> = locks.iter().filter(is_own_open).map(|lock| lock.inode).collect();
    if open.is_empty() {
        return None;
    }
    let writer = locks
        .iter()
        .find(|lock| lock.on_shm() == Some(LockKind::Write) && open.contains(&lock.inode));
    Some(match writer {
        None => LockOwner::Free,
        Some(lock) if lock.pid == me => LockOwner::ThisProcess,
        Some(lock) => LockOwner::Process(lock.pid),
    })
}

/// Returns whether a process has the database open, and `true` if its file descriptors cannot be
/// read. An inode number in `/proc/locks` can be that of a file on another device.
fn may_have_open(pid: u32, db: &Path) -> bool {
    let (Some(file), Ok(handles)) = (Identity::of(db), fs::read_dir(format!("/proc/{pid}/fd"))) else {
        return true;
    };
    handles
        .flatten()
        .any(|handle| Identity::of(&handle.path()) == Some(file))
}

/// Returns this user's processes, with their names, that have a deleted file open which was at `db`.
/// Rows that they write to it are lost.
pub fn processes_with_deleted_file(db: &Path) -> Vec<(u32, String)> {
    // `/proc` exists on Linux only.
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let deleted = format!("{} (deleted)", db.display());
    let has_it_open = |pid: &u32| {
        let handles = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        handles
            .filter_map(|handle| fs::read_link(handle.path()).ok())
            .any(|target| target.as_os_str() == deleted.as_str())
    };
    let pids = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(has_it_open).map(|pid| (pid, name_of(pid))).collect()
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
}

/// One line of `/proc/locks`.
#[derive(Debug, PartialEq, Eq)]
struct Lock {
    exclusive: bool,
    pid: u32,
    inode: u64,
    bytes: (u64, u64),
}

impl Lock {
    /// Parses a line such as `1: POSIX  ADVISORY  WRITE 4711 fe:00:10027094 120 120`. Ignores the
    /// device: `stat` reports another one on some file systems.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        // The line of a process that waits for a lock has an arrow here.
        if words.next()? != "POSIX" {
            return None;
        }
        let exclusive = words.nth(1)? == "WRITE";
        let pid = words.next()?.parse().ok()?;
        let inode = words.next()?.rsplit(':').next()?.parse().ok()?;
        let start = words.next()?.parse().ok()?;
        let end = words.next()?.parse().unwrap_or(u64::MAX);
        Some(Self {
            exclusive,
            pid,
            inode,
            bytes: (start, end),
        })
    }

    fn covers(&self, (first, last): (u64, u64)) -> bool {
        self.bytes.0 <= last && self.bytes.1 >= first
    }

    fn on_shm(&self) -> Option<LockKind> {
        if self.exclusive {
            self.covers((WAL_WRITE, WAL_WRITE)).then_some(LockKind::Write)
        } else {
            self.covers(WAL_READ).then_some(LockKind::Read)
        }
    }

    fn on_database(&self) -> Option<LockKind> {
        // In WAL mode every connection holds a shared lock on this range.
        match self.exclusive {
            true if self.covers(SHARED) => Some(LockKind::Exclusive),
            true if self.covers((RESERVED, RESERVED)) => Some(LockKind::Write),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_lines_of_proc_locks() {
        let lock = Lock::parse("1: POSIX  ADVISORY  WRITE 4711 fe:00:10027094 120 120").unwrap();
        assert_eq!((lock.pid, lock.inode), (4711, 10_027_094));
        assert_eq!(lock.on_shm(), Some(LockKind::Write));
        assert_eq!(
            Lock::parse("1: -> POSIX  ADVISORY  WRITE 4711 fe:00:10027094 120 120"),
            None
        );
        assert_eq!(Lock::parse("2: FLOCK  ADVISORY  WRITE 4711 fe:00:10027094 0 EOF"), None);
        let reader = Lock::parse("3: POSIX  ADVISORY  READ 1 fe:00:9 124 124").unwrap();
        assert_eq!(reader.on_shm(), Some(LockKind::Read));
        let open = Lock::parse("3: POSIX  ADVISORY  READ 1 fe:00:9 128 128").unwrap();
        assert_eq!(open.on_shm(), None, "every connection holds this lock");
        let exclusive = Lock::parse("3: POSIX  ADVISORY  WRITE 1 fe:00:9 1073741826 1073742335").unwrap();
        assert_eq!(exclusive.on_database(), Some(LockKind::Exclusive));
    }

    #[test]
    fn finds_processes_by_the_file_they_have_open() {
        let dir = tempfile::tempdir().unwrap();
        let (db, other) = (dir.path().join("hub.db"), dir.path().join("other.db"));
        let with_open = |path: &Path| {
            fs::write(path, "x").unwrap();
            let file = fs::File::open(path).unwrap();
            std::process::Command::new("sleep")
                .arg("60")
                .stdin(file)
                .spawn()
                .unwrap()
        };
        let mut processes = [with_open(&db), with_open(&other)];
        let [with_db_open, with_other_open] = [processes[0].id(), processes[1].id()];
        if cfg!(target_os = "linux") {
            assert!(may_have_open(with_db_open, &db));
            assert!(!may_have_open(with_other_open, &db));
            assert_eq!(processes_with_deleted_file(&db), []);
            fs::remove_file(&db).unwrap();
            assert_eq!(processes_with_deleted_file(&db), [(with_db_open, "sleep".to_owned())]);
        }
        for process in &mut processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}
