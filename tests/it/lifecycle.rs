//! Start and shutdown of the hub, and failures of the machine: each has an error code, is logged once,
//! and ends when its cause ends.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::eventually::wait_up_to;
use crate::support::writer::{LockHolder, Process, insert_messages, sqlite3};
use crate::support::{TIMEOUT, TestHub, print_line, wait_for};

/// Service managers send SIGKILL if a process does not end soon.
#[test]
fn sigterm_closes_all_clients_stores_acks_and_ends_within_2_s_exclusive() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, content) WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
         FROM k WHERE i < 40) SELECT 'large', 'a', printf('%.*c', 500000, 'x') FROM k;",
    );
    hub.wait_until_synced();
    let mut clients = [
        hub.connect("instance_id=worker"),
        hub.connect("streams=messages"),
        hub.connect("frames=array"),
    ];
    clients[0].subscribe("t", 0);
    clients[0].expect("batch");
    clients[1].expect("hello");
    clients[2].expect("hello");
    // None of these may delay the shutdown: clients whose sockets are full, a client that does not read,
    // a connection without a request, and half a request.
    let full: Vec<_> = (0..5).map(|_| hub.connect("streams=messages&since=0")).collect();
    let mut frozen = hub.connect("streams=inbox&since=0");
    let silent = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    let mut half = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    half.write_all(b"GET /api/status HTTP/1.1\r\nHost: ").unwrap();
    clients[0].ack("t", 3);
    clients[0].assert_alive();

    let (status, took) = hub.stop();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    for client in &mut clients {
        client.expect_error("SHUTTING_DOWN");
        assert_eq!(client.expect_close(), 1001);
    }
    assert_eq!(frozen.expect_close(), 1001);
    assert_eq!(
        sqlite3(
            hub.db(),
            "SELECT last_ack_seq FROM subscriptions WHERE instance_id = 'worker'"
        ),
        "3"
    );
    // The WAL is checkpointed: a copy of the database file alone is complete.
    let wal = hub.folder().join("hub.db-wal");
    assert!(
        !wal.exists() || fs::metadata(&wal).unwrap().len() == 0,
        "the WAL was not checkpointed"
    );
    assert!(!hub.folder().join("hub.db.serve").exists());
    drop((silent, half, full));

    hub.launch();
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", -1);
    assert_eq!(client.expect("batch").seqs(), [4, 5]);
}

#[test]
fn sigint_shuts_down_cleanly() {
    let mut hub = TestHub::start();
    let mut client = hub.connect("");
    client.assert_alive();
    hub.signal(rustix::process::Signal::INT);
    assert_eq!(client.expect_close(), 1001);
    let status = wait_for("the hub to exit", || hub.ended());
    assert!(status.success(), "{status}");
}

