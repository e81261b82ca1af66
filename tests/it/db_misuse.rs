//! Misuse of the database by agents: the hub keeps working, and the doctor names the process and says
//! what to do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::{ScriptedAgent, assert_doctor_names, doctor_problems};
use crate::support::eventually::wait_up_to;
use crate::support::writer::{self, insert_messages};
use crate::support::{TestHub, print_line, wait_for};

/// Maximum time until a blocker is reported; the hub waits 10 s before it reports one.
const MAX_REPORT_TIME: Duration = Duration::from_secs(40);

/// An open write transaction blocks all other writers.
#[test]
#[cfg(target_os = "linux")]
fn names_the_process_with_an_open_write_transaction() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 1));
    let mut agent = ScriptedAgent::start(
        &hub,
        "db.execute('BEGIN IMMEDIATE')\n\
         db.execute(\"INSERT INTO messages(thread_id, from_id) VALUES('t', 'agent')\")\n\
         pause()\ndb.execute('COMMIT')\npause()\n",
    );
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    assert_eq!(client.expect("batch").seqs(), [1], "reads do not wait");
    assert_doctor_names(&hub, agent.pid());
    let named = format!("process {} (", agent.pid());
    wait_up_to(MAX_REPORT_TIME, "the process in the log", || {
        hub.log().contains(&named).then_some(())
    });
    let ready = wait_for("the process as a reason", || {
        Some(hub.get("/readyz")).filter(|ready| ready.body.contains(&named))
    });
    assert_eq!(
        (ready.status, &ready.json()["reasons"][0]["code"]),
        (503, &json!("STORE_LOCKED"))
    );
    assert_eq!(hub.status()["keeper"]["blockers"][0]["pid"], agent.pid());
    assert!(hub.get("/metrics").body.contains("agenthub_blockers{hold=\"write\"} 1"));
    agent.resume();
    assert_eq!(agent.line(), "paused");
    assert_eq!(client.until("message").number("message_seq"), 2);
    wait_for("the hub to be ready again", || {
        (hub.get("/readyz").status == 200).then_some(())
    });
    wait_for("one line when the block began, and one when it ended", || {
        (hub.log().matches(&named).count() == 2).then_some(())
    });
    assert_eq!(doctor_problems(&hub), Vec::<Value>::new());
}

/// An open read transaction prevents a reset of the WAL, which then grows until the disk is full.
#[test]
#[cfg(target_os = "linux")]
fn names_the_process_with_an_open_read_and_checkpoints_afterwards() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 100));
    let mut agent = ScriptedAgent::start(
        &hub,
        "rows = db.execute('SELECT * FROM messages')\nrows.fetchone()\npause()\nrows.close()\npause()\n",
    );
    let named = format!("process {} (", agent.pid());
    let begun = Instant::now();
    let mut first = 101;
    while !hub.log().contains(&named) {
        assert!(begun.elapsed() < MAX_REPORT_TIME, "not named: {}", hub.log());
        hub.sql(&insert_messages("t", first, 100));
        first += 100;
    }
    assert!(
        begun.elapsed() > Duration::from_secs(8),
        "the process was named after {:?}, but a short read blocks nothing",
        begun.elapsed()
    );
    assert_doctor_names(&hub, agent.pid());
    assert_eq!(hub.get("/readyz").status, 200, "a read does not block writers");
    agent.resume();
    assert_eq!(agent.line(), "paused");
    hub.sql(&insert_messages("t", first, 1));
    wait_for("a complete checkpoint", || {
        (hub.status()["keeper"]["wal_pinned_frames"] == 0 && hub.log().matches(&named).count() == 2).then_some(())
    });
}

