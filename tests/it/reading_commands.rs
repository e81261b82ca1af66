//! Commands that read write nothing but receipts and the reader's own agent.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Output, Stdio};

use crate::support::agent::ScriptedAgent;
use crate::support::command::{assert_one_line, fails, run, stderr};
use crate::support::person::{OTHER_USER, as_other_user};
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

#[test]
fn reading_commands_create_no_database_and_no_directory() {
    let hub = TestHub::not_started(&[]);
    let missing = hub.folder().join("no/such/hub.db");
    let copy = hub.folder().join("copy.db");
    for args in [
        &["status"][..],
        &["threads"],
        &["agents"],
        &["sessions"],
        &["trace", "1"],
        &["search", "x"],
        &["inbox"],
        &["inbox", "planner", "--as", "planner"],
        &["read", "1"],
        &["tail"],
        &["tail", "build"],
        &["token"],
        &["token", "--rotate"],
        &["backup", copy.to_str().unwrap()],
        &["prune", "--older-than", "1d"],
        &["prune", "--older-than", "1d", "--dry-run"],
        &["doctor"],
    ] {
        let output = hub.command(args).env("AGENTHUB_DB", &missing).output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {message}");
        assert!(message.contains(missing.to_str().unwrap()), "{args:?}: {message}");
        assert!(!hub.folder().join("no").exists(), "{args:?}");
        if args[0] != "doctor" {
            assert_one_line(&message);
            for advice in ["does not exist", "--db", "agenthub serve"] {
                assert!(message.contains(advice), "{args:?}: {message}");
            }
        }
    }
    assert!(!copy.exists());
}

#[test]
fn an_inbox_of_an_unknown_name_is_an_error_with_a_suggestion() {
    let hub = database();
    let before = dump(&hub);
    for args in [
        &["inbox", "plannre"][..],
        &["inbox", "plannre", "--unread"],
        &["inbox", "plannre", "--as", "planner"],
        &["inbox", "plannre", "--claim", "--as", "planner"],
        &["inbox", "plannre", "--claim"],
    ] {
        let message = fails(&hub, args, 4);
        assert!(
            message.contains("plannre") && message.contains("did you mean planner?"),
            "{message}"
        );
        assert!(message.contains("--wait"), "{message}");
    }
    assert_eq!(dump(&hub), before);
    // An inbox is known by its agent or its mail.
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('boss', 'jobs')");
    for name in ["planner", "jobs", "human", "all"] {
        run(&hub, &["inbox", name]);
    }
}

/// Gives the database and its folder to another user, who may only read the database.
fn read_only(hub: &TestHub, directory_mode: u32) {
    let mode = |path: &std::path::Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        // Copies the program.
        drop(as_other_user(hub, &[]));
    }
    for entry in fs::read_dir(hub.folder()).unwrap().map(|entry| entry.unwrap().path()) {
        if is_root {
            chown(&entry, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
        }
    }
    mode(hub.db(), 0o400);
    mode(hub.folder(), directory_mode);
    if is_root {
        chown(hub.folder(), Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    }
}

/// Runs a command as a user to whom file modes apply.
fn as_reader(hub: &TestHub, args: &[&str]) -> Output {
    match rustix::process::geteuid().is_root() {
        true => as_other_user(hub, args).output().unwrap(),
        false => hub.agenthub(args),
    }
}

#[test]
fn reads_a_database_that_cannot_be_written() {
    for directory_mode in [0o700, 0o500] {
        let hub = database();
        // The index and the log of the database exist as long as a process has it open.
        let open = ScriptedAgent::start(&hub, "db.execute('SELECT 1 FROM agents').fetchall()\npause()\n");
        read_only(&hub, directory_mode);
        for (args, shown) in [
            (&["status"][..], "3 messages"),
            (&["threads"], "t "),
            (&["agents"], "planner"),
            (&["trace", "1"], "boss"),
            (&["search", "work"], "work"),
            (&["inbox", "planner"], "#1"),
            (&["inbox", "planner", "--as", "planner"], "#1"),
            (&["inbox", "planner", "--as", "newcomer"], "#1"),
            (&["read", "1"], "work"),
            (&["read", "1", "--as", "planner"], "work"),
            (&["prune", "--older-than", "1d", "--dry-run"], "no rows"),
        ] {
            let output = as_reader(&hub, args);
            assert!(output.status.success(), "{directory_mode:o}: {args:?}: {output:?}");
            let stdout = String::from_utf8(output.stdout).unwrap();
            assert!(stdout.contains(shown), "{args:?}: {stdout}");
        }
        assert!(stderr(&as_reader(&hub, &["read", "1", "--as", "planner"])).contains("not marked as read"));
        let output = as_reader(&hub, &["post", "t", "x", "--from", "a"]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        drop(open);
        fs::set_permissions(hub.folder(), Permissions::from_mode(0o700)).unwrap();
    }
}

/// MCP servers run outside of the sandbox of an agent's shell.
#[test]
fn error_in_a_sandboxed_shell_names_the_mcp_tool() {
    let hub = database();
    let open = ScriptedAgent::start(&hub, "db.execute('SELECT 1 FROM agents').fetchall()\npause()\n");
    read_only(&hub, 0o700);
    let fails = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = match rustix::process::geteuid().is_root() {
            true => as_other_user(&hub, args),
            false => hub.command(args),
        };
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}: {output:?}");
        let message = stderr(&output);
        assert_one_line(&message);
        message
    };
    let in_sandbox = [("CODEX_THREAD_ID", "019ab3c4-0001-7d50-8000-00000000000a")];
    for (args, tool) in [
        (&["send", "planner", "x"][..], "send_message"),
        (&["post", "t", "x"], "send_message"),
        (&["reply", "1", "x"], "reply"),
        (&["ack", "2"], "ack_message"),
        (&["ask", "human", "x?", "--wait", "0"], "ask_human"),
        (&["ask", "planner", "x?", "--wait", "0"], "send_message"),
        (&["inbox", "--wait", "0"], "check_inbox"),
        (&["inbox", "planner", "--claim"], "check_inbox"),
    ] {
        let message = fails(args, &in_sandbox);
        let advice = format!("; this shell cannot write the database (a sandbox); use the MCP tool {tool}\n");
        assert!(message.ends_with(&advice), "{args:?}: {message}");
    }
    let message = fails(&["send", "planner", "x", "--from", "script"], &[]);
    assert!(
        message.contains("write permission") && !message.contains("MCP"),
        "{message}"
    );
    drop(open);
}

/// SQLite cannot read a database in WAL mode without the files beside it.
#[test]
fn says_why_a_database_cannot_be_read() {
    let hub = database();
    read_only(&hub, 0o500);
    for args in [
        &["status"][..],
        &["inbox", "planner"],
        &["read", "1"],
        &["search", "work"],
    ] {
        let output = as_reader(&hub, args);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {message}");
        assert_one_line(&message);
        let folder = hub.folder().to_str().unwrap();
        assert!(
            message.contains("cannot read") && message.contains("-wal"),
            "{args:?}: {message}"
        );
        assert!(message.contains(&format!("directory {folder}")), "{args:?}: {message}");
    }
    fs::set_permissions(hub.folder(), Permissions::from_mode(0o700)).unwrap();
}
