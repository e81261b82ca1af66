"""Sessions of many steps."""

from processes import equal, until
from scenarios import scenario
from scenarios.tools import receipts_are_true
from scripts import Gate, say, shell, use

STEPS = 100
# The program waits for the answer with this step of ten, and mail arrives meanwhile.
HELD = 5


# Kimi Code takes no text from a hook after a tool.
@scenario("claude", "codex", "gemini", "opencode", "qwen", "copilot", is_long=True)
def gets_all_mail_in_a_hundred_steps(lab):
    lab.init()
    gates = {step: Gate() for step in range(HELD, STEPS, 10)}
    lab.model.answers(*[use(shell(f"echo {step}"), gate=gates.get(step)) for step in range(STEPS)], say("Done."))
    running = lab.begin_recording("Work", name="worker")
    sent = {}
    for step, gate in gates.items():
        until(f"step {step}", gate.reached.is_set)
        text = f"Mail at step {step}."
        sent[text] = lab.hub.send("worker", text)
        gate.open()
    equal(running.wait()[0], 0, "exit code")
    equal(len(lab.hub.events("tool_result", "t")), STEPS, "tool results")
    last = lab.model.conversation()[-1].text()
    equal([last.count(text) for text in sent], [1] * len(sent), "times that the model has each mail")
    equal(sorted(sent, key=last.index), list(sent), "order of the mail")
    equal([set(lab.hub.receipts(number)) for number in sent.values()], [{"offered", "seen"}] * len(sent), "receipts")
    receipts_are_true(lab)
