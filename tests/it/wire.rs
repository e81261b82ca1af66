//! The WebSocket as a client written for the seed's server knows it, from outside: rows
//! written by the `sqlite3` shell, frames read off the socket.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::writer::insert_messages;
use crate::support::{Client, Event, Heard, TestHub, within};

/// A row every client gets, written after those a test is about: a client that hears it
/// next has heard everything before it.
const LAST_ROW: &str = "INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('test', 'nobody', 'last row');";

#[track_caller]
fn hears_nothing_else(client: &mut Client) {
    let event = client.expect("inbox_message");
    assert_eq!(event.text("title"), "last row", "{event:?}");
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn has_keys(value: &Value, expected: &str) {
    assert_eq!(keys(value), expected.split_whitespace().collect(), "{value}");
}

/// Without it a client could not tell what a frame is, or when it was sent.
#[test]
fn every_event_has_the_seeds_envelope() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    let before = agenthub::event::now_ms();
    hub.sql(
        "INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b');
         INSERT INTO telemetry(instance_id) VALUES('i');
         INSERT INTO task_stream(task_id, stream_type) VALUES('k', 'text');",
    );
    for kind in ["inbox_message", "telemetry", "task_stream"] {
        let event = client.expect(kind);
        has_keys(&event.raw, "type timestamp data");
        let timestamp = event.raw["timestamp"].as_i64().unwrap();
        assert!((before..=agenthub::event::now_ms()).contains(&timestamp), "{event:?}");
    }
    client.send_text(r#"{"type":"ping"}"#);
    has_keys(&client.expect("pong").raw, "type timestamp");
    client.send_text("?");
    let error = client.expect_error("PARSE_ERROR");
    has_keys(&error.raw, "type timestamp data");
    has_keys(&error.data, "code message");
}

/// Without it a client written for the seed would meet fields it does not know, or miss
/// some that it needs.
#[test]
fn events_have_exactly_the_seeds_fields() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    has_keys(&client.expect("batch").data, "thread_id messages has_more");

    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a');");
    let bare = "id thread_id message_seq created_at from_type from_id to_type to_id kind content";
    has_keys(&client.expect("message").data, bare);
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, subject, metadata_json, reply_to, to_type, to_id, delivery_state)
         VALUES('t', 'a', 's', '{}', 'r', 'agent', 'b', 'seen');",
    );
    has_keys(&client.expect("message").data, &format!("{bare} subject metadata_json"));

    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b');");
    let bare = "id message_id from_agent to_inbox message_type title status created_at";
    has_keys(&client.expect("inbox_message").data, bare);
    hub.sql(
        "INSERT INTO inbox_messages(from_agent, to_inbox, correlation_id, payload, priority, read_at, expires_at, \
         claimed_by, claim_expires_at) VALUES('a', 'b', 'c', 'p', 'urgent', 1, 9999999999999, 'x', 9999999999999);",
    );
    has_keys(
        &client.expect("inbox_message").data,
        &format!("{bare} correlation_id payload"),
    );

    let all = "instance_id pid turns tokens_in tokens_out cost status duration_sec";
    hub.sql("INSERT INTO telemetry(instance_id) VALUES('i');");
    has_keys(&client.expect("telemetry").data, all);
    hub.sql(
        "INSERT INTO telemetry(instance_id, pid, turns, tokens_in, tokens_out, cost, duration_sec, agent_id, model, \
         tokens_cached, cost_source) VALUES('j', 1, 2, 3, 4, 0.5, 6, 'a', 'm', 7, 'reported');",
    );
    has_keys(&client.expect("telemetry").data, all);

    hub.sql("INSERT INTO task_stream(task_id, stream_type) VALUES('k', 'text');");
    has_keys(&client.expect("task_stream").data, "task_id stream_type");
    let all = "task_id thread_id stream_type turn_num text tool_name tool_input tool_output error_msg status tokens_in \
               tokens_out cost duration_sec workspace directive directive_full agent_id source_type";
    hub.sql(
        "INSERT INTO task_stream(task_id, thread_id, stream_type, turn_num, text, tool_name, tool_input, tool_output, \
         error_msg, status, tokens_in, tokens_out, cost, duration_sec, workspace, directive, directive_full, agent_id, \
         source_type, call_id, parent_call_id, model) VALUES('k', 't', 'tool_use', 1, 'x', 'x', 'x', 'x', 'x', 'x', 1, \
         1, 1.5, 1, 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x');",
    );
    has_keys(&client.expect("task_stream").data, all);

    hub.sql("UPDATE threads SET title = 'T' WHERE id = 't';");
    has_keys(
        &client.expect("thread_state").data,
        "thread_id status last_seq updated_at title",
    );
}

