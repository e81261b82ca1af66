//! Creates and migrates the schema (`assets/schema.sql`), and refuses other databases.
//!
//! 1. `application_id` 0x41474842 ("AGHB") marks an agenthub database; `user_version` is the version
//!    of its schema.
//! 2. An empty database gets the schema. Any other database without the id, or with a newer version,
//!    is refused before anything in it is changed.
//! 3. A new version of the schema adds a step to [`MIGRATIONS`]. All steps run in one transaction. It
//!    takes the write lock, reads the version again, copies the database to `hub.db.before-N`
//!    (`migration_backup`), and then changes it. Other processes that open the database meanwhile wait.
//! 4. A step never changes once a version with it is released. Processes of the previous version keep
//!    the file open across a step, so it must accept their statements: a step only adds columns at the
//!    end of a table, and never removes or renames what a statement can name.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::busy_retry::{retry_while_busy, with_migration_timeout};
use super::disk_space::require_disk_space;
use super::migration_backup::copy_before_migration;
use crate::error::{Code, Error, Result};

/// "AGHB": marks an agenthub database.
const APPLICATION_ID: i64 = 0x4147_4842;
/// The version of the schema that this program creates.
pub const SCHEMA_VERSION: i64 = 5;
/// The annotated schema, as `agenthub schema` prints it.
pub const SCHEMA_SQL: &str = include_str!("../../assets/schema.sql");
/// `MIGRATIONS[v - 1]` migrates version `v` to `v + 1`. The first version is 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../../assets/migrations/2.sql"),
    include_str!("../../assets/migrations/3.sql"),
    include_str!("../../assets/migrations/4.sql"),
    include_str!("../../assets/migrations/5.sql"),
];

/// The kind of a database that this program can use, by its header.
enum Kind {
    Empty,
    /// An agenthub database with this version of the schema.
    Agenthub(i64),
}

/// Creates the schema in an empty database, migrates an older one, and refuses others.
pub(super) fn create_or_check(conn: &Connection, path: &Path) -> Result<()> {
    match kind_of(conn, path)? {
        Kind::Agenthub(SCHEMA_VERSION) => ensure_wal(conn, path),
        Kind::Agenthub(_) => {
            ensure_wal(conn, path)?;
            migrate(conn, path)
        }
        Kind::Empty => {
            ensure_wal(conn, path)?;
            create(conn, path)
        }
    }
}

/// Refuses a database whose schema does not have this program's version.
pub(super) fn check(conn: &Connection, path: &Path) -> Result<()> {
    match kind_of(conn, path)? {
        Kind::Agenthub(SCHEMA_VERSION) => Ok(()),
        Kind::Agenthub(_) | Kind::Empty => Err(refusal(
            path,
            "its schema is missing or older than this program's; run agenthub path to create or migrate it",
        )),
    }
}

/// As [`check`], for a further connection to a file that this process has open with its version. Accepts
/// a newer version: a step keeps the statements of the previous version working.
pub(super) fn check_further(conn: &Connection, path: &Path) -> Result<()> {
    match header(conn)? {
        (APPLICATION_ID, version, _) if version > SCHEMA_VERSION => Ok(()),
        _ => check(conn, path),
    }
}

/// Refuses a database that is not agenthub's, or has a newer schema than this program's. Reads only the header,
/// so a damaged database passes.
pub(super) fn check_header(conn: &Connection, path: &Path) -> Result<()> {
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get(0));
    match (number("PRAGMA application_id")?, number("PRAGMA user_version")?) {
        (APPLICATION_ID, version) if version > SCHEMA_VERSION => Err(newer(path, version)),
        (APPLICATION_ID, 1..) => Ok(()),
        _ => Err(refusal(path, "it is not an agenthub database")),
    }
}

