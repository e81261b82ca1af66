//! Unusual deployments: several hubs on one file, symbolic links, other addresses, a closed stderr, a
//! shutdown under load, files that are not databases.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::eventually::wait_up_to;
use crate::support::hub::{AGENTHUB, free_port, read_secret};
use crate::support::writer::{LockHolder, Process, insert_messages, python_run, sqlite3};
use crate::support::{TIMEOUT, TestHub, http, wait_for};

/// Runs a `serve` command and returns the process and its first line.
#[track_caller]
fn serve(mut command: Command) -> (Process, String) {
    let mut process = Process::start({
        command.stdout(Stdio::piped());
        command
    });
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (process, line.trim().to_owned())
}

/// A closed stderr must not stop the delivery of messages.
#[test]
fn delivers_when_stderr_is_closed() {
    let hub = TestHub::not_started(&[]);
    let port = free_port();
    let mut command = hub.command(&["serve", "--listen", &format!("127.0.0.1:{port}")]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(command);
    drop(process.0.stderr.take());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("http://"), "{line}");
    let mut client = crate::support::Client::connect(port, &read_secret(hub.db(), "token"), "");
    client.subscribe("t", 0);
    client.expect("batch");
    // Something that is logged: the database is missing for a moment.
    hub.sql(&insert_messages("t", 1, 1));
    client.expect("message");
    let away = hub.folder().join("away.db");
    fs::rename(hub.db(), &away).unwrap();
    client.expect_error("STORE_UNAVAILABLE");
    fs::rename(&away, hub.db()).unwrap();
    hub.sql(&insert_messages("t", 2, 1));
    assert_eq!(client.until("message").seqs(), [2]);
}

/// A client that is still receiving many rows must not delay the shutdown.
#[test]
fn shuts_down_in_the_middle_of_a_large_delivery_exclusive() {
    let mut hub = TestHub::start();
    let mut client = hub.connect("streams=messages&frames=array");
    client.expect("hello");
    hub.sql(&insert_messages("t", 1, 150_000));
    // The delivery has begun and is far from its end.
    client.expect("message");
    let (status, took) = hub.stop();
    assert!(status.success());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Acks are stored up to 100 ms later, but apply immediately: a client that acknowledges and
/// reconnects gets no message again, also while the database cannot be written.
#[test]
fn acks_apply_to_a_reconnecting_client_before_they_are_stored() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 100));
    for seq in 1..=99 {
        let mut client = hub.connect("instance_id=worker");
        client.subscribe("t", 99);
        client.expect("batch");
        client.ack("t", seq);
        client.assert_alive();
        let mut again = hub.connect("instance_id=worker");
        again.subscribe("t", -1);
        assert_eq!(again.expect("batch").seqs().first(), Some(&(seq + 1)));
    }
    // Subscribing takes no write lock.
    let holder = LockHolder::take(hub.db(), "BEGIN IMMEDIATE");
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", -1);
    assert_eq!(client.until("batch").seqs(), [100]);
    holder.release();
}

/// Hubs that start on one database at the same time must not all serve it.
#[test]
fn one_of_several_hubs_started_at_once_serves() {
    for _ in 0..4 {
        let hub = TestHub::not_started(&[]);
        let started: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| serve(hub.command(&["serve", "--listen", "127.0.0.1:0"]))))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let urls: Vec<&str> = started.iter().map(|(_, line)| line.as_str()).collect();
        assert!(
            urls[0].starts_with("http://127.0.0.1:") && urls.iter().all(|url| *url == urls[0]),
            "{urls:?}"
        );
        let mut started = started;
        let mut running = || {
            started
                .iter_mut()
                .filter_map(|(p, _)| p.0.try_wait().unwrap().is_none().then_some(()))
                .count()
        };
        wait_for("all but one to exit", || (running() == 1).then_some(()));
    }
}

