//! Opening the file: modes, network file systems, connection settings, the lock's queue.
//!
//! For: the one place where a connection is made. SQLite itself does every `open` of the
//! database and its companions: closing a descriptor of our own would drop SQLite's locks
//! and lose rows.
//! Not for: what is in the file (`schema` and the subjects beside it).

use std::fs::{self, DirBuilder, Permissions};
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::file_identity::{Identity, Log};
use super::sidecar_files::beside;
use super::{busy_retry, schema};
use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;

/// The longest row this process will read: every column the file accepts at its largest,
/// and nothing like the 300 MB value that would be read whole otherwise.
const MAX_ROW_BYTES: i32 = 32 << 20;
/// Prepared statements kept per connection: more than there are in `store`.
const STATEMENTS: usize = 96;

/// What to do when the file is on a network file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkFs {
    /// Refuse: WAL needs shared memory, and rows vanish without an error where there is none.
    #[default]
    Refuse,
    /// The owner insists.
    Allow,
}

/// A connection that reads.
#[derive(Debug)]
pub struct Reader {
    pub(super) conn: Connection,
    path: PathBuf,
    identity: Option<Identity>,
}

/// A connection that reads and writes.
#[derive(Debug)]
pub struct Writer {
    reader: Reader,
    log: Log,
}

impl Deref for Writer {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Reader {
    /// Opens a file that a [`Writer`] has opened before.
    ///
    /// # Errors
    /// One of the `Store…` codes.
    pub fn open(path: &Path, network_fs: NetworkFs) -> Result<Self> {
        Self::open_if(path, network_fs, || true)
    }

    /// As [`Reader::open`], if the file is still this one. Another one may have come into its
    /// place while this process has the old one open: the two would take the same index for
    /// theirs, and the first read would cut it short under those who have it in their memory.
    ///
    /// # Errors
    /// [`Code::StoreReplaced`] if it is another one; one of the `Store…` codes.
    pub(super) fn open_same(path: &Path, network_fs: NetworkFs, identity: Option<Identity>) -> Result<Self> {
        Self::open_if(path, network_fs, || Identity::of(path) == identity)
    }

    /// `is_right` is asked when the file is open and nothing has been read.
    fn open_if(path: &Path, network_fs: NetworkFs, is_right: impl FnOnce() -> bool) -> Result<Self> {
        refuse_network_fs(path, network_fs)?;
        refuse_irregular(path)?;
        // Before it is opened: if it is another file a moment later, that is noticed.
        let identity = Identity::of(path);
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        if !is_right() {
            return Err(Error::new(
                Code::StoreReplaced,
                format!("{} is another file now; it is opened anew, try again", path.display()),
            ));
        }
        let reader = Self {
            conn,
            path: path.to_owned(),
            identity,
        };
        schema::check(&reader.conn, path)?;
        Ok(reader)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which file it is.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Runs `f` on one unchanging view of the file.
    pub(super) fn snapshot<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let transaction = self.conn.unchecked_transaction()?;
        let result = f();
        // Nothing was written: ending the view cannot lose anything.
        drop(transaction);
        result
    }
}

impl Writer {
    /// Whether the path still leads to the file, and to the log, that this connection has: what
    /// it writes is lost otherwise. A few `stat`s, which touch no lock.
    pub fn is_at_its_path(&self) -> bool {
        Identity::of(&self.path) == self.identity && Log::of(&self.path) == self.log
    }

    /// Closes the connection and leaves the write-ahead log alone: it is not the database's any
    /// more.
    pub fn abandon(self) {
        // Should it fail, closing does what it always does.
        drop(
            self.conn
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
        );
    }

    /// Runs `f` within one transaction: a new one, or the one that is under way.
    ///
    /// # Errors
    /// What `f` returns, and nothing is written then; a `Store…` code.
    pub fn atomically<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.conn.is_autocommit() {
            return f();
        }
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        let result = f()?;
        transaction.commit()?;
        Ok(result)
    }
}

impl Writer {
    /// Opens the file at `path`; makes folder, file and schema where they are missing.
    ///
    /// # Errors
    /// One of the `Store…` codes. A file that is not ours, or newer than this program, is
    /// left untouched.
    pub fn open(path: &Path, network_fs: NetworkFs) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|e| {
                    Error::new(
                        Code::StoreUnavailable,
                        format!(
                            "cannot make the folder {}: {e}; give another path with --db",
                            folder.display()
                        ),
                    )
                    .because(e)
                })?;
        }
        refuse_network_fs(path, network_fs)?;
        refuse_irregular(path)?;
        set_aside_leftovers(path);
        let before = Identity::of(path);
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        // A file that is refused below is left as it is, its write-ahead log included.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        if fs::metadata(path).is_ok_and(|m| m.len() == 0) {
            // New, or left empty by somebody's sqlite3: ours from here on, and private
            // before the -wal and -shm copy its mode.
            fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|e| {
                Error::new(
                    Code::StoreReadOnly,
                    format!(
                        "cannot make {} private: {e}; make it belong to this user",
                        path.display()
                    ),
                )
                .because(e)
            })?;
        }
        schema::create_or_check(&conn, path)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        Ok(Self {
            reader: Reader {
                conn,
                path: path.to_owned(),
                identity: before.or_else(|| Identity::of(path)),
            },
            log: Log::of(path),
        })
    }
}

