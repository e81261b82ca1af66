//! Several workers claim messages from one inbox: each message is handled by one worker, and by
//! another one only after the lease of the first has expired.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::TestHub;
use crate::support::eventually::wait_for;
use crate::support::external_client::client;
use crate::support::hub::AGENTHUB;
use crate::support::writer::{Process, python};

fn send_jobs(hub: &TestHub, count: usize) {
    // `path` creates the database.
    assert!(hub.agenthub(&["path"]).status.success());
    hub.sql(&format!(
        "INSERT INTO inbox_messages(from_agent, to_inbox, payload) WITH RECURSIVE k(i) AS \
         (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < {count}) SELECT 'boss', 'jobs', 'job ' || i FROM k;"
    ));
}

#[test]
fn concurrent_claims_never_return_the_same_message() {
    let hub = TestHub::not_started(&[]);
    send_jobs(&hub, 60);
    let claim = |name: String| {
        let mut command = hub.command(&["inbox", "jobs", "--as", &name, "--claim", "--limit", "3", "--json"]);
        move || {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
            rows.iter().map(|row| row["n"].as_i64().unwrap()).collect::<Vec<_>>()
        }
    };
    // Some processes share a name, which must not matter.
    let workers: Vec<_> = (0..24)
        .map(|i| claim(format!("w{}", i % 5)))
        .map(thread::spawn)
        .collect();
    let mut claimed: Vec<i64> = workers.into_iter().flat_map(|w| w.join().unwrap()).collect();
    claimed.sort_unstable();
    assert_eq!(claimed, (1..=60).collect::<Vec<_>>());
}

const JOBS: usize = 1_000;
/// Seconds.
const LEASE: i64 = 4;

/// A worker process. Its log is the file `{name}.log`.
struct Worker {
    name: String,
    _process: Process,
}

#[test]
fn three_workers_finish_a_thousand_jobs_although_one_is_killed_repeatedly_heavy() {
    let hub = TestHub::not_started(&[]);
    send_jobs(&hub, JOBS);
    let stop = hub.folder().join("stop");
    let start = |name: &str, mut command: Command| {
        command
            .arg(AGENTHUB)
            .arg(hub.db())
            .args([name, &LEASE.to_string()])
            .arg(&stop)
            .arg(hub.folder().join(format!("{name}.log")));
        Worker {
            name: name.to_owned(),
            _process: Process::start(command),
        }
    };
    let mcp = |name: &str| {
        let mut command = python();
        command.arg(client("mcp_worker.py"));
        start(name, command)
    };
    let handled = |name: &str| fs::read_to_string(hub.folder().join(format!("{name}.log"))).unwrap_or_default();
    let done = || {
        hub.sql("SELECT count(*) FROM inbox_messages WHERE status = 'read'")
            .parse::<usize>()
            .unwrap()
    };

    let started = Instant::now();
    let mut unstable = mcp("unstable-0");
    let has_handled = |name: &str| !handled(name).is_empty();
    wait_for("the first job of the unstable worker", || {
        has_handled(&unstable.name).then_some(())
    });
    let stable = [mcp("stable"), start("shell", Command::new(client("shell_worker.sh")))];
    let mut killed = Vec::new();
    while done() < JOBS {
        // The worker is killed after it has handled a message and before it acknowledges it.
        if has_handled(&unstable.name) {
            killed.push(unstable.name.clone());
            unstable = mcp(&format!("unstable-{}", killed.len()));
        }
        assert!(
            started.elapsed() < Duration::from_secs(150),
            "{} of {JOBS} done",
            done()
        );
        thread::park_timeout(Duration::from_millis(10));
    }
    fs::write(&stop, "").unwrap();

    let mut handled_by: HashMap<i64, Vec<String>> = HashMap::new();
    let names = stable
        .iter()
        .chain([&unstable])
        .map(|w| w.name.clone())
        .chain(killed.clone());
    for name in names {
        for line in handled(&name).lines() {
            handled_by.entry(line.parse().unwrap()).or_default().push(name.clone());
        }
    }
    assert_eq!(handled_by.len(), JOBS, "some jobs were not handled");
    let rows = hub.sql(
        "SELECT m.n, r.reader, r.state, r.created_at FROM receipts r JOIN inbox_messages m USING (message_id) ORDER BY r.n",
    );
    let mut receipts: HashMap<i64, Vec<Vec<&str>>> = HashMap::new();
    for row in rows.lines().map(|line| line.split('|').collect::<Vec<_>>()) {
        receipts.entry(row[0].parse().unwrap()).or_default().push(row);
    }
    let mut handed_over = false;
    for (n, rows) in receipts {
        let seen: Vec<_> = rows.iter().filter(|r| r[2] == "seen").collect();
        // Each worker that handled it had claimed it, and each later claim came after the lease.
        assert!(
            handled_by[&n].iter().all(|name| seen.iter().any(|r| r[1] == name)),
            "{rows:?}"
        );
        for pair in seen.windows(2) {
            let [first, second] = [pair[0], pair[1]].map(|r| r[3].parse::<i64>().unwrap());
            assert!(
                second - first >= LEASE * 1000,
                "claimed before the lease expired: {rows:?}"
            );
        }
        assert!(rows.iter().any(|r| r[2] == "acked"), "{rows:?}");
        if seen.len() > 1 {
            handed_over = true;
            let trace = String::from_utf8(hub.agenthub(&["trace", &n.to_string()]).stdout).unwrap();
            let is_shown = |r: &&Vec<&str>| trace.contains(&format!("seen by {}", r[1]));
            assert!(seen.iter().all(is_shown), "{trace}");
        }
    }
    assert!(!killed.is_empty() && handed_over, "no worker was killed during a job");
}

