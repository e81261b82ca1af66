//! Maintenance: pruning, backups, the doctor, metrics and logs, and all of them under load.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::writer::{self, Process, insert_messages};
use crate::support::{TestHub, print_line, wait_for};

#[track_caller]
fn json_of(hub: &TestHub, args: &[&str]) -> Value {
    let output = hub.agenthub(args);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Returns the checks of the doctor that failed, and its exit code.
#[track_caller]
fn doctor_problems(hub: &TestHub) -> (Vec<String>, i32) {
    let output = hub.agenthub(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = report["findings"].as_array().unwrap();
    let ill = found.iter().filter(|f| f["state"] != "ok").map(|f| {
        assert!(!f["advice"].as_str().unwrap().is_empty(), "no advice: {f}");
        f["check"].as_str().unwrap().to_owned()
    });
    (ill.collect(), output.status.code().unwrap())
}

/// Returns the value of a metric; 0 if it has no samples yet.
#[track_caller]
fn metric(hub: &TestHub, name: &str) -> f64 {
    let page = hub.get("/metrics").body;
    let family = name.split('{').next().unwrap().trim_end_matches("_count");
    assert!(page.contains(family), "no {name} in {page}");
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

// ---- pruning --------------------------------------------------------------------------------

#[test]
fn prunes_old_rows_while_clients_continue() {
    let hub = TestHub::start();
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, content, created_at) VALUES('t', 'a', 'old 1', 1000), ('t', 'a', 'old 2', 2000);
         INSERT INTO inbox_messages(from_agent, to_inbox, payload, created_at, status) VALUES
           ('a', 'b', 'old, unread', 1000, 'unread'), ('a', 'b', 'old, read', 1000, 'read');
         INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'new');
         INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('a', 'b', 'new');",
    );
    let mut client = hub.connect("");
    client.subscribe("t", 2);
    // An event for the inbox messages may come first.
    client.until("batch");
    let would = json_of(&hub, &["prune", "--older-than", "1d", "--dry-run", "--json"]);
    let did = json_of(&hub, &["prune", "--older-than", "1d", "--json"]);
    for table in ["messages", "inbox_messages", "changes", "unread_kept"] {
        assert_eq!(would["pruned"][table], did["pruned"][table], "{table}");
    }
    assert_eq!(
        (&did["pruned"]["messages"], &did["pruned"]["inbox_messages"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(did["pruned"]["unread_kept"], 1);
    assert_eq!(hub.sql("SELECT message_seq FROM messages"), "3");
    assert_eq!(
        hub.sql("SELECT payload FROM inbox_messages ORDER BY n"),
        "old, unread\nnew"
    );
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'later')");
    assert_eq!(client.until("message").number("message_seq"), 4);
    // A client that asks for pruned messages gets the ones that are kept.
    let mut late = hub.connect("");
    late.subscribe("t", 0);
    assert_eq!(late.expect("batch").seqs(), [3, 4]);
    json_of(&hub, &["prune", "--older-than", "1d", "--force", "--json"]);
    assert_eq!(hub.sql("SELECT count(*) FROM inbox_messages"), "1");
    assert!(hub.agenthub(&["prune"]).status.code() == Some(2));
    assert_eq!(hub.sql("SELECT count(*) FROM hub WHERE key = 'pruning'"), "0");
    assert_eq!(doctor_problems(&hub), (vec![], 0));
}

// ---- backups --------------------------------------------------------------------------------

#[test]
fn a_backup_is_complete_private_and_replaces_only_with_force() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 500));
    let to = hub.folder().join("copy.db");
    let name = to.to_str().unwrap();
    let done = json_of(&hub, &["backup", name, "--json"]);
    assert_eq!(
        done["changes"],
        hub.sql("SELECT max(seq) FROM changes").parse::<i64>().unwrap()
    );
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        writer::sqlite3(&to, "PRAGMA integrity_check; SELECT count(*) FROM messages"),
        "ok\n500"
    );
    let again = hub.agenthub(&["backup", name]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
    hub.sql(&insert_messages("t", 501, 1));
    assert_eq!(hub.agenthub(&["backup", name, "--force"]).status.code(), Some(0));
    assert_eq!(writer::sqlite3(&to, "SELECT count(*) FROM messages"), "501");
    // Refuses a database in use, and a directory that does not exist.
    let itself = hub.db().to_str().unwrap();
    assert_eq!(hub.agenthub(&["backup", itself, "--force"]).status.code(), Some(1));
    assert_eq!(hub.agenthub(&["backup", "/nowhere/copy.db"]).status.code(), Some(3));
    let left: Vec<_> = std::fs::read_dir(hub.folder())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(!left.iter().any(|n| n.to_str().unwrap().contains("part")), "{left:?}");
    // The copy is a valid agenthub database.
    let mut command = hub.command(&["doctor", "--json"]);
    let output = command.env("AGENTHUB_DB", &to).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

// ---- the doctor -----------------------------------------------------------------------------

#[test]
fn doctor_finds_damage_with_advice() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 10));
    assert_eq!(doctor_problems(&hub), (vec![], 0));
    let shown = String::from_utf8(hub.agenthub(&["doctor"]).stdout).unwrap();
    assert!(shown.contains("watcher") && !shown.contains("BAD"), "{shown}");

    std::fs::set_permissions(hub.db(), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(doctor_problems(&hub), (vec!["modes".to_owned()], 1));
    std::fs::set_permissions(hub.db(), std::fs::Permissions::from_mode(0o600)).unwrap();

    let other_name = hub.folder().join("other.db");
    std::fs::hard_link(hub.db(), &other_name).unwrap();
    assert_eq!(doctor_problems(&hub), (vec!["modes".to_owned()], 1));
    std::fs::remove_file(&other_name).unwrap();

    hub.sql("DROP TRIGGER messages_delete; CREATE TABLE mine(x); DELETE FROM messages WHERE message_seq = 5;");
    assert_eq!(
        doctor_problems(&hub),
        (["integrity", "schema", "rows"].map(str::to_owned).to_vec(), 1)
    );

    hub.sql("INSERT INTO messages(thread_id, from_id, created_at) VALUES('t', 'a', 9000000000000)");
    assert!(doctor_problems(&hub).0.contains(&"clock".to_owned()));

    hub.kill();
    hub.sql("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE;");
    assert!(doctor_problems(&hub).0.contains(&"log".to_owned()));
    let bytes = std::fs::read(hub.db()).unwrap();
    std::fs::write(hub.db(), [&bytes[..8192], &vec![0xff; bytes.len() - 8192]].concat()).unwrap();
    let (found, code) = doctor_problems(&hub);
    assert!(!found.is_empty() && (code == 1 || code == 3), "{found:?} {code}");
    std::fs::write(
        hub.db(),
        "this text is not a database, and it is longer than the header of one",
    )
    .unwrap();
    assert_eq!(doctor_problems(&hub).1, 3);
    std::fs::remove_file(hub.db()).unwrap();
    assert_eq!(doctor_problems(&hub), (vec!["file".to_owned()], 3));
    assert!(!hub.db().exists(), "the doctor creates nothing");
}

