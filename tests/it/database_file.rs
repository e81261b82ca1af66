//! The database file: its permissions, which files are accepted or refused, and writes by any program
//! that has SQLite.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::support::TestHub;
use crate::support::writer::{python_run, sqlite3, try_sqlite3};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Other users of the machine must not read the messages or the token.
#[test]
fn database_and_sidecar_files_are_readable_by_the_owner_only() {
    let mut hub = TestHub::not_started(&[]);
    let folder = hub.folder().join("some/where");
    let db = folder.join("hub.db");
    let path = hub.agenthub(&["path", "--db", db.to_str().unwrap()]);
    assert!(path.status.success());
    assert_eq!(String::from_utf8(path.stdout).unwrap().trim_end(), db.to_str().unwrap());
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.parent().unwrap().join("where")), 0o700);
    assert_eq!(mode(&db), 0o600);
    hub.launch();
    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')");
    for name in ["hub.db", "hub.db-wal", "hub.db-shm", "hub.db.token", "hub.db.serve"] {
        assert_eq!(mode(&hub.folder().join(name)), 0o600, "{name}");
    }
}

#[test]
fn path_comes_from_flag_then_environment_then_data_directory() {
    let hub = TestHub::not_started(&[]);
    let path = |args: &[&str], env: Option<&str>| {
        let mut command = hub.command(args);
        command.env_remove("AGENTHUB_DB");
        if let Some(env) = env {
            command.env("AGENTHUB_DB", env);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let (a, b) = (hub.folder().join("a.db"), hub.folder().join("b.db"));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    assert_eq!(path(&["path", "--db", a], Some(b)), a);
    assert_eq!(path(&["path"], Some(b)), b);
    // A relative path becomes absolute, so that it is valid in any working directory.
    assert_eq!(path(&["--db", "a.db", "path"], None), a);
    let home = path(&["path"], None);
    assert!(
        home.starts_with(hub.folder().to_str().unwrap()) && home.ends_with("agenthub/hub.db"),
        "{home}"
    );
    assert!([a, b, &home].iter().all(|path| Path::new(path).exists()));
}

/// Running `sqlite3 hub.db` before the first start can leave an empty file.
#[test]
fn initializes_an_empty_file_and_sets_its_mode() {
    let mut hub = TestHub::not_started(&[]);
    fs::write(hub.db(), "").unwrap();
    fs::set_permissions(hub.db(), Permissions::from_mode(0o644)).unwrap();
    hub.launch();
    assert_eq!(mode(hub.db()), 0o600);
    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')");
    assert_eq!(hub.get("/api/threads/t/messages").items().len(), 1);

    // So is a database without tables.
    let db = hub.folder().join("vacuumed.db");
    sqlite3(&db, "VACUUM");
    fs::set_permissions(&db, Permissions::from_mode(0o644)).unwrap();
    assert!(hub.agenthub(&["path", "--db", db.to_str().unwrap()]).status.success());
    assert_eq!(sqlite3(&db, "PRAGMA application_id"), 0x4147_4842.to_string());
}

/// Returns the name and content of each file in `folder`.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

/// A wrong `--db` must not write into another program's database.
#[test]
fn refuses_other_files_without_changing_them() {
    let newer = "PRAGMA application_id = 0x41474842; PRAGMA user_version = 99; CREATE TABLE messages(x);";
    for (name, sql) in [
        ("foreign tables", "CREATE TABLE t(x); INSERT INTO t VALUES(1);"),
        ("foreign id", "PRAGMA application_id = 252006674; CREATE TABLE t(x);"),
        (
            "foreign id without tables",
            "PRAGMA application_id = 252006674; VACUUM;",
        ),
        ("another version without tables", "PRAGMA user_version = 3; VACUUM;"),
        ("newer", newer),
        (
            "newer, in a write-ahead log",
            &format!("PRAGMA journal_mode = WAL; {newer}"),
        ),
        ("version zero", "PRAGMA application_id = 0x41474842; CREATE TABLE t(x);"),
        (
            "negative version",
            "PRAGMA application_id = 0x41474842; PRAGMA user_version = -1; CREATE TABLE t(x);",
        ),
        ("long text", ""),
        ("short text", ""),
    ] {
        let hub = TestHub::not_started(&[]);
        match name {
            "long text" => fs::write(hub.db(), "This text is not a database. ".repeat(300)).unwrap(),
            "short text" => fs::write(hub.db(), "a text").unwrap(),
            _ => drop(sqlite3(hub.db(), sql)),
        }
        fs::set_permissions(hub.db(), Permissions::from_mode(0o640)).unwrap();
        let before = contents(hub.folder());
        for args in [
            &["serve", "--listen", "127.0.0.1:0"][..],
            &["path"],
            &["post", "t", "x"],
            &["send", "human", "x"],
            &["inbox"],
            &["status"],
            &["token"],
            &["tail"],
        ] {
            let output = hub.agenthub(args);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(3), "{name}: {args:?}: {stderr}");
            assert_eq!(output.stdout, b"", "{name}: {args:?}");
            assert_eq!(stderr.lines().count(), 1, "{name}: {args:?}: {stderr}");
            assert!(
                stderr.contains(hub.db().to_str().unwrap()) || stderr.contains("--db"),
                "{stderr}"
            );
            assert!(stderr.contains("untouched"), "{name}: {args:?}: {stderr}");
            assert!(name != "newer" || stderr.contains("newer agenthub"), "{stderr}");
        }
        assert_eq!(mode(hub.db()), 0o640, "{name}");
        // Reading a WAL creates the -shm; nothing else may differ.
        let same = |files: Vec<(String, Vec<u8>)>| -> Vec<_> {
            files
                .into_iter()
                .filter(|(name, bytes)| !(name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty()))
                .collect()
        };
        assert_eq!(same(contents(hub.folder())), same(before), "{name}");
    }
}

/// Any program that has SQLite can be an agent.
#[test]
fn the_sqlite3_shell_and_python_can_use_the_schema() {
    let hub = TestHub::start();
    assert_eq!(
        hub.sql("PRAGMA application_id; PRAGMA user_version; PRAGMA journal_mode"),
        format!("{}\n5\nwal", 0x4147_4842)
    );
    assert_eq!(
        hub.sql(
            "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name)"
        ),
        "agents changes deliveries hub inbox_messages messages receipts sessions subscriptions task_stream telemetry threads wakes"
    );
    let printed = hub.agenthub(&["schema"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let db = hub.folder().join("by-hand.db");
    sqlite3(&db, &printed);
    let dump = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name";
    assert_eq!(
        sqlite3(&db, dump),
        hub.sql(dump),
        "agenthub schema prints a different schema"
    );

    let program = "
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], timeout=5)
with conn:
    conn.execute('INSERT INTO messages(thread_id, from_id, content) VALUES(?, ?, ?)', ('t', 'snake', 'hello'))
    conn.execute('INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES(?, ?, ?)', ('snake', 'human', 'hi'))
    conn.execute('INSERT INTO telemetry(instance_id, turns, cost) VALUES(?, ?, ?)', ('run', 1, 0.5))
    conn.execute('INSERT INTO task_stream(task_id, stream_type, text) VALUES(?, ?, ?)', ('k', 'text', 'working'))
row = conn.execute('SELECT message_seq, kind, delivery_state FROM messages').fetchone()
print(row, conn.execute('SELECT id, status FROM agents').fetchall(), conn.execute('SELECT count(*) FROM changes').fetchone())
";
    assert_eq!(
        python_run(program, &[hub.db().to_str().unwrap()]),
        "(1, 'status', 'pending') [('snake', 'idle')] (6,)"
    );
    assert_eq!(hub.get("/api/agents").items()[0]["id"], json!("snake"));
}

#[test]
fn first_example_of_the_readme_works() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("build", 0);
    client.expect("batch");
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let start = readme.find("sqlite3 -cmd").unwrap();
    let example = &readme[start..start + readme[start..].find("```").unwrap()];
    let bin = Path::new(crate::support::hub::AGENTHUB).parent().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", example])
        .env("AGENTHUB_DB", hub.db())
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{example}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let message = client.expect("message");
    assert_eq!(
        (message.text("from_id"), message.text("content")),
        ("planner", "tests are green")
    );
    // The help and the schema show the same line.
    for args in [&["--help"][..], &["schema"]] {
        let text = String::from_utf8(hub.agenthub(args).stdout).unwrap();
        assert!(
            text.contains("sqlite3 -cmd '.timeout 5000' \"$(agenthub path)\""),
            "{text}"
        );
    }
}

