"""Mail that wakes idle sessions."""

import os
import re
import statistics
import threading
import time

from processes import check, equal, until
from programs import ClaudeNow
from scenarios import scenario
from scenarios.tools import receipts_are_true
from scripts import Gate, hub, say, shell, use
from terminal import ENTER

# The tools that can be woken. What the hub decides without the tool's part is played with a few of them.
WAKEABLE = ("claude", "codex", "copilot", "opencode", "qwen")
_PROMPT = "You have mail on agenthub."
# Seconds in which a running hub has looked at new mail, and at agents that it looks at again.
_LOOKS = 4
MIN_PAUSE, MAX_AN_HOUR, MAX_IN_CHAIN = 30, 6, 3


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


@scenario("codex")
def wakes_a_session_of_the_daemon(lab):
    """Codex starts it by default, for all sessions."""
    lab.program.daemon = ()
    wakes_an_idle_session(lab)


@scenario("copilot")
def says_what_a_session_lacks_to_be_woken(lab):
    lab.program.features = ()
    session, name = _idle_session(lab)
    shown = lab.hub.run("wake")
    check("--experimental" in shown, lambda: f"agenthub wake: {shown}")
    lab.hub.send(name, "Mail that waits.", priority="action")
    equal(_wakes(lab), [], "wakes")
    session.ask("Look for mail please", say("I look for mail."))
    check(lab.model.has_read("Mail that waits."), "the mail did not reach the model")


@scenario(*WAKEABLE)
def wakes_without_a_hub(lab):
    """The command that sends the mail wakes the session."""
    session, name = _idle_session(lab, serves=False)
    lab.model.answers(say("I have read my mail."))
    number = lab.hub.send(name, "Mail without a hub.", priority="action")
    session.terminal.wait_for("I have read my mail.")
    check(lab.model.has_read("Mail without a hub."), "the model did not get the mail")
    until("the wake to have ended", lambda: _wakes(lab) == [("woken", number)])


@scenario(*WAKEABLE)
def keeps_half_typed_text_when_woken(lab):
    session, name = _idle_session(lab)
    session.terminal.type("Half a thought")
    session.terminal.wait_for("Half a thought")
    lab.model.answers(say("I have read my mail."))
    lab.hub.send(name, "Mail that wakes.", priority="action")
    session.terminal.wait_for("I have read my mail.")
    _is_idle(lab, name)
    check(session.terminal.shown(["Half a thought"]), "the typed text is gone")
    check(not lab.model.has_read("Half a thought"), "the typed text was sent")
    lab.model.answers(say("I have read it all."))
    session.terminal.type(" and its end")
    session.terminal.wait_for("Half a thought and its end")
    session.terminal.press(ENTER, lambda: session.terminal.shown(["I have read it all."]))
    check(lab.model.has_read("Half a thought and its end"), "the typed text is not what was sent")


@scenario("claude")
def wakes_for_an_answer_but_not_for_news(lab):
    session, name = _idle_session(lab)
    news = lab.hub.send(name, "News that can wait.")
    _sleeps_on(lab, news, "only mail with priority action or urgent")
    session.ask("Ask me please", use(hub("ask_human", question="May I push?", wait_seconds=0)), say("I have asked."))
    _is_idle(lab, name)
    lab.model.answers(say("I have the answer."))
    question = lab.hub.value("SELECT n FROM inbox_messages WHERE payload LIKE '%May I push?%'")
    lab.hub.as_person("reply", str(question), "Yes, push it.")
    session.terminal.wait_for("I have the answer.")
    check(lab.model.has_read("Yes, push it."), "the model did not get the answer")
    equal(len(_wakes(lab)), 1, "wakes")
    _is_idle(lab, name)
    soon = lab.hub.send(name, "Mail in the pause.", priority="urgent")
    _sleeps_on(lab, soon, "it was woken less than 30 seconds ago")
    lab.hub.as_person("wake", "off", name)
    _sleeps_on(lab, soon, "waking is off for this agent")
    lab.hub.run("wake", "off")
    _sleeps_on(lab, soon, "waking is off; agenthub wake important")
    equal(len(_wakes(lab)), 1, "wakes")


@scenario("codex")
def does_not_wake_a_session_that_asks_nothing(lab):
    config = lab.home / ".codex/config.toml"
    config.write_text(config.read_text().replace('"on-request"', '"never"'))
    session, name = _idle_session(lab)
    number = lab.hub.send(name, "Mail from an agent.", priority="urgent")
    _sleeps_on(lab, number, "its session asks before no command")
    lab.model.answers(say("I have read my mail."))
    lab.hub.as_person("send", name, "Mail from the person.", "--priority", "action")
    session.terminal.wait_for("I have read my mail.")
    check(lab.model.has_read("Mail from the person."), "the model did not get the mail")


