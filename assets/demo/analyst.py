# The demo's analyst: Python with its sqlite3 module, without dependencies. It adds up the costs of all agents, posts the
# total to the thread `costs`, and replies to its mail. It exits when the process $DEMO has exited.
import os
import random
import sqlite3
import time

demo_pid, rng = int(os.environ["DEMO"]), random.Random(int(os.environ["SEED"]))
db = sqlite3.connect(os.environ["AGENTHUB_DB"], timeout=5, isolation_level=None)


def demo_is_running():
    try:
        os.kill(demo_pid, 0)
        return True
    except OSError:
        return False


def write_step(stream_type, **fields):
    fields = {"task_id": "watch-costs", "agent_id": "analyst", "workspace": "~/ledger", "stream_type": stream_type, **fields}
    db.execute(f"INSERT INTO task_stream({', '.join(fields)}) VALUES({', '.join('?' * len(fields))})", list(fields.values()))


write_step("status", status="running", directive="Track what all agents spend")
db.execute("UPDATE agents SET label = 'analyst (Python)', status = 'running', workspace = '~/ledger' WHERE id = 'analyst'")
posted_total, tokens_used, turn = 0.0, 0, 0
while demo_is_running():
    turn += 1
    write_step("turn_start", turn_num=turn)
    write_step("tool_use", turn_num=turn, tool_name="sql", tool_input="SELECT sum(cost) FROM telemetry …", call_id=f"q{turn}")
    (total,) = db.execute(
        "SELECT coalesce(sum(c), 0) FROM (SELECT max(cost) AS c FROM telemetry GROUP BY instance_id)"
    ).fetchone()
    write_step("tool_result", turn_num=turn, tool_name="sql", tool_output=f"{total:.4f}", call_id=f"q{turn}")
    tokens_used += rng.randrange(900, 2400)
    db.execute(
        "INSERT INTO telemetry(instance_id, agent_id, model, turns, tokens_in, tokens_out, tokens_cached, cost, cost_source)"
        " VALUES('analyst-1', 'analyst', 'middle', ?, ?, ?, ?, ?, 'reported')",
        (turn, tokens_used, tokens_used // 7, tokens_used // 2, tokens_used * 2.4e-6),
    )
    if total - posted_total > 0.02:
        posted_total = total
        db.execute(
            "INSERT INTO messages(thread_id, from_id, kind, content) VALUES('costs', 'analyst', 'status', ?)",
            (f"All agents so far: ${total:.2f}",),
        )
    for n, sender, correlation, message_id in db.execute(
        "SELECT n, from_agent, correlation_id, message_id FROM inbox_messages WHERE to_inbox = 'analyst' AND status = 'unread'"
    ).fetchall():
        db.execute(
            "INSERT INTO inbox_messages(from_agent, to_inbox, message_type, correlation_id, title, payload)"
            " VALUES('analyst', ?, 'response', ?, 'Costs so far', ?)",
            (sender, correlation or message_id, f"${total:.2f} so far; at this rate ${total * 12:.2f} an hour."),
        )
        db.execute("UPDATE inbox_messages SET status = 'read', read_at = ? WHERE n = ?", (int(time.time() * 1000), n))
    write_step("turn_end", turn_num=turn)
    time.sleep(rng.uniform(1.0, 2.0))
