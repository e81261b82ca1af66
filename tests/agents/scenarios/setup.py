"""`agenthub init` in an empty home, as the program itself sees the result."""

import json
import subprocess

from processes import check, equal
from scenarios import scenario
from scripts import hub, say, use


@scenario()
def connects(lab):
    lab.init()
    if not lab.program.listing:
        lab.model.answers(use(hub("list_agents")), say("I have seen them."))
        lab.headless("Look at the agents")
        check(lab.model.has_read("active_seconds_ago"), "the MCP tool does not work")
        return
    listed = lab.command(lab.program.binary, *lab.program.listing)
    text = listed.out + listed.err
    is_connected = any(word in text for word in lab.program.connected)
    check("agenthub" in text and is_connected, lambda: f"not listed: {text}")
    # Looking at the list is no session.
    equal(lab.hub.rows("SELECT id FROM agents"), [], "agents after listing the servers")


@scenario("codex")
def lists_its_hooks(lab):
    lab.init()
    hooks = _app_server(lab, "hooks/list", {"cwds": [str(lab.work)]})["data"][0]
    equal((hooks["warnings"], hooks["errors"]), ([], []), "complaints about the hooks")
    commands = [hook["command"] for hook in hooks["hooks"] if "agenthub" in hook["command"]]
    check(len(commands) >= 6, f"hooks: {commands}")


@scenario()
def is_disconnected_again(lab):
    before = {path: path.read_text() for path in lab.home.glob(".*/*.*") if path.is_file()}
    lab.init()
    lab.hub.run("init", "--yes", "--undo")
    if lab.program.listing:
        listed = lab.command(lab.program.binary, *lab.program.listing)
        check("agenthub" not in listed.out + listed.err, lambda: f"still listed: {listed}")
    for path, text in before.items():
        if path.suffix == ".toml" and not lab.program.listing:
            equal(path.read_text(), text, path.name)
        if path.suffix == ".json" and "claude.json" not in path.name:
            equal(json.loads(path.read_text()), json.loads(text), path.name)


def _app_server(lab, method, params):
    """Returns the answer of a `codex app-server` on stdio."""
    server = subprocess.Popen(
        ["codex", "app-server"],
        cwd=lab.work,
        env=lab.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def call(number, method, params):
        server.stdin.write(json.dumps({"id": number, "method": method, "params": params}) + "\n")
        server.stdin.flush()
        for line in server.stdout:
            answer = json.loads(line)
            if answer.get("id") == number:
                return answer["result"]
        raise AssertionError(f"codex app-server ended without an answer to {method}")

    try:
        call(1, "initialize", {"clientInfo": {"name": "lab", "version": "0"}})
        server.stdin.write('{"method":"initialized"}\n')
        return call(2, method, params)
    finally:
        server.kill()
        server.wait()
