//! The command line, as people and scripts see it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::TestHub;
use crate::support::eventually::{TIMEOUT, within, within_time};
use crate::support::writer::Process;

/// `agenthub`, by this agent.
fn by(hub: &TestHub, agent: &str, args: &[&str]) -> Command {
    let mut command = hub.command(args);
    if agent != "human" {
        command.env("AGENTHUB_AGENT", agent);
    }
    command
}

#[track_caller]
fn run(hub: &TestHub, agent: &str, args: &[&str]) -> String {
    let output = by(hub, agent, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn json(hub: &TestHub, agent: &str, args: &[&str]) -> Value {
    serde_json::from_str(&run(hub, agent, &[args, &["--json"]].concat())).unwrap()
}

/// What differs from run to run, made the same: ids, times, the file's path.
fn steady(text: &str, hub: &TestHub) -> String {
    let mut out = String::new();
    let text = text.replace(&hub.db().display().to_string(), "FILE");
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        let run = |is: fn(&char) -> bool| rest.chars().take_while(is).count();
        let (hex, digits) = (run(char::is_ascii_hexdigit_), run(char::is_ascii_digit_));
        let clock = rest.len() >= 8 && digits == 2 && rest.as_bytes()[2] == b':' && rest.as_bytes()[5] == b':';
        let (shown, len) = match () {
            () if hex == 32 => ("<id>", 32),
            () if digits == 13 => ("<ms>", 13),
            () if clock => ("<time>", 8),
            () => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        out.push_str(shown);
        rest = &rest[len..];
    }
    out
}

/// `char`'s own take `self` or `&self` as it happens.
trait Digits {
    fn is_ascii_hexdigit_(&self) -> bool;
    fn is_ascii_digit_(&self) -> bool;
}
impl Digits for char {
    fn is_ascii_hexdigit_(&self) -> bool {
        self.is_ascii_digit() || matches!(self, 'a'..='f')
    }
    fn is_ascii_digit_(&self) -> bool {
        self.is_ascii_digit()
    }
}

/// Who types, and what.
const SESSION: &[(&str, &[&str])] = &[
    ("human", &["inbox"]),
    ("human", &["agents"]),
    ("human", &["threads"]),
    ("human", &["send", "planner", "hello"]),
    ("planner", &["inbox"]),
    ("human", &["agents"]),
    ("human", &["agents", "--json"]),
    ("human", &["send", "all", "welcome"]),
    ("planner", &["ack", "1"]),
    ("human", &["send", "plannr", "hello"]),
    (
        "human",
        &[
            "send",
            "planner",
            "Look at this\n\nThe parser is slow.",
            "--priority",
            "urgent",
        ],
    ),
    (
        "tester",
        &["send", "planner", "evil \u{1b}[2J text", "--type", "request", "--json"],
    ),
    ("planner", &["inbox"]),
    ("planner", &["inbox", "--from", "tester", "--json"]),
    ("planner", &["read", "2"]),
    ("planner", &["read", "#3"]),
    ("human", &["read", "3", "--json"]),
    ("planner", &["inbox", "--unread"]),
    ("planner", &["reply", "3", "No."]),
    ("tester", &["inbox", "--wait", "5"]),
    ("tester", &["inbox", "--wait", "5", "--json"]),
    ("tester", &["ack", "4", "99"]),
    ("human", &["trace", "2"]),
    ("human", &["trace", "3"]),
    ("human", &["trace", "3", "--json"]),
    ("human", &["send", "deploy", "ship it", "--new"]),
    ("human", &["trace", "5"]),
    ("w1", &["inbox", "deploy", "--claim", "--lease", "100", "--json"]),
    ("w2", &["inbox", "deploy", "--claim"]),
    ("w2", &["inbox", "deploy"]),
    ("w2", &["ack", "5"]),
    ("w1", &["ack", "5"]),
    ("human", &["post", "build", "all green", "--kind", "result"]),
    ("planner", &["post", "build", "merging", "--json"]),
    ("human", &["threads"]),
    ("human", &["threads", "--json"]),
    ("human", &["search", "parser"]),
    ("human", &["search", "merging", "--json"]),
    ("human", &["search", "nowhere"]),
    ("human", &["search", "nowhere", "--json"]),
    ("human", &["path"]),
    ("human", &["path", "--json"]),
    ("human", &["prune", "--older-than", "30d"]),
    ("human", &["ask", "human", "me?"]),
    ("planner", &["post", "", "to whom?"]),
    ("planner", &["run", "--task", "", "--", "true"]),
    ("planner", &["send", "tester", "x", "--from", "all"]),
    ("planner", &["ask", "tester", "still there?", "--wait", "0"]),
    ("planner", &["inbox", "--wait", "0.01"]),
    ("planner", &["inbox", "--wait", "soon"]),
    ("planner", &["inbox", "--lease", "5"]),
    ("planner", &["inbox", "--colour"]),
    ("planner", &["inbox", "--as", ""]),
    ("planner", &["post", "build"]),
    ("planner", &["sned", "human", "x"]),
    ("planner", &[]),
    ("planner", &["send", "hum", "x"]),
    ("planner", &["send", "All", "x"]),
    ("human", &["trace", "nowhere"]),
    ("human", &["inbox", "--help"]),
    ("human", &["trace", "--help"]),
    ("human", &["post", "--help"]),
    ("human", &["search", "--help"]),
];

/// One file holds what all of these print. `AGENTHUB_TEST_BLESS=1` writes it anew.
#[test]
fn every_command_prints_what_it_has_always_printed() {
    let hub = TestHub::not_started(&[]);
    let mut transcript = String::new();
    for (who, args) in SESSION {
        let output = by(&hub, who, args).env("TZ", "UTC").output().unwrap();
        let shown: Vec<_> = args
            .iter()
            .map(|a| {
                if a.contains(' ') {
                    format!("{a:?}")
                } else {
                    (*a).to_owned()
                }
            })
            .collect();
        writeln!(transcript, "{who} $ agenthub {}", shown.join(" ")).unwrap();
        transcript.push_str(&steady(&String::from_utf8(output.stdout).unwrap(), &hub));
        for line in steady(&String::from_utf8(output.stderr).unwrap(), &hub).lines() {
            writeln!(transcript, "! {line}").unwrap();
        }
        match output.status.code().unwrap() {
            0 => transcript.push('\n'),
            code => write!(transcript, "= {code}\n\n").unwrap(),
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/command_line.txt");
    if std::env::var_os("AGENTHUB_TEST_BLESS").is_some() {
        std::fs::write(&path, &transcript).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (i, (expected, found)) in expected.lines().zip(transcript.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of {}", i + 1, path.display());
    }
    assert_eq!(transcript.len(), expected.len());
}

#[test]
fn json_has_the_fields_that_the_help_names() {
    let hub = TestHub::not_started(&[]);
    run(&hub, "planner", &["post", "build", "green"]);
    run(&hub, "planner", &["send", "human", "look"]);
    run(&hub, "human", &["read", "1"]);
    // The words in the first braces of the help, without those in brackets within.
    let documented = |command: &str| -> BTreeSet<String> {
        let help = run(&hub, "human", &[command, "--help"]);
        let row = help.split_once("  {").unwrap().1.split_once("}\n").unwrap().0;
        let words = row.split([',', ' ', '\n', '{', '}', '[', ']', ':', '"']);
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&json(&hub, "human", &["inbox"])[0]), documented("inbox"));
    assert_eq!(keys(&json(&hub, "human", &["read", "1"])), documented("read"));
    assert_eq!(keys(&json(&hub, "human", &["ack", "1"])[0]), documented("ack"));
    assert_eq!(keys(&json(&hub, "human", &["threads"])[0]), documented("threads"));
    assert_eq!(keys(&json(&hub, "human", &["agents"])[0]), documented("agents"));
    assert_eq!(
        keys(&json(&hub, "human", &["post", "build", "red"])),
        documented("post")
    );
    hub.sql("INSERT INTO task_stream(task_id, stream_type, text) VALUES('k', 'text', 'look, green')");
    let hits = [&["search", "look"][..], &["search", "green"]].map(|args| json(&hub, "human", args));
    let found = hits.iter().flat_map(|hits| hits.as_array().unwrap()).flat_map(keys);
    assert_eq!(found.collect::<BTreeSet<_>>(), documented("search"));
    let copy = hub.folder().join("copy.db");
    for (args, fields) in [
        (&["status"][..], "hub db counts"),
        (&["prune", "--older-than", "30d"], "dry_run before pruned"),
        (&["backup", copy.to_str().unwrap()], "path size changes"),
        (&["doctor"], "path state findings"),
        (&["path"], "path"),
        (&["token"], "token"),
        (&["schema"], "version sql"),
    ] {
        let fields: BTreeSet<_> = fields.split(' ').map(str::to_owned).collect();
        assert_eq!(keys(&json(&hub, "human", args)), fields, "{args:?}");
    }
    let trace = json(&hub, "human", &["trace", "1"]);
    let found: BTreeSet<_> = keys(&trace).union(&keys(&trace["receipts"][0])).cloned().collect();
    assert_eq!(found, documented("trace"));
}

/// How long each of 15 who wait for mail takes to end once it is there, the shortest first.
fn waits(hub: &TestHub, round: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for i in 0..15 {
        let name = format!("w{round}-{i}");
        let mut command = by(hub, &name, &["inbox", "--wait", "20", "--json"]);
        let mut waiting = Process::start({
            command.stdout(Stdio::piped());
            command
        });
        // Whoever waits is known, a moment before the waiting begins.
        within("the one who waits", || {
            hub.sql("SELECT id FROM agents")
                .lines()
                .any(|id| id == name)
                .then_some(())
        });
        thread::park_timeout(Duration::from_millis(5));
        hub.sql(&format!(
            "INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('a', '{name}', 'x')"
        ));
        let written = Instant::now();
        assert!(waiting.0.wait().unwrap().success());
        times.push(written.elapsed());
    }
    times.sort_unstable();
    times
}

#[test]
fn waiting_ends_within_50_ms_of_the_row_hub_or_no_hub_exclusive() {
    for mut hub in [TestHub::not_started(&[]), TestHub::start()] {
        run(&hub, "human", &["path"]);
        // Nine of ten. A busy machine has a bad round; waits that miss their row and go by
        // the clock are in every round.
        let mut rounds = Vec::new();
        within_time(6 * TIMEOUT, "a round of waits that are all short", || {
            rounds.push(waits(&hub, rounds.len()));
            let best = rounds.iter().map(|times| times[13]).min();
            assert!(rounds.len() < 5 || best < Some(Duration::from_millis(50)), "{rounds:?}");
            best.filter(|p90| *p90 < Duration::from_millis(50))
        });
        hub.kill();
    }
}

#[test]
fn a_question_waits_for_its_answer() {
    let hub = TestHub::not_started(&[]);
    run(&hub, "planner", &["inbox"]);
    let mut command = by(&hub, "planner", &["ask", "human", "Deploy?", "--wait", "20"]);
    let asking = thread::spawn(move || command.output().unwrap());
    let question = within("the question", || {
        json(&hub, "human", &["inbox", "--unread"])
            .get(0)
            .map(|m| m["n"].to_string())
    });
    // Other mail, even from the same person, is no answer.
    run(&hub, "human", &["send", "planner", "hello"]);
    run(&hub, "human", &["reply", &question, "yes\nat noon"]);
    let Output { status, stdout, .. } = asking.join().unwrap();
    assert!(status.success());
    assert_eq!(String::from_utf8(stdout).unwrap(), "yes\nat noon\n");
    // The answer is dealt with, the other mail is not.
    let unread = json(&hub, "planner", &["inbox", "--unread"]);
    assert_eq!(unread.as_array().unwrap().len(), 1);
    assert_eq!(unread[0]["payload"], "hello");
}

#[test]
fn mail_to_all_shows_everywhere_until_each_has_read_it() {
    let hub = TestHub::not_started(&[]);
    run(&hub, "planner", &["inbox"]);
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('boss', 'all', 'party')");
    let unread = |name: &str| json(&hub, name, &["inbox", "--unread"]).as_array().unwrap().len();
    assert_eq!((unread("planner"), unread("tester"), unread("human")), (1, 1, 1));
    run(&hub, "planner", &["read", "1"]);
    run(&hub, "human", &["ack", "1"]);
    assert_eq!((unread("planner"), unread("tester"), unread("human")), (0, 1, 0));
    assert_eq!(json(&hub, "planner", &["inbox"]).as_array().unwrap().len(), 1);
    // Nobody takes from the others what is for all.
    assert_eq!(json(&hub, "tester", &["inbox", "--claim"]).as_array().unwrap().len(), 0);
}

#[test]
fn an_empty_file_is_read_as_one_with_nothing_in_it() {
    for args in [&["inbox"][..], &["agents"], &["threads"], &["search", "x"]] {
        let hub = TestHub::not_started(&[]);
        std::fs::write(hub.db(), "").unwrap();
        assert!(run(&hub, "human", args).starts_with("no"), "{args:?}");
    }
    let hub = TestHub::not_started(&[]);
    std::fs::write(hub.db(), "").unwrap();
    assert_eq!(hub.agenthub(&["trace", "1"]).status.code(), Some(4));
}

#[test]
fn completions_are_for_every_shell_and_know_every_command() {
    let hub = TestHub::not_started(&[]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&hub, "human", &["completions", shell]);
        for command in ["inbox", "ask", "trace", "mcp", "completions"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let script = run(&hub, "human", &["completions", "bash"]);
    let mut bash = Command::new("bash");
    bash.args(["-c", "source /dev/stdin; COMP_WORDS=(agenthub inb); COMP_CWORD=1; _agenthub agenthub inb agenthub; echo ${COMPREPLY[@]}"]);
    let file = hub.folder().join("completions");
    std::fs::write(&file, script).unwrap();
    let output = bash.stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "inbox", "{output:?}");
    let refused = hub.agenthub(&["completions", "tcsh"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
#[cfg(target_os = "linux")]
fn colours_are_for_terminals_of_those_who_want_them() {
    let hub = TestHub::not_started(&[]);
    run(&hub, "planner", &["send", "human", "look"]);
    // script(1) lends a terminal.
    let on_terminal = |no_colour: Option<&str>| {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{} inbox", crate::support::hub::AGENTHUB), "/dev/null"]);
        command
            .env("AGENTHUB_DB", hub.db())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        if let Some(value) = no_colour {
            command.env("NO_COLOR", value);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(on_terminal(None).contains("\u{1b}[1m"));
    assert!(on_terminal(Some("")).contains("\u{1b}[1m"), "empty counts as not set");
    assert!(!on_terminal(Some("1")).contains('\u{1b}'));
    assert!(!run(&hub, "human", &["inbox"]).contains('\u{1b}'));
}

#[test]
fn what_cannot_be_done_is_one_line_and_an_exit_code() {
    let hub = TestHub::not_started(&[]);
    let home = hub.folder().join("none");
    let mut homeless = hub.command(&["inbox"]);
    homeless
        .env_remove("AGENTHUB_DB")
        .env("HOME", &home)
        .env_remove("XDG_DATA_HOME");
    // A home that is not there is made; one that cannot be is said.
    assert!(homeless.output().unwrap().status.success());
    std::fs::write(hub.folder().join("file"), "").unwrap();
    let below = hub.folder().join("file/hub.db");
    for (db, args, code) in [
        (below.as_path(), vec!["send", "human", "x"], 3),
        (hub.folder(), vec!["inbox"], 3),
        (hub.db(), vec!["reply", "1", "x"], 4),
        (hub.db(), vec!["ack", "1"], 4),
        (hub.db(), vec!["send", "human", "x", "--from", ""], 2),
    ] {
        let output = hub.command(&args).env("AGENTHUB_DB", db).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    let big = "x".repeat(1_100_000);
    std::fs::write(hub.folder().join("big"), big).unwrap();
    let mut command = hub.command(&["send", "human", "-"]);
    let output = command
        .stdin(std::fs::File::open(hub.folder().join("big")).unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 MiB"));
}
