//! Loads an SQL dump, as `sqlite3 hub.db .dump` writes it, into an empty database.
//!
//! A dump is a program. An authorizer permits only what `.dump` writes: creating tables, indexes, triggers
//! and views, and inserting rows. So a dump can neither attach another file, nor load an extension, nor
//! change a setting of the connection.

use std::path::Path;

use rusqlite::OpenFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::sql_text::statements;
use crate::error::{Code, Error, Result};
use crate::store::connect::connect;

/// Loads the dump `sql` into the empty file `part`.
///
/// # Errors
/// [`Code::Invalid`] if the dump is incomplete or cannot be run; a `Store…` code.
pub(super) fn load(sql: &str, part: &Path) -> Result<()> {
    let mut conn = connect(part, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // The caller deletes an incomplete file.
    conn.pragma_update(None, "synchronous", "OFF")?;
    conn.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    conn.authorizer(Some(|context: AuthContext<'_>| authorize(&context)))?;
    for statement in statements(sql) {
        conn.execute_batch(statement).map_err(|e| failed(statement, sql, e))?;
    }
    if !conn.is_autocommit() {
        return Err(Error::new(
            Code::Invalid,
            "the dump is incomplete: it ends before COMMIT; write it again",
        ));
    }
    Ok(())
}

fn authorize(context: &AuthContext<'_>) -> Authorization {
    let is_permitted = match context.action {
        AuthAction::CreateTable { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::Insert { .. }
        | AuthAction::Read { .. }
        | AuthAction::Select
        | AuthAction::Transaction { .. }
        | AuthAction::Analyze { .. }
        | AuthAction::Reindex { .. } => true,
        // CREATE writes to the schema's own table, which a statement cannot change directly: connections
        // are defensive.
        AuthAction::Update { table_name, .. } | AuthAction::Delete { table_name } => table_name.starts_with("sqlite_"),
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        // The only setting that a dump changes; this program does not use it.
        AuthAction::Pragma { pragma_name, .. } => pragma_name.eq_ignore_ascii_case("foreign_keys"),
        _ => false,
    };
    if is_permitted {
        Authorization::Allow
    } else {
        Authorization::Deny
    }
}

/// Returns the error for a statement of the dump, with the number of its line.
fn failed(statement: &str, sql: &str, e: rusqlite::Error) -> Error {
    let error = Error::from(e);
    if !matches!(error.code(), Code::Invalid | Code::Internal | Code::StoreCorrupt) {
        return error;
    }
    let start = statement.len() - statement.trim_start().len();
    let at = statement.as_ptr() as usize - sql.as_ptr() as usize + start;
    let line = sql[..at].matches('\n').count() + 1;
    Error::new(
        Code::Invalid,
        format!(
            "line {line} is not part of a dump of agenthub's database: {}; write it with sqlite3 and .dump",
            error.message()
        ),
    )
    .because(error)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[track_caller]
    fn load_into_new(sql: &str) -> Result<i64> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part");
        fs::write(&path, "").unwrap();
        load(sql, &path)?;
        let conn = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(conn.query_row("SELECT count(*) FROM a", [], |row| row.get(0))?)
    }

    #[test]
    fn loads_what_a_dump_contains() {
        let dump = "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE a(x);\n\
            INSERT INTO a VALUES('one;'),(replace('a\\nb','\\n',char(10)));\n\
            CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END;\nCREATE INDEX i ON a(x);\nCREATE VIEW v AS SELECT x FROM a;\n\
            ANALYZE sqlite_master;\nCOMMIT;\n";
        assert_eq!(load_into_new(dump).unwrap(), 2);
    }

    #[test]
    fn refuses_what_no_dump_contains() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other.db");
        let attach = format!("ATTACH '{}' AS other;", other.display());
        for statement in [
            attach.as_str(),
            "DETACH main;",
            "SELECT load_extension('x');",
            "PRAGMA writable_schema=ON;",
            "PRAGMA journal_mode=OFF;",
            "CREATE TEMP TABLE b(x);",
            "CREATE VIRTUAL TABLE b USING fts5(x);",
            "VACUUM INTO 'x';",
            "DROP TABLE a;",
            "DELETE FROM a;",
            "UPDATE sqlite_master SET sql = '';",
            "nonsense;",
        ] {
            let error = load_into_new(&format!("CREATE TABLE a(x);\n\n{statement}")).unwrap_err();
            assert_eq!(error.code(), Code::Invalid, "{statement}");
            assert!(error.message().starts_with("line 3 "), "{}", error.message());
        }
        assert!(!other.exists());
    }

    #[test]
    fn refuses_an_incomplete_dump() {
        let error = load_into_new("BEGIN TRANSACTION;\nCREATE TABLE a(x);\nINSERT INTO a VALUES(1);\n").unwrap_err();
        assert!(error.message().contains("ends before COMMIT"), "{}", error.message());
    }
}
