//! The WebSocket protocol in the compatible form, which clients of AILANG's collaboration hub use.
//! The `sqlite3` shell writes rows, and the tests check the frames that clients receive.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::client::MARKER_ROW;
use crate::support::writer::insert_messages;
use crate::support::{Client, Event, TestHub, wait_for};

fn keys_of(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn assert_keys(value: &Value, expected: &str) {
    assert_eq!(keys_of(value), expected.split_whitespace().collect(), "{value}");
}

/// Clients need the type and the time of every frame.
#[test]
fn every_event_has_the_compatible_envelope() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    let before = agenthub::protocol::now_ms();
    hub.sql(
        "INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b');
         INSERT INTO telemetry(instance_id) VALUES('i');
         INSERT INTO task_stream(task_id, stream_type) VALUES('k', 'text');",
    );
    for kind in ["inbox_message", "telemetry", "task_stream"] {
        let event = client.expect(kind);
        assert_keys(&event.raw, "type timestamp data");
        let timestamp = event.raw["timestamp"].as_i64().unwrap();
        assert!(
            (before..=agenthub::protocol::now_ms()).contains(&timestamp),
            "{event:?}"
        );
    }
    client.send_text(r#"{"type":"ping"}"#);
    assert_keys(&client.expect("pong").raw, "type timestamp");
    client.send_text("?");
    let error = client.expect_error("PARSE_ERROR");
    assert_keys(&error.raw, "type timestamp data");
    assert_keys(&error.data, "code message");
}

/// AILANG's clients get all fields they need, and none they do not know.
#[test]
fn events_have_exactly_the_compatible_fields() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("t", 0);
    assert_keys(&client.expect("batch").data, "thread_id messages has_more");

    hub.sql("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a');");
    let required = "id thread_id message_seq created_at from_type from_id to_type to_id kind content";
    assert_keys(&client.expect("message").data, required);
    hub.sql(
        "INSERT INTO messages(thread_id, from_id, subject, metadata_json, reply_to, to_type, to_id, delivery_state)
         VALUES('t', 'a', 's', '{}', 'r', 'agent', 'b', 'seen');",
    );
    assert_keys(
        &client.expect("message").data,
        &format!("{required} subject metadata_json"),
    );

    hub.sql("INSERT INTO inbox_messages(from_agent, to_inbox) VALUES('a', 'b');");
    let required = "id message_id from_agent to_inbox message_type title status created_at";
    assert_keys(&client.expect("inbox_message").data, required);
    hub.sql(
        "INSERT INTO inbox_messages(from_agent, to_inbox, correlation_id, payload, priority, read_at, expires_at, \
         claimed_by, claim_expires_at) VALUES('a', 'b', 'c', 'p', 'urgent', 1, 9999999999999, 'x', 9999999999999);",
    );
    assert_keys(
        &client.expect("inbox_message").data,
        &format!("{required} correlation_id payload"),
    );

    let all = "instance_id pid turns tokens_in tokens_out cost status duration_sec";
    hub.sql("INSERT INTO telemetry(instance_id) VALUES('i');");
    assert_keys(&client.expect("telemetry").data, all);
    hub.sql(
        "INSERT INTO telemetry(instance_id, pid, turns, tokens_in, tokens_out, cost, duration_sec, agent_id, model, \
         tokens_cached, cost_source) VALUES('j', 1, 2, 3, 4, 0.5, 6, 'a', 'm', 7, 'reported');",
    );
    assert_keys(&client.expect("telemetry").data, all);

    hub.sql("INSERT INTO task_stream(task_id, stream_type) VALUES('k', 'text');");
    assert_keys(&client.expect("task_stream").data, "task_id stream_type");
    let all = "task_id thread_id stream_type turn_num text tool_name tool_input tool_output error_msg status tokens_in \
               tokens_out cost duration_sec workspace directive directive_full agent_id source_type";
    hub.sql(
        "INSERT INTO task_stream(task_id, thread_id, stream_type, turn_num, text, tool_name, tool_input, tool_output, \
         error_msg, status, tokens_in, tokens_out, cost, duration_sec, workspace, directive, directive_full, agent_id, \
         source_type, call_id, parent_call_id, model) VALUES('k', 't', 'tool_use', 1, 'x', 'x', 'x', 'x', 'x', 'x', 1, \
         1, 1.5, 1, 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x');",
    );
    assert_keys(&client.expect("task_stream").data, all);

    hub.sql("UPDATE threads SET title = 'T' WHERE id = 't';");
    assert_keys(
        &client.expect("thread_state").data,
        "thread_id status last_seq updated_at title",
    );
}

