//! `agenthub restore`: replaces the content of the database while agents and the hub run.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};

use crate::support::command::{fails, follow, run, run_json, wait_until_watching};
use crate::support::hub::AGENTHUB;
use crate::support::writer::{Process, insert_messages, python, sqlite3};
use crate::support::{TestHub, wait_for};

/// Copies the database with `agenthub backup`.
#[track_caller]
fn backup(hub: &TestHub) -> PathBuf {
    let copy = hub.folder().join("backup.db");
    run(hub, &["backup", copy.to_str().unwrap()]);
    copy
}

#[track_caller]
fn restore(hub: &TestHub, file: &Path) -> Value {
    run_json(hub, &["restore", "--yes", file.to_str().unwrap()])
}

/// Returns the names of the files beside the database that belong to a restore.
fn leftovers(hub: &TestHub) -> Vec<String> {
    let names = fs::read_dir(hub.folder()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("restore")).collect()
}

/// An agent in another process that inserts one message per transaction and reports each commit.
struct Agent {
    process: Process,
    acknowledged: Receiver<String>,
    ids: BTreeSet<String>,
}

impl Agent {
    #[track_caller]
    fn start(db: &Path, name: &str) -> Self {
        let program = "
import sqlite3, sys, time
conn = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
k = 0
while True:
    k += 1
    id = f'{sys.argv[2]}-{k}'
    conn.execute('INSERT INTO messages(id, thread_id, from_id) VALUES(?, ?, ?)', (id, sys.argv[2], sys.argv[2]))
    print(id, flush=True)
    # SQLite's own busy handler starves if other writers leave no time between their transactions.
    time.sleep(0.002)
";
        let mut command = python();
        command
            .args(["-c", program, db.to_str().unwrap(), name])
            .stdout(Stdio::piped());
        let mut process = Process::start(command);
        let stdout = BufReader::new(process.0.stdout.take().unwrap());
        let (tx, acknowledged) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tx.send(line)));
        Self {
            process,
            acknowledged,
            ids: BTreeSet::new(),
        }
    }

    /// Waits until the agent has committed `count` more rows.
    #[track_caller]
    fn wait_for_commits(&mut self, count: usize) {
        self.ids.extend(self.acknowledged.try_iter());
        let target = self.ids.len() + count;
        wait_for("the agent's commits", || {
            self.ids.extend(self.acknowledged.try_iter());
            assert!(self.process.0.try_wait().unwrap().is_none(), "an agent has ended");
            (self.ids.len() >= target).then_some(())
        });
    }

    /// Ends the process. Returns the ids of all rows that it has committed and reported.
    fn end(mut self) -> BTreeSet<String> {
        drop(self.process.0.kill());
        drop(self.process.0.wait());
        self.ids.extend(self.acknowledged.iter());
        self.ids
    }
}

fn ids(db: &Path) -> BTreeSet<String> {
    let rows = sqlite3(db, "SELECT id FROM messages");
    rows.lines().map(str::to_owned).collect()
}

#[test]
fn loses_no_acknowledged_row_of_concurrent_writers() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 2000));
    let copy = backup(&hub);
    let inode = fs::metadata(hub.db()).unwrap().ino();
    let mut agents: Vec<Agent> = ["a", "b", "c"].map(|name| Agent::start(hub.db(), name)).into();
    let mut kept = BTreeSet::new();
    for _ in 0..3 {
        agents.iter_mut().for_each(|agent| agent.wait_for_commits(20));
        let done = restore(&hub, &copy);
        kept.extend(ids(Path::new(done["kept"].as_str().unwrap())));
        agents.iter_mut().for_each(|agent| agent.wait_for_commits(20));
        assert_eq!(
            hub.send("POST", "/api/threads/t/messages", r#"{"from_id":"x","content":""}"#)
                .status,
            201
        );
    }
    let restored_at_end = |agents: Vec<Agent>| agents.into_iter().flat_map(Agent::end).collect::<BTreeSet<_>>();
    let acknowledged = restored_at_end(agents);
    let restored = ids(hub.db());
    let missing: Vec<_> = acknowledged
        .iter()
        .filter(|id| !kept.contains(*id) && !restored.contains(*id))
        .collect();
    assert_eq!(missing, Vec::<&String>::new(), "of {}", acknowledged.len());
    for part in [&kept, &restored] {
        assert!(acknowledged.intersection(part).count() >= 60);
    }
    // The agents and the hub still use the file at the path.
    assert_eq!(fs::metadata(hub.db()).unwrap().ino(), inode);
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
    assert_eq!(hub.sql("SELECT count(*) FROM messages WHERE thread_id = 't'"), "2001");
    assert_eq!(leftovers(&hub).len(), 3, "{:?}", leftovers(&hub));
    assert_eq!(hub.status()["state"], "ok");
}

