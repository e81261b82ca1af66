//! The recorded streams of all tools, complete and broken.

mod copilot;
mod kimi;
mod opencode_sessions;
mod stream_shapes;
mod transcripts;
mod truncated_streams;

use proptest::prelude::*;

use super::line_splitter::LineSplitter;
use super::spec::Integration;
use super::stream::{Stream, StreamSource};
use super::task_builder::{MAX_TEXT, StreamEnd, StreamRow, TaskInfo};
use super::usage::{CountedBy, SessionHistory, Usage};
use super::{claude, codex, cursor, gemini, opencode, qwen, registry};
use crate::protocol::TaskStreamEventType as Kind;
use crate::store::{NewTaskEvent, NewTelemetry};

const CLAUDE: &Integration = &claude::INTEGRATION;
const CODEX: &Integration = &codex::INTEGRATION;
const GEMINI: &Integration = &gemini::INTEGRATION;
const CURSOR: &Integration = &cursor::INTEGRATION;
const QWEN: &Integration = &qwen::INTEGRATION;
const OPENCODE: &Integration = &opencode::INTEGRATION;

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/streams/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn stream(tool: &'static Integration) -> Stream {
    let info = TaskInfo {
        task_id: "t".into(),
        ..TaskInfo::default()
    };
    Stream::new(tool, tool.stream.as_ref().unwrap(), StreamSource::Program, info)
}

fn parse(tool: &'static Integration, bytes: &[u8], end: StreamEnd) -> (Vec<NewTaskEvent>, Vec<NewTelemetry>) {
    feed(stream(tool), bytes, end)
}

fn feed(mut stream: Stream, bytes: &[u8], end: StreamEnd) -> (Vec<NewTaskEvent>, Vec<NewTelemetry>) {
    let mut rows = stream.begin();
    for line in bytes.split(|b| *b == b'\n') {
        rows.extend(stream.line(line));
    }
    rows.extend(stream.end(end, 7));
    let (mut tasks, mut usage) = (Vec::new(), Vec::new());
    for row in rows {
        match row {
            StreamRow::Task(task) => tasks.push(*task),
            StreamRow::Usage(used) => usage.push(*used),
        }
    }
    (tasks, usage)
}

fn kinds(tasks: &[NewTaskEvent]) -> String {
    let kinds: Vec<&str> = tasks.iter().map(|t| t.stream_type.as_str()).collect();
    kinds.join(" ")
}

fn of<'a>(tasks: &'a [NewTaskEvent], kind: &Kind) -> Vec<&'a NewTaskEvent> {
    tasks.iter().filter(|t| t.stream_type == *kind).collect()
}

fn last_status(tasks: &[NewTaskEvent]) -> &str {
    &of(tasks, &Kind::STATUS).last().unwrap().status
}

#[test]
fn claude_stream_becomes_rows() {
    let (tasks, usage) = parse(CLAUDE, &data("claude.jsonl"), StreamEnd::Exit(0));
    assert_eq!(
        kinds(&tasks),
        "status status turn_start text tool_use tool_use text tool_use tool_result tool_result tool_result status \
         turn_end turn_start text turn_end status"
    );
    assert_eq!(last_status(&tasks), "completed");
    assert!(
        tasks[1..]
            .iter()
            .all(|t| t.agent_id == "claude-0f6c1c1e" && t.source_type == "claude")
    );
    assert_eq!(tasks[1].workspace, "/home/ada/api");
    let sub = of(&tasks, &Kind::TOOL_USE)[2];
    assert_eq!(
        (sub.call_id.as_str(), sub.parent_call_id.as_str()),
        ("toolu_c", "toolu_b")
    );
    let results = of(&tasks, &Kind::TOOL_RESULT);
    assert_eq!(
        (results[1].tool_name.as_str(), results[1].tool_output.as_str()),
        ("Task", "Nothing\nunusual.")
    );
    assert_eq!(
        (results[2].tool_name.as_str(), results[2].error_msg.as_str()),
        ("Bash", "error: 1 test failed")
    );
    // The turns add up to the totals, subagents included.
    let ends = of(&tasks, &Kind::TURN_END);
    assert_eq!((ends[0].tokens_in, ends[0].tokens_out), (1210, 4));
    assert_eq!((ends[1].tokens_in, ends[1].tokens_out), (1770, 156));
    assert_eq!(ends.iter().map(|t| t.tokens_in).sum::<i64>(), 30 + 2200 + 250 + 500);
    assert_eq!(ends.iter().map(|t| t.tokens_out).sum::<i64>(), 160);
    let last = usage.last().unwrap();
    assert_eq!(
        (last.tokens_in, last.tokens_out, last.tokens_cached),
        (Some(2980), Some(160), Some(2200))
    );
    assert_eq!(
        (last.cost, last.cost_source.as_deref()),
        (Some(0.0421), Some("reported"))
    );
    assert_eq!(
        (last.turns, last.duration_sec, last.status.as_deref()),
        (Some(2), Some(12), Some("completed"))
    );
}

