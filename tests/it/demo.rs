//! `agenthub demo`: its agents act and react to the person, every view has data, and it leaves no files behind.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::TestHub;
use crate::support::client::{Client, Received};
use crate::support::eventually::TIMEOUT;
use crate::support::http;
use crate::support::hub::read_secret;
use crate::support::writer::{Process, python};

/// Returns the port in the first line that `serve` and `demo` print.
fn port_of(line: &str) -> u16 {
    let address = line.trim_end().trim_end_matches('/');
    address.rsplit(':').next().unwrap().parse().unwrap()
}

/// Starts a fast demo with this directory for temporary files, and a client of its hub. Also returns the
/// port and the path of the database.
fn start_demo(hub: &TestHub, tmp: &Path, seed: &str) -> (Process, Client, u16, PathBuf) {
    // The test runner may ignore SIGHUP, and the demo would inherit that.
    let mut command = python();
    command.args([
        "-c",
        "import os, signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\nos.execv(sys.argv[1], sys.argv[1:])",
    ]);
    let agenthub = hub.command(&["demo", "--fast", "--no-open", "--seed", seed]);
    command.arg(agenthub.get_program()).args(agenthub.get_args());
    command.envs(agenthub.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TMPDIR", tmp).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut demo = Process::start(command);
    let mut url = String::new();
    BufReader::new(demo.0.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let port = port_of(&url);
    let workspace = std::fs::read_dir(tmp).unwrap().next().unwrap().unwrap().path();
    let db = workspace.join("hub.db");
    let mut client = Client::connect(
        port,
        &read_secret(&db, "token"),
        "streams=messages,inbox,telemetry,tasks&since=0",
    );
    client.expect("hello");
    (demo, client, port, db)
}

/// `nohup agenthub serve &` must survive the end of the terminal.
#[test]
#[cfg(target_os = "linux")]
fn serve_ignores_sighup_if_its_parent_did() {
    let hub = TestHub::not_started(&[]);
    let agenthub = hub.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    command.arg(agenthub.get_program()).args(agenthub.get_args());
    command.envs(agenthub.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut serve = Process::start(command);
    let mut url = String::new();
    BufReader::new(serve.0.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    kill_process(Pid::from_child(&serve.0), Signal::HUP).unwrap();
    let port = port_of(&url);
    Client::connect(port, &read_secret(hub.db(), "token"), "").assert_alive();
    assert!(serve.0.try_wait().unwrap().is_none());
}

/// Returns the first tool calls of the agents.
fn first_calls(client: &mut Client) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < 12 {
        let Some(Received::Event(event)) = client.receive(TIMEOUT) else {
            panic!("no event from the demo after {found:?}");
        };
        if event.data["stream_type"] == "tool_use" {
            found.push(format!("{} {}", event.data["call_id"], event.data["tool_input"]));
        }
    }
    found
}

#[test]
fn same_seed_repeats_the_events_and_sighup_ends_the_demo() {
    let hub = TestHub::not_started(&[]);
    let demos: Vec<Vec<String>> = std::thread::scope(|scope| {
        let run = |(i, seed): (usize, &'static str)| {
            let hub = &hub;
            scope.spawn(move || {
                let tmp = hub.folder().join(format!("tmp-{i}"));
                std::fs::create_dir(&tmp).unwrap();
                let (mut demo, mut client, ..) = start_demo(hub, &tmp, seed);
                let found = first_calls(&mut client);
                kill_process(Pid::from_child(&demo.0), Signal::HUP).unwrap();
                assert!(demo.0.wait().unwrap().success());
                assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
                found
            })
        };
        let demos: Vec<_> = ["5", "5", "11"].into_iter().enumerate().map(run).collect();
        demos.into_iter().map(|demo| demo.join().unwrap()).collect()
    });
    assert_eq!(demos[0], demos[1]);
    assert_ne!(demos[0], demos[2]);
}

#[test]
fn every_view_has_data_and_the_agents_react_to_an_answer() {
    let hub = TestHub::not_started(&[]);
    let tmp = hub.folder().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let (mut demo, mut client, port, db) = start_demo(&hub, &tmp, "3");

    let headers = [
        ("Host".to_owned(), format!("127.0.0.1:{port}")),
        (
            "Authorization".to_owned(),
            format!("Bearer {}", read_secret(&db, "person")),
        ),
        ("Content-Type".to_owned(), "application/json".to_owned()),
    ];
    let mut tools = BTreeSet::new();
    let mut senders = BTreeSet::new();
    let mut was_answered = false;
    let mut reacted = false;
    let begun = Instant::now();
    while !(reacted && tools.len() >= 4 && senders.len() >= 4) {
        assert!(
            begun.elapsed() < 3 * TIMEOUT,
            "only {tools:?}, mail from {senders:?}, answered: {was_answered}, reacted: {reacted}"
        );
        let Some(Received::Event(event)) = client.receive(TIMEOUT) else {
            panic!("no event from the demo");
        };
        let data = &event.data;
        if data["stream_type"] == "tool_use" {
            tools.insert(data["source_type"].to_string());
        }
        if let Some(sender) = data["from_agent"].as_str() {
            senders.insert(sender.to_owned());
        }
        if !was_answered && data["to_inbox"] == "human" && data["message_type"] == "approval_request" {
            let question = json!({
                "message_id": data["message_id"],
                "from_agent": data["from_agent"],
                "title": data["title"],
                "payload": data["payload"],
            });
            let answer = json!({
                "to_inbox": data["from_agent"],
                "payload": "yes, do it",
                "correlation_id": data["correlation_id"],
                "answers": question,
            });
            let written = http::request(port, "POST", "/api/inbox", &headers, &answer.to_string());
            assert_eq!(written.status, 201, "{written:?}");
            was_answered = true;
        }
        reacted |= data["text"].as_str().is_some_and(|text| text.contains("“yes, do it”"));
    }

    let count = |path: &str| {
        let response = http::request(port, "GET", path, &headers[..2], "");
        response.items().len()
    };
    for (path, least) in [
        ("/api/agents", 6),
        ("/api/tasks?limit=100", 40),
        ("/api/threads", 3),
        ("/api/inbox?inbox=human", 1),
        ("/api/costs?by=agent", 6),
        ("/api/costs?by=model", 6),
        ("/api/costs?by=workspace", 3),
        ("/api/costs?by=day", 7),
    ] {
        let found = count(path);
        assert!(found >= least, "{path} has {found} items");
    }

    let ended = Instant::now();
    kill_process(Pid::from_child(&demo.0), Signal::INT).unwrap();
    assert!(demo.0.wait().unwrap().success());
    assert!(ended.elapsed() < TIMEOUT / 4, "{:?}", ended.elapsed());
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
}

#[test]
fn the_demo_ends_in_time_and_removes_its_data_only() {
    let hub = TestHub::not_started(&[]);
    let tmp = hub.folder().join("one");
    std::fs::create_dir(&tmp).unwrap();
    let demo = |folder: &Path| {
        let mut command = hub.command(&["demo", "--no-open", "--for", "0.5"]);
        command.env("TMPDIR", folder);
        command
    };
    let output = demo(&tmp).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(notes.contains("Ctrl-C stops the demo and removes its data"), "{notes}");
    assert!(notes.contains(&format!("{}/agenthub-demo-", tmp.display())), "{notes}");
    assert!(notes.contains("is removed"), "{notes}");
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
    assert!(!hub.db().exists(), "the demo has used the user's database");

    let refused = demo(&tmp.join("nowhere")).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
}
