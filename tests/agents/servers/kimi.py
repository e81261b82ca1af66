"""The Chat Completions API with Kimi Code's names of tools."""

from servers.chat import Chat


class Kimi(Chat):
    shell_tool, hub_tool = "Bash", "mcp__agenthub__{}"

    def is_side(self, path, body):
        """A summary has the tools of the conversation."""
        messages = body.get("messages") or [{}]
        return super().is_side(path, body) or "Create a handoff summary" in str(messages[-1].get("content"))