/// Outside WAL mode readers and writers wait for each other.
#[test]
fn restores_wal_mode() {
    let mut hub = TestHub::start();
    let mode = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=0.2)\n\
                try: print(db.execute('PRAGMA journal_mode=DELETE').fetchone()[0])\n\
                except sqlite3.OperationalError as e: print(e)";
    let db = hub.db().to_str().unwrap().to_owned();
    assert_eq!(
        writer::python_run(mode, &[&db]),
        "database is locked",
        "the hub has it open"
    );
    hub.stop();
    assert_eq!(writer::python_run(mode, &[&db]), "delete");
    assert_eq!(doctor_problems(&hub)[0]["check"], "log");
    hub.launch();
    assert_eq!(hub.sql("PRAGMA journal_mode"), "wal");
    assert_eq!(doctor_problems(&hub), Vec::<Value>::new());
}

#[test]
#[cfg(target_os = "linux")]
fn rejects_a_value_of_300_mb_without_reading_it_heavy() {
    let hub = TestHub::start();
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", hub.pid().as_raw_nonzero())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap()
            .to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    let before = memory();
    for (table, columns) in [
        ("messages", "thread_id, from_id, content"),
        ("inbox_messages", "from_agent, to_inbox, payload"),
        ("task_stream", "task_id, stream_type, tool_output"),
    ] {
        let sql = format!("INSERT OR IGNORE INTO {table}({columns}) VALUES('a', 'b', printf('%.*c', 300000000, 'x'))");
        let output = writer::try_sqlite3(hub.db(), &sql);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let column = columns.rsplit(' ').next().unwrap();
        assert!(
            stderr.contains(&format!("{table}.{column}")) && stderr.contains("1 MiB"),
            "{stderr}"
        );
    }
    let body = json!({"from_id": "a", "content": "x".repeat((1 << 20) + 1)}).to_string();
    assert_eq!(hub.send("POST", "/api/threads/t/messages", &body).status, 400);
    hub.sql(&insert_messages("t", 1, 1));
    assert_eq!(hub.get("/api/threads/t/messages").items().len(), 1);
    assert!(
        memory() < before + (16 << 20),
        "{before} bytes before, {} after",
        memory()
    );
}

#[test]
fn agents_without_busy_timeout_lose_no_rows() {
    let hub = TestHub::start();
    let without_timeout = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)\n\
        acked = failed = 0\n\
        while acked < 300:\n    \
            try: db.execute(\"INSERT INTO messages(thread_id, from_id) VALUES('t', ?)\", (sys.argv[2],)); acked += 1\n    \
            except sqlite3.OperationalError as e:\n        \
                assert 'locked' in str(e), e\n        failed += 1\n\
        print(acked, failed)";
    let db = hub.db().to_str().unwrap();
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    std::thread::scope(|scope| {
        let agents: Vec<_> = ["a", "b", "c"]
            .map(|name| scope.spawn(move || writer::python_run(without_timeout, &[db, name])))
            .into();
        for agent in agents {
            assert!(agent.join().unwrap().starts_with("300 "));
        }
    });
    let seqs: Vec<i64> = client
        .messages_until(900)
        .iter()
        .map(|m| m["message_seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=900).collect::<Vec<_>>());
    assert_eq!(doctor_problems(&hub), Vec::<Value>::new());
}

/// If the new database shared its WAL with a deleted one, a process that still has the deleted one
/// open would damage it.
#[test]
#[cfg(target_os = "linux")]
fn a_deleted_database_and_its_replacement_share_no_wal() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 50));
    let mut agent = ScriptedAgent::start(
        &hub,
        "def write(n):\n    for i in range(n): db.execute(\"INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'agent', ?)\", ('x' * 3000,))\n\
         write(5)\npause()\nwrite(300)\npause()\nwrite(300)\npause()\n",
    );
    hub.wait_until_synced();
    std::fs::remove_file(hub.db()).unwrap();
    hub.wait_for_log("was deleted and is being created again");
    wait_for("the hub to be ready again", || {
        (hub.db().exists() && hub.get("/readyz").status == 200).then_some(())
    });
    // The agent keeps writing to the deleted file; other processes write to the new one.
    agent.resume();
    assert_eq!(agent.line(), "paused");
    hub.sql(&insert_messages("new", 1, 300));
    let response = hub.send(
        "POST",
        "/api/threads/new/messages",
        r#"{"from_id":"tester","content":"x"}"#,
    );
    assert_eq!(response.status, 201, "{response:?}");
    agent.resume();
    assert_eq!(agent.line(), "paused");
    let response = hub.send(
        "POST",
        "/api/threads/new/messages",
        r#"{"from_id":"tester","content":"y"}"#,
    );
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(
        hub.sql("PRAGMA integrity_check; SELECT count(*) FROM messages"),
        "ok\n302"
    );
    assert_eq!(hub.get("/readyz").status, 200, "{}", hub.log());
    assert_doctor_names(&hub, agent.pid());
    let kept = std::fs::read_dir(hub.folder()).unwrap().flatten();
    let kept = kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("hub.db-wal.lost-"));
    assert_eq!(kept.count(), 1, "the old WAL is kept");
    drop(agent);
    assert_eq!(doctor_problems(&hub), Vec::<Value>::new());
}

