//! The HTTP API: lists, idempotent POSTs, refused requests, status and the page's files.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::writer::insert_messages;
use crate::support::{TestHub, http};

fn numbers(items: &[Value], name: &str) -> Vec<i64> {
    items.iter().map(|item| item[name].as_i64().unwrap()).collect()
}

/// Reads a list to its end by its cursor and returns all items.
#[track_caller]
fn walk(hub: &TestHub, path: &str, cursor: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut next = None;
    loop {
        let separator = if path.contains('?') { '&' } else { '?' };
        let url = match &next {
            None => path.to_owned(),
            Some(next) => format!("{path}{separator}{cursor}={next}"),
        };
        let response = hub.get(&url);
        assert_eq!(response.status, 200, "{url}: {response:?}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let page = response.json();
        assert_eq!(page.as_object().unwrap().len(), 2, "{page}");
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        next = match &page["next"] {
            Value::Null => return items,
            Value::String(text) => Some(text.clone()),
            number => Some(number.to_string()),
        };
        assert!(items.len() < 10_000, "the list has no end");
    }
}

/// A client reads a thread from its beginning, or backwards from its end.
#[test]
fn lists_messages_forwards_and_backwards() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("a b/c?d", 1, 25));
    let path = "/api/threads/a%20b%2Fc%3Fd/messages";
    let forward = walk(&hub, &format!("{path}?limit=10"), "from_seq");
    assert!(numbers(&forward, "message_seq").into_iter().eq(1..=25));
    let mut keys: Vec<_> = forward[0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "business_state",
            "content",
            "created_at",
            "deleted_at",
            "delivery_state",
            "from_id",
            "from_type",
            "id",
            "kind",
            "message_seq",
            "metadata_json",
            "reply_to",
            "subject",
            "thread_id",
            "to_id",
            "to_type"
        ]
    );
    assert_eq!(
        numbers(&hub.get(&format!("{path}?from_seq=20")).items(), "message_seq"),
        [21, 22, 23, 24, 25]
    );
    // Backwards: the last ones first, each page in order.
    let last = hub.get(&format!("{path}?before_seq=26&limit=10")).json();
    assert_eq!(
        numbers(last["items"].as_array().unwrap(), "message_seq"),
        (16..=25).collect::<Vec<_>>()
    );
    assert_eq!(last["next"], json!(16));
    let first = hub.get(&format!("{path}?before_seq=6&limit=10")).json();
    assert_eq!(
        numbers(first["items"].as_array().unwrap(), "message_seq"),
        [1, 2, 3, 4, 5]
    );
    assert_eq!(first["next"], Value::Null);
    // A list of exactly one page has no next page.
    assert_eq!(hub.get(&format!("{path}?limit=25")).json()["next"], Value::Null);
    // An unknown thread has no messages.
    assert_eq!(hub.get("/api/threads/unknown/messages").items(), Vec::<Value>::new());
}

