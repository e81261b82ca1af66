//! Lists in pages: nothing is left out, nothing comes twice, and no page is larger than a
//! browser or the hub can hold.

use serde_json::Value;

use crate::support::TestHub;

/// All items of a list, page by page, and the bytes of the largest page.
#[track_caller]
fn walk(hub: &TestHub, path: &str, cursor: &str) -> (Vec<Value>, usize) {
    let (mut items, mut largest, mut next) = (Vec::new(), 0, String::new());
    loop {
        let answer = hub.get(&format!("{path}{next}"));
        largest = largest.max(answer.body.len());
        items.extend(answer.items());
        assert!(items.len() <= 1000, "{path} has no end");
        let given = answer.json()["next"].clone();
        let given = match &given {
            Value::Null => return (items, largest),
            Value::String(text) => form_urlencoded::byte_serialize(text.as_bytes()).collect(),
            number => number.to_string(),
        };
        next = format!("&{cursor}={given}");
    }
}

/// Without it one agent's largest rows, and one look at the list, would fill the memory.
#[test]
fn no_page_is_larger_than_some_megabytes_heavy() {
    const MOST: usize = 10 << 20;
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
        assert!(largest < MOST, "{path}: a page of {largest} bytes");
    }
    // Backwards, in order within each page.
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

/// Without it what is beyond the first page of agents, mailboxes, totals or finds could not be had.
#[test]
fn every_list_goes_on_after_its_first_page() {
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
            let answer = hub.get(&format!("{path}&{cursor}={wrong}"));
            assert_eq!(
                (answer.status, answer.code()),
                (400, "INVALID".into()),
                "{path} {wrong:?}"
            );
        }
    }
    // Unread first, then the newest; all of them unless fewer are asked for.
    let mailboxes = hub.get("/api/inboxes").items();
    assert!(mailboxes[..12].iter().all(|m| m["unread"] == 1) && mailboxes[12]["unread"] == 0);
    assert_eq!(hub.get("/api/agents").items().len(), 25);
    // With all but the first gone, what is there still comes with an end.
    assert_eq!(hub.get("/api/search?q=needle&after=25").items().len(), 0);
}

/// Without it a message to the last thread of a page would begin the list anew.
#[test]
fn a_list_of_threads_goes_on_where_it_was_though_they_move() {
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
