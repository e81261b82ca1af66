//! What the processes ask of the system, seen and cut short with strace.
//!
//! * Crash points: a writer, a hub that writes, and its keeper are killed at each of their
//!   writes and syncs in turn. What was said to be stored is stored, and at most one row more.
//! * The lock guard: the database, its `-wal` and its `-shm` are opened by SQLite alone.
//!   Closing any other descriptor of them would drop SQLite's locks.

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
use crate::support::{Client, TestHub, gate, http, print_line, within};

/// The calls that change a file. SQLite uses no others.
const CALLS: [&str; 5] = ["pwrite64", "fdatasync", "fsync", "ftruncate", "unlink"];
/// Rows a writer writes before it ends by itself.
const ROWS: usize = 6;
/// Rows a hub is sent before it is told to end.
const HUB_ROWS: usize = 2;

/// A point at which a process dies: the `n`th `call`, of one thread, that is about `file`.
#[derive(Clone, Copy)]
struct Point<'a> {
    call: &'a str,
    n: usize,
    file: Option<&'a Path>,
}

/// `command`, to die at this point.
fn dying(point: Point<'_>, command: &Command) -> Command {
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

/// Runs a writer until it dies or ends: whether it died, and what it printed.
fn dies_at(point: Point<'_>, command: &Command) -> (bool, String) {
    let output = dying(point, command).output().unwrap();
    // strace ends as its child does.
    let killed = !output.status.success();
    (killed, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Has a hub write rows until it dies or is told to end: whether it died, and how many rows it
/// said are stored.
fn hub_dies_at(point: Point<'_>, db: &Path, name: &str) -> (bool, usize) {
    let port = crate::support::hub::free_port();
    let mut hub = Command::new(AGENTHUB);
    hub.arg("--db").arg(db);
    hub.args(["serve", "--no-auth", "--listen", &format!("127.0.0.1:{port}")]);
    let mut strace = dying(point, &hub);
    strace.stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(strace);
    let strace = process.0.id();
    within("the hub, or its end", || {
        let ended = process.0.try_wait().unwrap().is_some();
        (ended || TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(())
    });
    let moved = || std::fs::metadata(db).and_then(|meta| meta.modified()).ok();
    let before = moved();
    let acked = (0..HUB_ROWS).take_while(|_| is_stored(port, name)).count();
    if point.file == Some(db) {
        // The keeper takes its time.
        within("the keeper, or the hub's end", || {
            let ended = process.0.try_wait().unwrap().is_some();
            (ended || moved() != before).then_some(())
        });
    }
    // strace waits for its child: until then the number is that of no other process.
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap_or_default();
    if let Some(pid) = children.trim().parse().ok().and_then(Pid::from_raw) {
        // It may have died in this very moment.
        let _ = kill_process(pid, Signal::TERM);
    }
    let status = within("the hub's end", || process.0.try_wait().unwrap());
    (!status.success(), acked)
}

/// Posts a row to a hub that may die meanwhile. Whether it says that the row is stored.
fn is_stored(port: u16, name: &str) -> bool {
    let body = format!(r#"{{"content":"text","from_id":"{name}"}}"#);
    let request = format!(
        "POST /api/threads/t/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        // It breaks off where the hub dies.
        drop(stream.write_all(request.as_bytes()));
        drop(stream.read_to_end(&mut answer));
    }
    answer.starts_with(b"HTTP/1.1 201 ")
}

/// Kills a writer at every call in turn, of those about `file` or of all. `run` runs one until
/// it dies or ends: whether it died, and how many rows it was told are stored. Returns how
/// many points there were of each call.
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
                let run = |point: Point<'_>, name: &str| {
                    let (killed, printed) = dies_at(point, &writer(name));
                    (killed, printed.lines().count())
                };
                let points = sweep(&db, None, run, ROWS);
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
            let run = |point: Point<'_>, name: &str| {
                let (killed, printed) = dies_at(point, &writer(name));
                (killed, usize::from(printed.contains("message_seq")))
            };
            let points = sweep(&db, None, run, 1);
            found.lock().unwrap().insert("agenthub post", points);
        });
        // A hub: while it writes rows, and while its keeper moves them into the database.
        scope.spawn(move || {
            let folder = tempfile::tempdir().unwrap();
            let db = folder.path().join("hub.db");
            made(&db);
            let log = db.with_extension("db-wal");
            for (writer, file) in [("hub", &log), ("keeper", &db)] {
                let run = |point: Point<'_>, name: &str| hub_dies_at(point, &db, name);
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
        let written = points.get("pwrite64").copied().unwrap_or(0);
        assert!(written > 5 && syncs > 0, "{writer}: {points:?}");
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
    within("the hub", || TcpStream::connect(("127.0.0.1", port)).ok());
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
