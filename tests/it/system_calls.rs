//! What the processes ask of the system, seen and cut short with strace.
//!
//! * Crash points: a writer is killed at each of its writes and syncs in turn. What it was
//!   told is stored is stored, and at most one row more.
//! * The lock guard: the database, its `-wal` and its `-shm` are opened by SQLite alone.
//!   Closing any other descriptor of them would drop SQLite's locks.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::hub::AGENTHUB;
use crate::support::writer::{Process, insert_messages, python, script, sqlite3};
use crate::support::{Client, TestHub, gate, http, say, within};

/// The calls that change a file. SQLite uses no others.
const CALLS: [&str; 5] = ["pwrite64", "fdatasync", "fsync", "ftruncate", "unlink"];
/// Rows a writer writes before it ends by itself.
const ROWS: usize = 6;

/// Runs `command` so that the `n`th `call` is its last. Whether it got that far.
fn dies_at(call: &str, n: usize, command: &Command) -> (bool, String) {
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=SIGKILL:when={n}")])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    let output = strace.output().unwrap();
    // strace ends as its child does.
    let killed = !output.status.success();
    (killed, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Kills a writer at every call in turn. `writer` makes one with a name, `acked` reads what
/// it printed. Returns how many points there were of each call.
fn sweep(
    db: &Path,
    writer: impl Fn(&str) -> Command,
    acked: impl Fn(&str) -> usize,
    rows: usize,
) -> BTreeMap<&'static str, usize> {
    let mut points = BTreeMap::new();
    for call in CALLS {
        for n in 1.. {
            let name = format!("{call}.{n}");
            let (killed, printed) = dies_at(call, n, &writer(&name));
            let acked = acked(&printed);
            let stored: usize = sqlite3(db, &format!("SELECT count(*) FROM messages WHERE from_id = '{name}'"))
                .parse()
                .unwrap();
            assert!(
                stored == acked || (killed && stored == acked + 1),
                "killed at {call} number {n}: {acked} acknowledged, {stored} stored"
            );
            if !killed {
                assert_eq!(stored, rows);
                break;
            }
            *points.entry(call).or_default() += 1;
        }
    }
    assert_eq!(sqlite3(db, "PRAGMA integrity_check"), "ok");
    assert_eq!(
        sqlite3(
            db,
            "SELECT count(*) = max(message_seq) FROM messages WHERE thread_id = 't'"
        ),
        "1"
    );
    assert_eq!(sqlite3(db, "SELECT count(*) = max(seq) FROM changes"), "1");
    points
}

/// Without it there could be a moment at which a crash takes a row along.
#[test]
fn there_is_no_moment_at_which_a_crash_takes_a_stored_row_along() {
    let _alone = gate::alone();
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for synchronous in ["NORMAL", "FULL"] {
            let found = &found;
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let db = folder.path().join("hub.db");
                made(&db);
                let writer = |name: &str| {
                    let mut command = python();
                    let rows = ROWS.to_string();
                    command
                        .arg(script("crash_writer.py"))
                        .arg(&db)
                        .args([name, &rows, synchronous]);
                    command
                };
                let points = sweep(&db, writer, |printed| printed.lines().count(), ROWS);
                found.lock().unwrap().insert(synchronous, points);
            });
        }
        // Our own writer, which queues for the lock and checkpoints when it is done.
        let found = &found;
        scope.spawn(move || {
            let folder = tempfile::tempdir().unwrap();
            let db = folder.path().join("hub.db");
            made(&db);
            let writer = |name: &str| {
                let mut command = Command::new(AGENTHUB);
                command
                    .arg("--db")
                    .arg(&db)
                    .args(["post", "t", "text", "--from", name, "--json"]);
                command
            };
            let acked = |printed: &str| usize::from(printed.contains("message_seq"));
            let points = sweep(&db, writer, acked, 1);
            found.lock().unwrap().insert("agenthub post", points);
        });
    });
    let found = found.into_inner().unwrap();
    say(&format!("crash points: {found:?}"));
    for (writer, points) in found {
        let syncs = ["fsync", "fdatasync"]
            .iter()
            .filter_map(|call| points.get(call))
            .sum::<usize>();
        assert!(points["pwrite64"] > 5 && syncs > 0, "{writer}: {points:?}");
    }
}

