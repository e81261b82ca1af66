"""Mail that wakes idle sessions."""

import time

from processes import check, equal, until
from scenarios import scenario
from scenarios.tools import receipts_are_true
from scripts import say

# The tools that can be woken.
WAKEABLE = ("claude", "codex", "qwen")
_PROMPT = "You have mail on agenthub."


@scenario(*WAKEABLE)
def wakes_an_idle_session(lab):
    session, name = _idle_session(lab)
    lab.model.answers(say("I have read my mail."))
    before = len(lab.model.conversation())
    begun = time.time()
    number = lab.hub.send(name, "Mail that wakes.", priority="action")
    until("the model to get the mail", lambda: lab.model.has_read("Mail that wakes."))
    lab.note(f"woken after {lab.model.conversation()[before].at - begun:.2f} s")
    session.terminal.wait_for("I have read my mail.")
    lab.hub.wait_for_receipt(number, "seen")
    receipts_are_true(lab)
    equal(_wakes(lab), [("woken", number)], "wakes")
    check("woken" in lab.hub.run("trace", str(number)), "trace does not tell of the wake")
    requests = lab.model.conversation()[before:]
    equal(len(requests), 1, "requests of the model")
    check(_PROMPT in requests[0].text(), "the prompt is another one")


def _idle_session(lab):
    """Opens a session whose agent may be woken, and that waits for a prompt. Returns it and the agent's name."""
    lab.init()
    lab.hub.as_person("wake", "important")
    lab.hub.serve()
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    name = lab.hub.agent()
    until("the session to be idle", lambda: _status(lab, name) == "idle")
    return session, name


def _status(lab, name):
    return lab.hub.value("SELECT status FROM agents WHERE id = ?", name)


def _wakes(lab):
    return lab.hub.rows("SELECT state, mail FROM wakes ORDER BY n")
