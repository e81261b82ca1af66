//! Invalid input on the WebSocket: bad frames, bad positions, unreadable rows, and connections that
//! end. Each gets a defined response, and the hub and other connections keep working.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::MARKER_ROW;
use crate::support::writer::insert_messages;
use crate::support::{Client, Received, TestHub, wait_for};

#[test]
fn bad_frames_get_an_error_code_and_keep_the_connection() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    let long = "x".repeat(100_000 / 10);
    let long_type = format!(r#"{{"type":"{}"}}"#, "y".repeat(9000));
    let deep = format!(
        r#"{{"type":"subscribe","data":{}1{}}}"#,
        "[".repeat(4000),
        "]".repeat(4000)
    );
    for (frame, code) in [
        ("", "PARSE_ERROR"),
        ("hello", "PARSE_ERROR"),
        ("{", "PARSE_ERROR"),
        ("[]", "PARSE_ERROR"),
        ("null", "PARSE_ERROR"),
        ("{}", "PARSE_ERROR"),
        (r#"{"type":1}"#, "PARSE_ERROR"),
        (r#"{"type":null}"#, "PARSE_ERROR"),
        (r#"{"type":"ping","timestamp":"now"}"#, "PARSE_ERROR"),
        (r#"{"type":"ping"}{"type":"ping"}"#, "PARSE_ERROR"),
        (r#"["ping"]"#, "PARSE_ERROR"),
        (long.as_str(), "PARSE_ERROR"),
        (deep.as_str(), "INVALID_SUBSCRIBE"),
        (long_type.as_str(), "UNKNOWN_EVENT"),
        (r#"{"type":""}"#, "UNKNOWN_EVENT"),
        (r#"{"type":"PING"}"#, "UNKNOWN_EVENT"),
        (r#"{"type":"message","data":{}}"#, "UNKNOWN_EVENT"),
        (r#"{"type":"pong"}"#, "UNKNOWN_EVENT"),
        (r#"{"type":"subscribe"}"#, "INVALID_SUBSCRIBE"),
        (r#"{"type":"subscribe","data":null}"#, "INVALID_SUBSCRIBE"),
        (r#"{"type":"subscribe","data":[]}"#, "INVALID_SUBSCRIBE"),
        (r#"{"type":"subscribe","data":["t",0]}"#, "INVALID_SUBSCRIBE"),
        (r#"{"type":"subscribe","data":{"thread_id":""}}"#, "INVALID_SUBSCRIBE"),
        (r#"{"type":"subscribe","data":{"thread_id":7}}"#, "INVALID_SUBSCRIBE"),
        (
            r#"{"type":"subscribe","data":{"thread_id":"t","from_seq":-2}}"#,
            "INVALID_SUBSCRIBE",
        ),
        (
            r#"{"type":"subscribe","data":{"thread_id":"t","from_seq":1.5}}"#,
            "INVALID_SUBSCRIBE",
        ),
        (
            r#"{"type":"subscribe","data":{"thread_id":"t","from_seq":"1"}}"#,
            "INVALID_SUBSCRIBE",
        ),
        (
            r#"{"type":"subscribe","data":{"thread_id":"t","from_seq":99999999999999999999}}"#,
            "INVALID_SUBSCRIBE",
        ),
        (r#"{"type":"unsubscribe"}"#, "INVALID_SUBSCRIBE"),
        (r#"{"type":"unsubscribe","data":{"thread_id":""}}"#, "INVALID_SUBSCRIBE"),
        (r#"{"type":"ack"}"#, "INVALID_ACK"),
        (r#"{"type":"ack","data":{"thread_id":"t"}}"#, "INVALID_ACK"),
        (
            r#"{"type":"ack","data":{"thread_id":"t","ack_seq":"1"}}"#,
            "INVALID_ACK",
        ),
        (
            r#"{"type":"ack","data":{"thread_id":"t","ack_seq":1}}"#,
            "NOT_SUBSCRIBED",
        ),
    ] {
        client.send_text(frame);
        let error = client.expect("error");
        let shown: String = frame.chars().take(80).collect();
        assert_eq!(error.text("code"), code, "{shown}: {error:?}");
        // Retrying does not help, and the error does not repeat the frame.
        assert_eq!(error.data.get("temporary"), None, "{shown}");
        assert!(error.text("message").len() < 500, "{shown}: {error:?}");
    }
    client.send_frame(Message::binary(vec![0, 159, 146, 150]));
    client.expect_error("PARSE_ERROR");
    client.send_frame(Message::binary(br#"{"type":"ping"}"#.to_vec()));
    client.expect_error("PARSE_ERROR");
    // Unknown fields are ignored, and the timestamp is optional.
    client.send_text(r#"{"type":"ping","data":{"x":1},"y":2}"#);
    client.expect("pong");
    // null is the same as an absent field, as in AILANG's decoder.
    client.send_text(r#"{"type":"subscribe","timestamp":null,"data":{"thread_id":"t","from_seq":null}}"#);
    client.expect("batch");
}

/// A subscription after a number that the thread never had would wait forever or skip messages.
#[test]
fn from_seq_beyond_the_thread_is_a_lost_position() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    let mut client = hub.connect("");
    for (thread, from) in [("t", 4), ("t", i64::MAX), ("unknown", 1)] {
        client.subscribe(thread, from);
        let error = client.expect_error("POSITION_LOST");
        assert_eq!(error.text("thread_id"), thread);
        assert_eq!(error.number("first_seq"), 1, "{error:?}");
    }
    // The thread's messages are not sent until the client subscribes again.
    hub.sql(&insert_messages("t", 4, 1));
    hub.sql(MARKER_ROW);
    client.expect_marker();
    client.subscribe("t", 3);
    assert_eq!(client.expect("batch").seqs(), [4]);
}

/// After a restore from a backup, a client must not continue in another history.
#[test]
fn from_id_must_be_the_message_at_from_seq() {
    let hub = TestHub::start();
    hub.sql("INSERT INTO messages(id, thread_id, from_id) VALUES('m1', 't', 'a'), ('m2', 't', 'a'), ('m3', 't', 'a');");
    let mut client = hub.connect("");
    client.send("subscribe", &json!({"thread_id": "t", "from_seq": 2, "from_id": "m2"}));
    assert_eq!(client.expect("batch").seqs(), [3]);
    for (seq, id) in [(2, "m1"), (2, "other"), (3, "m2"), (2, "")] {
        client.send("subscribe", &json!({"thread_id": "t", "from_seq": seq, "from_id": id}));
        let error = client.expect_error("POSITION_LOST");
        assert_eq!(
            (error.text("thread_id"), error.number("first_seq")),
            ("t", 1),
            "{seq} {id}"
        );
    }
    // Also without a number: an id means that the client had received messages.
    for start in [-1, 0] {
        client.send(
            "subscribe",
            &json!({"thread_id": "t", "from_seq": start, "from_id": "m3"}),
        );
        client.expect_error("POSITION_LOST");
    }
}

/// Any thread that can be written to can be subscribed to.
#[test]
fn accepts_thread_ids_as_long_as_a_frame_can_carry() {
    let hub = TestHub::start();
    let name = "n".repeat(9000);
    hub.sql(&insert_messages(&name, 1, 2));
    let mut client = hub.connect("");
    client.subscribe(&name, 0);
    assert_eq!(client.expect("batch").seqs(), [1, 2]);
    client.ack(&name, 2);
    client.assert_alive();
}

/// The size limit protects the hub's memory, and the close code states the reason.
#[test]
fn closes_with_1009_after_a_message_over_ten_kib() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.send_text(&"x".repeat(10 * 1024));
    client.expect_error("PARSE_ERROR");
    client.send_frame(Message::text("x".repeat(10 * 1024 + 1)));
    assert_eq!(client.expect_close(), 1009);
    // The hub keeps working.
    hub.connect("").assert_alive();
    let large = TestHub::with_args(&["--max-message-size", "100000"]);
    let mut client = large.connect("");
    client.send_text(&"x".repeat(100_000));
    client.expect_error("PARSE_ERROR");
}

/// Programs use the header, browsers the subprotocol, and AILANG's clients the query.
#[test]
fn accepts_the_token_in_header_subprotocol_and_query() {
    let hub = TestHub::start();
    let (port, token) = (hub.port(), hub.token().to_owned());
    let bearer = format!("Bearer {token}");
    let protocols = format!("agenthub, bearer.{token}");
    for (query, headers) in [
        (String::new(), vec![("authorization", bearer.as_str())]),
        (String::new(), vec![("sec-websocket-protocol", protocols.as_str())]),
        (format!("token={token}"), vec![]),
    ] {
        let (mut client, protocol) =
            Client::connect_with_headers(port, &query, &headers).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(
            protocol.is_some(),
            !headers.is_empty() && headers[0].0 != "authorization"
        );
        assert!(protocol.is_none_or(|p| p == "agenthub"));
        client.assert_alive();
    }
    let wrong = "0".repeat(64);
    let wrong_bearer = format!("Bearer {wrong}");
    let wrong_protocols = format!("agenthub, bearer.{wrong}");
    for (query, headers) in [
        (String::new(), vec![]),
        (String::new(), vec![("authorization", wrong_bearer.as_str())]),
        (String::new(), vec![("authorization", token.as_str())]),
        (
            String::new(),
            vec![("sec-websocket-protocol", wrong_protocols.as_str())],
        ),
        (format!("token={wrong}"), vec![]),
        (format!("token={}", &token[..63]), vec![]),
    ] {
        let (status, body) = Client::connect_with_headers(port, &query, &headers)
            .err()
            .unwrap()
            .unwrap();
        assert_eq!(status, 401, "{query} {headers:?}");
        assert!(!body.contains(&token) && !body.contains(&wrong), "{body}");
    }
    assert!(!hub.log().contains(&token), "the token is in the log");
}

/// A typing error in the query must not select another stream silently.
#[test]
fn rejects_invalid_query_values() {
    let hub = TestHub::start();
    for query in [
        "streams=everything",
        "since=yesterday",
        "since=-1",
        "frames=single",
        "instance_id=",
        &format!("instance_id={}", "x".repeat(256)),
    ] {
        let (status, body) = Client::try_connect(hub.port(), hub.token(), query)
            .err()
            .unwrap()
            .unwrap();
        assert_eq!(status, 400, "{query}: {body}");
        assert!(body.contains("INVALID"), "{query}: {body}");
    }
    // Unknown parameters are ignored.
    hub.connect("colour=green&instance_id=a%20b").assert_alive();
}

/// A message with another encoding must not stop its thread.
#[test]
fn delivers_messages_that_are_not_utf8_as_degraded_and_counts_them() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    client.expect("batch");
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', CAST(x'61ff62' AS TEXT));
         INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', CAST(x'eda080' AS TEXT));
         INSERT INTO messages(thread_id, from_id, subject, content) VALUES('t', 'a', CAST(x'c3' AS TEXT), 'whole');
         INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'good');
         INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a', 'b', CAST(x'fe' AS TEXT));",
    );
    let mut live = Vec::new();
    for (seq, content, degraded) in [
        (1, "a\u{fffd}b", true),
        (2, "\u{fffd}\u{fffd}\u{fffd}", true),
        (3, "whole", true),
        (4, "good", false),
    ] {
        let message = client.expect("message");
        assert_eq!((message.number("message_seq"), message.text("content")), (seq, content));
        assert_eq!(
            message.data.get("degraded"),
            degraded.then_some(&json!(true)),
            "{message:?}"
        );
        live.push(message.data);
    }
    let mail = client.expect("inbox_message");
    assert_eq!((mail.text("title"), &mail.data["degraded"]), ("\u{fffd}", &json!(true)));
    assert_eq!(hub.status()["degraded"], json!(4));
    // A batch read from the database has the same messages.
    let mut late = hub.connect("");
    late.subscribe("t", 0);
    assert_eq!(late.expect("batch").messages(), live);
}

/// An unreadable row must not hide the rows after it.
#[test]
fn skips_and_counts_unreadable_rows_and_shows_the_reason() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    hub.sql(
        "INSERT INTO telemetry(instance_id, status) VALUES('i', CAST(x'ff' AS TEXT));
         INSERT INTO telemetry(instance_id, turns) VALUES('after', 1);
         INSERT INTO task_stream(task_id, stream_type, text) VALUES('k', 'text', CAST(x'80' AS TEXT));
         INSERT INTO task_stream(task_id, stream_type, text) VALUES('k', 'text', CAST(x'c0af' AS TEXT));
         INSERT INTO task_stream(task_id, stream_type, text) VALUES('k', 'text', 'after');",
    );
    assert_eq!(client.expect("telemetry").text("instance_id"), "after");
    assert_eq!(client.expect("task_stream").text("text"), "after");
    let status = hub.status();
    assert_eq!(status["rejected_counts"], json!({"telemetry": 1, "task_stream": 2}));
    let rejected = status["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), 3, "{status}");
    for (row, table, n, column) in [
        (0, "telemetry", 1, "status"),
        (1, "task_stream", 1, "text"),
        (2, "task_stream", 2, "text"),
    ] {
        assert_eq!(
            (&rejected[row]["table"], &rejected[row]["row"]),
            (&json!(table), &json!(n))
        );
        let reason = rejected[row]["reason"].as_str().unwrap();
        assert!(reason.contains(column) && reason.contains("UTF-8"), "{reason}");
    }
    // The hub logs them once for each table, not for each row.
    let logged = || hub.log().matches("cannot be shown").count();
    wait_for("both in the log", || (logged() >= 2).then_some(()));
    assert_eq!(logged(), 2, "{}", hub.log());
    // The HTTP lists show the readable rows.
    assert_eq!(hub.get("/api/tasks/k/events").items().len(), 1);
}

#[test]
fn an_unreadable_thread_does_not_hide_its_messages() {
    let hub = TestHub::start();
    hub.sql("INSERT INTO threads(id, title) VALUES('t', CAST(x'ff' AS TEXT));");
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    client.expect("batch");
    hub.sql(&insert_messages("t", 1, 2));
    assert_eq!(client.expect("message").seqs(), [1]);
    assert_eq!(client.expect("message").seqs(), [2]);
    assert_eq!(hub.status()["rejected_counts"], json!({"threads": 1}));
}

/// Clients limit the size of a frame.
#[test]
fn batches_are_limited_in_bytes() {
    let hub = TestHub::start();
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, content) WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
         FROM k WHERE i < 5) SELECT 't', 'a', printf('%.*c', 100000, 'x') FROM k;
         INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', printf('%.*c', 1048576, 'y'));
         INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', 'small');",
    );
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    let mut batches = Vec::new();
    loop {
        let batch = client.expect("batch");
        batches.push(batch.seqs());
        let bytes: usize = batch
            .messages()
            .iter()
            .map(|m| m["content"].as_str().unwrap().len())
            .sum();
        assert!(
            bytes <= 256 * 1024 || batch.seqs().len() == 1,
            "{bytes} bytes in {:?}",
            batch.seqs()
        );
        if batch.data["has_more"] == json!(false) {
            break;
        }
    }
    assert_eq!(batches.concat(), [1, 2, 3, 4, 5, 6, 7]);
    assert!(batches.contains(&vec![6]), "{batches:?}");
}

#[test]
fn deleted_messages_keep_their_number_and_lose_their_content() {
    let mut hub = TestHub::start();
    hub.sql(
        "INSERT INTO messages(id, thread_id, from_id, subject, content, metadata_json) \
         VALUES('a', 't', 'x', 'secret', 'secret', 'secret'), ('b', 't', 'x', 's', 'kept', 'm');",
    );
    // The hub reads the message before and after its deletion.
    hub.wait_until_synced();
    hub.sql("UPDATE messages SET deleted_at = 1 WHERE id = 'a';");
    hub.wait_until_synced();
    for source in ["the hub's memory", "the database"] {
        let mut client = hub.connect("");
        client.subscribe("t", 0);
        let batch = client.expect("batch");
        assert_eq!(batch.seqs(), [1, 2]);
        assert!(!batch.raw.to_string().contains("secret"), "from {source}: {batch:?}");
        assert_eq!(batch.messages()[1]["content"], "kept");
        let mut streamer = hub.connect("streams=messages&since=0");
        let messages = streamer.messages_until(2);
        assert_eq!(messages.len(), 2);
        assert!(
            !json!(messages).to_string().contains("secret"),
            "from {source}: {messages:?}"
        );
        assert!(!hub.get("/api/threads/t/messages").body.contains("secret"));
        hub.crash_and_restart();
    }
}

/// The hub closes connections whose client does not respond, and keeps idle ones.
#[test]
fn closes_connections_that_do_not_answer_pings() {
    let hub = TestHub::with_args(&["--ping-period", "0.5", "--pong-wait", "3"]);
    let (mut alive, mut silent) = (hub.connect(""), hub.connect(""));
    // `alive` answers the pings while it reads, for longer than the pong wait. `silent` does not read.
    assert_eq!(alive.receive(Duration::from_secs(7)), None);
    alive.assert_alive();
    wait_for("the silent connection to close", || {
        (hub.status()["clients"] == json!(1)).then_some(())
    });
    // Read as bytes: the WebSocket library would first try to answer the pings.
    let bytes = silent.read_to_end_of_stream();
    let close = [&[0x88, 21], &4012_u16.to_be_bytes()[..], b"no answer to a ping"].concat();
    assert!(bytes.ends_with(&close) && bytes.len() > close.len(), "{bytes:?}");
}

#[test]
fn answers_a_close_frame_and_decrements_the_client_count() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.assert_alive();
    assert_eq!(hub.status()["clients"], json!(1));
    client.send_frame(Message::Close(None));
    assert!(matches!(
        client.receive(Duration::from_secs(5)),
        Some(Received::Close(..))
    ));
    wait_for("the client count to be 0", || {
        (hub.status()["clients"] == json!(0)).then_some(())
    });
    // The same for a client that disconnects without a close frame.
    drop(hub.connect(""));
    wait_for("the client count to be 0", || {
        (hub.status()["clients"] == json!(0)).then_some(())
    });
}

/// Rows that a program inserts into `changes` itself must not stop the hub.
#[test]
fn continues_after_foreign_rows_in_the_change_log() {
    let mut hub = TestHub::start();
    let mut client = hub.connect("streams=messages,inbox&since=0");
    client.expect("hello");
    for (row, tag) in [("NULL", "1"), ("'x'", "2"), ("1", "-1"), ("1", "'oops'"), ("1", "NULL")] {
        hub.sql(&format!(
            "INSERT INTO changes(tbl, row, op, tag) VALUES('nothing', {row}, 'insert', {tag})"
        ));
    }
    hub.sql(&insert_messages("t", 1, 1));
    assert_eq!(client.until("message").seqs(), [1]);
    // A position between such rows can be resumed.
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b'); INSERT INTO changes(tbl, row, op, tag) VALUES('nothing', 1, 'insert', -7);");
    let pos = client.until("inbox_message").pos.unwrap();
    hub.crash_and_restart();
    hub.sql(&insert_messages("t", 2, 1));
    let mut resumed = hub.connect(&format!("streams=messages&since={pos}"));
    assert_eq!(resumed.until("message").seqs(), [2]);
    let head = hub.status()["pos"].as_str().unwrap().to_owned();
    hub.connect(&format!("streams=messages&since={head}")).expect("hello");
}