#[test]
fn positions_before_a_restore_are_lost() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let copy = backup(&hub);
    for replaced in [0, 3] {
        hub.sql(&insert_messages("t", 6, replaced));
        let mut early = hub.connect("streams=messages&since=0");
        let hello = early.expect("hello");
        early.messages_until(5 + replaced);
        let mut compat = hub.connect("instance_id=compat");
        compat.subscribe("t", 0);
        compat.messages_until(5 + replaced);
        restore(&hub, &copy);
        // Also if the restored log has the same entries: rows may differ that the log does not show.
        for client in [&mut early, &mut compat] {
            client.expect_error("POSITION_LOST");
            assert_eq!(client.expect_close(), 4010);
        }
        let epoch = hello.data["epoch"].as_str().unwrap().to_owned();
        assert_ne!(hub.status()["epoch"], epoch.as_str());
        let mut late = hub.connect(&format!("streams=messages&since={epoch}.1.0"));
        late.expect("hello");
        late.expect_error("POSITION_LOST");
        let mut compat = hub.connect("");
        compat.subscribe("t", 0);
        assert_eq!(compat.expect("batch").seqs(), [1, 2, 3, 4, 5]);
    }
    hub.sql(&insert_messages("t", 6, 1));
    assert_eq!(hub.get("/api/threads/t/messages").items().len(), 6);
}

#[test]
fn tail_continues_with_the_new_rows() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    hub.sql(&insert_messages("t", 1, 2));
    let copy = backup(&hub);
    for args in [&["tail", "--json"][..], &["tail", "t", "--json"]] {
        hub.sql(&insert_messages("t", 3, 3));
        let (process, mut lines) = follow(&hub, args);
        wait_until_watching(&hub, &process);
        for subject in ["before", "after"] {
            // The test cannot see when the command reads first, so it writes until a row has arrived.
            let is_seen = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !is_seen.load(Ordering::Relaxed) {
                        hub.sql(&format!(
                            "INSERT INTO messages(thread_id, from_id, subject) VALUES('t', 'a', '{subject}')"
                        ));
                    }
                });
                let is_subject = |line: &String| line.contains(&format!("\"subject\":\"{subject}\""));
                let found = lines.by_ref().map_while(Result::ok).find(is_subject);
                is_seen.store(true, Ordering::Relaxed);
                assert!(found.is_some(), "{args:?} has ended before a row {subject}");
            });
            if subject == "before" {
                restore(&hub, &copy);
            }
        }
    }
}

#[test]
fn undoes_a_restore_with_the_kept_copy() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    let copy = backup(&hub);
    hub.sql(&insert_messages("t", 4, 4));
    let done = restore(&hub, &copy);
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "3");
    assert_eq!(
        done["replaced_changes"].as_i64().unwrap() - done["changes"].as_i64().unwrap(),
        4
    );
    assert_eq!(done["schema_differences"], json!([]));
    let kept = PathBuf::from(done["kept"].as_str().unwrap());
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o777, 0o600);
    let mut client = hub.connect("streams=messages&since=0");
    assert_eq!(client.messages_until(3).len(), 3);
    restore(&hub, &kept);
    client.expect_error("POSITION_LOST");
    assert_eq!(
        hub.sql("SELECT count(*) FROM messages; PRAGMA integrity_check"),
        "7\nok"
    );
    assert_eq!(hub.get("/api/threads/t/messages").items().len(), 7);
}

/// Rows that the person wrote stay verified, the token stays valid, and the search finds restored rows only.
#[test]
fn keeps_secrets_proofs_and_search() {
    let hub = TestHub::start();
    let text = r#"{"content":"approved wording"}"#;
    let posted = hub.send_as_person("POST", "/api/threads/t/messages", text);
    assert_eq!(posted.json()["verified"], true);
    let copy = backup(&hub);
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'forgotten wording')");
    let found = |hub: &TestHub| hub.get("/api/search?q=wording").items().len();
    assert_eq!(found(&hub), 2);
    restore(&hub, &copy);
    assert_eq!(hub.get("/api/threads/t/messages").items()[0]["verified"], true);
    assert_eq!(found(&hub), 1);
    let text = r#"{"content":"again"}"#;
    assert_eq!(
        hub.send_as_person("POST", "/api/threads/t/messages", text).json()["verified"],
        true
    );
}

