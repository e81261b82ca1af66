//! Compares a database's schema with this program's, for `agenthub doctor`.
//!
//! Columns and indexes are compared by what SQLite reports about them, and the text of triggers, views
//! and table constraints token by token. So comments and blanks do not count, and a table that a
//! migration extended equals a new one.

use rusqlite::{Connection, Row};

use crate::error::Result;
use crate::store::connection::Reader;
use crate::store::maintenance::sql_text::tokens;
use crate::store::schema::SCHEMA_SQL;

impl Reader {
    /// Returns the differences between the database's schema and this program's: tables, columns,
    /// indexes, triggers and views that are missing, changed, or additional.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn schema_differences(&self) -> Result<Vec<String>> {
        self.snapshot(|| schema_differences(&self.conn))
    }
}

/// As [`Reader::schema_differences`].
pub(super) fn schema_differences(actual: &Connection) -> Result<Vec<String>> {
    let expected = Connection::open_in_memory()?;
    expected.execute_batch(SCHEMA_SQL)?;
    differences(&expected, actual)
}

/// Returns the columns of this program's schema that the database does not have, as `table.column`.
pub(super) fn missing_columns(actual: &Connection) -> Result<Vec<String>> {
    let expected = Connection::open_in_memory()?;
    expected.execute_batch(SCHEMA_SQL)?;
    let mut missing = Vec::new();
    for Object { name, .. } in objects(&expected)?.iter().filter(|object| object.kind == "table") {
        let found = columns(actual, name)?;
        let expected = columns(&expected, name)?;
        let is_missing = |column: &&Column| !found.iter().any(|found| found.name == column.name);
        missing.extend(
            expected
                .iter()
                .filter(is_missing)
                .map(|column| format!("{name}.{}", column.name)),
        );
    }
    Ok(missing)
}

impl Reader {
    /// Returns the names and statements of triggers of this program's schema that the database does not
    /// have.
    pub(super) fn missing_triggers(&self) -> Result<Vec<(String, String)>> {
        let expected = Connection::open_in_memory()?;
        expected.execute_batch(SCHEMA_SQL)?;
        let actual = objects(&self.conn)?;
        let is_missing =
            |object: &Object| object.kind == "trigger" && !actual.iter().any(|found| found.name == object.name);
        let missing = objects(&expected)?.into_iter().filter(is_missing);
        Ok(missing.map(|object| (object.name, object.sql)).collect())
    }
}

/// A table, index, trigger or view.
struct Object {
    kind: String,
    name: String,
    table: String,
    sql: String,
}

/// A column, as `PRAGMA table_xinfo` reports it.
struct Column {
    name: String,
    declared_type: String,
    default: Option<String>,
    is_not_null: bool,
    /// Its place in the primary key, from 1; 0 if it is not part of it.
    primary_key: i64,
    /// 0 for an ordinary column; otherwise it is hidden or generated.
    hidden: i64,
}

fn differences(expected: &Connection, actual: &Connection) -> Result<Vec<String>> {
    let (expected_objects, actual_objects) = (objects(expected)?, objects(actual)?);
    let mut differences = Vec::new();
    for object in &expected_objects {
        let Object { kind, name, .. } = object;
        let Some(found) = actual_objects.iter().find(|found| found.name == *name) else {
            differences.push(format!("the {kind} {name} is missing"));
            continue;
        };
        match kind.as_str() {
            _ if found.kind != *kind => differences.push(format!("{name} has the type {}, not {kind}", found.kind)),
            "table" => differences.extend(table_differences((expected, object), (actual, found))?),
            "index" => {
                let (expected, found) = (definition(expected, object)?, definition(actual, found)?);
                if expected != found {
                    differences.push(format!("the index {name} is on {found}, not on {expected}"));
                }
            }
            _ if !tokens(&object.sql).eq(tokens(&found.sql)) => {
                differences.push(format!("the {kind} {name} was changed"));
            }
            _ => {}
        }
    }
    let is_expected = |name: &str| expected_objects.iter().any(|object| object.name == name);
    let additional = actual_objects.iter().filter(|object| !is_expected(&object.name));
    differences.extend(additional.map(|object| format!("the {} {} is not agenthub's", object.kind, object.name)));
    Ok(differences)
}

