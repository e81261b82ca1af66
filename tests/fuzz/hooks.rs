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

thread_local! {
    static WRITER: RefCell<(Writer, tempfile::TempDir)> = RefCell::new({
        let folder = tempfile::tempdir().unwrap();
        (Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap(), folder)
    });
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, text)) = data.split_first() else { return };
    let vendor = [Vendor::Claude, Vendor::Codex][usize::from(kind % 2)];
    WRITER.with_borrow(|(writer, _)| {
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
            if let Ok(Some(printed)) = answer(writer, vendor, &input, &around) {
                assert!(printed.chars().count() <= CAP, "{} characters", printed.len());
                serde_json::from_str::<Value>(&printed).unwrap();
            }
        }
    });
});
