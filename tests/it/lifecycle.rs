//! Start, end, and what can be wrong with the machine: every trouble has a name, is said
//! once, and passes when its cause does.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::eventually::within_time;
use crate::support::writer::{LockHolder, Process, insert_messages, sqlite3};
use crate::support::{TIMEOUT, TestHub, print_line, within};

/// Without it clients would not know why they were cut off, acks would be lost, or a
/// service manager would have to use force.
#[test]
fn sigterm_tells_everybody_keeps_the_acks_and_ends_within_two_seconds_exclusive() {
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
    // Clients whose sockets are full, one that has stopped reading, a connection that says
    // nothing, half a request: nobody may hold up the end.
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
    // All is in the database itself: a copy of the one file is a backup now.
    let wal = hub.folder().join("hub.db-wal");
    assert!(
        !wal.exists() || fs::metadata(&wal).unwrap().len() == 0,
        "the log was not moved into the database"
    );
    assert!(!hub.folder().join("hub.db.serve").exists());
    drop((silent, half, full));

    hub.launch();
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", -1);
    assert_eq!(client.expect("batch").seqs(), [4, 5]);
}

/// Without it Ctrl-C would end the hub as a crash does.
#[test]
fn sigint_is_the_same() {
    let mut hub = TestHub::start();
    let mut client = hub.connect("");
    client.assert_alive();
    hub.signal(rustix::process::Signal::INT);
    assert_eq!(client.expect_close(), 1001);
    let status = within("the hub's end", || hub.ended());
    assert!(status.success(), "{status}");
}

