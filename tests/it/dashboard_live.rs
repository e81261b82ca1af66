//! The page in a real browser: it shows rows as they are written, requires a key, resumes after a
//! restart of the hub, and never interprets text from agents as markup.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::TestHub;
use crate::support::chromium::Page;

const LIVE: &str = "document.getElementById('pill').dataset.state === 'live'";

/// The texts of the messages on the page, in order, joined by `|`.
const MESSAGES: &str = "[...document.querySelectorAll('.message .text')].map(e => e.textContent).join('|')";

#[track_caller]
fn wait_for_messages(page: &mut Page, expected: &str) {
    page.wait_for(&format!("{MESSAGES} === {}", json!(expected)));
}

#[test]
fn shows_rows_as_they_are_written() {
    let hub = TestHub::start();
    let mut page = Page::start();
    page.open(&hub.page_link());
    page.wait_for(LIVE);
    assert!(!page.eval("location.href").as_str().unwrap().contains("code"));
    page.eval("location.hash = '#/threads/build'");
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'planner', 'tests are green')");
    let written_at = Instant::now();
    wait_for_messages(&mut page, "tests are green");
    assert!(
        written_at.elapsed() < Duration::from_secs(10),
        "{:?}",
        written_at.elapsed()
    );
    page.eval("location.hash = '#/inbox'");
    hub.sql(
        "INSERT INTO inbox_messages(from_agent, to_inbox, title, payload) VALUES('planner', 'human', 'Deploy?', 'now')",
    );
    page.wait_for("document.querySelector('main').innerText.includes('Deploy?')");
    page.wait_for("document.title.startsWith('(1) ')");
    page.eval("location.hash = '#/tasks'");
    hub.sql(
        "INSERT INTO task_stream(task_id, stream_type, text, status) VALUES('task-1', 'text', 'thinking', 'running')",
    );
    page.wait_for("document.querySelector('main').innerText.includes('task-1')");
    page.eval("location.hash = '#/now'");
    hub.sql("INSERT INTO telemetry(instance_id, agent_id, turns, cost) VALUES('run-1', 'planner', 4, 0.5)");
    page.wait_for("document.querySelector('main').innerText.includes('planner')");
    assert_eq!(page.console_errors, Vec::<String>::new());
}

#[test]
fn without_a_key_the_page_shows_no_data_and_how_to_unlock() {
    let hub = TestHub::start();
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'planner', 'secret')");
    let mut page = Page::start();
    let address = format!("http://127.0.0.1:{}/", hub.port());
    page.open(&address);
    page.wait_for("document.body.innerText.includes('agenthub open')");
    assert!(
        !page
            .eval("document.documentElement.outerHTML")
            .as_str()
            .unwrap()
            .contains("secret")
    );
    let link = hub.page_link();
    let (_, fragment) = link.split_once('#').unwrap();
    page.eval(&format!("location.hash = '#{fragment}'"));
    page.wait_for(LIVE);
    // The browser keeps its key: bookmarks work, also with another name of this machine.
    page.open(&format!("http://127.0.0.1:{}/#/threads/build", hub.port()));
    wait_for_messages(&mut page, "secret");
    page.open("about:blank");
    page.open(&format!("http://localhost:{}/", hub.port()));
    page.wait_for(LIVE);
    assert_eq!(page.eval("location.origin"), json!(address.trim_end_matches('/')));
}

#[test]
fn after_a_restart_shows_rows_written_meanwhile_exactly_once() {
    let mut hub = TestHub::start();
    let mut page = Page::start();
    page.open(&hub.page_link().replace("/#", "/?#"));
    page.wait_for(LIVE);
    page.eval("location.hash = '#/threads/t'");
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'one')");
    wait_for_messages(&mut page, "one");
    for (round, expected) in ["one|two|three", "one|two|three|two|three"].into_iter().enumerate() {
        hub.kill();
        page.wait_for("document.getElementById('pill').dataset.state !== 'live'");
        hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'two'), ('t', 'a', 'three')");
        hub.launch();
        wait_for_messages(&mut page, expected);
        page.wait_for(LIVE);
        // New rows arrive live again.
        if round == 1 {
            hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'four')");
            wait_for_messages(&mut page, "one|two|three|two|three|four");
        }
    }
    // The browser itself logs failed requests and connections.
    let exceptions: Vec<_> = page
        .console_errors
        .iter()
        .filter(|c| !c.contains(r#""source":"network""#) && !c.contains("WebSocket connection"))
        .collect();
    assert!(exceptions.is_empty(), "{exceptions:?}");
}

/// A script in the page could read its key.
#[test]
fn shows_markup_from_agents_as_text() {
    let hub = TestHub::start();
    let hostile = "<img src=x onerror=\"window.caught=1\"><script>window.caught=1</script>";
    for sql in [
        "INSERT INTO threads(id, title) VALUES('$', '$')",
        "INSERT INTO messages(thread_id, from_id, kind, subject, content, to_id) VALUES('$', '$', '$', '$', '$', '$')",
        "INSERT INTO inbox_messages(from_agent, to_inbox, message_type, title, payload, priority) VALUES('$', 'human', '$', '$', '$', '$')",
        "INSERT INTO task_stream(task_id, stream_type, text, agent_id, workspace, directive) VALUES('$', 'text', '$', '$', '$', '$')",
        "INSERT INTO telemetry(instance_id, agent_id, status, model) VALUES('$', '$', '$', '$')",
    ] {
        hub.sql(&sql.replace('$', hostile));
    }
    let mut page = Page::start();
    page.open(&hub.page_link());
    page.wait_for(LIVE);
    let id: String = form_urlencoded::byte_serialize(hostile.as_bytes())
        .collect::<String>()
        .replace('+', "%20");
    for view in [
        "#/now",
        "#/inbox",
        "#/tasks",
        "#/threads",
        &format!("#/threads/{id}"),
        &format!("#/tasks/{id}"),
    ] {
        page.eval(&format!("location.hash = {}", json!(view)));
        page.wait_for("document.querySelector('main').textContent.includes('<img src=x')");
        assert_eq!(
            page.eval("document.querySelectorAll('main img, main script').length"),
            json!(0),
            "{view}"
        );
    }
    assert_eq!(page.eval("window.caught === undefined"), json!(true));
    assert_eq!(page.console_errors, Vec::<String>::new());
}
