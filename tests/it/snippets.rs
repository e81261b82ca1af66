//! Runs the code snippets that users copy, unchanged: those of `README.md` and
//! `examples/README.md`, and the commands of `GET /api/commands`.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::support::TestHub;
use crate::support::eventually::wait_for;
use crate::support::hub::AGENTHUB;
use crate::support::person::run_as_person;
use crate::support::writer::python;

/// Returns heading, language and text of every fenced code block.
fn blocks(markdown: &str) -> Vec<(String, String, String)> {
    let (mut heading, mut found, mut open) = (String::new(), Vec::new(), None);
    for line in markdown.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), String::new())),
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    title.clone_into(&mut heading);
                }
            }
            (Some(_), Some(_)) => {
                let (language, text) = open.take().unwrap();
                found.push((heading.clone(), language, text));
            }
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// Compiles a program that uses only the standard library.
fn compile(hub: &TestHub, text: &str) -> Command {
    let source = hub.folder().join("snippet.rs");
    std::fs::write(&source, text).unwrap();
    let program = hub.folder().join("snippet-rust");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(compiler);
    rustc.args(["--edition", "2024", "-o"]).arg(&program).arg(&source);
    successful_output(&rustc.output().unwrap());
    Command::new(program)
}

/// Returns the command that runs a snippet against `hub`, with `agenthub` on `PATH`.
fn command(hub: &TestHub, language: &str, text: &str) -> Command {
    let bin = Path::new(AGENTHUB).parent().unwrap();
    let file = hub
        .folder()
        .join(if language == "js" { "snippet.mjs" } else { "snippet" });
    std::fs::write(&file, text).unwrap();
    let mut command = match language {
        "sh" => Command::new("sh"),
        "python" => python(),
        "js" => Command::new("node"),
        "rust" if !text.contains("use agenthub") => compile(hub, text),
        // The block is a copy of `examples/agent.rs` (the test compares them), which cargo builds.
        "rust" => {
            let mut command = Command::new(env!("CARGO"));
            command
                .current_dir(root())
                .args(["run", "--quiet", "--example", "agent", "--"]);
            command
        }
        other => panic!("unsupported language: {other}"),
    };
    if language == "sh" {
        command.arg("-eu");
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    command
        .arg(&file)
        .env("PATH", path)
        .env("AGENTHUB_DB", hub.db())
        .env("AGENTHUB_URL", format!("http://127.0.0.1:{}", hub.port()))
        .stdin(Stdio::null());
    command
}

/// Returns stdout and stderr of a command that must succeed.
#[track_caller]
fn successful_output(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

/// Each example posts to the thread `build` and prints its unread messages.
#[test]
fn examples_write_a_message_and_read_their_inbox() {
    let markdown = read("examples/README.md");
    let hub = TestHub::start();
    let mut languages = Vec::new();
    for (heading, language, text) in blocks(&markdown) {
        languages.push(if text.contains("curl ") {
            "curl".to_owned()
        } else {
            language.clone()
        });
        let mut command = command(&hub, &language, &text);
        if text.contains("agenthub ask human") {
            let asking = thread::spawn(move || command.output().unwrap());
            let id = wait_for("the question", || {
                Some(hub.sql("SELECT n FROM inbox_messages WHERE to_inbox = 'human'")).filter(|n| !n.is_empty())
            });
            run_as_person(&hub, &["reply", &id, "yes"]);
            assert!(successful_output(&asking.join().unwrap()).contains("deploying"));
            continue;
        }
        if text.contains("--claim") {
            successful_output(&hub.agenthub(&["send", "jobs", "run the tests", "--new", "--from", "boss"]));
            assert!(successful_output(&command.output().unwrap()).contains("run the tests"));
            assert_eq!(
                hub.sql("SELECT payload FROM inbox_messages WHERE to_inbox = 'boss'"),
                "done"
            );
            continue;
        }
        // Each example uses an agent name of its own that ends in `-agent`.
        let agent = text
            .split(|c: char| !(c.is_alphanumeric() || c == '-'))
            .find(|w| w.ends_with("-agent"))
            .unwrap();
        let text = format!("a message for {agent}");
        successful_output(&hub.agenthub(&["send", agent, &text, "--new"]));
        assert!(
            successful_output(&command.output().unwrap()).contains(&text),
            "{heading}"
        );
        let sql = format!("SELECT content FROM messages WHERE thread_id = 'build' AND from_id = '{agent}'");
        assert_eq!(hub.sql(&sql), "tests are green", "{heading}");
    }
    for language in ["sh", "python", "js", "rust", "curl"] {
        assert!(languages.iter().any(|l| l == language), "{language}");
    }
    let rust = blocks(&markdown)
        .into_iter()
        .find(|(_, language, _)| language == "rust")
        .unwrap();
    assert_eq!(rust.2, read("examples/agent.rs"));
}

#[test]
fn readme_agents_write_their_rows() {
    let blocks = blocks(&read("README.md"));
    let hub = TestHub::start();
    for (language, agent, row) in [
        ("sh", "planner", "tests are green"),
        ("python", "tester", "212 passed"),
        ("rust", "linter", "no warnings"),
        ("js", "bundler", "212 kB"),
        ("sh", "deployer", "it is out"),
    ] {
        let mut found = blocks.iter().filter(|(_, l, text)| l == language && text.contains(row));
        let (_, _, text) = found.next().unwrap_or_else(|| panic!("no {agent} in {language}"));
        successful_output(&command(&hub, language, text).output().unwrap());
        let sql = format!("SELECT content FROM messages WHERE thread_id = 'build' AND from_id = '{agent}'");
        assert_eq!(hub.sql(&sql), row, "{agent}");
    }
}

/// Commands that users copy from the page must work and must write to the hub's database.
#[test]
fn dashboard_commands_write_to_the_database_of_the_hub() {
    let hub = TestHub::start();
    let bin = Path::new(AGENTHUB).parent().unwrap();
    let offered = hub.get("/api/commands").json();
    let serve = offered["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|offer| offer["name"] == "serve");
    let again = format!(
        "agenthub --db {} serve --listen 127.0.0.1:{}",
        hub.db().display(),
        hub.port()
    );
    assert_eq!(serve.unwrap()["command"], again);
    let mut tried = Vec::new();
    for offer in offered["items"].as_array().unwrap() {
        let (name, text) = (offer["name"].as_str().unwrap(), offer["command"].as_str().unwrap());
        assert!(
            text.contains(&hub.db().display().to_string()) || name == "demo",
            "{text}"
        );
        let Some(from) = offer["from"].as_str() else { continue };
        let mut command = Command::new("sh");
        // As in a new terminal: no variable names the database.
        command
            .args(["-euc", text])
            .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
            .env("HOME", hub.folder())
            .env_remove("AGENTHUB_DB")
            .stdin(Stdio::null());
        successful_output(&command.output().unwrap());
        let row = hub.sql(&format!(
            "SELECT thread_id, content FROM messages WHERE from_id = '{from}'"
        ));
        assert_eq!(row, "hello|hi", "{text}");
        tried.push(name);
    }
    assert_eq!(tried, ["sqlite3", "post", "curl", "python", "node"]);
}
