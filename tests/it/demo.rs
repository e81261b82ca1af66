//! `agenthub demo`: it moves, it listens to the person, and it leaves nothing behind.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::TestHub;
use crate::support::client::{Client, Heard};
use crate::support::http;
use crate::support::wait::{PATIENCE, within};
use crate::support::writer::Process;

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

#[test]
fn the_demo_moves_and_reacts_and_leaves_nothing_behind() {
    let hub = TestHub::asleep(&[]);
    let tmp = hub.folder().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let mut command = hub.command(&["demo", "--no-open", "--seed", "3"]);
    command.env("TMPDIR", &tmp).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut demo = Process::start(command);
    let mut url = String::new();
    BufReader::new(demo.0.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let (address, token) = url.trim().split_once("/#token=").unwrap();
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    let mut client = Client::connect(port, token, "streams=messages,inbox,telemetry,tasks&since=0");
    client.expect("hello");

    let headers = [
        ("Host".to_owned(), format!("127.0.0.1:{port}")),
        ("Authorization".to_owned(), format!("Bearer {token}")),
        ("Content-Type".to_owned(), "application/json".to_owned()),
    ];
    let mut kinds = BTreeSet::new();
    let mut who = BTreeSet::new();
    let mut reacted = false;
    let begun = Instant::now();
    while !(reacted && kinds.len() == 4 && who.len() >= 4) {
        assert!(
            begun.elapsed() < 3 * PATIENCE,
            "only {kinds:?} from {who:?}, reacted: {reacted}"
        );
        let Some(Heard::Event(event)) = client.hear(PATIENCE) else {
            panic!("the demo has stopped moving");
        };
        kinds.insert(event.kind.clone().replace("batch", "message"));
        let data = &event.data;
        for name in ["from_id", "from_agent", "agent_id"] {
            who.extend(data[name].as_str().filter(|name| *name != "human").map(str::to_owned));
        }
        if data["to_inbox"] == "human" && data["message_type"] == "request" && data["status"] == "unread" {
            let answer = json!({"to_inbox": "planner", "payload": "yes", "correlation_id": data["correlation_id"]});
            let written = http::request(port, "POST", "/api/inbox", &headers, &answer.to_string());
            assert_eq!(written.status, 201, "{written:?}");
        }
        reacted |= data["to_inbox"] == "human" && event.raw.to_string().contains("You said: yes. Thank you.");
    }
    assert!(
        who.is_superset(&["planner", "tester", "builder", "analyst"].map(str::to_owned).into()),
        "{who:?}"
    );
    #[cfg(target_os = "linux")]
    assert!(at_work_in(&tmp).len() >= 4);

    let ended = Instant::now();
    kill_process(Pid::from_child(&demo.0), Signal::INT).unwrap();
    assert!(demo.0.wait().unwrap().success());
    assert!(ended.elapsed() < PATIENCE / 4, "{:?}", ended.elapsed());
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
    within("everybody to be gone", || at_work_in(&tmp).is_empty().then_some(()));
}

#[test]
fn the_demo_ends_by_itself_and_its_agents_end_with_it_even_if_it_is_killed() {
    let hub = TestHub::asleep(&[]);
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
    let refused = demo(&other.join("nowhere"), &[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
}
