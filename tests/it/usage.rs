//! What is typed wrong, and what cannot be done: one line each, which says what to do next.

use crate::support::TestHub;

/// What a command says that must end with this code and print nothing else.
#[track_caller]
fn fails(hub: &TestHub, args: &[&str], code: i32) -> String {
    let output = hub.agenthub(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    said
}

#[track_caller]
fn refused(hub: &TestHub, args: &[&str]) -> String {
    fails(hub, args, 2)
}

/// Without it one mistake would be told two or three times in a line.
#[test]
fn nothing_is_said_twice() {
    let hub = TestHub::not_started(&[]);
    assert!(hub.agenthub(&["path"]).status.success());
    assert!(hub.agenthub(&["post", "t", "x", "--id", "m"]).status.success());
    let said = fails(&hub, &["post", "t", "y", "--id", "m"], 1);
    assert_eq!(said.matches("exists").count(), 1, "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let said = fails(&hub, &["serve", "--listen", &listen], 1);
    assert_eq!(said.to_lowercase().matches("in use").count(), 1, "{said}");
}

/// Without it a typing error would do something.
#[test]
fn usage_errors_exit_with_two() {
    let hub = TestHub::not_started(&[]);
    for args in [
        &["serv"][..],
        &[],
        &["serve", "--max-batch-size", "0"],
        &["serve", "--pong-wait", "0"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--watch", "maybe"],
        &["post", "t", "x", "--colour", "red"],
        &["path", "--db", ""],
    ] {
        let said = refused(&hub, args);
        assert!(
            said.contains("agenthub ") && said.contains("--help"),
            "{args:?}: {said}"
        );
    }
    assert!(refused(&hub, &["serv"]).contains("'serve'"), "what was meant is said");
    assert!(refused(&hub, &[]).contains("agenthub serve"));
    assert!(refused(&hub, &["post", "t"]).ends_with("see agenthub post --help\n"));
    for args in [
        &["inbox", ""][..],
        &["inbox", "--as", ""],
        &["trace", ""],
        &["read", " "],
        &["ack", "1", ""],
        &["reply", "", "x"],
        &["send", "", "x", "--new"],
        &["ask", "", "x"],
        &["post", "t", "x", "--from", ""],
    ] {
        assert!(refused(&hub, args).contains("empty"), "{args:?}");
    }
    assert!(!hub.db().exists());
    for (arg, word) in [("--version", "agenthub "), ("--help", "serve")] {
        let output = hub.agenthub(&[arg]);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains(word));
    }
}
