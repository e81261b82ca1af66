//! Migrations of the schema: a database of the first version, opened by this program while other
//! processes use it. The unit tests of `store::schema` compare the result with a new database.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::TestHub;
use crate::support::writer::{Process, python, sqlite3};

/// A database that the first version wrote.
const FIRST: &[u8] = include_bytes!("../data/v1.db");

/// Creates the database of the first version. Returns the path of the copy that a migration makes.
fn first_version() -> (TestHub, PathBuf) {
    let hub = TestHub::not_started(&[]);
    fs::write(hub.db(), FIRST).unwrap();
    let copy = hub.folder().join("hub.db.before-5");
    (hub, copy)
}

#[test]
fn one_of_several_processes_migrates_and_logs_it() {
    let (hub, copy) = first_version();
    let start = |_| {
        let mut command = hub.command(&["path"]);
        command
            .env("AGENTHUB_LOG", "info")
            .stderr(Stdio::piped())
            .stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let processes: Vec<_> = (0..6).map(start).collect();
    let mut log = String::new();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        log.push_str(&String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{log}");
    }
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        log.contains("from schema version 1 to 5") && log.contains(copy.to_str().unwrap()),
        "{log}"
    );
    assert_eq!(hub.sql("PRAGMA user_version"), "5");
    assert_eq!(sqlite3(&copy, "PRAGMA user_version"), "1");
    assert_eq!(
        sqlite3(
            &copy,
            "SELECT group_concat(content, ', ') FROM messages WHERE thread_id = 'build'"
        ),
        "the first message, the second, with ünïcode"
    );
}

/// Processes of the previous version, and agents that use SQL, keep the file open during a migration.
#[test]
fn an_agent_keeps_writing_during_a_migration() {
    const PROGRAM: &str = "
import sqlite3, sys, threading
conn = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
n = 0
while not stop.is_set():
    n += 1
    conn.execute('INSERT INTO messages(thread_id, from_id, content) VALUES(?, ?, ?)', ('build', 'snake', f'text {n}'))
    conn.execute('INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES(?, ?, ?)', ('snake', 'human', f'text {n}'))
    conn.execute('UPDATE inbox_messages SET status = ? WHERE payload = ?', ('read', f'text {n}'))
    seq, = conn.execute('SELECT message_seq FROM messages WHERE content = ?', (f'text {n}',)).fetchone()
    print(n, seq, flush=True)
";
    let (hub, copy) = first_version();
    let mut command = python();
    command
        .args(["-c", PROGRAM, hub.db().to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut agent = Process::start(command);
    let mut lines = BufReader::new(agent.0.stdout.take().unwrap()).lines();
    let mut written = Vec::new();
    let mut take = |count| {
        let lines = lines.by_ref().take(count).map(|line| line.unwrap());
        written.extend(lines);
        written.len()
    };
    take(20);
    assert!(hub.agenthub(&["path"]).status.success());
    assert_eq!(hub.sql("PRAGMA user_version"), "5");
    // Lines that were written before the migration are in the pipe, which holds fewer than these.
    let in_copy: usize = sqlite3(&copy, "SELECT count(*) FROM messages WHERE from_id = 'snake'")
        .parse()
        .unwrap();
    assert!(in_copy >= 20);
    take(in_copy + 20);
    drop(agent.0.stdin.take());
    let count = take(usize::MAX);
    assert!(agent.0.wait().unwrap().success());

    let expected: Vec<String> = (1..=count).map(|n| format!("{n} {}", n + 2)).collect();
    assert_eq!(written, expected);
    assert_eq!(
        hub.sql(
            "SELECT count(*), max(message_seq) FROM messages WHERE thread_id = 'build'; \
             SELECT count(*) FROM inbox_messages WHERE from_agent = 'snake' AND status = 'read'; \
             SELECT count(*) = max(seq) FROM changes"
        ),
        format!("{0}|{0}\n{count}\n1", count + 2)
    );
    let doctor: Value = serde_json::from_slice(&hub.agenthub(&["doctor", "--json"]).stdout).unwrap();
    let findings = doctor["findings"].as_array().unwrap();
    for check in ["integrity", "schema"] {
        let finding = findings.iter().find(|finding| finding["check"] == check).unwrap();
        assert_eq!(finding["state"], "ok", "{finding}");
    }
}

#[test]
fn changes_nothing_if_the_disk_is_too_full_for_the_copy() {
    let (hub, copy) = first_version();
    let mut command = Command::new("sh");
    // The copy exceeds the maximum size of a file, which is 64 KiB at most; the -shm does not.
    command
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 64; exec \"$@\"",
            "sh",
            crate::support::hub::AGENTHUB,
            "path",
        ])
        .arg("--db")
        .arg(hub.db())
        .env("HOME", hub.folder());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("nothing was changed") && stderr.contains("cannot copy it first"),
        "{stderr}"
    );
    assert_eq!(hub.sql("PRAGMA user_version; SELECT count(*) FROM messages"), "1\n3");
    let mut names: Vec<_> = fs::read_dir(hub.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("before"))
        .collect();
    names.sort();
    assert_eq!(names, Vec::<String>::new());
    assert!(hub.agenthub(&["path"]).status.success());
    assert_eq!(hub.sql("PRAGMA user_version"), "5");
    assert!(copy.exists());
}
