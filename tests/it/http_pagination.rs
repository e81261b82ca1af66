//! Pages of lists: no item is missing or repeated, and the size of a page is limited in bytes.

use serde_json::Value;

use crate::support::TestHub;

/// Returns all items of a list, read page by page, and the size of the largest page in bytes.
#[track_caller]
fn walk(hub: &TestHub, path: &str, cursor: &str) -> (Vec<Value>, usize) {
    let (mut items, mut largest, mut next) = (Vec::new(), 0, String::new());
    loop {
        let response = hub.get(&format!("{path}{next}"));
        largest = largest.max(response.body.len());
        let mut page = response.json();
        let Value::Array(new) = page["items"].take() else {
            panic!("{path} is no list: {page}")
        };
        items.extend(new);
        assert!(items.len() <= 1000, "{path} has no end");
        let given = match &page["next"] {
            Value::Null => return (items, largest),
            Value::String(text) => form_urlencoded::byte_serialize(text.as_bytes()).collect(),
            number => number.to_string(),
        };
        next = format!("&{cursor}={given}");
    }
}

/// A list of one agent's largest rows must not fill the memory of the hub or the browser.
#[test]
fn pages_are_limited_in_bytes_heavy() {
    const MAX_PAGE: usize = 10 << 20;
    let hub = TestHub::start();
    let many = "WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 30)";
    let large = "printf('%.*c', 1000000, 'x')";
    hub.sql(&format!(
        "INSERT INTO messages(thread_id, from_id, content) {many} SELECT 't', 'a', {large} FROM k;
         INSERT INTO inbox_messages(from_agent, to_inbox, payload) {many} SELECT 'a', 'b', {large} FROM k;
         INSERT INTO task_stream(task_id, stream_type, text) {many} SELECT 'k', 'text', {large} FROM k;
         INSERT INTO task_stream(task_id, stream_type, directive) {many} SELECT 'k' || i, 'text', {large} FROM k;
         INSERT INTO threads(id, title) {many} SELECT 'u' || i, {large} FROM k;
         INSERT INTO agents(id, label) {many} SELECT 'a' || i, {large} FROM k;
         INSERT INTO telemetry(instance_id, model) {many} SELECT 'i' || i, {large} FROM k;"
    ));
    for (path, cursor, count) in [
        ("/api/threads/t/messages?limit=1000", "from_seq", 30),
        ("/api/inbox?inbox=b&limit=1000", "before", 30),
        ("/api/tasks/k/events?limit=1000", "after", 30),
        ("/api/tasks?limit=1000", "before", 31),
        ("/api/threads?limit=1000", "before", 31),
        ("/api/agents?limit=1000", "before", 31),
        ("/api/telemetry?limit=1000", "before", 30),
    ] {
        let (items, largest) = walk(&hub, path, cursor);
        assert_eq!(items.len(), count, "{path}");
        assert!(largest < MAX_PAGE, "{path}: a page of {largest} bytes");
    }
    // Backwards: in ascending order within each page.
    for (path, cursor, key) in [
        ("/api/threads/t/messages?limit=1000&", "before_seq", "message_seq"),
        ("/api/tasks/k/events?limit=1000&", "before", "id"),
    ] {
        let page = hub.get(&format!("{path}{cursor}=31")).json();
        let numbers: Vec<i64> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item[key].as_i64().unwrap())
            .collect();
        assert!(numbers.len() < 12 && numbers.last() == Some(&30), "{numbers:?}");
        assert_eq!(page["next"], numbers[0]);
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    }
}

#[test]
fn every_list_continues_after_its_first_page() {
    let hub = TestHub::start();
    let many = "WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 25)";
    hub.sql(&format!(
        "INSERT INTO agents(id) {many} SELECT 'a' || i FROM k;
         INSERT INTO inbox_messages(from_agent, to_inbox, payload, status, created_at)
           {many} SELECT 'a1', 'b.' || i, 'needle', CASE WHEN i % 2 THEN 'read' ELSE 'unread' END, i / 3 FROM k;
         INSERT INTO telemetry(instance_id, agent_id, turns) {many} SELECT 'i' || i, 'a1', i FROM k;"
    ));
    for (path, cursor, key) in [
        ("/api/agents?limit=7", "before", "id"),
        ("/api/inboxes?limit=7", "before", "inbox"),
        ("/api/telemetry?limit=7", "before", "instance_id"),
        ("/api/search?q=needle&limit=7", "after", "id"),
    ] {
        let (items, _) = walk(&hub, path, cursor);
        let mut names: Vec<&str> = items.iter().map(|item| item[key].as_str().unwrap()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((items.len(), names.len()), (25, 25), "{path}");
        for wrong in ["x", "-1.x", ""] {
            let response = hub.get(&format!("{path}&{cursor}={wrong}"));
            assert_eq!(
                (response.status, response.code()),
                (400, "INVALID".into()),
                "{path} {wrong:?}"
            );
        }
    }
    // Mailboxes with unread mail first, then by the newest mail. Without a limit all are listed.
    let mailboxes = hub.get("/api/inboxes").items();
    assert!(mailboxes[..12].iter().all(|m| m["unread"] == 1) && mailboxes[12]["unread"] == 0);
    assert_eq!(hub.get("/api/agents").items().len(), 25);
    // A cursor at the end of the results gives an empty last page.
    assert_eq!(hub.get("/api/search?q=needle&after=25").items().len(), 0);
}

/// A message in a listed thread moves it to the front, which must not restart the list.
#[test]
fn thread_list_continues_after_a_thread_moves() {
    let hub = TestHub::start();
    hub.sql("INSERT INTO threads(id) VALUES('a'), ('b'), ('c'), ('d')");
    let page = |cursor: &str| {
        let page = hub.get(&format!("/api/threads?limit=2{cursor}")).json();
        let items = page["items"].as_array().unwrap().clone();
        let ids: String = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
        (ids, page["next"].as_str().map(str::to_owned))
    };
    let (first, next) = page("");
    assert_eq!(first, "dc");
    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('c', 'x')");
    let (second, next) = page(&format!("&before={}", next.unwrap()));
    assert_eq!((second.as_str(), next), ("ba", None));
}