/// Returns all objects in the order of their creation, without SQLite's own.
fn objects(conn: &Connection) -> Result<Vec<Object>> {
    let sql = r"SELECT type, name, tbl_name, sql FROM sqlite_master
        WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY rowid";
    let read = |row: &Row<'_>| {
        Ok(Object {
            kind: row.get(0)?,
            name: row.get(1)?,
            table: row.get(2)?,
            sql: row.get(3)?,
        })
    };
    Ok(conn
        .prepare(sql)?
        .query_map([], read)?
        .collect::<rusqlite::Result<_>>()?)
}

fn table_differences(expected: (&Connection, &Object), actual: (&Connection, &Object)) -> Result<Vec<String>> {
    let table = &expected.1.name;
    let (expected_columns, actual_columns) = (columns(expected.0, table)?, columns(actual.0, table)?);
    let mut differences = Vec::new();
    for column in &expected_columns {
        match actual_columns.iter().find(|found| found.name == column.name) {
            None => differences.push(format!("column {} of {table} is missing", column.name)),
            Some(found) => differences.extend(column_differences(table, column, found)),
        }
    }
    let is_expected = |name: &str| expected_columns.iter().any(|column| column.name == name);
    let additional = actual_columns.iter().filter(|column| !is_expected(&column.name));
    differences.extend(additional.map(|column| format!("column {} of {table} is not agenthub's", column.name)));
    let names = |columns: &[Column]| columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    if differences.is_empty() && names(&expected_columns) != names(&actual_columns) {
        differences.push(format!("the columns of {table} are in another order"));
    }
    let (expected_unique, actual_unique) = (
        unique_constraints(expected.0, table)?,
        unique_constraints(actual.0, table)?,
    );
    for columns in expected_unique
        .iter()
        .filter(|columns| !actual_unique.contains(columns))
    {
        differences.push(format!("the constraint UNIQUE ({columns}) of {table} is missing"));
    }
    for columns in actual_unique
        .iter()
        .filter(|columns| !expected_unique.contains(columns))
    {
        differences.push(format!(
            "the constraint UNIQUE ({columns}) of {table} is not agenthub's"
        ));
    }
    // The rest: CHECK and REFERENCES, COLLATE, STRICT, WITHOUT ROWID.
    if differences.is_empty() && body(&expected.1.sql) != body(&actual.1.sql) {
        differences.push(format!("the constraints or options of the table {table} were changed"));
    }
    Ok(differences)
}

fn columns(conn: &Connection, table: &str) -> Result<Vec<Column>> {
    let sql = r#"SELECT name, type, dflt_value, "notnull", pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid"#;
    let read = |row: &Row<'_>| {
        Ok(Column {
            name: row.get(0)?,
            declared_type: row.get(1)?,
            default: row.get(2)?,
            is_not_null: row.get(3)?,
            primary_key: row.get(4)?,
            hidden: row.get(5)?,
        })
    };
    let mut statement = conn.prepare(sql)?;
    Ok(statement.query_map([table], read)?.collect::<rusqlite::Result<_>>()?)
}

fn column_differences(table: &str, expected: &Column, found: &Column) -> Vec<String> {
    let default = |column: &Column| match &column.default {
        Some(sql) => format!("the default {}", tokens(sql).collect::<Vec<_>>().join(" ")),
        None => "no default".to_owned(),
    };
    let declared_type = |column: &Column| match column.declared_type.as_str() {
        "" => "no type".to_owned(),
        name => format!("the type {name}"),
    };
    let mut differences = Vec::new();
    let mut compare = |found: String, expected: String| {
        if found != expected {
            differences.push(format!("has {found}, not {expected}"));
        }
    };
    compare(declared_type(found), declared_type(expected));
    compare(default(found), default(expected));
    let kinds = [
        (found.is_not_null, expected.is_not_null, "NOT NULL"),
        (found.hidden != 0, expected.hidden != 0, "generated"),
        (
            found.primary_key != 0,
            expected.primary_key != 0,
            "part of the primary key",
        ),
    ];
    let changed = kinds.iter().filter(|(found, expected, _)| found != expected);
    differences.extend(changed.map(|(found, _, kind)| format!("is {}{kind}", if *found { "" } else { "not " })));
    let name = &expected.name;
    differences
        .iter()
        .map(|difference| format!("column {name} of {table} {difference}"))
        .collect()
}