#[test]
fn claude_totals_replace_provisional_counts_and_survive_a_reset() {
    let result = |tokens: i64, cost: f64| {
        format!(
            "{{\"type\":\"assistant\",\"message\":{{\"id\":\"m{tokens}\",\"content\":[]}}}}\n\
             {{\"type\":\"result\",\"subtype\":\"success\",\"duration_ms\":1000,\"total_cost_usd\":{cost},\
             \"modelUsage\":{{\"m\":{{\"inputTokens\":{tokens},\"outputTokens\":1}}}}}}\n"
        )
    };
    let init = "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}\n";
    let text = format!("{init}{}{}{}", result(100, 0.5), result(150, 0.75), result(30, 0.25));
    let (tasks, usage) = parse(CLAUDE, text.as_bytes(), StreamEnd::Exit(0));
    let ends: Vec<i64> = of(&tasks, &Kind::TURN_END).iter().map(|t| t.tokens_in).collect();
    assert_eq!(ends, [100, 50, 30]);
    let last = usage.last().unwrap();
    assert_eq!(
        (last.tokens_in, last.cost, last.duration_sec),
        (Some(180), Some(1.0), Some(3))
    );
}

#[test]
fn claude_result_without_cost_keeps_the_last_cost() {
    let result = |tokens: i64, cost: &str| {
        format!(
            "{{\"type\":\"result\",\"subtype\":\"success\",{cost}\"modelUsage\":{{\"m\":{{\"inputTokens\":{tokens}}}}}}}\n"
        )
    };
    let init = "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}\n";
    let text = [init, &result(1000, "\"total_cost_usd\":0.5,"), &result(1200, "")].concat();
    let (_, usage) = parse(CLAUDE, text.as_bytes(), StreamEnd::Exit(0));
    let last = usage.last().unwrap();
    assert_eq!((last.tokens_in, last.cost), (Some(1200), Some(0.5)));
    let text = format!("{text}{}", result(1300, "\"total_cost_usd\":0.75,"));
    let (_, usage) = parse(CLAUDE, text.as_bytes(), StreamEnd::Exit(0));
    let last = usage.last().unwrap();
    assert_eq!((last.tokens_in, last.cost), (Some(1300), Some(0.75)));
}

#[test]
fn codex_totals_of_the_thread_become_usage_per_turn() {
    let (tasks, usage) = parse(CODEX, &data("codex.jsonl"), StreamEnd::Exit(0));
    assert_eq!(
        kinds(&tasks),
        "status status turn_start tool_use tool_use tool_result status tool_result tool_use tool_result status status \
         text turn_end status status turn_start text turn_end status"
    );
    let ends = of(&tasks, &Kind::TURN_END);
    assert_eq!((ends[0].tokens_in, ends[0].tokens_out), (24_763, 122));
    assert_eq!((ends[1].tokens_in, ends[1].tokens_out), (5_237, 28));
    let results = of(&tasks, &Kind::TOOL_RESULT);
    assert_eq!(
        (results[0].tool_name.as_str(), results[0].tool_output.as_str()),
        ("mcp__agenthub__check_inbox", "no mail")
    );
    assert_eq!(
        (results[1].tool_name.as_str(), results[1].error_msg.as_str()),
        ("shell", "exit code 101")
    );
    assert_eq!(results[2].tool_name, "apply_patch");
    let last = usage.last().unwrap();
    assert_eq!(
        (last.tokens_in, last.tokens_cached, last.cost),
        (Some(30_000), Some(29_000), None)
    );
    assert_eq!(
        (last.cost_source.as_deref(), last.duration_sec),
        (Some("unknown"), Some(7))
    );
    assert_eq!(last_status(&tasks), "completed");
}

