//! Who holds SQLite's locks on the file, as the system tells it.
//!
//! For: naming the process that keeps others from writing, or the log from starting anew.
//! Not for: taking a lock or asking the file: opening and closing it would drop SQLite's
//! own locks. `stat` tells which file it is, `/proc/locks` who has locked which bytes of
//! it. Where there is no such list (macOS) nobody is named.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use super::file_identity::Identity;
use super::sidecar_files::beside;

/// What a lock keeps others from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LockKind {
    /// From everything (`locking_mode=EXCLUSIVE`).
    Exclusive,
    /// From writing.
    Write,
    /// The log from starting anew.
    Read,
}

/// A process with a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// What it keeps others from.
    pub hold: LockKind,
}

/// Bytes of the `-shm` that stand for locks: writing, and the five places of readers.
const WAL_WRITE: u64 = 120;
const WAL_READ: (u64, u64) = (123, 127);
/// Bytes of the database itself: what a writer without a log takes, and all readers' range.
const RESERVED: u64 = 0x4000_0001;
const SHARED: (u64, u64) = (0x4000_0002, 0x4000_01ff);

/// Everybody who holds a lock on the database at `db` now, each once, this process left out.
pub fn holders(db: &Path) -> Vec<Holder> {
    // There is none on other systems.
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
            let hold = if Some(lock.inode) == shm {
                lock.on_log()
            } else if Some(lock.inode) == file {
                lock.on_file()
            } else {
                None
            };
            Some((lock.pid, hold?))
        })
        .filter(|(pid, _)| may_have_open(*pid, db))
        .map(|(pid, hold)| Holder {
            pid,
            name: name_of(pid),
            hold,
        })
        .collect();
    // Who writes also reads: the gravest counts, which sorts first.
    found.sort();
    found.dedup_by_key(|holder| holder.pid);
    found
}

/// Whether a process has the database open, as far as its handles may be looked at: the numbers
/// in the list of locks may be those of a file on another device.
fn may_have_open(pid: u32, db: &Path) -> bool {
    let (Some(file), Ok(handles)) = (Identity::of(db), fs::read_dir(format!("/proc/{pid}/fd"))) else {
        return true;
    };
    handles
        .flatten()
        .any(|handle| Identity::of(&handle.path()) == Some(file))
}

/// Processes of this user that have a file open which was at `db` and is not any more: what
/// they write is lost.
pub fn strays(db: &Path) -> Vec<(u32, String)> {
    // There is none on other systems.
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let gone = format!("{} (deleted)", db.display());
    let has_it_open = |pid: &u32| {
        let handles = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        handles
            .filter_map(|handle| fs::read_link(handle.path()).ok())
            .any(|target| target.as_os_str() == gone.as_str())
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
    /// Reads `1: POSIX  ADVISORY  WRITE 4711 fe:00:10027094 120 120`. The device is not
    /// compared: some file systems tell `stat` another one.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        // Those who wait have an arrow here.
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

    fn on_log(&self) -> Option<LockKind> {
        if self.exclusive {
            self.covers((WAL_WRITE, WAL_WRITE)).then_some(LockKind::Write)
        } else {
            self.covers(WAL_READ).then_some(LockKind::Read)
        }
    }

    fn on_file(&self) -> Option<LockKind> {
        // In the log's mode everybody who has the file open shares this range.
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
    fn lines_are_read() {
        let lock = Lock::parse("1: POSIX  ADVISORY  WRITE 4711 fe:00:10027094 120 120").unwrap();
        assert_eq!((lock.pid, lock.inode), (4711, 10_027_094));
        assert_eq!(lock.on_log(), Some(LockKind::Write));
        assert_eq!(
            Lock::parse("1: -> POSIX  ADVISORY  WRITE 4711 fe:00:10027094 120 120"),
            None
        );
        assert_eq!(Lock::parse("2: FLOCK  ADVISORY  WRITE 4711 fe:00:10027094 0 EOF"), None);
        let reader = Lock::parse("3: POSIX  ADVISORY  READ 1 fe:00:9 124 124").unwrap();
        assert_eq!(reader.on_log(), Some(LockKind::Read));
        let open = Lock::parse("3: POSIX  ADVISORY  READ 1 fe:00:9 128 128").unwrap();
        assert_eq!(open.on_log(), None, "everybody who has the file open holds this one");
        let exclusive = Lock::parse("3: POSIX  ADVISORY  WRITE 1 fe:00:9 1073741826 1073742335").unwrap();
        assert_eq!(exclusive.on_file(), Some(LockKind::Exclusive));
    }

    #[test]
    fn whoever_has_another_file_open_is_not_accused_and_whoever_has_a_removed_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let (db, other) = (folder.path().join("hub.db"), folder.path().join("other.db"));
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
        let [with_it, with_another] = [processes[0].id(), processes[1].id()];
        if cfg!(target_os = "linux") {
            assert!(may_have_open(with_it, &db));
            assert!(!may_have_open(with_another, &db));
            assert_eq!(strays(&db), []);
            fs::remove_file(&db).unwrap();
            assert_eq!(strays(&db), [(with_it, "sleep".to_owned())]);
        }
        for process in &mut processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}