#[test]
fn a_busy_port_is_an_error_that_names_address_and_flag() {
    let hub = TestHub::not_started(&[]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let output = hub.agenthub(&["serve", "--listen", &address]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(output.stdout, b"");
    assert!(message.contains(&address) && message.contains("--listen"), "{message}");
    assert!(!hub.folder().join("hub.db.serve").exists());
}

#[test]
fn the_first_line_is_the_url_without_a_secret() {
    for args in [&[][..], &["--json"], &["--no-auth"]] {
        let hub = TestHub::with_args(args);
        let url = format!("http://127.0.0.1:{}/", hub.port());
        if args == ["--json"] {
            let line: Value = serde_json::from_str(hub.first_line()).unwrap();
            assert_eq!(line, json!({"url": url, "db": hub.db().to_str().unwrap()}));
        } else {
            assert_eq!(hub.first_line(), url);
        }
        for secret in [hub.token(), hub.person()] {
            assert_eq!(secret.len(), 64);
            assert!(!hub.log().contains(secret), "a secret is in the log");
        }
    }
}

#[test]
fn port_0_picks_a_free_port() {
    let hub = TestHub::not_started(&[]);
    let mut command = hub.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut process = Process::start({
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    });
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port = line.split(':').nth(2).and_then(|rest| rest.split('/').next()).unwrap();
    assert_ne!(port, "0");
    TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
}

#[test]
fn a_second_serve_prints_the_url_of_the_first_and_exits() {
    let mut hub = TestHub::start();
    let output = hub.agenthub(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), hub.first_line());
    // After a crash the record is stale.
    hub.kill();
    assert!(hub.folder().join("hub.db.serve").exists());
    hub.launch();
    hub.connect("").assert_alive();
    // Another program may listen on the port in the record.
    hub.kill();
    let other = TcpListener::bind(("127.0.0.1", hub.port())).unwrap();
    let responder = std::thread::spawn(move || {
        for stream in other.incoming().take(1) {
            let body = r#"{"status":"ok","run":"another"}"#;
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            drop(stream.and_then(|mut s| s.write_all(text.as_bytes())));
        }
    });
    let output = hub.agenthub(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["hub"], Value::Null);
    responder.join().unwrap();
}

fn state(hub: &TestHub) -> String {
    hub.status()["state"].as_str().unwrap().to_owned()
}

#[test]
fn serve_fails_with_one_line_if_the_database_is_locked_exclusively() {
    let mut hub = TestHub::start();
    hub.kill();
    let holder = LockHolder::take(hub.db(), "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    let output = hub.agenthub(&["serve", "--listen", "127.0.0.1:0"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("lock"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    holder.release();
    hub.launch();
}

#[test]
fn a_locked_database_refuses_writes_serves_reads_and_recovers() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 1));
    let mut client = hub.connect("");
    let holder = LockHolder::take(hub.db(), "BEGIN IMMEDIATE");
    let refused = hub.send(
        "POST",
        "/api/threads/t/messages",
        r#"{"from_id":"tester","content":"x"}"#,
    );
    assert_eq!(
        (refused.status, refused.code()),
        (503, "STORE_LOCKED".into()),
        "{refused:?}"
    );
    assert_eq!(state(&hub), "STORE_LOCKED");
    let error = client.expect_error("STORE_UNAVAILABLE");
    assert_eq!(error.data["temporary"], json!(true));
    // Reads succeed meanwhile.
    assert_eq!(hub.get("/api/threads/t/messages").items().len(), 1);
    client.subscribe("t", 0);
    assert_eq!(client.expect("batch").seqs(), [1]);
    let again = hub.send(
        "POST",
        "/api/threads/t/messages",
        r#"{"from_id":"tester","content":"y"}"#,
    );
    assert_eq!(again.status, 503);
    holder.release();
    wait_for("recovery", || (state(&hub) == "ok").then_some(()));
    assert_eq!(hub.log().matches("STORE_LOCKED").count(), 1, "{}", hub.log());
    hub.wait_for_log("can be written again");
    assert_eq!(
        hub.send(
            "POST",
            "/api/threads/t/messages",
            r#"{"from_id":"tester","content":"z"}"#
        )
        .status,
        201
    );
    assert_eq!(client.expect("message").text("content"), "z");
}

#[test]
fn a_full_disk_refuses_writes_keeps_acks_and_recovers() {
    let hub = TestHub::ignoring_sigxfsz();
    hub.sql(&insert_messages("t", 1, 3));
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", 0);
    client.expect("batch");
    // From now on writes of the hub fail as on a full disk.
    limit_file_size(&hub, Some(0));
    let refused = hub.send(
        "POST",
        "/api/threads/t/messages",
        r#"{"from_id":"tester","content":"x"}"#,
    );
    assert!(refused.status == 507 || refused.status == 503, "{refused:?}");
    let code = refused.code();
    assert!(code.starts_with("STORE_"), "{code}");
    assert_eq!(state(&hub), code);
    client.expect_error("STORE_UNAVAILABLE");
    // Reads succeed, an ack stays in memory, and other processes can write.
    client.ack("t", 2);
    client.assert_alive();
    hub.sql(&insert_messages("t", 4, 1));
    assert_eq!(client.expect("message").seqs(), [4]);
    limit_file_size(&hub, None);
    wait_for("recovery", || (state(&hub) == "ok").then_some(()));
    assert_eq!(hub.log().matches("cannot be written").count(), 1, "{}", hub.log());
    wait_for("the ack in the database", || {
        (hub.sql("SELECT last_ack_seq FROM subscriptions WHERE instance_id = 'worker'") == "2").then_some(())
    });
    assert_eq!(
        hub.send(
            "POST",
            "/api/threads/t/messages",
            r#"{"from_id":"tester","content":"z"}"#
        )
        .status,
        201
    );
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "5");
}