#[test]
fn lists_are_complete_over_all_pages() {
    let hub = TestHub::start();
    let mut sql = String::new();
    for i in 0..25 {
        sql.push_str(&format!(
            "INSERT INTO messages(thread_id, from_id) VALUES('t{i}', 'a{i}');
             INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a{}', 'b{}', '{i}');
             INSERT INTO telemetry(instance_id, turns) VALUES('i{}', {i});
             INSERT INTO task_stream(task_id, stream_type, text) VALUES('k{}', 'text', '{i}');",
            i % 2,
            i % 3,
            i % 4,
            i % 12
        ));
    }
    hub.sql(&sql);
    // Threads: each once, although all were active in the same millisecond.
    let mut threads: Vec<String> = walk(&hub, "/api/threads?limit=4", "before")
        .iter()
        .map(|t| t["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(threads.len(), 25);
    threads.sort();
    threads.dedup();
    assert_eq!(threads.len(), 25);
    // Inbox messages: newest first.
    let titles: Vec<String> = walk(&hub, "/api/inbox?limit=4", "before")
        .iter()
        .map(|m| m["title"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(titles, (0..25).rev().map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(walk(&hub, "/api/inbox?inbox=b1&limit=3", "before").len(), 8);
    assert_eq!(walk(&hub, "/api/inbox?from=a1&limit=3", "before").len(), 12);
    assert_eq!(walk(&hub, "/api/inbox?status=read", "before").len(), 0);
    assert_eq!(walk(&hub, "/api/tasks?limit=5", "before").len(), 12);
    let events = walk(&hub, "/api/tasks/k0/events?limit=1", "after");
    assert_eq!(numbers(&events, "id"), [1, 13, 25]);
    let before = hub.get("/api/tasks/k0/events?before=25&limit=1").json();
    assert_eq!(
        (numbers(before["items"].as_array().unwrap(), "id"), &before["next"]),
        (vec![13], &json!(13))
    );
    // The newest totals of each instance.
    let mut telemetry: Vec<(String, i64)> = hub
        .get("/api/telemetry")
        .items()
        .iter()
        .map(|t| {
            (
                t["instance_id"].as_str().unwrap().to_owned(),
                t["turns"].as_i64().unwrap(),
            )
        })
        .collect();
    telemetry.sort();
    assert_eq!(
        telemetry,
        [
            ("i0".into(), 24),
            ("i1".into(), 21),
            ("i2".into(), 22),
            ("i3".into(), 23)
        ]
    );
    assert_eq!(hub.get("/api/agents").items().len(), 25);
    let inboxes = hub.get("/api/inboxes").items();
    assert_eq!(inboxes.len(), 3);
    let b0 = inboxes.iter().find(|i| i["inbox"] == "b0").unwrap();
    assert_eq!((&b0["total"], &b0["unread"]), (&json!(9), &json!(9)));
}

/// An inbox also shows mail to `all`, and no expired mail. Claimed mail is not unread.
#[test]
fn inbox_lists_mail_to_its_owner_and_to_all() {
    let hub = TestHub::start();
    hub.sql(
        "INSERT INTO inbox_messages(id, from_agent, to_inbox) VALUES('mine', 'a', 'me'), ('all', 'a', 'all'), ('other', 'a', 'you');
         INSERT INTO inbox_messages(id, from_agent, to_inbox, expires_at) VALUES('past', 'a', 'me', 1000), ('later', 'a', 'me', 99999999999999);
         INSERT INTO inbox_messages(id, from_agent, to_inbox, claimed_by, claim_expires_at) VALUES('claimed', 'a', 'me', 'x', 99999999999999);
         INSERT INTO inbox_messages(id, from_agent, to_inbox, claimed_by, claim_expires_at) VALUES('given up', 'a', 'me', 'x', 1000);
         INSERT INTO inbox_messages(id, from_agent, to_inbox, status) VALUES('read', 'a', 'me', 'read');",
    );
    let ids = |query: &str| -> Vec<String> {
        hub.get(&format!("/api/inbox?{query}"))
            .items()
            .iter()
            .map(|m| m["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids("inbox=me"), ["read", "given up", "claimed", "later", "all", "mine"]);
    assert_eq!(ids("inbox=me&status=unread"), ["given up", "later", "all", "mine"]);
    assert_eq!(ids("inbox=x&status=unread"), ["all"]);
    let mail = hub.get("/api/inbox/mine").json();
    assert_eq!(
        (&mail["id"], &mail["to_inbox"], &mail["read_at"]),
        (&json!("mine"), &json!("me"), &Value::Null)
    );
    let by_public_id = hub.get(&format!("/api/inbox/{}", mail["message_id"].as_str().unwrap()));
    assert_eq!(by_public_id.json(), mail);
}

/// A client may repeat a request after a lost connection.
#[test]
fn repeated_post_writes_one_row() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    client.expect("batch");
    let path = "/api/threads/t/messages";
    let body = r#"{"id":"m1","from_id":"planner","kind":"question","content":"which?"}"#;
    let first = hub.send("POST", path, body);
    assert_eq!(first.status, 201, "{first:?}");
    let row = first.json();
    assert_eq!(
        (
            &row["id"],
            &row["thread_id"],
            &row["message_seq"],
            &row["from_type"],
            &row["from_id"],
            &row["kind"]
        ),
        (
            &json!("m1"),
            &json!("t"),
            &json!(1),
            &json!("agent"),
            &json!("planner"),
            &json!("question")
        )
    );
    let again = hub.send("POST", path, body);
    assert_eq!((again.status, again.json()), (200, row.clone()));
    for other in [
        r#"{"id":"m1","from_id":"planner","kind":"question","content":"other"}"#,
        r#"{"id":"m1","from_id":"other","content":"which?"}"#,
    ] {
        let conflict = hub.send("POST", path, other);
        assert_eq!((conflict.status, conflict.code()), (409, "CONFLICT".into()));
    }
    assert_eq!(hub.send("POST", "/api/threads/u/messages", body).status, 409);
    // Without an id the database generates one; without a sender the person is the sender.
    let with_null = hub.send_as_person("POST", "/api/threads/u/messages", r#"{"from_id":null,"content":"x"}"#);
    assert_eq!((with_null.status, &with_null.json()["from_id"]), (201, &json!("human")));
    let anonymous = hub.send_as_person("POST", path, r#"{"content":"hello"}"#);
    assert_eq!(anonymous.status, 201);
    let anonymous = anonymous.json();
    assert_eq!(
        (&anonymous["from_id"], &anonymous["from_type"]),
        (&json!("human"), &json!("human"))
    );
    assert_eq!(anonymous["id"].as_str().unwrap().len(), 32);
    assert_eq!(client.expect("message").text("id"), "m1");
    assert_eq!(client.expect("message").text("content"), "hello");

    let body = r#"{"id":"i1","message_id":"msg_1","to_inbox":"planner","title":"T","payload":"P","priority":"urgent"}"#;
    let mail = hub.send_as_person("POST", "/api/inbox", body);
    assert_eq!(mail.status, 201, "{mail:?}");
    let row = mail.json();
    assert_eq!(
        (
            &row["from_agent"],
            &row["status"],
            &row["priority"],
            &row["message_type"]
        ),
        (
            &json!("human"),
            &json!("unread"),
            &json!("urgent"),
            &json!("notification")
        )
    );
    assert_eq!(
        (
            hub.send_as_person("POST", "/api/inbox", body).status,
            hub.sql("SELECT count(*) FROM inbox_messages")
        ),
        (200, "1".into())
    );
    let other = r#"{"message_id":"msg_1","to_inbox":"planner","title":"T","payload":"other"}"#;
    assert_eq!(hub.send_as_person("POST", "/api/inbox", other).code(), "CONFLICT");
    assert_eq!(client.expect("inbox_message").text("id"), "i1");
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "3");
}

#[test]
fn refuses_invalid_requests_with_their_status() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 1));
    let post = |path: &str, body: &str| hub.send("POST", path, body);
    for (response, status, code) in [
        (hub.get("/api/threads/unknown"), 404, "NOT_FOUND"),
        (hub.get("/api/inbox/unknown"), 404, "NOT_FOUND"),
        (hub.get("/api"), 404, "NOT_FOUND"),
        (hub.get("/../Cargo.toml"), 404, "NOT_FOUND"),
        (hub.get("/views/../index.html"), 404, "NOT_FOUND"),
        (hub.get("/%2e%2e/etc/passwd"), 404, "NOT_FOUND"),
        (hub.get("/views"), 404, "NOT_FOUND"),
        (hub.send("DELETE", "/api/threads/t", "{}"), 405, "METHOD_NOT_ALLOWED"),
        (hub.send("PUT", "/api/inbox", "{}"), 405, "METHOD_NOT_ALLOWED"),
        (post("/api/status", "{}"), 405, "METHOD_NOT_ALLOWED"),
        (hub.get("/api/threads?limit=0"), 400, "INVALID"),
        (hub.get("/api/threads?limit=-1"), 400, "INVALID"),
        (hub.get("/api/threads?limit=many"), 400, "INVALID"),
        (hub.get("/api/threads/t/messages?from_seq=x"), 400, "INVALID"),
        (hub.get("/api/threads/t/messages?before_seq=1.5"), 400, "INVALID"),
        (hub.get("/api/inbox?before=99999999999999999999"), 400, "INVALID"),
        (hub.get("/ws"), 400, "INVALID"),
        (post("/api/inbox", ""), 400, "INVALID"),
        (post("/api/inbox", "{"), 400, "INVALID"),
        (post("/api/inbox", "[]"), 400, "INVALID"),
        (
            post("/api/inbox", r#"{"from_agent":"a","payload":"x"}"#),
            400,
            "INVALID",
        ),
        (
            post("/api/inbox", r#"{"from_agent":"a","to_inbox":"","payload":"x"}"#),
            400,
            "INVALID",
        ),
        (post("/api/inbox", r#"{"to_inbox":"a","titel":"x"}"#), 400, "INVALID"),
        (post("/api/inbox", r#"{"to_inbox":7}"#), 400, "INVALID"),
        (post("/api/threads/t/messages", "{}"), 400, "INVALID"),
        // The path names the thread and the task; the database makes the other values.
        (
            post("/api/threads/t/messages", r#"{"content":"x","thread_id":"t"}"#),
            400,
            "INVALID",
        ),
        (post("/api/tasks/k/events", r#"{"task_id":"k"}"#), 400, "INVALID"),
        (post("/api/tasks/k/events", r#"{"created_at":1}"#), 400, "INVALID"),
        (post("/api/telemetry", r#"{"instance_id":"i","id":1}"#), 400, "INVALID"),
        (post("/api/threads", r#"{"id":"t","n":1}"#), 400, "INVALID"),
        (
            post("/api/threads/t/messages", r#"{"content":"x","from_id":""}"#),
            400,
            "INVALID",
        ),
        (
            post("/api/threads/t/messages", r#"{"content":"x","message_seq":9}"#),
            400,
            "INVALID",
        ),
    ] {
        assert_eq!(
            (response.status, response.code().as_str()),
            (status, code),
            "{response:?}"
        );
    }
    assert_eq!(hub.sql("SELECT count(*) FROM changes"), "3");
    // A limit over the maximum means the maximum.
    assert_eq!(hub.get("/api/threads?limit=1000000").items().len(), 1);
}

/// The limit protects the hub's memory, and still allows the largest message.
#[test]
fn limits_the_size_of_bodies() {
    let hub = TestHub::start();
    let path = "/api/threads/t/messages";
    let body = |n: usize| format!(r#"{{"from_id":"a","content":"{}"}}"#, "x".repeat(n));
    assert_eq!(hub.send("POST", path, &body(1 << 20)).status, 201);
    let too_long = hub.send("POST", path, &body((1 << 20) + 1));
    assert_eq!(
        (too_long.status, too_long.code().as_str()),
        (400, "INVALID"),
        "{too_long:?}"
    );
    assert!(
        too_long.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("messages.content")
    );
    let refused = hub.send("POST", path, &body((1 << 20) + (64 << 10)));
    assert_eq!((refused.status, refused.code().as_str()), (413, "TOO_LARGE"));
    // The limit also applies to a body in chunks, without a length.
    let mut request = String::from(
        "POST /api/threads/t/messages HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n",
    );
    for (name, value) in hub.headers() {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let chunk = "x".repeat(0x10000);
    request.push_str("\r\n");
    for _ in 0..20 {
        request.push_str(&format!("10000\r\n{chunk}\r\n"));
    }
    request.push_str("0\r\n\r\n");
    assert_eq!(http::raw(hub.port(), request.as_bytes()).status, 413);
    assert_eq!(hub.sql("SELECT count(*) FROM messages"), "1");
}

#[test]
fn status_reports_hub_and_database() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    let _client = hub.connect("");
    let status = hub.status();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["state"], &status["trouble"]), (&json!("ok"), &Value::Null));
    assert_eq!(status["clients"], 1);
    assert_eq!(status["db"]["path"], hub.db().to_str().unwrap());
    assert_eq!(
        status["counts"],
        json!({"threads": 1, "messages": 3, "inbox_messages": 0, "telemetry": 0, "task_stream": 0, "agents": 1})
    );
    assert_eq!(status["pid"], json!(hub.pid().as_raw_nonzero().get()));
    assert!(
        matches!(status["watcher"]["using"].as_str(), Some("notify" | "poll")),
        "{status}"
    );
    assert_eq!(status["epoch"], hub.sql("SELECT value FROM hub WHERE key = 'epoch'"));
    let health = hub.get("/healthz").json();
    assert_eq!(health["status"], "ok");
    assert!(!health.to_string().contains(hub.db().to_str().unwrap()));
}

/// The browser caches the page's files and revalidates them each time.
#[test]
fn serves_the_page_with_an_entity_tag() {
    let hub = TestHub::start();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/main.js", "text/javascript; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
    ] {
        let response = hub.get(path);
        assert_eq!(
            (response.status, response.header("content-type")),
            (200, Some(kind)),
            "{path}"
        );
        assert!(!response.body.is_empty(), "{path}");
        let mut headers = hub.headers();
        headers.push(("If-None-Match".into(), response.header("etag").unwrap().into()));
        let kept = http::request(hub.port(), "GET", path, &headers, "");
        assert_eq!((kept.status, kept.body.as_str()), (304, ""), "{path}");
        for name in [
            "etag",
            "cache-control",
            "content-security-policy",
            "x-frame-options",
            "x-content-type-options",
            "referrer-policy",
            "cross-origin-resource-policy",
        ] {
            assert!(kept.header(name).is_some(), "{path}: {name}");
            assert_eq!(kept.header(name), response.header(name), "{path}: {name}");
        }
    }
    // The server sends the files as written, with `--assets` and without.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/dashboard");
    let editing = TestHub::with_args(&["--assets", folder]);
    for path in ["/index.html", "/main.js", "/app.css", "/favicon.svg"] {
        let written = std::fs::read_to_string(format!("{folder}{path}")).unwrap();
        let from = if path == "/index.html" { "/" } else { path };
        assert_eq!(editing.get(from).body, written, "{path}");
        assert_eq!(hub.get(from).body, written, "{path}");
    }
    // With `--assets`, existing files are read for each request. Other files come from the binary.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.css"), "edited").unwrap();
    let hub = TestHub::with_args(&["--assets", folder.path().to_str().unwrap()]);
    assert_eq!(hub.get("/app.css").body, "edited");
    std::fs::write(folder.path().join("app.css"), "edited again").unwrap();
    assert_eq!(hub.get("/app.css").body, "edited again");
    assert_eq!(hub.get("/main.js").status, 200);
}

/// The numbers count all rows, not those of a page.
#[test]
fn totals_count_more_rows_than_a_page_has() {
    let hub = TestHub::start();
    let many = "WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 1500)";
    hub.sql(&format!(
        "INSERT INTO threads(id) {many} SELECT 't' || i FROM k;
         INSERT INTO inbox_messages(from_agent, to_inbox) {many} SELECT 'a', 'human' FROM k;
         INSERT INTO task_stream(task_id, stream_type, status, created_at)
           {many} SELECT 'k' || i, 'status', iif(i % 3 = 0, 'failed', 'completed'), i FROM k;
         INSERT INTO task_stream(task_id, stream_type, turn_num) {many} SELECT 'long', 'error', i FROM k;"
    ));
    let totals = hub.get("/api/totals?since=1400").json();
    let expected = json!({"threads": 1500, "unread": 1500, "tasks": {"total": 1501, "running": 1, "waiting": 0,
        "completed": 1000, "failed": 500, "completed_since": 67}});
    assert_eq!(totals, expected);
    let task = hub.get("/api/tasks/long").json();
    assert_eq!((&task["turns"], &task["errors"]), (&json!(1500), &json!(1500)));
    assert_eq!(hub.get("/api/tasks/none").status, 404);
    let refused = hub.get("/api/totals?since=yesterday");
    assert_eq!((refused.status, refused.code().as_str()), (400, "INVALID"));
}

/// A file of `--assets` that cannot be read for a while, here a FIFO without a writer, delays only its own requests.
#[test]
fn a_blocked_file_system_delays_no_other_request() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("app.css");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let hub = TestHub::with_args(&["--assets", folder.path().to_str().unwrap()]);
    let threads = std::thread::available_parallelism().unwrap().get();
    let request = format!("GET /app.css HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", hub.port());
    let blocked: Vec<_> = (0..2 * threads)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", hub.port())).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    for path in ["/healthz", "/main.js", "/api/status"] {
        assert_eq!(hub.get(path).status, 200, "{path}");
    }
    drop(blocked);
}
