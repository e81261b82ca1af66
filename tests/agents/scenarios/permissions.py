"""What `agenthub init` allows: agenthub's tools and harmless commands run without a question, others do not."""

from processes import check, equal
from scenarios import scenario
from scripts import hub, say, shell, use


@scenario()
def allows_tools_and_harmless_commands_only(lab):
    lab.init()
    lab.model.answers(
        use(hub("list_agents")),
        use(shell("agenthub send human 'It is allowed.'")),
        use(shell("agenthub run --format codex-json -- touch made")),
        say("I have tried."),
    )
    lab.headless("Try it", is_trusted=False)
    check(lab.model.has_read("active_seconds_ago"), "the MCP tool was not allowed")
    mail = "SELECT payload FROM inbox_messages WHERE to_inbox = 'human'"
    equal(lab.hub.rows(mail), [("It is allowed.",)], "mail sent by a command")
    check(not (lab.work / "made").exists(), "a command that starts programs was allowed")
