//! What the hub says on stderr: nothing while all is well, one line for each change, and more
//! for whoever asks for it.

use std::fs::File;
use std::process::Stdio;

use crate::support::writer::{Process, insert_messages};
use crate::support::{TestHub, within};

/// Without it the line that matters would be lost among those that do not.
#[test]
fn the_log_is_quiet_while_all_is_well() {
    let mut hub = TestHub::start();
    let mut client = hub.connect("streams=messages,inbox");
    client.expect("hello");
    for round in 0..5 {
        hub.sql(&insert_messages("t", 1 + round * 200, 200));
        assert_eq!(
            hub.send("POST", "/api/inbox", r#"{"to_inbox":"planner","payload":"x"}"#)
                .status,
            201
        );
        assert_eq!(hub.get("/api/search?q=text").items().len(), 100);
        // One that is told nothing of the mail.
        let mut other = hub.connect("streams=telemetry");
        other.expect("hello");
        other.assert_alive();
        assert_eq!(hub.get("/nowhere").status, 404);
    }
    within("a checkpoint", || {
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
    assert!(lines[0].contains("serving") && lines[1].contains("going down"), "{log}");
}

/// Without it nobody could look closer, or would look at nothing after a slip of the pen.
#[test]
fn agenthub_log_says_more_and_a_wrong_one_is_told() {
    let hub = TestHub::not_started(&[]);
    for (asked, expected) in [
        ("agenthub=debug", " DEBUG "),
        ("verbose", "AGENTHUB_LOG is not used"),
        ("agenthub=loud", "AGENTHUB_LOG is not used"),
    ] {
        let path = hub.folder().join("log");
        let mut command = hub.command(&["serve", "--listen", "127.0.0.1:0"]);
        command
            .env("AGENTHUB_LOG", asked)
            .stdout(Stdio::null())
            .stderr(File::create(&path).unwrap());
        let process = Process::start(command);
        let log = || std::fs::read_to_string(&path).unwrap();
        within("the hub's first line", || log().contains("serving").then_some(()));
        // A text that is none, which is worth a word to whoever asks for it.
        hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', CAST(x'ff' AS TEXT))");
        within(expected, || log().contains(expected).then_some(()));
        drop(process);
    }
}
