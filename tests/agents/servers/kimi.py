"""The Chat Completions API with Kimi Code's names of tools."""

from servers.chat import Chat


class Kimi(Chat):
    shell_tool, hub_tool = "Bash", "mcp__agenthub__{}"
