//! Opens connections to the database: file permissions, network file systems, connection settings.
//!
//! Only SQLite opens the database, its `-wal` and its `-shm`. If this process opened and closed one
//! of them itself, the close would drop SQLite's POSIX locks, and rows could be lost.

use std::cell::RefCell;
use std::fs::{self, Permissions};
use std::ops::Deref;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::connect::{connect, refuse_files_of_others};
use super::file_identity::{Identity, WalFiles};
use super::logged_table::LastInserts;
use super::proof::Proofs;
use super::schema;
use crate::error::{Code, Error, Result};
use crate::fs::beside::beside;
use crate::fs::private_file::{self, Owner};
use crate::protocol::now_ms;

/// Whether a database on a network file system is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkFs {
    /// Refuse it: WAL mode needs shared memory between all processes, and without it rows are lost
    /// without an error.
    #[default]
    Refuse,
    /// Accept it: the user passed `--allow-network-fs`.
    Allow,
}

/// A read-only connection.
#[derive(Debug)]
pub struct Reader {
    pub(super) conn: Connection,
    path: PathBuf,
    identity: Option<Identity>,
    pub(super) proofs: Proofs,
    /// As of the last page of the change log that this connection has read.
    pub(super) last_inserts: RefCell<LastInserts>,
}

/// A connection that reads and writes.
#[derive(Debug)]
pub struct Writer {
    reader: Reader,
    wal: WalFiles,
}

impl Deref for Writer {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Reader {
    /// Opens a database that a [`Writer`] has already created.
    ///
    /// # Errors
    /// One of the `Store…` codes.
    pub fn open(path: &Path, network_fs: NetworkFs) -> Result<Self> {
        let reader = Self::open_if(path, network_fs, || true)?;
        schema::check(&reader.conn, path).map_err(|e| explain_unreadable(path, e))?;
        Ok(reader)
    }

    /// Opens the database like [`Reader::open`] if the path still leads to the file `identity`, which
    /// this process has open. Another process may have migrated it to a newer schema version.
    ///
    /// If the file was replaced while this process has connections to the old one, both files would
    /// share one WAL index, and the first read would truncate it while other connections have it
    /// mapped.
    ///
    /// # Errors
    /// [`Code::StoreReplaced`] if the path leads to another file; one of the `Store…` codes.
    pub(super) fn open_same(path: &Path, network_fs: NetworkFs, identity: Option<Identity>) -> Result<Self> {
        let reader = Self::open_if(path, network_fs, || Identity::of(path) == identity)?;
        schema::check_further(&reader.conn, path).map_err(|e| explain_unreadable(path, e))?;
        Ok(reader)
    }

    /// Calls `is_expected_file` after the file is opened and before anything is read. Does not check the
    /// schema.
    fn open_if(path: &Path, network_fs: NetworkFs, is_expected_file: impl FnOnce() -> bool) -> Result<Self> {
        refuse_network_fs(path, network_fs)?;
        refuse_irregular(path)?;
        // Taken before the open, so that a replacement in between is detected later.
        let identity = Identity::of(path);
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        if !is_expected_file() {
            return Err(Error::new(
                Code::StoreReplaced,
                format!(
                    "{} was replaced by another file and is being reopened; try again",
                    path.display()
                ),
            ));
        }
        Ok(Self {
            conn,
            path: path.to_owned(),
            identity,
            proofs: Proofs::new(path.to_owned()),
            last_inserts: RefCell::default(),
        })
    }

    /// Returns the path of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the device and inode of the file that was opened.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Runs `f` in a read transaction: all its reads see the same state of the database.
    pub(super) fn snapshot<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let transaction = self.conn.unchecked_transaction()?;
        let result = f();
        // Rolls back, which loses nothing: `f` only reads.
        drop(transaction);
        result
    }
}

impl Writer {
    /// Returns whether the path still leads to the database and WAL that this connection has open.
    /// If not, rows that it writes are lost. Only calls `stat`, which affects no lock.
    pub fn is_at_its_path(&self) -> bool {
        Identity::of(&self.path) == self.identity && WalFiles::of(&self.path) == self.wal
    }

