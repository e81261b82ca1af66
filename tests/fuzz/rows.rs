//! Inserts arbitrary rows and reads what a client receives. Every message and inbox message that the database accepts must be
//! delivered as valid JSON, in the compatible form too. Any other row is delivered or rejected with a reason (text that is
//! not UTF-8).
//!
//! Input: one byte selects the table, then values for its columns, one per line. A value that starts with `#` is a number;
//! one that starts with `^` is bytes, which need not be UTF-8.

#![no_main]

use std::cell::RefCell;
use std::time::Duration;

use agenthub::config::Limits;
use agenthub::hub::connect_options::ConnectQuery;
use agenthub::hub::encoded_change::EncodedChange;
use agenthub::hub::session::{Action, Now, Session};
use agenthub::protocol::Event;
use agenthub::store::{NetworkFs, Position, Reader, Row, Writer};
use libfuzzer_sys::fuzz_target;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

const TABLES: [(&str, &[&str], &str); 4] = [
    (
        "messages",
        &[
            "thread_id",
            "from_id",
            "content",
            "kind",
            "to_id",
            "subject",
            "metadata_json",
            "created_at",
        ],
        "message",
    ),
    (
        "inbox_messages",
        &[
            "from_agent",
            "to_inbox",
            "title",
            "payload",
            "priority",
            "status",
            "expires_at",
        ],
        "inbox_message",
    ),
    (
        "telemetry",
        &[
            "instance_id",
            "status",
            "turns",
            "tokens_in",
            "cost",
            "model",
            "agent_id",
        ],
        "telemetry",
    ),
    (
        "task_stream",
        &[
            "task_id",
            "stream_type",
            "text",
            "tool_name",
            "tool_input",
            "turn_num",
            "cost",
            "call_id",
        ],
        "task_stream",
    ),
];

/// Inputs after which the database is replaced: few, so that a failing input also fails alone.
const INPUTS_PER_DATABASE: u32 = 100;

/// A database that several inputs share.
struct Database {
    inputs_left: u32,
    agent: Connection,
    reader: Reader,
    epoch: std::sync::Arc<str>,
    pos: Position,
    _folder: tempfile::TempDir,
}

impl Database {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        drop(Writer::open(&path, NetworkFs::Refuse).unwrap());
        let agent = Connection::open(&path).unwrap();
        agent.execute_batch("PRAGMA synchronous=OFF").unwrap();
        let reader = Reader::open(&path, NetworkFs::Refuse).unwrap();
        Self {
            inputs_left: INPUTS_PER_DATABASE,
            epoch: reader.epoch().unwrap().into(),
            pos: reader.head().unwrap(),
            agent,
            reader,
            _folder: folder,
        }
    }
}

thread_local! {
    static DATABASE: RefCell<Database> = RefCell::new(Database::new());
}

fn value(text: &[u8]) -> Value {
    match text.split_first() {
        Some((b'#', digits)) => {
            let digits = String::from_utf8_lossy(digits);
            digits
                .parse()
                .map(Value::Integer)
                .or_else(|_| digits.parse().map(Value::Real))
                .unwrap_or(Value::Null)
        }
        Some((b'^', bytes)) => Value::Blob(bytes.to_vec()),
        _ => Value::Text(String::from_utf8_lossy(text).into_owned()),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((table, values)) = data.split_first() else {
        return;
    };
    let (table, columns, kind) = TABLES[usize::from(table % 4)];
    let values: Vec<Value> = values.split(|b| *b == b'\n').take(columns.len()).map(value).collect();
    let columns = &columns[..values.len()];
    // Bytes are stored as text, as a program that does not validate UTF-8 stores them.
    let placeholders: Vec<String> = (1..)
        .zip(&values)
        .map(|(i, v)| match v {
            Value::Blob(_) => format!("CAST(?{i} AS TEXT)"),
            _ => format!("?{i}"),
        })
        .collect();
    let sql = format!(
        "INSERT INTO {table}({}) VALUES({})",
        columns.join(","),
        placeholders.join(",")
    );
    DATABASE.with_borrow_mut(|database| {
        database.inputs_left -= 1;
        if database.inputs_left == 0 {
            *database = Database::new();
        }
        if database.agent.execute(&sql, params_from_iter(&values)).is_err() {
            return;
        }
        let before = database.pos;
        let page = database
            .reader
            .log_after(&database.reader.epoch().unwrap(), before, 100, usize::MAX)
            .unwrap();
        database.pos = page.changes.last().expect("the row has an entry in `changes`").pos;
        for query in [&[][..], &[("streams", "messages,inbox,telemetry,tasks,threads")]] {
            let query = ConnectQuery::parse(query.iter().copied()).unwrap();
            let streams = query.options.streams;
            let mut session = Session::new(query.options, Limits::default(), database.epoch.clone(), before);
            let entries = page.changes.iter().cloned();
            session.feed(
                entries
                    .map(|change| EncodedChange::new(change, &database.epoch).into())
                    .collect(),
            );
            let (now, mut delivered) = (
                Now {
                    at: Duration::from_secs(60),
                    wall_ms: 0,
                },
                false,
            );
            while let Action::Send(frame) = session.next_action(now) {
                let event = Event::parse(frame.bytes()).unwrap();
                delivered |= event.event_type.as_str() == kind;
            }
            let skipped = page.changes.iter().any(|change| match &change.row {
                Row::Unreadable(rejected) => table == rejected.table && !rejected.reason.is_empty(),
                _ => false,
            });
            let must_be_delivered = matches!(kind, "message" | "inbox_message");
            assert!(
                delivered || (kind == "message" && !streams.messages) || (skipped && !must_be_delivered),
                "{kind} was not delivered: {sql} {values:?}"
            );
        }
    });
});
