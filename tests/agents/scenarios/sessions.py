"""Interactive sessions in a terminal."""

import re

from processes import check, equal, until
from scenarios import scenario
from scenarios.tools import receipts_are_true
from scripts import Gate, error, hub, say, shell, use

_TOLD = re.compile(r"You are (\S+) on agenthub")


@scenario()
def greets_the_model(lab):
    lab.init()
    session = lab.open()
    session.ask("Begin please", use(hub("post_status", status="running", text="at work")), say("I have begun."))
    name = _greeting(lab)
    equal(_names(lab), [name], "agents")
    until("the end of the turn", lambda: _state(lab, name) != "running")


# Kimi Code takes no text from a hook after a tool.
@scenario("claude", "codex", "gemini", "opencode", "qwen", "copilot")
def hands_over_mail_during_a_turn(lab):
    lab.init()
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    name = _greeting(lab)
    first, last = Gate(), Gate()
    lab.model.answers(use(shell("echo one"), gate=first), say("I stop here.", gate=last), say("I have read it."))
    session.say("Work please", first.reached.is_set)
    during = lab.hub.send(name, "Mail during the turn.")
    first.open()
    until("the last request", last.reached.is_set)
    check(lab.model.has_read("Mail during the turn."), "the next request does not contain the mail")
    at_end = lab.hub.send(name, "Mail at the end.")
    last.open()
    session.terminal.wait_for("I have read it.")
    check(lab.model.has_read("Mail at the end."), "the model did not get the mail at the end of its turn")
    for number in (during, at_end):
        lab.hub.wait_for_receipt(number, "seen")
    receipts_are_true(lab)


@scenario("kimi")
def hands_over_mail_at_the_end_of_a_turn(lab):
    """It runs no hook at the end of a turn that a hook has continued."""
    lab.init()
    lab.hub.serve()
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    name = _greeting(lab)
    last = Gate()
    lab.model.answers(say("I stop here.", gate=last), use(shell("echo one")), say("I have read it."))
    session.say("Work please", last.reached.is_set)
    number = lab.hub.send(name, "Mail at the end.")
    last.open()
    session.terminal.wait_for("I have read it.")
    check(lab.model.has_read("Mail at the end."), "the model did not get the mail at the end of its turn")
    until("the end of the turn", lambda: _state(lab, name) != "running")
    equal(lab.hub.status(lab.hub.task()), "completed", "status")
    session.ask("Go on please", say("There is no more."))
    lab.hub.wait_for_receipt(number, "seen")
    receipts_are_true(lab)


@scenario()
def keeps_one_name_after_clear(lab):
    lab.init()
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    session.clear()
    _tools_and_hooks_have_one_name(lab, session, "Again please")


@scenario()
def keeps_its_name_when_continued(lab):
    lab.init()
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    name = _greeting(lab)
    session.leave()
    session = lab.open(continues=True)
    equal(_tools_and_hooks_have_one_name(lab, session, "Go on please"), name, "name")


@scenario()
def knows_its_name_after_compaction(lab):
    lab.init()
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    session.ask("Go on please", say("There is more."))
    name = _greeting(lab)
    session.compact()
    session.ask("And now please", say("I know all that matters."))
    equal(_greeting(lab, lab.model.conversation()[-1:]), name, "name in the request after the compaction")


@scenario()
def is_idle_after_an_interruption(lab):
    lab.init()
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    name = _greeting(lab)
    session.interrupt()
    lab.hub.serve()
    until("the agent to be idle", lambda: _state(lab, name) != "running")


# Qwen Code runs two hooks at the same time.
@scenario("qwen")
def tells_failed_turns_from_interruptions(lab):
    lab.init()
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    name = _greeting(lab)
    for number in range(4):
        lab.model.answers(error(400))
        session.say(f"Fail {number} please", lambda: not lab.model.steps)
        until("the agent to be idle", lambda: _state(lab, name) != "running")
    failures = [failed for *_, failed in lab.hub.events("error", lab.hub.task())]
    equal(["400" in failed for failed in failures], [True] * 4, f"errors {failures}")


@scenario("codex")
def tells_sessions_of_one_daemon_apart(lab):
    lab.init()
    lab.program.daemon = ()
    for name in ("one", "two"):
        sends = use(hub("send_message", to="human", text=f"Mail of session {name}."))
        lab.open().ask(f"Begin {name} please", sends, say(f"Session {name} has begun."))
    senders = {sender for (sender,) in lab.hub.rows("SELECT from_agent FROM inbox_messages")}
    told = set(_TOLD.findall("".join(request.text() for request in lab.model.conversation())))
    equal((len(told), senders), (2, told), "names that the models were told, and senders")


@scenario()
def ends_with_its_program(lab):
    lab.init()
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    name = _greeting(lab)
    session.leave()
    _has_ended(lab, name)


@scenario()
def ends_with_its_terminal(lab):
    lab.init()
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    name = _greeting(lab)
    session.terminal.close()
    session.terminal.wait_for_exit()
    _has_ended(lab, name)


def _greeting(lab, requests=None):
    """Returns the name that the model was told last."""
    told = _TOLD.findall("".join(request.text() for request in requests or lab.model.conversation()))
    check(told, "the model was not told its name")
    return told[-1]


def _names(lab):
    """Returns the agents of the program's sessions."""
    sql = "SELECT id FROM agents WHERE id NOT IN ('tester', 'human') AND status <> 'gone'"
    return [name for (name,) in lab.hub.rows(sql)]


def _state(lab, name):
    return lab.hub.value("SELECT status FROM agents WHERE id = ?", name)


def _tools_and_hooks_have_one_name(lab, session, prompt):
    """The name in the greeting is the one that the tools use, and its mail is delivered. Returns the name."""
    session.ask(prompt, use(hub("send_message", to="human", text=prompt)), say("I have sent it."))
    name = _greeting(lab)
    equal(lab.hub.value("SELECT from_agent FROM inbox_messages WHERE payload = ?", prompt), name, "the tool's sender")
    lab.hub.send(name, f"Mail for {name}.")
    session.ask("Look for mail please", say("I look for mail."))
    check(lab.model.has_read(f"Mail for {name}."), "the mail did not reach the model")
    return name


def _has_ended(lab, name):
    """A running hub knows that the session has ended, and no process of agenthub is left."""
    until("the MCP server to end", lambda: not lab.processes_of("agenthub", "mcp"))
    lab.hub.serve()
    ended = "SELECT count(*) > 0 AND count(*) = count(ended_at) FROM sessions WHERE agent = ?"
    until("the end of the session", lambda: lab.hub.value(ended, name))
    check(_state(lab, name) != "running", "the agent still runs")
