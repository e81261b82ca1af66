"""The nine MCP tools, called through the program; and whether receipts say what reached the model."""

import json

from processes import check, equal, until
from scenarios import scenario
from scripts import hub, say, use

TOOLS = {
    "ack_message",
    "ask_human",
    "check_inbox",
    "list_agents",
    "post_status",
    "read_thread",
    "reply",
    "search",
    "send_message",
}


@scenario()
def calls_all_nine_tools(lab):
    lab.init()
    known = lab.hub.send("worker", "Which branch is it?")
    lab.model.answers(
        use(hub("list_agents"), hub("send_message", to="tester", text="I begin.")),
        use(hub("send_message", thread_id="build", text="The build is green.")),
        use(hub("read_thread", thread_id="build"), hub("search", query="green")),
        use(hub("post_status", status="running", text="under way"), hub("reply", id=str(known), text="It is main.")),
        use(hub("check_inbox", wait_seconds=50)),
        use(hub("ack_message", ids=[str(known)])),
        use(hub("ask_human", question="May I push?", wait_seconds=50)),
        say("All nine were called."),
    )
    running = lab.begin_recording("Use all tools", name="worker")
    # A stream with calls that have ended does not show the one that waits: the model has asked for it.
    def waits():
        return len(lab.model.conversation()) > 4 if lab.program.tells_calls_late else _used(lab, "check_inbox")

    until("the tool to wait for mail", waits)
    late = lab.hub.send("worker", "Mail that was awaited.")
    question = until("the question", lambda: lab.hub.value("SELECT n FROM inbox_messages WHERE payload LIKE '%May I push?%'"))
    lab.hub.as_person("reply", str(question), "Yes, push it.")
    equal(running.wait()[0], 0, "exit code")
    results = {row[1].rpartition("agenthub_")[2].lstrip("_"): row[3] for row in lab.hub.events("tool_result", "t")}
    equal({name: failed for name, failed in results.items() if name in TOOLS}, dict.fromkeys(TOOLS, ""), "errors of the tools")
    for text in ("Mail that was awaited.", "Yes, push it.", "The build is green."):
        check(lab.model.has_read(text), f"the model did not get: {text}")
    check("seen" in lab.hub.receipts(late), lambda: f"receipts: {lab.hub.receipts(late)}")
    receipts_are_true(lab)


@scenario()
def hands_over_mail_in_a_headless_run(lab):
    lab.init()
    number = lab.hub.send("worker", "Mail from before the start.")
    lab.model.answers(use(hub("list_agents")), say("I have read it."))
    equal(lab.record("Begin", name="worker").code, 0, "exit code")
    check(lab.model.has_read("Mail from before the start."), "the model did not get the mail")
    equal(set(lab.hub.receipts(number)), {"offered", "seen"}, "receipts")
    receipts_are_true(lab)


def receipts_are_true(lab):
    """Mail that counts as offered was in a request, and mail that counts as seen was in one before that time."""
    sql = """SELECT payload, state, via, receipts.created_at FROM receipts JOIN inbox_messages USING (message_id)
             WHERE reader NOT IN ('human', 'tester')"""
    for text, state, via, at in lab.hub.rows(sql):
        part = json.dumps(text, ensure_ascii=False)[1:-1]
        reads = [request.at for request in lab.model.conversation() if part in request.text()]
        check(reads, f"{state}, but not in a request: {text}")
        # A tool's result counts as seen when the program has it; its next request contains it.
        is_early = state == "seen" and via != "mcp" and reads[0] * 1000 > at + 1
        check(not is_early, f"{state} by {via} before the request: {text}")


def _used(lab, tool):
    return any(tool in name for _, name, *_ in lab.hub.events("tool_use", "t"))
