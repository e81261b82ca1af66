"""OpenAI's Chat Completions API, as Copilot CLI uses it with a provider of the user's own."""

from servers.chat import Chat


class CopilotChat(Chat):
    shell_tool, hub_tool = "bash", "agenthub-{}"
    shell_fields = {"description": "a step"}
