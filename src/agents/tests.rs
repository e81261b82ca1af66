//! The streams of every vendor, as their field lists have them, and as they should not be.

mod cut;

use proptest::prelude::*;

use super::*;
use crate::protocol::TaskStreamEventType as Kind;

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/streams/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn stream(vendor: Vendor) -> Stream {
    Stream::new(
        vendor,
        About {
            task_id: "t".into(),
            ..About::default()
        },
    )
}

fn told(vendor: Vendor, bytes: &[u8], ended: Ended) -> (Vec<NewTask>, Vec<NewTelemetry>) {
    tell(stream(vendor), bytes, ended)
}

fn tell(mut stream: Stream, bytes: &[u8], ended: Ended) -> (Vec<NewTask>, Vec<NewTelemetry>) {
    let mut rows = stream.begin();
    for line in bytes.split(|b| *b == b'\n') {
        rows.extend(stream.line(line));
    }
    rows.extend(stream.end(ended, 7));
    let (mut tasks, mut usage) = (Vec::new(), Vec::new());
    for row in rows {
        match row {
            Row::Task(task) => tasks.push(*task),
            Row::Usage(used) => usage.push(*used),
        }
    }
    (tasks, usage)
}

fn kinds(tasks: &[NewTask]) -> String {
    let kinds: Vec<&str> = tasks.iter().map(|t| t.stream_type.as_str()).collect();
    kinds.join(" ")
}

fn of<'a>(tasks: &'a [NewTask], kind: &Kind) -> Vec<&'a NewTask> {
    tasks.iter().filter(|t| t.stream_type == *kind).collect()
}

fn last_status(tasks: &[NewTask]) -> &str {
    &of(tasks, &Kind::STATUS).last().unwrap().status
}

