"""Anthropic's Messages API, as Claude Code uses it."""

import itertools
import json

from servers.base import StandIn, pieces

_ids = itertools.count(1)


class Anthropic(StandIn):
    def serves(self, path):
        return path.startswith("/v1/messages")

    def is_side(self, path, body):
        return "count_tokens" in path or not body.get("tools")

    def error_body(self, status):
        kinds = {400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}
        error = {"type": kinds.get(status, "not_found_error"), "message": f"status {status} of the script"}
        return {"type": "error", "error": error}

    def answer(self, http, path, body, step):
        if "count_tokens" in path:
            return http.send_json(200, {"input_tokens": 100})
        content = [*_blocks(step)]
        usage = {
            "input_tokens": step.usage.fresh,
            "cache_read_input_tokens": step.usage.cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": step.usage.written,
        }
        message = {
            "id": f"msg_{next(_ids):08}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model"),
            "content": content,
            "stop_reason": "tool_use" if step.calls else "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
        if not body.get("stream"):
            return http.send_json(200, message)

        def event(kind, **fields):
            http.send_event({"type": kind, **fields}, kind)

        http.begin_events()
        started = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        event("message_start", message=started)
        for index, block in enumerate(content):
            empty, deltas = _streamed(block)
            event("content_block_start", index=index, content_block=empty)
            for delta in deltas:
                event("content_block_delta", index=index, delta=delta)
            if step.is_cut:
                return None
            if step.pause and block["type"] == "text":
                step.pause.wait()
            event("content_block_stop", index=index)
        event("message_delta", delta={"stop_reason": message["stop_reason"], "stop_sequence": None}, usage=usage)
        event("message_stop")
        return None


def _blocks(step):
    if step.thought:
        yield {"type": "thinking", "thinking": step.thought, "signature": "c2ln"}
    if step.text:
        yield {"type": "text", "text": step.text}
    for call in step.calls:
        yield {"type": "tool_use", "id": f"toolu_{next(_ids):08}", "name": _name(call), "input": _input(call)}


def _name(call):
    return {"shell": "Bash", "hub": f"mcp__agenthub__{call.name}"}.get(call.kind, call.name)


def _input(call):
    return {**call.arguments, "description": "a step"} if call.kind == "shell" else call.arguments


def _streamed(block):
    """Returns the block as it begins, and the deltas that complete it."""
    if block["type"] == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in pieces(block["text"])]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": part} for part in pieces(block["thinking"])]
        return {**block, "thinking": "", "signature": ""}, [*deltas, {"type": "signature_delta", "signature": "c2ln"}]
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
