//! The tools' JSON streams, complete or broken: any input ends its task, and no total is negative
//! or shrinks.
//!
//! Input: a byte that selects the tool, then the stream.

#![no_main]

use std::collections::HashMap;

use agenthub::integrations::line_splitter::LineSplitter;
use agenthub::integrations::registry;
use agenthub::integrations::stream::{Stream, StreamSource};
use agenthub::integrations::task_builder::{StreamEnd, StreamRow, TaskInfo};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((selector, text)) = data.split_first() else {
        return;
    };
    let info = TaskInfo {
        task_id: "task".into(),
        agent_id: "agent".into(),
        ..TaskInfo::default()
    };
    let tools: Vec<_> = registry::with_stream().collect();
    let (tool, spec) = tools[usize::from(*selector) % tools.len()];
    let mut stream = Stream::new(tool, spec, StreamSource::Program, info);
    let mut rows = stream.begin();
    let mut splitter = LineSplitter::default();
    splitter.feed(text, |line| rows.extend(stream.line(&line)));
    if let Some(rest) = splitter.finish() {
        rows.extend(stream.line(&rest));
    }
    rows.extend(stream.end(StreamEnd::Exit(0), 1));
    let (mut status, mut totals) = ("", HashMap::new());
    for row in &rows {
        match row {
            StreamRow::Task(task) => {
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
            StreamRow::Usage(usage) => {
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
                let has_grown = last.is_none_or(|last| {
                    last.0 <= total.0 && last.1 <= total.1 && last.2 <= total.2 && last.3 <= total.3
                });
                assert!(has_grown, "{last:?} shrinks to {total:?}");
            }
        }
    }
    assert!(matches!(status, "completed" | "failed"), "the task ends as {status:?}");
});