/// Without it the values could be in the wrong fields.
#[test]
fn values_arrive_as_they_were_written() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("build", 0);
    client.expect("batch");
    hub.sql(
        "INSERT INTO messages(id, thread_id, from_id, from_type, to_type, to_id, kind, subject, content, metadata_json, \
         created_at) VALUES('m1', 'build', 'planner', 'system', 'broadcast', 'all', 'question', 'Subject', \
         'quotes \" and '' and \\ and 漢字 🙂' || char(10, 9, 0, 27), '{\"a\":1}', 1234567890123);",
    );
    assert_eq!(
        client.expect("message").data,
        json!({"id": "m1", "thread_id": "build", "message_seq": 1, "created_at": 1_234_567_890_123_i64,
            "from_type": "system", "from_id": "planner", "to_type": "broadcast", "to_id": "all", "kind": "question",
            "subject": "Subject", "content": "quotes \" and ' and \\ and 漢字 🙂\n\t\0\u{1b}",
            "metadata_json": "{\"a\":1}"})
    );
    hub.sql(
        "INSERT INTO inbox_messages(id, message_id, correlation_id, from_agent, to_inbox, message_type, title, payload, \
         status, created_at) VALUES('i1', 'msg_1', 'c1', 'planner', 'human', 'approval_request', 'Deploy?', 'now', \
         'unread', 1234567890124);",
    );
    assert_eq!(
        client.expect("inbox_message").data,
        json!({"id": "i1", "message_id": "msg_1", "correlation_id": "c1", "from_agent": "planner",
            "to_inbox": "human", "message_type": "approval_request", "title": "Deploy?", "payload": "now",
            "status": "unread", "created_at": 1_234_567_890_124_i64})
    );
    hub.sql(
        "INSERT INTO telemetry(instance_id, pid, turns, tokens_in, tokens_out, cost, status, duration_sec)
         VALUES('run-1', 42, 3, 1000, 200, 0.125, 'completed', 61);",
    );
    assert_eq!(
        client.expect("telemetry").data,
        json!({"instance_id": "run-1", "pid": 42, "turns": 3, "tokens_in": 1000, "tokens_out": 200, "cost": 0.125,
            "status": "completed", "duration_sec": 61})
    );
    hub.sql(
        "INSERT INTO task_stream(task_id, thread_id, stream_type, turn_num, text, tool_name, tool_input, tool_output, \
         error_msg, status, tokens_in, tokens_out, cost, duration_sec, workspace, directive, directive_full, agent_id, \
         source_type) VALUES('k', 'build', 'a kind of tomorrow', 2, 'text', 'tool', 'in', 'out', 'err', 'failed', 7, \
         8, 0.25, 9, '/w', 'd', 'dd', 'planner', 'eval');",
    );
    assert_eq!(
        client.expect("task_stream").data,
        json!({"task_id": "k", "thread_id": "build", "stream_type": "a kind of tomorrow", "turn_num": 2,
            "text": "text", "tool_name": "tool", "tool_input": "in", "tool_output": "out", "error_msg": "err",
            "status": "failed", "tokens_in": 7, "tokens_out": 8, "cost": 0.25, "duration_sec": 9, "workspace": "/w",
            "directive": "d", "directive_full": "dd", "agent_id": "planner", "source_type": "eval"})
    );
}

