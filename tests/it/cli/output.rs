//! What commands print: tables and facts for people, JSON with documented fields, colors.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::TestHub;
use crate::support::command::{command_as, keys, run, run_as, run_json, run_json_as};

fn key_set(value: &Value) -> BTreeSet<String> {
    keys(value).into_iter().collect()
}

#[test]
fn json_has_the_fields_that_the_help_documents() {
    let hub = TestHub::not_started(&[]);
    run_as(&hub, "planner", &["post", "build", "green"]);
    run_as(&hub, "planner", &["send", "human", "look"]);
    run(&hub, &["read", "1"]);
    // The words in the first braces of the help.
    let documented = |command: &str| -> BTreeSet<String> {
        let help = run(&hub, &[command, "--help"]);
        let row = help.split_once("  {").unwrap().1.split_once("}\n").unwrap().0;
        let words = row.split([',', ' ', '\n', '{', '}', '[', ']', ':', '"']);
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    assert_eq!(key_set(&run_json(&hub, &["inbox"])[0]), documented("inbox"));
    assert_eq!(key_set(&run_json(&hub, &["read", "1"])), documented("read"));
    assert_eq!(key_set(&run_json(&hub, &["ack", "1"])[0]), documented("ack"));
    assert_eq!(key_set(&run_json(&hub, &["threads"])[0]), documented("threads"));
    assert_eq!(key_set(&run_json(&hub, &["agents"])[0]), documented("agents"));
    assert_eq!(key_set(&run_json(&hub, &["post", "build", "red"])), documented("post"));
    hub.sql("INSERT INTO task_stream(task_id, stream_type, text) VALUES('k', 'text', 'look, green')");
    let hits = [&["search", "look"][..], &["search", "green"]].map(|args| run_json(&hub, args));
    let found = hits.iter().flat_map(|hits| hits.as_array().unwrap()).flat_map(key_set);
    assert_eq!(found.collect::<BTreeSet<_>>(), documented("search"));
    let copy = hub.folder().join("copy.db");
    for (args, fields) in [
        (&["status"][..], "hub db counts growth"),
        (&["prune", "--older-than", "30d"], "dry_run before agents_before pruned"),
        (&["backup", copy.to_str().unwrap()], "path size changes"),
        (&["doctor"], "path state findings"),
        (&["path"], "path"),
        (&["token"], "token"),
        (&["schema"], "version sql"),
        (&["schema", "--wire"], "wire"),
    ] {
        let fields: BTreeSet<_> = fields.split(' ').map(str::to_owned).collect();
        assert_eq!(key_set(&run_json(&hub, args)), fields, "{args:?}");
    }
    hub.sql("INSERT INTO wakes(session, agent, mail) SELECT 's', to_inbox, n FROM inbox_messages WHERE n = 1");
    let trace = run_json(&hub, &["trace", "1"]);
    let rows = [&trace, &trace["receipts"][0], &trace["wakes"][0]];
    let found: BTreeSet<_> = rows.into_iter().flat_map(key_set).collect();
    assert_eq!(found, documented("trace"));
}

#[test]
fn empty_lists_are_one_line_or_an_empty_array() {
    for is_created in [true, false] {
        for args in [&["inbox"][..], &["agents"], &["threads"], &["search", "x"]] {
            let hub = TestHub::not_started(&[]);
            match is_created {
                true => drop(run(&hub, &["path"])),
                // A database without bytes, as sqlite3 leaves one, is a new database.
                false => std::fs::write(hub.db(), "").unwrap(),
            }
            let text = run(&hub, args);
            assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
            assert_eq!(run_json(&hub, args), json!([]), "{args:?}");
        }
    }
    let hub = TestHub::not_started(&[]);
    std::fs::write(hub.db(), "").unwrap();
    assert_eq!(hub.agenthub(&["trace", "1"]).status.code(), Some(4));
}

/// The cells of the row of a table that begins with `first`.
#[track_caller]
fn cells<'a>(table: &'a str, first: &str) -> Vec<&'a str> {
    let row = table.lines().find(|line| line.starts_with(first));
    let row = row.unwrap_or_else(|| panic!("no row {first}:\n{table}"));
    row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn mail_is_shown_with_its_number_people_and_state() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["send", "planner", "welcome", "--new"]);
    run_as(
        &hub,
        "tester",
        &[
            "send",
            "planner",
            "Look at this\n\nThe parser is slow.",
            "--priority",
            "urgent",
        ],
    );
    let table = run(&hub, &["inbox", "--as", "planner"]);
    assert!(table.starts_with("ID "), "{table}");
    let first_column: Vec<_> = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(first_column, ["#2", "#1"], "newest first: {table}");
    assert_eq!(cells(&table, "#2")[2..], ["tester", "unread", "urgent", "Look at this"]);
    // A number with and without #, or an id.
    let text = run(&hub, &["read", "#2", "--as", "planner"]);
    for fact in [
        "#2",
        "tester",
        "planner",
        "urgent",
        "read",
        "\nLook at this\n\nThe parser is slow.\n",
    ] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    assert!(run(&hub, &["read", "1", "--as", "planner"]).contains("welcome"));
    assert_eq!(cells(&run(&hub, &["inbox", "--as", "planner"]), "#2")[3], "read");
    assert!(run_as(&hub, "planner", &["reply", "2", "No."]).contains("tester"));
    assert_eq!(
        cells(&run(&hub, &["inbox", "--as", "tester"]), "#3")[2..4],
        ["planner", "unread"]
    );
    let agents = run(&hub, &["agents"]);
    let tester = cells(&agents, "tester");
    assert_eq!((tester[1], tester[3]), ("idle", "1"), "one unread: {agents}");
    assert!(!agents.contains("welcome"));
}

