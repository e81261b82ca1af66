"""Whether streams and hook inputs still have the recorded form."""

import recordings
from processes import check
from scenarios import scenario
from scripts import hub, say, shell, use


@scenario()
def sends_the_recorded_fields(lab):
    lab.init()
    lab.record_hooks()
    stream = _headless(lab)
    _interactive(lab)
    hooks = lab.hook_inputs()
    seen = {
        "stream": recordings.shapes(stream.lines(), recordings.line_kind),
        "hooks": recordings.shapes(hooks, recordings.hook_kind),
    }
    if lab.options.record:
        recordings.save(lab.program, lab.home, stream.out, hooks)
        recordings.save_inventory(lab.program, seen)
    known = recordings.recorded().get(lab.program.id, {})
    missing = []
    for part in seen:
        for difference in recordings.differences(known.get(part, {}), seen[part]):
            lab.note(f"{part}: {difference}")
            missing += [difference] if difference.endswith("not seen") else []
    check(lab.options.compare or not missing, f"missing: {missing}")


def _headless(lab):
    lab.model.answers(
        say("I look around.", shell("echo one"), shell("echo two >&2; exit 3"), thought="What is here?"),
        use(hub("list_agents"), hub("read_thread", thread_id="nowhere")),
        say("All is well."),
    )
    return lab.record("Look around")


def _interactive(lab):
    session = lab.open()
    session.ask("Begin please", use(shell("echo one")), say("I have begun."))
    session.ask("Go on please", say("There is more."))
    session.compact()
    session.interrupt()
    session.leave()
