//! The hub's log on stderr: one line per change of state, and more with `AGENTHUB_LOG`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use crate::support::writer::{Process, insert_messages};
use crate::support::{TIMEOUT, TestHub, wait_for};

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

/// Sends `count` requests for a foreign host on one connection and waits for their responses.
fn send_refused_requests(hub: &TestHub, count: usize) {
    let request = "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all((request.repeat(count - 1) + last).as_bytes()).unwrap();
    let mut responses = String::new();
    stream.read_to_string(&mut responses).unwrap();
    assert_eq!(responses.matches("HTTP/1.1 403").count(), count);
}

/// Returns the lines about requests refused with FORBIDDEN, and the number of requests they report.
fn forbidden_in_log(hub: &TestHub) -> (usize, usize) {
    let log = hub.log();
    let lines = log.lines().filter(|line| line.contains(" WARN refused "));
    let reported = lines.map(|line| match line.split_once(" more with FORBIDDEN") {
        Some((before, after)) if after.starts_with(" in the last ") => {
            before.rsplit(' ').next().unwrap().parse().unwrap()
        }
        Some((before, _)) => 1 + before.rsplit('(').next().unwrap().parse::<usize>().unwrap(),
        None => 1,
    });
    let reported: Vec<usize> = reported.collect();
    (reported.len(), reported.iter().sum())
}

/// A web page can send thousands of requests per second; they must not fill the disk with log lines.
#[test]
fn logs_refused_requests_once_per_reason_and_counts_the_rest() {
    const CONNECTIONS: usize = 10;
    const REQUESTS: usize = 1000;
    let mut hub = TestHub::start();
    for _ in 0..CONNECTIONS {
        send_refused_requests(&hub, REQUESTS);
    }
    assert_eq!(hub.status()["refused"], CONNECTIONS * REQUESTS);
    let first = hub.log().lines().nth(1).unwrap().to_owned();
    assert!(
        first.contains("the host \"evil.test\" is not one of this hub"),
        "{first}"
    );
    // On shutdown the hub reports what it has not reported yet.
    hub.stop();
    let (lines, refused) = forbidden_in_log(&hub);
    assert_eq!(refused, CONNECTIONS * REQUESTS, "{}", hub.log());
    assert!(lines <= 4, "{}", hub.log());
}

#[test]
fn reports_the_number_of_refused_requests_after_10_s_heavy() {
    let hub = TestHub::start();
    send_refused_requests(&hub, 3);
    hub.wait_for_log("refused 2 more with FORBIDDEN in the last 1");
    assert_eq!(forbidden_in_log(&hub), (2, 3), "{}", hub.log());
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