/// Without it two programs on one port would be a puzzle.
#[test]
fn a_busy_port_is_an_error_that_says_what_to_do() {
    let hub = TestHub::not_started(&[]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let output = hub.agenthub(&["serve", "--listen", &address]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(output.stdout, b"");
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
    assert!(!hub.folder().join("hub.db.serve").exists());
}

/// Without it nobody could find the hub they just started.
#[test]
fn the_first_line_is_the_dashboards_url() {
    let hub = TestHub::with_args(&["--json"]);
    let line: Value = serde_json::from_str(hub.first_line()).unwrap();
    let url = line["url"].as_str().unwrap();
    assert!(
        url.starts_with(&format!("http://127.0.0.1:{}/#token=", hub.port())),
        "{url}"
    );
    assert_eq!(line["db"], json!(hub.db().to_str().unwrap()));
    let token = fs::read_to_string(hub.folder().join("hub.db.token")).unwrap();
    assert!(url.ends_with(&format!("#token={}", token.trim_end())) && token.trim_end().len() == 64);
    assert!(!hub.log().contains(token.trim_end()), "the token is in the log");
}

/// Without it a free port could not be asked for.
#[test]
fn port_zero_takes_a_free_one() {
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

/// Without it a second hub on the same file would push everything twice, or fight for acks.
#[test]
fn a_second_serve_prints_the_firsts_url_and_goes() {
    let mut hub = TestHub::start();
    let output = hub.agenthub(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), hub.first_line());
    // Not if the first one was killed: its record is stale then.
    hub.kill();
    assert!(hub.folder().join("hub.db.serve").exists());
    hub.launch();
    hub.connect("").assert_alive();
    // Nor if another program has its port now.
    hub.kill();
    let other = TcpListener::bind(("127.0.0.1", hub.port())).unwrap();
    let answers = std::thread::spawn(move || {
        for stream in other.incoming().take(1) {
            let body = r#"{"status":"ok","run":"another"}"#;
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            drop(stream.and_then(|mut s| s.write_all(text.as_bytes())));
        }
    });
    let output = hub.agenthub(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["hub"], Value::Null);
    answers.join().unwrap();
}

fn state(hub: &TestHub) -> String {
    hub.status()["state"].as_str().unwrap().to_owned()
}

/// Without it a hub could be kept from starting by a program that will never let go, and
/// nobody would know which file it is about.
#[test]
fn a_file_locked_by_another_is_named_at_the_start() {
    let mut hub = TestHub::start();
    hub.kill();
    let holder = LockHolder::take(hub.db(), "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    let output = hub.agenthub(&["serve", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("lock"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    holder.release();
    hub.launch();
}

/// Without it a write would hang or vanish while another program holds the lock, reading
/// would stop, or the trouble would never be over.
#[test]
fn a_lock_held_by_another_is_named_once_and_passes() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 1));
    let mut client = hub.connect("");
    let holder = LockHolder::take(hub.db(), "BEGIN IMMEDIATE");
    let refused = hub.send("POST", "/api/threads/t/messages", r#"{"content":"x"}"#);
    assert_eq!(
        (refused.status, refused.code()),
        (503, "STORE_LOCKED".into()),
        "{refused:?}"
    );
    assert_eq!(state(&hub), "STORE_LOCKED");
    let error = client.expect_error("STORE_UNAVAILABLE");
    assert_eq!(error.data["temporary"], json!(true));
    // ReadContext goes on meanwhile.
    assert_eq!(hub.get("/api/threads/t/messages").items().len(), 1);
    client.subscribe("t", 0);
    assert_eq!(client.expect("batch").seqs(), [1]);
    let again = hub.send("POST", "/api/threads/t/messages", r#"{"content":"y"}"#);
    assert_eq!(again.status, 503);
    holder.release();
    within("the end of the trouble", || (state(&hub) == "ok").then_some(()));
    assert_eq!(hub.log().matches("STORE_LOCKED").count(), 1, "{}", hub.log());
    hub.wait_for_log("can be written again");
    assert_eq!(
        hub.send("POST", "/api/threads/t/messages", r#"{"content":"z"}"#).status,
        201
    );
    assert_eq!(client.expect("message").text("content"), "z");
}

/// Without it a full disk would lose what clients were told is stored, or need a restart.
#[test]
fn a_full_disk_is_named_once_and_passes() {
    let hub = TestHub::ignoring_sigxfsz();
    hub.sql(&insert_messages("t", 1, 3));
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", 0);
    client.expect("batch");
    // No file of the hub's may grow any more: to it the disk is full.
    limit_file_size(&hub, Some(0));
    let refused = hub.send("POST", "/api/threads/t/messages", r#"{"content":"x"}"#);
    assert!(refused.status == 507 || refused.status == 503, "{refused:?}");
    let code = refused.code();
    assert!(code.starts_with("STORE_"), "{code}");
    assert_eq!(state(&hub), code);
    client.expect_error("STORE_UNAVAILABLE");
    // ReadContext goes on; an ack waits in memory for better times; others still can write.
    client.ack("t", 2);
    client.assert_alive();
    hub.sql(&insert_messages("t", 4, 1));
    assert_eq!(client.expect("message").seqs(), [4]);
    limit_file_size(&hub, None);
    within("the end of the trouble", || (state(&hub) == "ok").then_some(()));
    assert_eq!(hub.log().matches("cannot be written").count(), 1, "{}", hub.log());
    within("the ack in the file", || {
        (hub.sql("SELECT last_ack_seq FROM subscriptions WHERE instance_id = 'worker'") == "2").then_some(())
    });
    assert_eq!(
        hub.send("POST", "/api/threads/t/messages", r#"{"content":"z"}"#).status,
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

/// Without it a damaged file would be an unexplained silence.
#[test]
fn a_corrupt_file_is_named() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 2000));
    let (status, _) = hub.stop();
    assert!(status.success());
    let good = fs::read(hub.db()).unwrap();
    let mut bad = good.clone();
    // Everything but the schema's own pages.
    for byte in &mut bad[60 * 4096..] {
        *byte = 0x5a;
    }
    fs::write(hub.db(), &bad).unwrap();
    match hub.try_launch() {
        Err(status) => {
            assert_eq!(status.code(), Some(3));
            assert!(hub.log().contains("damaged"), "{}", hub.log());
        }
        Ok(()) => {
            let answer = hub.get("/api/threads/t/messages?limit=1000");
            assert_eq!((answer.status, answer.code()), (500, "STORE_CORRUPT".into()));
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

/// Without it a file or folder without write permission would be an unexplained failure.
#[test]
fn a_read_only_file_is_named() {
    if rustix::process::geteuid().is_root() {
        // Nothing is read-only to root, unless the file system says so.
        return read_only_by_attribute();
    }
    let mut hub = TestHub::start();
    hub.kill();
    fs::set_permissions(hub.db(), Permissions::from_mode(0o400)).unwrap();
    let output = hub.agenthub(&["post", "t", "x"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    fs::set_permissions(hub.db(), Permissions::from_mode(0o600)).unwrap();
    hub.launch();
}

/// The same for root: a read-only bind mount, where the system allows one.
fn read_only_by_attribute() {
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
    let said = String::from_utf8(output.stderr).unwrap();
    if said.contains("mount:") || said.contains("unshare") {
        // This container may not mount. Where it may, the rest runs.
        print_line("this machine may not mount: a file system that is read-only is left out");
        return;
    }
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// Without it the file could be moved away under a hub that goes on writing into nowhere.
#[test]
fn a_file_that_vanishes_is_named_and_made_anew() {
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
    within("the trouble", || (state(&hub) == "STORE_REPLACED").then_some(()));
    client.expect_error("STORE_UNAVAILABLE");
    // Nobody puts it back: a new one is made, and positions are lost.
    within_time(TIMEOUT, "the end of the trouble", || {
        (state(&hub) == "ok").then_some(())
    });
    client.expect_error("POSITION_LOST");
    assert_eq!(client.expect_close(), 4010);
    hub.sql(&insert_messages("new", 1, 1));
    assert_eq!(hub.get("/api/threads").items().len(), 1);
    assert_eq!(hub.log().matches("cannot be read").count(), 1, "{}", hub.log());
}