#[test]
fn rejects_invalid_rows_with_table_and_column() {
    let hub = TestHub::start();
    for (sql, table, column) in [
        ("INSERT INTO messages(from_id) VALUES('a')", "messages", "thread_id"),
        (
            "INSERT OR IGNORE INTO messages(thread_id, from_id) VALUES('', 'a')",
            "messages",
            "thread_id",
        ),
        ("INSERT INTO messages(thread_id) VALUES('t')", "messages", "from_id"),
        (
            "INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', printf('%.*c', 1048577, 'x'))",
            "messages",
            "content",
        ),
        (
            "INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', x'00')",
            "messages",
            "content",
        ),
        (
            "INSERT INTO messages(thread_id, from_id, created_at) VALUES('t', 'a', 'today')",
            "messages",
            "created_at",
        ),
        (
            "INSERT INTO messages(thread_id, from_id, message_seq) VALUES('t', 'a', 2)",
            "messages",
            "message_seq",
        ),
        (
            "INSERT OR IGNORE INTO inbox_messages(to_inbox) VALUES('b')",
            "inbox_messages",
            "from_agent",
        ),
        ("INSERT INTO telemetry(turns) VALUES(1)", "telemetry", "instance_id"),
        (
            "INSERT INTO telemetry(instance_id, turns) VALUES('i', 'many')",
            "telemetry",
            "turns",
        ),
        (
            "INSERT INTO task_stream(task_id) VALUES('k')",
            "task_stream",
            "stream_type",
        ),
    ] {
        let output = try_sqlite3(hub.db(), sql);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{sql}");
        assert!(stderr.contains(table) && stderr.contains(column), "{sql}: {stderr}");
    }
    assert_eq!(hub.sql("SELECT count(*) FROM changes"), "0");
    for (sql, allowed) in [
        (
            "INSERT INTO messages(id, thread_id, from_id, message_seq) VALUES('m', 't', 'a', 1)",
            true,
        ),
        (
            "INSERT INTO messages(id, thread_id, from_id) VALUES('m', 't', 'a')",
            false,
        ),
        (
            "INSERT OR IGNORE INTO messages(id, thread_id, from_id) VALUES('m', 'new', 'b')",
            true,
        ),
        (
            "INSERT OR REPLACE INTO messages(id, thread_id, from_id) VALUES('m', 't', 'a')",
            false,
        ),
        ("UPDATE messages SET content = 'other'", false),
        ("UPDATE messages SET business_state = 'done'", true),
        ("DELETE FROM messages", false),
        ("INSERT INTO telemetry(instance_id, turns) VALUES('i', '7')", true),
        ("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')", true),
    ] {
        assert_eq!(try_sqlite3(hub.db(), sql).status.success(), allowed, "{sql}");
    }
    assert_eq!(
        hub.sql("SELECT group_concat(message_seq || content) FROM messages"),
        "1,2"
    );
    assert_eq!(hub.sql("SELECT group_concat(id) FROM threads"), "t");
    assert_eq!(hub.sql("SELECT typeof(turns) FROM telemetry"), "integer");
}