@scenario("gemini", "kimi")
def says_that_a_tool_cannot_be_woken(lab):
    _, name = _idle_session(lab)
    number = lab.hub.send(name, "Mail that waits.", priority="action")
    _sleeps_on(lab, number, f"{lab.program.name} takes no prompt from outside")


@scenario("claude", "opencode")
def does_not_wake_a_session_that_works(lab):
    session, name = _idle_session(lab)
    works = Gate()
    before = len(lab.model.conversation())
    lab.model.answers(use(hub("list_agents"), gate=works), say("The work is done."))
    session.say("Work please", works.reached.is_set)
    number = lab.hub.send(name, "Mail during work.", priority="action")
    _sleeps_on(lab, number, "its session works and gets the mail with its next step")
    works.open()
    session.terminal.wait_for("The work is done.")
    check(lab.model.has_read("Mail during work."), "the model did not get the mail with its next step")
    _is_idle(lab, name)
    _stays_asleep(lab)
    equal((len(lab.model.conversation()) - before, _wakes(lab)), (2, []), "requests, wakes")


@scenario("claude", "qwen")
def does_not_wake_a_closed_session(lab):
    session, name = _idle_session(lab)
    session.leave()
    number = lab.hub.send(name, "Mail for nobody.", priority="action")
    _sleeps_on(lab, number, "no session of it is open")
    equal(_wakes(lab), [], "wakes")


# OpenCode and Copilot CLI begin the new session with its first prompt.
@scenario("claude", "codex", "qwen")
def wakes_the_session_after_a_clear_once(lab):
    session, name = _idle_session(lab)
    session.clear()
    if lab.program.tool == "codex":  # It has no session before the first prompt.
        session.ask("Begin again please", say("I have begun again."))
    # Mail that comes before that is shown as the session begins.
    begun = "SELECT count(*), count(ended_at) FROM sessions"
    until("the new session", lambda: lab.hub.rows(begun) in ([(2, 1)], [(2, 0)]))
    _is_idle(lab, name)
    before = len(lab.model.conversation())
    lab.model.answers(say("I have read my mail."))
    number = lab.hub.send(name, "Mail after the clear.", priority="action")
    session.terminal.wait_for("I have read my mail.")
    _is_idle(lab, name)
    _stays_asleep(lab)
    requests = lab.model.conversation()[before:]
    equal((len(requests), _wakes(lab)), (1, [("woken", number)]), "requests, wakes")
    check("Begin please" not in requests[0].text(), "the session before the clear was woken")


@scenario("claude")
def wakes_a_session_before_its_first_prompt(lab):
    """By the person only: Claude Code has not named its permission mode then. Codex has no session then."""
    _allow(lab)
    session = lab.open()
    name = lab.hub.agent()
    number = lab.hub.send(name, "Mail of an agent.", priority="action")
    _sleeps_on(lab, number, "its permission mode is not known before its first prompt")
    lab.model.answers(say("I have read my mail."))
    lab.hub.as_person("send", name, "Mail before all prompts.", "--priority", "action")
    session.terminal.wait_for("I have read my mail.")
    check(lab.model.has_read("Mail before all prompts."), "the model did not get the mail")
    equal([state for state, _ in _wakes(lab)], ["woken"], "wakes")


@scenario("claude")
def says_which_limit_is_reached(lab):
    """The earlier wakes are rows without turns."""
    _, name = _idle_session(lab)
    number = lab.hub.send(name, "Mail at the limit.")
    wakes = """INSERT INTO wakes(session, agent, mail, chain, state, at, ended_at)
               WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < {times})
               SELECT s.id, s.agent, 0, {chain}, 'woken', now, now FROM k, sessions s,
               (SELECT (unixepoch() - 60) * 1000 AS now) WHERE s.agent = '{name}'"""
    lab.hub.execute(wakes.format(times=MAX_IN_CHAIN, chain=number + 1, name=name))
    chained = lab.hub.send(name, "Mail in the chain.", priority="action")
    equal(chained, number + 1, "number of the mail")
    _sleeps_on(lab, chained, "it was woken 3 times in this chain of replies")
    lab.hub.execute(wakes.format(times=MAX_AN_HOUR - MAX_IN_CHAIN, chain=0, name=name))
    _sleeps_on(lab, chained, "it was woken 6 times in the last hour")


@scenario("claude", "codex")
def does_not_wake_a_killed_session(lab):
    session, name = _idle_session(lab)
    session.terminal.popen.kill()
    session.terminal.wait_for_exit()
    number = lab.hub.send(name, "Mail for nobody.", priority="action")
    _sleeps_on(lab, number, "no session of it is open")
    equal(_wakes(lab), [], "wakes")


