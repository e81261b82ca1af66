//! Feeds a session the frames of a client. The session must not panic or loop, and every frame it sends must be JSON.
//!
//! Input: one byte selects the client's query, then frames, one per line. A line that starts with NUL is a binary frame.

#![no_main]

use std::time::Duration;

use agenthub::config::Limits;
use agenthub::hub::connect_options::ConnectQuery;
use agenthub::hub::session::{Action, Now, Read, Session};
use agenthub::protocol::Event;
use agenthub::store::{MessageRow, Position, Start, ThreadOpening, ThreadPage};
use libfuzzer_sys::fuzz_target;

const QUERIES: [&[(&str, &str)]; 4] = [
    &[],
    &[("streams", "messages,threads")],
    &[("frames", "array")],
    &[("since", "0"), ("streams", "inbox")],
];

/// Number of messages in every thread.
const MESSAGES: i64 = 1500;

fn opening(start: Start) -> ThreadOpening {
    let after = match start {
        Start::After(seq) => seq,
        Start::LastAck => 3,
    };
    ThreadOpening {
        after,
        first_seq: 1,
        last_seq: MESSAGES,
        id_at: (1..=MESSAGES).contains(&after).then(|| format!("m{after}")),
    }
}

fn page(thread_id: &str, after: i64, rows: usize) -> ThreadPage {
    let numbers = (after + 1..=MESSAGES).take(rows.min(256));
    let messages: Vec<_> = numbers
        .map(|message_seq| MessageRow {
            id: format!("m{message_seq}"),
            thread_id: thread_id.to_owned(),
            message_seq,
            ..MessageRow::default()
        })
        .collect();
    let has_more = messages.last().is_some_and(|last| last.message_seq < MESSAGES);
    ThreadPage { messages, has_more }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, frames)) = data.split_first() else {
        return;
    };
    let query = ConnectQuery::parse(QUERIES[usize::from(kind % 4)].iter().copied()).unwrap();
    let mut session = Session::new(query.options, Limits::default(), "e".into(), Position::START);
    for (i, frame) in (0u64..).zip(frames.split(|byte| *byte == b'\n')) {
        let now = Now {
            at: Duration::from_millis(i * 20),
            wall_ms: 0,
        };
        if !session.accepts_events() {
            continue;
        }
        match (frame.first(), std::str::from_utf8(frame)) {
            (Some(0), _) => session.receive_binary(now),
            // tungstenite rejects text frames that are not UTF-8.
            (_, Ok(text)) => session.receive(now, text.as_bytes()),
            (_, Err(_)) => {}
        }
        for steps in 0.. {
            assert!(steps < 10_000, "the session does not wait for input");
            match session.next_action(now) {
                Action::Send(frame) if frame.bytes().starts_with(b"[") => {
                    serde_json::from_slice::<Vec<Event>>(frame.bytes()).unwrap();
                }
                Action::Send(frame) => drop(Event::parse(frame.bytes()).unwrap()),
                Action::Read(Read::Open { start, .. }) => session.opened(now, &opening(start)),
                Action::Read(Read::Page { thread_id, after, rows }) => session.read(now, page(&thread_id, after, rows)),
                Action::Feed(_) => session.feed(Vec::new()),
                Action::Ack(ack) => assert!((0..=MESSAGES).contains(&ack.ack_seq)),
                Action::Wait(_) | Action::Close(_) => break,
            }
        }
    }
});