/// Makes the file.
fn made(db: &Path) {
    let output = Command::new(AGENTHUB).arg("--db").arg(db).arg("path").output().unwrap();
    assert!(output.status.success());
}

/// Every `open` of the database's files that strace has seen.
fn opens(trace: &str) -> Vec<&str> {
    let files = ["hub.db\"", "hub.db-wal\"", "hub.db-shm\""];
    let of_ours = |line: &&str| files.iter().any(|file| line.contains(file));
    trace
        .lines()
        .filter(of_ours)
        .filter(|line| !line.contains("ENOENT"))
        .collect()
}

/// Without it one careless read of the file would silently cost rows.
#[test]
fn nothing_opens_the_database_but_sqlite() {
    let hub = TestHub::asleep(&[]);
    let trace = hub.folder().join("trace");
    let traced = |args: &[&str], name: &str| {
        let plain = hub.command(args);
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qqq", "-e", "trace=open,openat,openat2,creat", "-o"])
            .arg(trace.with_extension(name))
            .arg(plain.get_program())
            .args(plain.get_args())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(hub.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let port = crate::support::hub::free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut server = Process::start(traced(&["serve", "--listen", &listen], "serve"));
    within("the hub", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    // The hub is followed, asked, written through, and its file is another one for a moment.
    let token = std::fs::read_to_string(hub.folder().join("hub.db.token")).unwrap();
    let mut client = Client::connect(port, token.trim(), "streams=messages");
    client.expect("hello");
    hub.sql(&insert_messages("t", 1, 50));
    assert_eq!(client.messages_until(50).len(), 50);
    let headers = [
        ("Host", format!("127.0.0.1:{port}")),
        ("Authorization", format!("Bearer {}", token.trim())),
        ("Content-Type", "application/json".into()),
    ];
    for (method, path, body) in [
        ("GET", "/api/status", ""),
        ("GET", "/api/search?q=text", ""),
        ("GET", "/metrics", ""),
        ("POST", "/api/threads/t/messages", r#"{"content":"x"}"#),
    ] {
        assert!(http::request(port, method, path, &headers, body).status < 300, "{path}");
    }
    let away = hub.folder().join("away.db");
    std::fs::rename(hub.db(), &away).unwrap();
    client.until("error");
    std::fs::rename(&away, hub.db()).unwrap();
    within("the hub to be well", || {
        let answer = http::request(port, "GET", "/api/status", &headers, "");
        (answer.json()["state"] == "ok").then_some(())
    });
    let copy = hub.folder().join("copy.db");
    let commands: &[&[&str]] = &[
        &["path"],
        &["status"],
        &["post", "t", "x"],
        &["send", "human", "x"],
        &["inbox", "human"],
        &["search", "text"],
        &["doctor"],
        &["backup", copy.to_str().unwrap()],
        &["prune", "--older-than", "1d"],
        &["threads"],
        &["agents"],
        &["read", "1"],
        &["ack", "1"],
        &["reply", "1", "x"],
        &["trace", "1"],
        &["token"],
        &["schema"],
    ];
    for args in commands {
        let status = traced(args, args[0]).status().unwrap();
        assert!(status.success(), "{args:?}: {status}");
    }
    // These may have something to say against their empty input; they open the file all the same.
    let others: &[&[&str]] = &[
        &["inbox", "human", "--as", "x", "--wait", "0.3"],
        &["mcp"],
        &["hook", "claude-code"],
        &["ingest", "--format", "codex-json"],
    ];
    for args in others {
        traced(args, args[0]).status().unwrap();
    }
    // strace ends when the hub does.
    let strace = server.0.id();
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    let hubs_pid = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    kill_process(hubs_pid, Signal::TERM).unwrap();
    assert!(within("the hub's end", || server.0.try_wait().unwrap()).success());
    drop(client);
    let mut seen = 0;
    for name in commands.iter().chain(others).map(|args| args[0]).chain(["serve"]) {
        let text = std::fs::read_to_string(trace.with_extension(name)).unwrap();
        for line in opens(&text) {
            // SQLite's own mark: no other open in Rust's library has it.
            assert!(line.contains("O_NOFOLLOW"), "{name}: not opened by SQLite: {line}");
            seen += 1;
        }
    }
    assert!(seen > 2 * commands.len(), "only {seen} opens were seen");
}