/// Marks a database that was loaded from a dump as agenthub's if it has the table `hub`. The version of its schema
/// follows from what it contains: version 2 added `messages.proof`, version 3 the table `deliveries`,
/// version 4 the table `sessions`, version 5 the table `wakes`.
pub(super) fn mark(conn: &Connection) -> Result<()> {
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
    if number("SELECT count(*) FROM sqlite_master WHERE name = 'hub'")? == 0 {
        return Ok(());
    }
    let added = [
        "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'proof'",
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'deliveries'",
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'sessions'",
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'wakes'",
    ];
    let mut version: i64 = 1;
    for sql in added {
        version += i64::from(number(sql)? > 0);
    }
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", version)?;
    Ok(())
}

/// Migrates a copy that no other process uses. The copy needs no backup.
pub(super) fn migrate_copy(conn: &Connection) -> Result<()> {
    let version = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == SCHEMA_VERSION {
        return Ok(());
    }
    let transaction = conn.unchecked_transaction()?;
    run_steps(conn, version)?;
    transaction.commit()?;
    Ok(())
}

/// Runs the steps from `version` to the current one, within a transaction.
fn run_steps(conn: &Connection, version: i64) -> Result<()> {
    for step in MIGRATIONS.iter().skip(usize::try_from(version - 1).unwrap_or(0)) {
        conn.execute_batch(step)?;
    }
    conn.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(())
}

fn newer(path: &Path, version: i64) -> Error {
    refusal(
        path,
        &format!(
            "its schema has version {version}, this program supports up to {SCHEMA_VERSION}; install a newer agenthub"
        ),
    )
}

fn kind_of(conn: &Connection, path: &Path) -> Result<Kind> {
    let (id, version, objects) = header(conn).map_err(|e| {
        let mut error = Error::from(e);
        if error.code() == Code::StoreUnavailable
            && let Err(full) = require_disk_space(path)
        {
            // SQLite reports an I/O error if it cannot create the index of the write-ahead log.
            error = full;
        }
        Error::new(
            error.code(),
            format!("cannot open {}: {}", path.display(), error.message()),
        )
    })?;
    if id == APPLICATION_ID {
        return match version {
            1..=SCHEMA_VERSION => Ok(Kind::Agenthub(version)),
            _ => Err(newer(path, version)),
        };
    }
    if id == 0 && version == 0 && objects == 0 {
        return Ok(Kind::Empty);
    }
    Err(refusal(
        path,
        "it is another program's database; choose another path with --db",
    ))
}

/// Returns `application_id`, `user_version`, and the number of schema objects. Reads them in one
/// transaction, because another process may be creating the schema.
fn header(conn: &Connection) -> rusqlite::Result<(i64, i64, i64)> {
    let transaction = if conn.is_autocommit() {
        Some(conn.unchecked_transaction()?)
    } else {
        None
    };
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get(0));
    let found = (
        number("PRAGMA application_id")?,
        number("PRAGMA user_version")?,
        number("SELECT count(*) FROM sqlite_master")?,
    );
    // Rolls back, which loses nothing: only reads ran.
    drop(transaction);
    Ok(found)
}

fn refusal(path: &Path, reason: &str) -> Error {
    Error::new(
        Code::StoreForeign,
        format!("cannot use {}: {reason} (the file was left untouched)", path.display()),
    )
}

