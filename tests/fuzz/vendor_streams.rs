//! Parses arbitrary vendor streams. Every task must end as completed or failed, and totals must never be negative or shrink.
//!
//! Input: one byte selects the vendor, then the stream.

#![no_main]

use std::collections::HashMap;

use agenthub::agents::lines::Lines;
use agenthub::agents::{About, Ended, Row, Stream, Vendor};
use libfuzzer_sys::fuzz_target;

const VENDORS: [Vendor; 4] = [Vendor::Claude, Vendor::Codex, Vendor::Gemini, Vendor::Cursor];

fuzz_target!(|data: &[u8]| {
    let Some((vendor, text)) = data.split_first() else {
        return;
    };
    let about = About {
        task_id: "task".into(),
        agent_id: "agent".into(),
        ..About::default()
    };
    let mut stream = Stream::new(VENDORS[usize::from(vendor % 4)], about);
    let mut rows = stream.begin();
    let mut lines = Lines::default();
    lines.feed(text, |line| rows.extend(stream.line(&line)));
    if let Some(rest) = lines.finish() {
        rows.extend(stream.line(&rest));
    }
    rows.extend(stream.end(Ended::Exit(0), 1));
    let (mut status, mut totals) = ("", HashMap::new());
    for row in &rows {
        match row {
            Row::Task(task) => {
                assert!(
                    !task.task_id.is_empty() && !task.stream_type.as_str().is_empty(),
                    "{task:?}"
                );
                let numbers = [task.turn_num, task.tokens_in, task.tokens_out, task.duration_sec];
                assert!(numbers.iter().all(|n| *n >= 0) && task.cost >= 0.0, "{task:?}");
                if !task.status.is_empty() {
                    status = &task.status;
                }
            }
            Row::Usage(usage) => {
                let numbers = [usage.turns, usage.tokens_in, usage.tokens_out, usage.tokens_cached];
                assert!(numbers.iter().flatten().all(|n| *n >= 0), "{usage:?}");
                assert!(
                    usage.tokens_cached.unwrap_or(0) <= usage.tokens_in.unwrap_or(0),
                    "{usage:?}"
                );
                assert!(
                    usage.cost.is_none_or(|cost| cost >= 0.0 && cost.is_finite()),
                    "{usage:?}"
                );
                let total = (usage.turns, usage.tokens_in, usage.tokens_out, usage.tokens_cached);
                let last = totals.insert(&usage.instance_id, total);
                let grows = last.is_none_or(|last| {
                    last.0 <= total.0 && last.1 <= total.1 && last.2 <= total.2 && last.3 <= total.3
                });
                assert!(grows, "{last:?} shrinks to {total:?}");
            }
        }
    }
    assert!(matches!(status, "completed" | "failed"), "the task ends as {status:?}");
});
