"""OpenAI's Responses API, as Codex uses it."""

import itertools
import json

from servers.base import StandIn, pieces

_ids = itertools.count(1)


class OpenAi(StandIn):
    def serves(self, path):
        return path.split("?")[0].endswith("/responses")

    def is_side(self, path, body):
        # A title has a JSON schema, a turn has none.
        return not body.get("tools") or "format" in body.get("text", {})

    def answer(self, http, path, body, step):
        answer = {"id": f"resp_{next(_ids):08}", "object": "response", "status": "in_progress", "output": []}

        def event(kind, **fields):
            http.send_event({"type": kind, **fields}, kind)

        http.begin_events()
        event("response.created", response=answer)
        items = [*_items(step)]
        for index, item in enumerate(items):
            event("response.output_item.added", output_index=index, item=_begun(item))
            place = {"item_id": item["id"], "output_index": index}
            if item["type"] == "message":
                for part in pieces(item["content"][0]["text"]):
                    event("response.output_text.delta", **place, content_index=0, delta=part)
            if item["type"] == "reasoning":
                event("response.reasoning_summary_part.added", **place, summary_index=0)
                text = item["summary"][0]["text"]
                event("response.reasoning_summary_text.delta", **place, summary_index=0, delta=text)
            if step.is_cut:
                return
            if step.pause and item["type"] == "message":
                step.pause.wait()
            event("response.output_item.done", output_index=index, item=item)
        usage = {
            "input_tokens": step.usage.fresh + step.usage.cached,
            "input_tokens_details": {"cached_tokens": step.usage.cached},
            "output_tokens": step.usage.written + step.usage.thought,
            "output_tokens_details": {"reasoning_tokens": step.usage.thought},
            "total_tokens": step.usage.fresh + step.usage.cached + step.usage.written + step.usage.thought,
        }
        event("response.completed", response={**answer, "status": "completed", "output": items, "usage": usage})


def _items(step):
    if step.thought:
        summary = [{"type": "summary_text", "text": step.thought}]
        yield {"type": "reasoning", "id": f"rs_{next(_ids):08}", "summary": summary, "encrypted_content": "c2ln"}
    if step.text:
        content = [{"type": "output_text", "text": step.text, "annotations": []}]
        message = {"type": "message", "role": "assistant", "status": "completed", "content": content}
        yield {"id": f"msg_{next(_ids):08}", **message}
    for call in step.calls:
        ids = {"id": f"fc_{next(_ids):08}", "call_id": f"call_{next(_ids):08}"}
        yield {"type": "function_call", **ids, **_function(call), "status": "completed"}


def _function(call):
    if call.kind == "shell":
        return {"name": "exec_command", "arguments": json.dumps({"cmd": call.arguments["command"]})}
    arguments = json.dumps(call.arguments)
    if call.kind == "hub":
        return {"name": call.name, "namespace": "mcp__agenthub", "arguments": arguments}
    return {"name": call.name, "arguments": arguments}


def _begun(item):
    """Returns an item as it is before its first delta."""
    empty = {"message": {"content": [], "status": "in_progress"}, "reasoning": {"summary": []}}
    return {**item, **empty.get(item["type"], {"arguments": ""})}