/// A database opened through a symbolic link has the same hub and the same token.
#[test]
fn follows_a_symbolic_link_to_the_database() {
    let hub = TestHub::start();
    let elsewhere = hub.folder().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let link = elsewhere.join("link.db");
    std::os::unix::fs::symlink(hub.db(), &link).unwrap();
    let output = hub.agenthub(&["--db", link.to_str().unwrap(), "path"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        hub.db().to_str().unwrap()
    );
    let (_, line) = serve(hub.command(&["--db", link.to_str().unwrap(), "serve", "--listen", "127.0.0.1:0"]));
    assert_eq!(line, hub.first_line());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
}

/// The hub must accept the URL that it prints.
#[test]
fn every_printed_url_works() {
    for listen in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::]"] {
        let hub = TestHub::not_started(&[]);
        let port = free_port();
        let (_process, line) = serve(hub.command(&["serve", "--listen", &format!("{listen}:{port}")]));
        if line.is_empty() && listen.contains(':') {
            // This machine has no IPv6.
            continue;
        }
        let host = line
            .strip_prefix("http://")
            .and_then(|url| url.strip_suffix('/'))
            .unwrap_or_else(|| panic!("{listen}: {line:?}"));
        let bearer = format!("Bearer {}", read_secret(hub.db(), "token"));
        let headers = [("Host", host), ("Authorization", bearer.as_str())];
        for path in ["/", "/api/status"] {
            let stream = std::net::TcpStream::connect(host).unwrap_or_else(|e| panic!("{host}: {e}"));
            let response = http::request_on(stream, "GET", path, &headers, "");
            assert_eq!(response.status, 200, "{listen} {path}: {response:?}");
        }
    }
}

/// Opening another program's database must not change it or its write-ahead log.
#[test]
fn leaves_another_programs_database_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("other.db");
    // A killed program leaves a write-ahead log that is not checkpointed.
    python_run(
        "import os, sqlite3, sys\n\
         db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         db.execute('PRAGMA journal_mode=WAL'); db.execute('CREATE TABLE t(x)')\n\
         db.execute('INSERT INTO t VALUES(1)')\nos._exit(0)",
        &[db.to_str().unwrap()],
    );
    let wal = folder.path().join("other.db-wal");
    let before = (fs::read(&db).unwrap(), fs::read(&wal).unwrap());
    for command in [&["path"][..], &["threads"], &["serve", "--listen", "127.0.0.1:0"]] {
        let output = Command::new(AGENTHUB)
            .arg("--db")
            .arg(&db)
            .args(command)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{command:?}");
    }
    assert!(before == (fs::read(&db).unwrap(), fs::read(&wal).unwrap()));
    assert_eq!(sqlite3(&db, "SELECT x FROM t"), "1");
}

/// `--db` with a device must not change the device's mode.
#[test]
fn refuses_a_database_that_is_not_a_regular_file() {
    let output = Command::new(AGENTHUB)
        .args(["--db", "/dev/null", "path"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("not a regular file"), "{stderr}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata("/dev/null").unwrap().permissions());
    assert_eq!(mode & 0o777, 0o666);
}

/// Names that are not UTF-8 are shown with replacement characters, but must not be mixed up.
#[test]
fn threads_with_invalid_utf8_names_stay_separate() {
    let hub = TestHub::start();
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, content) VALUES(CAST(x'ff' AS TEXT), 'a', 'one'), \
         (CAST(x'fe' AS TEXT), 'a', 'two'), (char(65533), 'a', 'three'), (CAST(x'ff' AS TEXT), 'a', 'four');",
    );
    let mut client = hub.connect("");
    client.subscribe("\u{fffd}", 0);
    let batch = client.expect("batch");
    assert_eq!(
        (batch.seqs(), &batch.messages()[0]["content"]),
        (vec![1], &json!("three"))
    );
    let mut stream = hub.connect("streams=messages&since=0");
    let mut threads = std::collections::BTreeMap::<String, Vec<i64>>::new();
    for message in wait_up_to(TIMEOUT, "four messages", || {
        let mut all = Vec::new();
        while all.len() < 4 {
            all.extend(stream.next().messages());
        }
        Some(all)
    }) {
        let thread = message["thread_id"].as_str().unwrap().to_owned();
        threads
            .entry(thread)
            .or_default()
            .push(message["message_seq"].as_i64().unwrap());
    }
    let mut numbers: Vec<_> = threads.into_values().collect();
    numbers.sort();
    assert_eq!(numbers, [vec![1], vec![1], vec![1, 2]]);
    // A new row in one of them is not the next row of another.
    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES(CAST(x'fe' AS TEXT), 'a')");
    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES(char(65533), 'a')");
    assert_eq!(client.expect("message").seqs(), [2]);
}
