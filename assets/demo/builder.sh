# The demo's builder: a shell script that uses sqlite3. It builds in a loop, records its steps, and sends mail to the coder
# when a build fails. It exits when the process $DEMO has exited.
sql() { sqlite3 -batch -cmd '.timeout 5000' "$AGENTHUB_DB" "$1" || :; }
# Sets r to a random number from 0 to $1 - 1; the sequence depends on $SEED only.
n=$SEED
random() { n=$(((n * 1103515245 + 12345) % 2147483648)) && r=$(((n / 65536) % $1)); }
# Writes a row for the task of build $i: $1 are columns, $2 their values.
step() { sql "INSERT INTO task_stream(task_id, agent_id, workspace, turn_num, stream_type, $1) VALUES('build-$i', 'builder', '~/shop', 1, $2)"; }
pause() { random 3 && sleep "0.$((r + 3))"; }

sql "UPDATE agents SET label = 'builder (sh + sqlite3)' WHERE id = 'builder'"
i=100 tokens=0
while kill -0 "$DEMO" 2>/dev/null; do
    i=$((i + 1))
    step "status, directive" "'status', 'running', 'Build main and run the tests'"
    sql "UPDATE agents SET status = 'running' WHERE id = 'builder'"
    step "text" "'text', 'Building commit $i of main.'"
    pause
    step "tool_name, tool_input, call_id" "'tool_use', 'shell', 'cargo build --locked', 'b$i'"
    pause
    step "tool_name, tool_output, call_id" "'tool_result', 'shell', 'Finished in 4.1 s', 'b$i'"
    step "tool_name, tool_input, call_id" "'tool_use', 'shell', 'cargo test', 't$i'"
    pause
    random 4
    tokens=$((tokens + 1800 + r * 700))
    sql "INSERT INTO telemetry(instance_id, agent_id, model, turns, tokens_in, tokens_out, cost, cost_source) \
        VALUES('builder-1', 'builder', 'small', $((i - 100)), $tokens, $((tokens / 9)), $tokens * 0.0000011, 'priced')"
    if [ "$r" -eq 0 ]; then
        step "tool_name, tool_output, call_id" "'tool_result', 'shell', 'test cart::rounding ... FAILED', 't$i'"
        step "error_msg" "'error', '1 of 212 tests failed: cart::rounding'"
        step "status" "'status', 'failed'"
        sql "INSERT INTO messages(thread_id, from_id, kind, content) VALUES('build', 'builder', 'result', 'build $i failed: cart::rounding')"
        sql "INSERT INTO inbox_messages(from_agent, to_inbox, message_type, priority, title, payload) \
            VALUES('builder', 'coder', 'request', 'action', 'build $i failed', 'cart::rounding fails: 0.1 + 0.2 is not 0.3. Please fix it.')"
    else
        step "tool_name, tool_output, call_id" "'tool_result', 'shell', '212 passed', 't$i'"
        step "status" "'status', 'completed'"
        sql "INSERT INTO messages(thread_id, from_id, kind, content) VALUES('build', 'builder', 'result', 'build $i passed, 212 tests')"
    fi
    sql "UPDATE agents SET status = 'idle' WHERE id = 'builder'"
    pause
    pause
done