// ---- metrics and logs -----------------------------------------------------------------------

#[test]
fn serves_prometheus_metrics_and_readiness() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    client.expect("batch");
    hub.sql(&insert_messages("t", 1, 3));
    client.until("message");
    wait_for("the rows to be counted", || {
        (metric(&hub, "agenthub_commit_to_send_seconds_count") >= 3.0).then_some(())
    });
    assert_eq!(metric(&hub, "agenthub_clients"), 1.0);
    assert_eq!(metric(&hub, "agenthub_store_ready"), 1.0);
    wait_for("all clients to be up to date", || {
        (metric(&hub, "agenthub_lag_changes") == 0.0).then_some(())
    });
    wait_for("a checkpoint while nothing is written", || {
        (metric(&hub, "agenthub_checkpoints_total{mode=\"passive\",result=\"complete\"}") >= 1.0).then_some(())
    });
    drop(client);
    wait_for("the client's disconnect to be counted", || {
        hub.get("/metrics")
            .body
            .contains("agenthub_disconnects_total{code=\"client\"} 1")
            .then_some(())
    });
    let ready = hub.get("/readyz");
    assert_eq!((ready.status, &ready.json()["reasons"]), (200, &json!([])));
    let page = hub.get("/metrics");
    assert_eq!(
        page.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(!page.body.contains(hub.token()));
    passes_promtool(&page.body);
}

/// Checks the page with Prometheus' own tool, if it is installed.
fn passes_promtool(page: &str) {
    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut checker) = checker else {
        print_line("skipped: promtool is not installed");
        return;
    };
    std::io::Write::write_all(&mut checker.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let output = checker.wait_with_output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && printed.is_empty(),
        "{}",
        String::from_utf8_lossy(&printed)
    );
}

#[test]
fn log_format_json_prints_json_lines() {
    let hub = TestHub::with_args(&["--log-format", "json"]);
    assert_eq!(
        crate::support::http::request(hub.port(), "GET", "/", &[("Host", "evil.test")], "").status,
        403
    );
    hub.wait_for_log("evil.test");
    for line in hub.log().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}

// ---- under load -----------------------------------------------------------------------------

