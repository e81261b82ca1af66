//! Codex's record of a session: `~/.codex/sessions/<year>/<month>/<day>/rollout-<time>-<thread>.jsonl`.
//!
//! After each request to the model, a `token_count` has the usage since the thread began.

use serde_json::Value;

use super::stream::thread_usage;
use crate::integrations::json_fields::text;
use crate::integrations::spec::{TranscriptEntry, TranscriptSpec};

pub(super) const SPEC: TranscriptSpec = TranscriptSpec {
    advice: "this is Codex's own record of a session (a rollout); record the output of `codex exec --json` instead, or \
             let its hooks record sessions (agenthub init)",
    further_files: |_| Vec::new(),
    marks: &["\"token_count\"", "\"turn_context\"", "\"task_started\""],
    entry,
    is_line: |line| line["payload"].is_object() && line["timestamp"].is_string(),
    late: None,
};

fn entry(line: &Value) -> Option<TranscriptEntry> {
    let payload = &line["payload"];
    match (text(line, "type"), text(payload, "type")) {
        ("turn_context", _) => Some(TranscriptEntry::Model(text(payload, "model").to_owned())),
        ("event_msg", "task_started") => Some(TranscriptEntry::Turn),
        // The first one of a session may have limits only.
        ("event_msg", "token_count") if !payload["info"].is_null() => {
            let info = &payload["info"];
            let usage = &info["total_token_usage"];
            Some(if usage["input_tokens"].is_number() {
                TranscriptEntry::Totals {
                    usage: thread_usage(usage),
                    last: thread_usage(&info["last_token_usage"]),
                }
            } else {
                TranscriptEntry::Missing
            })
        }
        _ => None,
    }
}
