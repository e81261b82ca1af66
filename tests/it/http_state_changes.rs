//! Changes of state over HTTP: threads, inbox messages, claims and receipts.

use serde_json::Value;

use crate::support::{TestHub, wait_for};

fn send(hub: &TestHub, to: &str, text: &str) -> String {
    let body = format!(r#"{{"from_agent":"boss","to_inbox":"{to}","payload":"{text}"}}"#);
    let response = hub.send("POST", "/api/inbox", &body);
    assert_eq!(response.status, 201, "{response:?}");
    response.json()["message_id"].as_str().unwrap().to_owned()
}

fn receipts(mail: &Value) -> Vec<String> {
    let text = |r: &Value, name: &str| r[name].as_str().unwrap().to_owned();
    let list = mail["receipts"].as_array().unwrap();
    list.iter()
        .map(|r| format!("{} {} {}", text(r, "reader"), text(r, "state"), text(r, "via")))
        .collect()
}

#[test]
fn patches_a_thread_and_sends_its_state_to_subscribers() {
    let hub = TestHub::start();
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'planner', 'green')");
    let mut client = hub.connect("");
    client.subscribe("build", 0);
    client.expect("batch");
    let response = hub.send(
        "PATCH",
        "/api/threads/build",
        r#"{"title":"The build","status":"paused"}"#,
    );
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(
        (&response.json()["title"], &response.json()["status"]),
        (&"The build".into(), &"paused".into())
    );
    let state = client.until("thread_state");
    assert_eq!((state.text("title"), state.text("status")), ("The build", "paused"));
    // A field that is not in the body stays unchanged.
    let response = hub.send("PATCH", "/api/threads/build", r#"{"status":"resolved"}"#);
    assert_eq!(response.json()["title"], "The build");
    for (path, body, status) in [
        ("/api/threads/build", "{}", 400),
        ("/api/threads/build", r#"{"last_seq":9}"#, 400),
        ("/api/threads/build", r#"{"status":""}"#, 400),
        ("/api/threads/build", "status", 400),
        ("/api/threads/unknown", r#"{"status":"paused"}"#, 404),
    ] {
        let response = hub.send("PATCH", path, body);
        assert_eq!(response.status, status, "{body} {response:?}");
        assert!(!response.code().is_empty());
    }
}

#[test]
fn patches_the_status_of_mail_and_lists_receipts() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    let id = send(&hub, "human", "look");
    assert_eq!(client.until("inbox_message").text("status"), "unread");
    let path = format!("/api/inbox/{id}");
    // Only the person reads the person's mail.
    for body in [
        r#"{"status":"read"}"#,
        r#"{"status":"read","reader":"human"}"#,
        r#"{"status":"read","reader":"planner"}"#,
        r#"{"status":"deleted","reader":"planner"}"#,
    ] {
        let refused = hub.send("PATCH", &path, body);
        assert_eq!((refused.status, refused.code()), (403, "FORBIDDEN".into()));
    }
    let response = hub.send_as_person("PATCH", &path, r#"{"status":"read"}"#);
    assert_eq!(response.status, 200, "{response:?}");
    assert!(response.json()["read_at"].as_i64().is_some_and(|at| at > 0));
    assert_eq!(client.until("inbox_message").text("status"), "read");
    assert_eq!(receipts(&hub.get(&path).json()), ["human seen http"]);
    // Marking another agent's mail as read writes no receipt for that agent.
    let other = send(&hub, "planner", "look");
    hub.send("PATCH", &format!("/api/inbox/{other}"), r#"{"status":"read"}"#);
    let mail = hub.get(&format!("/api/inbox/{other}")).json();
    assert_eq!((mail["status"].as_str(), receipts(&mail).len()), (Some("read"), 0));
    hub.send("PATCH", &format!("/api/inbox/{other}"), r#"{"status":"deleted"}"#);
    assert!(hub.get("/api/inbox?inbox=planner").items().is_empty());
    assert_eq!(hub.get("/api/inbox?inbox=planner&status=deleted").items().len(), 1);
    assert_eq!(hub.send_as_person("PATCH", &path, r#"{"status":" "}"#).status, 400);
    assert_eq!(hub.send("PATCH", &path, r#"{"status":"read","title":"x"}"#).status, 400);
    assert_eq!(
        hub.send("PATCH", "/api/inbox/unknown", r#"{"status":"read"}"#).status,
        404
    );
    assert_eq!(hub.get("/api/inbox/unknown").status, 404);
}

#[test]
fn a_claim_excludes_others_until_released_or_expired() {
    let hub = TestHub::start();
    let mut client = hub.connect("streams=inbox");
    client.expect("hello");
    let id = send(&hub, "jobs", "work");
    client.until("inbox_message");
    let path = format!("/api/inbox/{id}/claim");
    let claim = |owner: &str, lease: &str| {
        let body = format!(r#"{{"owner":"{owner}","lease_sec":{lease}}}"#);
        hub.send("POST", &path, &body)
    };
    assert_eq!(claim("w1", "60").json()["claimed_by"], "w1");
    assert_eq!(client.until("inbox_message").text("claimed_by"), "w1");
    assert_eq!((claim("w2", "60").status, claim("w2", "0").status), (409, 409));
    // A receipt of the person is written by the person.
    assert_eq!(["human", " Human"].map(|owner| claim(owner, "60").status), [403; 2]);
    assert_eq!(claim("w1", "0").json()["claimed_by"], "");
    client.until("inbox_message");
    // This claim expires, and the hub sends the change.
    assert_eq!(claim("w2", "2").status, 200);
    assert_eq!(client.until("inbox_message").text("claimed_by"), "w2");
    let freed = client.until("inbox_message");
    assert_eq!(
        freed.data.get("claimed_by").and_then(Value::as_str).unwrap_or(""),
        "",
        "{freed:?}"
    );
    wait_for("the claim to be released", || {
        (claim("w1", "60").status == 200).then_some(())
    });
    assert_eq!(
        receipts(&hub.get(&format!("/api/inbox/{id}")).json()),
        ["w1 seen http", "w2 seen http"]
    );
    for (body, status) in [
        (r#"{"owner":"w1"}"#, 400),
        (r#"{"owner":"","lease_sec":1}"#, 400),
        (r#"{"owner":"w1","lease_sec":-1}"#, 400),
        (r#"{"owner":"w1","lease_sec":1e9}"#, 400),
        (r#"{"owner":"w1","lease_sec":"1"}"#, 400),
    ] {
        let response = hub.send("POST", &path, body);
        assert_eq!(response.status, status, "{body} {response:?}");
    }
    assert_eq!(
        hub.send("POST", "/api/inbox/unknown/claim", r#"{"owner":"w1","lease_sec":1}"#)
            .status,
        404
    );
}

/// Returns the text and status of each message in an inbox's list.
fn listed(hub: &TestHub, query: &str) -> Vec<String> {
    let mail = hub.get(&format!("/api/inbox?{query}")).items();
    let text = |m: &Value, name: &str| m[name].as_str().unwrap().to_owned();
    mail.iter()
        .map(|m| format!("{} {}", text(m, "payload"), text(m, "status")))
        .collect()
}

/// When the person reads a message to `all`, it stays unread for every agent that has not read it.
#[test]
fn mail_to_all_is_read_per_reader() {
    let hub = TestHub::start();
    hub.sql("INSERT INTO agents(id) VALUES('planner'), ('tester')");
    let [read, archived] = ["one", "two"].map(|text| send(&hub, "all", text));
    let patch = |id: &str, status: &str| {
        let body = format!(r#"{{"status":"{status}"}}"#);
        hub.send_as_person("PATCH", &format!("/api/inbox/{id}"), &body)
    };
    let path = format!("/api/inbox/{read}");
    let nameless = hub.send("PATCH", &path, r#"{"status":"read"}"#);
    assert_eq!((nameless.status, nameless.code()), (400, "INVALID".into()));
    let tester = hub.send("PATCH", &path, r#"{"status":"read","reader":"tester"}"#);
    assert_eq!((tester.status, tester.json()["status"].as_str()), (200, Some("read")));
    for (id, status) in [(&read, "unread"), (&read, "read"), (&archived, "archived")] {
        let response = patch(id, status);
        assert_eq!(
            (response.status, response.json()["status"].as_str()),
            (200, Some(status))
        );
    }
    assert_eq!(listed(&hub, "inbox=human"), ["two archived", "one read"]);
    assert_eq!(listed(&hub, "inbox=human&status=read"), ["one read"]);
    assert_eq!(listed(&hub, "inbox=human&status=archived"), ["two archived"]);
    assert!(listed(&hub, "inbox=human&status=unread").is_empty());
    assert_eq!(
        listed(&hub, "inbox=planner&status=unread"),
        ["two unread", "one unread"]
    );
    assert_eq!(hub.sql("SELECT DISTINCT status FROM inbox_messages"), "unread");
    let planner = hub.agenthub(&["inbox", "--as", "planner", "--unread"]);
    assert!(String::from_utf8_lossy(&planner.stdout).contains("one"), "{planner:?}");
    assert_eq!(
        receipts(&hub.get(&format!("/api/inbox/{read}")).json()),
        ["tester seen http", "human seen http"]
    );
    // An agent that appears later does not get it.
    hub.sql("INSERT INTO agents(id) VALUES('newcomer')");
    assert!(listed(&hub, "inbox=newcomer").is_empty());
    assert_eq!(listed(&hub, "inbox=all"), ["two unread", "one unread"]);
    // A message with a receipt cannot become unread again. Deleting applies to all readers.
    assert_eq!(
        (patch(&read, "unread").status, patch(&read, "deleted").status),
        (409, 200)
    );
    assert_eq!(listed(&hub, "inbox=planner"), ["two unread"]);
    let claim = hub.send(
        "POST",
        &format!("/api/inbox/{archived}/claim"),
        r#"{"owner":"w1","lease_sec":60}"#,
    );
    assert_eq!((claim.status, claim.code()), (409, "CONFLICT".into()), "{claim:?}");
    assert_eq!(listed(&hub, "inbox=planner&status=unread"), ["two unread"]);
}

/// Expired mail is no longer listed, and an empty name owns nothing.
#[test]
fn refuses_claims_of_expired_mail_and_by_empty_owners() {
    let hub = TestHub::start();
    let id = send(&hub, "jobs", "work");
    hub.sql("UPDATE inbox_messages SET expires_at = 1000");
    let claim = |owner: &str| {
        let body = format!(r#"{{"owner":"{owner}","lease_sec":60}}"#);
        hub.send("POST", &format!("/api/inbox/{id}/claim"), &body)
    };
    assert_eq!((claim("w1").status, claim("  ").status), (409, 400));
    assert_eq!(hub.sql("SELECT claimed_by IS NULL FROM inbox_messages"), "1");
}

/// An agent that creates its thread again gets the same one, also after the person renamed it.
#[test]
fn repeated_create_returns_the_thread_after_a_rename() {
    let hub = TestHub::start();
    let make = |body: &str| hub.send("POST", "/api/threads", body).status;
    let build = r#"{"id":"build","title":"Build","created_by_id":"planner"}"#;
    assert_eq!((make(build), make(build)), (201, 200));
    hub.send("PATCH", "/api/threads/build", r#"{"title":"The build"}"#);
    assert_eq!(
        (make(build), make(r#"{"id":"build","created_by_id":"planner"}"#)),
        (200, 200)
    );
    assert_eq!(hub.get("/api/threads/build").json()["title"], "The build");
    // Another creator means another thread. A title is refused, not ignored, if the thread has none.
    assert_eq!(make(r#"{"id":"build","title":"Build","created_by_id":"other"}"#), 409);
    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('implicit', 'planner')");
    assert_eq!(make(r#"{"id":"implicit","created_by_id":"planner"}"#), 200);
    let response = hub.send(
        "POST",
        "/api/threads",
        r#"{"id":"implicit","title":"T","created_by_id":"planner"}"#,
    );
    assert_eq!(response.status, 409);
    assert!(response.body.contains("PATCH"), "{response:?}");
}
