//! Crash safety and locking, tested at the level of system calls with strace.
//!
//! * Crash points: a writer, the writer thread of a hub and its maintenance thread are killed at each
//!   of their writes and syncs in turn. All acknowledged rows are stored, and at most one more.
//! * Locks: only SQLite opens the database, its `-wal` and its `-shm`. Closing any other descriptor of
//!   them would drop SQLite's locks.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::hub::AGENTHUB;
use crate::support::writer::{Process, insert_messages, python, script, sqlite3};
use crate::support::{Client, TestHub, http, print_line, wait_for};

/// The system calls with which SQLite changes files.
const CALLS: [&str; 5] = ["pwrite64", "fdatasync", "fsync", "ftruncate", "unlink"];
/// Number of rows that a writer writes before it ends.
const ROWS: usize = 6;
/// Number of rows posted to a hub before it is stopped.
const HUB_ROWS: usize = 2;

/// A point at which a process is killed: the `n`th `call` of one thread on `file`, or on any file.
#[derive(Clone, Copy)]
struct Point<'a> {
    call: &'a str,
    n: usize,
    file: Option<&'a Path>,
}

/// Wraps `command` so that strace kills it at `point`.
fn killed_at(point: Point<'_>, command: &Command) -> Command {
    let Point { call, n, file } = point;
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=SIGKILL:when={n}")]);
    if let Some(file) = file {
        strace.arg("-P").arg(file);
    }
    strace
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace
}

