# The demo's analyst: Python with its sqlite3 module. It adds up the cost of all agents, posts the total to the thread
# `costs`, and answers its mail. Runs as long as the process $DEMO.
import os
import random
import sqlite3
import time

demo, chance = int(os.environ["DEMO"]), random.Random(int(os.environ["SEED"]))
db = sqlite3.connect(os.environ["AGENTHUB_DB"], timeout=5, isolation_level=None)


def alive():
    try:
        os.kill(demo, 0)
        return True
    except OSError:
        return False


def record(stream_type, **fields):
    fields = {"task_id": "watch-costs", "agent_id": "analyst", "workspace": "~/ledger", "stream_type": stream_type, **fields}
    db.execute(f"INSERT INTO task_stream({', '.join(fields)}) VALUES({', '.join('?' * len(fields))})", list(fields.values()))


record("status", status="running", directive="Monitor the cost of all agents")
db.execute("UPDATE agents SET label = 'analyst (Python)', status = 'running', workspace = '~/ledger' WHERE id = 'analyst'")
reported, used, turn = 0.0, 0, 0
while alive():
    turn += 1
    record("turn_start", turn_num=turn)
    record("tool_use", turn_num=turn, tool_name="sql", tool_input="SELECT sum(cost) FROM telemetry …", call_id=f"q{turn}")
    (total,) = db.execute(
        "SELECT coalesce(sum(c), 0) FROM (SELECT max(cost) AS c FROM telemetry GROUP BY instance_id)"
    ).fetchone()
    record("tool_result", turn_num=turn, tool_name="sql", tool_output=f"{total:.4f}", call_id=f"q{turn}")
    used += chance.randrange(900, 2400)
    db.execute(
        "INSERT INTO telemetry(instance_id, agent_id, model, turns, tokens_in, tokens_out, tokens_cached, cost, cost_source)"
        " VALUES('analyst-1', 'analyst', 'middle', ?, ?, ?, ?, ?, 'reported')",
        (turn, used, used // 7, used // 2, used * 2.4e-6),
    )
    if total - reported > 0.02:
        reported = total
        db.execute(
            "INSERT INTO messages(thread_id, from_id, kind, content) VALUES('costs', 'analyst', 'status', ?)",
            (f"Total cost of all agents: ${total:.2f}",),
        )
    for n, sender, correlation, message_id in db.execute(
        "SELECT n, from_agent, correlation_id, message_id FROM inbox_messages WHERE to_inbox = 'analyst' AND status = 'unread'"
    ).fetchall():
        db.execute(
            "INSERT INTO inbox_messages(from_agent, to_inbox, message_type, correlation_id, title, payload)"
            " VALUES('analyst', ?, 'response', ?, 'Cost report', ?)",
            (sender, correlation or message_id, f"${total:.2f} so far; at this rate ${total * 12:.2f} an hour."),
        )
        db.execute("UPDATE inbox_messages SET status = 'read', read_at = ? WHERE n = ?", (int(time.time() * 1000), n))
    record("turn_end", turn_num=turn)
    time.sleep(chance.uniform(1.0, 2.0))