/// Returns the columns of each UNIQUE constraint of a table, and of a primary key that has an index.
fn unique_constraints(conn: &Connection, table: &str) -> Result<Vec<String>> {
    let mut statement = conn.prepare("SELECT name FROM pragma_index_list(?1) WHERE origin <> 'c' ORDER BY seq DESC")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    let names: Vec<String> = names.collect::<rusqlite::Result<_>>()?;
    names.iter().map(|name| indexed_columns(conn, name)).collect()
}

/// Returns what an index is on, in the form of its statement: `messages (thread_id) WHERE …`.
fn definition(conn: &Connection, index: &Object) -> Result<String> {
    let sql = r#"SELECT "unique" FROM pragma_index_list(?1) WHERE name = ?2"#;
    let is_unique: bool = conn.query_row(sql, [&index.table, &index.name], |row| row.get(0))?;
    let columns = indexed_columns(conn, &index.name)?;
    // What follows the columns is the condition of a partial index.
    let body = body(&index.sql);
    let mut depth = 0;
    let end = body.iter().position(|token| {
        depth += i32::from(*token == "(") - i32::from(*token == ")");
        depth == 0
    });
    let condition = body.get(end.map_or(0, |end| end + 1)..).unwrap_or_default();
    Ok([
        if is_unique { "UNIQUE " } else { "" },
        &format!("{} ({columns})", index.table),
        if condition.is_empty() { "" } else { " " },
        &condition.join(" "),
    ]
    .concat())
}

