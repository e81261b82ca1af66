//! `agenthub doctor`: what it reports, and what it does not report or change.

use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::Value;

use crate::support::agent::{ScriptedAgent, doctor_problems};
use crate::support::{TestHub, print_line, wait_for};

/// Returns the message of a check that has found a problem.
#[track_caller]
fn finding(findings: &[Value], check: &str) -> String {
    let found = findings.iter().find(|f| f["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no finding of {check}: {findings:?}"));
    assert!(!found["advice"].as_str().unwrap().is_empty(), "{found}");
    found["message"].as_str().unwrap().to_owned()
}

/// Each read of such a process starts a new snapshot, so it does not prevent a reset of the WAL.
#[test]
#[cfg(target_os = "linux")]
fn does_not_report_a_polling_reader_as_a_lock_holder() {
    let hub = TestHub::start();
    let many = "WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 3000)";
    hub.sql(&format!(
        "INSERT INTO task_stream(task_id, stream_type, text) {many} SELECT 'k', 'text', printf('%.*c', 2000, 'x') FROM k"
    ));
    let _agent = ScriptedAgent::start(
        &hub,
        "print('paused', flush=True)\nwhile True: db.execute('SELECT sum(length(text)) FROM task_stream').fetchall()\n",
    );
    let findings = doctor_problems(&hub);
    assert!(!findings.iter().any(|f| f["check"] == "locks"), "{findings:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn reports_a_large_wal_and_the_process_that_prevents_its_reset() {
    let mut hub = TestHub::start();
    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')");
    let agent = ScriptedAgent::start(
        &hub,
        "rows = db.execute('BEGIN')\ndb.execute('SELECT * FROM messages').fetchall()\npause()\n",
    );
    hub.kill();
    let many = "WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 40)";
    hub.sql(&format!(
        "INSERT INTO messages(thread_id, from_id, content) {many} SELECT 't', 'a', printf('%.*c', 1000000, 'x') FROM k"
    ));
    let findings = doctor_problems(&hub);
    assert!(finding(&findings, "log").contains("MiB"), "{findings:?}");
    let named = format!("process {} ", agent.pid());
    assert!(finding(&findings, "locks").contains(&named), "{findings:?}");
}

#[test]
fn reports_old_sqlite_versions_and_files_of_other_users() {
    let hub = TestHub::start();
    let bin = hub.folder().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let old = bin.join("sqlite3");
    std::fs::write(&old, "#!/bin/sh\necho 3.22.0 2018-01-22\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = hub.command(&["doctor", "--json"]);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = command.env("PATH", path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let bad: Vec<Value> = report["findings"].as_array().unwrap().clone();
    let bad: Vec<Value> = bad.into_iter().filter(|f| f["state"] != "ok").collect();
    assert!(finding(&bad, "sqlite").contains("3.22.0 in sqlite3"), "{bad:?}");
    if !rustix::process::geteuid().is_root() {
        print_line("not root: the check of a file of another user is skipped");
        return;
    }
    chown(hub.db(), Some(65534), None).unwrap();
    assert!(finding(&doctor_problems(&hub), "modes").contains("belongs to another user (uid 65534)"));
    // SQLite creates the -wal and -shm files with the owner of the database.
    for suffix in ["", "-wal", "-shm"] {
        chown(hub.folder().join(format!("hub.db{suffix}")), Some(0), None).unwrap();
    }
    assert_eq!(doctor_problems(&hub), Vec::<Value>::new());
}

#[test]
fn another_programs_file_is_reported_and_left_unchanged() {
    let hub = TestHub::start();
    let report = |db: &str| {
        let output = hub.agenthub(&["--db", db, "doctor", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report["findings"].as_array().unwrap().clone())
    };
    let other = hub.folder().join("it's another.db");
    let path = other.to_str().unwrap();
    crate::support::writer::sqlite3(&other, "CREATE TABLE t(x); INSERT INTO t VALUES(1);");
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o644)).unwrap();
    let before = std::fs::read_dir(hub.folder()).unwrap().count();
    for db in [path, hub.folder().to_str().unwrap(), "/dev/null"] {
        let (code, findings) = report(db);
        assert_eq!(code, Some(3), "{db}: {findings:?}");
        assert!(!findings.iter().any(|f| f["check"] == "modes"), "{findings:?}");
        assert!(finding(&findings, "file").contains(db), "{findings:?}");
    }
    assert_eq!(std::fs::read_dir(hub.folder()).unwrap().count(), before);
}

#[test]
fn advice_quotes_paths_for_a_shell() {
    let hub = TestHub::not_started(&[]);
    let mine = hub.folder().join("it's mine.db");
    let path = mine.to_str().unwrap();
    assert!(hub.agenthub(&["--db", path, "path"]).status.success());
    std::fs::set_permissions(&mine, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = hub.agenthub(&["--db", path, "doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let advice = findings.iter().find(|f| f["check"] == "modes").unwrap()["advice"].to_string();
    assert!(
        advice.contains(r"chmod 600 '") && advice.contains(r"it'\\''s mine.db"),
        "{advice}"
    );
}

#[test]
fn an_unusable_token_is_reported_and_status_still_works() {
    let hub = TestHub::start();
    let token = hub.folder().join("hub.db.token");
    std::fs::write(&token, "short\n").unwrap();
    let output = hub.agenthub(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(
        finding(findings, "token").contains(token.to_str().unwrap()),
        "{findings:?}"
    );
    let status = hub.agenthub(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(
        status["hub"]["status"].is_null() && status["counts"]["messages"] == 0,
        "{status}"
    );
}

/// Rows written without triggers reach no client: the hub and doctor say so, and `--repair` delivers them.
#[test]
fn reports_and_repairs_rows_written_without_triggers() {
    let hub = TestHub::with_args(&["--poll-interval", "0.1"]);
    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')");
    let mut client = hub.connect("streams=messages,inbox&since=0");
    client.expect("hello");
    assert_eq!(client.expect("message").seqs(), [1]);
    assert_eq!(hub.get("/readyz").status, 200);
    hub.sql(
        ".dbconfig enable_trigger off\nINSERT INTO messages(thread_id, from_id) VALUES('t', 'a'), ('t', 'a');\n\
         INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b');",
    );
    // The statements are two commits.
    wait_for("the hub to report the rows", || {
        let response = hub.get("/readyz");
        let reported = |text: &str| response.body.contains(text);
        (response.status == 503 && reported("row 3 of messages") && reported("row 1 of inbox_messages")).then_some(())
    });
    assert!(
        hub.status()["trouble"]["message"]
            .as_str()
            .unwrap()
            .contains("doctor --repair")
    );
    let found = finding(&doctor_problems(&hub), "rows");
    for part in [
        "rows 2 to 3 of messages",
        "row 1 of inbox_messages",
        "without a number: 2",
    ] {
        assert!(found.contains(part), "{found}");
    }
    hub.sql("DROP TRIGGER inbox_messages_update");
    let output = hub.agenthub(&["doctor", "--repair", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["repaired"]["triggers"][0], "inbox_messages_update");
    assert_eq!(report["repaired"]["numbered"], 2);
    assert!(std::path::Path::new(report["repaired"]["copy"].as_str().unwrap()).exists());
    assert_eq!(client.expect("batch").seqs(), [2, 3]);
    client.expect("inbox_message");
    wait_for("the hub to be ready again", || {
        (hub.get("/readyz").status == 200).then_some(())
    });
    assert!(
        !doctor_problems(&hub)
            .iter()
            .any(|f| f["check"] == "rows" || f["check"] == "schema")
    );
    let again = hub.agenthub(&["doctor", "--repair"]);
    assert!(String::from_utf8_lossy(&again.stdout).starts_with("nothing to repair"));
}

#[test]
fn refuses_a_message_that_gets_no_number() {
    let hub = TestHub::start();
    hub.sql("DROP TRIGGER messages_insert");
    let response = hub.send("POST", "/api/threads/t/messages", r#"{"from_id": "a", "content": "x"}"#);
    assert_eq!(response.status, 500, "{response:?}");
    assert!(response.body.contains("doctor --repair"), "{response:?}");
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "0");
    assert_eq!(hub.agenthub(&["post", "t", "x", "--from", "a"]).status.code(), Some(1));
}

/// A program that stores Unix time in seconds dates its rows to 1970.
#[test]
fn reports_rows_whose_time_is_in_seconds() {
    let hub = TestHub::start();
    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')");
    assert_eq!(doctor_problems(&hub), Vec::<Value>::new());
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, created_at) VALUES('t', 'metronome', 1767225600), ('t', 'metronome', 1767225601);
         INSERT INTO inbox_messages(from_agent, to_inbox, created_at) VALUES('cuckoo', 'human', 1767225600);
         INSERT INTO telemetry(instance_id, agent_id, created_at) VALUES('run', 'sundial', 1767225600);
         INSERT INTO task_stream(task_id, stream_type, agent_id, created_at) VALUES('k', 'text', 'pendulum', 1767225600);",
    );
    let findings = doctor_problems(&hub);
    let message = finding(&findings, "clock");
    for fact in [
        "2 rows of messages",
        "\"metronome\"",
        "1 row of inbox_messages",
        "\"cuckoo\"",
        "1 row of telemetry",
        "\"sundial\"",
        "1 row of task_stream",
        "\"pendulum\"",
        "seconds",
    ] {
        assert!(message.contains(fact), "{fact}: {message}");
    }
    let found = findings.iter().find(|f| f["check"] == "clock").unwrap();
    assert!(found["advice"].as_str().unwrap().contains("milliseconds"), "{found}");
}

#[test]
fn reports_records_of_sessions_whose_format_has_changed() {
    let hub = TestHub::start();
    let is_reported = || doctor_problems(&hub).iter().any(|f| f["check"] == "tokens");
    let state = |with: i64, without: i64| {
        format!(
            "INSERT OR REPLACE INTO sessions(id, transcript, transcript_state, last_event_at) VALUES('codex-s', '/s.jsonl', \
             '{{\"transcript\":{{\"lines_with_usage\":{with},\"lines_without_usage\":{without}}}}}', unixepoch() * 1000)"
        )
    };
    assert!(!is_reported());
    hub.sql(&state(9, 1));
    assert!(!is_reported());
    hub.sql(&state(1, 9));
    let message = finding(&doctor_problems(&hub), "tokens");
    assert!(message.contains("1 session of Codex"), "{message}");
    assert_eq!(message.lines().count(), 1);
}