/// A writer as the schema recommends, except for a busy timeout of 60 s: with SQLite's own busy
/// handler a process can starve when many processes write on a busy machine, with or without a hub. Writes one
/// row per transaction at a given rate. Ends after a given time and prints the number of rows, the
/// longest time of one row with the wait for the lock, and the longest time without that wait.
const WRITER: &str = r#"
import sqlite3, sys, time
db, name, rate, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
db = sqlite3.connect(db, timeout=60, isolation_level=None)
begun, n, worst, held = time.monotonic(), 0, 0.0, 0.0
while (now := time.monotonic()) - begun < seconds:
    if (pause := begun + n / rate - now) > 0:
        time.sleep(pause)
    before = time.monotonic()
    db.execute("BEGIN IMMEDIATE")
    locked = time.monotonic()
    db.execute("INSERT INTO messages(thread_id, from_id, content) VALUES(?, ?, ?)", (name, name, "x" * 200))
    db.execute("COMMIT")
    after = time.monotonic()
    worst, held = max(worst, after - before), max(held, after - locked)
    n += 1
print(n, worst, held)
"#;

const WRITERS: usize = 8;
/// Rows per second of all writers together.
const RATE: f64 = 500.0;
/// Maximum size of the `-wal` in bytes.
const MAX_WAL_BYTES: u64 = 32 << 20;
/// Maximum time in seconds that the hub may hold the write lock, unless disk and processor are slow.
const MAX_HOLD: f64 = 0.3;
/// If even a writer holds the lock longer than [`MAX_HOLD`] for its one row, the hub may hold it as
/// long as that writer, but not longer than this.
const MAX_HOLD_ON_SLOW_MACHINE: f64 = 1.0;

/// Duration and intervals of the load test.
struct LoadPlan {
    length: Duration,
    /// Time between two backups and prunes.
    interval: Duration,
    older_than: &'static str,
    /// The decile of the prunes' longest steps that must be short. On a busy machine the scheduler
    /// interrupts some steps, but not most.
    decile: usize,
}

impl LoadPlan {
    /// Half an hour with `AGENTHUB_SOAK`, in which the file grows to a usual size; otherwise a minute.
    fn from_environment() -> Self {
        if std::env::var_os("AGENTHUB_SOAK").is_some() {
            Self {
                length: Duration::from_secs(1800),
                interval: Duration::from_secs(60),
                older_than: "10m",
                decile: 9,
            }
        } else {
            Self {
                length: Duration::from_secs(30),
                interval: Duration::from_secs(7),
                older_than: "0m",
                decile: 5,
            }
        }
    }
}

/// Samples the largest size of a file in a thread, also while the test waits for a backup.
struct LargestSize {
    largest: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl LargestSize {
    fn watch(path: PathBuf) -> Self {
        let (largest, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, over) = (Arc::clone(&largest), Arc::clone(&done));
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                seen.fetch_max(size(&path), Ordering::Relaxed);
                thread::park_timeout(Duration::from_millis(5));
            }
        });
        Self {
            largest,
            done,
            thread: Some(thread),
        }
    }

    fn end(mut self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.largest.load(Ordering::Relaxed)
    }
}

