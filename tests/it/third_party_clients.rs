//! Clients on other WebSocket libraries: each resumes after every restart of the hub, and starts again
//! with `POSITION_LOST` when the database is restored to an older copy.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::TestHub;
use crate::support::chromium::Page;
use crate::support::eventually::wait_up_to;
use crate::support::external_client::{ExternalClient, Library, client, histories};
use crate::support::writer::{Process, insert_messages, python, script};

/// Rows per second.
const RATE: usize = 300;
/// Seconds that rows are written.
const SECONDS: usize = 8;
/// Maximum time for the slowest client to receive all rows.
const LIMIT: Duration = Duration::from_secs(60);

const NAMES: [&str; 3] = ["Python", "Node", "Chromium"];

/// The client `follow.js` in a browser. Its log is in the page.
struct BrowserClient(Page);

impl BrowserClient {
    #[track_caller]
    fn start(hub: &TestHub) -> Self {
        let mut page = Page::start();
        page.open(&hub.page_link());
        page.wait_for("document.readyState === 'complete'");
        let follow = std::fs::read_to_string(client("follow.js")).unwrap();
        let (address, token) = (json!(format!("127.0.0.1:{}", hub.port())), json!(hub.token()));
        page.eval(&format!(
            "{follow}; window.lines = []; \
             follow({address}, {token}, {{ pos: '0', append: (more) => window.lines.push(...more) }}); 0"
        ));
        Self(page)
    }

    fn histories(&mut self) -> Vec<Vec<String>> {
        let text = self.0.eval("window.lines.map(line => line + '\\n').join('')");
        histories(text.as_str().unwrap())
    }
}

/// The three clients.
struct Clients {
    processes: [ExternalClient; 2],
    browser: BrowserClient,
}

impl Clients {
    #[track_caller]
    fn start(hub: &TestHub) -> Self {
        Self {
            processes: [(Library::Python, "python.log"), (Library::Node, "node.log")]
                .map(|(library, log)| ExternalClient::start(hub, library, log)),
            browser: BrowserClient::start(hub),
        }
    }

    fn histories(&mut self) -> [Vec<Vec<String>>; 3] {
        let [python, node] = &self.processes;
        [python.histories(), node.histories(), self.browser.histories()]
    }

    /// Waits until each client has started from position 0 `starts` times, and has received
    /// `messages` messages since the last start.
    #[track_caller]
    fn wait_for(&mut self, starts: usize, messages: usize) -> [Vec<Vec<String>>; 3] {
        let until = Instant::now() + LIMIT;
        loop {
            let all = self.histories();
            let have = all
                .each_ref()
                .map(|histories| (histories.len(), histories[histories.len() - 1].len()));
            if have.iter().all(|have| *have >= (starts, messages)) {
                return all;
            }
            assert!(
                Instant::now() < until,
                "starts and messages since the last one of {NAMES:?}: {have:?} instead of {:?}",
                (starts, messages)
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// The ids of all messages in log order.
fn ids_in_log_order(hub: &TestHub) -> Vec<String> {
    hub.sql("SELECT m.id FROM changes c JOIN messages m ON m.n = c.row WHERE tbl = 'messages' AND op = 'insert' ORDER BY seq")
        .lines()
        .map(str::to_owned)
        .collect()
}

fn count(hub: &TestHub) -> usize {
    hub.sql("SELECT count(*) FROM messages").parse().unwrap()
}

/// Clients on each library resume without missing or repeated rows.
#[test]
fn three_libraries_resume_through_three_restarts_and_a_restore_exclusive() {
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
        wait_up_to(LIMIT, "more rows", || (count(&hub) > round * RATE).then_some(()));
        if round == 2 {
            assert!(hub.stop().0.success());
            hub.launch();
            assert!(hub.agenthub(&["backup", copy.to_str().unwrap()]).status.success());
        } else {
            hub.crash_and_restart();
        }
    }
    let status = wait_up_to(LIMIT, "the writer to end", || writer.0.try_wait().unwrap());
    assert!(status.success());
    let first = ids_in_log_order(&hub);
    assert!(first.len() >= RATE * SECONDS * 9 / 10, "{} rows", first.len());
    for (histories, name) in clients.wait_for(1, first.len()).iter().zip(NAMES) {
        assert!(
            *histories == [first.clone()],
            "{name} received other rows than the database has"
        );
    }

    hub.sql(&format!(".restore '{}'", copy.display()));
    hub.sql(&insert_messages("a", 1, 60));
    let second = ids_in_log_order(&hub);
    assert!(second.len() < first.len() && second[0] == first[0]);
    for (histories, name) in clients.wait_for(2, second.len()).iter().zip(NAMES) {
        assert!(
            *histories == [first.clone(), second.clone()],
            "{name} received other rows than the databases have, or POSITION_LOST more than once"
        );
    }
    assert_eq!(hub.status()["state"], Value::from("ok"));
}
