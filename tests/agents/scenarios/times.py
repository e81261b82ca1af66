"""How long hooks take, and what they add to a run. Printed, not judged."""

import statistics
import time

from processes import equal
from scenarios import scenario
from scripts import say, shell, use

STEPS = 10


@scenario()
def measures_hooks(lab):
    plain = _run(lab)
    lab.init()
    lab.record_hooks()
    with_hooks = _run(lab)
    times = sorted(lab.hook_times())
    if times:
        p95 = times[min(len(times) - 1, round(len(times) * 0.95))]
        lab.note(f"hook p50 {statistics.median(times):.0f} ms, p95 {p95:.0f} ms ({len(times)} calls)")
    lab.note(f"{STEPS} tool steps: {plain:.1f} s, with agenthub {with_hooks:.1f} s")


def _run(lab):
    lab.model.answers(*[use(shell(f"echo {step}")) for step in range(STEPS)], say("Done."))
    begun = time.monotonic()
    run = lab.headless("Work")
    equal(run.code, 0, f"exit code ({run.err[-500:]})")
    return time.monotonic() - begun