/// Before a file is made anew: what is left of one that is gone belongs to those who still
/// have it open. Shared with them, log and index would damage both files.
fn set_aside_leftovers(path: &Path) {
    for suffix in ["-wal", "-shm"] {
        let left = beside(path, suffix);
        // Looked at first: what was there while the file was not cannot be a new one's.
        let Some(inode) = fs::metadata(&left).ok().map(|meta| meta.ino()) else {
            continue;
        };
        if path.exists() || fs::metadata(&left).ok().map(|meta| meta.ino()) != Some(inode) {
            return;
        }
        set_aside(path, suffix, "is gone and is made anew");
    }
}

/// Takes the log and its index away from the file at `path`: they are those of the file that
/// was there before, whose rows whoever opens this one would find in it.
pub fn set_aside_log(path: &Path) {
    for suffix in ["-wal", "-shm"] {
        set_aside(path, suffix, "is another file now");
    }
}

fn set_aside(path: &Path, suffix: &str, why: &str) {
    let aside = beside(path, &format!("{suffix}.lost-{}", now_ms()));
    // If it cannot be moved, opening the file will say why.
    if fs::rename(beside(path, suffix), &aside).is_ok() && suffix == "-wal" {
        tracing::warn!(
            "{} {why}; what was in its log is kept as {}; agents that have it open must open it again",
            path.display(),
            aside.display()
        );
    }
}

pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    // SQLITE_OPEN_NO_MUTEX: a connection never leaves the thread that uses it.
    #[expect(clippy::disallowed_methods, reason = "the one place where a connection is made")]
    let mut conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(|e| {
        let error = Error::from(e);
        Error::new(
            error.code(),
            format!("cannot open {}: {}", path.display(), error.message()),
        )
    })?;
    conn.busy_handler(Some(busy_retry::busy_handler))?;
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_ROW_BYTES)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Else SQLite plans a statement anew each time another number is bound to its LIMIT: most
    // of what a look at the file would cost.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(conn)
}

fn refuse_irregular(path: &Path) -> Result<()> {
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return Err(Error::new(
            Code::StoreForeign,
            format!(
                "cannot open {}: it is no regular file; give another path with --db",
                path.display()
            ),
        ));
    }
    Ok(())
}

fn refuse_network_fs(path: &Path, network_fs: NetworkFs) -> Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    match (network_fs, network_fs_of(folder)) {
        (NetworkFs::Refuse, Some(name)) => Err(Error::new(
            Code::StoreNetwork,
            format!(
                "cannot open {}: it is on {name}, where WAL loses data; move it or pass --allow-network-fs",
                path.display()
            ),
        )),
        _ => Ok(()),
    }
}

/// The name of the network file system that holds `folder`, if it is one.
#[cfg(target_os = "linux")]
fn network_fs_of(folder: &Path) -> Option<&'static str> {
    // Magic numbers of linux/magic.h and of the file systems' own headers.
    let magic = rustix::fs::statfs(folder).ok()?.f_type;
    Some(match u32::try_from(magic & 0xFFFF_FFFF).ok()? {
        0x6969 => "NFS",
        0x517B | 0xFE53_4D42 | 0xFF53_4D42 => "SMB",
        0x0102_1997 => "9p",
        0x6573_5546 => "FUSE",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x00C3_6400 => "Ceph",
        _ => return None,
    })
}

/// The name of the network file system that holds `folder`, if it is one.
#[cfg(target_os = "macos")]
fn network_fs_of(folder: &Path) -> Option<&'static str> {
    let stat = rustix::fs::statfs(folder).ok()?;
    let name: Vec<u8> = stat
        .f_fstypename
        .iter()
        .map(|c| c.to_ne_bytes()[0])
        .take_while(|b| *b != 0)
        .collect();
    Some(match name.as_slice() {
        b"nfs" => "NFS",
        b"smbfs" => "SMB",
        b"webdav" => "WebDAV",
        b"afpfs" => "AFP",
        b"osxfuse" | b"macfuse" | b"fusefs" => "FUSE",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_and_its_companions_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/hub.db");
        let writer = Writer::open(&path, NetworkFs::Refuse).unwrap();
        writer
            .post_message(&super::super::NewMessage::new("t", "a", "hello"))
            .unwrap();
        for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
            let mode = fs::metadata(path.with_file_name(name)).unwrap().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_empty_file_is_adopted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        fs::write(&path, b"").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        Writer::open(&path, NetworkFs::Refuse).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    /// Without it a look at the file would cost several times what it does.
    #[test]
    fn a_statement_used_again_is_not_planned_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let writer = Writer::open(&path, NetworkFs::Refuse).unwrap();
        let sql = "SELECT seq FROM changes WHERE seq >= ?1 ORDER BY seq LIMIT ?2";
        let mut statement = writer.conn.prepare(sql).unwrap();
        for i in 0..3 {
            assert!(statement.query([i, i]).unwrap().next().unwrap().is_none());
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }
}
