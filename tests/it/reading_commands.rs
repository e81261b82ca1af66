//! Commands that read write nothing but receipts and the reader's own agent.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::writer::{Process, insert_messages};
use crate::support::{TestHub, wait_for};

/// A database with rows of all kinds, among them a claim that has expired.
fn database() -> TestHub {
    let hub = TestHub::not_started(&[]);
    hub.agenthub(&["path"]);
    hub.sql(&insert_messages("t", 1, 3));
    hub.sql(
        "INSERT INTO inbox_messages(from_agent, to_inbox, payload, claimed_by, claim_expires_at) VALUES('boss', 'planner', 'work', 'gone', 1000);
         INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('boss', 'all', 'news');
         INSERT INTO task_stream(task_id, stream_type, text) VALUES('task', 'text', 'a step');
         INSERT INTO agents(id) VALUES('planner');",
    );
    hub
}

/// All rows and all objects of the schema.
fn dump(hub: &TestHub) -> String {
    hub.sql(".dump")
}

#[test]
fn reading_commands_write_nothing() {
    let hub = database();
    let before = dump(&hub);
    for args in [
        &["threads"][..],
        &["agents"],
        &["trace", "1"],
        &["search", "text"],
        &["status"],
        &["inbox", "planner"],
        &["inbox", "planner", "--as", "planner", "--unread", "--json"],
        &["doctor"],
        &["schema"],
    ] {
        let output = hub.agenthub(args);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{args:?}: {output:?}");
        let after = dump(&hub);
        // doctor measures how fast a commit is detected.
        let is_probe = |line: &&str| line.contains("'probed_at'");
        let (before, after): (Vec<&str>, Vec<&str>) = (
            before.lines().filter(|line| !is_probe(line)).collect(),
            after.lines().filter(|line| !is_probe(line)).collect(),
        );
        assert_eq!(before, after, "{args:?}");
    }
}

#[test]
fn reading_mail_writes_only_receipts_and_the_readers_agent() {
    let hub = database();
    let rows = |table: &str| hub.sql(&format!("SELECT * FROM {table} ORDER BY 1"));
    let (messages, tasks) = (rows("messages"), rows("task_stream"));
    let claim = "SELECT claimed_by, claim_expires_at FROM inbox_messages WHERE n = 1";
    let agents = || hub.sql("SELECT group_concat(id) FROM (SELECT id FROM agents ORDER BY n)");
    let agents_before = agents();
    assert!(hub.agenthub(&["inbox", "tester", "--as", "tester"]).status.success());
    assert_eq!(agents(), format!("{agents_before},tester"));
    assert!(hub.agenthub(&["read", "2", "--as", "planner"]).status.success());
    assert_eq!(hub.sql("SELECT reader, state FROM receipts"), "planner|seen");
    assert_eq!(
        hub.sql("SELECT n, status FROM inbox_messages ORDER BY n"),
        "1|unread\n2|unread"
    );
    assert_eq!(hub.sql(claim), "gone|1000");
    assert_eq!((rows("messages"), rows("task_stream")), (messages, tasks));
}

#[test]
fn tail_only_reads_the_database() {
    let hub = database();
    let before = dump(&hub);
    let mut command = hub.command(&["tail"]);
    command.stdout(Stdio::piped());
    let mut tail = Process::start(command);
    let mut lines = BufReader::new(tail.0.stdout.take().unwrap()).lines();
    let threads = || -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", tail.0.id())).unwrap();
        tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .map(|name| name.trim().to_owned())
            .collect()
    };
    if cfg!(target_os = "linux") {
        wait_for("the change reader", || {
            threads().contains(&"agenthub-reader".to_owned()).then_some(())
        });
        let names = threads();
        assert!(
            !names
                .iter()
                .any(|name| name.contains("writer") || name.contains("maint")),
            "{names:?}"
        );
    }
    // Long enough for several rounds of maintenance, which frees expired claims in its first.
    for n in 1..=8 {
        let content = format!("row {n}");
        hub.sql(&format!(
            "INSERT INTO messages(thread_id, from_id, content) VALUES('u', 'a', '{content}')"
        ));
        wait_for("the row", || {
            let line = lines.next().unwrap().unwrap();
            line.contains(&content).then_some(())
        });
        std::thread::park_timeout(std::time::Duration::from_millis(250));
    }
    drop(tail);
    let old: Vec<&str> = before.lines().collect();
    let after = dump(&hub);
    for line in old
        .iter()
        .filter(|line| line.contains("inbox_messages") || line.contains("task_stream"))
    {
        assert!(after.contains(line), "changed: {line}");
    }
    assert_eq!(
        hub.sql("SELECT claimed_by, claim_expires_at FROM inbox_messages WHERE n = 1"),
        "gone|1000"
    );
    assert_eq!(
        hub.sql("SELECT count(*) FROM changes WHERE tbl = 'inbox_messages'"),
        "2"
    );
}
