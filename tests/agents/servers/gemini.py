"""The Gemini API (generateContent and its stream), as Gemini CLI uses it."""

from servers.base import StandIn, pieces

# Asked before and after turns: which model is to answer, and who speaks next.
_SIDE_ANSWER = (
    '{"reasoning": "none", "next_speaker": "user", "model_choice": "flash", "complexity_score": 1, '
    '"complexity_reasoning": "none"}'
)
_STATUS = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}


class Gemini(StandIn):
    def serves(self, path):
        return path.startswith("/v1beta/models/")

    def is_side(self, path, body):
        return "countTokens" in path or not body.get("tools")

    def error_body(self, status):
        message = f"status {status} of the script"
        return {"error": {"code": status, "message": message, "status": _STATUS.get(status, "INTERNAL")}}

    def answer(self, http, path, body, step):
        if "countTokens" in path:
            return http.send_json(200, {"totalTokens": 100})
        if self.is_side(path, body):
            parts = [{"text": _SIDE_ANSWER}]
        else:
            parts = [*_parts(step)]
        if "streamGenerateContent" not in path:
            return http.send_json(200, _response(parts, step.usage))
        http.begin_events()
        for part in parts:
            http.send_event(_response([part]))
        if step.pause:
            step.pause.wait()
        if not step.is_cut:
            http.send_event(_response([{"text": ""}], step.usage))
        return None


def _parts(step):
    if step.thought:
        yield {"text": step.thought, "thought": True}
    for text in pieces(step.text):
        yield {"text": text}
    for call in step.calls:
        function = {"name": _name(call), "args": call.arguments}
        yield {"functionCall": function, "thoughtSignature": "c2ln"}


def _name(call):
    return {"shell": "run_shell_command", "hub": f"mcp_agenthub_{call.name}"}.get(call.kind, call.name)


def _response(parts, usage=None):
    """Returns a part of an answer; the last one has the usage."""
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
    response = {"candidates": [candidate], "modelVersion": "stand-in", "responseId": "r1"}
    if usage:
        candidate["finishReason"] = "STOP"
        response["usageMetadata"] = {
            "promptTokenCount": usage.fresh + usage.cached,
            "cachedContentTokenCount": usage.cached,
            "candidatesTokenCount": usage.written,
            "thoughtsTokenCount": usage.thought,
            "totalTokenCount": usage.fresh + usage.cached + usage.written + usage.thought,
        }
    return response