#[test]
fn claude_is_told_whole() {
    let (tasks, usage) = told(Vendor::Claude, &data("claude.jsonl"), Ended::Exit(0));
    assert_eq!(
        kinds(&tasks),
        "status status turn_start text tool_use tool_use text tool_use tool_result tool_result tool_result error \
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
    // Every turn's use adds up to the whole, subagents included.
    let ends = of(&tasks, &Kind::TURN_END);
    assert_eq!((ends[0].tokens_in, ends[0].tokens_out), (1210, 4));
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
fn claudes_totals_replace_and_survive_a_clear() {
    let result = |tokens: i64, cost: f64| {
        format!(
            "{{\"type\":\"assistant\",\"message\":{{\"id\":\"m{tokens}\",\"content\":[]}}}}\n\
             {{\"type\":\"result\",\"subtype\":\"success\",\"duration_ms\":1000,\"total_cost_usd\":{cost},\
             \"modelUsage\":{{\"m\":{{\"inputTokens\":{tokens},\"outputTokens\":1}}}}}}\n"
        )
    };
    let init = "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}\n";
    let text = format!("{init}{}{}{}", result(100, 0.5), result(150, 0.75), result(30, 0.25));
    let (tasks, usage) = told(Vendor::Claude, text.as_bytes(), Ended::Exit(0));
    let ends: Vec<i64> = of(&tasks, &Kind::TURN_END).iter().map(|t| t.tokens_in).collect();
    assert_eq!(ends, [100, 50, 30]);
    let last = usage.last().unwrap();
    assert_eq!(
        (last.tokens_in, last.cost, last.duration_sec),
        (Some(180), Some(1.0), Some(3))
    );
}

#[test]
fn claudes_results_without_a_cost_go_on_from_the_last() {
    let result = |tokens: i64, cost: &str| {
        format!(
            "{{\"type\":\"result\",\"subtype\":\"success\",{cost}\"modelUsage\":{{\"m\":{{\"inputTokens\":{tokens}}}}}}}\n"
        )
    };
    let init = "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}\n";
    let text = [init, &result(1000, "\"total_cost_usd\":0.5,"), &result(1200, "")].concat();
    let (_, usage) = told(Vendor::Claude, text.as_bytes(), Ended::Exit(0));
    let last = usage.last().unwrap();
    assert_eq!((last.tokens_in, last.cost), (Some(1200), Some(0.5)));
    let text = format!("{text}{}", result(1300, "\"total_cost_usd\":0.75,"));
    let (_, usage) = told(Vendor::Claude, text.as_bytes(), Ended::Exit(0));
    let last = usage.last().unwrap();
    assert_eq!((last.tokens_in, last.cost), (Some(1300), Some(0.75)));
}

#[test]
fn codex_counts_the_thread_and_rows_count_the_turn() {
    let (tasks, usage) = told(Vendor::Codex, &data("codex.jsonl"), Ended::Exit(0));
    assert_eq!(
        kinds(&tasks),
        "status status turn_start tool_use tool_use tool_result status tool_result tool_use tool_result status error \
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
fn a_resumed_codex_thread_goes_on_from_where_it_was() {
    let mut resumed = stream(Vendor::Codex);
    drop(resumed.earlier(Usage {
        turns: 3,
        tokens_in: 24_000,
        tokens_out: 100,
        tokens_cached: 20_000,
        ..Usage::default()
    }));
    let (tasks, usage) = tell(resumed, &data("codex.jsonl"), Ended::Exit(0));
    assert_eq!(of(&tasks, &Kind::TURN_END)[0].tokens_in, 763);
    let last = usage.last().unwrap();
    assert_eq!((last.turns, last.tokens_in), (Some(5), Some(30_000)));
}

/// Without it a total without a name would leave more cached tokens than there are tokens.
#[test]
fn cached_tokens_are_a_part_of_those_in_whatever_a_stream_says() {
    let stream = br#"{"type":"thread.started","thread_id":"s"}
{"type":"turn.started"}
{"type":"turn.completed","usage":{"input_token":300,"cached_input_tokens":200,"output_tokens":1}}"#;
    let (_, usage) = told(Vendor::Codex, stream, Ended::Exit(0));
    let last = usage.last().unwrap();
    assert_eq!(
        (last.tokens_in, last.tokens_cached, last.tokens_out),
        (Some(0), Some(0), Some(1))
    );
}

/// Without it a result without its numbers would look like a count that began anew, and what
/// comes after it would be counted twice.
#[test]
fn no_total_shrinks_whatever_a_stream_says() {
    let stream = br#"{"type":"thread.started","thread_id":"s"}
{"type":"turn.started"}
{"type":"turn.completed","usage":{"input_tokens":300,"output_tokens":1}}
{"type":"turn.started"}
{"type":"turn.completed","usage":{"input_token":400,"output_tokens":2}}
{"type":"turn.started"}
{"type":"turn.completed","usage":{"input_tokens":500,"output_tokens":3}}"#;
    let (_, usage) = told(Vendor::Codex, stream, Ended::Exit(0));
    let tokens_in: Vec<_> = usage.iter().filter_map(|row| row.tokens_in).collect();
    assert!(tokens_in.is_sorted(), "{tokens_in:?}");
    assert_eq!(tokens_in.last(), Some(&500));
}

#[test]
fn gemini_is_put_together_again() {
    let (tasks, usage) = told(Vendor::Gemini, &data("gemini.jsonl"), Ended::Exit(0));
    assert_eq!(
        kinds(&tasks),
        "status status status turn_start text tool_use tool_use tool_result tool_result error turn_end turn_start text \
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
    let (tasks, _) = told(Vendor::Gemini, &data("gemini-error.jsonl"), Ended::Exit(53));
    assert_eq!(of(&tasks, &Kind::TEXT)[0].text, "half a sen");
    assert_eq!(of(&tasks, &Kind::ERROR)[0].error_msg, "turn limit reached");
    assert_eq!(last_status(&tasks), "failed");
}

#[test]
fn cursor_is_told_without_tokens() {
    let (tasks, usage) = told(Vendor::Cursor, &data("cursor.jsonl"), Ended::Exit(0));
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
fn what_the_vendor_calls_a_failure_is_one() {
    for (vendor, name, why) in [
        (
            Vendor::Claude,
            "claude-error.jsonl",
            "Reached maximum number of turns (1)",
        ),
        (Vendor::Codex, "codex-failed.jsonl", "usage limit reached"),
    ] {
        let (tasks, usage) = told(vendor, &data(name), Ended::Exit(1));
        assert_eq!(of(&tasks, &Kind::ERROR).last().unwrap().error_msg, why);
        assert_eq!(last_status(&tasks), "failed");
        assert_eq!(usage.last().unwrap().status.as_deref(), Some("error"));
    }
}

#[test]
fn every_way_to_end_ends_the_task() {
    for (name, vendor) in [
        ("codex-truncated.jsonl", Vendor::Codex),
        ("claude-broken.jsonl", Vendor::Claude),
        ("codex-broken.jsonl", Vendor::Codex),
        ("gemini-broken.jsonl", Vendor::Gemini),
        ("cursor-broken.jsonl", Vendor::Cursor),
    ] {
        for (ended, why) in [
            (Ended::Exit(0), "it ended before its result"),
            (Ended::Exit(143), "it exited with code 143"),
            (Ended::Signal(9), "signal 9 ended it"),
            (Ended::Cut, "the stream ended before its result"),
        ] {
            let (tasks, _) = told(vendor, &data(name), ended);
            assert_eq!(of(&tasks, &Kind::ERROR).last().unwrap().error_msg, why);
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
    // Success, and then a failing exit all the same.
    let (tasks, _) = told(Vendor::Claude, &data("claude.jsonl"), Ended::Exit(2));
    assert_eq!(last_status(&tasks), "failed");
    // A program that prints no stream is judged by its exit code.
    let (tasks, _) = told(Vendor::Claude, b"plain text\n", Ended::Exit(0));
    assert_eq!(last_status(&tasks), "completed");
}

#[test]
fn broken_lines_take_nothing_of_the_others_with_them() {
    let (tasks, usage) = told(Vendor::Claude, &data("claude-broken.jsonl"), Ended::Cut);
    assert!(of(&tasks, &Kind::TEXT).iter().any(|t| t.text == "Still here."));
    assert!(
        of(&tasks, &Kind::TOOL_RESULT)
            .iter()
            .any(|t| t.tool_output == "a result without a call")
    );
    let last = usage.last().unwrap();
    assert_eq!((last.tokens_out, last.cost), (Some(0), None));
    for (name, vendor) in [
        ("codex-broken.jsonl", Vendor::Codex),
        ("gemini-broken.jsonl", Vendor::Gemini),
        ("cursor-broken.jsonl", Vendor::Cursor),
    ] {
        let (tasks, usage) = told(vendor, &data(name), Ended::Cut);
        assert!(
            of(&tasks, &Kind::TEXT).iter().any(|t| t.text == "Still here."),
            "{name}"
        );
        assert!(
            of(&tasks, &Kind::TOOL_RESULT).iter().any(|t| t.call_id == "nobody"),
            "{name}"
        );
        assert!(tasks.iter().any(|t| t.agent_id.ends_with("-broken-s")), "{name}");
        assert_eq!(usage.last().unwrap().tokens_out, Some(0), "{name}");
    }
}

/// Whole lines of any vendor's streams, some of them with a byte that is another.
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
    fn whatever_comes_the_task_ends_and_its_turns_do(text in mixed(), vendor in 0..4usize, ended in 0..4usize) {
        let vendor = [Vendor::Claude, Vendor::Codex, Vendor::Gemini, Vendor::Cursor][vendor];
        let ended = [Ended::Exit(0), Ended::Exit(1), Ended::Signal(2), Ended::Cut][ended];
        let (tasks, usage) = told(vendor, &text, ended);
        let last = last_status(&tasks);
        prop_assert!(last == "failed" || last == "completed" && matches!(ended, Ended::Exit(0) | Ended::Cut), "{}", last);
        prop_assert_eq!(of(&tasks, &Kind::TURN_START).len(), of(&tasks, &Kind::TURN_END).len());
        for call in of(&tasks, &Kind::TOOL_USE) {
            let answered = of(&tasks, &Kind::TOOL_RESULT).iter().any(|t| t.call_id == call.call_id);
            prop_assert!(answered, "{:?}", call);
        }
        for used in usage {
            let numbers = [used.turns, used.tokens_in, used.tokens_out, used.tokens_cached];
            prop_assert!(used.tokens_cached <= used.tokens_in, "{:?}", used);
            prop_assert!(numbers.iter().flatten().all(|n| *n >= 0), "{:?}", used);
        }
    }
}

#[test]
fn every_prefix_of_every_stream_is_survived() {
    for (name, vendor) in [
        ("claude.jsonl", Vendor::Claude),
        ("codex.jsonl", Vendor::Codex),
        ("gemini.jsonl", Vendor::Gemini),
        ("cursor.jsonl", Vendor::Cursor),
    ] {
        let whole = data(name);
        for end in (0..whole.len()).step_by(37) {
            let (tasks, _) = told(vendor, &whole[..end], Ended::Cut);
            assert_ne!(last_status(&tasks), "running", "{name} cut at {end}");
        }
        // Fed to somebody else's parser, a stream is of unknown types.
        for other in [Vendor::Claude, Vendor::Codex, Vendor::Gemini, Vendor::Cursor] {
            told(other, &whole, Ended::Signal(15));
        }
    }
}

#[test]
fn a_line_of_ten_megabytes_becomes_a_row_that_fits() {
    let long = "y".repeat(10 << 20);
    let text = format!(
        "{{\"type\":\"item.completed\",\"item\":{{\"id\":\"i\",\"type\":\"agent_message\",\"text\":\"{long}\"}}}}\n"
    );
    let mut found = Vec::new();
    let mut lines = lines::Lines::default();
    for chunk in text.as_bytes().chunks(65_536) {
        lines.feed(chunk, |line| found.push(line));
    }
    assert_eq!(found.len(), 1);
    let (tasks, _) = told(Vendor::Codex, &found[0], Ended::Cut);
    let text = &of(&tasks, &Kind::TEXT)[0].text;
    assert!(text.len() < task::MAX_TEXT + 64 && text.ends_with("(cut: 10485760 bytes in all)"));
}

#[test]
fn lines_are_cut_where_they_were_written() {
    let mut lines = lines::Lines::default();
    let mut found = Vec::new();
    for chunk in [&b"on"[..], b"e\ntwo\n\nth", b"ree"] {
        lines.feed(chunk, |line| found.push(String::from_utf8(line).unwrap()));
    }
    assert_eq!(found, ["one", "two"]);
    assert_eq!(lines.finish().unwrap(), b"three");
    assert_eq!(lines.finish(), None);
}

#[test]
fn flags_are_added_once() {
    let flags = |vendor: Vendor, line: &str| {
        let given: Vec<String> = line.split(' ').map(str::to_owned).collect();
        vendor.flags(&given).map(|flags| flags.join(" "))
    };
    assert_eq!(
        flags(Vendor::Claude, "-p hi").unwrap(),
        "--output-format stream-json --verbose"
    );
    assert_eq!(
        flags(Vendor::Claude, "--verbose -p hi --output-format=stream-json").unwrap(),
        ""
    );
    assert_eq!(
        flags(Vendor::Claude, "-p hi --output-format stream-json").unwrap(),
        "--verbose"
    );
    assert!(flags(Vendor::Claude, "-p hi --output-format text").is_err());
    assert!(flags(Vendor::Claude, "hi").is_err());
    assert_eq!(
        flags(Vendor::Claude, "-cp hi").unwrap(),
        "--output-format stream-json --verbose"
    );
    assert!(flags(Vendor::Claude, "-c --model -opus").is_err());
    assert!(flags(Vendor::Claude, "-- -p").is_err());
    assert_eq!(flags(Vendor::Codex, "exec hi").unwrap(), "--json");
    assert_eq!(flags(Vendor::Codex, "exec --json hi").unwrap(), "");
    assert!(flags(Vendor::Codex, "hi").is_err());
    assert_eq!(flags(Vendor::Gemini, "-p hi").unwrap(), "--output-format stream-json");
    assert_eq!(flags(Vendor::Gemini, "--prompt=hi -o stream-json").unwrap(), "");
    assert_eq!(flags(Vendor::Cursor, "-p hi").unwrap(), "--output-format stream-json");
}
