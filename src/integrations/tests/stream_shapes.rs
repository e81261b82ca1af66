//! Shapes of streams that recent versions of the tools print: siblings of a tool's key, messages in pieces, work of
//! subagents, hosted tools, retries.

use super::*;

fn texts(tasks: &[NewTaskEvent]) -> Vec<&str> {
    of(tasks, &Kind::TEXT).iter().map(|t| t.text.as_str()).collect()
}

fn totals(usage: &[NewTelemetry]) -> (Option<i64>, Option<i64>, Option<i64>, Option<f64>) {
    let last = usage.last().unwrap();
    (last.turns, last.tokens_in, last.tokens_out, last.cost)
}

fn errors(tasks: &[NewTaskEvent]) -> Vec<&str> {
    of(tasks, &Kind::ERROR).iter().map(|t| t.error_msg.as_str()).collect()
}

fn remarks(tasks: &[NewTaskEvent]) -> Vec<&str> {
    let statuses = of(tasks, &Kind::STATUS);
    statuses
        .iter()
        .map(|t| t.text.as_str())
        .filter(|text| !text.is_empty())
        .collect()
}

#[test]
fn cursor_tool_is_found_among_its_siblings() {
    let (tasks, usage) = parse(CURSOR, &data("cursor-siblings.jsonl"), StreamEnd::Eof);
    let calls: Vec<(&str, &str)> = of(&tasks, &Kind::TOOL_USE)
        .iter()
        .map(|t| (t.tool_name.as_str(), t.tool_input.as_str()))
        .collect();
    assert_eq!(
        calls,
        [
            ("read", r#"{"path":"/home/ada/api/list.txt"}"#),
            (
                "shell",
                r#"{"command":"wc -l list.txt","timeout":30000,"workingDirectory":""}"#
            ),
            ("updateTodos", r#"{"todos":[{"content":"measure","id":"1"}]}"#),
            ("shell", r#"{"command":"false"}"#),
        ]
    );
    let results: Vec<(&str, &str)> = of(&tasks, &Kind::TOOL_RESULT)
        .iter()
        .map(|t| (t.tool_output.as_str(), t.error_msg.as_str()))
        .collect();
    assert_eq!(
        results,
        [
            ("one\ntwo\n", ""),
            ("2 list.txt\n", ""),
            (r#"{"todos":[]}"#, ""),
            ("", r#"failure: {"exitCode":1,"stderr":"no"}"#),
        ]
    );
    let last = usage.last().unwrap();
    assert_eq!(
        (last.tokens_in, last.tokens_out, last.tokens_cached),
        (Some(12_983), Some(96), Some(5957))
    );
    // Any line names the session.
    let whole = data("cursor-siblings.jsonl");
    let without_first = &whole[whole.iter().position(|b| *b == b'\n').unwrap()..];
    let (_, usage) = parse(CURSOR, without_first, StreamEnd::Eof);
    assert_eq!(usage.last().unwrap().tokens_in, Some(12_983));
}

#[test]
fn cursor_message_in_pieces_is_one_text() {
    let whole = data("cursor-partial.jsonl");
    let (tasks, _) = parse(CURSOR, &whole, StreamEnd::Eof);
    assert_eq!(texts(&tasks), ["First I look.", "Two lines."]);
    // The stream ends before the whole message.
    let cut: Vec<&[u8]> = whole.split(|b| *b == b'\n').take(5).collect();
    let (tasks, _) = parse(CURSOR, &cut.join(&b'\n'), StreamEnd::Eof);
    assert_eq!(texts(&tasks), ["First I look."]);
}

#[test]
fn claude_totals_do_not_depend_on_the_first_lines() {
    let whole = data("claude-woken.jsonl");
    let lines: Vec<&[u8]> = whole.split(|b| *b == b'\n').collect();
    let without_init: Vec<&[u8]> = lines
        .iter()
        .copied()
        .filter(|line| !line.windows(6).any(|part| part == b"\"init\""))
        .collect();
    let with_mark = [&b"\xef\xbb\xbf"[..], &whole].concat();
    for (name, input) in [
        ("whole", whole.clone()),
        ("first line lost", lines[1..].join(&b'\n')),
        ("no init", without_init.join(&b'\n')),
        ("byte order mark", with_mark),
    ] {
        let (tasks, usage) = parse(CLAUDE, &input, StreamEnd::Eof);
        assert_eq!(totals(&usage), (Some(2), Some(83_187), Some(1825), Some(0.1)), "{name}");
        assert_eq!(
            usage.last().unwrap().model.as_deref(),
            Some("claude-opus-5-5"),
            "{name}"
        );
        assert_eq!(tasks.last().unwrap().agent_id, "claude-5eed0002", "{name}");
        let ends = of(&tasks, &Kind::TURN_END);
        assert_eq!(ends.iter().map(|t| t.tokens_in).sum::<i64>(), 83_187, "{name}");
        assert_eq!(ends.iter().map(|t| t.tokens_out).sum::<i64>(), 1825, "{name}");
    }
}

#[test]
fn claude_subagents_count_while_they_work() {
    let (_, usage) = parse(CLAUDE, &data("claude-subagent-cut.jsonl"), StreamEnd::Eof);
    assert_eq!(
        totals(&usage),
        (Some(1), Some(30_004 + 2 * 500_170), Some(3 + 2 * 2000), None)
    );
    // The totals grow when the first message of the subagent has ended.
    assert!(usage.iter().any(|row| row.tokens_in == Some(500_170)), "{usage:?}");
}

#[test]
fn claude_message_of_a_subagent_counts_once_across_a_result() {
    let sub = r#"{"type":"assistant","message":{"id":"b","model":"m","content":[],"usage":{"input_tokens":70,"output_tokens":1}},"parent_tool_use_id":"t"}"#;
    let next = sub.replace("\"b\"", "\"c\"");
    let result = r#"{"type":"result","subtype":"success","session_id":"s","modelUsage":{"m":{"inputTokens":100,"outputTokens":9}}}"#;
    let text = [sub, result, sub, &next].join("\n");
    let (_, usage) = parse(CLAUDE, text.as_bytes(), StreamEnd::Eof);
    assert_eq!(totals(&usage), (Some(0), Some(170), Some(10), None));
}

#[test]
fn claude_hosted_tools_and_images_have_rows() {
    let (tasks, _) = parse(CLAUDE, &data("claude-hosted-tools.jsonl"), StreamEnd::Eof);
    let calls: Vec<&str> = of(&tasks, &Kind::TOOL_USE)
        .iter()
        .map(|t| t.tool_name.as_str())
        .collect();
    assert_eq!(calls, ["web_search", "mcp__lab__echo", "Read"]);
    let results: Vec<(&str, &str, &str)> = of(&tasks, &Kind::TOOL_RESULT)
        .iter()
        .map(|t| (t.tool_name.as_str(), t.tool_output.as_str(), t.error_msg.as_str()))
        .collect();
    assert_eq!(
        results,
        [
            ("web_search", "WAL https://wal.test", ""),
            ("Read", "[image/png, 12.3 KiB]", ""),
        ]
    );
    let failed = r#"{"type":"assistant","message":{"id":"a","content":[{"type":"server_tool_use","id":"s","name":"web_fetch","input":{}},{"type":"web_fetch_tool_result","tool_use_id":"s","content":{"type":"web_fetch_tool_result_error","error_code":"url_not_allowed"}}]}}"#;
    let (tasks, _) = parse(CLAUDE, failed.as_bytes(), StreamEnd::Eof);
    assert_eq!(of(&tasks, &Kind::TOOL_RESULT)[0].error_msg, "url_not_allowed");
}

#[test]
fn claude_error_is_told_once_and_is_no_turn() {
    let (tasks, usage) = parse(CLAUDE, &data("claude-api-error.jsonl"), StreamEnd::Exit(1));
    assert_eq!(errors(&tasks), ["API Error: 500 overloaded"]);
    assert_eq!(remarks(&tasks), ["server_error: retry 1 of 10"]);
    assert_eq!(texts(&tasks), ["I begin."]);
    assert_eq!(totals(&usage), (Some(1), Some(4), Some(30), Some(0.01)));
    assert_eq!(last_status(&tasks), "failed");
}

#[test]
fn claude_partial_messages_have_the_final_output_tokens() {
    let line = r#"{"type":"assistant","message":{"id":"a","content":[],"usage":{"input_tokens":9,"output_tokens":1}},"session_id":"s"}"#;
    let delta = r#"{"type":"stream_event","event":{"type":"message_delta","usage":{"output_tokens":64}},"session_id":"s","parent_tool_use_id":null}"#;
    let next = line.replace("\"a\"", "\"b\"");
    let text = [line, delta, &next].join("\n");
    let (tasks, _) = parse(CLAUDE, text.as_bytes(), StreamEnd::Eof);
    let ends: Vec<(i64, i64)> = of(&tasks, &Kind::TURN_END)
        .iter()
        .map(|t| (t.tokens_in, t.tokens_out))
        .collect();
    assert_eq!(ends, [(9, 64), (9, 1)]);
}

#[test]
fn claude_result_of_a_resumed_session_may_count_from_its_start() {
    let input = |in_result: i64, cost: f64| {
        format!(
            "{{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}}\n\
             {{\"type\":\"assistant\",\"message\":{{\"id\":\"b\",\"content\":[],\"usage\":{{\"input_tokens\":170,\"output_tokens\":1}}}}}}\n\
             {{\"type\":\"result\",\"subtype\":\"success\",\"total_cost_usd\":{cost},\"modelUsage\":{{\"m\":\
             {{\"inputTokens\":{in_result},\"outputTokens\":360}}}}}}"
        )
    };
    let history = SessionHistory {
        totals: Usage {
            turns: 11,
            tokens_in: 1870,
            tokens_out: 330,
            cost: Some(0.5),
            ..Usage::default()
        },
        ..SessionHistory::default()
    };
    for (in_result, cost, turn, expected) in [
        // The counters were restored.
        (2040, 0.75, 170, (Some(12), Some(2040), Some(360), Some(0.75))),
        // They begin at 0.
        (200, 0.25, 200, (Some(12), Some(2070), Some(690), Some(0.75))),
    ] {
        let mut resumed = stream(CLAUDE);
        drop(resumed.set_history(history.clone()));
        let (tasks, usage) = feed(resumed, input(in_result, cost).as_bytes(), StreamEnd::Eof);
        assert_eq!(totals(&usage), expected);
        assert_eq!(of(&tasks, &Kind::TURN_END)[0].tokens_in, turn);
    }
}

#[test]
fn claude_woken_turn_has_its_summary_as_directive() {
    let line = r#"{"type":"user","message":{"role":"user","content":"<task-notification>\n<task-id>b</task-id>\n<summary>Tests passed</summary>\n</task-notification>"},"session_id":"s"}"#;
    let (tasks, _) = parse(CLAUDE, line.as_bytes(), StreamEnd::Eof);
    let row = tasks.iter().find(|t| !t.directive.is_empty()).unwrap();
    assert_eq!(row.directive, "Tests passed");
    assert!(row.directive_full.starts_with("<task-notification>"));
}

#[test]
fn gemini_thoughts_are_output_and_the_model_is_the_real_one() {
    let (tasks, usage) = parse(GEMINI, &data("gemini-thoughts.jsonl"), StreamEnd::Eof);
    assert_eq!(totals(&usage), (Some(1), Some(11_744), Some(615), None));
    assert_eq!(
        usage.last().unwrap().model.as_deref(),
        Some("gemini-3-pro, gemini-3-flash")
    );
    assert_eq!(of(&tasks, &Kind::TURN_END)[0].tokens_out, 615);
    assert_eq!((errors(&tasks), remarks(&tasks)), (vec![], vec!["the cache is cold"]));
    // The whole message follows its pieces.
    assert_eq!(texts(&tasks), ["Hello."]);
}

#[test]
fn codex_retry_is_a_remark_and_a_failed_turn_has_one_error() {
    let (tasks, _) = parse(CODEX, &data("codex-reconnects.jsonl"), StreamEnd::Exit(0));
    assert_eq!(errors(&tasks), Vec::<&str>::new());
    assert_eq!(
        remarks(&tasks),
        ["Reconnecting... 1/2 (stream closed before response.completed)"]
    );
    assert_eq!(last_status(&tasks), "completed");
    let (tasks, _) = parse(CODEX, &data("codex-out-of-room.jsonl"), StreamEnd::Exit(1));
    assert_eq!(errors(&tasks), ["the context window is full"]);
    assert_eq!(remarks(&tasks), ["Reconnecting... 1/2 (429 Too Many Requests)"]);
    // No line tells whether the turn goes on.
    let whole = data("codex-out-of-room.jsonl");
    let cut: Vec<&[u8]> = whole.split(|b| *b == b'\n').take(4).collect();
    let (tasks, _) = parse(CODEX, &cut.join(&b'\n'), StreamEnd::Eof);
    assert_eq!(
        errors(&tasks),
        ["the context window is full", "the stream ended without a result"]
    );
}

#[test]
fn stream_that_was_recorded_before_does_not_count_again() {
    for (tool, name) in [
        (CLAUDE, "claude-woken.jsonl"),
        (CODEX, "codex.jsonl"),
        (GEMINI, "gemini-thoughts.jsonl"),
        (CURSOR, "cursor-siblings.jsonl"),
        (QWEN, "qwen-subagent.jsonl"),
    ] {
        let mut history = SessionHistory::default();
        let mut all = Vec::new();
        for time in 1..=3 {
            let mut stream = stream(tool);
            let mut rows = Vec::new();
            for line in data(name).split(|b| *b == b'\n') {
                let was_known = stream.session().is_some();
                rows.extend(stream.line(line));
                if !was_known && stream.session().is_some() {
                    rows.retain(|row| matches!(row, StreamRow::Task(_)));
                    rows.extend(stream.set_history(history.clone()));
                }
                history.recordings.extend(stream.take_recording());
            }
            rows.extend(stream.end(StreamEnd::Eof, 7));
            let usage: Vec<NewTelemetry> = rows
                .into_iter()
                .filter_map(|row| match row {
                    StreamRow::Usage(usage) => Some(*usage),
                    StreamRow::Task(_) => None,
                })
                .collect();
            let last = usage.last().unwrap();
            history.totals = Usage {
                turns: last.turns.unwrap(),
                tokens_in: last.tokens_in.unwrap(),
                tokens_out: last.tokens_out.unwrap(),
                tokens_cached: last.tokens_cached.unwrap(),
                cost: last.cost,
                duration_sec: last.duration_sec.unwrap(),
            };
            assert_eq!(history.recordings.len(), 1, "{name}, time {time}");
            all.push(totals(&usage));
        }
        assert_eq!(all[0], all[1], "{name}");
        assert_eq!(all[1], all[2], "{name}");
        assert!(all[0].1 > Some(0), "{name}");
    }
}

#[test]
fn stream_of_a_session_that_hooks_have_counted_adds_nothing() {
    for (tool, name, priced) in [(CLAUDE, "claude-woken.jsonl", Some(0.1)), (CODEX, "codex.jsonl", None)] {
        for (tokens, expected_cost) in [(1_000_000, None), (100, priced)] {
            let mut counted = stream(tool);
            drop(counted.set_history(SessionHistory {
                totals: Usage {
                    tokens_in: tokens,
                    tokens_out: 100,
                    ..Usage::default()
                },
                counted_by: CountedBy::Hooks,
                ..SessionHistory::default()
            }));
            let (_, usage) = feed(counted, &data(name), StreamEnd::Eof);
            let (_, alone) = parse(tool, &data(name), StreamEnd::Eof);
            let own = alone.last().unwrap().tokens_in.unwrap();
            let last = usage.last().unwrap();
            assert_eq!(
                (last.tokens_in, last.cost),
                (Some(own.max(tokens)), expected_cost),
                "{name}"
            );
        }
    }
}

#[test]
fn recorded_output_begins_with_the_first_line_that_is_understood() {
    let spec = CODEX.stream.as_ref().unwrap();
    let mut stream = Stream::new(CODEX, spec, StreamSource::Input, TaskInfo::default());
    assert_eq!(stream.begin(), []);
    assert_eq!(stream.line(b"a warning"), []);
    assert!(stream.unknown_content().is_some());
    let rows = stream.line(br#"{"type":"thread.started","thread_id":"t"}"#);
    assert_eq!(rows.len(), 2);
    assert_eq!(stream.unknown_content(), None);

    let mut unknown = Stream::new(CODEX, spec, StreamSource::Input, TaskInfo::default());
    unknown.begin();
    unknown.line(br#"{"timestamp":"2026","type":"event_msg","payload":{}}"#);
    assert_eq!(unknown.end(StreamEnd::Eof, 1), []);
    // A line of the tool's own record is not one of its stream.
    let mut claude = Stream::new(
        CLAUDE,
        CLAUDE.stream.as_ref().unwrap(),
        StreamSource::Input,
        TaskInfo::default(),
    );
    claude.line(br#"{"type":"assistant","sessionId":"s","message":{"id":"a","content":[]}}"#);
    assert!(claude.unknown_content().is_some());
}

/// Returns a line of Qwen Code with one block of a message.
fn qwen_block(id: &str, block: &str, tokens: i64) -> String {
    format!(
        r#"{{"type":"assistant","session_id":"s","parent_tool_use_id":null,"message":{{"id":"{id}","model":"m","content":[{block}],"usage":{{"input_tokens":{tokens},"output_tokens":{tokens},"cache_read_input_tokens":{tokens}}}}}}}"#
    )
}

#[test]
fn qwen_lines_up_to_the_one_with_tokens_are_one_turn() {
    let text = |id: &str, tokens| qwen_block(id, r#"{"type":"text","text":"x"}"#, tokens);
    let call = |id: &str, tokens| qwen_block(id, r#"{"type":"tool_use","id":"c","name":"n","input":{}}"#, tokens);
    let result = r#"{"type":"user","session_id":"s","message":{"content":[{"type":"tool_result","tool_use_id":"c","is_error":true,"content":"no"}]}}"#;
    let turns = |lines: &[String]| {
        let (tasks, usage) = parse(QWEN, lines.join("\n").as_bytes(), StreamEnd::Eof);
        let ends = of(&tasks, &Kind::TURN_END)
            .iter()
            .map(|row| row.tokens_in)
            .collect::<Vec<_>>();
        let last = usage.last().cloned().unwrap();
        assert_eq!(last.tokens_cached, last.tokens_in, "cached tokens are input tokens");
        (ends, last.tokens_in)
    };
    let answer = [text("a", 0), call("b", 100), result.to_owned(), text("c", 200)];
    assert_eq!(turns(&answer), (vec![100, 200], Some(300)));
    // A hook has kept the session from stopping.
    assert_eq!(turns(&[text("a", 100), text("b", 200)]), (vec![100, 200], Some(300)));
    // A provider that reports no tokens.
    let answer = [text("a", 0), call("b", 0), result.to_owned(), text("c", 0)];
    assert_eq!(turns(&answer), (vec![0, 0], Some(0)));
}

#[test]
fn qwen_error_is_stored_once_and_a_retry_is_a_remark() {
    let (tasks, _) = parse(QWEN, &data("qwen-error.jsonl"), StreamEnd::Exit(1));
    assert_eq!(errors(&tasks), ["[API Error: 400 status 400 of the script]"]);
    assert_eq!((texts(&tasks), last_status(&tasks)), (vec![], "failed"));
    let (tasks, usage) = parse(QWEN, &data("qwen-retry.jsonl"), StreamEnd::Exit(0));
    assert_eq!(texts(&tasks), ["I was cut", "Here I am."]);
    assert_eq!(remarks(&tasks), ["retries the request"; 2]);
    assert_eq!((errors(&tasks), last_status(&tasks)), (vec![], "completed"));
    assert_eq!(totals(&usage), (Some(1), Some(1000), Some(50), None));
}

#[test]
fn qwen_result_counts_subagents() {
    let (tasks, usage) = parse(QWEN, &data("qwen-subagent.jsonl"), StreamEnd::Exit(0));
    assert_eq!(totals(&usage), (Some(2), Some(4000), Some(200), None));
    let calls = of(&tasks, &Kind::TOOL_USE);
    let parents: Vec<&str> = calls.iter().map(|row| row.parent_call_id.as_str()).collect();
    assert_eq!(parents, ["", "call_00000004"]);
    // The lines of subagents have no tokens.
    let whole = data("qwen-subagent.jsonl");
    let cut: Vec<&[u8]> = whole.split(|b| *b == b'\n').take(8).collect();
    let (_, usage) = parse(QWEN, &cut.join(&b'\n'), StreamEnd::Signal(9));
    assert_eq!(usage.last().unwrap().tokens_in, Some(2000));
}
