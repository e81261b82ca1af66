"""Two programs of different vendors that write to each other through a running hub."""

from lab import Lab
from processes import check, equal, until
from programs import ClaudeNow, Codex
from scenarios import scenario
from scripts import hub, say, use


@scenario("gemini", "codex", "qwen", "copilot", "kimi")
def writes_to_another_vendor(lab):
    """The other program is Claude Code."""
    lab.hub.serve()
    lab.init()
    with lab.beside(ClaudeNow) as other:
        lab.model.answers(
            use(hub("check_inbox", wait_seconds=50)),
            use(hub("reply", id="1", text="The answer is 42.")),
            use(hub("ask_human", question="May I go home?", wait_seconds=50)),
            say("I go home."),
        )
        other.model.answers(
            use(hub("send_message", to="second", text="What is the answer?")),
            use(hub("check_inbox", wait_seconds=50)),
            say("I know the answer."),
        )
        answering = lab.begin_recording("Answer", task="second", name="second")
        # A stream with calls that have ended does not show the one that waits: the model has asked for it.
        is_late = lab.program.tells_calls_late
        until("the tool to wait", lambda: lab.model.conversation() if is_late else _used(lab, "second", "check_inbox"))
        asking = other.begin_recording("Ask", task="first", name="first")
        question = until("the question", lambda: lab.hub.value(_MAIL, "%go home?%"))
        lab.hub.as_person("reply", str(question), "Yes, go.")
        equal([asking.wait()[0], answering.wait()[0]], [0, 0], "exit codes")
        check(lab.model.has_read("What is the answer?"), "the question did not arrive")
        check(other.model.has_read("The answer is 42."), "the answer did not arrive")
        check(lab.model.has_read("Yes, go."), "the person's answer did not arrive")
    for text in ("What is the answer?", "The answer is 42.", "Yes, go."):
        number = lab.hub.value(_MAIL, f"%{text}%")
        trace = lab.hub.run("trace", str(number))
        check("seen" in trace, lambda: f"trace of {text!r}: {trace}")


_MAIL = "SELECT n FROM inbox_messages WHERE payload LIKE ? ORDER BY n"


def _used(lab, task, tool):
    return any(tool in name for _, name, *_ in lab.hub.events("tool_use", task))
