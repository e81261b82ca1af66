"""What the programs send: their streams and the inputs of hooks, as an inventory of keys and as data for quick tests.

`inventory.json` has, for each program and kind of line or hook, the keys with the types of their values.
"""

import json
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
INVENTORY = FOLDER / "inventory.json"
DATA = FOLDER.parent / "data" / "agents"

# Reads a hook's input into a file, and notes how long agenthub takes.
RECORDER = """#!/bin/bash
[ "$1" = hook ] || exec "{home}/bin/agenthub" "$@"
at=$EPOCHREALTIME
cat >"{home}/hooks/$at.$$.json"
begun=${{EPOCHREALTIME/./}}
"{home}/bin/agenthub" "$@" <"{home}/hooks/$at.$$.json"
code=$?
echo $((${{EPOCHREALTIME/./}} - begun)) >>"{home}/hooks/times"
exit $code
"""


def shapes(values, kind):
    """Returns the keys of JSON values by their kind: {kind: {"path.to.key": "type"}}."""
    found = {}
    for value in values:
        keys = found.setdefault(kind(value), {})
        for path, name in _keys(value):
            types = set(filter(None, keys.get(path, "").split(" | "))) | {name}
            keys[path] = " | ".join(sorted(types))
    return {name: dict(sorted(keys.items())) for name, keys in sorted(found.items())}


def line_kind(line):
    item = line.get("item", {}).get("type", "") if isinstance(line.get("item"), dict) else ""
    return "/".join(filter(None, (line.get("type"), line.get("subtype") or line.get("role"), item)))


def hook_kind(line):
    return line["hook_event_name"]


def differences(old, new):
    """Describes what `new` has more or less than `old`, one line each."""
    for kind in sorted(old.keys() | new.keys()):
        if kind not in new:
            yield f"{kind}: not seen"
        elif kind not in old:
            yield f"{kind}: new, with {', '.join(new[kind])}"
        else:
            for key in sorted(old[kind].keys() | new[kind].keys()):
                before, now = old[kind].get(key, "absent"), new[kind].get(key, "absent")
                if before != now:
                    yield f"{kind}: {key}: {before}, now {now}"


def normalised(text, home):
    """Replaces paths, ids and times, so that a new recording differs only if the program does."""
    text = text.replace(f"{home}/work", "/home/ada/api").replace(str(home), "/home/ada")
    text = text.replace(f"{home}/work".replace("/", "-"), "-home-ada-api")
    numbers = {}

    def same(pattern, replacement, text):
        def replace(match):
            number = numbers.setdefault(match.group(), len(numbers) + 1)
            return replacement(match.group(), number)

        return re.sub(pattern, replace, text)

    # A UUID keeps its version: names are made from other digits of version 7.
    text = same(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        lambda uuid, number: f"{number:08x}-0000-{uuid[14]}000-8000-{number:012x}",
        text,
    )
    text = same(r"(?<=claude-|gemini-)[0-9a-f]{8}(?=\W)", lambda _, number: f"{number:08x}", text)
    text = same(r"(?:ses|msg|prt)_[0-9A-Za-z]{26}", lambda id, number: f"{id[:4]}{number:026}", text)
    text = re.sub(r"\d{4}-\d\d-\d\d([T-])\d\d[:-]\d\d[:-]\d\d(\.\d+Z)?", r"2026-01-01\g<1>00-00-00\2", text)
    text = re.sub(r"T00-00-00\.\d+Z", "T00:00:00.000Z", text)
    text = re.sub(r"(?<!\d)179\d{10}(?!\d)", "1790000000000", text)
    text = re.sub(r"/\d{4}/\d\d/\d\d/", "/2026/01/01/", text)
    return re.sub(r'("\w*(?:duration|_ms|_seconds_ago|cost_usd)\w*":)[0-9.e-]+', r"\g<1>1", text)


def save(program, home, stream, hooks):
    """Writes data for the quick tests: the stream, and the first hook input of each event, in their order."""
    folder = DATA / program.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stream.jsonl").write_text(normalised(stream, home))
    first = {}
    for hook in hooks:
        first.setdefault(hook_kind(hook), hook)
    lines = [json.dumps(first[event], ensure_ascii=False, separators=(",", ":")) for event in first]
    if lines:
        (folder / "hooks.jsonl").write_text(normalised("\n".join(lines) + "\n", home))


def recorded():
    return json.loads(INVENTORY.read_text()) if INVENTORY.exists() else {}


def save_inventory(program, inventory):
    everything = {**recorded(), program.id: inventory}
    INVENTORY.write_text(json.dumps(dict(sorted(everything.items())), indent=1, ensure_ascii=False) + "\n")


def _keys(value, path=""):
    # The parameters and results of tools are data, not the program's format.
    if re.search(r"(^|\.)(tool_input|arguments|input|parameters|structured_content|modelUsage|models|tool_use_result|tool_response|model_usage_since_last_result)$", path):
        yield path, type(value).__name__
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _keys(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner, f"{path}[]")
        if not value:
            yield f"{path}[]", "empty"
    else:
        yield path, type(value).__name__