/// Each column arrives in its own field.
#[test]
fn values_arrive_unchanged() {
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
         source_type) VALUES('k', 'build', 'future_type', 2, 'text', 'tool', 'in', 'out', 'err', 'failed', 7, \
         8, 0.25, 9, '/w', 'd', 'dd', 'planner', 'eval');",
    );
    assert_eq!(
        client.expect("task_stream").data,
        json!({"task_id": "k", "thread_id": "build", "stream_type": "future_type", "turn_num": 2,
            "text": "text", "tool_name": "tool", "tool_input": "in", "tool_output": "out", "error_msg": "err",
            "status": "failed", "tokens_in": 7, "tokens_out": 8, "cost": 0.25, "duration_sec": 9, "workspace": "/w",
            "directive": "d", "directive_full": "dd", "agent_id": "planner", "source_type": "eval"})
    );
}

/// A JavaScript client never gets `null` instead of a string.
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

/// `has_more` is true only if another batch follows.
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
    hub.sql(MARKER_ROW);
    client.expect_marker();
}

/// A client that reconnects gets no message twice and misses none.
#[test]
fn subscription_continues_after_from_seq() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 5));
    let mut client = hub.connect("");
    for (from, expected) in [(0, vec![1, 2, 3, 4, 5]), (3, vec![4, 5]), (5, vec![])] {
        client.subscribe("t", from);
        let batch = client.expect("batch");
        assert_eq!(batch.seqs(), expected, "from {from}");
        assert_eq!(batch.data["has_more"], json!(false));
    }
    // from_seq is optional; the default is 0.
    client.send("subscribe", &json!({"thread_id": "t"}));
    assert_eq!(client.expect("batch").seqs(), [1, 2, 3, 4, 5]);
    // Subscribing again from the current position repeats nothing.
    client.subscribe("t", 5);
    assert_eq!(client.expect("batch").seqs(), [0; 0]);
    hub.sql(&insert_messages("t", 6, 1));
    assert_eq!(client.expect("message").seqs(), [6]);
    hub.sql(MARKER_ROW);
    client.expect_marker();
}

/// A client can subscribe to a thread before its first message.
#[test]
fn unknown_thread_starts_with_an_empty_batch_and_continues_live() {
    let hub = TestHub::start();
    let mut client = hub.connect("");
    client.subscribe("new", 0);
    assert_eq!(
        client.expect("batch").data,
        json!({"thread_id": "new", "messages": [], "has_more": false})
    );
    hub.sql(&insert_messages("new", 1, 2));
    assert_eq!(client.expect("message").seqs(), [1]);
    let second = client.expect("message");
    assert_eq!((second.seqs(), second.text("content")), (vec![2], "text 2"));
}

#[test]
fn messages_go_only_to_subscribers_of_the_thread() {
    let hub = TestHub::start();
    let (mut subscriber, mut other) = (hub.connect("instance_id=a"), hub.connect("instance_id=b"));
    subscriber.subscribe("t", 0);
    subscriber.expect("batch");
    other.subscribe("u", 0);
    other.expect("batch");
    hub.sql(&insert_messages("t", 1, 1));
    hub.sql(MARKER_ROW);
    assert_eq!(subscriber.expect("message").seqs(), [1]);
    subscriber.expect_marker();
    other.expect_marker();

    subscriber.send("unsubscribe", &json!({"thread_id": "t"}));
    // The pong shows that the hub has handled the unsubscribe.
    subscriber.assert_alive();
    hub.sql(&insert_messages("t", 2, 1));
    hub.sql(MARKER_ROW);
    subscriber.expect_marker();
    // It can subscribe again and continue where it was.
    subscriber.subscribe("t", 1);
    assert_eq!(subscriber.expect("batch").seqs(), [2]);
}