#[test]
fn resumed_codex_thread_continues_its_totals() {
    let mut resumed = stream(CODEX);
    drop(resumed.set_history(SessionHistory {
        totals: Usage {
            turns: 3,
            tokens_in: 24_000,
            tokens_out: 100,
            tokens_cached: 20_000,
            ..Usage::default()
        },
        ..SessionHistory::default()
    }));
    let (tasks, usage) = feed(resumed, &data("codex.jsonl"), StreamEnd::Exit(0));
    assert_eq!(of(&tasks, &Kind::TURN_END)[0].tokens_in, 763);
    let last = usage.last().unwrap();
    assert_eq!((last.turns, last.tokens_in), (Some(5), Some(30_000)));
}

/// `input_token` is misspelled in this stream.
#[test]
fn cached_tokens_never_exceed_input_tokens() {
    let stream = br#"{"type":"thread.started","thread_id":"s"}
{"type":"turn.started"}
{"type":"turn.completed","usage":{"input_token":300,"cached_input_tokens":200,"output_tokens":1}}"#;
    let (_, usage) = parse(CODEX, stream, StreamEnd::Exit(0));
    let last = usage.last().unwrap();
    assert_eq!(
        (last.tokens_in, last.tokens_cached, last.tokens_out),
        (Some(0), Some(0), Some(1))
    );
}

/// Readers treat a smaller total as a counter that was reset, and would count the rest twice.
#[test]
fn totals_never_shrink() {
    let stream = br#"{"type":"thread.started","thread_id":"s"}
{"type":"turn.started"}
{"type":"turn.completed","usage":{"input_tokens":300,"output_tokens":1}}
{"type":"turn.started"}
{"type":"turn.completed","usage":{"input_token":400,"output_tokens":2}}
{"type":"turn.started"}
{"type":"turn.completed","usage":{"input_tokens":500,"output_tokens":3}}"#;
    let (_, usage) = parse(CODEX, stream, StreamEnd::Exit(0));
    let tokens_in: Vec<_> = usage.iter().filter_map(|row| row.tokens_in).collect();
    assert!(tokens_in.is_sorted(), "{tokens_in:?}");
    assert_eq!(tokens_in.last(), Some(&500));
}

#[test]
fn gemini_text_pieces_are_joined() {
    let (tasks, usage) = parse(GEMINI, &data("gemini.jsonl"), StreamEnd::Exit(0));
    assert_eq!(
        kinds(&tasks),
        "status status status turn_start text tool_use tool_use tool_result tool_result status turn_end turn_start text \
         turn_end status"
    );
    assert_eq!(tasks[2].directive, "Count the files.");
    let texts: Vec<&str> = of(&tasks, &Kind::TEXT).iter().map(|t| t.text.as_str()).collect();
    assert_eq!(texts, ["I will list them.", "Two files."]);
    assert_eq!(of(&tasks, &Kind::TOOL_RESULT)[0].error_msg, "File not found");
    let last = usage.last().unwrap();
    assert_eq!(
        (last.tokens_in, last.tokens_cached, last.cost),
        (Some(5000), Some(3000), None)
    );
    let (tasks, _) = parse(GEMINI, &data("gemini-error.jsonl"), StreamEnd::Exit(53));
    assert_eq!(of(&tasks, &Kind::TEXT)[0].text, "half a sen");
    assert_eq!(of(&tasks, &Kind::ERROR)[0].error_msg, "turn limit reached");
    assert_eq!(last_status(&tasks), "failed");
}

#[test]
fn cursor_stream_has_no_tokens() {
    let (tasks, usage) = parse(CURSOR, &data("cursor.jsonl"), StreamEnd::Exit(0));
    assert_eq!(
        kinds(&tasks),
        "status status status turn_start tool_use tool_result turn_end turn_start text turn_end status"
    );
    assert_eq!(of(&tasks, &Kind::TOOL_RESULT)[0].tool_name, "shell");
    assert_eq!(
        (usage.last().unwrap().tokens_in, usage.last().unwrap().duration_sec),
        (Some(0), Some(3))
    );
}

#[test]
fn failure_reported_by_the_tool_fails_the_task() {
    for (tool, name, reason) in [
        (CLAUDE, "claude-error.jsonl", "Reached maximum number of turns (1)"),
        (CODEX, "codex-failed.jsonl", "usage limit reached"),
    ] {
        let (tasks, usage) = parse(tool, &data(name), StreamEnd::Exit(1));
        assert_eq!(of(&tasks, &Kind::ERROR).last().unwrap().error_msg, reason);
        assert_eq!(last_status(&tasks), "failed");
        assert_eq!(usage.last().unwrap().status.as_deref(), Some("error"));
    }
}

