//! Changes of state over HTTP: threads, mail, claims, receipts.

use serde_json::Value;

use crate::support::{TestHub, within};

fn send(hub: &TestHub, to: &str, text: &str) -> String {
    let body = format!(r#"{{"from_agent":"boss","to_inbox":"{to}","payload":"{text}"}}"#);
    let answer = hub.send("POST", "/api/inbox", &body);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["message_id"].as_str().unwrap().to_owned()
}

fn receipts(mail: &Value) -> Vec<String> {
    let text = |r: &Value, name: &str| r[name].as_str().unwrap().to_owned();
    let list = mail["receipts"].as_array().unwrap();
    list.iter()
        .map(|r| format!("{} {} {}", text(r, "reader"), text(r, "state"), text(r, "via")))
        .collect()
}

#[test]
fn a_thread_gets_a_title_and_a_status_and_its_followers_hear_of_it() {
    let hub = TestHub::start();
    hub.sql("INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'planner', 'green')");
    let mut client = hub.connect("");
    client.subscribe("build", 0);
    client.expect("batch");
    let answer = hub.send(
        "PATCH",
        "/api/threads/build",
        r#"{"title":"The build","status":"paused"}"#,
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        (&answer.json()["title"], &answer.json()["status"]),
        (&"The build".into(), &"paused".into())
    );
    let state = client.until("thread_state");
    assert_eq!((state.text("title"), state.text("status")), ("The build", "paused"));
    // What is not named stays.
    let answer = hub.send("PATCH", "/api/threads/build", r#"{"status":"resolved"}"#);
    assert_eq!(answer.json()["title"], "The build");
    for (path, body, status) in [
        ("/api/threads/build", "{}", 400),
        ("/api/threads/build", r#"{"last_seq":9}"#, 400),
        ("/api/threads/build", r#"{"status":""}"#, 400),
        ("/api/threads/build", "status", 400),
        ("/api/threads/nowhere", r#"{"status":"paused"}"#, 404),
    ] {
        let answer = hub.send("PATCH", path, body);
        assert_eq!(answer.status, status, "{body} {answer:?}");
        assert!(!answer.code().is_empty());
    }
}

#[test]
fn mail_changes_its_status_and_shows_its_receipts() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    let id = send(&hub, "human", "look");
    assert_eq!(client.until("inbox_message").text("status"), "unread");
    let path = format!("/api/inbox/{id}");
    let answer = hub.send("PATCH", &path, r#"{"status":"read"}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json()["read_at"].as_i64().is_some_and(|at| at > 0));
    assert_eq!(client.until("inbox_message").text("status"), "read");
    assert_eq!(receipts(&hub.get(&path).json()), ["human seen http"]);
    // What somebody else's mail is made to be is no receipt of theirs.
    let other = send(&hub, "planner", "look");
    hub.send("PATCH", &format!("/api/inbox/{other}"), r#"{"status":"read"}"#);
    let mail = hub.get(&format!("/api/inbox/{other}")).json();
    assert_eq!((mail["status"].as_str(), receipts(&mail).len()), (Some("read"), 0));
    hub.send("PATCH", &format!("/api/inbox/{other}"), r#"{"status":"deleted"}"#);
    assert!(hub.get("/api/inbox?inbox=planner").items().is_empty());
    assert_eq!(hub.get("/api/inbox?inbox=planner&status=deleted").items().len(), 1);
    assert_eq!(hub.send("PATCH", &path, r#"{"status":" "}"#).status, 400);
    assert_eq!(hub.send("PATCH", &path, r#"{"status":"read","title":"x"}"#).status, 400);
    assert_eq!(
        hub.send("PATCH", "/api/inbox/nowhere", r#"{"status":"read"}"#).status,
        404
    );
    assert_eq!(hub.get("/api/inbox/nowhere").status, 404);
}

#[test]
fn a_claim_holds_is_given_back_and_runs_out() {
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
    assert_eq!(claim("w1", "0").json()["claimed_by"], "");
    client.until("inbox_message");
    // This one runs out, and the hub says so by itself.
    assert_eq!(claim("w2", "2").status, 200);
    assert_eq!(client.until("inbox_message").text("claimed_by"), "w2");
    let freed = client.until("inbox_message");
    assert_eq!(
        freed.data.get("claimed_by").and_then(Value::as_str).unwrap_or(""),
        "",
        "{freed:?}"
    );
    within("the mail to be free", || {
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
        let answer = hub.send("POST", &path, body);
        assert_eq!(answer.status, status, "{body} {answer:?}");
    }
    assert_eq!(
        hub.send("POST", "/api/inbox/nowhere/claim", r#"{"owner":"w1","lease_sec":1}"#)
            .status,
        404
    );
}

/// The status of each piece of mail in an inbox's listing, by text.
fn standing(hub: &TestHub, query: &str) -> Vec<String> {
    let mail = hub.get(&format!("/api/inbox?{query}")).items();
    let text = |m: &Value, name: &str| m[name].as_str().unwrap().to_owned();
    mail.iter()
        .map(|m| format!("{} {}", text(m, "payload"), text(m, "status")))
        .collect()
}

/// Without it the person's glance at a broadcast would take it away from every agent that has
/// not looked yet.
#[test]
fn mail_to_all_is_read_by_each_for_himself() {
    let hub = TestHub::start();
    let [read, archived] = ["one", "two"].map(|text| send(&hub, "all", text));
    let patch = |id: &str, status: &str| {
        let body = format!(r#"{{"status":"{status}"}}"#);
        hub.send("PATCH", &format!("/api/inbox/{id}"), &body)
    };
    for (id, status) in [(&read, "unread"), (&read, "read"), (&archived, "archived")] {
        let answer = patch(id, status);
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some(status)));
    }
    assert_eq!(standing(&hub, "inbox=human"), ["two archived", "one read"]);
    assert_eq!(standing(&hub, "inbox=human&status=read"), ["one read"]);
    assert_eq!(standing(&hub, "inbox=human&status=archived"), ["two archived"]);
    assert!(standing(&hub, "inbox=human&status=unread").is_empty());
    assert_eq!(
        standing(&hub, "inbox=planner&status=unread"),
        ["two unread", "one unread"]
    );
    assert_eq!(hub.sql("SELECT DISTINCT status FROM inbox_messages"), "unread");
    let planner = hub.agenthub(&["inbox", "planner", "--unread"]);
    assert!(String::from_utf8_lossy(&planner.stdout).contains("one"), "{planner:?}");
    assert_eq!(
        receipts(&hub.get(&format!("/api/inbox/{read}")).json()),
        ["human seen http"]
    );
    // What has a receipt cannot be made unseen; what is deleted is so for everybody.
    assert_eq!(
        (patch(&read, "unread").status, patch(&read, "deleted").status),
        (409, 200)
    );
    assert_eq!(standing(&hub, "inbox=planner"), ["two unread"]);
    let claim = hub.send(
        "POST",
        &format!("/api/inbox/{archived}/claim"),
        r#"{"owner":"w1","lease_sec":60}"#,
    );
    assert_eq!((claim.status, claim.code()), (409, "CONFLICT".into()), "{claim:?}");
    assert_eq!(standing(&hub, "inbox=planner&status=unread"), ["two unread"]);
}

/// Without it work would be given out that nobody lists any more, to nobody.
#[test]
fn expired_mail_and_nameless_owners_make_no_claim() {
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

/// Without it an agent that asks for its thread again after a person named it would be told
/// that there is another one.
#[test]
fn a_thread_is_the_same_whatever_its_title_became() {
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
    // Somebody else's is another one; and a title is not dropped without a word.
    assert_eq!(make(r#"{"id":"build","title":"Build","created_by_id":"other"}"#), 409);
    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('implicit', 'planner')");
    assert_eq!(make(r#"{"id":"implicit","created_by_id":"planner"}"#), 200);
    let answer = hub.send(
        "POST",
        "/api/threads",
        r#"{"id":"implicit","title":"T","created_by_id":"planner"}"#,
    );
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("PATCH"), "{answer:?}");
}