/// Without it a JavaScript client would meet `null` where the seed has a string.
#[test]
fn null_text_is_the_empty_string() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    client.expect("batch");
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, to_type, to_id, kind, content) VALUES('t', 'a', NULL, NULL, NULL, NULL);
         INSERT INTO inbox_messages(from_agent, to_inbox, title) VALUES('a', 'b', NULL);
         INSERT INTO telemetry(instance_id, status) VALUES('i', NULL);",
    );
    let message = client.expect("message");
    assert_eq!(
        ["to_type", "to_id", "content"].map(|name| message.text(name)),
        ["", "", ""]
    );
    assert_eq!(message.text("kind"), "status");
    let mail = client.expect("inbox_message");
    assert_eq!((mail.text("title"), mail.text("status")), ("", "unread"));
    let telemetry = client.expect("telemetry");
    assert_eq!((telemetry.text("status"), telemetry.number("pid")), ("running", 0));
    assert_eq!(telemetry.data["cost"], json!(0.0));
}

/// Without it a client would ask for more although there is none, or stop too early.
#[test]
fn fifty_messages_are_one_batch_and_fifty_one_are_two() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("fifty", 1, 50));
    hub.sql(&insert_messages("one-more", 1, 51));
    let mut client = hub.connect("");
    let range = |event: &Event| {
        let seqs = event.seqs();
        (
            seqs.len(),
            seqs[0],
            seqs[seqs.len() - 1],
            event.data["has_more"].clone(),
        )
    };
    client.subscribe("fifty", 0);
    let batch = client.expect("batch");
    assert_eq!(batch.text("thread_id"), "fifty");
    assert_eq!(range(&batch), (50, 1, 50, json!(false)));
    client.subscribe("one-more", 0);
    assert_eq!(range(&client.expect("batch")), (50, 1, 50, json!(true)));
    assert_eq!(range(&client.expect("batch")), (1, 51, 51, json!(false)));
    hub.sql(LAST_ROW);
    hears_nothing_else(&mut client);
}

/// Without it a client that comes back would get messages again, or not at all.
#[test]
fn a_subscription_goes_on_after_the_number_it_gives() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let mut client = hub.connect("");
    for (from, expected) in [(0, vec![1, 2, 3, 4, 5]), (3, vec![4, 5]), (5, vec![])] {
        client.subscribe("t", from);
        let batch = client.expect("batch");
        assert_eq!(batch.seqs(), expected, "from {from}");
        assert_eq!(batch.data["has_more"], json!(false));
    }
    // from_seq may be left out; it is 0 then.
    client.send("subscribe", &json!({"thread_id": "t"}));
    assert_eq!(client.expect("batch").seqs(), [1, 2, 3, 4, 5]);
    // Subscribing again to where it is already repeats nothing.
    client.subscribe("t", 5);
    assert_eq!(client.expect("batch").seqs(), [0; 0]);
    hub.sql(&insert_messages("t", 6, 1));
    assert_eq!(client.expect("message").seqs(), [6]);
    hub.sql(LAST_ROW);
    hears_nothing_else(&mut client);
}

/// Without it the first message of a thread would be lost on whoever waits for it.
#[test]
fn an_unknown_thread_is_an_empty_batch_and_then_live() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("not there yet", 0);
    assert_eq!(
        client.expect("batch").data,
        json!({"thread_id": "not there yet", "messages": [], "has_more": false})
    );
    hub.sql(&insert_messages("not there yet", 1, 2));
    assert_eq!(client.expect("message").seqs(), [1]);
    let second = client.expect("message");
    assert_eq!((second.seqs(), second.text("content")), (vec![2], "text 2"));
}

