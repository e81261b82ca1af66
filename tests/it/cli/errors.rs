//! Usage errors, failures and their messages.
//!
//! A usage error is clap's message on stderr and exit code 2. Any other failure is one line on stderr.
//! Neither prints anything on stdout.

use std::path::Path;

use crate::support::TestHub;
use crate::support::command::{assert_one_line, fails, run, stderr};

#[test]
fn usage_errors_exit_with_code_2_and_show_the_usage() {
    let hub = TestHub::not_started(&[]);
    for (args, named) in [
        (&["serv"][..], "'serv'"),
        (&["serve", "--max-batch-size", "0"], "--max-batch-size"),
        (&["serve", "--pong-wait", "0"], "--pong-wait"),
        (&["serve", "--listen", "nowhere"], "--listen"),
        (&["serve", "--watch", "maybe"], "--watch"),
        (&["post", "t", "x", "--colour", "red"], "--colour"),
        (&["post", "t"], "<TEXT>"),
        (&["inbox", "--limit", "0"], "--limit"),
        (&["inbox", "--wait", "-1"], "-1"),
        (&["inbox", "--wait", "soon"], "--wait"),
        (&["inbox", "--lease", "5"], "--claim"),
        (&["tail", "--from-seq", "3"], "<THREAD>"),
        (&["completions", "tcsh"], "tcsh"),
        (&["send", "human", "x", "--from", "all"], "--from"),
        (&["run", "--task", "", "--", "true"], "--task"),
    ] {
        let message = fails(&hub, args, 2);
        let (first, rest) = message.split_once('\n').unwrap();
        assert!(first.starts_with("error: "), "{args:?}: {message}");
        assert!(rest.contains("--help"), "{args:?}: {message}");
        assert!(message.contains(named), "{args:?}: {message}");
    }
    // Without a command: the usage, and how to get the list of commands.
    let message = fails(&hub, &[], 2);
    assert!(message.contains("<COMMAND>") && message.contains("--help"), "{message}");
    assert!(!hub.db().exists());
}

#[test]
fn usage_errors_suggest_similar_commands_and_flags() {
    let hub = TestHub::not_started(&[]);
    for (args, suggested) in [
        (&["serv"][..], "'serve'"),
        (&["sned", "human", "x"], "'send'"),
        (&["inbox", "--unred"], "'--unread'"),
    ] {
        let message = fails(&hub, args, 2);
        assert!(message.contains("tip:") && message.contains(suggested), "{message}");
    }
}

#[test]
fn usage_errors_never_suggest_hidden_commands() {
    let hub = TestHub::not_started(&[]);
    for args in [&["hok"][..], &["hoook", "claude-code"], &[]] {
        let message = fails(&hub, args, 2);
        assert!(
            !message.contains("hook'") && !message.contains("hook,"),
            "{args:?}: {message}"
        );
    }
}

#[test]
fn usage_errors_escape_hidden_characters_of_arguments() {
    let hub = TestHub::not_started(&[]);
    for args in [&["\u{1b}[2J\u{202e}"][..], &["inbox", "--wait", "\u{1b}[2J\u{202e}"]] {
        let message = fails(&hub, args, 2);
        assert!(!message.contains(['\u{1b}', '\u{202e}']), "{message:?}");
        // clap itself removes the escape sequence.
        assert!(message.contains("\\u{202e}"), "{message:?}");
    }
}

#[test]
fn hook_calls_that_cannot_be_parsed_exit_silently_with_code_0() {
    let hub = TestHub::not_started(&[]);
    for args in [
        &["hook", "--no-such-flag", "--db"][..],
        &["--db", "x", "hook", "--db"],
        &["hook", "--log-format"],
    ] {
        let output = hub.agenthub(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert!(
            output.stdout.is_empty() && output.stderr.is_empty(),
            "{args:?}: {output:?}"
        );
    }
}

#[test]
fn empty_names_and_ids_are_usage_errors() {
    let hub = TestHub::not_started(&[]);
    for args in [
        &["inbox", ""][..],
        &["inbox", "--as", ""],
        &["trace", ""],
        &["read", " "],
        &["ack", "1", ""],
        &["reply", "", "x"],
        &["send", "", "x", "--new"],
        &["ask", "", "x"],
        &["post", "", "x"],
        &["post", "t", "x", "--from", ""],
    ] {
        let message = fails(&hub, args, 2);
        assert!(
            message.contains("empty") && message.contains("--help"),
            "{args:?}: {message}"
        );
    }
    let message = fails(&hub, &["path", "--db", ""], 2);
    assert!(message.contains("--db"), "{message}");
    assert!(!hub.db().exists());
}

#[test]
fn help_and_version_print_to_stdout() {
    let hub = TestHub::not_started(&[]);
    assert!(run(&hub, &["--version"]).starts_with("agenthub "));
    let help = run(&hub, &["--help"]);
    assert_eq!(run(&hub, &["help"]), help);
    assert!(fails(&hub, &["help", "psot"], 2).contains("psot"));
    assert!(help.contains("serve") && !help.contains("hook "), "{help}");
    // Every command that the help lists has a help of its own, which fits the terminal.
    let commands = help.split_once("Commands:\n").unwrap().1.lines();
    let commands: Vec<_> = commands.map_while(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        // clap's own command has no flags.
        if command == "help" {
            continue;
        }
        let help = run(&hub, &[command, "--help"]);
        assert_eq!(run(&hub, &["help", command]), help);
        assert!(help.contains("Usage: agenthub"), "{command}: {help}");
        let longest = help.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= 110, "{command}: a line of {longest} characters");
    }
}

