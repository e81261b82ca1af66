# The demo's coder: a script that prints what Claude Code prints with `--output-format stream-json`, run by
# `agenthub run`. It starts with a task of its own, then fixes what the builder reports. It exits when the process $DEMO has exited.
# shellcheck disable=SC2016 # the inner shell expands it
fixture='
id=demo-$$ model=claude-demo
print() { printf "%s\n" "$1"; sleep 0.5; }
print "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"$id\",\"model\":\"$model\",\"cwd\":\"$PWD\",\"tools\":[\"Read\",\"Edit\",\"Bash\"]}"
print "{\"type\":\"assistant\",\"session_id\":\"$id\",\"message\":{\"id\":\"m1\",\"model\":\"$model\",\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"The rounding uses floats. Reading the cart first.\"}],\"usage\":{\"input_tokens\":1200,\"output_tokens\":40}}}"
print "{\"type\":\"assistant\",\"session_id\":\"$id\",\"message\":{\"id\":\"m2\",\"model\":\"$model\",\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"Read\",\"input\":{\"file_path\":\"src/cart.rs\"}}],\"usage\":{\"input_tokens\":1300,\"output_tokens\":30}}}"
print "{\"type\":\"user\",\"session_id\":\"$id\",\"message\":{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"fn total(items: &[Item]) -> f64 { … }\"}]}}"
print "{\"type\":\"assistant\",\"session_id\":\"$id\",\"message\":{\"id\":\"m3\",\"model\":\"$model\",\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"c2\",\"name\":\"Edit\",\"input\":{\"file_path\":\"src/cart.rs\",\"new_string\":\"fn total(items: &[Item]) -> Cents\"}}],\"usage\":{\"input_tokens\":1900,\"output_tokens\":90}}}"
print "{\"type\":\"user\",\"session_id\":\"$id\",\"message\":{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c2\",\"content\":\"done\"}]}}"
print "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"session_id\":\"$id\",\"num_turns\":3,\"duration_ms\":4000,\"total_cost_usd\":0.0231,\"result\":\"Prices are integer cents now.\",\"usage\":{\"input_tokens\":4400,\"output_tokens\":160}}"
'
# `agenthub run` takes the prompt from the arguments `claude -p PROMPT`.
work() { "$AGENTHUB" run --format claude-stream-json -- sh -c "$fixture" claude -p "$1" >/dev/null 2>&1; }
"$AGENTHUB" inbox >/dev/null 2>&1
work 'Check how the cart adds up its prices'
while kill -0 "$DEMO" 2>/dev/null; do
    mail=$("$AGENTHUB" inbox --claim --lease 60 --wait 1 --json 2>/dev/null) || continue
    id=$(printf '%s\n' "$mail" | sed -n 's/^{"n":\([0-9]*\),.*/\1/p')
    [ -n "$id" ] || continue
    work "Fix what request #$id reports"
    "$AGENTHUB" reply "$id" 'Fixed: prices are integer cents now.' >/dev/null
    "$AGENTHUB" post build "fixed what #$id reported" >/dev/null
done
