//! `agenthub demo`: it moves, it listens to the person, and it leaves nothing behind.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::TestHub;
use crate::support::client::{Client, Received};
use crate::support::eventually::{TIMEOUT, within};
use crate::support::http;
use crate::support::writer::{Process, python};

/// Processes at work in a folder. (macOS has no /proc; none are seen there.)
fn at_work_in(folder: &Path) -> Vec<String> {
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

/// A demo with a folder of its own for temporary files, and somebody who watches it.
fn play(hub: &TestHub, tmp: &Path, seed: &str) -> (Process, Client, u16, String) {
    // Whatever the test's own parents do about a terminal that closes: the demo heeds it.
    let mut command = python();
    command.args([
        "-c",
        "import os, signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\nos.execv(sys.argv[1], sys.argv[1:])",
    ]);
    let ours = hub.command(&["demo", "--no-open", "--seed", seed]);
    command.arg(ours.get_program()).args(ours.get_args());
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TMPDIR", tmp).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut demo = Process::start(command);
    let mut url = String::new();
    BufReader::new(demo.0.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let (address, token) = url.trim().split_once("/#token=").unwrap();
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    let mut client = Client::connect(port, token, "streams=messages,inbox,telemetry,tasks&since=0");
    client.expect("hello");
    (demo, client, port, token.to_owned())
}

/// Without it `nohup agenthub serve &` would end with the terminal after all.
#[test]
#[cfg(target_os = "linux")]
fn who_is_to_outlive_the_terminal_does() {
    let hub = TestHub::not_started(&[]);
    let ours = hub.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    command.arg(ours.get_program()).args(ours.get_args());
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut serve = Process::start(command);
    let mut url = String::new();
    BufReader::new(serve.0.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    kill_process(Pid::from_child(&serve.0), Signal::HUP).unwrap();
    let (address, token) = url.trim().split_once("/#token=").unwrap();
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    Client::connect(port, token, "").assert_alive();
    assert!(serve.0.try_wait().unwrap().is_none());
}

/// The builder's first builds: how many tokens each took, and how it ended.
fn builds(client: &mut Client) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < 6 {
        let Some(Received::Event(event)) = client.receive(TIMEOUT) else {
            panic!("the demo has stopped moving after {found:?}");
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

/// Without it `--seed` would be a word, and a closed terminal would leave the folder behind.
#[test]
fn a_seed_repeats_the_roles_and_a_closed_terminal_ends_the_demo() {
    let hub = TestHub::not_started(&[]);
    let plays: Vec<Vec<String>> = std::thread::scope(|scope| {
        let one = |(i, seed): (usize, &'static str)| {
            let hub = &hub;
            scope.spawn(move || {
                let tmp = hub.folder().join(format!("tmp-{i}"));
                std::fs::create_dir(&tmp).unwrap();
                let (mut demo, mut client, ..) = play(hub, &tmp, seed);
                let found = builds(&mut client);
                kill_process(Pid::from_child(&demo.0), Signal::HUP).unwrap();
                assert!(demo.0.wait().unwrap().success());
                assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
                found
            })
        };
        let plays: Vec<_> = ["5", "5", "11"].into_iter().enumerate().map(one).collect();
        plays.into_iter().map(|play| play.join().unwrap()).collect()
    });
    assert_eq!(plays[0], plays[1]);
    assert_ne!(plays[0], plays[2]);
}

#[test]
fn the_demo_moves_and_reacts_and_leaves_nothing_behind() {
    let hub = TestHub::not_started(&[]);
    let tmp = hub.folder().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let (mut demo, mut client, port, token) = play(&hub, &tmp, "3");

    let headers = [
        ("Host".to_owned(), format!("127.0.0.1:{port}")),
        ("Authorization".to_owned(), format!("Bearer {token}")),
        ("Content-Type".to_owned(), "application/json".to_owned()),
    ];
    let mut kinds = BTreeSet::new();
    let mut who = BTreeSet::new();
    let mut reacted = false;
    let begun = Instant::now();
    let mut wrapped = false;
    while !(reacted && wrapped && kinds.len() == 4 && who.len() >= 5) {
        assert!(
            begun.elapsed() < 3 * TIMEOUT,
            "only {kinds:?} from {who:?}, reacted: {reacted}, wrapped: {wrapped}"
        );
        let Some(Received::Event(event)) = client.receive(TIMEOUT) else {
            panic!("the demo has stopped moving");
        };
        kinds.insert(event.kind.clone().replace("batch", "message"));
        let data = &event.data;
        for name in ["from_id", "from_agent", "agent_id"] {
            who.extend(data[name].as_str().filter(|name| *name != "human").map(str::to_owned));
        }
        wrapped |= data["source_type"] == "claude" && data["agent_id"] == "coder";
        if data["to_inbox"] == "human" && data["message_type"] == "request" && data["status"] == "unread" {
            let answer = json!({"to_inbox": "planner", "payload": "yes", "correlation_id": data["correlation_id"]});
            let written = http::request(port, "POST", "/api/inbox", &headers, &answer.to_string());
            assert_eq!(written.status, 201, "{written:?}");
        }
        reacted |= data["to_inbox"] == "human" && event.raw.to_string().contains("You said: yes. Thank you.");
    }
    assert!(
        who.is_superset(
            &["planner", "tester", "builder", "analyst", "coder"]
                .map(str::to_owned)
                .into()
        ),
        "{who:?}"
    );
    #[cfg(target_os = "linux")]
    assert!(at_work_in(&tmp).len() >= 5);

    let ended = Instant::now();
    kill_process(Pid::from_child(&demo.0), Signal::INT).unwrap();
    assert!(demo.0.wait().unwrap().success());
    assert!(ended.elapsed() < TIMEOUT / 4, "{:?}", ended.elapsed());
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
    within("everybody to be gone", || at_work_in(&tmp).is_empty().then_some(()));
}

#[test]
fn the_demo_ends_by_itself_and_its_agents_end_with_it_even_if_it_is_killed() {
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
    within("the agents", || (at_work_in(&other).len() >= 4).then_some(()));
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    within("the agents' end", || at_work_in(&other).is_empty().then_some(()));
    // One that begins when its demo is gone already.
    let mut late = Process::start({
        let mut command = demo(&tmp, &["--planner"]);
        command.env("DEMO", "1").stdout(Stdio::null());
        command
    });
    let ended = within("the end of one that came too late", || late.0.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
    let refused = demo(&other.join("nowhere"), &[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
}
