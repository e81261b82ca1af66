//! What is odd on the WebSocket: bad frames, bad positions, rows that cannot be read as they
//! are, and connections that end. Everything gets its answer, and what can live lives.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::writer::insert_messages;
use crate::support::{Client, Received, TestHub, within};

/// A row every client gets, written after those a test is about: a client that hears it
/// next has heard everything before it.
const LAST_ROW: &str = "INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('test', 'nobody', 'last row');";

#[track_caller]
fn hears_nothing_else(client: &mut Client) {
    let event = client.expect("inbox_message");
    assert_eq!(event.text("title"), "last row", "{event:?}");
}

/// Without it one bad frame would cost a client its connection, or go unanswered.
#[test]
fn a_bad_frame_gets_its_code_and_the_connection_lives() {
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
        // None of these gets better by trying again, and the answer is no echo.
        assert_eq!(error.data.get("temporary"), None, "{shown}");
        assert!(error.text("message").len() < 500, "{shown}: {error:?}");
    }
    client.send_frame(Message::binary(vec![0, 159, 146, 150]));
    client.expect_error("PARSE_ERROR");
    client.send_frame(Message::binary(br#"{"type":"ping"}"#.to_vec()));
    client.expect_error("PARSE_ERROR");
    // Fields nobody knows are no error, and neither is a timestamp missing.
    client.send_text(r#"{"type":"ping","data":{"x":1},"y":2}"#);
    client.expect("pong");
    // Null is as good as nothing, as it is to the seed's decoder.
    client.send_text(r#"{"type":"subscribe","timestamp":null,"data":{"thread_id":"t","from_seq":null}}"#);
    client.expect("batch");
}

/// Without it a subscription to a number the thread never had would wait for ever, or
/// messages would be skipped.
#[test]
fn a_number_beyond_the_thread_is_a_lost_position() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    let mut client = hub.connect("");
    for (thread, from) in [("t", 4), ("t", i64::MAX), ("unknown", 1)] {
        client.subscribe(thread, from);
        let error = client.expect_error("POSITION_LOST");
        assert_eq!(error.text("thread_id"), thread);
        assert_eq!(error.number("first_seq"), 1, "{error:?}");
    }
    // Nothing is sent for it until the client subscribes anew.
    hub.sql(&insert_messages("t", 4, 1));
    hub.sql(LAST_ROW);
    hears_nothing_else(&mut client);
    client.subscribe("t", 3);
    assert_eq!(client.expect("batch").seqs(), [4]);
}

/// Without it a client whose thread was restored from a backup would continue in another
/// history.
#[test]
fn from_id_is_checked() {
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
    // Also where there is no number to check it against: the client had something.
    for start in [-1, 0] {
        client.send(
            "subscribe",
            &json!({"thread_id": "t", "from_seq": start, "from_id": "m3"}),
        );
        client.expect_error("POSITION_LOST");
    }
}

/// Without it a thread with a long name could be written to and never be followed.
#[test]
fn a_threads_name_may_be_as_long_as_a_frame_can_carry() {
    let hub = TestHub::start();
    let name = "n".repeat(9000);
    hub.sql(&insert_messages(&name, 1, 2));
    let mut client = hub.connect("");
    client.subscribe(&name, 0);
    assert_eq!(client.expect("batch").seqs(), [1, 2]);
    client.ack(&name, 2);
    client.assert_alive();
}

/// Without it one large message could take the hub's memory, and a client could not tell
/// why it was cut off.
#[test]
fn a_message_over_ten_kib_ends_the_connection_with_1009() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.send_text(&"x".repeat(10 * 1024));
    client.expect_error("PARSE_ERROR");
    client.send_frame(Message::text("x".repeat(10 * 1024 + 1)));
    assert_eq!(client.expect_close(), 1009);
    // The hub is none the worse.
    hub.connect("").assert_alive();
    let large = TestHub::with_args(&["--max-message-size", "100000"]);
    let mut client = large.connect("");
    client.send_text(&"x".repeat(100_000));
    client.expect_error("PARSE_ERROR");
}

/// Without it browsers, programs and the seed's clients could not all get in, or anybody
/// could.
#[test]
fn the_token_is_taken_in_three_places() {
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

/// Without it a typing error in the query would quietly give another stream.
#[test]
fn a_query_that_means_nothing_is_refused() {
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
    // What it does not know is left alone.
    hub.connect("colour=green&instance_id=a%20b").assert_alive();
}

/// Without it a message some program wrote with another encoding would stop a thread.
#[test]
fn a_message_that_is_not_utf8_is_delivered_and_counted() {
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
    // From the file they are the same.
    let mut late = hub.connect("");
    late.subscribe("t", 0);
    assert_eq!(late.expect("batch").messages(), live);
}

/// Without it one odd row would hide every row after it.
#[test]
fn an_unreadable_row_is_skipped_counted_and_shown_with_the_reason() {
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
    // Once per table in the log, not once per row.
    let told = || hub.log().matches("cannot be shown").count();
    within("both in the log", || (told() >= 2).then_some(()));
    assert_eq!(told(), 2, "{}", hub.log());
    // The lists over HTTP are none the worse.
    assert_eq!(hub.get("/api/tasks/k/events").items().len(), 1);
}

/// Without it a thread whose title is not text would take its messages along.
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

/// Without it a batch of large messages would be a frame no client can take.
#[test]
fn a_batch_is_bounded_in_bytes() {
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

/// Without it a deleted message's content would still be shown, or its place be missing.
#[test]
fn a_deleted_message_keeps_its_place_but_not_its_content() {
    let mut hub = TestHub::start();
    hub.sql(
        "INSERT INTO messages(id, thread_id, from_id, subject, content, metadata_json) \
         VALUES('a', 't', 'x', 'secret', 'secret', 'secret'), ('b', 't', 'x', 's', 'kept', 'm');",
    );
    // The hub has the message as it was, and then hears that it was deleted.
    hub.wait_until_synced();
    hub.sql("UPDATE messages SET deleted_at = 1 WHERE id = 'a';");
    hub.wait_until_synced();
    for from in ["what the hub remembers", "the file"] {
        let mut client = hub.connect("");
        client.subscribe("t", 0);
        let batch = client.expect("batch");
        assert_eq!(batch.seqs(), [1, 2]);
        assert!(!batch.raw.to_string().contains("secret"), "from {from}: {batch:?}");
        assert_eq!(batch.messages()[1]["content"], "kept");
        let mut streamer = hub.connect("streams=messages&since=0");
        let messages = streamer.messages_until(2);
        assert_eq!(messages.len(), 2);
        assert!(
            !json!(messages).to_string().contains("secret"),
            "from {from}: {messages:?}"
        );
        assert!(!hub.get("/api/threads/t/messages").body.contains("secret"));
        hub.crash_and_restart();
    }
}

/// Without it dead connections would be kept, and live but quiet ones be cut off.
#[test]
fn the_hub_pings_and_gives_up_on_the_silent() {
    let hub = TestHub::with_args(&["--ping-period", "0.5", "--pong-wait", "3"]);
    let (mut alive, mut silent) = (hub.connect(""), hub.connect(""));
    // ReadContext answers the pings; the other does not read.
    let quiet = std::time::Instant::now();
    assert_eq!(alive.receive(Duration::from_secs(7)), None);
    assert!(quiet.elapsed() >= Duration::from_secs(6));
    alive.assert_alive();
    within("the silent client's end", || {
        (hub.status()["clients"] == json!(1)).then_some(())
    });
    // Read as bytes: a WebSocket would try to answer the pings first.
    let bytes = silent.read_to_end_of_stream();
    let close = [&[0x88, 21], &4012_u16.to_be_bytes()[..], b"no answer to a ping"].concat();
    assert!(bytes.ends_with(&close) && bytes.len() > close.len(), "{bytes:?}");
}

/// Without it a client that ends properly would be counted for ever, or be told of an error.
#[test]
fn a_close_is_answered() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.assert_alive();
    assert_eq!(hub.status()["clients"], json!(1));
    client.send_frame(Message::Close(None));
    assert!(matches!(
        client.receive(Duration::from_secs(5)),
        Some(Received::Close(..))
    ));
    within("the count of clients", || {
        (hub.status()["clients"] == json!(0)).then_some(())
    });
    // One that just goes is noticed as well.
    drop(hub.connect(""));
    within("the count of clients", || {
        (hub.status()["clients"] == json!(0)).then_some(())
    });
}

/// Without it one stray row would stop the hub for everybody, and for good.
#[test]
fn what_no_trigger_wrote_into_the_log_stops_nobody() {
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
    // A place among them is one to come back to.
    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b'); INSERT INTO changes(tbl, row, op, tag) VALUES('nothing', 1, 'insert', -7);");
    let pos = client.until("inbox_message").pos.unwrap();
    hub.crash_and_restart();
    hub.sql(&insert_messages("t", 2, 1));
    let mut again = hub.connect(&format!("streams=messages&since={pos}"));
    assert_eq!(again.until("message").seqs(), [2]);
    let head = hub.status()["pos"].as_str().unwrap().to_owned();
    hub.connect(&format!("streams=messages&since={head}")).expect("hello");
}