/// AILANG's clients do not subscribe to mail, telemetry and task events.
#[test]
fn all_clients_get_mail_telemetry_and_task_events() {
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
        // The changed row is sent again.
        let updated = client.expect("inbox_message");
        assert_eq!((updated.text("id"), updated.text("status")), ("m", "read"));
    }
    // An update that changes nothing sends nothing.
    hub.sql("UPDATE inbox_messages SET status = 'read' WHERE id = 'm';");
    hub.sql(MARKER_ROW);
    clients.iter_mut().for_each(Client::expect_marker);
}

/// Clients see a new status or title without reloading.
#[test]
fn thread_state_goes_to_subscribers_of_the_thread() {
    let hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 3));
    let (mut subscriber, mut other) = (hub.connect(""), hub.connect(""));
    subscriber.subscribe("t", 3);
    subscriber.expect("batch");
    hub.sql("UPDATE threads SET status = 'resolved' WHERE id = 't';");
    let state = subscriber.expect("thread_state");
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
    assert_eq!(subscriber.expect("thread_state").text("title"), "The build");
    // In the compatible form a new `last_seq` alone sends no `thread_state`.
    hub.sql(&insert_messages("t", 4, 1));
    assert_eq!(subscriber.expect("message").seqs(), [4]);
    hub.sql(MARKER_ROW);
    subscriber.expect_marker();
    other.expect_marker();
}

#[track_caller]
fn wait_for_ack(hub: &TestHub, instance: &str, expected: &str) {
    let sql = format!("SELECT last_ack_seq FROM subscriptions WHERE instance_id = '{instance}' AND thread_id = 't'");
    wait_for(&format!("the ack {expected} in the database"), || {
        (hub.sql(&sql) == expected).then_some(())
    });
}

/// A restarted agent continues after its last ack.
#[test]
fn acks_survive_a_crash_and_never_decrease() {
    let mut hub = TestHub::start();
    hub.sql(&insert_messages("t", 1, 10));
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", 0);
    client.expect("batch");
    client.ack("t", 6);
    client.ack("t", 4);
    client.assert_alive();
    wait_for_ack(&hub, "worker", "6");
    // An ack takes effect immediately, before it is stored.
    client.ack("t", 7);
    client.subscribe("t", -1);
    assert_eq!(client.expect("batch").seqs(), [8, 9, 10]);
    wait_for_ack(&hub, "worker", "7");

    hub.crash_and_restart();
    let mut client = hub.connect("instance_id=worker");
    client.subscribe("t", -1);
    assert_eq!(client.expect("batch").seqs(), [8, 9, 10]);
    // Each instance has its own acks.
    let mut other = hub.connect("instance_id=other");
    other.subscribe("t", -1);
    assert_eq!(other.expect("batch").seqs().len(), 10);
    // A client without an instance_id has the instance "user".
    let mut anonymous = hub.connect("");
    anonymous.subscribe("t", 0);
    anonymous.expect("batch");
    anonymous.ack("t", 2);
    wait_for_ack(&hub, "user", "2");
    // Connections with the same instance_id share its acks.
    let mut tab = hub.connect("instance_id=user");
    tab.subscribe("t", -1);
    assert_eq!(tab.expect("batch").seqs()[0], 3);
}

/// A wrong ack would make the client skip messages when it starts again.
#[test]
fn rejects_wrong_acks() {
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
    client.assert_alive();
    wait_for_ack(&hub, "user", "3");
    // A thread can be acknowledged after unsubscribing, but not without ever having subscribed.
    client.send("unsubscribe", &json!({"thread_id": "t"}));
    client.ack("t", 2);
    client.assert_alive();
    client.ack("u", 0);
    client.expect_error("NOT_SUBSCRIBED");
}
