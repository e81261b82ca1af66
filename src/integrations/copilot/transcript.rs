//! Copilot CLI's record of a session: `~/.copilot/session-state/<id>/events.jsonl`. It has the events of the stream,
//! and the usage of each call of a model, with those of subagents. Input tokens include cached ones, output tokens
//! include the model's thoughts.

use serde_json::Value;

use super::session_state;
use super::usage::{USAGE_RECORD, call_usage};
use crate::integrations::json_fields::text;
use crate::integrations::spec::{LateTranscript, TranscriptEntry, TranscriptSpec};
use crate::integrations::usage::Usage;

pub(super) const SPEC: TranscriptSpec = TranscriptSpec {
    advice: "record the output of `copilot -p … --output-format json` instead",
    further_files: |_| Vec::new(),
    marks: &["\"session.usage_record\""],
    entry,
    // The parser of the stream understands all of its lines.
    is_line: |_| false,
    late: Some(LateTranscript {
        of_session: session_state::record,
        has_turn,
    }),
};

/// Returns whether the last event of `agentStop` is the begin of its hooks.
fn has_turn(end: &str) -> bool {
    let last = end.lines().rfind(|line| line.contains("\"hookType\":\"agentStop\""));
    last.is_some_and(|line| line.contains("\"type\":\"hook.start\""))
}

fn entry(line: &Value) -> Option<TranscriptEntry> {
    if text(line, "type") != USAGE_RECORD {
        return None;
    }
    let call = &line["data"]["usage"];
    let id = text(line, "id");
    if id.is_empty() || !call["inputTokens"].is_number() {
        return Some(TranscriptEntry::Missing);
    }
    Some(TranscriptEntry::Message {
        id: id.to_owned(),
        usage: Usage {
            turns: i64::from(line["agentId"].is_null()),
            ..call_usage(call)
        },
        model: text(call, "model").to_owned(),
    })
}