#[test]
fn task_ends_however_the_stream_ends() {
    for (name, tool) in [
        ("codex-truncated.jsonl", CODEX),
        ("claude-broken.jsonl", CLAUDE),
        ("codex-broken.jsonl", CODEX),
        ("gemini-broken.jsonl", GEMINI),
        ("cursor-broken.jsonl", CURSOR),
    ] {
        for (end, reason) in [
            (StreamEnd::Exit(0), "the program ended without a result"),
            (StreamEnd::Exit(143), "exited with code 143"),
            (StreamEnd::Signal(9), "ended by signal 9"),
            (StreamEnd::Eof, "the stream ended without a result"),
        ] {
            let (tasks, _) = parse(tool, &data(name), end);
            assert_eq!(of(&tasks, &Kind::ERROR).last().unwrap().error_msg, reason);
            assert_eq!(last_status(&tasks), "failed");
            assert_eq!(of(&tasks, &Kind::TURN_START).len(), of(&tasks, &Kind::TURN_END).len());
            assert_eq!(
                of(&tasks, &Kind::TOOL_USE).len(),
                of(&tasks, &Kind::TOOL_RESULT)
                    .iter()
                    .filter(|t| !t.tool_name.is_empty())
                    .count()
            );
        }
    }
    // The result is a success, but the process fails.
    let (tasks, _) = parse(CLAUDE, &data("claude.jsonl"), StreamEnd::Exit(2));
    assert_eq!(last_status(&tasks), "failed");
    // Only the exit code counts for a program that prints no stream.
    let (tasks, _) = parse(CLAUDE, b"plain text\n", StreamEnd::Exit(0));
    assert_eq!(last_status(&tasks), "completed");
}

#[test]
fn broken_lines_do_not_affect_other_lines() {
    let (tasks, usage) = parse(CLAUDE, &data("claude-broken.jsonl"), StreamEnd::Eof);
    assert!(of(&tasks, &Kind::TEXT).iter().any(|t| t.text == "Still here."));
    assert!(
        of(&tasks, &Kind::TOOL_RESULT)
            .iter()
            .any(|t| t.tool_output == "a result without a call")
    );
    let last = usage.last().unwrap();
    assert_eq!((last.tokens_out, last.cost), (Some(0), None));
    for (name, tool) in [
        ("codex-broken.jsonl", CODEX),
        ("gemini-broken.jsonl", GEMINI),
        ("cursor-broken.jsonl", CURSOR),
    ] {
        let (tasks, usage) = parse(tool, &data(name), StreamEnd::Eof);
        assert!(
            of(&tasks, &Kind::TEXT).iter().any(|t| t.text == "Still here."),
            "{name}"
        );
        assert!(
            of(&tasks, &Kind::TOOL_RESULT).iter().any(|t| t.call_id == "unknown"),
            "{name}"
        );
        assert!(tasks.iter().any(|t| t.agent_id.ends_with("-broken-s")), "{name}");
        assert_eq!(usage.last().unwrap().tokens_out, Some(0), "{name}");
    }
}