/// Returns the columns of an index, such as `to_inbox, status DESC`.
fn indexed_columns(conn: &Connection, index: &str) -> Result<String> {
    let mut statement =
        conn.prepare("SELECT name, \"desc\", coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
    let columns = statement.query_map([index], |row| {
        let name: Option<String> = row.get(0)?;
        let (is_descending, collation): (bool, String) = (row.get(1)?, row.get(2)?);
        let mut column = name.unwrap_or_else(|| "an expression".to_owned());
        if collation != "BINARY" {
            column.push_str(" COLLATE ");
            column.push_str(&collation);
        }
        if is_descending {
            column.push_str(" DESC");
        }
        Ok(column)
    })?;
    Ok(columns.collect::<rusqlite::Result<Vec<_>>>()?.join(", "))
}

/// Returns the tokens of a CREATE statement from its first parenthesis on, without the name.
fn body(sql: &str) -> Vec<&str> {
    tokens(sql).skip_while(|token| *token != "(").collect()
}

#[cfg(test)]
mod tests {
    use rusqlite::OpenFlags;

    use super::*;
    use crate::store::connect::connect;
    use crate::store::test_support::temp_database;

    /// Returns the differences after `sql` has run in a new database.
    fn after(sql: &str) -> Vec<String> {
        let (_dir, writer) = temp_database();
        writer.conn.execute_batch(sql).unwrap();
        writer.schema_differences().unwrap()
    }

    /// Replaces a part of an object's text in the file.
    fn rewrite(name: &str, from: &str, to: &str) -> Vec<String> {
        let (_dir, writer) = temp_database();
        let sql = "SELECT sql FROM sqlite_master WHERE name = ?1";
        let text: String = writer.conn.query_row(sql, [name], |row| row.get(0)).unwrap();
        assert!(text.contains(from), "{text}");
        let kind = text.split(' ').nth(1).unwrap();
        let changed = text.replace(from, to);
        writer
            .conn
            .execute_batch(&format!("DROP {kind} {name}; {changed};"))
            .unwrap();
        writer.schema_differences().unwrap()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn ignores_comments_and_blanks() {
        assert_eq!(after(""), NONE);
        assert_eq!(
            rewrite("messages_delete", "BEGIN\n", "/* it's\n */ BEGIN -- \"one\n\n\t"),
            NONE
        );
        assert_eq!(rewrite("messages_thread", "(thread_id, ", "( thread_id --,\n,"), NONE);
        // Dropping the view drops its trigger.
        assert_eq!(
            rewrite("active", "active AS SELECT", "active AS\n--\nSELECT /**/ "),
            ["the trigger active_insert is missing"]
        );
    }

    #[test]
    fn reports_changed_triggers_and_views() {
        let changed = ["the trigger messages_delete was changed"];
        assert_eq!(rewrite("messages_delete", "n > OLD.n", "n >= OLD.n"), changed);
        // Blanks and comments in a literal count.
        assert_eq!(rewrite("messages_delete", "prune removes", "prune  removes"), changed);
        assert_eq!(rewrite("messages_delete", "prune removes", "prune --removes"), changed);
        assert_eq!(rewrite("messages_delete", "prune removes", "''prune removes"), changed);
        assert_eq!(rewrite("messages_delete", "'pruning'", "'Pruning'"), changed);
        assert_eq!(
            rewrite("active", "SELECT id", "SELECT label AS id")[..1],
            ["the view active was changed"]
        );
        assert_eq!(after("DROP TRIGGER hub_delete"), ["the trigger hub_delete is missing"]);
    }

    #[test]
    fn reports_changed_indexes() {
        let expected = "not on messages (thread_id, message_seq) WHERE message_seq IS NOT NULL";
        for (from, to, is) in [
            (
                ", message_seq)",
                ")",
                "messages (thread_id) WHERE message_seq IS NOT NULL",
            ),
            (
                " WHERE message_seq IS NOT NULL",
                "",
                "messages (thread_id, message_seq)",
            ),
            (
                "IS NOT NULL",
                "> (5)",
                "messages (thread_id, message_seq) WHERE message_seq > ( 5 )",
            ),
            (
                "message_seq)",
                "message_seq DESC)",
                "messages (thread_id, message_seq DESC) WHERE message_seq IS NOT NULL",
            ),
            (
                "(thread_id",
                "(thread_id COLLATE NOCASE",
                "messages (thread_id COLLATE NOCASE, message_seq) WHERE message_seq IS NOT NULL",
            ),
            (
                "(thread_id",
                "(lower(thread_id)",
                "messages (an expression, message_seq) WHERE message_seq IS NOT NULL",
            ),
            (
                "CREATE INDEX",
                "CREATE UNIQUE INDEX",
                "UNIQUE messages (thread_id, message_seq) WHERE message_seq IS NOT NULL",
            ),
        ] {
            let (_dir, writer) = temp_database();
            let sql = "SELECT sql FROM sqlite_master WHERE name = 'messages_thread'";
            let text: String = writer.conn.query_row(sql, [], |row| row.get(0)).unwrap();
            assert!(text.contains(from), "{from}");
            let changed = text.replace(from, to);
            writer
                .conn
                .execute_batch(&format!("DROP INDEX messages_thread; {changed};"))
                .unwrap();
            assert_eq!(
                writer.schema_differences().unwrap(),
                [format!("the index messages_thread is on {is}, {expected}")]
            );
        }
        assert_eq!(
            after("DROP INDEX messages_thread"),
            ["the index messages_thread is missing"]
        );
        assert_eq!(
            after("DROP INDEX messages_thread; CREATE TABLE messages_thread(x)"),
            ["messages_thread has the type table, not index"]
        );
    }

    #[test]
    fn reports_additional_objects() {
        assert_eq!(
            after(
                "CREATE TABLE mine(x); CREATE INDEX mine_x ON mine(x); CREATE VIEW seen AS SELECT 1; \
                 CREATE TRIGGER watch AFTER INSERT ON messages BEGIN SELECT 1; END;"
            ),
            [
                "the table mine is not agenthub's",
                "the index mine_x is not agenthub's",
                "the view seen is not agenthub's",
                "the trigger watch is not agenthub's",
            ]
        );
        // SQLite's own tables.
        assert_eq!(after("ANALYZE"), NONE);
    }

    #[test]
    fn reports_changed_columns_by_name() {
        assert_eq!(
            after("ALTER TABLE messages ADD COLUMN mood TEXT"),
            ["column mood of messages is not agenthub's"]
        );
        // The file of the first version lacks what later versions added.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        std::fs::write(&path, include_bytes!("../../../tests/data/v1.db")).unwrap();
        let first = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        let expected = Connection::open_in_memory().unwrap();
        expected.execute_batch(SCHEMA_SQL).unwrap();
        let found = differences(&expected, &first).unwrap();
        let (columns, others): (Vec<_>, Vec<_>) = found.iter().partition(|line| line.starts_with("column"));
        assert_eq!(
            columns,
            [
                "column proof of messages is missing",
                "column proof of inbox_messages is missing",
                "column broadcasts_after of agents is missing",
                "column acked_at of subscriptions is missing"
            ]
        );
        assert!(
            others.iter().all(|line| ["the trigger", "the table", "the index"]
                .iter()
                .any(|kind| line.starts_with(kind))),
            "{others:?}"
        );
    }

    #[test]
    fn reports_changed_definitions_of_a_table() {
        let receipts = "n INTEGER PRIMARY KEY, message_id TEXT, reader TEXT, state TEXT, via TEXT, \
            created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)), \
            UNIQUE(message_id, reader, state)";
        for (from, to, difference) in [
            ("via TEXT", "via  TEXT/**/", None),
            (
                "via TEXT",
                "via BLOB",
                Some("column via of receipts has the type BLOB, not the type TEXT"),
            ),
            (
                "via TEXT",
                "via",
                Some("column via of receipts has no type, not the type TEXT"),
            ),
            (
                "via TEXT",
                "via TEXT DEFAULT  'x'",
                Some("column via of receipts has the default 'x', not no default"),
            ),
            (
                "via TEXT",
                "via TEXT NOT NULL",
                Some("column via of receipts is NOT NULL"),
            ),
            (
                "via TEXT",
                "via TEXT AS (reader)",
                Some("column via of receipts is generated"),
            ),
            (
                "n INTEGER PRIMARY KEY",
                "n INTEGER",
                Some("column n of receipts is not part of the primary key"),
            ),
            (
                "reader TEXT, state TEXT",
                "state TEXT, reader TEXT",
                Some("the columns of receipts are in another order"),
            ),
            (
                ", UNIQUE(message_id, reader, state)",
                "",
                Some("the constraint UNIQUE (message_id, reader, state) of receipts is missing"),
            ),
            (
                "via TEXT",
                "via TEXT UNIQUE",
                Some("the constraint UNIQUE (via) of receipts is not agenthub's"),
            ),
            (
                "via TEXT",
                "via TEXT CHECK (via <> '')",
                Some("the constraints or options of the table receipts were changed"),
            ),
        ] {
            let expected = Connection::open_in_memory().unwrap();
            expected
                .execute_batch(&format!("CREATE TABLE receipts({receipts})"))
                .unwrap();
            let actual = Connection::open_in_memory().unwrap();
            let changed = receipts.replace(from, to);
            assert_ne!(changed, receipts);
            actual
                .execute_batch(&format!("CREATE TABLE \"receipts\" ({changed})"))
                .unwrap();
            let found = differences(&expected, &actual).unwrap();
            assert_eq!(found, difference.into_iter().collect::<Vec<_>>(), "{to}");
        }
        assert_eq!(after("DROP TABLE receipts")[..1], ["the table receipts is missing"]);
    }
}