@scenario("claude")
def does_not_wake_without_its_file(lab):
    _, name = _idle_session(lab)
    for file in lab.home.rglob("agenthub-wake"):
        file.unlink()
    number = lab.hub.send(name, "Mail that waits.", priority="action")
    _sleeps_on(lab, number, "its session has begun without waking")
    equal(_wakes(lab), [], "wakes")


@scenario("codex")
def says_that_the_program_is_not_found(lab):
    session, name = _idle_session(lab, serves=False)
    only = lab.home / "only-agenthub"
    only.mkdir()
    (only / "agenthub").symlink_to(lab.agenthub)
    lab.hub.environment["PATH"] = f"{only}:/usr/bin:/bin"
    lab.hub.serve()
    number = lab.hub.send(name, "Mail that waits.", priority="action")
    until("the wake to fail", lambda: _wakes(lab) == [("failed", number)])
    trace = lab.hub.run("trace", str(number))
    check("codex is not on the hub's PATH" in trace, lambda: f"trace: {trace}")
    session.ask("Look please", say("I have looked."))
    check(lab.model.has_read("Mail that waits."), "the next turn did not get the mail")


@scenario("claude", "copilot")
def bears_a_thousand_mails_at_once(lab):
    session, name = _idle_session(lab)
    many = f"""WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 1000)
               INSERT INTO inbox_messages(from_agent, to_inbox, title, payload, priority)
               SELECT 'bomber', '{name}', 'boom', 'Boom ' || i, 'urgent' FROM k"""
    lab.hub.execute(many)
    until("the session to be woken", lambda: [state for state, _ in _wakes(lab)] == ["woken"])
    until("the turn to end", lambda: _status(lab, name) == "idle")
    last = lab.hub.value("SELECT max(n) FROM inbox_messages")
    begun = time.monotonic()
    lab.hub.run("trace", str(last))
    seconds = time.monotonic() - begun
    check(seconds < 5, f"trace took {seconds:.1f} s")
    used = _cpu_seconds(lab.hub.serving.popen.pid)
    _stays_asleep(lab)
    used = _cpu_seconds(lab.hub.serving.popen.pid) - used
    lab.note(f"trace {seconds:.2f} s; CPU of the idle hub {used * 100 / _LOOKS:.1f} %")
    check(used < 0.2 * _LOOKS, f"the hub used {used:.2f} s of CPU in {_LOOKS} s")
    equal(len(_wakes(lab)), 1, "wakes")


@scenario(*WAKEABLE, is_long=True)
def loses_no_mail_while_the_hub_is_killed(lab):
    session, name = _idle_session(lab)
    lab.model.otherwise = _ReadsOn()
    begun = time.monotonic()

    def send(sender):
        more = ("--from", sender, "--new", "--priority", "action", "--title", "News")
        for i in range(25):
            lab.hub.run("send", name, f"Mail {i} of {sender}.", *more)
            time.sleep(2)

    senders = [threading.Thread(target=send, args=(f"sender-{i}",)) for i in range(4)]
    for sender in senders:
        sender.start()
    kills = 0
    while any(sender.is_alive() for sender in senders):
        time.sleep(3)
        lab.hub.serving.kill()
        kills += 1
        lab.hub.serve()
    for sender in senders:
        sender.join()
    texts = [f"Mail {i} of sender-{sender}." for sender in range(4) for i in range(25)]
    until("all mail to be read", lambda: all(lab.model.has_read(text) for text in texts), 240)
    _is_idle(lab, name)
    _stays_asleep(lab)
    last = lab.model.conversation()[-1].text()
    equal({text: last.count(text) for text in texts if last.count(text) != 1}, {}, "mail not read exactly once")
    rows = lab.hub.rows("SELECT state, mail, at FROM wakes ORDER BY n")
    woken = [(mail, at) for state, mail, at in rows if state == "woken"]
    lab.note(f"{kills} kills, {len(rows)} wakes in {time.monotonic() - begun:.0f} s, {len(woken)} turns")
    check(len(woken) <= MAX_AN_HOUR, lambda: f"too many wakes: {rows}")
    equal([mail for mail, _ in woken], sorted({mail for mail, _ in woken}), "mail that woke")
    pauses = [after - before for (_, before), (_, after) in zip(woken, woken[1:])]
    check(all(pause >= MIN_PAUSE * 1000 for pause in pauses), lambda: f"pauses: {pauses}")
    prompts = last.count(_PROMPT)
    equal(prompts, len(woken), "prompts of wakes in the conversation")
    receipts_are_true(lab)


