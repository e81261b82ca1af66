//! Clients nobody here wrote, on the libraries people have: each goes on after every restart
//! of the hub and is told when the file was put back to an older copy.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::chromium::Page;
use crate::support::eventually::within_time;
use crate::support::external_client::{ExternalClient, Library, client, histories};
use crate::support::writer::{Process, insert_messages, python, script};
use crate::support::{TestHub, gate};

/// Rows a second, and how long they are written.
const RATE: usize = 300;
const SECONDS: usize = 8;
/// How long the slowest client may take to have everything.
const LIMIT: Duration = Duration::from_secs(60);

const WHO: [&str; 3] = ["Python", "Node", "Chromium"];

/// The same client in a browser; its log stays in the page.
struct InBrowser(Page);

impl InBrowser {
    #[track_caller]
    fn start(hub: &TestHub) -> Self {
        let mut page = Page::start();
        page.open(hub.first_line());
        page.wait_for("document.readyState === 'complete'");
        let follow = std::fs::read_to_string(client("follow.js")).unwrap();
        let (address, token) = (json!(format!("127.0.0.1:{}", hub.port())), json!(hub.token()));
        page.eval(&format!(
            "{follow}; window.lines = []; \
             follow({address}, {token}, {{ pos: '0', note: (more) => window.lines.push(...more) }}); 0"
        ));
        Self(page)
    }

    fn histories(&mut self) -> Vec<Vec<String>> {
        let text = self.0.eval("window.lines.map(line => line + '\\n').join('')");
        histories(text.as_str().unwrap())
    }
}

/// All three of them.
struct Clients {
    others: [ExternalClient; 2],
    browser: InBrowser,
}

impl Clients {
    #[track_caller]
    fn start(hub: &TestHub) -> Self {
        Self {
            others: [(Library::Python, "python.log"), (Library::Node, "node.log")]
                .map(|(library, log)| ExternalClient::start(hub, library, log)),
            browser: InBrowser::start(hub),
        }
    }

    fn histories(&mut self) -> [Vec<Vec<String>>; 3] {
        let [python, node] = &self.others;
        [python.histories(), node.histories(), self.browser.histories()]
    }

    /// Waits until each has lived so often and has, in its last life, so many messages.
    #[track_caller]
    fn wait_for(&mut self, often: usize, messages: usize) -> [Vec<Vec<String>>; 3] {
        let until = Instant::now() + LIMIT;
        loop {
            let all = self.histories();
            let have = all.each_ref().map(|lives| (lives.len(), lives[lives.len() - 1].len()));
            if have.iter().all(|have| *have >= (often, messages)) {
                return all;
            }
            assert!(
                Instant::now() < until,
                "lives, and messages of the last, of {WHO:?}: {have:?} instead of {:?}",
                (often, messages)
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// The ids of all messages in the order of the log.
fn in_order(hub: &TestHub) -> Vec<String> {
    hub.sql("SELECT m.id FROM changes c JOIN messages m ON m.n = c.row WHERE tbl = 'messages' AND op = 'insert' ORDER BY seq")
        .lines()
        .map(str::to_owned)
        .collect()
}

fn count(hub: &TestHub) -> usize {
    hub.sql("SELECT count(*) FROM messages").parse().unwrap()
}

/// Without it "resume" would be something that only our own client can do.
#[test]
fn three_libraries_resume_through_three_restarts_and_a_restore() {
    let _alone = gate::alone();
    let mut hub = TestHub::start();
    let mut clients = Clients::start(&hub);
    let mut command = python();
    command
        .arg(script("writer.py"))
        .arg(hub.db())
        .args(["writer", "a,b,c", &SECONDS.to_string(), &RATE.to_string()])
        .stdout(Stdio::null());
    let mut writer = Process::start(command);
    let copy = hub.folder().join("copy.db");
    for round in 1..=3 {
        within_time(LIMIT, "more rows", || (count(&hub) > round * RATE).then_some(()));
        if round == 2 {
            assert!(hub.stop().0.success());
            hub.launch();
            assert!(hub.agenthub(&["backup", copy.to_str().unwrap()]).status.success());
        } else {
            hub.crash_and_restart();
        }
    }
    let status = within_time(LIMIT, "the writer's end", || writer.0.try_wait().unwrap());
    assert!(status.success());
    let first = in_order(&hub);
    assert!(first.len() >= RATE * SECONDS * 9 / 10, "{} rows", first.len());
    for (lives, who) in clients.wait_for(1, first.len()).iter().zip(WHO) {
        assert!(*lives == [first.clone()], "{who} has other rows than the file");
    }

    hub.sql(&format!(".restore '{}'", copy.display()));
    hub.sql(&insert_messages("a", 1, 60));
    let second = in_order(&hub);
    assert!(second.len() < first.len() && second[0] == first[0]);
    for (lives, who) in clients.wait_for(2, second.len()).iter().zip(WHO) {
        assert!(
            *lives == [first.clone(), second.clone()],
            "{who} has other rows than the files, or was told more than once"
        );
    }
    assert_eq!(hub.status()["state"], Value::from("ok"));
}
