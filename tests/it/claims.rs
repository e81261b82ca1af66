//! Several workers, one inbox: every piece of mail is worked on by one of them, and again
//! by another only when the first one's lease has run out.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::TestHub;
use crate::support::eventually::within;
use crate::support::external_client::client;
use crate::support::hub::AGENTHUB;
use crate::support::writer::{Process, python};

fn fill(hub: &TestHub, count: usize) {
    // The schema is there once somebody has asked where the file is.
    assert!(hub.agenthub(&["path"]).status.success());
    hub.sql(&format!(
        "INSERT INTO inbox_messages(from_agent, to_inbox, payload) WITH RECURSIVE k(i) AS \
         (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < {count}) SELECT 'boss', 'jobs', 'job ' || i FROM k;"
    ));
}

#[test]
fn processes_that_claim_at_the_same_time_never_get_the_same_mail() {
    let hub = TestHub::not_started(&[]);
    fill(&hub, 60);
    let claim = |name: String| {
        let mut command = hub.command(&["inbox", "jobs", "--as", &name, "--claim", "--limit", "3", "--json"]);
        move || {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
            rows.iter().map(|row| row["n"].as_i64().unwrap()).collect::<Vec<_>>()
        }
    };
    // Some share a name: a name is not a process.
    let workers: Vec<_> = (0..24)
        .map(|i| claim(format!("w{}", i % 5)))
        .map(thread::spawn)
        .collect();
    let mut taken: Vec<i64> = workers.into_iter().flat_map(|w| w.join().unwrap()).collect();
    taken.sort_unstable();
    assert_eq!(taken, (1..=60).collect::<Vec<_>>());
}

const JOBS: usize = 1_000;
const LEASE: i64 = 4;

/// A worker's process and its log.
struct Worker {
    name: String,
    _process: Process,
}

#[test]
fn a_thousand_jobs_are_done_by_three_agents_one_of_which_is_killed_now_and_then() {
    let hub = TestHub::not_started(&[]);
    fill(&hub, JOBS);
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

    let begun = Instant::now();
    let mut frail = mcp("frail-0");
    let at_work = |name: &str| !handled(name).is_empty();
    within("the frail one's work", || at_work(&frail.name).then_some(()));
    let steady = [mcp("steady"), start("shell", Command::new(client("shell_worker.sh")))];
    let mut killed = Vec::new();
    while done() < JOBS {
        // It dies when it has just done something: with mail in its hands.
        if at_work(&frail.name) {
            killed.push(frail.name.clone());
            frail = mcp(&format!("frail-{}", killed.len()));
        }
        assert!(begun.elapsed() < Duration::from_secs(150), "{} of {JOBS} done", done());
        thread::park_timeout(Duration::from_millis(10));
    }
    fs::write(&stop, "").unwrap();

    let mut by: HashMap<i64, Vec<String>> = HashMap::new();
    let names = steady
        .iter()
        .chain([&frail])
        .map(|w| w.name.clone())
        .chain(killed.clone());
    for name in names {
        for line in handled(&name).lines() {
            by.entry(line.parse().unwrap()).or_default().push(name.clone());
        }
    }
    assert_eq!(by.len(), JOBS, "a job nobody did");
    let rows = hub.sql(
        "SELECT m.n, r.reader, r.state, r.created_at FROM receipts r JOIN inbox_messages m USING (message_id) ORDER BY r.n",
    );
    let mut receipts: HashMap<i64, Vec<Vec<&str>>> = HashMap::new();
    for row in rows.lines().map(|line| line.split('|').collect::<Vec<_>>()) {
        receipts.entry(row[0].parse().unwrap()).or_default().push(row);
    }
    let mut again = false;
    for (n, rows) in receipts {
        let seen: Vec<_> = rows.iter().filter(|r| r[2] == "seen").collect();
        // Whoever handled it had claimed it, and each claim but the first came after a lease.
        assert!(by[&n].iter().all(|name| seen.iter().any(|r| r[1] == name)), "{rows:?}");
        for pair in seen.windows(2) {
            let [first, second] = [pair[0], pair[1]].map(|r| r[3].parse::<i64>().unwrap());
            assert!(
                second - first >= LEASE * 1000,
                "taken from under somebody's hands: {rows:?}"
            );
        }
        assert!(rows.iter().any(|r| r[2] == "acked"), "{rows:?}");
        if seen.len() > 1 {
            again = true;
            let trace = String::from_utf8(hub.agenthub(&["trace", &n.to_string()]).stdout).unwrap();
            let told = |r: &&Vec<&str>| trace.contains(&format!("seen by {}", r[1]));
            assert!(seen.iter().all(told), "{trace}");
        }
    }
    assert!(!killed.is_empty() && again, "nobody was killed at work");
}