@scenario("codex", is_long=True)
def two_idle_vendors_talk_until_the_limit(lab):
    """The other program is Claude Code. Only the first mail is from outside."""
    _, second = _idle_session(lab)
    with lab.beside(ClaudeNow) as other:
        session = other.open()
        session.ask("Begin please", say("I have begun."))
        sql = "SELECT id FROM agents WHERE id NOT IN ('human', 'tester', 'all', ?)"
        first = until("the other agent", lambda: lab.hub.value(sql, second))
        _is_idle(lab, first)
        turns = MAX_IN_CHAIN + 1
        for model, to, who in ((other.model, second, "one"), (lab.model, first, "two")):
            for i in range(turns):
                sends = hub("send_message", to=to, text=f"Word {i} of {who}.", priority="action")
                model.answers(use(sends), say(f"I have said word {i}."))
        lab.hub.send(first, "Say something to each other.", priority="action")
        last = f"Word {MAX_IN_CHAIN - 1} of two."
        until("the last word", lambda: lab.hub.value("SELECT n FROM inbox_messages WHERE payload = ?", last), 240)
        _is_idle(lab, first)
        number = lab.hub.value("SELECT n FROM inbox_messages WHERE payload = ?", last)
        until("the pause to end", lambda: "3 times in this chain" in lab.hub.run("trace", str(number)), 60)
        _stays_asleep(lab)
    wakes = lab.hub.rows("SELECT agent, state FROM wakes ORDER BY n")
    equal(wakes, [(first, "woken"), (second, "woken")] * MAX_IN_CHAIN, "wakes")


@scenario(*WAKEABLE)
def doctor_proves_that_mail_wakes(lab):
    session, name = _idle_session(lab, serves=False)
    lab.model.answers(say("There is nothing to do."))
    shown = lab.hub.as_person_who_agrees("doctor", "--wake")
    check("works; " + name in shown, lambda: f"doctor: {shown}")
    session.terminal.wait_for("There is nothing to do.")
    check(lab.model.has_read("agenthub doctor: test of waking; nothing to do"), "the model did not get the mail")
    _is_idle(lab, name)
    equal([state for state, _ in _wakes(lab)], ["woken"], "wakes")


@scenario(*WAKEABLE, is_long=True)
def measures_ten_wakes(lab):
    """The person asks for each: the limits do not apply."""
    session, name = _idle_session(lab)
    times = []
    for i in range(10):
        text = f"Mail {i} of ten."
        lab.hub.send(name, text)
        lab.model.answers(say(f"I have read mail {i}."))
        before = len(lab.model.conversation())
        lab.hub.as_person("wake", "now", name)
        session.terminal.wait_for(f"I have read mail {i}.")
        at = lab.hub.value("SELECT at FROM wakes ORDER BY n DESC LIMIT 1")
        times.append(lab.model.conversation()[before].at - at / 1000)
        check(lab.model.has_read(text), "the model did not get the mail")
        _is_idle(lab, name)
    equal([state for state, _ in _wakes(lab)], ["woken"] * 10, "wakes")
    lab.note(f"from the wake to the request: p50 {statistics.median(times):.2f} s, slowest {max(times):.2f} s")


class _ReadsOn:
    """A model that takes a further step each time that it is told of further mail: hooks hand over a few with each."""

    def __init__(self):
        self.told = 0

    def __call__(self, request):
        told = len(re.findall("[0-9]+ more messages? wait", request.text()))
        is_news, self.told = told > self.told, told
        return use(shell("true")) if is_news else say("ok")


def _idle_session(lab, serves=True):
    """Opens a session whose agent may be woken, and that waits for a prompt. Returns it and the agent's name."""
    _allow(lab, serves)
    session = lab.open()
    session.ask("Begin please", say("I have begun."))
    name = lab.hub.agent()
    _is_idle(lab, name)
    return session, name


def _allow(lab, serves=True):
    """Lets important mail wake the sessions that begin now."""
    lab.program.ask_first(lab.home)
    lab.init()
    lab.hub.as_person("wake", "important")
    if serves:
        lab.hub.serve()


def _is_idle(lab, name):
    until("the session to be idle", lambda: _status(lab, name) == "idle")


def _sleeps_on(lab, number, reason):
    """The trace of this mail gives the reason, and nothing is woken."""
    trace = lab.hub.run("trace", str(number))
    check(f"not woken: {reason}" in trace, lambda: f"trace: {trace}")
    _stays_asleep(lab)


def _stays_asleep(lab):
    """No request and no wake comes while the hub has time to look at the mail."""
    before = (len(lab.model.conversation()), _wakes(lab))
    end = time.monotonic() + _LOOKS
    while time.monotonic() < end:
        equal((len(lab.model.conversation()), _wakes(lab)), before, "requests, wakes")
        time.sleep(0.1)


def _status(lab, name):
    return lab.hub.value("SELECT status FROM agents WHERE id = ?", name)


def _wakes(lab):
    return lab.hub.rows("SELECT state, mail FROM wakes ORDER BY n")


def _cpu_seconds(pid):
    """Returns the processor time that a process has used. Only Linux can tell."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
