//! What a client says, frame by frame: every frame is answered or obeyed, with JSON, and
//! what waits for the client stays within bounds.
//!
//! The input: a byte for what the client asked for, then frames, one a line. A line that
//! begins with a NUL is a binary frame.

#![no_main]

use std::time::Duration;

use agenthub::config::Limits;
use agenthub::protocol::Event;
use agenthub::hub::session::{Now, Read, Session, Action};
use agenthub::hub::connect_options::ConnectQuery;
use agenthub::store::{MessageRow, Position, Start, ThreadOpening, ThreadPage};
use libfuzzer_sys::fuzz_target;

const QUERIES: [&[(&str, &str)]; 4] = [
    &[],
    &[("streams", "messages,threads")],
    &[("frames", "array")],
    &[("since", "0"), ("streams", "inbox")],
];

/// Messages every thread has.
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
        if !session.listens() {
            continue;
        }
        match (frame.first(), std::str::from_utf8(frame)) {
            (Some(0), _) => session.receive_binary(now),
            // tungstenite lets no other text through.
            (_, Ok(text)) => session.receive(now, text.as_bytes()),
            (_, Err(_)) => {}
        }
        for taken in 0.. {
            assert!(taken < 10_000, "it spins");
            match session.step(now) {
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
