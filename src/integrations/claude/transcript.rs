//! Claude Code's record of a session: `~/.claude/projects/<directory>/<session>.jsonl`.
//!
//! Each block of a message is a line with the message's final usage. Messages of subagents (`isSidechain`) are in
//! `<session>/subagents/agent-<id>.jsonl`, in older versions in the same file. When it ends, the program writes a
//! `cost-state` with the totals of its session, subagents included.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::stream::message_usage;
use crate::integrations::json_fields::text;
use crate::integrations::message_stream::usage_of_models;
use crate::integrations::spec::{TranscriptEntry, TranscriptSpec};
use crate::integrations::usage::Usage;

pub(super) const SPEC: TranscriptSpec = TranscriptSpec {
    advice: "this is Claude Code's own record of a session; record the output of \
             `claude -p --output-format stream-json --verbose` instead, or let its hooks record sessions (agenthub init)",
    further_files: subagent_files,
    marks: &["\"assistant\"", "\"cost-state\""],
    entry,
    is_line: |line| line["sessionId"].is_string() && line["type"].is_string() && line["session_id"].is_null(),
    late: None,
};

/// Returns the files of the session's subagents.
fn subagent_files(transcript: &Path) -> Vec<PathBuf> {
    let Ok(folder) = fs::read_dir(transcript.with_extension("").join("subagents")) else {
        return Vec::new();
    };
    let files = folder.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect()
}

fn entry(line: &Value) -> Option<TranscriptEntry> {
    match text(line, "type") {
        "assistant" => message_entry(line),
        "cost-state" => Some(TranscriptEntry::Totals {
            usage: Usage {
                cost: line["totalCostUSD"].as_f64().filter(|cost| (0.0..1e12).contains(cost)),
                ..usage_of_models(&line["modelUsage"])?
            },
            last: Usage::default(),
        }),
        _ => None,
    }
}

fn message_entry(line: &Value) -> Option<TranscriptEntry> {
    let message = &line["message"];
    let model = text(message, "model");
    // A message of the program itself has the model "<synthetic>".
    if model.starts_with('<') {
        return None;
    }
    let (id, usage) = (text(message, "id"), &message["usage"]);
    if id.is_empty() || !usage["output_tokens"].is_number() {
        return Some(TranscriptEntry::Missing);
    }
    Some(TranscriptEntry::Message {
        id: id.to_owned(),
        usage: Usage {
            turns: i64::from(line["isSidechain"] != Value::Bool(true)),
            ..message_usage(usage)
        },
        model: model.to_owned(),
    })
}