/// Without it a client would get what it did not ask for.
#[test]
fn messages_go_to_the_threads_subscribers_alone() {
    let hub = TestHub::start();
    let (mut follower, mut other) = (hub.connect("instance_id=a"), hub.connect("instance_id=b"));
    follower.subscribe("t", 0);
    follower.expect("batch");
    other.subscribe("u", 0);
    other.expect("batch");
    hub.sql(&insert_messages("t", 1, 1));
    hub.sql(LAST_ROW);
    assert_eq!(follower.expect("message").seqs(), [1]);
    hears_nothing_else(&mut follower);
    hears_nothing_else(&mut other);

    follower.send("unsubscribe", &json!({"thread_id": "t"}));
    // An answer to something later shows that it was heard.
    follower.lives();
    hub.sql(&insert_messages("t", 2, 1));
    hub.sql(LAST_ROW);
    hears_nothing_else(&mut follower);
    // It may come back to where it was.
    follower.subscribe("t", 1);
    assert_eq!(follower.expect("batch").seqs(), [2]);
}

/// Without it mail, telemetry and task events would need a subscription the seed's clients
/// do not make.
#[test]
fn everybody_gets_mail_telemetry_and_task_events() {
    let hub = TestHub::start();
    let mut clients = [hub.connect(""), hub.connect("instance_id=x")];
    hub.sql(
        "INSERT INTO inbox_messages(id, from_agent, to_inbox, title) VALUES('m', 'a', 'b', 'new');
         INSERT INTO telemetry(instance_id, turns) VALUES('i', 1);
         INSERT INTO task_stream(task_id, stream_type, text) VALUES('k', 'text', 'hello');
         UPDATE inbox_messages SET status = 'read' WHERE id = 'm';",
    );
    for client in &mut clients {
        assert_eq!(client.expect("inbox_message").text("title"), "new");
        assert_eq!(client.expect("telemetry").number("turns"), 1);
        assert_eq!(client.expect("task_stream").text("text"), "hello");
        // Its state has changed: it comes again.
        let again = client.expect("inbox_message");
        assert_eq!((again.text("id"), again.text("status")), ("m", "read"));
    }
    // A write that changes nothing is no news.
    hub.sql("UPDATE inbox_messages SET status = 'read' WHERE id = 'm';");
    hub.sql(LAST_ROW);
    clients.iter_mut().for_each(hears_nothing_else);
}

/// Without it a thread's new status or title would be seen only after a reload.
#[test]
fn a_threads_state_goes_to_its_subscribers() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    let (mut follower, mut other) = (hub.connect(""), hub.connect(""));
    follower.subscribe("t", 3);
    follower.expect("batch");
    hub.sql("UPDATE threads SET status = 'resolved' WHERE id = 't';");
    let state = follower.expect("thread_state");
    assert_eq!(
        (
            state.text("thread_id"),
            state.text("status"),
            state.text("title"),
            state.number("last_seq")
        ),
        ("t", "resolved", "", 3)
    );
    assert!(state.number("updated_at") > 1_600_000_000_000);
    hub.sql("UPDATE threads SET title = 'The build' WHERE id = 't';");
    assert_eq!(follower.expect("thread_state").text("title"), "The build");
    // A message moves last_seq; that is no state for the seed's clients.
    hub.sql(&insert_messages("t", 4, 1));
    assert_eq!(follower.expect("message").seqs(), [4]);
    hub.sql(LAST_ROW);
    hears_nothing_else(&mut follower);
    hears_nothing_else(&mut other);
}

#[track_caller]
fn wait_for_ack(hub: &TestHub, instance: &str, expected: &str) {
    let sql = format!("SELECT last_ack_seq FROM subscriptions WHERE instance_id = '{instance}' AND thread_id = 't'");
    within(&format!("the ack {expected} in the file"), || {
        (hub.sql(&sql) == expected).then_some(())
    });
}

