"""OpenAI's Chat Completions API, as OpenCode, Qwen Code and Copilot CLI use it."""

import itertools
import json

from servers.base import StandIn, pieces

_ids = itertools.count(1)


class Chat(StandIn):
    """`shell_tool` and `hub_tool` are the vendor's names of the shell and of agenthub's tools; "{}" is the tool."""

    shell_tool, hub_tool = "bash", "agenthub_{}"
    shell_fields = {}  # further arguments of the shell

    def serves(self, path):
        return path.split("?")[0].endswith("/chat/completions")

    def is_side(self, path, body):
        return not body.get("tools")

    def answer(self, http, path, body, step):
        frame = {"id": f"chatcmpl-{next(_ids):08}", "created": 1, "model": body.get("model")}
        usage = {
            "prompt_tokens": step.usage.fresh + step.usage.cached,
            "completion_tokens": step.usage.written + step.usage.thought,
            "total_tokens": step.usage.fresh + step.usage.cached + step.usage.written + step.usage.thought,
            "prompt_tokens_details": {"cached_tokens": step.usage.cached},
            "completion_tokens_details": {"reasoning_tokens": step.usage.thought},
        }
        calls = [self.call(index, call) for index, call in enumerate(step.calls)]
        reason = "tool_calls" if calls else "stop"
        if not body.get("stream"):
            message = {"role": "assistant", "content": step.text or None, **({"tool_calls": calls} if calls else {})}
            choice = {"index": 0, "message": message, "finish_reason": reason}
            return http.send_json(200, {**frame, "object": "chat.completion", "choices": [choice], "usage": usage})

        def chunk(delta, finish=None, **more):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            http.send_event({**frame, "object": "chat.completion.chunk", "choices": [choice], **more})

        http.begin_events()
        chunk({"role": "assistant", "content": ""})
        if step.thought:
            chunk({"reasoning_content": step.thought})
        for part in pieces(step.text):
            chunk({"content": part})
        if step.is_cut:
            return None
        if step.pause:
            step.pause.wait()
        for call in calls:
            chunk({"tool_calls": [call]})
        chunk({}, reason)
        http.send_event({**frame, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        http.wfile.write(b"data: [DONE]\n\n")
        http.wfile.flush()
        return None

    def call(self, index, call):
        name, arguments = call.name, call.arguments
        if call.kind == "shell":
            name, arguments = self.shell_tool, {**arguments, **self.shell_fields}
        if call.kind == "hub":
            name = self.hub_tool.format(call.name)
        function = {"name": name, "arguments": json.dumps(arguments)}
        return {"index": index, "id": f"call_{next(_ids):08}", "type": "function", "function": function}


class OpenCodeChat(Chat):
    """As OpenCode uses it. Its shell requires a description."""

    shell_fields = {"description": "a command of the lab"}