/// Eight writers, backups and prunes at the same time. Runs 30 minutes with `AGENTHUB_SOAK=1`,
/// otherwise 30 seconds.
#[test]
fn keeps_the_wal_short_under_load_without_blocking_writers_exclusive() {
    let LoadPlan {
        length,
        interval,
        older_than,
        decile,
    } = LoadPlan::from_environment();
    let hub = TestHub::start();
    let wal = LargestSize::watch(hub.db().with_file_name("hub.db-wal"));
    let db = hub.db().to_str().unwrap().to_owned();
    let writers: Vec<Process> = (0..WRITERS)
        .map(|i| {
            let mut command = writer::python();
            let rate = (RATE / WRITERS as f64).to_string();
            command.args([
                "-c",
                WRITER,
                &db,
                &format!("w{i}"),
                &rate,
                &length.as_secs().to_string(),
            ]);
            command.stdout(Stdio::piped());
            Process::start(command)
        })
        .collect();
    let (begun, mut next) = (Instant::now(), interval);
    let (mut removed, mut copies, mut own) = (0, 0, 0);
    let mut steps = Vec::new();
    while begun.elapsed() < length {
        // The hub itself writes, too.
        let posted = hub.send(
            "POST",
            "/api/threads/own/messages",
            r#"{"from_id":"own","content":"x"}"#,
        );
        assert_eq!(posted.status, 201, "{posted:?}");
        own += 1;
        if begun.elapsed() >= next {
            next += interval;
            let copy = hub.folder().join(format!("copy-{copies}.db"));
            json_of(&hub, &["backup", copy.to_str().unwrap(), "--json"]);
            assert_eq!(writer::sqlite3(&copy, "PRAGMA integrity_check"), "ok");
            std::fs::remove_file(&copy).unwrap();
            copies += 1;
            let pruned = &json_of(&hub, &["prune", "--older-than", older_than, "--json"])["pruned"];
            steps.push(pruned["longest_step_ms"].as_i64().unwrap());
            removed += pruned["messages"].as_i64().unwrap();
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    let (mut rows, mut waited, mut peers) = (0, 0.0_f64, 0.0_f64);
    for mut process in writers {
        let mut printed = String::new();
        std::io::Read::read_to_string(&mut process.0.stdout.take().unwrap(), &mut printed).unwrap();
        let printed: Vec<&str> = printed.split_whitespace().collect();
        let [n, worst, held] = printed[..] else {
            panic!("a writer failed: {printed:?}")
        };
        rows += n.parse::<i64>().unwrap();
        waited = waited.max(worst.parse().unwrap());
        peers = peers.max(held.parse().unwrap());
    }
    let hold = metric(&hub, "agenthub_checkpoint_longest_hold_seconds");
    let written = metric(&hub, "agenthub_write_longest_hold_seconds");
    let largest_wal = wal.end();
    steps.sort_unstable();
    let (typical, worst) = (steps[(steps.len() - 1) * decile / 10], steps[steps.len() - 1]);
    print_line(&format!(
        "{rows} rows, {removed} of them pruned, {copies} backups; WAL at most {} KiB; longest hold: checkpoint {hold} s, \
         write of the hub {written} s, prune {typical} to {worst} ms, writer {peers:.3} s; longest wait of a writer {waited:.3} s",
        largest_wal >> 10
    ));
    assert!(largest_wal <= MAX_WAL_BYTES, "the WAL grew to {largest_wal} bytes");
    let bound = peers.clamp(MAX_HOLD, MAX_HOLD_ON_SLOW_MACHINE);
    assert!(
        hold <= bound,
        "a checkpoint blocked writers for {hold} s, more than {bound} s"
    );
    assert!(
        written <= bound,
        "a write of the hub blocked others for {written} s, more than {bound} s"
    );
    assert!(
        typical as f64 <= bound * 1000.0,
        "the longest steps of too many prunes took more than {bound} s: {steps:?}"
    );
    assert!(copies >= 3 && removed > 0);
    let last = hub.sql("SELECT sum(last_seq) FROM threads").parse::<i64>().unwrap();
    assert_eq!(last, rows + own, "every row has its number");
    assert_eq!(hub.sql("PRAGMA integrity_check"), "ok");
    assert_eq!(doctor_problems(&hub), (vec![], 0));
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// `serve --keep` deletes old rows without a command, and the rows that `prune` keeps stay.
#[test]
fn a_hub_that_keeps_rows_for_a_time_deletes_older_ones() {
    let mut hub = TestHub::not_started(&["--keep", "30d"]);
    hub.agenthub(&["path"]);
    let many = "WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 1500)";
    let old = "CAST((julianday('now') - 2440587.5 - 31) * 86400000 AS INTEGER)";
    hub.sql(&format!(
        "INSERT INTO messages(thread_id, from_id, content, created_at) {many} SELECT 't', 'a', 'old', {old} FROM k;
         INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'new'), ('t', 'a', 'newest');
         INSERT INTO inbox_messages(from_agent, to_inbox, created_at) VALUES('a', 'b', {old});
         INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b');"
    ));
    hub.launch();
    wait_for("the old messages to be deleted", || {
        (hub.sql("SELECT min(message_seq) FROM messages") == "1501").then_some(())
    });
    assert_eq!(hub.sql("SELECT content FROM messages"), "new\nnewest");
    assert_eq!(
        hub.sql("SELECT count(*) FROM inbox_messages WHERE status = 'unread'"),
        "2"
    );
    let refused = hub.command(&["serve", "--keep", "0d"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn status_shows_the_growth_since_a_noted_size() {
    let hub = TestHub::start();
    wait_for("the size", || {
        (hub.sql("SELECT count(*) FROM hub WHERE key LIKE 'size_at:%'") == "1").then_some(())
    });
    let growth = json_of(&hub, &["status", "--json"])["growth"].clone();
    assert!(
        growth["since"].as_i64().unwrap() > 0 && growth["bytes_per_day"].is_null(),
        "{growth}"
    );
    assert_eq!(hub.get("/api/status").json()["growth"]["since"], growth["since"]);
    let ago = "CAST((julianday('now') - 2440587.5 - 10) * 86400000 AS INTEGER)";
    hub.sql(&format!("INSERT INTO hub(key, value) VALUES('size_at:' || {ago}, 0)"));
    let status = json_of(&hub, &["status", "--json"]);
    let (size, growth) = (&status["db"]["size"], &status["growth"]);
    assert_eq!(&growth["bytes"], size);
    let per_day = size.as_f64().unwrap() / 10.0 - growth["bytes_per_day"].as_f64().unwrap();
    assert!(per_day.abs() < 2.0, "{growth}");
    let output = hub.agenthub(&["status"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("growth") && shown.contains("per day"), "{shown}");
}
