# The demo's builder: a shell with sqlite3. It builds in a loop, records each step, and sends mail to the coder when a build
# fails. Runs as long as the process $DEMO.
db() { sqlite3 -batch -cmd '.timeout 5000' "$AGENTHUB_DB" "$1" || :; }
n=$SEED
roll() { n=$(((n * 1103515245 + 12345) % 2147483648)) && r=$(((n / 65536) % $1)); }
step() { db "INSERT INTO task_stream(task_id, agent_id, workspace, turn_num, stream_type, $1) VALUES('build-$i', 'builder', '~/shop', 1, $2)"; }
pause() { roll 3 && sleep "0.$((r + 3))"; }

db "UPDATE agents SET label = 'builder (sh + sqlite3)' WHERE id = 'builder'"
i=100 tokens=0
while kill -0 "$DEMO" 2>/dev/null; do
    i=$((i + 1))
    step "status, directive" "'status', 'running', 'Build main and run the tests'"
    db "UPDATE agents SET status = 'running' WHERE id = 'builder'"
    step "text" "'text', 'Building commit $i of main.'"
    pause
    step "tool_name, tool_input, call_id" "'tool_use', 'shell', 'cargo build --locked', 'b$i'"
    pause
    step "tool_name, tool_output, call_id" "'tool_result', 'shell', 'Finished in 4.1 s', 'b$i'"
    step "tool_name, tool_input, call_id" "'tool_use', 'shell', 'cargo test', 't$i'"
    pause
    roll 4
    tokens=$((tokens + 1800 + r * 700))
    db "INSERT INTO telemetry(instance_id, agent_id, model, turns, tokens_in, tokens_out, cost, cost_source) \
        VALUES('builder-1', 'builder', 'small', $((i - 100)), $tokens, $((tokens / 9)), $tokens * 0.0000011, 'priced')"
    if [ "$r" -eq 0 ]; then
        step "tool_name, tool_output, call_id" "'tool_result', 'shell', 'test cart::rounding ... FAILED', 't$i'"
        step "error_msg" "'error', '1 of 212 tests failed: cart::rounding'"
        step "status" "'status', 'failed'"
        db "INSERT INTO messages(thread_id, from_id, kind, content) VALUES('build', 'builder', 'result', 'Build $i failed: cart::rounding')"
        db "INSERT INTO inbox_messages(from_agent, to_inbox, message_type, priority, title, payload) \
            VALUES('builder', 'coder', 'request', 'action', 'Build $i failed', 'cart::rounding fails: 0.1 + 0.2 is not 0.3. Please fix it.')"
    else
        step "tool_name, tool_output, call_id" "'tool_result', 'shell', '212 passed', 't$i'"
        step "status" "'status', 'completed'"
        db "INSERT INTO messages(thread_id, from_id, kind, content) VALUES('build', 'builder', 'result', 'Build $i passed, 212 tests')"
    fi
    db "UPDATE agents SET status = 'idle' WHERE id = 'builder'"
    pause
    pause
done
