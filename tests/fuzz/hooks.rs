//! Calls a vendor's hook with arbitrary JSON. The call must succeed, and its output must be JSON within the vendors' limits.
//!
//! Input: one byte selects the vendor, then JSON, one hook call per line.

#![no_main]

use std::cell::RefCell;

use agenthub::agents::Vendor;
use agenthub::agents::hook::{Surroundings, answer};
use agenthub::store::{NetworkFs, NewInbox, Writer};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Maximum hook output that Claude Code accepts, in characters. Codex accepts more.
const MAX_OUTPUT: usize = 10_000;

/// Inputs after which the database is replaced: few, so that a failing input also fails alone.
const INPUTS_PER_DATABASE: u32 = 100;

/// A database that several inputs share.
struct Database {
    inputs_left: u32,
    writer: Writer,
    _folder: tempfile::TempDir,
}

impl Database {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            inputs_left: INPUTS_PER_DATABASE,
            writer: Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap(),
            _folder: folder,
        }
    }
}

thread_local! {
    static DATABASE: RefCell<Database> = RefCell::new(Database::new());
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, text)) = data.split_first() else { return };
    let vendor = [Vendor::Claude, Vendor::Codex][usize::from(kind % 2)];
    DATABASE.with_borrow_mut(|database| {
        database.inputs_left -= 1;
        if database.inputs_left == 0 {
            *database = Database::new();
        }
        let writer = &database.writer;
        writer
            .send(&NewInbox::new("reviewer", "planner", "tests are green"))
            .unwrap();
        let around = Surroundings {
            agent: Some("planner".into()),
            now: 1_800_000_000_000,
            ..Surroundings::default()
        };
        for line in text.split(|byte| *byte == b'\n') {
            let Ok(input) = serde_json::from_slice::<Value>(line) else {
                continue;
            };
            if let Some(answer) = answer(writer, vendor, &input, &around).unwrap() {
                assert!(
                    answer.text.chars().count() <= MAX_OUTPUT,
                    "{} characters",
                    answer.text.len()
                );
                serde_json::from_str::<Value>(&answer.text).unwrap();
                answer.printed(writer).unwrap();
            }
        }
    });
});
