//! Streams that end early, or contain texts that a tool has truncated.

use super::*;

fn init(session: &str) -> String {
    format!(r#"{{"type":"system","subtype":"init","session_id":"{session}","model":"opus","cwd":"/w"}}"#)
}

fn message(id: &str, model: &str, tokens: i64) -> String {
    format!(
        r#"{{"type":"assistant","message":{{"id":"{id}","model":"{model}","content":[{{"type":"text","text":"x"}}],"usage":{{"input_tokens":{tokens},"output_tokens":1}}}}}}"#
    )
}

fn result(tokens: i64, cost: f64) -> String {
    format!(
        r#"{{"type":"result","subtype":"success","usage":{{"input_tokens":{tokens},"output_tokens":1}},"total_cost_usd":{cost},"duration_ms":4000}}"#
    )
}

fn claude(lines: &[String], end: StreamEnd) -> (Vec<NewTaskEvent>, Vec<NewTelemetry>) {
    parse(CLAUDE, lines.join("\n").as_bytes(), end)
}

#[test]
fn stream_without_result_counts_its_last_message() {
    let (tasks, usage) = claude(
        &[init("s"), message("a", "opus", 900_000), message("b", "opus", 900_000)],
        StreamEnd::Signal(15),
    );
    assert_eq!(last_status(&tasks), "failed");
    assert_eq!(usage.last().unwrap().tokens_in, Some(1_800_000));
    // The same with a result that contains only zeros.
    let zeros = r#"{"type":"result","subtype":"error_during_execution","usage":{"input_tokens":0},"total_cost_usd":0}"#;
    let (_, usage) = claude(
        &[init("s"), message("a", "opus", 5000), zeros.to_owned()],
        StreamEnd::Exit(1),
    );
    let last = usage.last().unwrap();
    assert_eq!((last.tokens_in, last.cost), (Some(5000), None));
}

#[test]
fn use_after_the_last_cost_report_has_no_cost() {
    let mut resumed = stream(CLAUDE);
    resumed.line(init("s").as_bytes());
    resumed.set_history(SessionHistory {
        totals: Usage {
            tokens_in: 1000,
            cost: Some(0.5),
            ..Usage::default()
        },
        ..SessionHistory::default()
    });
    let (_, usage) = feed(resumed, message("a", "opus", 9000).as_bytes(), StreamEnd::Signal(9));
    let last = usage.last().unwrap();
    assert_eq!((last.tokens_in, last.cost), (Some(10_000), None));
    assert_eq!(last.cost_source.as_deref(), Some("unknown"));
    let (_, usage) = claude(
        &[init("s"), message("a", "opus", 9000), result(9000, 0.25)],
        StreamEnd::Exit(0),
    );
    assert_eq!(usage.last().unwrap().cost, Some(0.25));
}

#[test]
fn counters_of_another_session_in_the_process_begin_at_zero() {
    let (_, usage) = claude(
        &[
            init("s"),
            message("a", "opus", 1000),
            result(1000, 0.5),
            init("t"),
            message("b", "opus", 1500),
            result(1500, 0.75),
        ],
        StreamEnd::Exit(0),
    );
    let last = usage.last().unwrap();
    assert_eq!(
        (last.tokens_in, last.cost, last.duration_sec),
        (Some(2500), Some(1.25), Some(8))
    );
}

#[test]
fn synthetic_message_does_not_change_the_model() {
    let (_, usage) = claude(
        &[
            init("s"),
            message("a", "opus", 10),
            message("b", "<synthetic>", 0),
            result(10, 0.5),
        ],
        StreamEnd::Exit(0),
    );
    assert_eq!(usage.last().unwrap().model.as_deref(), Some("opus"));
}

#[test]
fn half_a_surrogate_pair_does_not_lose_the_line() {
    let call = r#"{"type":"assistant","message":{"id":"a","content":[{"type":"tool_use","id":"c","name":"Bash","input":{}}]}}"#;
    let answer =
        r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"c","content":"cut \ud83d"}]}}"#;
    let (tasks, _) = claude(
        &[init("s"), call.to_owned(), answer.to_owned(), result(1, 0.1)],
        StreamEnd::Exit(0),
    );
    assert_eq!(of(&tasks, &Kind::TOOL_RESULT)[0].tool_output, "cut \u{fffd}");
}

#[test]
fn codex_search_has_its_query_and_cursor_failure_its_reason() {
    let search = r#"{"type":"item.started","item":{"id":"i","type":"web_search","query":""}}
{"type":"item.completed","item":{"id":"i","type":"web_search","query":"sqlite wal"}}"#;
    let (tasks, _) = parse(CODEX, search.as_bytes(), StreamEnd::Exit(0));
    let calls = of(&tasks, &Kind::TOOL_USE);
    assert_eq!(
        (calls.len(), calls[0].tool_input.as_str()),
        (1, r#"{"query":"sqlite wal"}"#)
    );

    for (result, error) in [
        (r#"{"success":{"exitCode":0}}"#, ""),
        (r#"{"success":{"exitCode":2}}"#, "exit code 2"),
        (r#"{"error":"no such file"}"#, "error: no such file"),
    ] {
        let line = format!(
            r#"{{"type":"tool_call","subtype":"completed","call_id":"c","tool_call":{{"shellToolCall":{{"args":{{}},"result":{result}}}}}}}"#
        );
        let (tasks, _) = parse(CURSOR, line.as_bytes(), StreamEnd::Exit(0));
        assert_eq!(of(&tasks, &Kind::TOOL_RESULT)[0].error_msg, error, "{result}");
    }
}