#[test]
fn migrates_a_backup_of_the_first_version() {
    let hub = TestHub::start();
    let old = hub.folder().join("old.db");
    fs::write(&old, include_bytes!("../data/v1.db")).unwrap();
    let version = hub.sql("PRAGMA user_version");
    let mut agent = Agent::start(hub.db(), "a");
    agent.wait_for_commits(1);
    restore(&hub, &old);
    agent.wait_for_commits(1);
    assert_eq!(
        hub.sql("PRAGMA user_version; SELECT count(*) FROM messages WHERE from_id <> 'a'"),
        format!("{version}\n3")
    );
    assert_eq!(sqlite3(&old, "PRAGMA user_version"), "1");
    assert_eq!(leftovers(&hub).len(), 1);
}

#[test]
fn restores_an_sql_dump_from_a_file_and_from_stdin() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'one;' || char(10) || 'it''s ü END;')");
    let content = "SELECT n, id, thread_id, message_seq, content FROM messages ORDER BY n";
    let before = hub.sql(content);
    let dump = hub.sql(".dump");
    let file = hub.folder().join("dump.sql");
    fs::write(&file, &dump).unwrap();
    for from_stdin in [false, true] {
        hub.sql(&insert_messages("t", 5, 2));
        if from_stdin {
            let mut command = hub.command(&["restore", "--from-sql", "-", "--yes"]);
            let mut process = Process::start({
                command.stdin(Stdio::piped());
                command
            });
            process.0.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
            assert!(process.0.wait().unwrap().success());
        } else {
            run(&hub, &["restore", "--from-sql", "--yes", file.to_str().unwrap()]);
        }
        assert_eq!(hub.sql(content), before);
        hub.sql(&insert_messages("t", 5, 1));
        let doctor: Value = serde_json::from_slice(&hub.agenthub(&["doctor", "--json"]).stdout).unwrap();
        for check in ["integrity", "schema", "rows"] {
            let findings = doctor["findings"].as_array().unwrap();
            let finding = findings.iter().find(|finding| finding["check"] == check).unwrap();
            assert_eq!(finding["state"], "ok", "{finding}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_restored_creates_no_database() {
    let hub = TestHub::not_started(&[]);
    let text = hub.folder().join("text");
    fs::write(&text, "not a database, but longer than the header of one".repeat(9)).unwrap();
    for file in ["/nonexistent", text.to_str().unwrap()] {
        fails(&hub, &["restore", "--yes", file], 3);
        assert!(!hub.db().exists(), "{file}");
    }
}

#[test]
fn refuses_what_is_no_backup_and_changes_nothing() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    let epoch = hub.status()["epoch"].clone();
    let at = |name: &str| hub.folder().join(name).to_str().unwrap().to_owned();
    let newer = backup(&hub);
    let version = sqlite3(&newer, "PRAGMA user_version").parse::<u32>().unwrap();
    sqlite3(&newer, "PRAGMA user_version = 99");
    let damaged = hub.folder().join("damaged.db");
    let mut bytes = fs::read(&newer).unwrap();
    bytes[60..64].copy_from_slice(&version.to_be_bytes());
    let end = bytes.len();
    bytes[4096..end].fill(0x5a);
    fs::write(&damaged, &bytes).unwrap();
    fs::write(
        at("text"),
        "not a database, but a text that is longer than the header of one".repeat(9),
    )
    .unwrap();
    fs::write(at("empty"), "").unwrap();
    sqlite3(Path::new(&at("foreign.db")), "CREATE TABLE messages(id)");
    fs::write(at("foreign.sql"), "CREATE TABLE messages(id);").unwrap();
    std::os::unix::fs::symlink(hub.db(), at("link.db")).unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--yes", &at("hub.db")], 1, "is the database itself"),
        (&["--yes", &at("link.db")], 1, "is the database itself"),
        (&["--yes", &at("missing.db")], 3, "missing.db"),
        (&["--yes", &at("backup.db")], 3, "install a newer agenthub"),
        (&["--yes", &at("damaged.db")], 3, "damaged"),
        (&["--yes", &at("text")], 3, "not a SQLite database"),
        (&["--yes", &at("empty")], 3, "not an agenthub database"),
        (&["--yes", &at("foreign.db")], 3, "not an agenthub database"),
        (
            &["--yes", "--from-sql", &at("foreign.sql")],
            3,
            "not an agenthub database",
        ),
        (&["--yes", "--from-sql", &at("text")], 1, "line 1"),
        (&[&at("link.db"), "--from-sql"], 1, "cannot read the dump"),
    ];
    for (args, code, reason) in cases {
        let message = fails(&hub, &[&["restore"], *args].concat(), *code);
        assert!(message.contains(reason), "{args:?}: {message}");
    }
    sqlite3(&newer, &format!("PRAGMA user_version = {version}"));
    let message = fails(&hub, &["restore", &at("backup.db")], 2);
    assert!(message.contains("--yes"), "{message}");
    assert_eq!(leftovers(&hub), Vec::<String>::new());
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "3");
    assert_eq!(hub.status()["epoch"], epoch);
}

