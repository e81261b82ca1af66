//! A hook's input: whatever it is, the rows go in or nothing does, and what is printed is
//! JSON within the vendors' caps.
//!
//! The input: a byte for the vendor, then the JSON, one call a line.

#![no_main]

use std::cell::RefCell;

use agenthub::agents::Vendor;
use agenthub::agents::hook::{Surroundings, answer};
use agenthub::store::{NetworkFs, NewInbox, Writer};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// What Claude Code takes of a hook's output (characters); Codex takes more.
const CAP: usize = 10_000;

/// Inputs that share a file: an input that fails must fail alone as well.
const INPUTS: u32 = 100;

/// A file, and for how many inputs more.
struct Bench {
    left: u32,
    writer: Writer,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            left: INPUTS,
            writer: Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap(),
            _folder: folder,
        }
    }
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, text)) = data.split_first() else { return };
    let vendor = [Vendor::Claude, Vendor::Codex][usize::from(kind % 2)];
    BENCH.with_borrow_mut(|bench| {
        bench.left -= 1;
        if bench.left == 0 {
            *bench = Bench::new();
        }
        let writer = &bench.writer;
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
                assert!(answer.text.chars().count() <= CAP, "{} characters", answer.text.len());
                serde_json::from_str::<Value>(&answer.text).unwrap();
                answer.printed(writer).unwrap();
            }
        }
    });
});