    /// Closes the connection without a checkpoint: the WAL no longer belongs to the database.
    pub fn abandon(self) {
        // If this fails, the close runs SQLite's usual checkpoint.
        drop(
            self.conn
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
        );
    }

    /// Compiles a statement that [`atomically`](Self::atomically) will run. With the triggers it fires, that takes
    /// a third of the time of a short transaction, in which other writers would wait for the lock.
    pub(super) fn compile(&self, sql: &str) -> Result<()> {
        self.conn.prepare_cached(sql)?;
        Ok(())
    }

    /// Runs `f` in a transaction: the current one, or a new one that is committed afterwards.
    ///
    /// # Errors
    /// The error of `f`, after which nothing of a new transaction is written; a `Store…` code.
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
    /// Opens the database at `path`. Creates the directory, the file and the schema if missing.
    ///
    /// # Errors
    /// One of the `Store…` codes. A file of another program, or with a newer schema, is not
    /// changed.
    pub fn open(path: &Path, network_fs: NetworkFs) -> Result<Self> {
        create_directory_of(path)?;
        refuse_network_fs(path, network_fs)?;
        refuse_irregular(path)?;
        set_aside_orphaned_wal(path);
        create_for_owner_of_directory(path);
        let before = Identity::of(path);
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        // A database that is refused below must stay unchanged: no checkpoint on close.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        if fs::metadata(path).is_ok_and(|m| m.len() == 0) {
            // The file is new, or another program created it empty. Set the mode before SQLite
            // creates the -wal and -shm with the same mode.
            fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|e| {
                Error::new(
                    Code::StoreReadOnly,
                    format!(
                        "cannot set the mode of {} to 0600: {e}; it must belong to this user",
                        path.display()
                    ),
                )
                .because(e)
            })?;
        }
        schema::create_or_check(&conn, path)?;
        // Another user may have created one since the first check. No row of an agent is written yet.
        refuse_files_of_others(path)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        Ok(Self {
            reader: Reader {
                conn,
                path: path.to_owned(),
                identity: before.or_else(|| Identity::of(path)),
                proofs: Proofs::new(path.to_owned()),
                last_inserts: RefCell::default(),
            },
            wal: WalFiles::of(path),
        })
    }
}