/// A worker whose lease has ended must learn that another worker has the job.
#[test]
fn acknowledging_a_job_that_another_worker_has_claimed_fails() {
    let hub = TestHub::start();
    send_jobs(&hub, 1);
    let claim = |name: &str, lease: &str| {
        hub.agenthub(&[
            "inbox", "jobs", "--as", name, "--claim", "--lease", lease, "--wait", "10",
        ])
    };
    assert!(claim("w1", "0.05").status.success());
    assert!(claim("w2", "300").status.success());
    let assert_refused = || {
        for args in [&["ack", "1", "--as", "w1"][..], &["reply", "1", "done", "--from", "w1"]] {
            let output = hub.agenthub(args);
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                !output.status.success() && message.contains("claimed by w2"),
                "{args:?}: {message}"
            );
        }
        let response = hub.send("PATCH", "/api/inbox/1", r#"{"status": "read", "reader": "w1"}"#);
        assert_eq!(response.status, 409, "{response:?}");
        assert!(response.body.contains("claimed by w2"), "{response:?}");
    };
    assert_refused();
    assert!(hub.agenthub(&["ack", "1", "--as", "w2"]).status.success());
    assert_refused();
    assert_eq!(hub.sql("SELECT reader FROM receipts WHERE state = 'acked'"), "w2");
    assert_eq!(hub.sql("SELECT count(*) FROM inbox_messages"), "1");
}

/// Worker scripts without a name are distinct owners, and each is recognized by its later commands.
#[test]
fn workers_without_a_name_are_distinct_owners() {
    let hub = TestHub::not_started(&[]);
    send_jobs(&hub, 3);
    let script = |text: &str| {
        let text = text.replace("agenthub", AGENTHUB);
        let mut command = hub.command(&[]);
        let environment: Vec<_> = command
            .get_envs()
            .map(|(k, v)| (k.to_owned(), v.unwrap().to_owned()))
            .collect();
        command = Command::new("sh");
        command.env_clear().envs(environment).args(["-c", &text]);
        command.output().unwrap()
    };
    // The claim and the acknowledgement are separate processes of one script.
    let done = script("agenthub inbox jobs --claim >/dev/null; (agenthub ack 1; true); agenthub ack 1");
    assert!(done.status.success(), "{done:?}");
    let abandoned = script("agenthub inbox jobs --claim >/dev/null; echo $$");
    let pid = String::from_utf8(abandoned.stdout).unwrap();
    let owner = format!("jobs.{}", pid.trim());
    assert_eq!(hub.sql("SELECT claimed_by FROM inbox_messages WHERE n = 2"), owner);
    assert_eq!(hub.sql("SELECT count(DISTINCT claimed_by) FROM inbox_messages"), "2");
    for args in [&["ack", "2"][..], &["ack", "2", "--as", "jobs"]] {
        let output = hub.agenthub(args);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && message.contains(&owner),
            "{args:?}: {message}"
        );
    }
    assert!(hub.agenthub(&["ack", "2", "--as", &owner]).status.success());
    // The test process itself is a worker.
    assert!(hub.agenthub(&["inbox", "jobs", "--claim"]).status.success());
    assert!(
        hub.agenthub(&["reply", "3", "done", "--from", "w3"]).status.success(),
        "a comment"
    );
    assert_eq!(hub.sql("SELECT status FROM inbox_messages WHERE n = 3"), "unread");
    assert!(hub.agenthub(&["ack", "3"]).status.success());
    assert_eq!(hub.sql("SELECT status FROM inbox_messages WHERE n = 3"), "read");
}