/// Lines of all tools' streams, mixed, some with one wrong byte.
fn mixed() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<Vec<u8>> = std::fs::read_dir(format!("{}/tests/data/streams", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
        .flat_map(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    let flip = proptest::option::weighted(0.3, (any::<proptest::sample::Index>(), any::<u8>()));
    let line = (proptest::sample::select(lines), flip).prop_map(|(mut line, flip)| {
        if let Some((at, byte)) = flip.filter(|_| !line.is_empty()) {
            let at = at.index(line.len());
            line[at] = byte;
        }
        line
    });
    proptest::collection::vec(line, 0..40).prop_map(|lines| lines.join(&b'\n'))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_input_ends_its_task_and_turns(text in mixed(), tool in 0..registry::ALL.len(), end in 0..4usize) {
        let tool = registry::ALL[tool];
        let end = [StreamEnd::Exit(0), StreamEnd::Exit(1), StreamEnd::Signal(2), StreamEnd::Eof][end];
        let (tasks, usage) = parse(tool, &text, end);
        let last = last_status(&tasks);
        prop_assert!(last == "failed" || last == "completed" && matches!(end, StreamEnd::Exit(0) | StreamEnd::Eof), "{}", last);
        prop_assert_eq!(of(&tasks, &Kind::TURN_START).len(), of(&tasks, &Kind::TURN_END).len());
        for call in of(&tasks, &Kind::TOOL_USE) {
            let has_result = of(&tasks, &Kind::TOOL_RESULT).iter().any(|t| t.call_id == call.call_id);
            // The model's provider may keep the result of a tool that it runs.
            let is_hosted = call.call_id.starts_with("srvtoolu_") || call.call_id.starts_with("mcptoolu_");
            prop_assert!(has_result || is_hosted, "{:?}", call);
        }
        for used in usage {
            let numbers = [used.turns, used.tokens_in, used.tokens_out, used.tokens_cached];
            prop_assert!(used.tokens_cached <= used.tokens_in, "{:?}", used);
            prop_assert!(numbers.iter().flatten().all(|n| *n >= 0), "{:?}", used);
        }
    }
}

#[test]
fn every_prefix_of_a_stream_ends_its_task() {
    for (name, tool) in [
        ("claude.jsonl", CLAUDE),
        ("codex.jsonl", CODEX),
        ("gemini.jsonl", GEMINI),
        ("cursor.jsonl", CURSOR),
        ("qwen-subagent.jsonl", QWEN),
    ] {
        let whole = data(name);
        for end in (0..whole.len()).step_by(37) {
            let (tasks, _) = parse(tool, &whole[..end], StreamEnd::Eof);
            assert_ne!(last_status(&tasks), "running", "{name} cut at {end}");
        }
        // Another tool's parser does not know the types of this stream.
        for other in registry::ALL {
            parse(other, &whole, StreamEnd::Signal(15));
        }
    }
}

#[test]
fn long_line_becomes_a_truncated_row() {
    let long = "y".repeat(10 << 20);
    let text = format!(
        "{{\"type\":\"item.completed\",\"item\":{{\"id\":\"i\",\"type\":\"agent_message\",\"text\":\"{long}\"}}}}\n"
    );
    let mut found = Vec::new();
    let mut lines = LineSplitter::default();
    for chunk in text.as_bytes().chunks(65_536) {
        lines.feed(chunk, |line| found.push(line));
    }
    assert_eq!(found.len(), 1);
    let (tasks, _) = parse(CODEX, &found[0], StreamEnd::Eof);
    let text = &of(&tasks, &Kind::TEXT)[0].text;
    assert!(text.len() < MAX_TEXT + 64 && text.ends_with("(truncated, 10485760 bytes in total)"));
}

#[test]
fn adds_only_missing_flags() {
    let flags = |tool: &Integration, line: &str| {
        let given: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let spec = tool.stream.as_ref().unwrap();
        (spec.flags)(&given).map(|flags| flags.flags.join(" "))
    };
    assert_eq!(flags(CLAUDE, "-p hi").unwrap(), "--output-format stream-json --verbose");
    assert_eq!(
        flags(CLAUDE, "--verbose -p hi --output-format=stream-json").unwrap(),
        ""
    );
    assert_eq!(flags(CLAUDE, "-p hi --output-format stream-json").unwrap(), "--verbose");
    assert!(flags(CLAUDE, "-p hi --output-format text").is_err());
    assert!(flags(CLAUDE, "hi").is_err());
    assert_eq!(
        flags(CLAUDE, "-cp hi").unwrap(),
        "--output-format stream-json --verbose"
    );
    assert!(flags(CLAUDE, "-c --model -opus").is_err());
    assert!(flags(CLAUDE, "-- -p").is_err());
    assert_eq!(flags(CODEX, "exec hi").unwrap(), "--json");
    assert_eq!(flags(CODEX, "exec --json hi").unwrap(), "");
    assert!(flags(CODEX, "hi").is_err());
    assert_eq!(flags(GEMINI, "-p hi").unwrap(), "--output-format stream-json");
    assert_eq!(flags(GEMINI, "--prompt=hi -o stream-json").unwrap(), "");
    assert_eq!(flags(OPENCODE, "run hi").unwrap(), "--format json");
    assert_eq!(flags(OPENCODE, "run --format json hi").unwrap(), "");
    assert!(flags(OPENCODE, "run --format default hi").is_err());
    assert!(flags(OPENCODE, "run -i hi").is_err());
    assert!(flags(OPENCODE, "--prompt hi").is_err());
    assert_eq!(flags(CURSOR, "-p hi").unwrap(), "--output-format stream-json");
}
