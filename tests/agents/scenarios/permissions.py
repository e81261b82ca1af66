"""What `agenthub init` allows: agenthub's tools and harmless commands run without a question, others do not."""

from processes import check, equal
from scenarios import scenario
from scripts import hub, say, shell, use

# Each would leave a trace: a file, the end of the connection, or a text that reaches the model.
REFUSED = (
    "agenthub run --format codex-json -- touch made",
    "agenthub backup made",
    "agenthub init --undo --yes",
    "agenthub token",
    "agenthub serve --help",
)


# OpenCode asks only if the person's settings say so, and its rules for commands would allow any redirection.
@scenario("claude", "codex", "gemini")
def allows_tools_and_harmless_commands_only(lab):
    lab.init()
    lab.model.answers(
        use(hub("list_agents")),
        use(shell("agenthub send human 'It is allowed.'")),
        *[use(shell(command)) for command in REFUSED],
        say("I have tried."),
    )
    lab.headless("Try it", is_trusted=False)
    check(lab.model.has_read("active_seconds_ago"), "the MCP tool was not allowed")
    mail = "SELECT payload FROM inbox_messages WHERE to_inbox = 'human'"
    sent = [("It is allowed.",)] if lab.program.allows_commands else []
    equal(lab.hub.rows(mail), sent, "mail sent by a command")
    check(not (lab.work / "made").exists(), "a command that starts programs or writes files was allowed")
    check("nothing to change" in lab.init(), "a command that changes settings was allowed")
    if lab.program.tool != "codex":  # it runs what is not allowed in a sandbox that can read
        token = lab.hub.run("token").strip()
        for text in (token, "Usage: agenthub serve"):
            check(not lab.model.has_read(text), f"a command was allowed that prints {text!r}")