#[test]
fn keeps_a_row_that_is_committed_while_it_waits_for_the_lock() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    let copy = backup(&hub);
    let program = "
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute('BEGIN IMMEDIATE')
conn.execute(\"INSERT INTO messages(thread_id, from_id) VALUES('t', 'late')\")
print('held', flush=True)
sys.stdin.readline()
conn.execute('COMMIT')
";
    let mut command = python();
    command.args(["-c", program, hub.db().to_str().unwrap()]);
    let mut writer = Process::start({
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    });
    let mut line = String::new();
    BufReader::new(writer.0.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "held\n");
    let mut process = Process::start(hub.command(&["restore", "--yes", copy.to_str().unwrap()]));
    wait_for("the restore to wait for the lock", || {
        // The temporary file has lost its name, and the process still runs.
        let fds = fs::read_dir(format!("/proc/{}/fd", process.0.id())).ok()?;
        fds.flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains(".part (deleted)")))
            .then_some(())
    });
    drop(writer.0.stdin.take());
    assert!(writer.0.wait().unwrap().success());
    assert!(process.0.wait().unwrap().success());
    let kept = hub.folder().join(&leftovers(&hub)[0]);
    assert_eq!(
        sqlite3(&kept, "SELECT count(*) FROM messages WHERE from_id = 'late'"),
        "1"
    );
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "3");
}

/// A limit on the size of files simulates the full disk: at 64 KiB the temporary copy fails, slightly above the size of
/// the database the write-ahead log.
#[test]
fn a_full_disk_leaves_the_state_before() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 4000));
    let copy = backup(&hub);
    sqlite3(&copy, &insert_messages("t", 4001, 100));
    wait_for("a complete checkpoint", || {
        hub.sql("PRAGMA wal_checkpoint(TRUNCATE)")
            .starts_with("0|")
            .then_some(())
    });
    let size = fs::metadata(&copy).unwrap().len();
    for blocks in [128, size / 512 + 4] {
        let mut command = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        command.args(["-c", &script, "sh", AGENTHUB, "restore", "--yes"]);
        command.arg(&copy).arg("--db").arg(hub.db()).env("HOME", hub.folder());
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{blocks}: {stderr}");
        assert!(stderr.contains("nothing was changed"), "{stderr}");
        assert_eq!(
            hub.sql("SELECT count(*) FROM messages; PRAGMA integrity_check"),
            "4000\nok"
        );
    }
    restore(&hub, &copy);
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "4100");
}

#[test]
fn restores_into_a_damaged_database_and_into_none() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3000));
    let copy = backup(&hub);
    assert!(hub.stop().0.success());
    let mut bytes = fs::read(hub.db()).unwrap();
    bytes[3 * 4096..].fill(0xa5);
    fs::write(hub.db(), &bytes).unwrap();
    restore(&hub, &copy);
    assert_eq!(
        hub.sql("SELECT count(*) FROM messages; PRAGMA integrity_check"),
        "3000\nok"
    );
    let other = hub.folder().join("new/hub.db");
    run(
        &hub,
        &[
            "restore",
            "--yes",
            copy.to_str().unwrap(),
            "--db",
            other.to_str().unwrap(),
        ],
    );
    assert_eq!(sqlite3(&other, "SELECT count(*) FROM messages"), "3000");
}

/// SQLite cannot change the page size of a database in use.
#[test]
fn adapts_the_page_size() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 300));
    let copy = backup(&hub);
    sqlite3(&copy, "PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM");
    assert_eq!(sqlite3(&copy, "PRAGMA page_size"), "8192");
    restore(&hub, &copy);
    assert_eq!(
        hub.sql("PRAGMA page_size; SELECT count(*) FROM messages; PRAGMA integrity_check"),
        "4096\n300\nok"
    );
}