/// Runs a writer until it is killed or ends. Returns whether it was killed, and what it printed.
fn run_writer(point: Point<'_>, command: &Command) -> (bool, String) {
    let output = killed_at(point, command).output().unwrap();
    // strace has the exit status of its child.
    let killed = !output.status.success();
    (killed, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Posts rows to a hub until it is killed or stopped. Returns whether it was killed, and how many rows
/// it acknowledged.
fn run_hub(point: Point<'_>, db: &Path, name: &str) -> (bool, usize) {
    let port = crate::support::hub::free_port();
    let mut hub = Command::new(AGENTHUB);
    hub.arg("--db").arg(db);
    hub.args(["serve", "--no-auth", "--listen", &format!("127.0.0.1:{port}")]);
    let mut strace = killed_at(point, &hub);
    strace.stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(strace);
    let strace = process.0.id();
    wait_for("the hub to start or exit", || {
        let ended = process.0.try_wait().unwrap().is_some();
        (ended || TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(())
    });
    let modified = || std::fs::metadata(db).and_then(|meta| meta.modified()).ok();
    let before = modified();
    let acked = (0..HUB_ROWS).take_while(|_| is_stored(port, name)).count();
    if point.file == Some(db) {
        // The maintenance thread checkpoints later.
        wait_for("a checkpoint, or the hub to exit", || {
            let ended = process.0.try_wait().unwrap().is_some();
            (ended || modified() != before).then_some(())
        });
    }
    // The pid cannot be reused before strace has waited for its child.
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap_or_default();
    if let Some(pid) = children.trim().parse().ok().and_then(Pid::from_raw) {
        // The hub may be killed at the same moment.
        let _ = kill_process(pid, Signal::TERM);
    }
    let status = wait_for("the hub to exit", || process.0.try_wait().unwrap());
    (!status.success(), acked)
}

/// Posts a row to a hub that may be killed meanwhile. Returns whether the hub acknowledged it.
fn is_stored(port: u16, name: &str) -> bool {
    let body = format!(r#"{{"content":"text","from_id":"{name}"}}"#);
    let request = format!(
        "POST /api/threads/t/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        // The connection breaks when the hub is killed.
        drop(stream.write_all(request.as_bytes()));
        drop(stream.read_to_end(&mut answer));
    }
    answer.starts_with(b"HTTP/1.1 201 ")
}

/// Kills a writer at each call in turn, on `file` or on any file. `run` runs one writer and returns
/// whether it was killed and how many rows were acknowledged. Returns the number of crash points per
/// call.
fn sweep(
    db: &Path,
    file: Option<&Path>,
    run: impl Fn(Point<'_>, &str) -> (bool, usize),
    rows: usize,
) -> BTreeMap<&'static str, usize> {
    let mut points = BTreeMap::new();
    for call in CALLS {
        for n in 1.. {
            let of = file.and_then(Path::extension).unwrap_or_default().to_string_lossy();
            let name = format!("{call}.{n}.{of}");
            let (killed, acked) = run(Point { call, n, file }, &name);
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

#[test]
fn loses_no_acknowledged_row_at_any_crash_point_exclusive() {
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for synchronous in ["NORMAL", "FULL"] {
            let found = &found;
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let db = folder.path().join("hub.db");
                create(&db);
                let writer = |name: &str| {
                    let mut command = python();
                    let rows = ROWS.to_string();
                    command
                        .arg(script("crash_writer.py"))
                        .arg(&db)
                        .args([name, &rows, synchronous]);
                    command
                };
                let run = |point: Point<'_>, name: &str| {
                    let (killed, printed) = run_writer(point, &writer(name));
                    (killed, printed.lines().count())
                };
                let points = sweep(&db, None, run, ROWS);
                found.lock().unwrap().insert(synchronous, points);
            });
        }
        // `agenthub post`, which waits for the lock with its own busy handler and checkpoints on close.
        let found = &found;
        scope.spawn(move || {
            let folder = tempfile::tempdir().unwrap();
            let db = folder.path().join("hub.db");
            create(&db);
            let writer = |name: &str| {
                let mut command = Command::new(AGENTHUB);
                command
                    .arg("--db")
                    .arg(&db)
                    .args(["post", "t", "text", "--from", name, "--json"]);
                command
            };
            let run = |point: Point<'_>, name: &str| {
                let (killed, printed) = run_writer(point, &writer(name));
                (killed, usize::from(printed.contains("message_seq")))
            };
            let points = sweep(&db, None, run, 1);
            found.lock().unwrap().insert("agenthub post", points);
        });
        // A hub: its writer thread writes the WAL, its maintenance thread the database.
        scope.spawn(move || {
            let folder = tempfile::tempdir().unwrap();
            let db = folder.path().join("hub.db");
            create(&db);
            let wal = db.with_extension("db-wal");
            for (writer, file) in [("hub, WAL", &wal), ("hub, database", &db)] {
                let run = |point: Point<'_>, name: &str| run_hub(point, &db, name);
                let points = sweep(&db, Some(file), run, HUB_ROWS);
                found.lock().unwrap().insert(writer, points);
            }
        });
    });
    let found = found.into_inner().unwrap();
    print_line(&format!("crash points: {found:?}"));
    for (writer, points) in found {
        let syncs = ["fsync", "fdatasync"]
            .iter()
            .filter_map(|call| points.get(call))
            .sum::<usize>();
        let writes = points.get("pwrite64").copied().unwrap_or(0);
        assert!(writes > 0 && syncs > 0, "{writer} was never killed: {points:?}");
    }
}

/// Creates the database.
fn create(db: &Path) {
    let output = Command::new(AGENTHUB).arg("--db").arg(db).arg("path").output().unwrap();
    assert!(output.status.success());
}

/// Returns the lines of a trace that open the database, its `-wal` or its `-shm`.
fn opens(trace: &str) -> Vec<&str> {
    let files = ["hub.db\"", "hub.db-wal\"", "hub.db-shm\""];
    let of_database = |line: &&str| files.iter().any(|file| line.contains(file));
    trace
        .lines()
        .filter(of_database)
        .filter(|line| !line.contains("ENOENT"))
        .collect()
}

#[test]
fn only_sqlite_opens_the_database() {
    let hub = TestHub::not_started(&[]);
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
    wait_for("the hub", || TcpStream::connect(("127.0.0.1", port)).ok());
    // Uses the hub in all ways, and moves its database away for a moment.
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
        (
            "POST",
            "/api/threads/t/messages",
            r#"{"from_id":"tester","content":"x"}"#,
        ),
    ] {
        assert!(http::request(port, method, path, &headers, body).status < 300, "{path}");
    }
    let away = hub.folder().join("away.db");
    std::fs::rename(hub.db(), &away).unwrap();
    client.until("error");
    std::fs::rename(&away, hub.db()).unwrap();
    wait_for("the database to work again", || {
        let response = http::request(port, "GET", "/api/status", &headers, "");
        (response.json()["state"] == "ok").then_some(())
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
    // These may fail with empty input, but open the database before that.
    let others: &[&[&str]] = &[
        &["inbox", "human", "--as", "x", "--wait", "0.3"],
        &["mcp"],
        &["hook", "claude-code"],
        &["ingest", "--format", "codex-json"],
    ];
    for args in others {
        traced(args, args[0]).status().unwrap();
    }
    // strace ends with the hub.
    let strace = server.0.id();
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    let hub_pid = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    kill_process(hub_pid, Signal::TERM).unwrap();
    assert!(wait_for("the hub to exit", || server.0.try_wait().unwrap()).success());
    drop(client);
    let mut seen = 0;
    for name in commands.iter().chain(others).map(|args| args[0]).chain(["serve"]) {
        let text = std::fs::read_to_string(trace.with_extension(name)).unwrap();
        for line in opens(&text) {
            // SQLite opens its files with this flag; Rust's standard library does not use it.
            assert!(line.contains("O_NOFOLLOW"), "{name}: not opened by SQLite: {line}");
            seen += 1;
        }
    }
    assert!(seen > 2 * commands.len(), "only {seen} opens were seen");
}
