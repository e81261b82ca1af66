"""Headless runs, recorded by `agenthub run`."""

import os
import signal

from processes import check, equal, of_home, parents, until
from scenarios import scenario
from scripts import Gate, Usage, cut, error, hub, say, shell, use


@scenario()
def records_turns_and_tools(lab):
    lab.init()
    lab.model.answers(
        say("I look around.", shell("echo one"), shell("echo two >&2; exit 3"), thought="What is here?"),
        use(hub("list_agents"), usage=Usage(fresh=700, cached=900, written=35)),
        say("All is well."),
    )
    run = lab.record("Look around")
    equal(run.code, 0, "exit code")
    equal(lab.hub.status("t"), "completed", "status")
    equal([text for text, *_ in lab.hub.events("text", "t")], ["I look around.", "All is well."], "texts")
    used, results = lab.hub.events("tool_use", "t"), lab.hub.events("tool_result", "t")
    equal((len(used), len(results)), (3, 3), "tool calls and results")
    outputs = sorted(output.strip() or failed for _, name, output, failed in results if "agenthub" not in name)
    check(outputs[0] == "one" or outputs[1] == "one", lambda: f"results: {results}")
    check(any("two" in output for output in outputs), lambda: f"results: {results}")
    equal(_errors(lab), [], "errors")
    _figures_agree(lab, run)


# Gemini CLI does not say that a command has failed.
@scenario("claude", "codex", "opencode", "qwen", "copilot", "kimi")
def marks_a_failed_tool(lab):
    lab.model.answers(use(shell("echo two >&2; exit 3")), say("It failed."))
    lab.record("Try it")
    failures = [failed for *_, failed in lab.hub.events("tool_result", "t")]
    equal(["3" in failed for failed in failures], [True], f"failed tools {failures}")
    equal(lab.hub.status("t"), "completed", "status")


@scenario()
def goes_on_after_a_rate_limit(lab):
    lab.model.answers(error(429, retry_after=1), say("Here I am."))
    _succeeds(lab, "Here I am.")


@scenario()
def goes_on_after_a_server_error(lab):
    lab.model.answers(error(500), say("Here I am."))
    _succeeds(lab, "Here I am.")


@scenario("claude", "codex", "opencode", "qwen", "copilot", "kimi")
def goes_on_after_overload(lab):
    lab.model.answers(error(529), say("Here I am."))
    _succeeds(lab, "Here I am.")


@scenario()
def goes_on_after_a_cut_stream(lab):
    lab.model.answers(cut("I was cut"), say("Here I am."))
    _succeeds(lab, "Here I am.")


@scenario()
def fails_with_a_refused_request(lab):
    lab.model.answers(*[error(400)] * 9)
    run = lab.record("Go")
    check(run.code != 0, "the program reports success")
    equal(lab.hub.status("t"), "failed", "status")
    check(any("400" in failed for failed in _errors(lab)), lambda: f"errors: {_errors(lab)}")


@scenario()
def resumes(lab):
    lab.model.answers(say("First answer."), say("Second answer."))
    first = lab.record("One", task="first")
    before = len(lab.model.requests)
    second = lab.record("Two", task="second", resume=lab.program.session(first.lines()))
    check(lab.model.has_read("First answer."), "the resumed session does not know the first answer")
    equal([lab.hub.status(task) for task in ("first", "second")], ["completed"] * 2, "status")
    equal(lab.hub.value("SELECT count(*) FROM agents"), 1, "agents")
    if not lab.program.has_tokens_of_turns:
        return _figures_agree(lab, second)
    # Each answer has used 1,000 tokens. Codex reports those of all runs of the session.
    sent = 1000 * (len(lab.model.requests) - before)
    equal(lab.hub.value(_SUM_OF_TURNS, "second"), sent, f"tokens of the second task ({second.out[-300:]})")


@scenario("claude", "codex", "opencode", "qwen")
def forks(lab):
    lab.model.answers(say("First answer."), say("Second answer."))
    first = lab.record("One", task="first")
    lab.record("Two", task="second", fork=lab.program.session(first.lines()))
    check(lab.model.has_read("First answer."), "the fork does not know the first answer")
    equal([lab.hub.status(task) for task in ("first", "second")], ["completed"] * 2, "status")
    equal(lab.hub.value("SELECT count(DISTINCT agent_id) FROM task_stream"), 2, "agents")


@scenario()
def fails_when_killed(lab):
    gate = Gate()
    lab.model.answers(say("Too late.", gate=gate))
    running = lab.begin_recording("Wait")
    until("a request", gate.reached.is_set)
    child = until("the program", lambda: _children(lab, running.popen.pid))[0]
    if lab.program.has_launcher:
        child = until("the program", lambda: _children(lab, child))[0]
    os.kill(child, signal.SIGKILL)
    code, *_ = running.wait()
    gate.open()
    equal(code, 128 + signal.SIGKILL, "exit code")
    equal(lab.hub.status("t"), "failed", "status")
    equal(lab.hub.rows("SELECT id FROM agents WHERE status = 'running'"), [], "running agents")


_SUM_OF_TURNS = "SELECT sum(tokens_in) FROM task_stream WHERE task_id = ? AND stream_type = 'turn_end'"


def _succeeds(lab, text):
    run = lab.record("Go")
    equal(run.code, 0, f"exit code ({run.err[-500:]})")
    equal(lab.hub.status("t"), "completed", "status")
    texts = "".join(row[0] for row in lab.hub.events("text", "t"))
    check(texts.endswith(text), f"texts: {texts}")
    _figures_agree(lab, run)


def _figures_agree(lab, run):
    session = lab.program.session(run.lines())
    equal(lab.hub.totals(session), lab.program.figures(run.lines()), "tokens sent, cached, written")


def _errors(lab):
    """Returns the errors of the task, without Codex's remark on the flag that the lab uses."""
    return [row[3] for row in lab.hub.events("error", "t") if "bypass-hook-trust" not in row[3]]


def _children(lab, parent):
    return [pid for pid in of_home(lab.home) if next(parents(pid), 0) == parent]