/// Opens an existing database for reading and writing, without a check of its schema.
///
/// # Errors
/// As [`Writer::open`], except for the schema.
pub(super) fn open_unchecked(path: &Path, network_fs: NetworkFs) -> Result<Connection> {
    refuse_network_fs(path, network_fs)?;
    refuse_irregular(path)?;
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// Creates the directory of the database at `path` if it is missing.
///
/// # Errors
/// [`Code::StoreUnavailable`].
pub(super) fn create_directory_of(path: &Path) -> Result<()> {
    let Some(directory) = path.parent().filter(|p| !p.as_os_str().is_empty()) else {
        return Ok(());
    };
    Owner::create_directory(directory).map_err(|e| {
        let message = format!(
            "cannot create the directory {}: {e}; choose another path with --db",
            directory.display()
        );
        Error::new(Code::StoreUnavailable, message).because(e)
    })
}

/// Creates an empty file at `path` if root runs this process in another user's directory, and there is
/// none: that user must be able to open the database later. No process has the new file open, so this drops no
/// lock of SQLite's.
fn create_for_owner_of_directory(path: &Path) {
    let owner = path.parent().map(Owner::of);
    if let Some(owner) = owner.filter(|owner| owner.is_served_by_root()) {
        // If this fails, SQLite creates the file or reports the reason.
        drop(private_file::create(path, b"", owner));
    }
}

/// Renames the `-wal` and `-shm` of a deleted database before a new one is created at `path`.
/// Processes may still have the deleted file open. If the new database shared its WAL and index
/// with them, both files would be damaged.
fn set_aside_orphaned_wal(path: &Path) {
    for suffix in ["-wal", "-shm"] {
        let orphan = beside(path, suffix);
        // The order matters: a file that existed while the database did not cannot be part of a
        // database that another process creates now.
        let Some(inode) = fs::metadata(&orphan).ok().map(|meta| meta.ino()) else {
            continue;
        };
        if path.exists() || fs::metadata(&orphan).ok().map(|meta| meta.ino()) != Some(inode) {
            return;
        }
        set_aside(path, suffix, "was deleted and is being created again");
    }
}

/// Renames the `-wal` and `-shm` beside the database at `path`, which belong to the file that was
/// there before. Otherwise SQLite would add their rows to this database.
pub fn set_aside_wal(path: &Path) {
    for suffix in ["-wal", "-shm"] {
        set_aside(path, suffix, "was replaced by another file");
    }
}

fn set_aside(path: &Path, suffix: &str, reason: &str) {
    let aside = beside(path, &format!("{suffix}.lost-{}", now_ms()));
    // If the rename fails, opening the database reports the cause.
    if fs::rename(beside(path, suffix), &aside).is_ok() && suffix == "-wal" {
        tracing::warn!(
            "{} {reason}; the old write-ahead log is kept as {}; agents that have the old file open must reopen it",
            path.display(),
            aside.display()
        );
    }
}

/// Replaces SQLite's error for a connection that only reads and still has to write: the `-wal` or `-shm` is
/// missing, and SQLite cannot create it.
fn explain_unreadable(path: &Path, error: Error) -> Error {
    if error.code() != Code::StoreReadOnly {
        return error;
    }
    let directory = path.parent().unwrap_or(path).display();
    Error::new(
        error.code(),
        format!(
            "cannot read {}: SQLite must create its -wal and -shm files, and this user cannot write to the directory \
             {directory}; give this user write permission for the directory, or use a copy of the database in another one",
            path.display()
        ),
    )
    .because(error)
}

fn refuse_irregular(path: &Path) -> Result<()> {
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return Err(Error::new(
            Code::StoreForeign,
            format!(
                "cannot open {}: it is not a regular file; choose another path with --db",
                path.display()
            ),
        ));
    }
    Ok(())
}

fn refuse_network_fs(path: &Path, network_fs: NetworkFs) -> Result<()> {
    let directory = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    match (network_fs, network_fs_of(directory)) {
        (NetworkFs::Refuse, Some(name)) => Err(Error::new(
            Code::StoreNetwork,
            format!(
                "cannot open {}: it is on a network file system ({name}), where SQLite in WAL mode can lose data; \
                 move it to a local disk, or pass --allow-network-fs",
                path.display()
            ),
        )),
        _ => Ok(()),
    }
}

/// Returns the name of the file system that holds `directory` if it is a network file system.
#[cfg(target_os = "linux")]
fn network_fs_of(directory: &Path) -> Option<&'static str> {
    // Magic numbers from linux/magic.h and the file systems' own headers.
    let magic = rustix::fs::statfs(directory).ok()?.f_type;
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

/// Returns the name of the file system that holds `directory` if it is a network file system.
#[cfg(target_os = "macos")]
fn network_fs_of(directory: &Path) -> Option<&'static str> {
    let stat = rustix::fs::statfs(directory).ok()?;
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
    fn creates_files_and_directory_readable_by_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/hub.db");
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
    fn takes_over_an_empty_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        fs::write(&path, b"").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        Writer::open(&path, NetworkFs::Refuse).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    /// See `SQLITE_DBCONFIG_ENABLE_QPSG` in [`connect()`].
    #[test]
    fn does_not_prepare_a_statement_again_for_another_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        let writer = Writer::open(&path, NetworkFs::Refuse).unwrap();
        let sql = "SELECT seq FROM changes WHERE seq >= ?1 ORDER BY seq LIMIT ?2";
        let mut statement = writer.conn.prepare(sql).unwrap();
        for i in 0..3 {
            assert!(statement.query([i, i]).unwrap().next().unwrap().is_none());
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }
}