/// Switches the database to WAL mode, which persists in the file. Another program may have switched
/// it off.
fn ensure_wal(conn: &Connection, path: &Path) -> Result<()> {
    // Several processes that open a new database at once may switch the mode at the same time.
    let mode: String = retry_while_busy(|| conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(Error::new(
        Code::StoreUnavailable,
        format!(
            "cannot switch {} to WAL mode (its journal mode is {mode}); close the program that has it open",
            path.display()
        ),
    ))
}

fn create(conn: &Connection, path: &Path) -> Result<()> {
    let transaction = rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    // Another process may have created the schema while this one waited for the lock.
    if matches!(kind_of(conn, path)?, Kind::Empty) {
        conn.execute_batch(SCHEMA_SQL)?;
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

fn migrate(conn: &Connection, path: &Path) -> Result<()> {
    let transaction =
        with_migration_timeout(|| rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Immediate))?;
    // Another process may have migrated the database while this one waited for the lock.
    let Kind::Agenthub(version) = kind_of(conn, path)? else {
        return Ok(());
    };
    if version == SCHEMA_VERSION {
        return Ok(());
    }
    let failed = |reason: &str, e: Error| {
        let message = format!(
            "cannot migrate {} to schema version {SCHEMA_VERSION} (nothing was changed): {reason}{}",
            path.display(),
            e.message()
        );
        Error::new(e.code(), message).because(e)
    };
    let copy = copy_before_migration(path, SCHEMA_VERSION).map_err(|e| failed("cannot copy it first: ", e))?;
    let steps = || -> Result<()> {
        run_steps(conn, version)?;
        transaction.commit()?;
        Ok(())
    };
    steps().map_err(|e| failed("", e))?;
    tracing::info!(
        "migrated {} from schema version {version} to {SCHEMA_VERSION}; {} is a copy of the previous state",
        path.display(),
        copy.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::PathBuf;
    use std::process::Command;

    use rusqlite::OpenFlags;
    use rusqlite::types::Value;
    use tempfile::TempDir;

    use super::super::connect::connect;
    use super::super::test_support::{payloads, temp_database};
    use super::super::{NetworkFs, NewMessage, Repeat, Writer};
    use super::*;

    /// While another process creates the schema, the database is either empty or complete.
    #[test]
    fn accepts_a_database_while_its_schema_is_being_created() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("hub.db");
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            let conn = connect(&path, flags).unwrap();
            ensure_wal(&conn, &path).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| Writer::open(&path, NetworkFs::Refuse).unwrap());
                while matches!(kind_of(&conn, &path).unwrap(), Kind::Empty) {}
            });
        }
    }

    /// A database that the first version wrote.
    const FIRST: &[u8] = include_bytes!("../../tests/data/v1.db");

    /// Writes the database of the first version to a temporary directory. Returns its path, and a
    /// connection of a process of that version.
    fn first_version() -> (TempDir, PathBuf, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        fs::write(&path, FIRST).unwrap();
        let conn = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        (dir, path, conn)
    }

    fn open(path: &Path) -> Result<Writer> {
        Writer::open(path, NetworkFs::Refuse)
    }

    /// Returns the rows of a query as text, one row per line.
    fn rows(conn: &Connection, sql: &str) -> Vec<String> {
        let mut statement = conn.prepare(sql).unwrap();
        let count = statement.column_count();
        let found = statement.query_map([], |row| {
            let values = (0..count).map(|i| row.get::<_, Value>(i).map(|value| format!("{value:?}")));
            Ok(values.collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
        });
        found.unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    /// Returns all rows of the columns that the first version has, by table.
    fn content(conn: &Connection) -> Vec<(String, Vec<String>)> {
        let (_dir, _, first) = first_version();
        let sql = "SELECT m.name, group_concat('\"' || x.name || '\"') FROM sqlite_master m, pragma_table_xinfo(m.name) x \
            WHERE m.type = 'table' GROUP BY m.name";
        let mut statement = first.prepare(sql).unwrap();
        let tables = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let tables: Vec<(String, String)> = tables.collect::<rusqlite::Result<_>>().unwrap();
        assert_eq!(tables.len(), 10);
        let select = |(table, columns): (String, String)| {
            let found = rows(conn, &format!("SELECT {columns} FROM {table} ORDER BY 1"));
            assert!(!found.is_empty(), "{table}");
            (table, found)
        };
        tables.into_iter().map(select).collect()
    }

    fn version(conn: &Connection) -> i64 {
        conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn migrated_database_equals_a_new_one() {
        let (_dir, path, _) = first_version();
        let migrated = open(&path).unwrap();
        let (_dir, new) = temp_database();
        assert_eq!(version(&migrated.conn), SCHEMA_VERSION);
        for sql in [
            "SELECT m.name, x.* FROM sqlite_master m, pragma_table_xinfo(m.name) x WHERE m.type IN ('table', 'view') \
             ORDER BY m.name, x.cid",
            "SELECT m.name, l.*, x.* FROM sqlite_master m, pragma_index_list(m.name) l, pragma_index_xinfo(l.name) x \
             WHERE m.type = 'table' ORDER BY m.name, l.seq, x.seqno",
            // A step repeats the text of triggers literally, so not even comments and blanks differ.
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type <> 'table' ORDER BY type, name",
        ] {
            let expected = rows(&new.conn, sql);
            assert!(expected.len() > 20, "{sql}");
            assert_eq!(rows(&migrated.conn, sql), expected);
        }
        assert_eq!(migrated.schema_differences().unwrap(), Vec::<String>::new());
        assert_eq!(migrated.damage().unwrap(), Vec::<String>::new());
    }

    /// The steps run from each version, not only from the first.
    #[test]
    fn migrates_from_the_second_version() {
        let (_dir, path, conn) = first_version();
        conn.execute_batch(MIGRATIONS[0]).unwrap();
        conn.pragma_update(None, "user_version", 2).unwrap();
        let before = content(&conn);
        let migrated = open(&path).unwrap();
        assert_eq!(version(&migrated.conn), SCHEMA_VERSION);
        assert_eq!(content(&migrated.conn), before);
        assert_eq!(migrated.schema_differences().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn migration_keeps_rows_positions_and_cursors() {
        let (_dir, path, first) = first_version();
        let before = content(&first);
        drop(first);
        let writer = open(&path).unwrap();
        assert_eq!(content(&writer.conn), before);
        let proofs = "SELECT proof FROM messages UNION SELECT proof FROM inbox_messages";
        assert_eq!(rows(&writer.conn, proofs), ["Null"]);
        // Numbers continue.
        let changes = writer.head().unwrap().seq;
        let message = writer
            .post_message(&NewMessage::new("build", "planner", "next"))
            .unwrap()
            .into_row();
        assert_eq!(message.message_seq, 3);
        assert_eq!(writer.head().unwrap().seq, changes + 1);
    }

    #[test]
    fn copies_the_database_before_a_migration() {
        let (dir, path, first) = first_version();
        // This row is only in the WAL.
        first
            .execute(
                "INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'a', 'new')",
                [],
            )
            .unwrap();
        let before = content(&first);
        let writer = open(&path).unwrap();
        let copy = dir.path().join("hub.db.before-5");
        assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            names(dir.path()),
            ["hub.db", "hub.db-shm", "hub.db-wal", "hub.db.before-5"]
        );
        let conn = connect(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        assert_eq!((version(&conn), content(&conn)), (1, before));
        assert_eq!(rows(&conn, "PRAGMA integrity_check"), ["Text(\"ok\")"]);
        assert_eq!(
            rows(&conn, "SELECT sql FROM sqlite_master WHERE sql LIKE '%proof%'"),
            Vec::<String>::new()
        );
        drop((conn, writer));
        // A copy of a copy, when it is used as the database.
        let writer = open(&copy).unwrap();
        assert_eq!(version(&writer.conn), SCHEMA_VERSION);
        assert!(dir.path().join("hub.db.before-5.before-5").exists());
        // A new or current database is not copied.
        drop(writer);
        let other = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            drop(open(&other.path().join("hub.db")).unwrap());
        }
        assert_eq!(names(other.path()), ["hub.db"]);
    }

    /// Puts something at a path; the second path is a file that must not change.
    type Prepare = fn(&Path, &Path);

    #[test]
    fn replaces_what_has_the_name_of_the_copy_without_opening_it() {
        let prepare: [(&str, Prepare); 4] = [
            ("file", |copy, _| fs::write(copy, "old").unwrap()),
            ("symbolic link", |copy, other| symlink(other, copy).unwrap()),
            ("dangling symbolic link", |copy, other| {
                symlink(other.join("none"), copy).unwrap()
            }),
            ("FIFO", |copy, _| {
                assert!(Command::new("mkfifo").arg(copy).status().unwrap().success())
            }),
        ];
        for (kind, prepare) in prepare {
            // Once at the name of the copy, once at that of the incomplete copy.
            for name in ["hub.db.before-5", "hub.db.before-5.part"] {
                let (dir, path, _) = first_version();
                let other = dir.path().join("other");
                fs::write(&other, "untouched").unwrap();
                prepare(&dir.path().join(name), &other);
                drop(open(&path).unwrap());
                let copy = dir.path().join("hub.db.before-5");
                let meta = fs::symlink_metadata(&copy).unwrap();
                assert!(meta.is_file(), "{kind} at {name}");
                assert_eq!(
                    version(&connect(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()),
                    1,
                    "{kind}"
                );
                assert_eq!(fs::read(&other).unwrap(), b"untouched", "{kind}");
                assert_eq!(names(dir.path()), ["hub.db", "hub.db.before-5", "other"], "{kind}");
            }
        }
    }

    #[test]
    fn does_not_migrate_without_a_copy() {
        for (name, is_directory, advice) in [
            ("hub.db.before-5", true, "is a directory; rename it"),
            ("hub.db.before-5-wal", false, "is a database in use; rename it"),
            ("hub.db.before-5-journal", false, "is a database in use; rename it"),
            ("hub.db.before-5.part", true, "can write to the directory"),
        ] {
            let (dir, path, first) = first_version();
            let before = content(&first);
            let obstacle = dir.path().join(name);
            if is_directory {
                fs::create_dir(&obstacle).unwrap();
            } else {
                fs::write(&obstacle, "").unwrap();
            }
            let error = open(&path).unwrap_err();
            let message = error.message();
            assert!(
                message.contains(advice) && message.contains("nothing was changed"),
                "{message}"
            );
            assert!(
                message.contains(
                    obstacle
                        .to_str()
                        .unwrap()
                        .trim_end_matches("-wal")
                        .trim_end_matches("-journal")
                )
            );
            assert_eq!((version(&first), content(&first)), (1, before), "{name}");
            assert_eq!(names(dir.path()), ["hub.db", "hub.db-shm", "hub.db-wal", name]);
            // It is migrated once the obstacle is removed.
            fs::rename(&obstacle, dir.path().join("moved")).unwrap();
            assert_eq!(version(&open(&path).unwrap().conn), SCHEMA_VERSION);
        }
    }

    /// A step that fails, here because a program has added the column, changes nothing.
    #[test]
    fn rolls_a_failed_migration_back() {
        let (_dir, path, first) = first_version();
        first
            .execute_batch("ALTER TABLE inbox_messages ADD COLUMN proof TEXT")
            .unwrap();
        let schema = "SELECT sql FROM sqlite_master ORDER BY rowid";
        let before = rows(&first, schema);
        let message = open(&path).unwrap_err().message().to_owned();
        assert!(
            message.contains("nothing was changed") && message.contains("duplicate column name: proof"),
            "{message}"
        );
        assert_eq!((version(&first), rows(&first, schema)), (1, before));
    }

    /// A migration does not end other processes: those of the previous version have the file open,
    /// with prepared statements.
    #[test]
    fn statements_of_the_first_version_work_after_a_migration() {
        const MESSAGE: &str = "INSERT INTO messages(id, thread_id, from_id, message_seq, created_at, from_type, to_type, \
            to_id, kind, subject, content, metadata_json, reply_to, delivery_state, business_state, deleted_at) \
            VALUES(?1, 'build', 'old', NULL, NULL, NULL, NULL, NULL, NULL, NULL, ?1, NULL, NULL, NULL, NULL, NULL)";
        const INBOX: &str = "INSERT INTO inbox_messages(id, message_id, correlation_id, from_agent, to_inbox, message_type, \
            title, payload, priority, status, created_at, read_at, expires_at, claimed_by, claim_expires_at) \
            VALUES(NULL, ?1, NULL, 'old', 'human', NULL, NULL, ?1, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";
        let (_dir, path, old) = first_version();
        let reader = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut statements = [
            MESSAGE,
            INBOX,
            "UPDATE messages SET business_state = ?1 WHERE n = 1",
            "UPDATE inbox_messages SET status = ?1, read_at = 5 WHERE n = 1",
            "INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'old', ?1)",
            "INSERT INTO task_stream(task_id, stream_type, status, agent_id) VALUES('old task', 'status', ?1, 'old')",
        ]
        .map(|sql| old.prepare(sql).unwrap());
        let mut select = reader
            .prepare("SELECT message_seq, content, business_state FROM messages WHERE thread_id = 'build' ORDER BY n")
            .unwrap();
        let mut read = || -> Vec<(i64, String, String)> {
            let found = select
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .unwrap();
            found.collect::<rusqlite::Result<_>>().unwrap()
        };
        for statement in &mut statements {
            assert_eq!(statement.execute(["before"]).unwrap(), 1);
        }
        let before = read();
        // A read that began before the migration sees the rows of its time until it ends.
        let other = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut open_read = other.prepare("SELECT content FROM messages ORDER BY n").unwrap();
        let mut found = open_read.query([]).unwrap();
        found.next().unwrap().unwrap();

        let new = open(&path).unwrap();
        assert_eq!(read(), before);
        for statement in &mut statements {
            assert_eq!(statement.execute(["after"]).unwrap(), 1);
        }
        let mut rest = 1;
        while found.next().unwrap().is_some() {
            rest += 1;
        }
        assert_eq!(rest, 5);

        let after = read();
        assert_eq!(after.len(), before.len() + 2);
        assert_eq!(after[0], (1, "the first message".into(), "after".into()));
        let seqs: Vec<i64> = after.iter().map(|(seq, ..)| *seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
        assert_eq!(after[5].1, "after");
        assert_eq!(new.gaps().unwrap(), Vec::<String>::new());
        let in_index = "SELECT status FROM task_stream INDEXED BY task_stream_status \
            WHERE stream_type = 'status' AND status <> '' AND task_id = 'old task' ORDER BY id";
        assert_eq!(rows(&new.conn, in_index), ["Text(\"before\")", "Text(\"after\")"]);
        let statuses = "SELECT status, proof FROM inbox_messages WHERE n IN (1, 4)";
        assert_eq!(
            rows(&new.conn, statuses),
            ["Text(\"after\")|Null", "Text(\"unread\")|Null"]
        );
        // The rules of the new version apply to them.
        let error = old.execute("UPDATE messages SET content = 'x'", []).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("business_state and deleted_at can be updated"),
            "{error}"
        );
    }

    /// Writes a database of version 3 to a temporary directory.
    fn third_version() -> (TempDir, PathBuf, Connection) {
        let (dir, path, conn) = second_version();
        conn.execute_batch(MIGRATIONS[1]).unwrap();
        conn.pragma_update(None, "user_version", 3).unwrap();
        (dir, path, conn)
    }

    /// Writes a database of version 2 to a temporary directory, with mail that version 2 has delivered.
    fn second_version() -> (TempDir, PathBuf, Connection) {
        let (dir, path, conn) = first_version();
        conn.execute_batch(MIGRATIONS[0]).unwrap();
        conn.pragma_update(None, "user_version", 2).unwrap();
        conn.execute_batch(
            "INSERT INTO inbox_messages(from_agent, to_inbox, payload, created_at) VALUES
               ('boss', 'all', 'older than the agent', 1000), ('boss', 'planner', 'printed', 2000),
               ('boss', 'planner', 'begun', 2000), ('boss', 'planner', 'only a receipt', 2000),
               ('boss', 'planner', 'seen', 2000), ('boss', 'all', 'later', 100000000000000), ('boss', 'all', 'clock set back', 500);
             INSERT INTO receipts(message_id, reader, state, created_at)
               SELECT message_id, 'planner', 'offered', 3000 FROM inbox_messages WHERE n BETWEEN 4 AND 7;
             INSERT INTO receipts(message_id, reader, state) SELECT message_id, 'planner', 'seen' FROM inbox_messages
               WHERE n = 7;
             INSERT INTO hub(key, value) VALUES
               ('offered:planner', '[{\"n\":4,\"at\":4000,\"session\":\"s\",\"printed\":true},
                 {\"n\":5,\"at\":4000,\"session\":\"s\",\"printed\":false},{\"n\":7,\"at\":1,\"session\":\"s\",\"printed\":true},
                 {\"n\":99,\"at\":1,\"session\":\"s\",\"printed\":true}]'),
               ('offered:broken', '[{'), ('offered:blob', x'ff'), ('offered:null', NULL), ('offered:', '[5, {}]'),
               ('continued:planner', '1 1');",
        )
        .unwrap();
        (dir, path, conn)
    }

    /// As [`mark`] does with what a dump of it contains.
    #[test]
    fn recognises_the_version_of_a_dump() {
        let (_dir, new) = temp_database();
        let (_first_dir, _, first) = first_version();
        let (_second_dir, _, second) = second_version();
        let (_third_dir, _, third) = third_version();
        for (conn, expected) in [(&first, 1), (&second, 2), (&third, 3), (&new.conn, SCHEMA_VERSION)] {
            conn.execute_batch("PRAGMA user_version = 0; PRAGMA application_id = 0")
                .unwrap();
            mark(conn).unwrap();
            assert_eq!(version(conn), expected);
        }
    }

    #[test]
    fn migrates_the_deliveries_of_the_second_version() {
        let (dir, path, second) = second_version();
        drop(second);
        let writer = open(&path).unwrap();
        assert_eq!(version(&writer.conn), SCHEMA_VERSION);
        assert_eq!(
            version(&connect(&dir.path().join("hub.db.before-5"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()),
            2
        );
        let deliveries = "SELECT mail, session, state, at FROM deliveries WHERE reader = 'planner' ORDER BY mail";
        assert_eq!(
            rows(&writer.conn, deliveries),
            [
                r#"Integer(4)|Text("s")|Text("printed")|Integer(4000)"#,
                r#"Integer(5)|Text("s")|Text("begun")|Integer(4000)"#,
                r#"Integer(6)|Text("")|Text("printed")|Integer(3000)"#,
            ]
        );
        assert_eq!(
            rows(&writer.conn, "SELECT key FROM hub WHERE key <> 'epoch'"),
            [r#"Text("continued:planner")"#]
        );
        let texts = |repeat| payloads(&writer.mail_to_deliver("planner", repeat, 4000, 9).unwrap().mail);
        // The agent is older than the highest time before it, so it gets what follows.
        assert_eq!(texts(Repeat::Lost), ["later", "clock set back"]);
        assert_eq!(
            texts(Repeat::Unseen),
            ["printed", "only a receipt", "later", "clock set back"]
        );
        let session = writer.mail_delivered_to_session("planner", "s", 4000).unwrap();
        assert_eq!(payloads(&session), ["printed"]);
        // The first version had a receipt, and an acknowledgement without a time.
        let reviewer = writer.mail_to_deliver("reviewer", Repeat::Lost, 4000, 9).unwrap();
        assert!(reviewer.mail.iter().all(|mail| mail.n != 1));
        assert_eq!(
            rows(&writer.conn, "SELECT n FROM subscriptions WHERE acked_at > 0").len(),
            1
        );
    }

    /// A process of the second version that keeps the file open records deliveries as JSON.
    #[test]
    fn second_version_keeps_writing_after_the_migration() {
        let (_dir, path, old) = second_version();
        let upsert = "INSERT INTO hub(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value";
        let mut statements = [
            upsert,
            "INSERT INTO subscriptions(instance_id, thread_id, last_ack_seq, subscribed_at) VALUES(?1, ?2, 1, 1) \
             ON CONFLICT(instance_id, thread_id) DO UPDATE SET last_ack_seq = max(last_ack_seq, excluded.last_ack_seq)",
            "INSERT INTO agents(id, label, status, workspace, pid) VALUES(?1, ?2, 'idle', NULL, NULL) \
             ON CONFLICT(id) DO UPDATE SET label = coalesce(?2, label), \
             last_active_at = max(last_active_at, excluded.last_active_at)",
        ]
        .map(|sql| old.prepare(sql).unwrap());
        let writer = open(&path).unwrap();
        for statement in &mut statements {
            assert_eq!(statement.execute(["page", "build"]).unwrap(), 1);
        }
        let delivered = r#"[{"n":5,"at":5000,"session":"t","printed":true}]"#;
        assert_eq!(statements[0].execute(["offered:planner", delivered]).unwrap(), 1);
        writer.adopt_deliveries("planner").unwrap();
        let session = writer.mail_delivered_to_session("planner", "t", 6000).unwrap();
        assert_eq!(payloads(&session), ["begun"]);
        assert_eq!(
            rows(&writer.conn, "SELECT broadcasts_after FROM agents WHERE id = 'page'"),
            ["Integer(9)"]
        );
    }

    /// Processes of the third version keep the file open: their statements work, and see the same rows.
    #[test]
    fn third_version_keeps_writing_after_the_migration() {
        let (_dir, path, old) = third_version();
        let mut statements = [
            "INSERT INTO deliveries(mail, reader, session, state, at) VALUES(4, ?1, ?2, 'printed', 5000) \
             ON CONFLICT(mail, reader) DO UPDATE SET session = excluded.session, state = excluded.state, at = excluded.at",
            "INSERT INTO agents(id, label, status, workspace, pid) VALUES(?1, ?2, 'idle', NULL, NULL) \
             ON CONFLICT(id) DO UPDATE SET label = coalesce(?2, label), \
             last_active_at = max(last_active_at, excluded.last_active_at)",
            "INSERT INTO messages(thread_id, from_id, content) VALUES(?2, ?1, 'late')",
        ]
        .map(|sql| old.prepare(sql).unwrap());
        let writer = open(&path).unwrap();
        for statement in &mut statements {
            assert_eq!(statement.execute(["page", "build"]).unwrap(), 1);
        }
        assert_eq!(version(&writer.conn), SCHEMA_VERSION);
        let session = writer.mail_delivered_to_session("page", "build", 6000).unwrap();
        assert_eq!(payloads(&session), ["printed"]);
        assert_eq!(rows(&writer.conn, "SELECT id FROM sessions").len(), 0);
    }

    #[test]
    fn migrates_once_when_opened_several_times_at_once() {
        let (dir, path, first) = first_version();
        let before = content(&first);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| version(&open(&path).unwrap().conn)))
                .collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), SCHEMA_VERSION);
            }
        });
        assert_eq!(content(&first), before);
        let copy = connect(&dir.path().join("hub.db.before-5"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        // A second copy would be of the migrated database.
        assert_eq!(version(&copy), 1);
    }

    /// An agent that holds the write lock delays a migration, but no row of it is lost.
    #[test]
    fn waits_for_a_transaction_and_copies_its_rows() {
        let (dir, path, first) = first_version();
        first
            .execute_batch(
                "BEGIN IMMEDIATE; INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'a', 'late')",
            )
            .unwrap();
        std::thread::scope(|scope| {
            let opened = scope.spawn(|| version(&open(&path).unwrap().conn));
            // It cannot migrate before the commit, whether it already waits for the lock or not.
            assert_eq!(version(&first), 1);
            first.execute_batch("COMMIT").unwrap();
            assert_eq!(opened.join().unwrap(), SCHEMA_VERSION);
        });
        let copy = connect(&dir.path().join("hub.db.before-5"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        assert_eq!(rows(&copy, "SELECT n FROM messages WHERE content = 'late'").len(), 1);
    }

    #[test]
    fn has_a_migration_for_each_version() {
        assert_eq!(i64::try_from(MIGRATIONS.len()).unwrap() + 1, SCHEMA_VERSION);
    }
}
