//! From the file to the wire: every message and every piece of mail that the file accepts is
//! delivered, as JSON that a client of the seed can read; and so is every other row, unless
//! its text is none, which is said with its reason.
//!
//! The input: a table, then values for its text columns, one a line. A value that begins
//! with `#` is a number, one that begins with `^` bytes that need not be UTF-8.

#![no_main]

use std::cell::RefCell;
use std::time::Duration;

use agenthub::config::Limits;
use agenthub::protocol::Event;
use agenthub::hub::encoded_change::EncodedChange;
use agenthub::hub::session::{Now, Session, Action};
use agenthub::hub::connect_options::ConnectQuery;
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

/// Inputs that share a file: an input that fails must fail alone as well.
const INPUTS: u32 = 100;

/// One file for some inputs.
struct Bench {
    left: u32,
    agent: Connection,
    reader: Reader,
    epoch: std::sync::Arc<str>,
    pos: Position,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        drop(Writer::open(&path, NetworkFs::Refuse).unwrap());
        let agent = Connection::open(&path).unwrap();
        agent.execute_batch("PRAGMA synchronous=OFF").unwrap();
        let reader = Reader::open(&path, NetworkFs::Refuse).unwrap();
        Self {
            left: INPUTS,
            epoch: reader.epoch().unwrap().into(),
            pos: reader.head().unwrap(),
            agent,
            reader,
            _folder: folder,
        }
    }
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
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
    // Bytes go in as text, as a careless program's would.
    let marks: Vec<String> = (1..)
        .zip(&values)
        .map(|(i, v)| match v {
            Value::Blob(_) => format!("CAST(?{i} AS TEXT)"),
            _ => format!("?{i}"),
        })
        .collect();
    let sql = format!("INSERT INTO {table}({}) VALUES({})", columns.join(","), marks.join(","));
    BENCH.with_borrow_mut(|bench| {
        bench.left -= 1;
        if bench.left == 0 {
            *bench = Bench::new();
        }
        if bench.agent.execute(&sql, params_from_iter(&values)).is_err() {
            return;
        }
        let page = bench.reader.log_after(bench.pos, 100, usize::MAX).unwrap();
        bench.pos = page.changes.last().expect("the row has a line in the log").pos;
        for query in [&[][..], &[("streams", "messages,inbox,telemetry,tasks,threads")]] {
            let query = ConnectQuery::parse(query.iter().copied()).unwrap();
            let streams = query.options.streams;
            let mut session = Session::new(query.options, Limits::default(), bench.epoch.clone(), Position::START);
            let entries = page.changes.iter().cloned();
            session.feed(entries.map(|change| EncodedChange::new(change, &bench.epoch).into()).collect());
            let (now, mut told) = (
                Now {
                    at: Duration::from_secs(60),
                    wall_ms: 0,
                },
                false,
            );
            while let Action::Send(frame) = session.step(now) {
                let event = Event::parse(frame.bytes()).unwrap();
                told |= event.event_type.as_str() == kind;
            }
            let skipped = page.changes.iter().any(|change| match &change.row {
                Row::Unreadable(rejected) => table == rejected.table && !rejected.reason.is_empty(),
                _ => false,
            });
            let must = matches!(kind, "message" | "inbox_message");
            assert!(
                told || (kind == "message" && !streams.messages) || (skipped && !must),
                "{kind} was not told: {sql} {values:?}"
            );
        }
    });
});