fn limit_file_size(hub: &TestHub, limit: Option<u64>) {
    let limit = limit.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let status = Command::new("prlimit")
        .args([
            &format!("--pid={}", hub.pid().as_raw_nonzero()),
            &format!("--fsize={limit}:unlimited"),
        ])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_corrupt_database_is_reported_at_start_or_by_requests() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 2000));
    let (status, _) = hub.stop();
    assert!(status.success());
    let good = fs::read(hub.db()).unwrap();
    let mut bad = good.clone();
    // All pages except those of the schema.
    for byte in &mut bad[60 * 4096..] {
        *byte = 0x5a;
    }
    fs::write(hub.db(), &bad).unwrap();
    match hub.try_launch() {
        Err(status) => {
            assert_eq!(status.code(), Some(3));
            assert!(
                hub.log().lines().last().unwrap().starts_with("agenthub: "),
                "{}",
                hub.log()
            );
        }
        Ok(()) => {
            let response = hub.get("/api/threads/t/messages?limit=1000");
            assert_eq!((response.status, response.code()), (500, "STORE_CORRUPT".into()));
            hub.kill();
        }
    }
    fs::write(hub.db(), &good).unwrap();
    for suffix in ["-wal", "-shm"] {
        drop(fs::remove_file(hub.folder().join(format!("hub.db{suffix}"))));
    }
    hub.launch();
    assert_eq!(hub.get("/api/threads/t/messages?limit=1000").items().len(), 1000);
}

#[test]
fn a_read_only_database_is_an_error_with_exit_code_3() {
    if rustix::process::geteuid().is_root() {
        // Root can write to any file except on a read-only file system.
        return read_only_file_system();
    }
    let mut hub = TestHub::start();
    hub.kill();
    fs::set_permissions(hub.db(), Permissions::from_mode(0o400)).unwrap();
    let output = hub.agenthub(&["post", "t", "x"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{message}");
    fs::set_permissions(hub.db(), Permissions::from_mode(0o600)).unwrap();
    hub.launch();
}

/// Tests a read-only bind mount, where the system allows one.
fn read_only_file_system() {
    let hub = TestHub::not_started(&[]);
    let (inside, outside) = (hub.folder().join("inside"), hub.folder().join("outside"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    let db = outside.join("hub.db");
    assert!(hub.agenthub(&["--db", db.to_str().unwrap(), "path"]).status.success());
    let script = format!(
        "mount --bind {0} {1} && mount -o remount,ro,bind {1} && exec {2} --db {1}/hub.db post t x",
        outside.display(),
        inside.display(),
        crate::support::hub::AGENTHUB
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    if message.contains("mount:") || message.contains("unshare") {
        print_line("mounting is not permitted: the test of a read-only file system is skipped");
        return;
    }
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn a_database_that_is_moved_away_is_reported_and_replaced_by_a_new_one() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    hub.wait_until_synced();
    let mut client = hub.connect("streams=messages");
    client.expect("hello");
    for suffix in ["", "-wal", "-shm"] {
        fs::rename(
            hub.folder().join(format!("hub.db{suffix}")),
            hub.folder().join(format!("away.db{suffix}")),
        )
        .unwrap();
    }
    wait_for("the error state", || (state(&hub) == "STORE_REPLACED").then_some(()));
    client.expect_error("STORE_UNAVAILABLE");
    // A new database is created, and positions in the old one are lost.
    wait_up_to(TIMEOUT, "recovery", || (state(&hub) == "ok").then_some(()));
    client.expect_error("POSITION_LOST");
    assert_eq!(client.expect_close(), 4010);
    hub.sql(&insert_messages("new", 1, 1));
    assert_eq!(hub.get("/api/threads").items().len(), 1);
    assert_eq!(hub.log().matches("cannot be read").count(), 1, "{}", hub.log());
}
