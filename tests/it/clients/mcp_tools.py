"""Calls every tool of `agenthub mcp` with the official Python client. Arguments: the program, the database, the client's mode.

A second agent takes part through the command line. Failures are assertions; prints the protocol version at the end.
"""

import asyncio
import json
import os
import subprocess
import sys

from mcp import Client, StdioServerParameters

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import in_terminal

PROGRAM, FILE, MODE = sys.argv[1:4]
TOOLS = "ack_message ask_human check_inbox list_agents post_status read_thread reply search send_message".split()


def peer(name, *arguments):
    """Runs an agenthub command as the agent `name`; returns its output, parsed if it is JSON."""
    env = {**os.environ, "AGENTHUB_AGENT": name}
    done = subprocess.run([PROGRAM, "--db", FILE, *arguments], env=env, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


async def main():
    env = {**os.environ, "AGENTHUB_AGENT": "planner", "AGENTHUB_DB": FILE}
    async with Client(StdioServerParameters(command=PROGRAM, args=["mcp"], env=env), mode=MODE) as client:

        async def call(tool, **arguments):
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result
            assert json.loads(result.content[0].text) == result.structured_content
            return result.structured_content

        async def error_of(tool, **arguments):
            result = await client.call_tool(tool, arguments)
            assert result.is_error, result
            return result.content[0].text

        assert client.server_info.name == "agenthub", client.server_info
        assert '"planner"' in client.instructions
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == TOOLS
        for tool in tools:
            assert 50 < len(tool.description) < 600, tool.name
            assert tool.output_schema["type"] == "object" and tool.annotations.title, tool.name
            assert not {"as", "agent", "sender", "identity"} & set(tool.input_schema["properties"]), tool.name

        # A message to an unknown agent is refused, and the error suggests what to do.
        peer("reviewer", "inbox")
        text = await error_of("send_message", to="reviewr", text="ready")
        assert "did you mean" in text and "reviewer" in text and "list_agents" in text, text
        assert "thread_id" in await error_of("send_message", text="without a recipient")
        text = await error_of("send_message", to="reviewer", message="hello")
        assert "message" in text and "text is missing" in text, text
        assert "77" in await error_of("reply", id="77", text="?")

        # Send a message, receive the answer, reply.
        sent = await call("send_message", to="reviewer", text="ready\nfor review", idempotency_key="k1", priority="action")
        again = await call("send_message", to="reviewer", text="ready\nfor review", idempotency_key="k1", priority="action")
        assert sent == again and sent["to"] == ["reviewer"]
        got = peer("reviewer", "inbox", "--unread", "--json")
        assert [(m["from_agent"], m["title"], m["priority"]) for m in got] == [("planner", "ready", "action")]
        waiting = asyncio.create_task(call("check_inbox", wait_seconds=20))
        peer("reviewer", "reply", str(got[0]["n"]), "x" * 2500, "--json")
        inbox = await waiting
        assert inbox["you"] == "planner" and len(inbox["mail"]) == 1
        mail = inbox["mail"][0]
        assert (mail["from"], mail["kind"], mail["title"], mail["status"]) == ("reviewer", "response", "| Re: ready", "unread")
        assert mail["truncated"] and mail["text"] == "| " + "x" * 2000
        full = (await call("check_inbox", id=mail["id"]))["mail"][0]
        assert full["text"] == "| " + "x" * 2500 and not full["truncated"]
        answer = await call("reply", id=int(mail["id"]), text="thanks")
        assert answer["to"] == ["reviewer"]
        assert (await call("check_inbox"))["mail"] == []
        trace = peer("reviewer", "trace", mail["id"], "--json")
        assert [(r["reader"], r["state"], r["via"]) for r in trace["receipts"]] == [
            ("planner", "seen", "mcp"),
            ("planner", "acked", "mcp"),
        ]
        assert [m["payload"] for m in trace["answers"]] == ["thanks"]

        # Acknowledge a message; an unknown id is refused.
        peer("reviewer", "send", "planner", "for your information")
        mail = (await call("check_inbox", **{"from": "reviewer"}))["mail"]
        acked = await call("ack_message", ids=[mail[0]["id"], "nothing"])
        assert acked["acked"] == [mail[0]["id"]] and acked["refused"][0]["id"] in acked["refused"][0]["why"]

        # A shared inbox: another agent cannot claim a claimed message.
        peer("boss", "send", "jobs", "one", "--new")
        mine = (await call("check_inbox", inbox="jobs", claim_seconds=60))["mail"]
        assert [m["text"] for m in mine] == ["| one"]
        assert peer("other", "inbox", "jobs", "--claim", "--json") == []
        await call("ack_message", ids=[mine[0]["id"]])

        # Threads, status, agents, search.
        peer("reviewer", "post", "build", "the zebra build is green")
        posted = await call("send_message", thread_id="build", text="then I merge")
        assert posted["to"] == ["build"]
        thread = await call("read_thread", thread_id="build")
        assert [(m["seq"], m["from"]) for m in thread["messages"]] == [(1, "reviewer"), (2, "planner")]
        page = await call("read_thread", thread_id="build", limit=1)
        assert page["more"] == 2 and [m["seq"] for m in page["messages"]] == [2]
        assert "nowhere" in await error_of("read_thread", thread_id="nowhere")
        assert (await call("post_status", status="running", text="merging"))["task_id"] == "planner"
        agents = {a["name"]: a for a in (await call("list_agents"))["agents"]}
        assert agents["planner"]["status"] == "running" and agents["reviewer"]["unread"] == 1
        assert [a["name"] for a in (await call("list_agents", active_minutes=5))["agents"]]
        found = (await call("search", query="zebra build"))["hits"]
        assert [(h["place"], h["from"]) for h in found] == [("build", "reviewer")], found

        # A question to the human: first without an answer, then with one.
        asked = await call("ask_human", question="May I merge?", wait_seconds=0)
        assert not asked["answered"] and asked["id"] in asked["note"]
        waiting = asyncio.create_task(call("ask_human", id=asked["id"], wait_seconds=20))
        # A program that calls itself human is no answer; the person in a terminal is.
        peer("", "reply", asked["id"], "no, never", "--from", "human")
        code, shown = in_terminal.run([PROGRAM, "--db", FILE, "reply", asked["id"], "yes, do"])
        assert code == 0, shown
        answered = await waiting
        assert answered["answered"] and answered["answer"] == "yes, do"
        print(client.protocol_version)


asyncio.run(asyncio.wait_for(main(), 60))