/// A small file system, mounted until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it at `folder`. Returns `None` without permission to mount.
    fn mount(folder: &Path, bytes: u64) -> Option<Self> {
        let options = format!("size={bytes},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "agenthub-test"])
            .arg(folder)
            .output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A hub may still use it: a lazy unmount completes when the hub ends.
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

/// The hub must report a full disk although its own small writes still succeed, and must not switch
/// between failure and recovery.
#[test]
#[cfg(target_os = "linux")]
fn reports_a_full_disk_until_it_has_space_again() {
    let mut hub = TestHub::not_started(&[]);
    let Some(_disk) = SmallDisk::mount(hub.folder(), 8 << 20) else {
        print_line("skipped: mounting a file system is not allowed here");
        return;
    };
    hub.launch();
    let ballast = hub.folder().join("ballast");
    std::fs::write(&ballast, vec![0; 3 << 20]).unwrap();
    let fill = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)\n\
        try:\n    \
            while True: db.execute(\"INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', ?)\", ('x' * 50000,))\n\
        except sqlite3.OperationalError as e: print(e)";
    let stdout = writer::python_run(fill, &[hub.db().to_str().unwrap()]);
    assert!(stdout.contains("full"), "{stdout}");
    wait_for("the hub to be not ready", || {
        let ready = hub.get("/readyz");
        (ready.status == 503 && ready.body.contains("STORE_FULL")).then_some(())
    });
    assert_eq!(hub.status()["state"], "STORE_FULL");
    assert!(hub.get("/metrics").body.contains("agenthub_store_ready 0"));
    let refused = hub.send(
        "POST",
        "/api/threads/t/messages",
        &json!({"from_id": "tester", "content": "x".repeat(900_000)}).to_string(),
    );
    assert_eq!(
        (refused.status, refused.code()),
        (507, "STORE_FULL".into()),
        "{refused:?}"
    );
    let findings = doctor_problems(&hub);
    let disk = findings.iter().find(|f| f["check"] == "disk").unwrap();
    assert!(disk["advice"].as_str().unwrap().contains("free disk space"), "{disk}");
    // The failure stays reported, with one log line from each thread that detected it.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(hub.get("/readyz").status, 503, "{}", hub.log());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let log = hub.log();
    assert!(
        log.matches("STORE_FULL").count() <= 2 && !log.contains("again"),
        "{log}"
    );
    std::fs::remove_file(&ballast).unwrap();
    wait_for("the hub to be ready again", || {
        (hub.get("/readyz").status == 200).then_some(())
    });
    hub.sql(&insert_messages("u", 1, 1));
    let response = hub.send(
        "POST",
        "/api/threads/u/messages",
        r#"{"from_id":"tester","content":"x"}"#,
    );
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
}

/// Fills the disk of `folder` completely. Returns the file to delete.
fn fill_disk(folder: &Path) -> PathBuf {
    use std::io::Write;
    let ballast = folder.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    for size in [1 << 16, 1 << 12, 1 << 9, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    ballast
}

/// A hub that cannot write its record starts all the same and serves reading.
#[test]
#[cfg(target_os = "linux")]
fn starts_on_a_full_disk_and_serves_reading() {
    let mut hub = TestHub::not_started(&[]);
    let Some(_disk) = SmallDisk::mount(hub.folder(), 8 << 20) else {
        print_line("skipped: mounting a file system is not allowed here");
        return;
    };
    let record = hub.folder().join("hub.db.serve");
    let status_of_hub = |hub: &TestHub| {
        let output = hub.agenthub(&["status", "--json"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for has_record in [true, false] {
        hub.launch();
        hub.sql(&insert_messages("t", 1, 5));
        hub.kill();
        if !has_record {
            std::fs::remove_file(&record).unwrap();
        }
        // An agent that is running keeps the files of the log.
        let agent = ScriptedAgent::start(&hub, "db.execute('SELECT 1 FROM messages').fetchall()\npause()\n");
        let ballast = fill_disk(hub.folder());
        hub.launch();
        assert!(!hub.get("/api/threads/t/messages").items().is_empty());
        let ready = wait_for("the hub to say what is full", || {
            Some(hub.get("/readyz")).filter(|ready| ready.body.contains("STORE_FULL"))
        });
        assert!(ready.status == 503 && ready.body.contains("disk"), "{ready:?}");
        let url = format!("http://127.0.0.1:{}", hub.port());
        if has_record {
            assert!(status_of_hub(&hub).contains(&url), "the record is overwritten in place");
        } else {
            let log = hub.log();
            let line = log.lines().find(|line| line.contains("hub.db.serve")).unwrap();
            assert!(
                line.contains("free some disk space") && !line.contains("mode"),
                "{line}"
            );
        }
        std::fs::remove_file(&ballast).unwrap();
        wait_for("the hub to be ready, and found", || {
            (hub.get("/readyz").status == 200 && status_of_hub(&hub).contains(&url)).then_some(())
        });
        drop(agent);
        hub.stop();
    }
}

/// An exclusive lock prevents a hub from starting.
#[test]
#[cfg(target_os = "linux")]
fn doctor_names_the_process_that_has_locked_the_database_exclusively() {
    let mut hub = TestHub::start();
    hub.stop();
    let agent = ScriptedAgent::start(
        &hub,
        "db.execute('PRAGMA locking_mode = EXCLUSIVE')\ndb.execute('BEGIN EXCLUSIVE')\npause()\n",
    );
    assert_doctor_names(&hub, agent.pid());
    let output = hub.agenthub(&["doctor"]);
    assert_eq!(output.status.code(), Some(3));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(stdout.contains("exclusively"), "{stdout}");
    drop(agent);
    assert_eq!(doctor_problems(&hub), Vec::<Value>::new());
}

/// Setting the clock back must not lose rows or change their order.
#[test]
fn keeps_the_row_order_when_the_clock_is_set_back_and_reports_it() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    client.expect("batch");
    // Rows written while the clock was an hour ahead, then rows after it was set back.
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, created_at) VALUES('t', 'a', strftime('%s', 'now') * 1000 + 3600000);
         INSERT INTO inbox_messages(from_agent, to_inbox, payload, created_at, claimed_by, claim_expires_at)
           VALUES('a', 'b', 'early', strftime('%s', 'now') * 1000 + 3600000, 'w1', strftime('%s', 'now') * 1000 + 3660000)",
    );
    hub.sql(&insert_messages("t", 2, 3));
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('a', 'b', 'late')");
    let seqs: Vec<i64> = client
        .messages_until(4)
        .iter()
        .map(|m| m["message_seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
    let texts: Vec<String> = hub
        .get("/api/inbox?inbox=b")
        .items()
        .iter()
        .map(|m| m["payload"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts, ["late", "early"]);
    let findings = doctor_problems(&hub);
    assert!(findings.iter().any(|f| f["check"] == "clock"), "{findings:?}");
    // Its owner can release a claim from that time.
    let id = hub.sql("SELECT message_id FROM inbox_messages WHERE payload = 'early'");
    let response = hub.send(
        "POST",
        &format!("/api/inbox/{id}/claim"),
        r#"{"owner":"w1","lease_sec":0}"#,
    );
    assert_eq!(response.status, 200, "{response:?}");
}
