"""The Chat Completions API with Qwen Code's names of tools."""

from dataclasses import replace

from scripts import Usage
from servers.chat import Chat

SUMMARY = "<state_snapshot>The user has greeted.</state_snapshot>"


class Qwen(Chat):
    shell_tool, hub_tool = "run_shell_command", "mcp__agenthub__{}"
    shell_fields = {"is_background": False}

    def is_side(self, path, body):
        return super().is_side(path, body) or self.is_summary(body)

    def answer(self, http, path, body, step):
        if self.is_summary(body):
            # A summary must be shorter than what it replaces.
            step = replace(step, text=SUMMARY, usage=Usage(fresh=1600))
        return super().answer(http, path, body, step)

    @staticmethod
    def is_summary(body):
        messages = body.get("messages") or [{}]
        return "<state_snapshot>" in str(messages[-1].get("content"))
