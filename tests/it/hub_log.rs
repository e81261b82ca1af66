//! The hub's log on stderr: one line per change of state, and more with `AGENTHUB_LOG`.

use std::fs::File;
use std::process::Stdio;

use crate::support::writer::{Process, insert_messages};
use crate::support::{TestHub, wait_for};

#[test]
fn logs_only_start_and_shutdown_without_problems() {
    let mut hub = TestHub::start();
    let mut client = hub.connect("streams=messages,inbox");
    client.expect("hello");
    for round in 0..5 {
        hub.sql(&insert_messages("t", 1 + round * 200, 200));
        assert_eq!(
            hub.send(
                "POST",
                "/api/inbox",
                r#"{"from_agent":"tester","to_inbox":"planner","payload":"x"}"#
            )
            .status,
            201
        );
        assert_eq!(hub.get("/api/search?q=text").items().len(), 100);
        // A client whose streams do not include the mail.
        let mut other = hub.connect("streams=telemetry");
        other.expect("hello");
        other.assert_alive();
        assert_eq!(hub.get("/nowhere").status, 404);
    }
    wait_for("a checkpoint", || {
        hub.get("/metrics")
            .body
            .contains("agenthub_checkpoints_total{mode=\"passive\",result=\"complete\"}")
            .then_some(())
    });
    drop(client);
    hub.stop();
    let log = hub.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(
        lines[0].contains("serving") && lines[1].contains("shutting down"),
        "{log}"
    );
}

#[test]
fn agenthub_log_sets_the_level_and_an_invalid_value_is_reported() {
    let hub = TestHub::not_started(&[]);
    for (value, expected) in [
        ("agenthub=debug", " DEBUG "),
        ("verbose", "AGENTHUB_LOG"),
        ("agenthub=loud", "AGENTHUB_LOG"),
    ] {
        let path = hub.folder().join("log");
        let mut command = hub.command(&["serve", "--listen", "127.0.0.1:0"]);
        command
            .env("AGENTHUB_LOG", value)
            .stdout(Stdio::null())
            .stderr(File::create(&path).unwrap());
        let process = Process::start(command);
        let log = || std::fs::read_to_string(&path).unwrap();
        wait_for("the hub's first line", || log().contains("serving").then_some(()));
        // Text that is not UTF-8, which is logged at level debug.
        hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', CAST(x'ff' AS TEXT))");
        wait_for(expected, || log().contains(expected).then_some(()));
        drop(process);
    }
}