#[test]
fn failures_print_one_line_with_the_id_or_path() {
    let hub = TestHub::not_started(&[]);
    std::fs::write(hub.folder().join("file"), "").unwrap();
    let below_file = hub.folder().join("file/hub.db");
    let other_program = hub.folder().join("other.db");
    std::fs::write(&other_program, "not a database, but long enough for SQLite to read it").unwrap();
    for (db, args, code, named) in [
        (below_file.as_path(), &["send", "human", "x"][..], 3, "file"),
        (hub.folder(), &["inbox"], 3, ""),
        (&other_program, &["inbox"], 3, ""),
        (hub.db(), &["reply", "17", "x"], 4, "17"),
        (hub.db(), &["ack", "17"], 4, "17"),
        (hub.db(), &["read", "17"], 4, "17"),
        (hub.db(), &["trace", "17"], 4, "17"),
        (hub.db(), &["send", "nobody", "x"], 4, "nobody"),
        (hub.db(), &["ask", "human", "x"], 2, "human"),
        (hub.db(), &["ask", "all", "x"], 2, "all"),
    ] {
        let db: &Path = db;
        let output = hub.command(args).env("AGENTHUB_DB", db).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
        assert!(output.stdout.is_empty());
        // Batch acknowledgement prints the rows that succeeded first: none here.
        assert_one_line(&message);
        assert!(message.contains(named), "{args:?}: {message}");
    }
}

#[test]
fn failures_name_their_cause_once() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["post", "t", "x", "--id", "m"]);
    let message = fails(&hub, &["post", "t", "y", "--id", "m"], 1);
    assert_eq!(message.matches("exists").count(), 1, "{message}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let message = fails(&hub, &["serve", "--listen", &listen], 1);
    assert_eq!(message.to_lowercase().matches("in use").count(), 1, "{message}");
}

#[test]
fn creates_a_missing_home_directory() {
    let hub = TestHub::not_started(&[]);
    let home = hub.folder().join("none");
    let mut command = hub.command(&["path"]);
    command
        .env_remove("AGENTHUB_DB")
        .env("HOME", &home)
        .env_remove("XDG_DATA_HOME");
    assert!(command.output().unwrap().status.success());
    assert!(home.is_dir());
}

/// The database would be another one in each directory.
#[test]
fn refuses_a_relative_home_directory() {
    let hub = TestHub::not_started(&[]);
    std::fs::create_dir(hub.folder().join("home")).unwrap();
    for (home, args) in [
        ("home", &["path"][..]),
        ("home", &["post", "t", "x"]),
        ("./home", &["status"]),
        ("home", &["init", "--yes"]),
        (".", &["init", "--dry-run"]),
    ] {
        let mut command = hub.command(args);
        command
            .env_remove("AGENTHUB_DB")
            .env("HOME", home)
            .env_remove("XDG_DATA_HOME");
        let output = command.output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert_one_line(&message);
        assert!(
            message.contains("HOME") && message.contains(&format!("{home:?}")),
            "{message}"
        );
        assert!(message.contains("absolute"), "{message}");
        assert_eq!(std::fs::read_dir(hub.folder().join("home")).unwrap().count(), 0);
    }
    // Nothing depends on it if the database is given.
    let output = hub.command(&["post", "t", "x"]).env("HOME", "home").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn text_over_1_mib_is_refused() {
    let hub = TestHub::not_started(&[]);
    let text = hub.folder().join("text");
    std::fs::write(&text, "x".repeat(1_100_000)).unwrap();
    let mut command = hub.command(&["send", "human", "-"]);
    let output = command.stdin(std::fs::File::open(&text).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 MiB"), "{output:?}");
}