/// Without it an agent that was restarted would work through everything again, or skip
/// what it never saw.
#[test]
fn acks_outlive_the_hub_and_never_move_back() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 10));
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", 0);
    client.expect("batch");
    client.ack("t", 6);
    client.ack("t", 4);
    client.lives();
    wait_for_ack(&hub, "worker", "6");
    // What was acknowledged a moment ago counts at once.
    client.ack("t", 7);
    client.subscribe("t", -1);
    assert_eq!(client.expect("batch").seqs(), [8, 9, 10]);
    wait_for_ack(&hub, "worker", "7");

    hub.crash_and_restart();
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", -1);
    assert_eq!(client.expect("batch").seqs(), [8, 9, 10]);
    // Another instance has its own; nobody's ack is everybody's.
    let mut other = hub.connect("instance_id=other");
    other.subscribe("t", -1);
    assert_eq!(other.expect("batch").seqs().len(), 10);
    // Who does not say who it is, is "user".
    let mut nobody = hub.connect("");
    nobody.subscribe("t", 0);
    nobody.expect("batch");
    nobody.ack("t", 2);
    wait_for_ack(&hub, "user", "2");
    // Tabs that share an instance share its acks.
    let mut tab = hub.connect("instance_id=user");
    tab.subscribe("t", -1);
    assert_eq!(tab.expect("batch").seqs()[0], 3);
}

/// Without it a wrong ack would be stored, and messages skipped after the next start.
#[test]
fn wrong_acks_are_refused() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    let mut client = hub.connect("");
    client.ack("t", 1);
    client.expect_error("NOT_SUBSCRIBED");
    client.subscribe("t", 0);
    client.expect("batch");
    for wrong in [4, -1, i64::MAX, i64::MIN] {
        client.ack("t", wrong);
        client.expect_error("INVALID_ACK");
    }
    client.ack("t", 3);
    client.ack("t", 0);
    client.lives();
    wait_for_ack(&hub, "user", "3");
    // A thread just left may still be acknowledged, one never subscribed to may not.
    client.send("unsubscribe", &json!({"thread_id": "t"}));
    client.ack("t", 2);
    client.lives();
    client.ack("u", 0);
    client.expect_error("NOT_SUBSCRIBED");
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
    client.subscribe("t", 0);
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
    assert_eq!(client.closed(), 1009);
    // The hub is none the worse.
    hub.connect("").lives();
    let large = TestHub::with(&["--max-message-size", "100000"]);
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
        let (mut client, protocol) = Client::shake_hands(port, &query, &headers).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(
            protocol.is_some(),
            !headers.is_empty() && headers[0].0 != "authorization"
        );
        assert!(protocol.is_none_or(|p| p == "agenthub"));
        client.lives();
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
        let (status, body) = Client::shake_hands(port, &query, &headers).err().unwrap().unwrap();
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
    hub.connect("colour=green&instance_id=a%20b").lives();
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
    assert_eq!(hub.log().matches("cannot be shown").count(), 2, "{}", hub.log());
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
    hub.settle();
    hub.sql("UPDATE messages SET deleted_at = 1 WHERE id = 'a';");
    hub.settle();
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
    let hub = TestHub::with(&["--ping-period", "0.2", "--pong-wait", "1"]);
    let (mut alive, mut silent) = (hub.connect(""), hub.connect(""));
    // Reading answers the pings; the other does not read.
    let quiet = std::time::Instant::now();
    assert_eq!(alive.hear(Duration::from_millis(2500)), None);
    assert!(quiet.elapsed() >= Duration::from_secs(2));
    alive.lives();
    within("the silent client's end", || {
        (hub.status()["clients"] == json!(1)).then_some(())
    });
    // Read as bytes: a WebSocket would try to answer the pings first.
    let bytes = silent.rest();
    let close = [&[0x88, 21], &4012_u16.to_be_bytes()[..], b"no answer to a ping"].concat();
    assert!(bytes.ends_with(&close) && bytes.len() > close.len(), "{bytes:?}");
}

/// Without it a client that ends properly would be counted for ever, or be told of an error.
#[test]
fn a_close_is_answered() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.lives();
    assert_eq!(hub.status()["clients"], json!(1));
    client.send_frame(Message::Close(None));
    assert!(matches!(client.hear(Duration::from_secs(5)), Some(Heard::Close(..))));
    within("the count of clients", || {
        (hub.status()["clients"] == json!(0)).then_some(())
    });
    // One that just goes is noticed as well.
    drop(hub.connect(""));
    within("the count of clients", || {
        (hub.status()["clients"] == json!(0)).then_some(())
    });
}
