//! A hook's input: any input is recorded completely or not at all, and the output is JSON within
//! the tools' limits.
//!
//! Input: a byte that selects the tool, then the JSON, one call per line.

#![no_main]

use std::cell::RefCell;

use agenthub::integrations::hook_handler::{HookEnvironment, handle};
use agenthub::integrations::registry;
use agenthub::store::{NetworkFs, NewInboxMessage, Writer};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Maximum characters of a hook's output that Claude Code accepts. Codex accepts more.
const MAX_OUTPUT: usize = 10_000;

/// Inputs that share a database. An input that fails must also fail alone.
const INPUTS: u32 = 100;

/// A database, and the number of inputs it will still be used for.
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
    let Some((selector, text)) = data.split_first() else {
        return;
    };
    let tools: Vec<_> = registry::with_hooks().collect();
    let tool = tools[usize::from(*selector) % tools.len()];
    BENCH.with_borrow_mut(|bench| {
        bench.left -= 1;
        if bench.left == 0 {
            *bench = Bench::new();
        }
        let writer = &bench.writer;
        writer
            .send(&NewInboxMessage::new("reviewer", "planner", "tests are green"))
            .unwrap();
        let environment = HookEnvironment {
            agent: Some("planner".into()),
            now: 1_800_000_000_000,
            ..HookEnvironment::default()
        };
        for line in text.split(|byte| *byte == b'\n') {
            let Ok(input) = serde_json::from_slice::<Value>(line) else {
                continue;
            };
            if let Some(output) = handle(writer, tool, &input, &environment).unwrap() {
                let characters = output.text.chars().count();
                assert!(characters <= MAX_OUTPUT, "{characters} characters");
                serde_json::from_str::<Value>(&output.text).unwrap();
                output.confirm_printed(writer).unwrap();
            }
        }
    });
});