/// Users keep their files for years, so every later schema must open them.
#[test]
fn opens_a_database_with_the_first_schema() {
    const FIRST: &[u8] = include_bytes!("../data/v1.db");
    let mut hub = TestHub::not_started(&[]);
    std::fs::write(hub.db(), FIRST).unwrap();
    hub.launch();
    let mut client = hub.connect("streams=messages,inbox,telemetry,tasks,threads&since=0");
    client.expect("hello");
    let mut ids = Vec::new();
    while ids.len() < 3 {
        ids.extend(client.next().messages());
    }
    let texts: Vec<_> = ids.iter().map(|m| m["content"].as_str().unwrap()).collect();
    assert_eq!(
        texts,
        ["the first message", "the second, with ünïcode", "a person speaks"]
    );
    // Stored acks still apply, and numbering continues.
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'planner', 'years later')");
    let mut page = hub.connect("instance_id=page");
    page.subscribe("build", -1);
    assert_eq!(page.expect("batch").seqs(), [2, 3]);
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
    let mail = hub.get("/api/inbox?inbox=reviewer&status=unread").json();
    assert_eq!(mail["items"][0]["title"], "please look");
}

/// A mistyped name must not overwrite the WAL of a database.
#[test]
fn backup_refuses_the_names_of_sidecar_files_and_devices() {
    let hub = TestHub::start();
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'kept')");
    let folder = hub.folder().display().to_string();
    for ending in ["-wal", "-shm", "-journal", ".token", ".serve", ".search"] {
        let to = format!("{folder}/hub.db{ending}");
        for force in [&[][..], &["--force"]] {
            let output = hub.agenthub(&[&["backup", to.as_str()], force].concat());
            assert_eq!(output.status.code(), Some(1), "{to} {force:?}: {output:?}");
            assert!(
                String::from_utf8_lossy(&output.stderr).contains("choose another name"),
                "{output:?}"
            );
        }
    }
    for to in ["/dev/null", folder.as_str()] {
        let output = hub.agenthub(&["backup", to, "--force"]);
        assert_eq!(output.status.code(), Some(1), "{to}: {output:?}");
    }
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    assert_eq!(hub.sql("SELECT content FROM messages"), "kept");
    assert_eq!(hub.status()["state"], "ok");
}