/// Another agent may read mail; that does not mark it as read for its recipient.
#[test]
fn reading_mail_of_another_agent_leaves_it_unread() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["path"]);
    run(&hub, &["inbox", "--as", "planner"]);
    run(&hub, &["send", "planner", "welcome"]);
    for args in [&["read", "1"][..], &["ack", "1"]] {
        let output = command_as(&hub, "tester", args).output().unwrap();
        assert!(output.status.success());
        let note = String::from_utf8(output.stderr).unwrap();
        assert!(note.contains("tester") && note.contains("unread for planner"), "{note}");
    }
    assert_eq!(cells(&run(&hub, &["inbox", "--as", "planner"]), "#1")[3], "unread");
}

#[test]
fn trace_shows_each_receipt_and_answer() {
    let hub = TestHub::not_started(&[]);
    let trace = |id: &str| run(&hub, &["trace", id]);
    run(&hub, &["send", "deploy", "ship it", "--new"]);
    assert!(
        trace("1").contains("deploy") && trace("1").contains("unread"),
        "{}",
        trace("1")
    );
    run_as(&hub, "deploy", &["read", "1"]);
    assert!(trace("1").contains("seen by deploy"), "{}", trace("1"));
    run_as(&hub, "deploy", &["reply", "1", "done"]);
    let text = trace("1");
    for fact in ["seen by deploy", "acked by deploy", "#2", "done"] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    run(&hub, &["post", "build", "green", "--id", "m"]);
    assert!(trace("m").contains("build #1"), "{}", trace("m"));
    let json = run_json(&hub, &["trace", "1"]);
    assert_eq!((&json["type"], &json["answers"][0]["n"]), (&json!("mail"), &json!(2)));
}

#[test]
fn search_finds_words_in_messages_and_mail() {
    let hub = TestHub::not_started(&[]);
    run(&hub, &["post", "build", "merging the parser"]);
    run(&hub, &["send", "human", "the parser is slow"]);
    let text = run(&hub, &["search", "parser"]);
    assert!(text.contains("thread build #1") && text.contains("to human"), "{text}");
    assert_eq!(
        run_json(&hub, &["search", "parser", "slow"])[0]["table"],
        "inbox_messages"
    );
    assert_eq!(
        run_json(&hub, &["search", "--", "parser", "-slow"])[0]["table"],
        "messages"
    );
}

#[test]
fn columns_are_aligned_for_wide_and_combining_characters() {
    let hub = TestHub::not_started(&[]);
    for name in ["漢字", "x\u{301}", "plain"] {
        run(&hub, &["post", name, "x"]);
    }
    let table = run(&hub, &["threads"]);
    // The column after the name begins at the same column of the terminal in each row.
    for (name, width) in [("漢字", 4), ("x\u{301}", 1), ("plain", 5), ("THREAD", 6)] {
        let row = table.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let spaces = row.len() - row.trim_start().len();
        assert_eq!(width + spaces, 8, "{name}:\n{table}");
    }
}

#[test]
fn completions_exist_for_every_shell_and_command() {
    let hub = TestHub::not_started(&[]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&hub, &["completions", shell]);
        for command in ["inbox", "ask", "trace", "mcp", "completions"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let script = run(&hub, &["completions", "bash"]);
    let mut bash = Command::new("bash");
    bash.args(["-c", "source /dev/stdin; COMP_WORDS=(agenthub inb); COMP_CWORD=1; _agenthub agenthub inb agenthub; echo ${COMPREPLY[@]}"]);
    let file = hub.folder().join("completions");
    std::fs::write(&file, script).unwrap();
    let output = bash.stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "inbox", "{output:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn colors_terminal_output_unless_no_color_is_set() {
    let hub = TestHub::not_started(&[]);
    run_as(&hub, "planner", &["send", "human", "look"]);
    // script(1) runs a command in a terminal.
    let on_terminal = |no_color: Option<&str>| {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{} inbox", crate::support::hub::AGENTHUB), "/dev/null"]);
        command
            .env("AGENTHUB_DB", hub.db())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(on_terminal(None).contains("\u{1b}[1m"));
    assert!(on_terminal(Some("")).contains("\u{1b}[1m"), "empty counts as unset");
    assert!(!on_terminal(Some("1")).contains('\u{1b}'));
    assert!(!run(&hub, &["inbox"]).contains('\u{1b}'));
}

/// Scripts parse these lines.
#[test]
fn written_rows_are_named_on_stdout() {
    let hub = TestHub::not_started(&[]);
    assert_eq!(run(&hub, &["post", "build", "hello"]), "build #1\n");
    assert_eq!(run(&hub, &["send", "human", "x"]), "#1 → human\n");
    assert!(run(&hub, &["ack", "1"]).starts_with("#1 "));
    assert_eq!(run_json_as(&hub, "w1", &["inbox"]), json!([]));
}

/// Mail to `all` has one more state per reader than other mail.
#[test]
fn help_and_schema_name_every_state_of_a_receipt() {
    let hub = TestHub::not_started(&[]);
    let line = |text: String, word: &str| {
        let mut lines = text.lines().skip_while(|line| !line.contains(word));
        format!("{}{}", lines.next().unwrap(), lines.next().unwrap())
    };
    let schema = run(&hub, &["schema"]);
    let receipts = schema.split_once("CREATE TABLE receipts").unwrap().1;
    for text in [
        line(receipts.to_owned(), "offered"),
        line(run(&hub, &["trace", "--help"]), "offered"),
    ] {
        for state in ["offered", "seen", "acked", "archived"] {
            assert!(text.contains(state), "{state}: {text}");
        }
    }
}
