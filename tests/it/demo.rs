//! `agenthub demo`: its agents act and react to the person, and it leaves no files or processes behind.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::TestHub;
use crate::support::client::{Client, Received};
use crate::support::eventually::{TIMEOUT, wait_for};
use crate::support::http;
use crate::support::hub::read_secret;
use crate::support::writer::{Process, python};

/// The command lines of the processes whose working directory is in `folder`; none on systems without
/// `/proc`.
fn processes_in(folder: &Path) -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let here = |path: &Path| std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    processes
        .flatten()
        .filter(|entry| here(&entry.path()))
        .map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default())
        .collect()
}

/// Returns the port in the first line that `serve` and `demo` print.
fn port_of(line: &str) -> u16 {
    let address = line.trim_end().trim_end_matches('/');
    address.rsplit(':').next().unwrap().parse().unwrap()
}

/// Starts a demo with this directory for temporary files, and a client of its hub. Also returns the
/// port and the path of the database.
fn start_demo(hub: &TestHub, tmp: &Path, seed: &str) -> (Process, Client, u16, PathBuf) {
    // The test runner may ignore SIGHUP, and the demo would inherit that.
    let mut command = python();
    command.args([
        "-c",
        "import os, signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\nos.execv(sys.argv[1], sys.argv[1:])",
    ]);
    let agenthub = hub.command(&["demo", "--no-open", "--seed", seed]);
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

/// Returns the events of the builder's first builds: the tokens and the result of each.
fn builds(client: &mut Client) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < 6 {
        let Some(Received::Event(event)) = client.receive(TIMEOUT) else {
            panic!("no event from the demo after {found:?}");
        };
        let data = &event.data;
        if data["instance_id"] == "builder-1" {
            found.push(data["tokens_in"].to_string());
        } else if data["agent_id"] == "builder" && ["completed", "failed"].iter().any(|end| data["status"] == *end) {
            found.push(data["status"].to_string());
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
                let found = builds(&mut client);
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
fn all_agents_act_and_the_planner_reacts_to_an_answer() {
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
    let mut kinds = BTreeSet::new();
    let mut agents = BTreeSet::new();
    let mut reacted = false;
    let begun = Instant::now();
    let mut recorded = false;
    while !(reacted && recorded && kinds.len() == 4 && agents.len() >= 5) {
        assert!(
            begun.elapsed() < 3 * TIMEOUT,
            "only {kinds:?} from {agents:?}, reacted: {reacted}, recorded by run: {recorded}"
        );
        let Some(Received::Event(event)) = client.receive(TIMEOUT) else {
            panic!("no event from the demo");
        };
        kinds.insert(event.kind.clone().replace("batch", "message"));
        let data = &event.data;
        for name in ["from_id", "from_agent", "agent_id"] {
            agents.extend(data[name].as_str().filter(|name| *name != "human").map(str::to_owned));
        }
        recorded |= data["source_type"] == "claude" && data["agent_id"] == "coder";
        if data["to_inbox"] == "human" && data["message_type"] == "request" && data["status"] == "unread" {
            let question = json!({
                "message_id": data["message_id"],
                "from_agent": data["from_agent"],
                "title": data["title"],
                "payload": data["payload"],
            });
            let answer = json!({
                "to_inbox": "planner",
                "payload": "yes",
                "correlation_id": data["correlation_id"],
                "answers": question,
            });
            let written = http::request(port, "POST", "/api/inbox", &headers, &answer.to_string());
            assert_eq!(written.status, 201, "{written:?}");
        }
        reacted |= data["to_inbox"] == "human" && event.raw.to_string().contains("You said: yes.");
    }
    assert!(
        agents.is_superset(
            &["planner", "tester", "builder", "analyst", "coder"]
                .map(str::to_owned)
                .into()
        ),
        "{agents:?}"
    );
    #[cfg(target_os = "linux")]
    assert!(processes_in(&tmp).len() >= 5);

    let ended = Instant::now();
    kill_process(Pid::from_child(&demo.0), Signal::INT).unwrap();
    assert!(demo.0.wait().unwrap().success());
    assert!(ended.elapsed() < TIMEOUT / 4, "{:?}", ended.elapsed());
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
    wait_for("all processes to exit", || processes_in(&tmp).is_empty().then_some(()));
}

#[test]
fn agents_exit_when_the_demo_times_out_or_is_killed() {
    let hub = TestHub::not_started(&[]);
    let (tmp, other) = (hub.folder().join("one"), hub.folder().join("two"));
    std::fs::create_dir(&tmp).unwrap();
    std::fs::create_dir(&other).unwrap();
    let demo = |folder: &Path, args: &[&str]| {
        let mut command = hub.command(&[&["demo", "--no-open"], args].concat());
        command.env("TMPDIR", folder);
        command
    };
    let output = demo(&tmp, &["--for", "0.5"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);

    let mut killed = Process::start({
        let mut command = demo(&other, &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    });
    #[cfg(target_os = "linux")]
    wait_for("the agents", || (processes_in(&other).len() >= 4).then_some(()));
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    wait_for("the agents to exit", || processes_in(&other).is_empty().then_some(()));
    // An agent that starts after its demo has ended.
    let mut late = Process::start({
        let mut command = demo(&tmp, &["--planner"]);
        command.env("DEMO", "1").stdout(Stdio::null());
        command
    });
    let ended = wait_for("the late agent to exit", || late.0.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
    let refused = demo(&other.join("nowhere"), &[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
}
